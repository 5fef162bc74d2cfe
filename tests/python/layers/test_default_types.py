# SPDX-License-Identifier: Apache-2.0
"""torch.set_default_dtype changes no bit of what has its own types: scales are float32."""

import contextlib
import copy

import pytest

torch = pytest.importorskip("torch")

import octavo.bnb  # noqa: E402
import octavo.torch  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo.bnb import functional as bnb_functional  # noqa: E402
from octavo.torch import nn  # noqa: E402
from octavo.w8a8_utils import Fp8LinearOp, GroupShape, QuantFP8  # noqa: E402
from test_layer_contract import CONSTRUCTORS, EVERY  # noqa: E402
from test_layer_mutations import FROZEN, K, N, ROWS, run  # noqa: E402

DEFAULTS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
CODES = {"int8-dynamic": torch.int8, "fp8-dynamic": torch.float8_e4m3fn}


@contextlib.contextmanager
def default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check(compute):
    """compute() gives tensors of the same types and bits under every default."""
    want = [t.detach().clone() for t in compute()]
    for dtype in DEFAULTS:
        with default(dtype):
            for got, exact in zip(compute(), want, strict=True):
                assert got.dtype == exact.dtype and got.shape == exact.shape, dtype
                assert torch.equal(got.contiguous().view(torch.uint8), exact.contiguous().view(torch.uint8)), dtype


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", EVERY)
def test_layers(kind, training):
    """Results, gradients and states."""
    made = EVERY[kind]()

    def compute():
        layer = copy.deepcopy(made).train(training)
        x = gaussian(ROWS, K).requires_grad_()
        y = run(layer, x=x)
        y.square().sum().backward()
        return [y, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None),
                *(value.reshape(-1) for value in layer.state_dict().values())]

    check(compute)


@pytest.mark.parametrize("kind", CONSTRUCTORS)
def test_layers_of_a_given_type(kind):
    def compute():
        layer = CONSTRUCTORS[kind](dtype=torch.float32)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(gaussian(*parameter.shape))
        if "Embedding" in kind:
            return [layer.to("cpu")(torch.arange(K))]
        return [run(layer, x=gaussian(ROWS, K)), *(value.reshape(-1) for value in layer.state_dict().values())]

    check(compute)


@pytest.mark.parametrize("kind", [kind for kind in FROZEN if "MoE" not in kind and "bnb" not in kind])
def test_scales_of_codes(kind):
    """A number, and a static layer's own."""
    layer = FROZEN[kind]()
    codes = layer.quantized_weight().data[:1].contiguous()
    check(lambda: [layer(codes, scale) for scale in (0.0512345, *([None] if "static" in kind else []))])


@pytest.mark.parametrize("scheme", CODES)
def test_static_scales_of_experts(scheme):
    w13, w2 = (gaussian(2, *shape).to(CODES[scheme]) for shape in ((2 * N, K), (K, N)))
    layer = nn.FusedMoE.from_quantized(w13, torch.ones(2, 2 * N), w2, torch.ones(2, K), activation=CODES[scheme],
                                       w13_input_scale=torch.tensor(0.0512345), w2_input_scale=torch.tensor(0.0312345))
    assert layer.state_dict()["w13_input_scale"].dtype == torch.float32
    check(lambda: [value.reshape(-1) for value in layer.state_dict().values()])


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2])
@pytest.mark.parametrize("shape", [GroupShape.PER_TENSOR, GroupShape.PER_TOKEN, GroupShape(1, 64)])
def test_quantizers_of_w8a8_utils(shape, dtype):
    for x in (torch.zeros(ROWS, K), gaussian(ROWS, K) * 1e-9, gaussian(ROWS, K)):
        check(lambda: QuantFP8(False, shape, dtype=dtype)(x))
    check(lambda: QuantFP8(True, GroupShape.PER_TENSOR, dtype=dtype)(x, torch.tensor([0.05], dtype=torch.float32)))


@pytest.mark.parametrize("shape", [GroupShape.PER_TENSOR, GroupShape.PER_TOKEN, GroupShape(1, 64)])
def test_products_of_w8a8_utils(shape):
    weight, scale = gaussian(N, K).to(torch.float8_e4m3fn), torch.tensor([0.0512345])
    check(lambda: [Fp8LinearOp(False, shape).apply(gaussian(ROWS, K), weight.t(), scale)])


def parts(quantized):
    return quantized.data, quantized.scale


@pytest.mark.parametrize("granularity", ["tensor", "token", "group64", "block16x32"])
def test_quantize(granularity):
    for dtype in ("int8", "float8_e4m3fn"):
        check(lambda: parts(octavo.quantize(gaussian(ROWS, K), dtype, granularity)))
        check(lambda: torch.ops.octavo.quantize(gaussian(ROWS, K), None, getattr(torch, dtype), granularity))
    check(lambda: parts(octavo.quantizers.quantize_mxfp8(gaussian(ROWS, K))))


def test_quantizers_of_bnb():
    check(lambda: bnb_functional.int8_vectorwise_quant(gaussian(ROWS, K))[:2])
    check(lambda: [t for t in bnb_functional.int8_double_quant(gaussian(ROWS, K)) if t is not None])


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_quantize_of_a_model(scheme, calibrated):
    def compute():
        model = torch.nn.Sequential(torch.nn.Linear(K, N, dtype=torch.float32), torch.nn.Linear(N, 32, dtype=torch.float32))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(gaussian(*parameter.shape))
        x = gaussian(ROWS, K)
        found = octavo.torch.calibrate(model, [x], scheme) if calibrated and scheme != "fp8-block" else None
        octavo.torch.quantize_(model, scheme, calibration=found)
        return [model(x), *(value.reshape(-1) for value in model.state_dict().values())]

    check(compute)
