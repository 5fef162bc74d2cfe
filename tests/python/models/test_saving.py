# SPDX-License-Identifier: Apache-2.0
"""save_pretrained of models with Octavo's layers: a folder that declares itself, and comes back bit for bit."""

import copy
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402

SCHEMES = (*small.SCHEMES, *small.NEWER)
METHODS = {"int8-dynamic": "compressed-tensors", "fp8-dynamic": "compressed-tensors", "fp8-block": "fp8",
           "llm-int8": "bitsandbytes", "int8-weight-only": "compressed-tensors", "fp8-weight-only": "compressed-tensors",
           "mxfp8": "compressed-tensors"}


@pytest.fixture(scope="module")
def floats():
    """Each architecture's float model and its outputs, made once."""
    made = {}

    def of(maker):
        if maker not in made:
            model = small.made(maker)
            made[maker] = model, small.outputs(model, small.tokens())
        return made[maker]

    return of


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def declared(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]


@pytest.mark.filterwarnings("ignore:.*stay in float")
@pytest.mark.parametrize("maker, scheme", small.cases([*small.FIVE, small.qwen3_moe, small.deepseek_v3]), ids=small.name_of)
def test_a_saved_model_comes_back(floats, maker, scheme, tmp_path):
    """By plain from_pretrained and by Octavo's, with the same bits; saved again, with the same tensors."""
    float_model, expected = floats(maker)
    model, ids = copy.deepcopy(float_model), small.tokens()
    octavo.torch.quantize_(model, scheme)
    outputs = small.outputs(model, ids)
    assert small.cosine(outputs, expected) >= 0.99
    if small.saving(model, scheme):
        with pytest.raises(NotImplementedError, match='experts must be "separate" .* or "float" .*no experts of mxfp8; got None'):
            model.save_pretrained(tmp_path / "a")
    model.save_pretrained(tmp_path / "a", **small.saving(model, scheme))
    again = type(model).from_pretrained(tmp_path / "a")
    assert isinstance(again.hf_quantizer.quantization_config, octavo.torch.OctavoConfig)
    assert torch.equal(small.outputs(again, ids), outputs)
    ours = octavo.torch.from_pretrained(tmp_path / "a")
    assert type(ours) is type(model) and torch.equal(small.outputs(ours, ids), outputs)
    again.save_pretrained(tmp_path / "b", **small.saving(again, scheme))
    assert declared(tmp_path / "a") == declared(tmp_path / "b")
    first, second = (octavo.open_checkpoint(tmp_path / name / "model.safetensors") for name in "ab")
    assert sorted(first.keys()) == sorted(second.keys())
    assert all(first.tensor(key).tobytes() == second.tensor(key).tobytes() for key in first.keys())


def test_the_folder_is_in_a_dialect_of_others(floats, tmp_path):
    for scheme, method in METHODS.items():
        model = copy.deepcopy(floats(small.bert)[0])
        octavo.torch.quantize_(model, scheme)
        model.save_pretrained(tmp_path / scheme)
        assert declared(tmp_path / scheme)["quant_method"] == method
        assert "quantization_config" not in vars(model.config) and not hasattr(model, "hf_quantizer")
    model = copy.deepcopy(floats(small.mixtral)[0])
    octavo.torch.quantize_(model)
    model.save_pretrained(tmp_path / "mixtral")
    config = declared(tmp_path / "mixtral")
    assert {"lm_head", "model.layers.0.block_sparse_moe.gate", "model.layers.0.mlp.gate"} <= set(config["ignore"])
    names = octavo.open_checkpoint(tmp_path / "mixtral").quantized_layers()
    assert "model.layers.1.block_sparse_moe.experts.3.w2" in names and len(names) == 2 * (4 + 4 * 3)


PLAIN = """
import sys, torch, transformers
ids, names = torch.load(sys.argv[1]), sys.argv[2:]
for name in names:
    folder, cls = name.split("=")
    model, info = getattr(transformers, cls).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    with torch.no_grad():
        torch.save(model(ids)[0], folder + "/out.pt")
assert "octavo" not in sys.modules
"""


@pytest.mark.filterwarnings("ignore:.*stay in float")
def test_transformers_alone_loads_it(floats, tmp_path):
    """Without Octavo, by bitsandbytes and transformers' own fp8 blocks. compressed-tensors is no requirement of ours."""
    pytest.importorskip("bitsandbytes")
    cases = [(small.llama, "llm-int8"), (small.mixtral, "llm-int8"), (small.gpt2, "llm-int8"), (small.bert, "llm-int8"),
             (small.qwen2, "llm-int8"), (small.bert, "fp8-block"), (small.mixtral, "fp8-block"), (small.deepseek_v3, "fp8-block")]
    torch.save(small.tokens(), tmp_path / "ids.pt")
    arguments = []
    for maker, scheme in cases:
        model, folder = copy.deepcopy(floats(maker)[0]), tmp_path / f"{maker.__name__}-{scheme}"
        octavo.torch.quantize_(model, scheme)
        model.save_pretrained(folder)
        arguments.append(f"{folder}={type(model).__name__}")
    done = subprocess.run([sys.executable, "-c", PLAIN, tmp_path / "ids.pt", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for maker, scheme in cases:
        outputs = torch.load(tmp_path / f"{maker.__name__}-{scheme}" / "out.pt")
        assert small.cosine(outputs, floats(maker)[1]) >= 0.99, (maker.__name__, scheme)


@pytest.mark.filterwarnings("ignore:.*stay in float")
def test_what_bitsandbytes_cannot_multiply_is_a_warning(floats, tmp_path):
    """DeepSeek-V3 expands latents of four dimensions; with that layer in float, bitsandbytes runs the folder."""
    pytest.importorskip("bitsandbytes")
    torch.save(small.tokens(), tmp_path / "ids.pt")
    left = ["lm_head", "re:.*mlp.gate$", "kv_b_proj"]
    for folder, ignore in (("all", left[:2]), ("but-one", left)):
        model = copy.deepcopy(floats(small.deepseek_v3)[0])
        octavo.torch.quantize_(model, "llm-int8", ignore=ignore)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            model.save_pretrained(tmp_path / folder)
        said = [str(warning.message) for warning in seen if "four dimensions" in str(warning.message)]
        assert len(said) == (folder == "all")
        command = [sys.executable, "-c", PLAIN, tmp_path / "ids.pt", f"{tmp_path / folder}={type(model).__name__}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode == 0) == (folder == "but-one"), done.stderr
    assert said == [] and small.cosine(torch.load(tmp_path / "but-one" / "out.pt"), floats(small.deepseek_v3)[1]) >= 0.99


def test_blocks_that_do_not_divide_are_no_fp8_folder(tmp_path):
    """transformers' fp8 takes 192 rows of two blocks for blocks of 96."""
    for size, method in ((64, "fp8"), (192, "compressed-tensors")):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**small.SIZES, "intermediate_size": size})).eval()
        octavo.torch.quantize_(model, "fp8-block")
        model.save_pretrained(tmp_path / method)
        assert declared(tmp_path / method)["quant_method"] == method
        again = type(model).from_pretrained(tmp_path / method)
        assert torch.equal(small.outputs(again, small.tokens()), small.outputs(model, small.tokens()))


def test_shards(floats, tmp_path):
    model, ids = copy.deepcopy(floats(small.llama)[0]), small.tokens()
    octavo.torch.quantize_(model, "fp8-dynamic")
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert torch.equal(small.outputs(type(model).from_pretrained(tmp_path), ids), small.outputs(model, ids))


def test_a_part_that_was_quantized_is_declared(floats, tmp_path):
    model, ids = copy.deepcopy(floats(small.llama)[0]), small.tokens()
    octavo.torch.quantize_(model.model.layers[0].mlp, "int8-dynamic")
    model.save_pretrained(tmp_path)
    assert "model.layers.1.mlp.up_proj" in declared(tmp_path)["ignore"]
    assert torch.equal(small.outputs(type(model).from_pretrained(tmp_path), ids), small.outputs(model, ids))


def test_a_tied_head_that_was_quantized_comes_back(tmp_path):
    config = transformers.LlamaConfig(**small.GROUPED, tie_word_embeddings=True)
    torch.manual_seed(0)
    model, ids = transformers.LlamaForCausalLM(config).eval(), small.tokens()
    octavo.torch.quantize_(model, "int8-dynamic", ignore=())
    model.save_pretrained(tmp_path)
    assert model.config.tie_word_embeddings
    again = octavo.torch.from_pretrained(tmp_path)
    assert again.lm_head.frozen and torch.equal(small.outputs(again, ids), small.outputs(model, ids))


def test_llm_int8_keeps_its_row_maxima(tmp_path):
    """SCB / 127 is the scale that it came from, for every scale."""
    from octavo.torch.transformers._dialect import row_maxima

    maxima = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 10
    scale = maxima / 127
    assert torch.equal(row_maxima(scale) / 127, scale)


def test_what_has_no_codes_is_saved_as_ever(floats, tmp_path):
    """A model that was left alone; float weights in training; and a state of the caller's own."""
    model = copy.deepcopy(floats(small.llama)[0])
    other = copy.deepcopy(model)
    octavo.torch.quantize_(other)
    model.save_pretrained(tmp_path / "plain")
    values = model.state_dict()
    octavo.torch.quantize_(model, freeze=False)
    model.save_pretrained(tmp_path / "trains")
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "trains").state_dict()
    assert all(torch.equal(again[name], t) for name, t in values.items())
    other.save_pretrained(tmp_path / "own", True, values)
    for name in ("plain", "trains", "own"):
        assert "quantization_config" not in json.loads((tmp_path / name / "config.json").read_text())


def test_adapters_are_saved(floats, tmp_path):
    peft = pytest.importorskip("peft")
    model = copy.deepcopy(floats(small.llama)[0])
    octavo.torch.quantize_(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["lm_head"]))
    adapted.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_layers_count_in_the_footprint(floats):
    model = copy.deepcopy(floats(small.mixtral)[0])
    before = model.get_memory_footprint()
    codes = sum(p.numel() for name, p in model.named_parameters() if "proj" in name)
    octavo.torch.quantize_(model)
    after = model.get_memory_footprint()
    assert codes <= after - (before - 4 * codes) <= 1.2 * codes


@pytest.mark.parametrize("code", ["import octavo.torch, sys; assert 'transformers' not in sys.modules; import transformers",
                                  "import octavo.torch; octavo.torch.OctavoConfig"])
def test_the_order_of_imports_makes_no_difference(code):
    code += "; from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING as m; print(m['octavo'].__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "OctavoQuantizer\n", done.stderr


WITHOUT = """
import sys
sys.modules["transformers"] = None
import torch, octavo.torch
model = torch.nn.Sequential(torch.nn.Linear(8, 8))
found = octavo.torch.calibrate(model, [torch.ones(2, 8)])
octavo.torch.quantize_(model, calibration=found)
for call in (lambda: octavo.torch.OctavoConfig, lambda: octavo.torch.from_pretrained("."), lambda: octavo.torch.evaluate(".", ".", [])):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_transformers_is_no_requirement():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    wanted = re.search(r"transformers>=([\d.]+)", (Path(__file__).parents[3] / "pyproject.toml").read_text())[1]
    sentence = (f"{{}}: transformers must be installed, version {wanted} or later (pip install 'octavo[transformers]'); got none or "
                "an older one\n")
    assert done.stdout == "".join(map(sentence.format, ("OctavoConfig", "from_pretrained", "evaluate"))), done.stderr


def test_folders_of_others_are_theirs():
    from transformers.quantizers.auto import AutoQuantizationConfig

    config = AutoQuantizationConfig.from_dict({"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert type(config) is transformers.BitsAndBytesConfig
    config = AutoQuantizationConfig.from_dict({"quant_method": "fp8", "weight_block_size": [128, 128]})
    assert type(config) is transformers.FineGrainedFP8Config


def test_what_no_dialect_has_is_refused(tmp_path):
    model = small.made(small.llama)
    octavo.torch.quantize_(model.model.layers[0], "int8-dynamic")
    octavo.torch.quantize_(model.model.layers[1], "llm-int8")
    with pytest.raises(ValueError, match="save_pretrained: model must have layers of one threshold and no other scheme"):
        model.save_pretrained(tmp_path / "a")
    model = small.made(small.llama)
    weight = torch.randn(3, 64, 32)
    model.model.extra = octavo.torch.nn.FusedMoE.from_float(weight, torch.randn(3, 32, 32))
    with pytest.raises(NotImplementedError, match="save_pretrained: model must have experts .*; got 'model.extra', FusedMoE"):
        model.save_pretrained(tmp_path / "b")
    assert not any(Path(tmp_path).iterdir())
