# SPDX-License-Identifier: Apache-2.0
"""The weight that a frozen layer shows: what reads it gets values, what would write into it is told, another one is quantised."""

import copy
import io
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo.torch  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo.torch import nn  # noqa: E402
from test_layer_mutations import FROZEN, K, N, run  # noqa: E402

LINEAR = {kind: make for kind, make in FROZEN.items() if "bnb" not in kind and "MoE" not in kind}
QUANTISES = [kind for kind in LINEAR if kind != "CheckpointLinear"]
TOLD = r"must not be the weight of a frozen layer.*assign a float weight to layer\.weight, or use load_state_dict or from_float"


def state_of(layer):
    return {name: t.clone() for name, t in layer.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- writes --------------------------------------------------------------------------------------------


def data_replaced(weight):
    weight.data = torch.zeros(N, K)


def item_set(weight):
    weight[0] = 0.0


def slice_set(weight):
    weight[:, 2:5] = torch.ones(N, 3)


def mask_set(weight):
    weight[weight > 0] = 0.0


def all_set(weight):
    weight[...] = 0.0


def augmented(weight):
    weight += 1


def data_augmented(weight):
    weight.data += torch.ones(N, K)


WRITES = {
    "copy_": lambda w: w.copy_(torch.zeros(N, K)), "zero_": lambda w: w.zero_(), "fill_": lambda w: w.fill_(1),
    "mul_": lambda w: w.mul_(2), "clamp_": lambda w: w.clamp_(0, 1), "normal_": lambda w: w.normal_(),
    "init.zeros_": torch.nn.init.zeros_, "init.kaiming": torch.nn.init.kaiming_uniform_,
    ".data.zero_": lambda w: w.data.zero_(), ".data = ": data_replaced, ".data += ": data_augmented,
    "detach": lambda w: w.detach().zero_(), "[0] = ": item_set, "[:, 2:5] = ": slice_set, "[mask] = ": mask_set,
    "[...] = ": all_set, "[0].zero_": lambda w: w[0].zero_(), "t": lambda w: w.t().zero_(), "view": lambda w: w.view(-1)[3:].zero_(),
    "rows": lambda w: [row.zero_() for row in w], "split": lambda w: w.split(8)[1].zero_(), "+=": augmented,
    "out=": lambda w: torch.add(torch.ones(N, K), 1, out=w), "foreach": lambda w: torch._foreach_mul_([torch.ones(2), w], 2),
    "optimiser": lambda w: torch._fused_sgd_([w], [torch.ones(N, K)], [], weight_decay=0.0, momentum=0.0, lr=0.1, dampening=0.0,
                                             nesterov=False, maximize=False, is_first_step=True),
    "resize_": lambda w: w.resize_(3), "set_": lambda w: w.set_(torch.ones(N, K)), "index_copy_": lambda w:
    w.index_copy_(0, torch.tensor([1]), torch.ones(1, K)), "parameter": lambda w: torch.nn.Parameter(w, False).zero_(),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", LINEAR)
def test_writes_are_refused(kind, write):
    layer = LINEAR[kind]()
    before = state_of(layer)
    with torch.no_grad(), pytest.raises(RuntimeError, match=TOLD):
        WRITES[write](layer.weight)
    assert same(state_of(layer), before)


def test_copies_may_be_written():
    weight = LINEAR["Int8Linear"]().weight
    for copied in (weight.clone(), weight[0].clone(), weight.double(), weight + 0, weight.t().contiguous(), weight.values()):
        assert type(copied) is torch.Tensor and not copied.zero_().any()
    target = torch.zeros(N, K)
    target.add_(weight)  # what reads it in place of something else
    target[0] = weight[0]
    assert torch.equal(target, weight.values())


# ---- another weight ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [torch.nn.Parameter, lambda t: t, lambda t: torch.nn.Parameter(t.bfloat16())],
                         ids=["Parameter", "tensor", "bfloat16"])
@pytest.mark.parametrize("kind", QUANTISES)
def test_a_float_weight_is_quantized(kind, wrap):
    """Codes and results of a layer that was frozen with it, under the rule that the layer has."""
    layer, other = LINEAR[kind](), wrap(gaussian(N, K, seed=5))
    layer.weight = other
    want = octavo.checkpoints.quantize_weight(other.detach(), type(layer).scheme).quantized
    got = layer.quantized_weight()
    assert torch.equal(got.data.view(torch.uint8), torch.from_numpy(np.asarray(want.data).view(np.uint8)))
    assert torch.equal(got.scale, torch.from_numpy(np.asarray(want.scale)))
    assert layer.weight.dtype == other.dtype and "weight" not in dict(layer.named_parameters())
    fresh = LINEAR[kind]()
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(run(fresh), run(layer)) and not torch.equal(run(layer), run(LINEAR[kind]()))
    with torch.no_grad():
        error = torch.nn.functional.mse_loss(layer.weight.float(), other.float())
        assert error < 1e-3


@pytest.mark.parametrize("kind", LINEAR)
def test_the_weight_of_its_like_is_taken_bit_for_bit(kind):
    layer, other = LINEAR[kind](), LINEAR[kind]()
    layer.weight = layer.weight
    assert same(state_of(layer), state_of(layer))
    before = state_of(layer)
    layer.weight = other.weight
    assert same({**state_of(layer), "bias": 0 * layer.bias}, {**state_of(other), "bias": 0 * layer.bias})
    layer.weight = copy.deepcopy(layer.weight)
    assert not same(state_of(layer), before)


def test_the_weight_of_another_scheme_is_quantized():
    layer, other = LINEAR["Int8Linear"](), LINEAR["Fp8Linear"]()
    layer.weight = other.weight
    assert torch.equal(layer.weight, nn.Int8Linear.from_float(float_of(other.weight)).weight)


def float_of(weight):
    linear = torch.nn.Linear(K, N)
    linear.weight = torch.nn.Parameter(weight.clone())
    return linear


@pytest.mark.parametrize("value", [None, 3.0, torch.zeros(N, K + 1), torch.zeros(N, K, dtype=torch.int8),
                                   torch.zeros(N, K, dtype=torch.float64)], ids=str)
@pytest.mark.parametrize("kind", LINEAR)
def test_what_is_no_weight_is_refused(kind, value):
    layer = LINEAR[kind]()
    before = state_of(layer)
    for given in (value, torch.nn.Parameter(value, False)) if isinstance(value, torch.Tensor) else (value,):
        with pytest.raises(ValueError, match=rf"Linear\w*: weight must be a float tensor \[{N}, {K}\], which a frozen layer quan"):
            layer.weight = given
    assert same(state_of(layer), before)


@pytest.mark.parametrize("code, granularity, azp", [("int8", "token", False), ("int8", "tensor", False), ("int8", "token", True),
                                                    ("int8", "group32", True), ("float8_e5m2", "block32x32", False)])
def test_a_checkpoints_form_is_kept(code, granularity, azp, tmp_path):
    """A float weight gets codes of the type, scales of the cells, and zero points, as the old weight has them."""
    old = octavo.quantize(gaussian(N, K, seed=3), code, granularity, azp=azp)
    layer = nn.CheckpointLinear.from_weight(octavo.checkpoints.quantize_weight(torch.randn(N, K)), None, torch.float32)
    layer._freeze(octavo.pack(old.T), torch.float32)
    before, new = state_of(layer), gaussian(N, K, seed=5)
    layer.weight = new
    assert {name: (t.shape, t.dtype) for name, t in state_of(layer).items()} == {name: (t.shape, t.dtype) for name, t in before.items()}
    want = octavo.dequantize(octavo.quantize(new, code, granularity, azp=azp))
    assert torch.equal(layer.weight.values(), want) and not same(before, state_of(layer))


def test_calls_with_other_parameters():
    """torch.func.functional_call puts another weight in, and the layer's own back."""
    layer, other = LINEAR["Int8Linear"](), gaussian(N, K, seed=5)
    x, before = gaussian(3, K), state_of(layer)
    got = torch.func.functional_call(layer, {"weight": other}, x)
    assert same(state_of(layer), before)
    layer.weight = other
    assert torch.equal(layer(x), got)


def test_experts_are_experts():
    layer, other = FROZEN["FusedMoE"](), FROZEN["FusedMoE"]()
    with pytest.raises(ValueError, match=r"FusedMoE: w13 must be octavo.types.ExpertWeights .*; got Parameter"):
        layer.w13 = torch.nn.Parameter(torch.zeros(3, 2 * N, K))
    with pytest.raises(ValueError, match="FusedMoE: w2 must be octavo.types.ExpertWeights"):
        layer.w2 = other.w13
    other.load_state_dict({name: t.flip(0) for name, t in other.state_dict().items()})
    assert not torch.equal(run(layer), run(other))
    layer.w13, layer.w2 = other.w13, other.w2
    assert torch.equal(run(layer), run(other))


# ---- what needs memory ---------------------------------------------------------------------------------


def torch_saved(weight):
    file = io.BytesIO()
    torch.save(weight, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


READS = {
    "torch.from_dlpack": torch.from_dlpack, "np.from_dlpack": np.from_dlpack, "numpy": lambda w: w.numpy(),
    "detach().numpy": lambda w: w.detach().cpu().numpy(), "np.asarray": np.asarray, "np.array": lambda w: np.array(w, copy=True),
    "tolist": lambda w: w.tolist(), "deepcopy": copy.deepcopy, "copy": copy.copy,
    "pickle": lambda w: pickle.loads(pickle.dumps(w)), "torch.save": torch_saved, "torch.tensor": lambda w: w.clone().detach(),
    "reshape": lambda w: w.reshape(-1).view(w.shape), "Parameter": lambda w: torch.nn.Parameter(w, False), "data": lambda w: w.data,
    "slices": lambda w: torch.cat([w[:5], w[5:]]), "float": lambda w: w.float(),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", LINEAR)
def test_reads_give_values(kind, read):
    for weight in (LINEAR[kind]().weight, LINEAR[kind]().weight[1:].t()):
        got = torch.tensor(np.asarray(READS[read](weight)).copy())
        assert torch.equal(got, weight.values())


@pytest.mark.parametrize("read", ["numpy", "detach().numpy", "np.asarray"])
def test_arrays_are_read_only(read):
    array = READS[read](LINEAR["Int8Linear"]().weight)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


MEMORY = {
    "data_ptr": lambda w: w.data_ptr(), "share_memory_": lambda w: w.share_memory_(),
    "octavo.quantize": octavo.quantize, "octavo.checkpoints.quantize_weight": octavo.checkpoints.quantize_weight,
}


@pytest.mark.parametrize("what", MEMORY)
@pytest.mark.parametrize("kind", LINEAR)
def test_what_needs_memory_says_so(kind, what):
    for weight in (LINEAR[kind]().weight, LINEAR[kind]().weight[1:]):
        with pytest.raises(RuntimeError, match=r"tensor must have memory of its own.*clone\(\) makes.*got a QuantizedWeight"):
            MEMORY[what](weight)
        with torch.no_grad():
            assert octavo.quantize(weight.clone()).data.shape == weight.shape
