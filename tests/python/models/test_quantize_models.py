# SPDX-License-Identifier: Apache-2.0
"""quantize_ on models of transformers: what it swaps, what it leaves, and that it says so."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402

SCHEMES = ("int8-dynamic", "fp8-dynamic", "llm-int8")
SWAPPED = {small.llama: 14, small.qwen2: 14, small.mixtral: 12, small.bert: 13, small.gpt2: 8}
WITHOUT_EXPERTS = "weights that may be products stay in float: .*experts"


def quantized(model, scheme, warns=None, **options):
    model = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if warns:
            with pytest.warns(UserWarning, match=warns):
                return model, octavo.torch.quantize_(model, scheme, **options)
        return model, octavo.torch.quantize_(model, scheme, **options)


@pytest.mark.parametrize("maker", small.FIVE, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_outputs_stay_where_they_were(maker, seed):
    float_model, ids = small.made(maker, seed), small.tokens(seed)
    expected = small.outputs(float_model, ids)
    for scheme in SCHEMES:
        alone = maker is small.mixtral and scheme == "llm-int8"
        model, report = quantized(float_model, scheme, WITHOUT_EXPERTS if alone else None)
        assert len(report) == SWAPPED[maker] - (4 if alone else 0)
        assert small.cosine(small.outputs(model, ids), expected) >= 0.99


@pytest.mark.parametrize("maker, experts", [(small.mixtral, 4), (small.qwen3_moe, 4), (small.deepseek_v3, 2)],
                         ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic", "fp8-block"])
def test_experts_are_quantized(maker, experts, scheme):
    float_model, ids = small.made(maker), small.tokens()
    model, report = quantized(float_model, scheme)
    rows = [row for row in report if len(row.shape) == 3]
    assert len(rows) == experts and all(row.sqnr_db > 20 for row in rows)
    assert all(row.asked for row in report.left)
    assert small.cosine(small.outputs(model, ids), small.outputs(float_model, ids)) >= 0.99
    assert not any(p.ndim == 3 for p in model.parameters())


def test_experts_report_the_error_of_all():
    """One row of E experts is the row of their weights one above the other."""
    model, report = quantized(small.made(small.mixtral), "int8-dynamic")
    row = next(row for row in report if row.name == "model.layers.0.mlp.experts.down_proj")
    weight = small.made(small.mixtral).model.layers[0].mlp.experts.down_proj.detach()
    stacked = octavo.checkpoints.compare_weight("", weight.flatten(0, 1), octavo.checkpoints.quantize_weight(weight.flatten(0, 1)))
    assert row.shape == tuple(weight.shape) and row.saturated == stacked.saturated
    assert row.sqnr_db == pytest.approx(stacked.sqnr_db) and row.max_error == stacked.max_error


class Experts(torch.nn.Module):
    """Experts in one of transformers' layouts."""

    def __init__(self, transposed, interleaved, bias, activation=torch.nn.SiLU):
        super().__init__()
        self.is_transposed, self.is_concatenated, self.has_gate, self.has_bias = transposed, not interleaved, True, bias
        self.act_fn = activation()
        self.gate_up_proj = torch.nn.Parameter(torch.randn((3, 64, 96) if transposed else (3, 96, 64)))
        self.down_proj = torch.nn.Parameter(torch.randn((3, 48, 64) if transposed else (3, 64, 48)))
        if bias:
            self.gate_up_proj_bias = torch.nn.Parameter(torch.randn(3, 96))
            self.down_proj_bias = torch.nn.Parameter(torch.randn(3, 64))

    def forward(self, x, ids, weights):
        y = torch.zeros_like(x)
        for row in range(x.shape[0]):
            for e, w in zip(ids[row].tolist(), weights[row]):
                if e == 3:
                    continue
                up, down = ((p[e].T if self.is_transposed else p[e]) for p in (self.gate_up_proj, self.down_proj))
                h = up @ x[row] + (self.gate_up_proj_bias[e] if self.has_bias else 0)
                gate, h = h.chunk(2) if self.is_concatenated else (h[::2], h[1::2])
                h = self.act_fn(gate) * h
                y[row] += w * (down @ h + (self.down_proj_bias[e] if self.has_bias else 0))
        return y


@pytest.mark.parametrize("transposed, interleaved, bias", [(False, False, False), (True, False, True), (True, True, True),
                                                           (False, True, False)])
def test_every_layout_of_experts(transposed, interleaved, bias):
    torch.manual_seed(0)
    experts = Experts(transposed, interleaved, bias)
    model = torch.nn.ModuleDict({"experts": experts})
    x, weights = torch.randn(7, 64), torch.rand(7, 2)
    ids = torch.randint(0, 4, (7, 2))  # 3: no expert
    with torch.no_grad():
        expected = experts(x, ids, weights)
        octavo.torch.quantize_(model, "int8-dynamic")
        assert small.cosine(model["experts"](x, ids, weights), expected) >= 0.999


@pytest.mark.parametrize("transposed, interleaved, bias", [(False, False, True), (True, True, False)])
def test_experts_of_another_activation_are_called_one_by_one(transposed, interleaved, bias):
    torch.manual_seed(0)
    experts = Experts(transposed, interleaved, bias, torch.nn.GELU)
    model = torch.nn.ModuleDict({"experts": experts})
    x, weights, ids = torch.randn(7, 64), torch.rand(7, 2), torch.randint(0, 4, (7, 2))  # 3: no expert
    with torch.no_grad():
        expected = experts(x, ids, weights)
        octavo.torch.quantize_(model, "int8-dynamic")
        assert small.cosine(model["experts"](x, ids, weights), expected) >= 0.999
        again = copy.deepcopy(model)
        assert torch.equal(again["experts"](x, ids, weights), model["experts"](x, ids, weights))


def test_routers_and_heads_stay_by_default():
    model, report = quantized(small.made(small.mixtral), "int8-dynamic")
    assert [row.name for row in report.left] == ["model.layers.0.mlp.gate", "model.layers.1.mlp.gate", "lm_head"]
    tree = torch.nn.ModuleDict({"router": torch.nn.Linear(32, 4), "body": torch.nn.Linear(32, 32)})
    assert [row.name for row in octavo.torch.quantize_(tree)] == ["body"]
    tree = torch.nn.ModuleDict({"router": torch.nn.Linear(32, 4), "body": torch.nn.Linear(32, 32)})
    assert [row.name for row in octavo.torch.quantize_(tree, ignore=())] == ["router", "body"]


def test_what_looks_like_a_product_is_named():
    model = torch.nn.ModuleDict({"attention": torch.nn.MultiheadAttention(32, 2), "lstm": torch.nn.LSTM(32, 32),
                                 "embedding": torch.nn.Embedding(64, 32), "norm": torch.nn.LayerNorm(32),
                                 "linear": torch.nn.Linear(32, 32)})
    with pytest.warns(UserWarning, match=r"quantize_: 3 weights .*attention.in_proj_weight 96x32 \(MultiheadAttention"):
        report = octavo.torch.quantize_(model)
    assert [row.name for row in report] == ["attention.out_proj", "linear"]
    assert {row.name for row in report.left} == {"attention.in_proj_weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0"}


@pytest.mark.parametrize("pattern, hint", [("lm_haed", r"got 'lm_haed' \(nearest: 'lm_head'\)"),
                                           ("model.layers.0.self_atn.q_proj", r"nearest: 'model.layers.0.self_attn.q_proj'"),
                                           ("re:.*lm_hed", r"got 're:.*lm_hed'"), ("re:(", "regular expression behind"),
                                           ("xyzzy", "got 'xyzzy'$")])
def test_a_pattern_that_matches_nothing_is_an_error(pattern, hint):
    model = small.made(small.llama)
    with pytest.raises(ValueError, match=r"^quantize_: ignore\[1\] must .*" + hint):
        octavo.torch.quantize_(model, ignore=["lm_head", pattern])
    assert all(type(layer) is torch.nn.Linear for layer in model.modules() if hasattr(layer, "in_features"))
    with pytest.raises(ValueError, match="ignore must be a list of patterns"):
        octavo.torch.quantize_(model, ignore="lm_head")


def test_conv1d_trains_only_as_it_is():
    """Its state would be transposed."""
    model = small.made(small.gpt2)
    with pytest.warns(UserWarning, match=r"8 weights .*Conv1D: its weight is stored as \[K, N\]"):
        assert octavo.torch.quantize_(model, freeze=False) == []


def test_experts_with_outlier_columns_run_one_by_one(tmp_path):
    """Bit for bit what each layer gives for its rows."""
    from octavo.torch.models._canonical import ExpertParts, experts_of

    torch.manual_seed(0)
    float_experts = Experts(False, False, False)
    weights = [[octavo.checkpoints.quantize_weight(w, "llm-int8") for w in p.detach()] for p in (float_experts.gate_up_proj,
                                                                                    float_experts.down_proj)]
    experts = experts_of(float_experts, *(ExpertParts(parts, None) for parts in weights), torch.float32)
    x, routes = torch.randn(7, 64), torch.rand(7, 2)
    ids = torch.randint(0, 4, (7, 2))  # 3: no expert
    with torch.no_grad():
        assert small.cosine(experts(x, ids, routes), float_experts(x, ids, routes)) >= 0.999
    model = small.made(small.llama)
    model.model.extra = experts
    with pytest.raises(NotImplementedError, match="save_pretrained: model must have no experts of llm-int8"):
        model.save_pretrained(tmp_path)
