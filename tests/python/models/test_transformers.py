# SPDX-License-Identifier: Apache-2.0
"""OctavoConfig in transformers' from_pretrained, and quantised folders of other tools in Octavo's layers."""

import copy
import gc
import json
import shutil
import weakref

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402
from octavo.torch import OctavoConfig  # noqa: E402


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Float folders, made once."""
    made = {}

    def of(maker):
        if maker not in made:
            model = small.made(maker)
            made[maker] = tmp_path_factory.mktemp(maker.__name__), model
            model.save_pretrained(made[maker][0], max_shard_size="400KB")
        return made[maker]

    return of


@pytest.mark.filterwarnings("ignore:.*stay in float")
@pytest.mark.parametrize("maker, scheme", small.cases([*small.FIVE, small.qwen3_moe, small.deepseek_v3]), ids=small.name_of)
def test_quantizing_while_loading_is_quantize_(folders, maker, scheme):
    """Bit for bit, with the same report."""
    folder, float_model = folders(maker)
    model, ids = copy.deepcopy(float_model), small.tokens()
    report = octavo.torch.quantize_(model, scheme)
    loaded, info = type(model).from_pretrained(folder, quantization_config=OctavoConfig(scheme), output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(small.outputs(loaded, ids), small.outputs(model, ids))
    assert sorted(loaded.hf_quantizer.report) == sorted(report)
    assert [row.name for row in loaded.hf_quantizer.report.left] == [row.name for row in report.left]


def test_a_tied_head_stays_with_its_embeddings(tmp_path):
    """Whatever `ignore` says: while a folder loads there is one weight for both."""
    source = transformers.LlamaForCausalLM(transformers.LlamaConfig(**small.GROUPED, tie_word_embeddings=True)).eval()
    source.save_pretrained(tmp_path)
    model = type(source).from_pretrained(tmp_path, quantization_config=OctavoConfig(ignore=[]))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    octavo.torch.quantize_(source, ignore=["lm_head"])
    assert torch.equal(small.outputs(model, small.tokens()), small.outputs(source, small.tokens()))


def test_bfloat16_and_auto_classes(folders):
    folder, float_model = folders(small.llama)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu",
                                                              quantization_config=OctavoConfig("FP8_DYNAMIC"))
    assert model.dtype == torch.bfloat16 and model.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    assert small.cosine(small.outputs(model, small.tokens()), small.outputs(float_model, small.tokens())) >= 0.99
    assert model.is_quantized and model.config.quantization_config.scheme == "fp8-dynamic"


@pytest.mark.parametrize("maker, most", [(small.llama, 1), (small.mixtral, 1)], ids=lambda v: getattr(v, "__name__", ""))
def test_one_float_weight_is_in_memory_at_a_time(folders, maker, most, monkeypatch):
    from octavo.torch.transformers._quantizer import OctavoQuantizer

    alive, seen, take = weakref.WeakSet(), [], OctavoQuantizer.take

    def watched(self, model, name, weight):
        gc.collect()
        alive.add(weight.untyped_storage())
        seen.append(len(alive))
        take(self, model, name, weight)

    monkeypatch.setattr(OctavoQuantizer, "take", watched)
    folder, float_model = folders(maker)
    type(float_model).from_pretrained(folder, quantization_config=OctavoConfig())
    assert len(seen) >= 12 and max(seen) <= most


def test_layers_to_leave(folders):
    folder, float_model = folders(small.llama)
    config = OctavoConfig("int8-dynamic", ignore=["re:.*down_proj", "lm_head"])
    model = type(float_model).from_pretrained(folder, quantization_config=config)
    assert type(model.model.layers[1].mlp.down_proj) is torch.nn.Linear and model.model.layers[1].mlp.up_proj.frozen
    with pytest.raises(ValueError, match=r"OctavoConfig: ignore\[0\] must match a layer; got 'lm_haed' \(nearest: 'lm_head'\)"):
        type(float_model).from_pretrained(folder, quantization_config=OctavoConfig(ignore=["lm_haed"]))
    with pytest.raises(ValueError, match="scheme must be int8-dynamic"):
        OctavoConfig("int9")


@pytest.mark.parametrize("maker, scheme", [(small.llama, "int8-weight-only"), (small.mixtral, "mxfp8"), (small.mixtral, "llm-int8"),
                                           (small.bert, "fp8-block")], ids=small.name_of)
def test_one_door_for_float_folders_and_quantised_ones(folders, tmp_path, maker, scheme):
    """from_pretrained(float, scheme) is OctavoConfig(scheme); what it saves comes through the same door, bit for bit."""
    folder, float_model = folders(maker)
    model = octavo.torch.from_pretrained(folder, scheme)
    want = type(float_model).from_pretrained(folder, quantization_config=OctavoConfig(scheme))
    ids = small.tokens()
    assert type(model) is type(float_model) and torch.equal(small.outputs(model, ids), small.outputs(want, ids))
    assert model.hf_quantizer.report == want.hf_quantizer.report
    if maker is small.mixtral and scheme == "llm-int8":  # which no folder has
        return
    model.save_pretrained(tmp_path, **small.saving(model, scheme))
    assert torch.equal(small.outputs(octavo.torch.from_pretrained(tmp_path), ids), small.outputs(want, ids))


def test_the_door_says_what_is_wrong(folders, tmp_path):
    folder, float_model = folders(small.llama)
    model = octavo.torch.from_pretrained(folder, "int8-dynamic", ignore=["re:.*down_proj"])
    assert type(model.model.layers[0].mlp.down_proj) is torch.nn.Linear
    model.save_pretrained(tmp_path / "int8")
    shutil.copytree(tmp_path / "int8", tmp_path / "undeclared")
    config = json.loads((tmp_path / "undeclared" / "config.json").read_text())
    del config["quantization_config"]
    (tmp_path / "undeclared" / "config.json").write_text(json.dumps(config))
    for path, options, said in (
            (folder, {}, "folder must have quantised layers .of a float folder, scheme="),
            (tmp_path / "int8", {"scheme": "fp8-dynamic"}, "scheme must be None for a folder that is quantised already; got 'fp8-dynamic'"),
            (tmp_path / "undeclared", {"scheme": "fp8-dynamic"}, "OctavoConfig: folder must have float weights"),
            (folder, {"scheme": "int9"}, "scheme must be int8-dynamic"),
            (folder, {"ignore": ["lm_head"]}, "ignore must be None without a scheme")):
        with pytest.raises(ValueError, match=said):
            octavo.torch.from_pretrained(path, **options)
    with pytest.warns(DeprecationWarning, match="the model's class is the keyword model_class"):
        again = octavo.torch.from_pretrained(tmp_path / "int8", type(float_model))
    assert torch.equal(again(small.tokens()).logits, model(small.tokens()).logits)


HALVES = {"model.embed_tokens": "cpu", "model.layers": 0, "model.norm": 0, "model.rotary_emb": 0, "lm_head": 0}


MAPS = [
    ("cpu", None), (torch.device("cpu"), None), ({"": "cpu"}, None), ("auto", None), ("balanced", None), ("sequential", None),
    ("cuda", "device_map's device must be cpu.*got cuda"), ({"": torch.device("cuda:1")}, "device_map's device must be cpu.*got cuda"),
    ("xpu", "device_map's device must be cpu.*got xpu"), ("meta", "device_map's device must be cpu.*got meta"),
    ({"": "disk"}, "device_map must put the model on one device; got disk"),
    (HALVES, "device_map must put the model on one device; got 0, cpu"),
]


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is refused depends on the devices")
@pytest.mark.parametrize("kind, device_map, refused", [
    *(("float", *row) for row in MAPS), *(("quantised", *row) for row in MAPS if row[0] in ("auto", "cuda", HALVES))], ids=str)
def test_a_device_map_is_honoured_or_refused(folders, tmp_path, kind, device_map, refused):
    pytest.importorskip("accelerate")
    folder, float_model = folders(small.llama)
    options = dict(quantization_config=OctavoConfig())
    if kind == "quantised":
        octavo.torch.quantize_(model := copy.deepcopy(float_model))
        model.save_pretrained(tmp_path)
        folder, options = tmp_path, {}
    load = lambda: type(float_model).from_pretrained(folder, device_map=device_map, **options)  # noqa: E731
    if refused:
        with pytest.raises(NotImplementedError, match=f"OctavoConfig: {refused}"):
            load()
        return
    model = load()
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"} and not hasattr(model, "hf_device_map")
    assert torch.equal(model(small.tokens()).logits, load()(small.tokens()).logits)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:.*stay in float")
def test_routes_of_a_mixtral(seed, record_property):
    """A route is decided where its last expert leads the next by 0.05 and more. Routes that flip are counted;
    most of them were not decided."""
    float_model, ids = small.made(small.mixtral, seed), small.tokens(seed, rows=4, length=48)
    for layer in float_model.model.layers:
        layer.mlp.gate.weight.data *= 40  # nearly as decided as a trained router's
    with torch.no_grad():
        before = float_model(ids, output_router_logits=True)
        for scheme in ("int8-dynamic", "fp8-dynamic", "llm-int8"):
            model = copy.deepcopy(float_model)
            octavo.torch.quantize_(model, scheme)
            after = model(ids, output_router_logits=True)
            chosen = torch.cat(before.router_logits).softmax(-1).topk(3)
            decided = chosen.values[:, 1] - chosen.values[:, 2] >= 0.05
            now = torch.cat(after.router_logits).topk(2).indices
            flipped = (chosen.indices[:, :2].sort(-1).values != now.sort(-1).values).any(-1)
            counts = f"{int(flipped.sum())} of {len(flipped)} routes, {int((flipped & decided).sum())} of {int(decided.sum())} decided"
            record_property(scheme, counts)
            assert int((flipped & decided).sum()) < int((flipped & ~decided).sum()), counts
            assert small.cosine(after.logits, before.logits) >= 0.99, counts


GROUP = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True,
                                            "dynamic": False}}
STATIC = {"num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": False}


def foreign(folder, float_model, activations, format="int-quantized", **tensors):
    """A Llama folder as another tool writes it: int8 channels, and whatever activations."""
    model = copy.deepcopy(float_model)
    octavo.torch.quantize_(model, "int8-dynamic")
    state = {name: t.contiguous() for name, t in model.state_dict().items()}
    for name in [name for name in state if name.endswith("weight_scale")]:
        for key, value in tensors.items():
            state[name.replace("weight_scale", key)] = value.clone()
    config = copy.deepcopy(float_model.config)
    config.architectures = ["LlamaForCausalLM"]
    config.quantization_config = {"quant_method": "compressed-tensors", "format": format, "ignore": ["lm_head"],
                                  "quantization_status": "compressed",
                                  "config_groups": {"group_0": {**GROUP, "input_activations": activations}}}
    config.save_pretrained(folder)
    safetensors_torch.save_file(state, folder / "model.safetensors")
    return octavo.torch.from_pretrained(folder)


def dequantized(layer):
    q = layer.quantized_weight()
    return q.data.double() * q.scale.double()


@pytest.mark.parametrize("symmetric", [True, False])
def test_static_scales_and_zero_points_are_honoured(folders, symmetric, tmp_path):
    scale = torch.tensor([0.03])
    tensors = {"input_scale": scale} if symmetric else {"input_scale": scale,
                                                        "input_zero_point": torch.tensor([-17], dtype=torch.int8)}
    model = foreign(tmp_path, folders(small.llama)[1], {**STATIC, "symmetric": symmetric}, **tensors)
    layer = model.model.layers[0].mlp.up_proj
    x = torch.randn(5, 128) * 0.8 + (0 if symmetric else 0.5)
    zero = 0 if symmetric else -17
    codes = ((x.double() / scale.double()).round() + zero).clamp(-128, 127)
    expected = (codes - zero) * scale.double() @ dequantized(layer).T
    assert torch.allclose(layer(x).double(), expected, rtol=1e-5, atol=1e-5)
    assert small.cosine(layer(x), x @ dequantized(layer).float().T) > 0.99


def test_weight_only_layers_multiply_activations_as_they_are(folders, tmp_path):
    model = foreign(tmp_path, folders(small.llama)[1], None)
    layer = model.model.layers[0].mlp.up_proj
    assert type(layer) is octavo.torch.nn.Int8WeightOnlyLinear and layer._rule == {}
    x = torch.randn(5, 128).bfloat16().float()
    expected = x.double() @ dequantized(layer).T
    assert float((layer(x) - expected).abs().max()) <= 2e-6 * float((x.abs().double() @ dequantized(layer).abs().T).max())
    model.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())["quantization_config"]
    assert config["config_groups"]["group_0"]["input_activations"] is None
    assert torch.equal(small.outputs(type(model).from_pretrained(tmp_path / "again"), small.tokens()),
                       small.outputs(model, small.tokens()))


@pytest.mark.filterwarnings("ignore:.*stay in float")
@pytest.mark.parametrize("maker", [small.llama, small.mixtral, small.bert, small.qwen3_moe], ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("scheme", small.SCHEMES)
def test_a_folder_of_quantize_file_is_the_model_of_quantize_(folders, maker, scheme, tmp_path):
    """Bit for bit; experts of llm-int8, which the file has and quantize_ leaves, to the issue's bound."""
    folder, float_model = folders(maker)
    octavo.quantize_file(folder, tmp_path / "out", scheme)
    model, ids = octavo.torch.from_pretrained(tmp_path / "out"), small.tokens()
    expected = copy.deepcopy(float_model)
    report = octavo.torch.quantize_(expected, scheme)
    if all(row.asked for row in report.left):
        assert torch.equal(small.outputs(model, ids), small.outputs(expected, ids))
    assert small.cosine(small.outputs(model, ids), small.outputs(float_model, ids)) >= 0.99


def test_a_weight_of_another_shape_is_refused(folders, tmp_path):
    model = copy.deepcopy(folders(small.llama)[1])
    octavo.torch.quantize_(model)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))
    with pytest.raises(ValueError, match=r"layer 'model.layers.0.mlp.down_proj' of the folder must have a weight \[N, K\] of "
                                         r"\[128, 128\]; got \[128, 256\]"):
        octavo.torch.from_pretrained(tmp_path)


def test_a_folder_without_codes_is_refused(folders):
    with pytest.raises(ValueError, match="from_pretrained: folder must have quantised layers"):
        octavo.torch.from_pretrained(folders(small.llama)[0])


class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 32))
        self.norm = torch.nn.LayerNorm(32)
        self.head = torch.nn.Linear(32, 8)

    def forward(self, x):
        return self.head(self.norm(self.body(x)))


@pytest.fixture
def own(tmp_path):
    """A model of one's own, quantised, and its file."""
    torch.manual_seed(0)
    model = Own()
    octavo.torch.quantize_(model, "fp8-dynamic", ignore=["head"])
    safetensors_torch.save_file({n: t.contiguous() for n, t in model.state_dict().items()}, tmp_path / "model.safetensors")
    return model, tmp_path / "model.safetensors"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_load_puts_a_file_into_a_model_of_ones_own(own, device):
    model, path = own
    with torch.device(device):
        empty = Own()
    x = torch.randn(3, 64)
    assert octavo.torch.load_(empty, path) is empty
    assert empty.body[0].frozen and type(empty.head) is torch.nn.Linear
    assert torch.equal(empty(x), model(x))
    assert torch.equal(octavo.torch.load_(model, path)(x), empty(x))  # once more, into Octavo's layers


def test_load_says_what_has_no_place(own):
    _, path = own
    model = Own()
    model.bodies, model.body = model.body, None
    with pytest.raises(ValueError, match=r"load_: layer 'body.0' of the folder must be a linear layer or an embedding of the model "
                                         r"\(nearest: 'bodies.0'\); got none at 'body.0'"):
        octavo.torch.load_(model, path)
    model = Own()
    model.extra = torch.nn.LayerNorm(3)
    with pytest.raises(RuntimeError, match="load_: tensors must be those of the model; missing: extra.bias, extra.weight; "
                                           "unexpected: none"):
        octavo.torch.load_(model, path)
    octavo.torch.load_(model, path, strict=False)
