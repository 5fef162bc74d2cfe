# SPDX-License-Identifier: Apache-2.0
"""octavo.bnb under code written for bitsandbytes: transformers, PEFT, layers that servers build by hand, and
what PyTorch does with the weights."""

import copy
import importlib.util
import io
import pickle
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")

import octavo.bnb as bnb  # noqa: E402
from bnb_kit import activations, gaussian  # noqa: E402
from octavo.bnb.nn import Int8Params, Linear8bitLt  # noqa: E402

TOKENS = torch.arange(24).view(2, 12)
BLOCK = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}


def frozen(used, inputs=64, outputs=48, **options):
    """A quantised layer, which has multiplied (its weight is packed) or not."""
    torch.manual_seed(5)
    layer = Linear8bitLt(inputs, outputs, has_fp16_weights=False, threshold=6.0, **options).to("cpu")
    if used:
        layer(activations(2, inputs))
    return layer


def state_by_hand(codes, absmax, **options):
    """As vLLM and TGI make it."""
    state = bnb.MatmulLtState()
    state.CB, state.SCB = codes, absmax
    state.threshold, state.has_fp16_weights, state.is_training = 6.0, False, False
    for name, value in options.items():
        setattr(state, name, value)
    return state


# ---- transformers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformers():
    """transformers whose bitsandbytes is octavo.bnb."""
    module = pytest.importorskip("transformers")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("", ".nn", ".functional", ".autograd"):
            patch.setitem(sys.modules, f"bitsandbytes{name}", importlib.import_module(f"octavo.bnb{name}"))
        for user in ("transformers.integrations.bitsandbytes", "peft.tuners.lora.bnb"):
            if user.startswith("peft") and importlib.util.find_spec("peft") is None:
                continue
            patch.setattr(importlib.import_module(user), "bnb", bnb)
        # It wants accelerate, and does not use it where all is on the CPU.
        patch.setattr("transformers.quantizers.quantizer_bnb_8bit.is_accelerate_available", lambda: True)
        yield module


@pytest.fixture(scope="module")
def checkpoint(transformers, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**BLOCK)).save_pretrained(folder)
    return folder


@pytest.fixture
def load(transformers, checkpoint):
    def loaded(folder=checkpoint, **options):
        if folder == checkpoint:
            options["quantization_config"] = transformers.BitsAndBytesConfig(load_in_8bit=True)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()

    return loaded


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_transformers_quantizes_at_load(transformers, checkpoint, load, dtype):
    plain = transformers.LlamaForCausalLM.from_pretrained(checkpoint, dtype=dtype)
    model, by_hand = load(dtype=dtype), copy.deepcopy(plain)
    for name, linear in plain.named_modules():
        if type(linear) is torch.nn.Linear and name != "lm_head":
            layer = Linear8bitLt(linear.in_features, linear.out_features, False, has_fp16_weights=False, threshold=6.0)
            layer.load_state_dict(linear.state_dict())
            by_hand.set_submodule(name, layer)
            assert type(model.get_submodule(name)) is Linear8bitLt
    assert torch.equal(logits(model), logits(by_hand))
    error = (logits(model) - logits(plain)).float().norm() / logits(plain).float().norm()
    assert 0 < error < 0.05
    assert model.generate(TOKENS, max_new_tokens=3, do_sample=False).shape == (2, 15)
    assert model.get_memory_footprint() < 0.8 * plain.get_memory_footprint() or dtype is torch.bfloat16
    assert model.num_parameters() == plain.num_parameters()


@pytest.mark.parametrize("used", [False, True])
def test_transformers_saves_loads_and_dequantizes(load, tmp_path, used):
    model = load()
    want = logits(copy.deepcopy(model))
    if used:
        logits(model)
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert torch.equal(logits(again), want)
    up = model.model.layers[1].mlp.up_proj
    values = bnb.functional.int8_vectorwise_dequant(*up._codes())
    model.dequantize(dtype=torch.float32)
    linear = model.model.layers[1].mlp.up_proj
    assert type(linear) is torch.nn.Linear and torch.equal(linear.weight, values)
    assert 0 < (logits(model) - want).norm() / want.norm() < 0.05


# ---- PEFT ----------------------------------------------------------------------------------------------


@pytest.fixture
def peft(transformers):
    return pytest.importorskip("peft")


def adapted(peft, model, **options):
    torch.manual_seed(2)
    return peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", **options))


def trained(model, steps=8):
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = model(TOKENS, labels=TOKENS).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("used, checkpointing", [(False, True), (True, False)])
def test_peft_trains_merges_and_keeps_adapters(peft, load, tmp_path, used, checkpointing):
    base = load()
    if used:
        logits(base)
    base = peft.prepare_model_for_kbit_training(base, use_gradient_checkpointing=checkpointing)
    model = adapted(peft, base)
    assert type(model.base_model.model.model.layers[0].mlp.up_proj).__module__ == "peft.tuners.lora.bnb"
    losses = trained(model.train())
    assert losses[-1] < 0.95 * losses[0]
    want = logits(model.eval())
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(load()))
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(load(), tmp_path)), want)

    def near(got):
        return (got - want).norm() < 0.1 * want.norm()

    model.merge_adapter()
    assert near(logits(model)) and not torch.equal(logits(model), want)
    model.unmerge_adapter()
    assert near(logits(model))
    model.merge_adapter()
    model.unmerge_adapter()  # without a product between them
    assert near(logits(model))
    merged = model.merge_and_unload()
    assert type(merged.model.layers[0].mlp.up_proj) is Linear8bitLt and near(logits(merged))


def test_peft_reads_packed_weights(peft, load):
    base = load()
    want = logits(base)
    model = adapted(peft, base, use_dora=True).eval()
    assert (logits(model) - want).norm() < 1e-5 * want.norm()
    trained(model.train(), steps=1)


# ---- states made by hand -------------------------------------------------------------------------------


def test_servers_slice_codes_by_rows_and_columns():
    w, x = gaussian(48, 64, seed=3), activations(5, 64)
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(w)
    want = bnb.matmul(x, w, threshold=6.0)
    parts = [bnb.matmul(x.unsqueeze(0), codes[a:b], state=state_by_hand(codes[a:b], absmax[a:b]))
             for a, b in ((0, 16), (16, 40), (40, 48))]
    assert torch.equal(torch.cat(parts, -1)[0], want)
    halves = [bnb.matmul(x[:, a:a + 32], codes[:, a:a + 32], state=state_by_hand(codes[:, a:a + 32], absmax))
              for a in (0, 32)]
    assert (sum(halves) - x @ w.T).norm() < 0.02 * (x @ w.T).norm()
    assert torch.equal(bnb.matmul(x, None, state=state_by_hand(codes, absmax)), want)


def test_statistics_in_16_bits_are_widened():
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(gaussian(48, 64, seed=3))
    x, half = activations(5, 64), absmax.bfloat16()
    want = bnb.matmul(x, codes, state=state_by_hand(codes, half.float()))
    assert torch.equal(bnb.matmul(x, codes, state=state_by_hand(codes, half)), want)
    made = bnb.MatmulLtState(CB=codes, SCB=half)
    assert made.SCB.dtype == torch.float32 and torch.equal(made.SCB, half.float())


@pytest.mark.parametrize("codes, absmax", [(torch.zeros(48, 64), torch.ones(48)),
                                           (torch.zeros(48, 64, dtype=torch.int8), torch.ones(5))])
def test_codes_and_statistics_that_do_not_fit(codes, absmax):
    with pytest.raises(ValueError, match=r"matmul: state.CB and state.SCB must be int8 codes \[N, K\] and absolute"):
        bnb.matmul(activations(5, 64), codes, state=state_by_hand(codes, absmax))


def test_a_servers_own_layer():
    """TGI's module: Int8Params of its own, and attributes of bitsandbytes before 0.45."""
    w, x = gaussian(48, 64, seed=3), activations(5, 64)
    weight = Int8Params(w.clone(), has_fp16_weights=False, requires_grad=False)
    weight.to("cpu")
    state = state_by_hand(weight.CB, weight.SCB, memory_efficient_backward=False)
    weight.CB = weight.SCB = None
    assert torch.equal(bnb.matmul(x, weight, state=state), bnb.matmul(x, w, threshold=6.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert state.CB is not None and state.CxB is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True)])
def test_a_transposed_weight(dtype, needs):
    x, w = activations(2, 5, 64, dtype=dtype), gaussian(48, 64, seed=3, dtype=dtype)
    grad = gaussian(2, 5, 48, dtype=dtype)
    results = []
    for form in (w.clone(), w.t().contiguous()):
        a, b = x.clone().requires_grad_(needs[0]), form.requires_grad_(needs[1])
        y = bnb.matmul(a, b if b.shape == w.shape else b.t(), threshold=6.0)
        y.backward(grad)
        assert (a.grad is not None, b.grad is not None) == needs
        results.append((y, a.grad, b.grad if b.grad is None or b.shape == w.shape else b.grad.t()))
    for first, second in zip(*results):
        assert first is second is None or (torch.equal(first, second) and first.dtype == dtype)


# ---- what PyTorch does with the weights ----------------------------------------------------------------


def test_a_packed_weight_is_written():
    layer, x = frozen(True), activations(4, 64)
    codes = (layer.state.CB // 2).clone()
    expected = bnb.matmul(x, codes, bias=layer.bias, state=state_by_hand(codes, layer.state.SCB))
    for write in (lambda w: w.copy_(codes), lambda w: setattr(w, "data", codes), lambda w: w.floor_divide_(2)):
        layer = frozen(True)
        with torch.no_grad():
            write(layer.weight)
        assert torch.equal(layer(x), expected)
        assert torch.equal(layer.state_dict()["weight"], codes) and layer.state.is_packed
        torch.zeros(48, 64, dtype=torch.int8).copy_(layer.weight)
        assert layer.state.is_packed  # reading leaves it so
    with pytest.raises(ValueError, match=r"Int8Params: data must be int8 codes \[48, 64\] of the same SCB"):
        layer.weight.data = torch.zeros(48, 64)


@pytest.mark.parametrize("used", [False, True])
def test_layers_that_share_a_weight(used):
    first, x = frozen(used), activations(4, 64)
    second = Linear8bitLt(64, 48, False, has_fp16_weights=False, threshold=6.0)
    second.weight = first.weight
    want = first(x) - first.bias
    assert (second(x) - want).abs().max() < 1e-5 and second.state is first.state
    assert (copy.deepcopy(torch.nn.ModuleList([first, second]))[1](x) - want).abs().max() < 1e-5


@pytest.mark.parametrize("used", [False, True])
def test_functional_call(used):
    layer, other, x = frozen(used), frozen(used, bias=False), activations(4, 64)
    other.load_state_dict({"weight": gaussian(48, 64, seed=9)})
    want, wanted = copy.deepcopy(layer)(x), copy.deepcopy(other)(x)
    call = torch.func.functional_call
    assert torch.equal(call(layer, dict(layer.named_parameters()), (x,)), want)
    assert torch.equal(call(layer, {n: p.detach() for n, p in layer.named_parameters()}, (x,)), want)
    zero = torch.zeros(48)
    codes = layer.state.CB
    assert torch.equal(call(layer, {"weight": other.weight, "bias": zero}, (x,)), wanted)
    assert torch.equal(layer.state_dict()["weight"], codes)
    assert torch.equal(layer(x), want) and torch.equal(other(x), wanted)
    with pytest.raises(ValueError, match="Linear8bitLt: weight must be an Int8Params where has_fp16_weights is False"):
        call(layer, {"weight": gaussian(48, 64)}, (x,))


def test_transforms_are_refused():
    layer, x = frozen(True), activations(4, 64)
    for transform in (torch.func.vmap(layer), torch.func.grad(lambda a: layer(a).sum())):
        with pytest.raises(NotImplementedError, match="matmul: torch.func's transforms"):
            transform(x)


@pytest.mark.parametrize("used", [False, True])
def test_files_and_copies(used, tmp_path):
    files = pytest.importorskip("safetensors.torch")
    layer, x = frozen(used), activations(4, 64)
    want = copy.deepcopy(layer)(x)
    files.save_model(layer, str(tmp_path / "layer.safetensors"))
    state = files.load_file(tmp_path / "layer.safetensors")
    with torch.device("meta"):
        empty = Linear8bitLt(64, 48, has_fp16_weights=False, threshold=6.0)
    empty.load_state_dict(state, assign=True)
    old = frozen(not used)
    old.load_state_dict({**state, "weight_format": "row"})
    buffer = io.BytesIO()
    torch.save(layer.weight, buffer)
    buffer.seek(0)
    carried = frozen(False)
    carried.weight = torch.load(buffer, weights_only=False)
    for twin in (empty, old, carried, pickle.loads(pickle.dumps(layer)), copy.copy(layer), layer.share_memory()):
        assert torch.equal(twin(x), want)


@pytest.mark.parametrize("used", [False, True])
def test_the_life_of_a_frozen_layer(used):
    layer, x = frozen(used).requires_grad_(False), activations(4, 64)
    assert (layer.weight.device.type, layer.weight.nbytes, layer.weight.element_size()) == ("cpu", 48 * 64, 1)
    want = layer(x)
    with torch.inference_mode():
        made = frozen(used).requires_grad_(False)
        assert torch.equal(made(x), want)
    a = x.clone().requires_grad_()
    made(a).sum().backward()  # what inference mode made serves gradients
    assert a.grad.abs().sum() > 0
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(torch.export.export(layer, (x,)).module()(x), want)
    with pytest.raises(NotImplementedError, match="Linear8bitLt: device must be cpu"):
        frozen(used).to("meta")


def test_a_parametrised_weight():
    layer, x = frozen(False), activations(4, 64)
    want = copy.deepcopy(layer)(x)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", torch.nn.Identity(), unsafe=True)
    assert torch.equal(layer(x), want) and torch.equal(layer(x), want)


@pytest.mark.parametrize("used", [False, True])
def test_distributed_data_parallel(used, tmp_path):
    if not torch.distributed.is_available() or torch.distributed.is_initialized():
        pytest.skip("no process group of its own")
    model, x = torch.nn.Sequential(frozen(used), torch.nn.Linear(48, 8)), activations(4, 64)
    want = copy.deepcopy(model)(x)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        y = torch.nn.parallel.DistributedDataParallel(model)(x)
        y.sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(y, want) and model[1].weight.grad.abs().sum() > 0
