# SPDX-License-Identifier: Apache-2.0
"""PEFT on layers in 8 bits: every kind of adapter that goes on a torch.nn.Linear goes on them, trains, is saved, merges
with one warning and comes off with the old codes; quantize_ leaves adapters as they are."""

import copy
import dataclasses
import io
import warnings

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

import octavo.torch  # noqa: E402
import peft.mapping  # noqa: E402
import small_models as small  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo.torch import nn  # noqa: E402
from test_layer_mutations import FROZEN, K, N, TRAINED  # noqa: E402

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")
LINEAR = {kind: make for kind, make in (FROZEN | {f"{kind}, trains": make for kind, make in TRAINED.items()}).items()
          if not kind.startswith(("bnb", "FusedMoE", "GroupedLinear"))}
ON = {"target_modules": ["up", "down"]}


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(64, 128), torch.nn.Linear(128, 64)
        self.head = torch.nn.Linear(64, 8)

    def forward(self, x):
        return self.head(x + self.down(torch.nn.functional.gelu(self.up(x))))


def block(scheme=None, dtype=torch.float32):
    torch.manual_seed(0)
    model = Block().to(dtype)
    if scheme:
        octavo.torch.quantize_(model, scheme, ignore=["head"])
    return model


def lora(**options):
    return peft.LoraConfig(**{"r": 4, "init_lora_weights": False, **ON, **options})


# Every tuner of PEFT that adapts modules by name. None: it is for other modules, or has no forward pass of its own here.
KINDS = {
    "LORA": lora, "ADALORA": lambda: peft.AdaLoraConfig(r=4, total_step=10, init_lora_weights=False, **ON),
    "IA3": lambda: peft.IA3Config(target_modules=["up", "down"], feedforward_modules=["down"], init_ia3_weights=False),
    "LOHA": lambda: peft.LoHaConfig(r=4, init_weights=False, **ON), "LOKR": lambda: peft.LoKrConfig(r=4, init_weights=False, **ON),
    "OFT": lambda: peft.OFTConfig(r=4, oft_block_size=0, init_weights=False, **ON),
    "BOFT": lambda: peft.BOFTConfig(boft_block_size=4, init_weights=False, **ON),
    "HRA": lambda: peft.HRAConfig(r=4, init_weights=False, **ON),
    "VERA": lambda: peft.VeraConfig(r=4, init_weights=False, target_modules=["up"]),
    "PVERA": lambda: peft.PveraConfig(r=4, target_modules=["up"]),
    "RANDLORA": lambda: peft.RandLoraConfig(r=4, init_weights=False, target_modules=["up"]),
    "FOURIERFT": lambda: peft.FourierFTConfig(n_frequency=50, **ON),
    "VBLORA": lambda: peft.VBLoRAConfig(num_vectors=8, vector_length=16, topk=2, **ON),
    "C3A": lambda: peft.C3AConfig(block_size=32, init_weights=False, **ON), "WAVEFT": lambda: peft.WaveFTConfig(n_frequency=50, **ON),
    "BEFT": lambda: peft.BeftConfig(**ON),
    "TRAINABLE_TOKENS": None, "LN_TUNING": None, "POLY": None, "XLORA": None, "ADAPTION_PROMPT": None, "SHADOW": None,
    "GLORA": None,  # asks for torch.nn.Linear itself, and says so
}
NO_WAY_BACK = ("OSF",)  # PEFT cannot unmerge
NO_MERGE = ("LILY",)  # PEFT cannot merge


def named_kinds():
    """Kinds of KINDS, and those of PEFT that it does not name, made by their defaults: a new one is tried, too."""
    for kind, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items():
        name = kind.value
        fields = {field.name for field in dataclasses.fields(config)}
        if KINDS.get(name, config) is None or "target_modules" not in fields or kind not in peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING:
            continue
        rank = {"r": 4} if "r" in fields else {}
        yield name, KINDS.get(name, lambda config=config, rank=rank: config(**rank, **ON))
    for name, options in (("DoRA", {"use_dora": True}), ("rsLoRA", {"use_rslora": True}), ("lora_bias", {"lora_bias": True}),
                          ("dropout", {"lora_dropout": 0.1}), ("bias", {"bias": "all"}), ("orthogonal", {"init_lora_weights": "orthogonal"})):
        yield name, lambda options=options: lora(**options)


ALL = dict(named_kinds())


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def base_state(model):
    """The state of what adapters stand around, by the names it had before."""
    state = model.get_base_model().state_dict()
    return {name.replace(".base_layer", ""): value.clone() for name, value in state.items() if "lora" not in name}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def near(got, want, error=0.05):
    return (got - want).norm() < error * want.norm()


def merging(call):
    """How many warnings of quantising again a call gives."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return sum("quantised again" in str(one.message) for one in said)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_adapter(kind, dtype, tmp_path):
    """Trains, is switched off, saved and loaded, merges into the codes and comes off again, as on a float layer."""
    x = gaussian(5, 64, seed=1).to(dtype)
    model = block("int8-dynamic", dtype)
    before, plain = state_of(model), model(x).detach()
    torch.manual_seed(1)
    adapted = peft.get_peft_model(model, ALL[kind]())
    adapted(x).square().sum().backward()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert trained and all(parameter.grad is not None for parameter in trained)
    adapted.eval()
    with torch.no_grad():
        want = adapted(x)
        with adapted.disable_adapter():
            assert torch.equal(adapted(x), plain)
        adapted.save_pretrained(tmp_path)
        assert torch.equal(peft.PeftModel.from_pretrained(block("int8-dynamic", dtype), tmp_path).eval()(x), want)
        if kind in NO_MERGE:
            return
        assert merging(adapted.merge_adapter) == 1 and near(adapted(x), want)
        if kind not in NO_WAY_BACK:
            assert merging(adapted.unmerge_adapter) == 0
            assert same(before, base_state(adapted)) and torch.equal(adapted(x), want)
            assert merging(adapted.merge_and_unload) == 1 and near(model(x), want)
            assert type(model.up) is nn.Int8Linear and model.up.frozen and model.up._before_merge is None


@pytest.mark.parametrize("layer", LINEAR)
def test_every_layer(layer):
    """all-linear finds it; merging keeps its type, granularity and rule, and the old codes come back bit for bit."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(LINEAR[layer](), torch.nn.ReLU()).eval()
    x = gaussian(3, K, seed=2)
    model(x)
    before, plain = state_of(model), model(x).detach()
    adapted = peft.get_peft_model(model, lora(target_modules="all-linear")).eval()
    with torch.no_grad():
        want = adapted(x)
        adapted.merge_adapter(safe_merge=True)
        assert near(adapted(x), want) and not near(plain, want)
        merged = base_state(adapted)
        assert all((merged[name].shape, merged[name].dtype) == (value.shape, value.dtype) for name, value in before.items())
        adapted.unmerge_adapter()
        if layer in FROZEN:
            assert same(before, base_state(adapted))
        assert near(adapted(x), want, 0.001)
    assert model[0].out_features == N


@pytest.mark.parametrize("scheme", SCHEMES)
def test_adapters_stay_adapters_under_quantize(scheme):
    for kind in ALL:
        torch.manual_seed(1)
        model = peft.get_peft_model(block(), ALL[kind]())
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            report = octavo.torch.quantize_(model, scheme, ignore=["head"])
        assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == names, kind
        assert {row.name.removesuffix(".base_layer").rpartition(".")[2] for row in report} == {"up", "down"}, kind
        model(gaussian(5, 64)).square().sum().backward()
        assert all(model.get_parameter(name).grad is not None for name in names), kind


def test_what_trains_beside_adapters_stays():
    """Copies that train, and heads under the names that they have without PEFT."""
    model = peft.get_peft_model(small.made(small.llama), lora(target_modules=["q_proj", "lm_head"], modules_to_save=["o_proj"]))
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    report = octavo.torch.quantize_(model)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == names and len(report) == 14
    assert type(model.base_model.model.lm_head.base_layer) is torch.nn.Linear
    assert any(row.name.endswith("modules_to_save.default") and row.reason == "an adapter of PEFT" for row in report.left)
    prompt = peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=32)
    model = peft.get_peft_model(small.made(small.llama), prompt)
    count = sum(parameter.requires_grad for parameter in model.parameters())
    octavo.torch.quantize_(model)
    assert sum(parameter.requires_grad for parameter in model.parameters()) == count


def test_calibration_passes_adapters_by():
    adapted = peft.get_peft_model(block(), lora()).eval()
    found = octavo.torch.calibrate(adapted, [gaussian(5, 64)], "int8-dynamic")
    assert sorted(name.rpartition("model.")[2] for name in found) == ["down.base_layer", "head", "up.base_layer"]
    octavo.torch.quantize_(adapted, calibration=found)
    assert adapted.base_model.model.up.base_layer._rule["static_scale"] > 0


def test_models_of_transformers(tmp_path):
    """OctavoConfig, k-bit preparation, bfloat16, GPT-2's layers, and a merged model's folder."""
    import transformers

    ids = small.tokens()
    for maker in (small.llama, small.gpt2):
        small.made(maker).save_pretrained(tmp_path / "float")
        model = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "float", dtype=torch.bfloat16, quantization_config=octavo.torch.OctavoConfig("int8-dynamic"))
        model = peft.prepare_model_for_kbit_training(model)
        adapted = peft.get_peft_model(model, lora(target_modules="all-linear"))
        assert adapted(ids, labels=ids).loss.backward() is None
        assert all(p.dtype == torch.float32 and p.grad is not None for p in adapted.parameters() if p.requires_grad)
        want = small.outputs(adapted.eval(), ids)
        assert merging(lambda: adapted.merge_and_unload().save_pretrained(tmp_path / "merged")) == 1
        again = octavo.torch.from_pretrained(str(tmp_path / "merged"))
        assert small.cosine(small.outputs(again, ids), want) > 0.99
        assert torch.equal(small.outputs(again.to(model.dtype), ids), small.outputs(model, ids))


def test_layers_that_share_a_product(tmp_path):
    model = small.made(small.llama)
    octavo.torch.quantize_(model)
    model.save_pretrained(tmp_path)
    model = octavo.torch.from_pretrained(str(tmp_path), fuse=True)
    ids = small.tokens()
    plain = small.outputs(model, ids)
    adapted = peft.get_peft_model(model, lora(target_modules=["q_proj", "up_proj"])).eval()
    want = small.outputs(adapted, ids)
    adapted.merge_adapter()
    assert near(small.outputs(adapted, ids), want)
    adapted.unmerge_adapter()
    assert torch.equal(small.outputs(adapted, ids), want)
    assert torch.equal(small.outputs(adapted.unload(), ids), plain)


def test_several_adapters_and_copies():
    x, model = gaussian(5, 64), block("int8-dynamic")
    before = state_of(model)
    adapted = peft.get_peft_model(model, lora())
    adapted.add_adapter("other", lora(target_modules=["up"]))
    adapted.base_model.set_adapter(["default", "other"])
    with torch.no_grad():
        want = adapted.eval()(x)
        adapted.merge_adapter(["default"])
        adapted.merge_adapter(["other"])
        merged = adapted(x)
        assert near(merged, want)
        stream = io.BytesIO()
        torch.save(adapted, stream)
        stream.seek(0)
        for each in (torch.load(stream, weights_only=False), copy.deepcopy(adapted), adapted):
            assert torch.equal(each(x), merged)
            each.unmerge_adapter()
            assert same(before, base_state(each)) and torch.equal(each(x), want)
    mixed = peft.get_peft_model(block("int8-dynamic"), lora(), mixed=True)
    mixed.add_adapter("other", ALL["LOHA"]())
    mixed.set_adapter(["default", "other"])
    want = mixed.eval()(x)
    assert near(mixed.merge_and_unload()(x), want)


def test_a_merge_that_fails_leaves_the_layer():
    adapted = peft.get_peft_model(block("int8-dynamic"), lora()).eval()
    before = base_state(adapted)
    torch.nn.init.constant_(adapted.base_model.model.down.lora_A["default"].weight, float("nan"))
    with pytest.raises(ValueError, match="NaNs detected"):
        adapted.base_model.model.down.merge(safe_merge=True)
    assert same(before, base_state(adapted)) and adapted.base_model.model.down.base_layer.frozen


def test_new_codes_are_not_undone():
    """What a layer loads between merging and unmerging is the newer weight."""
    adapted = peft.get_peft_model(block("int8-dynamic"), lora()).eval()
    other = block()
    adapted.merge_adapter()
    layer = adapted.base_model.model.up
    layer.base_layer.weight = other.up.weight.detach() + layer.get_delta_weight("default")
    adapted.unmerge_adapter()
    assert near(layer.base_layer.weight.values(), other.up.weight)


def test_a_bias_that_trained_since_is_kept():
    adapted = peft.get_peft_model(block("int8-dynamic"), lora(bias="all")).eval()
    before, layer = base_state(adapted), adapted.base_model.model.up.base_layer
    adapted.merge_adapter()
    with torch.no_grad():
        layer.bias.add_(1)
    adapted.unmerge_adapter()
    assert torch.equal(layer.bias, before["up.bias"] + 1) and torch.equal(layer.state_dict()["weight"], before["up.weight"])


@pytest.mark.parametrize("made, sentence", [
    (lambda: lora(init_lora_weights="pissa"), "update_layer: the base weight must be of floats .*got Int8Linear"),
    (lambda: lora(init_lora_weights="olora"), "update_layer: the base weight must be of floats .*got Int8Linear"),
    (lambda: lora(modules_to_save=["up"], target_modules=["down"]), "modules_to_save: module must have weights of floats.*Int8Linear"),
    (lambda: peft.GloraConfig(r=4, **ON), "is not a plain torch.nn.Linear"),
])
def test_what_cannot_work_says_why(made, sentence):
    model = block("int8-dynamic")
    with pytest.raises(ValueError, match=sentence):
        peft.get_peft_model(model, made())
    assert type(model.up) is nn.Int8Linear


def test_experts_and_attention_say_why():
    model = small.made(small.mixtral)
    on_experts = {"target_modules": None, "target_parameters": ["mlp.experts.gate_up_proj"]}
    adapted = peft.get_peft_model(copy.deepcopy(model), lora(**on_experts))
    with pytest.warns(UserWarning, match="PEFT's ParamWrapper adds to its tensors"):
        octavo.torch.quantize_(adapted)
    adapted(small.tokens()).logits.sum().backward()
    octavo.torch.quantize_(model)
    with pytest.raises(ValueError, match="target_parameters: parameter must be of floats .*RoutedExperts, which has codes"):
        peft.get_peft_model(model, lora(**on_experts))
    attention = torch.nn.ModuleDict({"attention": torch.nn.MultiheadAttention(32, 2)})
    adapted = peft.get_peft_model(copy.deepcopy(attention), lora(target_modules=["attention"]))
    with pytest.warns(UserWarning, match="PEFT's MultiheadAttention adds to its tensors"):
        assert not octavo.torch.quantize_(adapted)
    with pytest.warns(UserWarning, match="in_proj_weight"):
        octavo.torch.quantize_(attention)
    with pytest.raises(ValueError, match="LoRA: torch.nn.MultiheadAttention must have an out_proj of floats.*got Int8Linear"):
        peft.get_peft_model(attention, lora(target_modules=["attention"]))


def test_adapters_that_start_from_the_weight_come_before_quantize():
    x = gaussian(5, 64)
    adapted = peft.get_peft_model(block(), lora(init_lora_weights="pissa")).eval()
    want = adapted(x)
    octavo.torch.quantize_(adapted, "int8-dynamic", ignore=["head"])
    assert near(adapted(x), want)
