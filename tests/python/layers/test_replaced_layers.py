# SPDX-License-Identifier: Apache-2.0
"""What was added to a layer that quantize_ replaces: hooks go over, or the layer stays and the report says why."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch")

import torch.nn.utils.prune  # noqa: E402

import octavo.torch  # noqa: E402
from octavo.torch.models import _replace  # noqa: E402

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8-weight-only", "fp8-weight-only", "mxfp8")


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))


def doubled(layer, args, kwargs=None):
    x = args[0] * 2
    return (x,) if kwargs is None else ((x,), kwargs)


def negated(layer, args, *rest):
    return -rest[-1]


HOOKS = {
    "forward pre": lambda layer: layer.register_forward_pre_hook(doubled),
    "forward pre, kwargs": lambda layer: layer.register_forward_pre_hook(doubled, with_kwargs=True),
    "forward": lambda layer: layer.register_forward_hook(negated),
    "forward, kwargs": lambda layer: layer.register_forward_hook(negated, with_kwargs=True),
    "forward, always": lambda layer: layer.register_forward_hook(negated, always_call=True),
    "full backward": lambda layer: layer.register_full_backward_hook(lambda _, into, out: tuple(2 * g for g in into)),
    "full backward pre": lambda layer: layer.register_full_backward_pre_hook(lambda _, out: tuple(3 * g for g in out)),
}


def outcome(net):
    """The result, and the gradient of the input."""
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = net(x)
    y.sum().backward()
    return y.detach(), x.grad


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_of_passes_go_over(hook, scheme, freeze):
    """As if they were registered afterwards; the handle that the caller has removes them."""
    plain, before, after = model(), model(), model()
    handle = HOOKS[hook](before[2])
    for net in (plain, before, after):
        octavo.torch.quantize_(net, scheme, freeze=freeze)
    HOOKS[hook](after[2])
    assert same(outcome(before), outcome(after)) and not same(outcome(before), outcome(plain))
    handle.remove()
    assert same(outcome(before), outcome(plain))


def test_hooks_are_called_with_the_new_layer_and_in_their_order():
    net, seen = model(), []
    net[0].register_forward_hook(lambda layer, x, y: seen.append(("first", layer)))
    net[0].register_forward_hook(lambda layer, x, y: seen.append(("second", layer)), prepend=True)
    octavo.torch.quantize_(net)
    net(torch.randn(2, 16))
    assert seen == [("second", net[0]), ("first", net[0])]
    again = copy.deepcopy(net)
    again(torch.randn(2, 16))
    assert seen[2:] == [("second", again[0]), ("first", again[0])]


def test_every_table_of_hooks_is_known():
    """Of torch.nn.Module: those that go over, and those that keep a layer where it is."""
    tables = {name for name in vars(torch.nn.Module()) if name.endswith(("hooks", "with_kwargs", "always_called"))}
    assert tables == {*_replace._CARRIED, *_replace._OF_STATES}


def with_other_forward(layer):
    layer.forward = lambda x: torch.nn.functional.linear(x, layer.weight) * 2


STAY = {
    "state_dict": (lambda layer: layer._register_state_dict_hook(lambda *args: None), "hooks of its state"),
    "state_dict post": (lambda layer: layer.register_state_dict_post_hook(lambda *args: None), "hooks of its state"),
    "state_dict pre": (lambda layer: layer.register_state_dict_pre_hook(lambda *args: None), "hooks of its state"),
    "load pre": (lambda layer: layer.register_load_state_dict_pre_hook(lambda *args: None), "hooks of its state"),
    "load post": (lambda layer: layer.register_load_state_dict_post_hook(lambda *args: None), "hooks of its state"),
    "forward": (with_other_forward, "its forward is not its class's"),
    "buffer": (lambda layer: layer.register_buffer("mask", torch.ones(1)), "it has mask beside weight and bias"),
    "pruning": (lambda layer: torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.5), "weight_orig, weight_mask beside"),
    "spectral norm": (lambda layer: torch.nn.utils.spectral_norm(layer), "weight_orig, .* beside"),
}


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("what", STAY)
def test_layers_that_cannot_be_replaced_stay_and_are_named(what, freeze):
    change, reason = STAY[what]
    net = model()
    change(net[2])
    layer, want = net[2], net[2].eval()(torch.ones(1, 32))
    with pytest.warns(UserWarning, match=rf"quantize_: 1 weights .* stay in float: 2\S* .*\(Linear: .*{reason}"):
        report = octavo.torch.quantize_(net, freeze=freeze)
    assert [row.name for row in report] == ["0"] and len(report.left) == 1 and not report.left[0].asked
    assert net[2] is layer and torch.equal(layer(torch.ones(1, 32)), want)


def test_experts_get_hooks_too():
    from test_quantize_models import Experts

    net = torch.nn.ModuleDict({"experts": Experts(False, False, False)})
    net["experts"].register_forward_hook(lambda layer, args, y: torch.zeros_like(y))
    octavo.torch.quantize_(net)
    assert not net["experts"](torch.randn(7, 64), torch.zeros(7, 2, dtype=torch.int64), torch.rand(7, 2)).any()


@pytest.mark.parametrize("what", ["hook", "state"])
def test_layers_of_a_folder(what, tmp_path):
    """load_ has no choice but to replace a layer: hooks go over, and a warning names what does not."""
    net = model()
    octavo.torch.quantize_(net)
    layers = {name: octavo.checkpoints.quantize_weight(w) for name, w in (("0", torch.randn(32, 16)), ("2", torch.randn(8, 32)))}
    biases = {"0.bias": torch.zeros(32), "2.bias": torch.zeros(8)}
    octavo.checkpoints.write_checkpoint(tmp_path / "model.safetensors", layers, biases)
    net = model()
    if what == "hook":
        net[2].register_forward_hook(negated)
    else:
        STAY["load post"][0](net[2])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        octavo.torch.load_(net, tmp_path / "model.safetensors")
    plain = octavo.torch.load_(model(), tmp_path / "model.safetensors")
    x = torch.randn(3, 16)
    assert torch.equal(net(x), -plain(x) if what == "hook" else plain(x))
    assert [str(one.message) for one in said] == ([] if what == "hook" else [
        "load_: layers lose what was added to them: 2 (it has hooks of its state, which would get other tensors)"])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["linear", "experts"])
def test_a_weight_that_is_not_finite_changes_nothing(scheme, kind, value):
    """Wherever it is: the layers before it are what they were."""
    from test_quantize_models import Experts

    net = torch.nn.ModuleDict({"first": torch.nn.Linear(16, 16), "experts": Experts(False, False, False),
                               "last": torch.nn.Linear(16, 16)})
    weight = net["last"].weight if kind == "linear" else net["experts"].down_proj
    if kind == "experts" and scheme == "llm-int8":
        return  # they stay in float
    weight.data.view(-1)[-1] = value
    before = dict(net.named_modules())
    with pytest.raises(RuntimeError, match=f"the weight of layer '{'last' if kind == 'linear' else 'experts'}' must be finite"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            octavo.torch.quantize_(net, scheme)
    assert dict(net.named_modules()) == before


def test_a_calibration_of_other_columns_changes_nothing():
    net = model()
    found = octavo.torch.calibrate(net, [torch.randn(4, 16)], "int8-dynamic")
    net[2] = torch.nn.Linear(33, 8)
    with pytest.raises(ValueError, match="calibration must have 33 columns for '2'; got 32"):
        octavo.torch.quantize_(net, calibration=found)
    assert all(type(net[at]) is torch.nn.Linear for at in (0, 2))
