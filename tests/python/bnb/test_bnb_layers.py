# SPDX-License-Identifier: Apache-2.0
"""octavo.bnb.nn.Linear8bitLt and Int8Params: what they keep, save, load and train."""

import copy
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.bnb as bnb  # noqa: E402
import octavo.torch  # noqa: E402
from bnb_kit import activations, gaussian  # noqa: E402
from octavo.bnb.nn import Int8Params, Linear8bitLt  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


def frozen(inputs=70, outputs=33, threshold=6.0, **options):
    torch.manual_seed(5)
    return Linear8bitLt(inputs, outputs, has_fp16_weights=False, threshold=threshold, **options)


def test_a_frozen_layer_quantizes_where_it_is_moved():
    layer = frozen()
    weight = layer.weight.detach().clone()
    assert layer.weight.dtype == torch.float32 and not layer.weight.requires_grad
    layer = layer.to("cpu")
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(weight)
    assert isinstance(layer.weight, Int8Params) and torch.equal(layer.weight.data, codes)
    assert torch.equal(layer.weight.CB, codes) and torch.equal(layer.weight.SCB, absmax)
    x = activations(4, 70)
    assert torch.equal(layer(x), bnb.matmul(x, weight, threshold=6.0, bias=layer.bias.detach()))
    # The first product packs: the weight reads as codes, and has no memory of its own.
    assert isinstance(layer.weight, Int8Params) and isinstance(layer.weight, torch.nn.Parameter)
    assert layer.weight.dtype == torch.int8 and layer.weight.shape == (33, 70)
    assert torch.equal(layer.weight.data, codes) and torch.equal(layer.weight.float(), codes.float())
    assert layer.weight.CB is None and torch.equal(layer.state.CB, codes) and torch.equal(layer.state.SCB, absmax)
    assert layer.state._codes is None
    with pytest.raises(NotImplementedError, match="Linear8bitLt: device must be cpu"):
        layer.to("meta")


def test_a_layer_that_was_never_moved_quantizes_at_its_first_product():
    moved, kept = frozen().to("cpu"), frozen()
    x = activations(4, 70)
    assert torch.equal(moved(x), kept(x)) and kept.weight.dtype == torch.int8


def test_types_and_moves_of_a_packed_layer():
    layer = frozen()
    x = activations(4, 70)
    y = layer(x)
    layer.to(torch.bfloat16)
    assert layer.bias.dtype == torch.bfloat16 and layer.weight.dtype == torch.int8
    assert layer(x.bfloat16()).dtype == torch.bfloat16 and layer(x).dtype == torch.float32
    assert (layer(x) - y).abs().max() < 0.01  # only the bias was rounded
    layer.float().cpu().requires_grad_(False).eval()
    again = layer.weight.to("cpu")
    assert torch.equal(again.CB, layer.state.CB) and torch.equal(again.SCB, layer.state.SCB)
    assert sum(p.numel() for p in layer.parameters()) == 33 * 70 + 33


@pytest.mark.parametrize("used", [False, True])
def test_states_copies_and_pickles_are_bit_equal(used):
    layer, x = frozen().to("cpu"), activations(4, 70)
    y = copy.deepcopy(layer)(x)
    if used:
        layer(x)
    state = layer.state_dict()
    assert {name: (t.dtype, tuple(t.shape)) for name, t in state.items()} == {
        "weight": (torch.int8, (33, 70)), "bias": (torch.float32, (33,)), "SCB": (torch.float32, (33,)),
        "weight_format": (torch.uint8, ())}
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    fresh, packed = frozen(), frozen()
    packed(x)
    for target in (fresh, packed):
        with torch.no_grad():
            target.bias.zero_()
        assert target.load_state_dict(state) == torch.nn.modules.module._IncompatibleKeys([], [])
    for twin in (copy.deepcopy(layer), torch.load(file, weights_only=False), fresh, packed):
        assert torch.equal(twin(x), y)
        assert all(torch.equal(t, state[name]) for name, t in twin.state_dict().items())


def test_states_that_do_not_fit():
    state = frozen().to("cpu").state_dict()
    bad = {
        r"weight_format must be 0, row-major": {**state, "weight_format": torch.tensor(2, dtype=torch.uint8)},
        r"weight must be int8 with SCB": {name: t for name, t in state.items() if name != "SCB"},
        r"size mismatch for weight: .*33, 69": {**state, "weight": state["weight"][:, 1:]},
    }
    for sentence, broken in bad.items():
        with pytest.raises(RuntimeError, match=sentence):
            frozen().load_state_dict(broken)


def test_float_states_load_into_every_kind():
    linear, x = torch.nn.Linear(70, 33), activations(4, 70)
    want = bnb.matmul(x, linear.weight.detach(), threshold=6.0, bias=linear.bias.detach())
    used = frozen()
    used(x)
    for layer in (frozen(), frozen().to("cpu"), used, Linear8bitLt(70, 33, threshold=6.0)):
        layer.load_state_dict(linear.state_dict())
        assert torch.equal(layer(x), want)
    # Codes into a layer that trains: their values.
    trains = Linear8bitLt(70, 33, threshold=6.0)
    trains.load_state_dict(used.state_dict())
    assert torch.equal(trains.weight, bnb.functional.int8_vectorwise_dequant(used.state.CB, used.state.SCB))


def test_a_missing_weight_is_reported():
    with pytest.raises(RuntimeError, match='Missing key.*"weight"'):
        frozen().load_state_dict({"bias": torch.zeros(33)})
    frozen().load_state_dict({}, strict=False)


def test_states_beside_bitsandbytes():
    """Its state dictionaries load here and ours there, with the same bits."""
    peer = pytest.importorskip("bitsandbytes")
    theirs = peer.nn.Linear8bitLt(64, 32, has_fp16_weights=False, threshold=6.0).to("cpu")
    ours = frozen(64, 32)
    state = theirs.state_dict()
    ours.load_state_dict(state)
    ours(activations(3, 64))
    for name, t in ours.state_dict().items():
        assert torch.equal(t, state[name]) and t.dtype == state[name].dtype, name
    back = peer.nn.Linear8bitLt(64, 32, has_fp16_weights=False, threshold=6.0).to("cpu")
    back.load_state_dict(ours.state_dict())
    assert torch.equal(back.weight.data, state["weight"]) and torch.equal(back.weight.SCB, state["SCB"])


def test_gradients_flow_around_a_frozen_weight():
    layer, x = frozen(), activations(2, 5, 70).requires_grad_()
    layer(x).sum().backward()
    values = bnb.functional.int8_vectorwise_dequant(layer.state.CB, layer.state.SCB)
    assert (x.grad - values.sum(0)).abs().max() < 4e-3 * values.abs().sum(0).max()
    assert torch.equal(layer.bias.grad, torch.full((33,), 10.0)) and layer.weight.grad is None
    # What is kept for the gradient does not hold the activations.
    y = layer(x)
    assert all(t is None or t.shape != x.shape for t in y.grad_fn.saved_tensors)


def test_optimisers_train_float_weights():
    torch.manual_seed(0)
    layer = Linear8bitLt(70, 33, threshold=6.0)
    x, target = activations(64, 70), gaussian(64, 33, seed=8)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_autocast_and_checkpointing():
    layer, x = Linear8bitLt(70, 33, threshold=6.0), activations(4, 70).requires_grad_()
    direct, = torch.autograd.grad(layer(x).sum(), layer.weight)
    y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    again, = torch.autograd.grad(y.sum(), layer.weight)
    assert torch.equal(direct, again)


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("warm", [False, True])
def test_compiled(trains, warm):
    torch.manual_seed(0)
    layer = Linear8bitLt(70, 33, has_fp16_weights=trains, threshold=6.0).to("cpu")
    x = activations(4, 70)
    y = copy.deepcopy(layer)(x)
    if warm:
        layer(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), y)
    x.requires_grad_()
    compiled(x).sum().backward()
    got = x.grad.clone()
    x.grad = None
    layer(x).sum().backward()
    assert torch.equal(x.grad, got)


def test_explain():
    layer = frozen()
    assert "columns with an element of 6 and more" in str(layer.explain(activations(4, 70)))


def test_the_layer_of_octavo_torch_trains_and_takes_columns():
    torch.manual_seed(0)
    native = octavo.torch.nn.LLMInt8Linear(70, 33, threshold=6.0)
    layer = Linear8bitLt(70, 33, threshold=6.0, weight_gradient=native.weight_gradient)
    layer.load_state_dict({"weight": native.weight.detach(), "bias": native.bias.detach()})
    x, grad = activations(9, 70), gaussian(9, 33, seed=4)
    for module in (native, layer):
        module(x).backward(grad)
    assert torch.equal(native.weight.grad, layer.weight.grad) and torch.equal(native.bias.grad, layer.bias.grad)
    native.freeze()
    calm = gaussian(3, 70).clamp(-3, 3)
    before = native(calm)
    native.set_outlier_columns(torch.tensor([3]))
    assert native.threshold == 0.0 and not torch.equal(native(calm), before)
    with bnb.calibrate_outlier_columns(torch.nn.Sequential(native)) as columns:
        native(x)
    assert columns["0"].tolist() == [3]


def test_calibrated_columns_go_through_a_checkpoint(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    source, target = tmp_path / "float.safetensors", tmp_path / "int8.safetensors"
    torch.manual_seed(0)
    linear = torch.nn.Linear(70, 33)
    save_file({f"fc.{name}": t.detach() for name, t in linear.state_dict().items()}, source)
    model = torch.nn.ModuleDict({"fc": frozen()})
    model["fc"].load_state_dict(linear.state_dict())
    x = activations(9, 70).clamp(-9, 9)
    with bnb.calibrate_outlier_columns(model) as columns:
        model["fc"](x)
    octavo.quantize_file(source, target, "llm-int8", outlier_columns=columns, threshold=0.0)
    weight = octavo.open_checkpoint(target).weight("fc")
    assert weight.activation["outlier_columns"] == columns["fc"].tolist() and 3 in columns["fc"]
    layer = octavo.torch.nn.LLMInt8Linear.from_weight(weight, linear.bias.detach(), torch.float32)
    assert torch.equal(layer(x), model["fc"](x))


def test_the_examples_curves_overlay():
    pytest.importorskip("sklearn")
    example = ROOT / "examples" / "python" / "llm_int8_training.py"
    done = subprocess.run([sys.executable, example, "--epochs", "4", "--json"], capture_output=True, text=True,
                          check=True)
    for story, curves in json.loads(done.stdout).items():
        (float_losses, float_accuracy), (losses, accuracy) = curves.values()
        assert losses[-1] < 0.5 * losses[0], story
        assert all(abs(a - b) < 0.1 * b + 0.01 for a, b in zip(losses, float_losses)), story
        assert abs(accuracy - float_accuracy) < 0.02, story
