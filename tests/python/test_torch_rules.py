# SPDX-License-Identifier: Apache-2.0
"""What PyTorch expects of every function of its tensors, of each of ours: derivatives it has not are errors, writes count,
negatives are read as such, other devices and frameworks, processes."""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo
import octavo.torch  # noqa: E402
from octavo.torch import functional, nn  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

K, N = 8, 3
WEIGHT = torch.arange(K * N, dtype=torch.float32).reshape(K, N) / 7 - 1
PACKED = octavo.pack(WEIGHT)
QUANTISED = octavo.pack(octavo.quantize(WEIGHT, "int8", "channel", side="b"), activation="int8")
BIAS = torch.tensor([0.5, -1.0, 2.0])
OFFSETS = torch.tensor([1, 2], dtype=torch.int32)
TENSOR = torch.nn.functional.ScalingType.TensorWise if hasattr(torch.nn.functional, "ScalingType") else 0
FP8 = torch.float8_e4m3fn


def linear():
    made = torch.nn.Linear(K, N)
    with torch.no_grad():
        made.weight.copy_(WEIGHT.t())
        made.bias.copy_(BIAS)
    return made


LAYERS = {
    "Int8Linear": lambda: nn.Int8Linear.from_float(linear()),
    "Fp8Linear": lambda: nn.Fp8Linear.from_float(linear()),
    "BlockFp8Linear": lambda: nn.BlockFp8Linear.from_float(linear()),
    "Linear8bitLt": lambda: nn.Linear8bitLt.from_float(linear()),
    "of a float weight in eval mode": lambda: nn.Int8Linear.from_float(linear(), freeze=False).eval(),
    "of a float weight that trains": lambda: nn.Int8Linear.from_float(linear(), freeze=False),
}

# x [2, K] -> y, and the same with `out=`, for all functions of a float x.
PRODUCTS = {
    "scaled_mm": lambda x, **o: octavo.scaled_mm(x, WEIGHT, bias=BIAS, **o),
    "scaled_mm of a packed weight": lambda x, **o: octavo.scaled_mm(x, PACKED, bias=BIAS, **o),
    "linear": lambda x, **o: octavo.linear(x, PACKED, BIAS, **o),
    "linear in int8": lambda x, **o: octavo.linear(x, QUANTISED, BIAS, **o),
    "grouped_mm": lambda x, **o: octavo.grouped_mm(x, torch.stack([WEIGHT, WEIGHT]), offs=OFFSETS, **o),
    "scaled_grouped_mm": lambda x, **o: octavo.scaled_grouped_mm(x[None], WEIGHT[None], **o)[0],
    "silu_and_mul": lambda x, **o: octavo.silu_and_mul(x, **o),
}
LISTS = {"grouped_mm of a list": lambda x: octavo.grouped_mm([x], [WEIGHT])[0]}
QUANTISERS = {
    "quantize": lambda x: octavo.quantize(x).data,
    "compute_scale": lambda x: octavo.compute_scale(x).scale,
    "quantize_mxfp8": lambda x: octavo.quantize_mxfp8(x).data,
    "dequantize": lambda x: octavo.dequantize(octavo.quantize(x)),
    "pack": lambda x: octavo.linear(torch.ones(1, 2), octavo.pack(x)),
    "a scale": lambda x: octavo.scaled_mm(torch.ones(2, 2), torch.ones(2, 2), x[:, :1]),
}


def function_of(name):
    """x [2, K] -> y"""
    return LAYERS[name]() if name in LAYERS else {**PRODUCTS, **LISTS, **QUANTISERS}[name]


def activations():
    return torch.randn(2, K, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", [*PRODUCTS, *LISTS, *LAYERS])
def test_forward_mode_is_an_error(name):
    function = function_of(name)
    x = activations()
    with pytest.raises((NotImplementedError, RuntimeError), match="backward|jvp"):
        torch.func.jvp(function, (x,), (x,))
    with forward_ad.dual_level():
        with pytest.raises((NotImplementedError, RuntimeError), match="backward|jvp"):
            function(forward_ad.make_dual(x, x))
        function(x)  # which has no tangent


def written(product, x):
    """What `out` is like."""
    return torch.empty_like(product(x))


OUTS = {name: product for name, product in PRODUCTS.items() if name != "scaled_grouped_mm"}


@pytest.mark.parametrize("name", OUTS)
def test_out_is_written_as_by_torch(name):
    product, x = OUTS[name], activations()
    out, other = written(product, x).fill_(1.0), torch.ones_like(written(product, x), requires_grad=True)
    loss = (out * other).sum()
    product(x, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with pytest.raises(NotImplementedError, match="out must not need a gradient"):
        product(x, out=torch.empty_like(out).requires_grad_())
    with torch.no_grad():
        product(x, out=torch.empty_like(out).requires_grad_())
    negatives = torch.conj(torch.zeros(out.shape, dtype=torch.complex64)).imag
    with pytest.raises(ValueError, match="got a view of their negatives"):
        product(x, out=negatives)
    with torch.inference_mode():
        assert torch.equal(product(x, out=torch.empty_like(out)), out)


def test_a_list_of_outs_is_written_as_by_torch():
    x = activations()
    out, other = torch.ones(2, N), torch.ones(2, N, requires_grad=True)
    loss = (out * other).sum()
    octavo.grouped_mm([x], [WEIGHT], out=[out])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_layer_sees_its_weight_written_through_out():
    layer, x = LAYERS["of a float weight in eval mode"](), activations()
    with torch.no_grad():
        before = layer(x)
        octavo.scaled_mm(torch.ones(N, 1), torch.ones(1, K), out=layer.weight)
        assert torch.equal(layer(x), nn.Int8Linear.from_float(layer, freeze=False).eval()(x))
    assert not torch.equal(before, layer(x))


@pytest.mark.parametrize("name", [*PRODUCTS, *LISTS, *QUANTISERS, *LAYERS])
def test_negatives_are_read_as_such(name):
    function = function_of(name)
    x = torch.conj(torch.complex(torch.zeros(2, K), activations())).imag
    assert x.is_neg()
    with torch.no_grad():
        assert torch.equal(function(x), function(x.resolve_neg()))


@pytest.mark.parametrize("name", LAYERS)
def test_a_bias_on_meta_is_an_error(name):
    layer = LAYERS[name]()
    layer.bias = torch.nn.Parameter(layer.bias.to("meta"))
    with torch.no_grad(), pytest.raises((RuntimeError, ValueError), match="meta"):
        layer(activations())


@pytest.mark.parametrize("argument", ["mat2", "bias", "c", "scale_a", "scale_b", "alpha"])
def test_one_argument_on_meta_is_an_error(argument):
    given = {"mat2": WEIGHT, "bias": BIAS, "c": torch.ones(2, N), "scale_a": torch.ones(2, 1),
             "scale_b": torch.ones(1, N), "alpha": torch.ones(())}
    with pytest.raises((RuntimeError, ValueError), match="meta"):
        octavo.scaled_mm(activations(), **{**given, argument: given[argument].to("meta")})
    assert octavo.scaled_mm(*(t.to("meta") for t in (activations(), WEIGHT))).shape == (2, N)


@pytest.mark.parametrize("name", LAYERS)
def test_a_default_device_changes_nothing(name):
    layer, x = LAYERS[name](), activations()
    want, weight = layer(x), octavo.scaled_mm(x, WEIGHT, 0.5)
    with torch.device("meta"):
        assert torch.equal(layer(x), want)
        assert torch.equal(octavo.scaled_mm(x, WEIGHT, 0.5), weight)
        for key, value in layer.state_dict().items():
            assert value.device.type == "cpu", key


READ_ONLY = np.array([0.5, -1.0, 2.0], np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize("first", [torch.as_tensor, np.asarray], ids=["PyTorch first", "PyTorch second"])
@pytest.mark.parametrize("second", ["contiguous", "backwards", "fp8", "quantised"])
def test_tensors_of_two_frameworks(first, second):
    x, w = np.ones((2, K), np.float32), np.asarray(WEIGHT)
    w = {"contiguous": w, "backwards": w[::-1, ::-1], "fp8": w.astype(ml_dtypes.float8_e4m3fn),
         "quantised": octavo.quantize(np.ascontiguousarray(w.T)).T}[second]
    want = octavo.scaled_mm(x, w, bias=READ_ONLY)
    got = octavo.scaled_mm(first(x), w if first is torch.as_tensor else x_of_torch(w), bias=READ_ONLY)
    assert isinstance(got, torch.Tensor)
    np.testing.assert_array_equal(got.float().numpy(), want.astype(np.float32))


def x_of_torch(w):
    """The same for PyTorch."""
    if isinstance(w, octavo.Quantized):
        return octavo.quantize(torch.from_numpy(np.ascontiguousarray(octavo.dequantize(w.T)))).T
    if w.dtype == ml_dtypes.float8_e4m3fn:
        return torch.from_numpy(w.view(np.uint8)).view(FP8)
    return torch.from_numpy(np.ascontiguousarray(w))


def test_gradients_beside_another_framework():
    w = WEIGHT.clone().requires_grad_()
    for x in (np.ones((2, K), np.float32), torch.ones(2, K)):
        w.grad = None
        octavo.scaled_mm(x, w, bias=READ_ONLY).sum().backward()
        assert torch.equal(w.grad, torch.full_like(w, 2.0))
    with pytest.raises(ValueError, match="mat2.dtype must be in this machine's byte order"):
        octavo.scaled_mm(torch.ones(2, K), np.ones((K, N), ">f4"))


def test_gradients_that_are_not_there_are_errors():
    scale = torch.ones(2, 1, requires_grad=True)
    q = octavo.quantize(activations())
    with pytest.raises(NotImplementedError, match="dequantize: q must come without"):
        octavo.dequantize(octavo.Quantized(q.data, scale, None, 1, 0))
    if TENSOR:
        with pytest.raises(NotImplementedError, match="scaled_mm: scales under a recipe must come without"):
            functional.scaled_mm(torch.ones(2, 16).to(FP8), torch.ones(16, 16).to(FP8), torch.ones((), requires_grad=True),
                                 TENSOR, torch.ones(()), TENSOR)


SAVED = """
import sys, torch, octavo.torch
from octavo.torch import nn
torch.manual_seed(int(sys.argv[1]))
layer, x = nn.Int8Linear.from_float(torch.nn.Linear(8, 3)), torch.ones(2, 8)
want = layer(x)
"""
LOADED = """
for load in (lambda: torch.export.load(sys.argv[2]).module(), lambda: torch.jit.load(sys.argv[3])):
    try:
        print("ran", load()(x))
    except Exception as error:
        assert "weight must be a packed weight of this process" in str(error), error
"""


@pytest.mark.skipif(not hasattr(torch.compiler, "is_exporting"), reason="PyTorch says nothing of exporting before 2.7")
def test_a_saved_program_takes_no_other_weight(tmp_path):
    layer, x = LAYERS["Int8Linear"](), activations()
    want, names = layer(x), [str(tmp_path / name) for name in ("exported.pt2", "traced.pt")]
    for strict in (False, True):
        exported = torch.export.export(layer, (x,), strict=strict)
        assert torch.equal(exported.module()(x), want)
    torch.export.save(exported, names[0])
    with torch.no_grad():
        traced = torch.jit.trace(layer, (x,))
    assert torch.equal(traced(x), want)
    traced.save(names[1])
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SAVED + LOADED, "1", *names], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


FORKS = SAVED + """
import os, signal, threading, time
big, small = nn.Int8Linear(2048, 2048).eval(), nn.Int8Linear(16, 8).eval()

@torch.no_grad()
def serve():
    while True:
        big.invalidate()
        big(torch.ones(1, 2048))

threading.Thread(target=serve, daemon=True).start()
time.sleep(0.5)
hung = 0
for _ in range(8):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        with torch.no_grad():
            small(torch.ones(1, 16))
        os._exit(0)
    hung += os.waitpid(child, 0)[1] != 0
print(hung, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_another_thread_packs():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, "1"], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stdout + done.stderr
