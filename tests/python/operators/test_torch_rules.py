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
from octavo.torch.operators import _linear  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

from operator_kit import arguments  # noqa: E402

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
    "Linear8bitLt": lambda: nn.LLMInt8Linear.from_float(linear()),
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
    "silu_and_mul": lambda x, **o: octavo.moe.silu_and_mul(x, **o),
}
LISTS = {"grouped_mm of a list": lambda x: octavo.grouped_mm([x], [WEIGHT])[0]}
QUANTISERS = {
    "quantize": lambda x: octavo.quantize(x).data,
    "compute_scale": lambda x: octavo.quantizers.compute_scale(x).scale,
    "quantize_mxfp8": lambda x: octavo.quantizers.quantize_mxfp8(x).data,
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


# ---- what fake kernels say of results -------------------------------------------------------------

def laid(tensor, layout):
    """The same elements, or others of the shape, in another layout."""
    if tensor.dim() < 2 or layout == "contiguous":
        return tensor
    if layout == "turned":
        return tensor.mT.contiguous().mT
    if layout == "rows expanded":
        return tensor[:1].expand(tensor.shape)
    if layout == "columns expanded":
        return tensor[..., :1].expand(tensor.shape)
    apart = torch.zeros([2 * size for size in tensor.shape], dtype=tensor.dtype)[(slice(None, None, 2),) * tensor.dim()]
    return apart.copy_(tensor)


def operators():
    """Every operator with a result, with arguments."""
    ops = torch.ops.octavo
    x, w, grad, halves = torch.randn(6, 8), torch.randn(8, 4), torch.randn(6, 4), torch.randn(6, 8).half()
    x3, w3, grad3, offs = torch.randn(2, 6, 8), torch.randn(2, 8, 4), torch.randn(2, 6, 4), torch.tensor([2, 6], dtype=torch.int32)
    codes, sums, ones6, ones4 = torch.ones(6, 8, dtype=torch.int8), torch.ones(6, 4, dtype=torch.int32), torch.ones(6), torch.ones(4)
    w_codes, handle = torch.ones(4, 8, dtype=torch.int8), _linear.handle_of(HELD[0])
    w13, w2 = (_linear.handle_of(held) for held in HELD[1:])
    routing = dict(topk_weights=torch.ones(6, 1), topk_ids=torch.zeros(6, 1, dtype=torch.int32))
    through = dict(x_codes=codes, x_scale=torch.ones(6, 1), x_granularity="token", w_codes=w_codes, w_scale=torch.ones(4, 1),
                   w_granularity="channel")
    yield ops.scaled_mm.default, dict(input=x, mat2=w)
    yield ops.scaled_mm_vjp.default, dict(grad=grad, input=x, mat2=w, bias=ones4, c=grad,
                                          wanted=[True, True, True, False, False, False, False, True, False])
    yield ops.grouped_mm.default, dict(input=x, mat2=w3, offs=offs)
    yield ops.grouped_mm_vjp.default, dict(grad=grad, input=x, mat2=w3, offs=offs, wanted=[True, True] + [False] * 7)
    yield ops.scaled_grouped_mm.default, dict(input=x3, weight=w3)
    yield ops.scaled_grouped_mm_vjp.default, dict(grad=grad3, input=x3, weight=w3, wanted=[True, True, False])
    yield ops.linear.default, dict(x=x, weight=handle)
    yield ops.linear_vjp.default, dict(grad=grad, x=x, bias=ones4, weight=handle, wanted=[True, True])
    yield ops.linear.default, dict(x=x3, weight=handle)
    yield ops.linear_vjp.default, dict(grad=grad3, x=x3, weight=handle, wanted=[True, False])
    yield ops.int8_linear.default, dict(x=x3.half(), codes=w_codes, row_absmax=ones4, threshold=0.0)
    yield ops.int8_linear_vjp.default, dict(grad=grad3.half(), x=x3.half(), weight=torch.randn(4, 8).half(), codes=w_codes,
                                            row_absmax=ones4, threshold=0.0, wanted=[True, True, False])
    yield ops.int8_vectorwise_quant.default, dict(A=x3.half(), threshold=0.0)
    yield ops.silu_and_mul.default, dict(x=x)
    yield ops.attention.default, dict(q=torch.randn(1, 2, 2, 8), keys=torch.ones(1, 4, 1, 8, dtype=torch.int8),
                                      key_scales=torch.ones(1, 4, 1), values=torch.ones(1, 4, 1, 8, dtype=torch.int8),
                                      value_scales=torch.ones(1, 4, 1), scale=0.0, window=0, bidirectional=False)
    yield ops.rms_norm.default, dict(x=x, epsilon=1e-6)
    yield ops.rms_norm.residual, dict(x=x, residual=torch.randn(6, 8), epsilon=1e-6)
    rule = dict(dtype=torch.int8, granularity="token", azp=True, min_scale=0.0, qmax=0.0, rounding="none")
    yield ops.rms_norm_quantize.default, dict(x=x3, epsilon=1e-6, **rule | dict(dtype=FP8, granularity="group4", azp=False))
    yield ops.rms_norm_quantize.residual, dict(x=x, residual=torch.randn(6, 8), epsilon=1e-6, **rule)
    yield ops.silu_and_mul_quantize.default, dict(x=x, scale=torch.ones(1), azp_in=torch.ones(1, dtype=torch.int32),
                                                  **rule | dict(granularity="tensor"))
    yield ops.silu_and_mul_vjp.default, dict(grad=grad, x=x, wanted=[True])
    yield ops.rotate.default, dict(x=torch.randn(6, 32), block=16, out_dtype=torch.bfloat16)
    yield ops.rotate_vjp.default, dict(grad=torch.randn(6, 32), x=torch.randn(6, 32).half(), block=16, wanted=[True])
    yield ops.fused_experts.default, dict(x=x, w13=w13, w2=w2, **routing)
    yield ops.fused_experts_vjp.default, dict(grad=torch.randn(6, 8), x=x, w13=w13, w2=w2, **routing,
                                              wanted=[True, True, False, False])
    yield ops.quantize.default, dict(x=x, dtype=torch.int8, granularity="token", min_scale=0.0, qmax=0.0, rounding="none")
    yield ops.quantize.default, dict(x=x, dtype=FP8, granularity="group4", min_scale=0.0, qmax=0.0, rounding="power_of_two")
    yield ops.quantize.default, dict(x=x, dtype=FP8, granularity="block4x4", min_scale=0.0, qmax=0.0, rounding="none")
    yield ops.quantize_vjp.default, dict(grad=x, x=x, scale=torch.ones(6, 1), dtype=torch.int8, granularity="token",
                                         gradient_scale=1.0)
    yield ops.straight_through_mm.default, dict(x=x, weight=w.t(), **through)
    yield ops.straight_through_mm_vjp.default, dict(grad=grad, **through, dtype=torch.float32, wanted=[True, True, False])
    yield ops.int8_linear.default, dict(x=halves, codes=w_codes, row_absmax=ones4, threshold=0.0)
    yield ops.int8_linear_vjp.default, dict(grad=grad.half(), x=halves, weight=torch.randn(4, 8).half(), codes=w_codes, bias=ones4,
                                            row_absmax=ones4, threshold=0.0, wanted=[True, True, True])
    yield ops.int8_vectorwise_quant.default, dict(A=halves, threshold=0.0)
    yield ops.int8_double_quant.default, dict(A=halves, threshold=0.0)
    yield ops.int8_vectorwise_dequant.default, dict(A=codes, stats=ones6)
    yield ops.int8_linear_matmul.default, dict(A=codes, B=w_codes)
    yield ops.int8_mm_dequant.default, dict(A=sums, row_stats=ones6, col_stats=ones4)
    yield ops.int8_scaled_mm.default, dict(A=codes, B=w_codes, row_stats=ones6, col_stats=ones4)


HELD = (octavo.pack(torch.randn(8, 4)), octavo.moe.pack_experts(torch.randn(1, 8, 8)), octavo.moe.pack_experts(torch.randn(1, 8, 4)))
OPERATORS = [(operator, given) for operator, given in operators()]


@pytest.mark.parametrize("layout", ["contiguous", "turned", "rows expanded", "columns expanded", "apart"])
@pytest.mark.parametrize("which", range(len(OPERATORS)), ids=[operator.name().partition("::")[2] for operator, _ in OPERATORS])
def test_fake_results_lie_as_real_ones(which, layout):
    operator, named = OPERATORS[which]
    given = arguments(operator, **{
        name: laid(value, layout) if isinstance(value, torch.Tensor) and not _quantized(name, layout) else value
        for name, value in named.items()})
    real = torch.utils._pytree.tree_leaves(operator(*given))
    with FakeTensorMode() as mode:
        fakes = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, given)
        fake = torch.utils._pytree.tree_leaves(operator(*fakes))
    assert [shown(value) for value in fake] == [shown(value) for value in real]


def _quantized(name, layout):
    """Codes of a quantiser have no such layout."""
    return (name.endswith("codes") or name in ("keys", "values")) and layout not in ("contiguous", "turned")


def shown(value):
    return (value.shape, value.stride(), value.dtype) if isinstance(value, torch.Tensor) else None
