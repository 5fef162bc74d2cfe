# SPDX-License-Identifier: Apache-2.0
"""PyTorch's operators: its own checks of them, gradients against dequantised formulas, compilation."""

import pickle

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.torch.operators import _grouped_list, _linear, _products, _straight_through  # noqa: E402
from octavo.torch import functional as F  # noqa: E402

from operator_kit import arguments  # noqa: E402

FP8 = torch.float8_e4m3fn


def gaussian(*shape, seed=1, grad=False, dtype=torch.float32):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.requires_grad_() if grad else x


def positive(*shape, seed=9, grad=False):
    x = gaussian(*shape, seed=seed).abs() + 0.5
    return x.requires_grad_() if grad else x


def close(found, expected, tolerance):
    return float((found.double() - expected.double()).norm()) <= tolerance * float(expected.double().norm())


# ---- samples for PyTorch's own checks -------------------------------------------------------------

def mm_sample(grad=False, **changes):
    inputs = dict(input=gaussian(3, 8, grad=grad), mat2=gaussian(8, 5, seed=2, grad=grad))
    return arguments(_products.scaled_mm, **(inputs | changes))


OFFS = torch.tensor([2, 2, 5], dtype=torch.int32)

SAMPLES = {
    "scaled_mm": (_products.scaled_mm, mm_sample(grad=True)),
    "scaled_mm, everything": (_products.scaled_mm, mm_sample(
        grad=True, scale_a=positive(3, 1, grad=True), scale_b=positive(1, 5, grad=True),
        bias=gaussian(5, seed=3, grad=True), scale_result=positive(5, grad=True), alpha=positive(1, grad=True),
        beta=positive(1, seed=5, grad=True), c=gaussian(3, 5, seed=4, grad=True))),
    "scaled_mm, int8": (_products.scaled_mm, mm_sample(
        input=torch.ones(3, 8, dtype=torch.int8), mat2=torch.ones(8, 5, dtype=torch.int8), scale_a=positive(3, 1),
        granularity_a="token", out_dtype=torch.bfloat16)),
    "scaled_mm, fp8, transposed": (_products.scaled_mm, mm_sample(
        input=gaussian(8, 3).to(FP8), mat2=gaussian(5, 8).to(FP8), trans_a=True, trans_b=True)),
    "grouped_mm, rows": (_products.grouped_mm, arguments(
        _products.grouped_mm, gaussian(6, 4, grad=True), gaussian(3, 4, 5, grad=True), OFFS)),
    "grouped_mm, K": (_products.grouped_mm, arguments(
        _products.grouped_mm, gaussian(4, 6, grad=True), gaussian(6, 5, grad=True), OFFS)),
    "scaled_grouped_mm": (_products.scaled_grouped_mm, arguments(
        _products.scaled_grouped_mm, gaussian(2, 3, 4, grad=True), gaussian(2, 4, 5, grad=True),
        positive(1, grad=True))),
    "grouped_mm_list": (_grouped_list.grouped_mm_list,
                        ([gaussian(3, 4, grad=True), gaussian(5, grad=True)],
                         [gaussian(4, 2, grad=True), gaussian(5, 3, grad=True)], [gaussian(3, grad=True)], [], [],
                         [1], [], [], None, None, None, None, None)),
    "quantize": (_straight_through.quantize, (gaussian(3, 8), None, torch.int8, "token")),
}


def checks(given):
    """All of them; PyTorch's check of schemas multiplies its arguments, which float8 cannot."""
    fp8 = any(isinstance(x, torch.Tensor) and x.dtype == FP8 for x in given)
    schema = [] if fp8 else ["test_schema"]
    return [*schema, "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]


@pytest.mark.parametrize("name", SAMPLES)
def test_opcheck(name):
    operator, given = SAMPLES[name]
    torch.library.opcheck(operator, given, test_utils=checks(given))


@pytest.mark.parametrize("granularity", ["tensor", "token", "group4", "block2x4"])
def test_traced_quantizers_know_the_shapes_of_cut_cells(granularity):
    for x in (gaussian(5, 10), gaussian(10, 5).t(), gaussian(0, 10)):
        torch.library.opcheck(_straight_through.quantize, (x, None, torch.int8, granularity), test_utils="test_faketensor")


def test_opcheck_of_linear():
    weight = octavo.pack(octavo.quantize(gaussian(5, 8)).T, activation="int8")
    arguments = (gaussian(3, 8, grad=True), gaussian(5, grad=True), None, _linear.handle_of(weight), False, None)
    torch.library.opcheck(_linear.linear, arguments)
    q = octavo.quantize(gaussian(3, 8))
    torch.library.opcheck(_linear.linear_codes, (q.data, q.scale, "token", None, gaussian(5), torch.float32,
                                                 _linear.handle_of(weight), None))


def test_opcheck_of_straight_through_mm():
    x, w = gaussian(3, 8, grad=True), gaussian(5, 8, grad=True)
    x_codes, x_scale = _straight_through.quantize(x.detach(), None, FP8, "token")
    w_codes, w_scale = _straight_through.quantize(w.detach(), None, FP8, "token")
    arguments = (x, w, x_codes, x_scale, "token", w_codes, w_scale, "channel", gaussian(5, grad=True), None, None)
    torch.library.opcheck(_straight_through.straight_through_mm, arguments, test_utils=checks(arguments))


# ---- gradients ------------------------------------------------------------------------------------


def numeric(function, *inputs):
    """gradcheck in float32: the operations are linear in each input, so that large steps are exact."""
    return torch.autograd.gradcheck(function, inputs, eps=0.25, atol=2e-3, rtol=2e-3)


@pytest.mark.filterwarnings("ignore:Input #")
def test_gradcheck_of_scaled_mm():
    assert numeric(lambda a, b, sa, sb, bias, sr: octavo.scaled_mm(a, b, sa, sb, bias, sr),
                   gaussian(3, 6, grad=True), gaussian(6, 4, seed=2, grad=True), positive(3, 1, grad=True),
                   positive(1, 4, grad=True), gaussian(4, seed=3, grad=True), positive(4, grad=True))
    assert numeric(lambda a, b, c, al, be: octavo.scaled_mm(a, b, c=c, alpha=al, beta=be),
                   gaussian(3, 6, grad=True), gaussian(6, 4, seed=2, grad=True), gaussian(3, 4, grad=True),
                   positive(1, grad=True), positive(1, grad=True))
    assert numeric(lambda a, b, sa: octavo.scaled_mm(a, b, sa, granularity_a="group2"),
                   gaussian(3, 6, grad=True), gaussian(6, 4, seed=2, grad=True), positive(3, 3, grad=True))
    assert numeric(lambda a, b: octavo.scaled_mm(a, b, trans_a=True, trans_b=True),
                   gaussian(6, 3, grad=True), gaussian(4, 6, seed=2, grad=True))


@pytest.mark.filterwarnings("ignore:Input #")
def test_gradcheck_of_grouped_products():
    assert numeric(lambda a, b, bias: octavo.grouped_mm(a, b, bias, offs=OFFS), gaussian(6, 4, grad=True),
                   gaussian(3, 4, 5, grad=True), gaussian(3, 5, grad=True))
    assert numeric(lambda a, b: octavo.grouped_mm(a, b, offs=OFFS), gaussian(4, 6, grad=True),
                   gaussian(6, 5, grad=True))
    assert numeric(lambda a, b: octavo.grouped_mm(a, b, offs=OFFS), gaussian(3, 4, 6, grad=True),
                   gaussian(6, 5, grad=True))
    assert numeric(lambda a, b, s: octavo.scaled_grouped_mm(a, b, s), gaussian(2, 3, 4, grad=True),
                   gaussian(2, 4, 5, grad=True), positive(1, grad=True))
    assert numeric(lambda a, b, c, d, e: octavo.grouped_mm([a, b], [c, d], [e, None]), gaussian(3, 4, grad=True),
                   gaussian(5, grad=True), gaussian(4, 2, grad=True), gaussian(5, 3, grad=True), gaussian(2, grad=True))


@pytest.mark.filterwarnings("ignore:Input #")
def test_gradcheck_of_recipes():
    rows, channels = torch.tensor([[1.5], [0.5], [2.0]]), torch.tensor([[1.0, 2.0, 0.5, 1.0]])
    assert numeric(lambda a, b, bias: F.scaled_mm(a, b, rows, 1, channels, 1, bias=bias, output_dtype=torch.float32),
                   gaussian(3, 6, grad=True), gaussian(6, 4, seed=2, grad=True), gaussian(4, grad=True))


@pytest.mark.parametrize("dtype", [torch.int8, FP8, torch.float8_e5m2])
def test_gradients_of_scales_are_those_of_the_dequantized_formula(dtype):
    a = (gaussian(7, 40) * 20).to(dtype)
    b = (gaussian(40, 9, seed=2) * 20).to(dtype)
    sa, sb = positive(7, 1, grad=True), positive(1, 9, grad=True)
    bias = gaussian(9, seed=3, grad=True)
    grad = gaussian(7, 9, seed=4)
    octavo.scaled_mm(a, b, sa, sb, bias, 0.5, out_dtype=torch.float32).backward(grad)
    found = [t.grad.clone() for t in (sa, sb, bias)]
    for t in (sa, sb, bias):
        t.grad = None
    (((a.double() * sa) @ (b.double() * sb) + bias) * 0.5).backward(grad.double())
    for mine, t in zip(found, (sa, sb, bias)):
        assert close(mine, t.grad, 2**-7)  # scaled gradients are rounded to bfloat16 once


def test_an_fp8_result_passes_its_gradient_through():
    a, b = gaussian(3, 8, grad=True), gaussian(8, 5, seed=2, grad=True)
    y = octavo.scaled_mm(a, b, out_dtype=FP8)
    y.float().sum().backward()
    assert close(a.grad, torch.ones(3, 5) @ b.detach().t(), 1e-6)


@pytest.mark.parametrize("product", [
    lambda a, b: octavo.scaled_mm(a, b),
    lambda a, b: octavo.grouped_mm([a], [b])[0],
    lambda a, b: octavo.scaled_grouped_mm(a[None], b[None], 2.0)[0],
    lambda a, b: octavo.linear(a, octavo.pack(octavo.quantize(b.detach().T).T, activation="int8")),
])
def test_a_second_derivative_is_refused(product):
    a, b = gaussian(3, 8, grad=True), gaussian(8, 5, seed=2, grad=True)
    first, = torch.autograd.grad(product(a, b).square().sum(), a, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients must be taken once"):
        first.sum().backward()


def test_gradients_and_out_do_not_go_together():
    a, b = gaussian(3, 8, grad=True), gaussian(8, 5)
    with pytest.raises(NotImplementedError, match="out must come without arguments that need a gradient"):
        octavo.scaled_mm(a, b, out=torch.empty(3, 5))
    with torch.no_grad():
        out = torch.empty(3, 5)
        assert octavo.scaled_mm(a, b, out=out) is out
    with pytest.raises(NotImplementedError, match="packed weight"):
        octavo.scaled_mm(a.bfloat16(), octavo.pack(b.bfloat16()))


def test_linear_passes_gradients_straight_through():
    w = gaussian(6, 16, seed=2)
    q = octavo.quantize(w)
    packed = octavo.pack(q.T, activation="int8")
    x, bias = gaussian(2, 3, 16, grad=True), gaussian(6, seed=3, grad=True)
    grad = gaussian(2, 3, 6, seed=4)
    octavo.linear(x, packed, bias).backward(grad)
    assert close(x.grad, grad @ octavo.dequantize(q), 2**-7)
    assert close(bias.grad, grad.sum((0, 1)), 1e-6)


def test_a_packed_weight_may_be_a_temporary():
    x = gaussian(3, 16, grad=True)
    w = octavo.quantize(gaussian(6, 16, seed=2))
    octavo.linear(x, octavo.pack(w.T, activation="int8")).sum().backward()
    assert close(x.grad, torch.ones(3, 6) @ octavo.dequantize(w), 2**-7)


def test_arguments_in_every_form():
    a, b = gaussian(4, 16), gaussian(16, 5, seed=2)
    qa, qb = octavo.quantize(a), octavo.quantize(b, granularity="channel", side="b")
    y = octavo.scaled_mm(qa, qb)
    assert isinstance(y, torch.Tensor) and y.dtype == torch.float32
    assert torch.equal(y, octavo.scaled_mm(qa.data, qb.data, qa.scale, qb.scale))
    assert torch.equal(y.bfloat16(), octavo.scaled_mm(qa, qb, out_dtype="bf16"))
    assert torch.equal(octavo.scaled_mm(qa, octavo.pack(qb)), y)
    for granularity, side in (("group8", "a"), ("block2x8", "a"), ("tensor", "a"), ("token", "a")):
        q = octavo.quantize(a, "int8", granularity, side=side)
        expected = octavo.scaled_mm(q.data, b.to(torch.int8), q.scale, granularity_a=granularity)
        assert torch.equal(octavo.scaled_mm(q, b.to(torch.int8)), expected)
    asymmetric = octavo.quantize(a, "uint8", azp=True)
    assert close(octavo.scaled_mm(asymmetric, qb), a @ b, 0.02)
    assert torch.equal(octavo.scaled_mm(qa, qb, out_dtype=torch.int8, scale_result=0.1),
                       (y * 0.1).round().clamp(-128, 127).to(torch.int8))


# ---- compilation ----------------------------------------------------------------------------------


def compiled(function):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def test_compile_of_the_public_functions():
    a, b, bias = gaussian(3, 8, grad=True), gaussian(8, 5, seed=2, grad=True), gaussian(5, grad=True)
    function = lambda a, b, bias: octavo.scaled_mm(a, b, 0.5, None, bias) * 2  # noqa: E731
    y = compiled(function)(a, b, bias)
    y.sum().backward()
    found, a.grad = a.grad, None
    expected = function(a, b, bias)
    expected.sum().backward()
    assert torch.equal(y, expected) and torch.equal(found, a.grad)
    grouped = lambda a, b: octavo.grouped_mm(a, b, offs=OFFS)  # noqa: E731
    x, w = gaussian(6, 4), gaussian(3, 4, 5)
    assert torch.equal(compiled(grouped)(x, w), grouped(x, w))
    recipe = lambda a, b: F.scaled_mm(a, b, torch.ones(()), 0, torch.ones(()), 0)  # noqa: E731
    assert torch.equal(compiled(recipe)(a, b), recipe(a, b))


def test_compile_with_another_number_of_rows():
    function = compiled(lambda a, b: octavo.scaled_mm(a, b))
    b = gaussian(8, 5)
    for rows in (3, 7, 9, 1, 0):
        a = gaussian(rows, 8)
        assert torch.equal(function(a, b), octavo.scaled_mm(a, b))


def test_inductor():
    a, b = gaussian(3, 8), gaussian(8, 5)
    torch._dynamo.reset()
    try:
        y = torch.compile(lambda a, b: torch.relu(octavo.scaled_mm(a, b, 0.5)) + 1, fullgraph=True)(a, b)
    except Exception as error:  # a machine without a compiler that inductor finds
        if "InvalidCxxCompiler" in repr(error):
            pytest.skip("inductor found no C++ compiler")
        raise
    assert torch.allclose(y, torch.relu(octavo.scaled_mm(a, b, 0.5)) + 1)


# ---- PyTorch's signatures -------------------------------------------------------------------------


def test_functional_agrees_with_torch_where_torch_is_right():
    a, b = gaussian(16, 32).to(FP8), gaussian(24, 32, seed=2).to(FP8).t()
    one = torch.tensor([0.5])
    mine = F.scaled_mm(a, b, one, 0, one, 0, output_dtype=torch.float32)
    assert torch.allclose(mine, torch._scaled_mm(a, b, one, one, out_dtype=torch.float32), rtol=1e-5, atol=1e-5)
    rows, cols = positive(16, 1), positive(1, 24)
    mine = F.scaled_mm(a, b, rows, 1, cols, 1, output_dtype=torch.bfloat16)
    theirs = torch._scaled_mm(a, b, rows, cols, out_dtype=torch.bfloat16)
    assert torch.allclose(mine.float(), theirs.float(), rtol=2**-7, atol=1e-5)
    if hasattr(torch.nn.functional, "ScalingType"):
        kind = torch.nn.functional.ScalingType
        assert torch.equal(mine, F.scaled_mm(a, b, rows, kind.RowWise, cols, kind.RowWise))
    x, w = gaussian(16, 32, dtype=torch.bfloat16), gaussian(3, 32, 24, dtype=torch.bfloat16)
    offs = torch.tensor([4, 4, 16], dtype=torch.int32)
    theirs = torch.nn.functional.grouped_mm(x, w, offs=offs)
    assert torch.allclose(F.grouped_mm(x, w, offs=offs).float(), theirs.float(), rtol=2**-6, atol=2**-6)


def test_functional_refuses_what_it_would_ignore():
    a, b, one = gaussian(4, 8).to(FP8), gaussian(8, 4).to(FP8), torch.ones(1)
    with pytest.raises(ValueError, match="contraction_dim must be"):
        F.scaled_mm(a, b, one, 0, one, 0, contraction_dim=(0, 1))
    with pytest.raises(ValueError, match="one recipe"):
        F.scaled_mm(a, b, [one, one], [0], one, 0)
    with pytest.raises(ValueError, match="must be in"):
        F.scaled_mm(a, b, one, 17, one, 0)


def test_scaled_grouped_mm_by_recipe():
    a, b = gaussian(10, 32).to(FP8), gaussian(3, 24, 32, seed=2).to(FP8).transpose(1, 2)
    offs = torch.tensor([4, 4, 8], dtype=torch.int32)
    sa, sb = positive(10), positive(3, 24)
    y = F.scaled_grouped_mm(a, b, sa, 1, sb, 1, offs=offs)
    expected = torch.zeros(10, 24, dtype=torch.double)
    start = 0
    for g, end in enumerate(offs.tolist()):
        expected[start:end] = (a[start:end].double() * sa[start:end, None]) @ (b[g].double() * sb[g])
        start = end
    assert close(y, expected, 2**-8) and (y[8:] == 0).all()


# ---- past the dispatcher --------------------------------------------------------------------------


class Operators(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class Functions(torch.overrides.TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def calls_of(function):
    """How often octavo::scaled_mm goes to the dispatcher."""
    seen = []
    operator = _products.scaled_mm
    before = type(operator).__call__
    type(operator).__call__ = lambda self, *a, **k: (seen.append(self) if self is operator else None, before(self, *a, **k))[1]
    try:
        function()
    finally:
        type(operator).__call__ = before
    return len(seen)


def test_plain_calls_go_past_the_dispatcher():
    a, b, needs = gaussian(3, 8), gaussian(8, 5, seed=2), gaussian(8, 5, seed=2, grad=True)
    product = lambda b=b: octavo.scaled_mm(a, b, 0.5)  # noqa: E731
    assert calls_of(product) == 0 and calls_of(lambda: product(torch.nn.Parameter(b, requires_grad=False))) == 0
    with torch.inference_mode():
        assert calls_of(product) == 0
    with torch.no_grad():
        assert calls_of(lambda: product(needs)) == 0
    assert calls_of(lambda: product(needs)) == 1


def test_what_the_dispatcher_has_to_do_it_does():
    a, b = gaussian(3, 8), gaussian(8, 5, seed=2)
    product = lambda b=b: octavo.scaled_mm(a, b, 0.5)  # noqa: E731
    wanted = product()
    for mode in (Operators(), Functions()):
        with mode:
            assert torch.equal(product(), wanted)
        assert any("octavo.scaled_mm" in name for name in mode.names)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        product()
    assert "octavo::scaled_mm" in {event.name for event in profile.events()}
    with torch._subclasses.FakeTensorMode() as fake:
        y = octavo.scaled_mm(fake.from_tensor(a), fake.from_tensor(b), 0.5)
    assert y.shape == (3, 5) and isinstance(y, torch._subclasses.FakeTensor)
    traced = torch.jit.trace(product, (b,), check_trace=False)
    assert torch.equal(traced(2 * b), 2 * wanted)
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda a, b: octavo.scaled_mm(a, b, backend="generic"))(a, b)
    assert torch.equal(graph(a, 2 * b), octavo.scaled_mm(a, 2 * b, backend="generic"))

    class Named(torch.Tensor):
        pass

    assert isinstance(product(b.as_subclass(Named)), Named)
    negative = torch.complex(b, b).conj().imag
    assert negative.is_neg() and torch.equal(product(negative), -wanted)
    assert torch.equal(octavo.scaled_mm(negative.t(), a.t()), octavo.scaled_mm(-b.t(), a.t()))
    assert octavo.scaled_mm(a.to("meta"), b.to("meta")).device.type == "meta"


class Block(torch.nn.Module):
    """Multiplies by a packed weight, or by packed experts, through the public functions."""

    def __init__(self, experts):
        super().__init__()
        pack = octavo.moe.pack_experts if experts else octavo.pack
        shapes = ((3, 32, 8), (3, 8, 16)) if experts else ((5, 8),)
        codes = [torch.randint(-99, 99, shape, dtype=torch.int8) for shape in shapes]
        self.packed = [pack(each if experts else each.t(), 0.01, granularity="tensor", activation="int8") for each in codes]

    def forward(self, x):
        if len(self.packed) == 1:
            return torch.relu(octavo.linear(x, self.packed[0]) + 1)
        weights, ids = torch.ones(len(x), 1), torch.arange(len(x), dtype=torch.int32).reshape(-1, 1) % 3
        return torch.relu(octavo.moe.fused_experts(x, *self.packed, weights, ids) + 1)


@pytest.mark.parametrize("experts", [False, True])
def test_one_graph_serves_equal_blocks(experts):
    """A packed weight that nothing has multiplied yet is an input of the graph, which does not know its number."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter, x = CompileCounterWithBackend("aot_eager"), gaussian(4, 8)
    for block in (Block(experts) for _ in range(12)):
        with torch.no_grad():
            assert torch.equal(torch.compile(block, fullgraph=True, backend=counter)(x), block(x))
    assert counter.frame_count == 1


def _packed():
    return octavo.pack(octavo.quantize(gaussian(16, 8)).T, activation="int8")


WAYS_TO_A_WEIGHT = {
    "pack": _packed,
    "with_llm_int8": lambda: _packed().with_llm_int8(6.0),
    "pickle": lambda: pickle.loads(pickle.dumps(_packed())),
    "Weight.pack": lambda: octavo.checkpoints.quantize_weight(gaussian(16, 8).numpy(), "int8-dynamic").pack(),
    "expert": lambda: octavo.moe.pack_experts(torch.randint(-9, 9, (2, 16, 8), dtype=torch.int8), 0.1, granularity="tensor", activation="int8")[1],
}


@pytest.mark.parametrize("way", WAYS_TO_A_WEIGHT)
def test_a_weight_goes_into_a_graph_before_anything_multiplied_it(way):
    torch._dynamo.reset()
    weight, x = WAYS_TO_A_WEIGHT[way](), gaussian(4, 8)
    compiled = torch.compile(lambda x: octavo.linear(x, weight) + 1, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), octavo.linear(x, weight) + 1)


def test_caches_of_graphs_belong_to_this_version():
    import torch.compiler.config as config
    from octavo.torch.operators._cache_key import tag_caches

    tag_caches()
    assert config.cache_key_tag.split().count(f"octavo-{octavo.__version__}") == 1


def test_an_exported_program_runs_here():
    block, x = Block(experts=False), gaussian(4, 8)
    assert torch.equal(torch.export.export(block, (x,)).module()(x), block(x))
