# SPDX-License-Identifier: Apache-2.0
"""calibrate, smooth_ and evaluate: what they find, and what follows from it."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402

CHANNEL = 5  # of planted outliers


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def planted(maker=small.llama, factor=40.0):
    """A model with an outlier channel behind the first norm: what it computes is what it did."""
    model = small.made(maker)
    block = model.model.layers[0]
    with torch.no_grad():
        block.input_layernorm.weight[CHANNEL] *= factor
        for name in ("q_proj", "k_proj", "v_proj"):
            block.self_attn.get_submodule(name).weight[:, CHANNEL] /= factor
    return model


def test_columns_are_those_of_all_batches():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    batches = [torch.randn(5, 8), torch.randn(2, 3, 8) * 2, torch.randn(1, 8)]
    found = octavo.torch.calibrate(model, batches, "fp8-dynamic", alpha=0.25)
    rows = torch.cat([batch.reshape(-1, 8) for batch in batches])
    assert list(found) == ["0", "2"]
    assert torch.equal(found["0"].column_min, rows.amin(0)) and torch.equal(found["0"].column_max, rows.amax(0))
    assert found["0"].input_scale == float(rows.abs().max()) / 448
    expected = rows.abs().amax(0) ** 0.25 / model[0].weight.abs().amax(0) ** 0.75
    assert torch.allclose(found["0"].smooth, expected)
    inner = model[1](model[0](rows)).detach()
    assert found["2"].outlier_columns == torch.nonzero(inner.abs().amax(0) >= 6).flatten().tolist()
    assert torch.equal(found["2"].column_min, torch.zeros(16))


def test_layers_that_read_one_input_share_their_factors():
    model = small.made(small.llama)
    found = octavo.torch.calibrate(model, [small.tokens(), {"input_ids": small.tokens(1)}])
    for group in (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj")):
        rows = [found[f"model.layers.1.{name}"] for name in group]
        assert all(torch.equal(row.smooth, rows[0].smooth) for row in rows)
        largest = torch.stack([model.get_submodule(f"model.layers.1.{name}").weight.abs().amax(0) for name in group]).amax(0)
        assert torch.allclose(rows[0].smooth, (rows[0].column_absmax / largest) ** 0.5)
    assert "lm_head" not in found and len(found) == 14


def test_outlier_columns_go_into_layers_and_folders(tmp_path):
    model, ids = planted(), small.tokens()
    found = octavo.torch.calibrate(model, [ids], "llm-int8")
    assert found["model.layers.0.self_attn.q_proj"].outlier_columns == [CHANNEL]
    expected = small.outputs(model, ids)
    octavo.torch.quantize_(model, "llm-int8", calibration=found)
    layer = model.model.layers[0].self_attn.q_proj
    assert list(layer._rule["outlier_columns"]) == [CHANNEL] and layer.threshold == 6.0
    assert small.cosine(small.outputs(model, ids), expected) >= 0.99
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert list(again.model.layers[0].self_attn.k_proj._rule["outlier_columns"]) == [CHANNEL]
    assert again.model.layers[1].self_attn.k_proj._rule["outlier_columns"] is None
    assert torch.equal(small.outputs(again, ids), small.outputs(model, ids))


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic"])
@pytest.mark.parametrize("maker", small.FIVE, ids=lambda maker: maker.__name__)
def test_static_scales_go_into_layers_and_folders(maker, scheme, tmp_path):
    model, ids = small.made(maker), small.tokens()
    found = octavo.torch.calibrate(model, [ids], scheme)
    expected = small.outputs(model, ids)
    octavo.torch.quantize_(model, scheme, calibration=found)
    for name, row in found.items():
        if ".experts." in name:  # experts stay dynamic
            continue
        assert model.get_submodule(name)._rule["static_scale"] == pytest.approx(row.input_scale, rel=1e-7)
    assert small.cosine(small.outputs(model, ids), expected) >= 0.99
    model.save_pretrained(tmp_path)
    assert torch.equal(small.outputs(octavo.torch.from_pretrained(tmp_path), ids), small.outputs(model, ids))


@pytest.mark.parametrize("maker, norms", [(small.llama, 4), (small.qwen2, 4), (small.mixtral, 2), (small.gpt2, 4)],
                         ids=lambda value: getattr(value, "__name__", value))
def test_smoothing_changes_nothing_but_the_range(maker, norms):
    """In float64, where what is left is rounding."""
    model, ids = small.made(maker).double(), small.tokens()
    model.config._experts_implementation = "eager"  # the default has no float64
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases of a new model are 0, and weights of its norms 1
                parameter.add_(torch.randn_like(parameter) / 8)
    expected = small.outputs(model, ids)
    found, done = octavo.torch.smooth_(model, octavo.torch.calibrate(model, [ids]))
    assert len(done) == norms
    assert float((small.outputs(model, ids) - expected).abs().max()) <= 1e-12 * float(expected.abs().max())
    measured = octavo.torch.calibrate(model, [ids])
    for row in done:
        for name in row.layers:
            assert torch.allclose(found[name].column_max, measured[name].column_max, rtol=1e-5, atol=1e-6)
            assert torch.equal(found[name].smooth, torch.ones_like(found[name].smooth))


def test_smoothing_saves_static_scales_from_outliers():
    ids = small.tokens(rows=4)
    expected = small.outputs(planted(), ids)
    drifts = {}
    for smooth in (False, True):
        model = planted()
        found = octavo.torch.calibrate(model, [ids])
        if smooth:
            found, _ = octavo.torch.smooth_(model, found)
        floats = copy.deepcopy(model)
        octavo.torch.quantize_(model, "int8-dynamic", calibration=found)
        rows = octavo.torch.evaluate(model, floats, ids).layers
        drifts[smooth] = next(row.sqnr_db for row in rows if row.name == "model.layers.0.self_attn.q_proj")
        assert small.cosine(small.outputs(model, ids), expected) >= (0.99 if smooth else 0.9)
    assert drifts[True] > drifts[False] + 6  # a bit of precision


def test_smoothing_says_what_it_cannot():
    model, ids = small.made(small.bert), small.tokens()
    found = octavo.torch.calibrate(model, [ids])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="smooth_: model must have calibrated float layers behind norms .*; got BertModel"):
        octavo.torch.smooth_(model, found)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    model = small.made(small.llama)
    found = octavo.torch.calibrate(model, [ids])
    octavo.torch.quantize_(model)
    with pytest.raises(ValueError, match="must have calibrated float layers"):
        octavo.torch.smooth_(model, found)


@pytest.mark.parametrize("maker", [small.mixtral, small.gpt2], ids=lambda maker: maker.__name__)
def test_a_calibration_is_a_file(maker, tmp_path):
    model, ids = small.made(maker), small.tokens()
    found = octavo.torch.calibrate(model, [ids], hessian=True)
    found.save(tmp_path / "c.safetensors")
    again = octavo.torch.Calibration.load(tmp_path / "c.safetensors")
    in_files = found.in_files
    assert list(again) == [in_files[name] for name in found]
    assert again.norms == {in_files[norm]: tuple(in_files[name] for name in behind) for norm, behind in found.norms.items()}
    for name, row in found.items():
        read = again[in_files[name]]
        assert (read.threshold, read.code) == (row.threshold, row.code)
        for field in ("column_min", "column_max", "smooth", "hessian"):
            assert torch.equal(getattr(read, field), getattr(row, field)), field
    assert len({row.hessian.data_ptr() for row in again.values()}) == len({row.hessian.data_ptr() for row in found.values()})
    octavo.torch.quantize_(model, "int8-dynamic", calibration=again)


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic", "llm-int8"])
def test_inputs_of_zeros_have_a_scale(scheme):
    net = torch.nn.Sequential(torch.nn.Linear(16, 8))
    found = octavo.torch.calibrate(net, [torch.zeros(4, 16)], scheme)
    assert found["0"].input_scale == 1.0 and found["0"].outlier_columns == [] and torch.equal(found["0"].smooth, torch.ones(16))
    octavo.torch.quantize_(net, scheme, calibration=found)
    assert torch.equal(net(torch.zeros(1, 16))[0], net[0].bias) and net(torch.ones(1, 16)).isfinite().all()


def test_hessians_are_those_of_all_inputs():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    batches = [torch.randn(5, 8), torch.randn(2, 3, 8) * 2, torch.randn(1, 8)]
    found = octavo.torch.calibrate(model, batches, hessian=True)
    rows = torch.cat([batch.reshape(-1, 8) for batch in batches])
    for name, x in (("0", rows), ("2", model[1](model[0](rows)).detach())):
        expected = 2 / len(x) * (x.double().T @ x.double())
        # A sum of 12 products and three means in float32, each rounded by 2^-24 of the largest.
        assert float((found[name].hessian - expected).abs().max()) <= 2 * 16 * 2**-24 * float(expected.abs().max())
    assert octavo.torch.calibrate(model, batches)["0"].hessian is None


def test_layers_that_read_one_input_share_their_hessian():
    model = small.made(small.llama)
    found = octavo.torch.calibrate(model, [small.tokens(), small.tokens(1)], hessian=True)
    prefix = "model.layers.1."
    q, k, o = (found[f"{prefix}self_attn.{name}_proj"].hessian for name in "qko")
    assert q is k and q is not o
    assert found[prefix + "mlp.gate_proj"].hessian is found[prefix + "mlp.up_proj"].hessian


def test_layers_that_share_an_input_now_and_then_have_no_hessian():
    class Fork(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x, apart):
            return self.a(x) + self.b(x.clone() if apart else x)

    batches = [(torch.randn(2, 4), apart) for apart in (False, True)]
    assert set(octavo.torch.calibrate(Fork(), batches)) == {"a", "b"}
    with pytest.raises(ValueError, match="calibrate: layers must read one input in every call to have a Hessian; got 'b'"):
        octavo.torch.calibrate(Fork(), batches, hessian=True)


ROW = '"threshold": 6, "code": "int8"'


@pytest.mark.parametrize("text, columns, hint", [
    (None, {}, "must be JSON"), ("{", {}, "must be JSON"), ("[]", {}, "must hold version 1"), ('{"version": 2}', {}, "must hold version 1"),
    ('{"version": 1, "layers": {"a": {}}, "norms": {}}', {}, "threshold"),
    ('{"version": 1, "layers": {"a": 3}, "norms": {}}', {}, "got 'a'"),
    ('{"version": 1, "layers": {"b": {%s}}, "norms": {}}' % ROW, {}, "got 'b'"),
    ('{"version": 1, "layers": {}, "norms": {"n": ["c"]}}', {}, "norms must name layers that are there; got .'c'"),
    ('{"version": 1, "layers": {"a": {%s}}, "norms": {}}' % ROW, {"column_min": [2.0]}, "got 'a'"),
    ('{"version": 1, "layers": {"a": {%s}}, "norms": {}}' % ROW, {"smooth": [0.0]}, "factors above 0"),
    ('{"version": 1, "layers": {"a": {%s}}, "norms": {}}' % ROW, {"column_max": [float("nan")]}, "finite"),
    ('{"version": 1, "layers": {"a": {%s, "hessian": "h"}}, "norms": {}}' % ROW, {}, r"hessian must be finite \[1, 1\]; got \[2\]")])
def test_a_malformed_calibration_is_refused(text, columns, hint, tmp_path):
    good = {"column_min": [0.0], "column_max": [1.0], "smooth": [1.0]}
    tensors = {f"a.{field}": torch.tensor(value) for field, value in (good | columns).items()} | {"h": torch.zeros(2)}
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(tensors, tmp_path / "c", {} if text is None else {"octavo_calibration": text})
    with pytest.raises(ValueError, match="^Calibration.load: .*" + hint):
        octavo.torch.Calibration.load(tmp_path / "c")


def test_calibrations_that_do_not_fit_are_refused():
    model, ids = small.made(small.llama), small.tokens()
    found = octavo.torch.calibrate(model, [ids])
    for options, hint in ((dict(scheme="fp8-dynamic"), "must be for float8_e4m3fn, as fp8-dynamic is; got int8"),
                          (dict(scheme="fp8-block"), "must be None for layers that train and for schemes without one scale for a token"),
                          (dict(freeze=False), "must be None for layers that train")):
        with pytest.raises(ValueError, match="quantize_: calibration " + hint):
            octavo.torch.quantize_(copy.deepcopy(model), calibration=found, **options)
    with pytest.raises(ValueError, match="must be of this model; got layers that it has not: model.layers.0"):
        octavo.torch.quantize_(small.made(small.gpt2), calibration=found)
    for call, hint in ((lambda: octavo.torch.calibrate(model, []), "batches must hold at least one"),
                       (lambda: octavo.torch.calibrate(model, [ids], alpha=2), r"alpha must be in 0\.\.1; got 2"),
                       (lambda: octavo.torch.calibrate(torch.nn.ReLU(), [ids]), "model must have linear layers"),
                       (lambda: octavo.torch.calibrate(torch.nn.Sequential(torch.nn.Linear(2, 2)),
                                                       [torch.full((1, 2), torch.nan)]), "must be finite; .* layer '0'")):
        with pytest.raises(ValueError, match="calibrate: .*" + hint):
            call()


def test_evaluation_is_what_its_words_say():
    float_model, ids = small.made(small.llama), small.tokens(rows=3, length=20)
    model = copy.deepcopy(float_model)
    octavo.torch.quantize_(model, "fp8-dynamic")
    found = octavo.torch.evaluate(model, float_model, ids)
    a, b = small.outputs(float_model, ids).double(), small.outputs(model, ids).double()
    p, q = a[:, :-1].log_softmax(-1), b[:, :-1].log_softmax(-1)
    assert found.tokens == 60 and found.cosine == pytest.approx(small.cosine(a, b), abs=1e-9)
    for logits, value in ((a, found.float_perplexity), (b, found.perplexity)):
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        assert value == pytest.approx(float(loss.exp()), rel=1e-5)
    rows = (p - q).gather(-1, ids[:, 1:, None])[..., 0]  # of each token, three windows
    assert found.loss_increase == pytest.approx(float(rows.mean()), abs=1e-7)
    sums = rows.sum(1)
    assert found.loss_increase_error == pytest.approx(float(sums.std() * 3**0.5 / rows.numel()), rel=1e-4)
    alone = octavo.torch.evaluate(model, float_model, ids[:1], layers=False)
    assert alone.loss_increase_error is None and alone.layers == [] and "SQNR" not in str(alone)
    assert found.kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-2)
    assert found.agreement == pytest.approx(float((p.argmax(-1) == q.argmax(-1)).double().mean()))
    assert len(found.layers) == 14 and all(row.sqnr_db > 20 for row in found.layers)
    first = next(row for row in found.layers if row.name == "model.layers.0.self_attn.q_proj")
    block = float_model.model.layers[0]
    with torch.no_grad():
        x = block.input_layernorm(float_model.model.embed_tokens(ids))
        y, z = block.self_attn.q_proj(x).double(), model.model.layers[0].self_attn.q_proj(x).double()
    assert first.sqnr_db == pytest.approx(10 * float(torch.log10((y**2).sum() / ((y - z) ** 2).sum())), abs=1e-6)
    assert "perplexity" in str(found) and json.loads(json.dumps(found.to_dict()))["tokens"] == 60


def test_evaluation_of_experts_and_of_encoders():
    for maker, layers in ((small.mixtral, 10), (small.bert, 13)):
        float_model, ids = small.made(maker), small.tokens()
        model = copy.deepcopy(float_model)
        octavo.torch.quantize_(model, "int8-dynamic")
        found = octavo.torch.evaluate(model, float_model, ids)
        assert len(found.layers) == layers and found.cosine >= 0.99 and (found.perplexity is None) == (maker is small.bert)
    with pytest.raises(ValueError, match="evaluate: model must have Octavo's layers"):
        octavo.torch.evaluate(float_model, float_model, ids)
    with pytest.raises(ValueError, match="evaluate: tokenizer must come with texts"):
        octavo.torch.evaluate(model, float_model, ["words"])


def test_evaluation_from_the_command_line(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = {f"w{i}": i for i in range(small.VOCABULARY)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain).save_pretrained(tmp_path / "float")
    model = small.made(small.llama)
    model.save_pretrained(tmp_path / "float")
    octavo.torch.quantize_(model)
    model.save_pretrained(tmp_path / "int8")
    (tmp_path / "text").write_text(" ".join(f"w{i * 7 % 96}" for i in range(70)))
    command = [sys.executable, "-m", "octavo.evaluate", str(tmp_path / "int8"), "--against", str(tmp_path / "float"),
               "--text", str(tmp_path / "text"), "--length", "32", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "RuntimeWarning" not in done.stderr, done.stderr
    assert done.stdout.startswith("tokens 70   cosine 0.99") and json.loads((tmp_path / "out.json").read_text())["tokens"] == 70
    printed = subprocess.run([Path(sys.executable).with_name("octavo"), "evaluate", *command[3:-2], "--json"], capture_output=True, text=True)
    written = json.loads((tmp_path / "out.json").read_text())
    assert printed.returncode == 0 and json.loads(printed.stdout) == {"type": "evaluation", **written}, printed.stderr
    from octavo.evaluate import main

    assert main([*command[3:6], "--text", str(tmp_path / "none")]) == 1
