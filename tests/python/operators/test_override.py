# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own products inside octavo.torch.override: Octavo's bits, PyTorch's shapes, types, strides and errors."""

import threading
import warnings

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
import octavo.torch.functional as F  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo.torch import override  # noqa: E402

theirs = torch.nn.functional
Kind, Swizzle = theirs.ScalingType, theirs.SwizzleType
E4M3, E5M2, E8M0 = torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
OPERATORS = ("_int_mm", "_scaled_mm", "_scaled_mm_v2", "_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2")
SIZES = [(1, 64, 48), (33, 65, 47), (5, 1, 3), (0, 16, 16), (4, 16, 0)]


def bytes_of(*shape, dtype, seed):
    low, high = (0, 256) if dtype is torch.uint8 else (-128, 128)
    return torch.randint(low, high, shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def codes(*shape, dtype=E4M3, seed):
    return gaussian(*shape, seed=seed).to(dtype)


def positive(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def powers(*shape, seed):
    exponents = torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed))
    return torch.exp2(exponents.float()).to(E8M0)


def same(x, y):
    """Bits, and all that a caller sees beside them."""
    assert (x.dtype, x.shape, x.stride()) == (y.dtype, y.shape, y.stride())
    assert torch.equal(x.view(torch.uint8) if x.dtype.itemsize == 1 else x, y.view(torch.uint8) if y.dtype.itemsize == 1 else y)


def within(found, a, b, bias=None, bias_spread=None):
    """found is a rounded float32 sum of the products of two matrices of float64."""
    exact, spread = a @ b, a.abs() @ b.abs()
    if bias is not None:
        exact, spread = exact + bias.double(), spread + bias.double().abs()
    k, info = a.shape[-1], torch.finfo(found.dtype)
    steps = (k + 8) * 2.0**-24
    slack = steps / (1 - steps) * spread
    bound = slack + info.eps / 2 * (exact.abs() + slack) + info.smallest_normal * info.eps
    assert ((found.double() - exact).abs() <= bound).all()


def inside(call, *taken):
    """A call within override; every product of it has to be Octavo's, those named among them."""
    with override() as handle:
        result = call()
    calls = handle.calls
    assert all(row.torch == 0 for row in calls.values()), str(handle)
    assert set(taken) <= set(calls)
    return result


def refusal(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:
            return type(error), str(error)
    return None


# ---- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("left", [torch.int8, torch.uint8])
@pytest.mark.parametrize("transposed", [False, True])
def test_int_mm(left, size, transposed):
    m, k, n = size
    a = bytes_of(m, k, dtype=left, seed=1)
    b = bytes_of(n, k, dtype=torch.int8, seed=2).t() if transposed else bytes_of(k, n, dtype=torch.int8, seed=2)
    own = octavo.scaled_mm(a, b, out_dtype=torch.int32)
    same(inside(lambda: torch._int_mm(a, b), "_int_mm"), own)
    peer = torch._int_mm(a, b)
    assert (peer.dtype, peer.shape, peer.stride()) == (own.dtype, own.shape, own.stride())
    if k > 1:  # PyTorch leaves the product of one column by a transposed row uninitialised
        same(peer, own)  # exact on both sides
    out = torch.empty(m, n, dtype=torch.int32)
    assert inside(lambda: torch._int_mm(a, b, out=out), "_int_mm") is out
    same(out, own)
    strided = torch.zeros(n, m, dtype=torch.int32).t()
    inside(lambda: torch._int_mm(a, b, out=strided), "_int_mm")
    assert torch.equal(strided, own)


def scales(kind, m, n):
    return (positive(m, 1, seed=3), positive(1, n, seed=4)) if kind == "rows" else (torch.tensor(0.5), torch.tensor([0.25]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["one", "rows"])
@pytest.mark.parametrize("dtypes", [(E4M3, E4M3), (E4M3, E5M2), (E5M2, E4M3), (E5M2, E5M2)])
def test_scaled_mm(dtypes, kind, size):
    m, k, n = size
    a, b = codes(m, k, dtype=dtypes[0], seed=1), codes(n, k, dtype=dtypes[1], seed=2).t()
    sa, sb = scales(kind, m, n)
    recipe = Kind.RowWise if kind == "rows" else Kind.TensorWise
    dense = a.double() * sa.double(), b.double() * sb.double()
    for out_dtype in (BF16, F16, F32, E4M3, None):
        for bias in (None, gaussian(n, seed=5).to(BF16)):
            given = dict(bias=bias, out_dtype=out_dtype)
            old = inside(lambda: torch._scaled_mm(a, b, sa, sb, **given), "_scaled_mm")
            same(old, F._scaled_mm(a, b, sa, sb, **given))
            out = torch.empty_like(old)
            inside(lambda: torch._scaled_mm(a, b, sa, sb, **given, out=out), "_scaled_mm")
            same(out, old)
            new = inside(lambda: theirs.scaled_mm(a, b, sa, recipe, sb, recipe, bias=bias, output_dtype=out_dtype),
                         "_scaled_mm_v2")
            same(new, F.scaled_mm(a, b, sa, recipe, sb, recipe, bias=bias, output_dtype=out_dtype or a.dtype))
            same(new, old)
            within(old, *dense, bias)
            if refusal(lambda: torch._scaled_mm(a, b, sa, sb, **given)) is None:
                peer = torch._scaled_mm(a, b, sa, sb, **given)
                assert (peer.dtype, peer.shape) == (old.dtype, old.shape)
                assert peer.stride() == old.stride() or peer.numel() == 0
                if out_dtype not in (E4M3, None):
                    within(peer, *dense, bias)


def test_what_pytorch_refuses_and_octavo_takes():
    """Blocks, groups, mixed granularities, MX: as octavo.torch.functional."""
    a, b = codes(130, 384, seed=1), codes(140, 384, seed=2).t()
    for sa, sb in ((positive(130, 3, seed=3), positive(3, 2, seed=4)), (positive(130, 1, seed=3), torch.tensor(0.5))):
        assert refusal(lambda: torch._scaled_mm(a, b, sa, sb, out_dtype=BF16))
        same(inside(lambda: torch._scaled_mm(a, b, sa, sb, out_dtype=BF16)), F._scaled_mm(a, b, sa, sb, out_dtype=BF16))
    recipe = powers(130, 12, seed=5), Kind.BlockWise1x32, powers(140, 12, seed=6), Kind.BlockWise1x32
    same(inside(lambda: theirs.scaled_mm(a, b, *recipe)), F.scaled_mm(a, b, *recipe))


def groups(form, dtype, seed=1):
    """(left, right, offsets) of ragged rows, of batches, of cut columns and of cut K, with an empty group. Rows of the
    operands and of their gradients are multiples of 16 bytes, as PyTorch asks."""
    offs = torch.tensor([3, 3, 16], dtype=torch.int32)
    left = gaussian(*{"rows": (16, 32), "batches": (3, 8, 32), "columns": (3, 8, 32), "k": (8, 16)}[form], seed=seed)
    right = gaussian(*{"rows": (3, 24, 32), "batches": (3, 24, 32), "columns": (16, 32), "k": (24, 16)}[form], seed=seed + 1)
    return left.to(dtype), right.to(dtype).transpose(-2, -1), None if form == "batches" else offs


@pytest.mark.parametrize("form", ["rows", "batches", "columns", "k"])
@pytest.mark.parametrize("dtype", [BF16, F16, F32])
def test_grouped_mm(form, dtype):
    x, w, offs = groups(form, dtype)
    y = inside(lambda: theirs.grouped_mm(x, w, offs=offs), "_grouped_mm")
    same(y, F.grouped_mm(x, w, offs=offs))
    same(inside(lambda: torch._grouped_mm(x, w, offs)), y)
    if refusal(lambda: theirs.grouped_mm(x, w, offs=offs)) is None:
        peer = theirs.grouped_mm(x, w, offs=offs)
        assert (peer.dtype, peer.shape) == (y.dtype, y.shape)
        eps = torch.finfo(dtype).eps
        spread = F.grouped_mm(x.abs().float(), w.abs().float(), offs=offs)
        assert ((peer.float() - y.float()).abs() <= eps * y.float().abs() + 48 * 2.0**-24 * spread + 2.0**-24).all()


def test_rows_of_groups_begin_at_multiples_of_16_bytes():
    """As PyTorch's, whose compiler counts on it."""
    offs = torch.tensor([3, 3, 10], dtype=torch.int32)
    for dtype, shape, stride in ((BF16, (10, 12), (16, 1)), (F32, (10, 11), (12, 1))):
        x, w = gaussian(10, 16, seed=1).to(dtype), gaussian(3, shape[1], 16, seed=2).to(dtype).transpose(1, 2)
        peer, found = theirs.grouped_mm(x, w, offs=offs), inside(lambda: theirs.grouped_mm(x, w, offs=offs), "_grouped_mm")
        assert peer.shape == found.shape == shape and peer.stride() == found.stride() == stride
        assert torch.equal(found, F.grouped_mm(x, w, offs=offs))
        batches = x[None].expand(3, -1, -1).contiguous(), w
        assert inside(lambda: theirs.grouped_mm(*batches)).stride() == theirs.grouped_mm(*batches).stride()
        if dtype is BF16:
            function = compiled(lambda x, w: theirs.grouped_mm(x, w, offs=offs) + 0, "inductor")
            try:
                assert torch.equal(inside(lambda: function(x, w), "_grouped_mm"), found)
            except Exception as error:
                if not without_compiler(error):
                    raise


@pytest.mark.parametrize("form", ["rows", "batches", "columns", "k"])
def test_scaled_grouped_mm(form):
    x, w, offs = groups(form, F32)
    x, w = x.to(E4M3), w.to(E4M3)
    count = 3 if x.dim() == w.dim() == 2 else 1
    sa = positive(*((3, 8) if x.dim() == 3 else (x.shape[0] * count,)), seed=3)
    sb = positive(*((3, 24) if w.dim() == 3 else (w.shape[1] * count,)), seed=4)
    own = F.scaled_grouped_mm(x, w, sa, Kind.RowWise, sb, Kind.RowWise, offs=offs)
    with pytest.raises(NotImplementedError):
        torch._scaled_grouped_mm(x, w, sa, sb, offs, out_dtype=BF16)
    same(inside(lambda: torch._scaled_grouped_mm(x, w, sa, sb, offs, out_dtype=BF16), "_scaled_grouped_mm"), own)
    same(inside(lambda: theirs.scaled_grouped_mm(x, w, sa, Kind.RowWise, sb, Kind.RowWise, offs=offs),
                "_scaled_grouped_mm_v2"), own)


# ---- modes ----------------------------------------------------------------------------------------


def everything(q, w_int, a, b, sa, sb, x, w, offs, gx, gw, gsa, gsb):
    return (torch._int_mm(q, w_int).float() * sa, torch._scaled_mm(a, b, sa, sb, out_dtype=BF16) + 1,
            theirs.scaled_mm(a, b, sa, Kind.RowWise, sb, Kind.RowWise), theirs.grouped_mm(x, w, offs=offs),
            torch._scaled_grouped_mm(gx, gw, gsa, gsb, offs=offs, out_dtype=BF16),
            theirs.scaled_grouped_mm(gx, gw, gsa, Kind.RowWise, gsb, Kind.RowWise, offs=offs))


def arguments():
    x, w, offs = groups("rows", BF16)
    return (bytes_of(33, 64, dtype=torch.int8, seed=1), bytes_of(64, 48, dtype=torch.int8, seed=2), codes(33, 64, seed=3),
            codes(48, 64, seed=4).t(), positive(33, 1, seed=5), positive(1, 48, seed=6), x, w, offs, x.to(E4M3),
            w.to(E4M3), positive(16, seed=7), positive(3, 24, seed=8))


def compiled(function, backend):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=backend)


def without_compiler(error):
    return "InvalidCxxCompiler" in repr(error)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_one_graph(backend):
    given = arguments()
    wanted = inside(lambda: everything(*given), *OPERATORS)
    function = compiled(everything, backend)
    try:
        found = inside(lambda: function(*given), "_int_mm", "_scaled_mm", "_grouped_mm", "_scaled_grouped_mm_v2")
    except Exception as error:  # a machine without a compiler that inductor finds
        if without_compiler(error):
            pytest.skip("inductor found no C++ compiler")
        raise
    for x, y in zip(found, wanted):
        assert torch.equal(x, y)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_graph_runs_what_is_in_place_when_it_runs(backend):
    """Compiled outside it is Octavo's within, and compiled within it is PyTorch's outside."""
    given = arguments()[:6]

    def dense(q, w_int, a, b, sa, sb):
        return torch._int_mm(q, w_int), torch._scaled_mm(a, b, sa, sb, out_dtype=BF16)

    outside = compiled(dense, backend)
    try:
        before = outside(*given)
    except Exception as error:
        if without_compiler(error):
            pytest.skip("inductor found no C++ compiler")
        raise
    own = inside(lambda: dense(*given), "_int_mm", "_scaled_mm")
    for x, y in zip(inside(lambda: outside(*given), "_int_mm", "_scaled_mm"), own):
        same(x, y)
    within_it = compiled(dense, backend)
    inside(lambda: within_it(*given), "_int_mm", "_scaled_mm")
    for function in (outside, within_it):
        for x, y in zip(function(*given), before):
            same(x, y)


class Dense(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w_int = torch.nn.Parameter(bytes_of(48, 64, dtype=torch.int8, seed=2), requires_grad=False)
        self.w_scale = torch.nn.Parameter(positive(48, seed=3), requires_grad=False)
        self.w = torch.nn.Parameter(codes(48, 64, seed=4), requires_grad=False)

    def forward(self, q, x, scale):
        return (torch._int_mm(q, self.w_int.t()).float() * scale * self.w_scale,
                torch._scaled_mm(x, self.w.t(), scale, self.w_scale[None], out_dtype=BF16))


@pytest.mark.parametrize("option", ["freezing", "cpp_wrapper", "max_autotune"])
def test_inductor_has_no_way_round(option):
    """Frozen products of oneDNN, kernels of PyTorch's by name, choices by measuring."""
    import torch._inductor.config as config

    given = bytes_of(33, 64, dtype=torch.int8, seed=1), codes(33, 64, seed=3), positive(33, 1, seed=5)
    model = Dense().eval()
    with torch.no_grad(), config.patch({option: True}):
        wanted = inside(lambda: model(*given), "_int_mm", "_scaled_mm")
        function = compiled(model, "inductor")
        try:
            with override() as handle:
                function(*given)
                found = function(*given)
        except Exception as error:
            if without_compiler(error):
                pytest.skip("inductor found no C++ compiler")
            raise
        assert handle.calls["_int_mm"].octavo >= 2 and handle.calls["_scaled_mm"].octavo >= 2, str(handle)
        for x, y in zip(found, wanted):
            assert torch.equal(x, y)
        outside = function(*given)
        assert torch.allclose(outside[0], wanted[0])


def test_passes_of_others_stay():
    import torch._inductor.config as config

    seen = []

    def theirs_too(graph):
        seen.append(graph)

    with config.patch(joint_custom_pre_pass=theirs_too):
        with override(), override():
            assert config.joint_custom_pre_pass is not theirs_too
            try:
                compiled(lambda x: x + 1, "inductor")(torch.ones(3))
            except Exception as error:
                if not without_compiler(error):
                    raise
        assert config.joint_custom_pre_pass is theirs_too and seen


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_modes_without_gradients(mode):
    given = arguments()
    wanted = inside(lambda: everything(*given))
    with mode():
        for x, y in zip(inside(lambda: everything(*given), *OPERATORS), wanted):
            same(x, y)


@pytest.mark.parametrize("form", ["rows", "batches", "columns", "k"])
@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_gradients_of_groups(form, backend):
    """PyTorch's formulas are grouped products, too."""
    x, w, offs = groups(form, BF16)

    def run(function):
        leaves = [t.detach().clone().requires_grad_() for t in (x, w)]
        y = function(*leaves)
        y.backward(gaussian(*y.shape, seed=9).to(BF16))
        return [leaf.grad for leaf in leaves]

    product = lambda x, w: theirs.grouped_mm(x, w, offs=offs)  # noqa: E731
    function = compiled(product, backend) if backend else product
    with override() as handle:
        found = run(function)
    row = handle.calls["_grouped_mm"]
    assert row.octavo >= 3 and row.torch == 0, str(handle)
    for x_grad, y_grad in zip(found, run(lambda x, w: F.grouped_mm(x, w, offs=offs))):
        assert torch.equal(x_grad, y_grad)


def test_the_gradient_of_a_sum():
    """PyTorch's kernel refuses its strides of 0."""
    x, w, offs = groups("rows", BF16)
    x.requires_grad_()
    inside(lambda: theirs.grouped_mm(x, w, offs=offs).sum().backward())
    assert x.grad.isfinite().all()


def test_dispatch_modes_see_pytorchs_operators():
    seen = []

    class Log(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    given = arguments()
    with Log():
        y = inside(lambda: torch._int_mm(*given[:2]), "_int_mm")
    assert seen == ["aten._int_mm.default"]
    same(y, torch._int_mm(*given[:2]))


# ---- what is PyTorch's to do ------------------------------------------------------------------------


def test_what_octavo_refuses_is_pytorchs():
    a, b, one = codes(4, 16, seed=1), codes(16, 16, seed=2).t(), torch.tensor(1.0)
    q, w = bytes_of(4, 16, dtype=torch.int8, seed=1), bytes_of(16, 8, dtype=torch.int8, seed=2)
    x, experts, offs = groups("rows", BF16)
    calls = {
        "_int_mm": [lambda: torch._int_mm(q.float(), w), lambda: torch._int_mm(q, w[:3]), lambda: torch._int_mm(q[0], w),
                    lambda: torch._int_mm(q, w, out=torch.empty(1, dtype=torch.int32)),
                    lambda: torch._int_mm(q, w, out=torch.empty(4, 8))],
        "_scaled_mm": [lambda: torch._scaled_mm(a, b[:5], one, one), lambda: torch._scaled_mm(a, b, torch.ones(3, 1), one),
                       lambda: torch._scaled_mm(a, b, one, one, bias=torch.ones(3)),
                       lambda: torch._scaled_mm(a, b, one, one, bias=torch.ones(4, 16)),
                       lambda: torch._scaled_mm(a, b, one, one, out_dtype=torch.int64)],
        "_scaled_mm_v2": [lambda: theirs.scaled_mm(a, b, one, Kind.TensorWise, one, Kind.TensorWise, contraction_dim=(0, 1)),
                          lambda: theirs.scaled_mm(a, one, one, Kind.TensorWise, one, Kind.TensorWise, bias=one),
                          lambda: theirs.scaled_mm(a, b, torch.ones(3, 3), Kind.RowWise, one, Kind.TensorWise)],
        "_grouped_mm": [lambda: torch._grouped_mm(x, experts[:2], offs), lambda: torch._grouped_mm(q, w),
                        lambda: torch._grouped_mm(x, experts), lambda: torch._grouped_mm(x, one), lambda: torch._grouped_mm(x[0], experts),
                        lambda: torch._grouped_mm(x, x.t()[:, :9], one.int())],
        "_scaled_grouped_mm": [lambda: torch._scaled_grouped_mm(a, b, one, one)],
    }
    for operator, rows in calls.items():
        for call in rows:
            outside = refusal(call)
            with override() as handle:
                found = refusal(call)
            if operator != "_scaled_grouped_mm":  # its sentence lists the kernels there are
                assert found == outside
            assert found is None or found[0] is outside[0]
            row = handle.calls[operator]
            assert (row.octavo, row.torch) == (0, 1) and sum(row.reasons.values()) == 1


def test_an_out_of_another_shape_is_resized():
    a, b, one = codes(4, 16, seed=1), codes(16, 16, seed=2).t(), torch.tensor(1.0)
    out = torch.empty(0, dtype=BF16)
    with override() as handle:
        assert torch._scaled_mm(a, b, one, one, out_dtype=BF16, out=out) is out
    same(out, torch._scaled_mm(a, b, one, one, out_dtype=BF16))
    assert list(handle.calls["_scaled_mm"].reasons) == ["scaled_mm: out.shape must be [4, 16]"]


def test_the_handle_says_what_ran():
    q, w = bytes_of(4, 16, dtype=torch.int8, seed=1), bytes_of(16, 8, dtype=torch.int8, seed=2)
    with override() as handle:
        assert str(handle) == "no call yet" and handle.active
        for _ in range(3):
            torch._int_mm(q, w)
        for rows in range(1, 60):
            refusal(lambda: torch._int_mm(q, w[:, :rows].float()))
            refusal(lambda: torch._int_mm(bytes_of(2, rows, dtype=torch.int8, seed=1), w[:0]))
    assert not handle.active
    row = handle.calls["_int_mm"]
    assert row.octavo == 3 and row.torch == 118 == sum(row.reasons.values())
    assert row.reasons["_int_mm: self.dtype must be int8 or uint8 and mat2.dtype int8"] == 59
    assert len(row.reasons) <= 33 and row.reasons["other reasons"] == 59 - 31
    lines = str(handle).splitlines()
    assert lines[0].split() == ["operator", "octavo", "torch"] and lines[1].split() == ["_int_mm", "3", "118"]
    assert lines[2].split(maxsplit=1) == ["59", "_int_mm: self.dtype must be int8 or uint8 and mat2.dtype int8"]


def test_other_devices_are_pytorchs():
    q, w = (bytes_of(*shape, dtype=torch.int8, seed=1).to("meta") for shape in ((4, 16), (16, 8)))
    with override() as handle:
        assert torch._int_mm(q, w).device.type == "meta"
    assert handle.calls == {}


# ---- entering and leaving -----------------------------------------------------------------------------


def state():
    packets = [getattr(torch.ops.aten, name) for name in OPERATORS]
    names = [getattr(packet, overload).name() for packet in packets for overload in packet.overloads()]
    return [(torch._C._dispatch_dump(name), torch._C._dispatch_dump_table(name)) for name in names]


def dense():
    given = arguments()
    return torch._scaled_mm(*given[2:6], out_dtype=BF16), torch._int_mm(*given[:2]), theirs.grouped_mm(*given[6:8], offs=given[8])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_leaving_in_any_order_restores_pytorch(order):
    before, results = state(), dense()
    handles = [override() for _ in range(3)]
    assert state() != before
    dense()
    for i, which in enumerate(order):
        handles[which].remove()
        handles[which].remove()
        dense()
    assert state() == before
    for x, y in zip(dense(), results):
        same(x, y)
    seen = [handles[which].calls["_int_mm"].octavo for which in order]
    assert seen == [1, 2, 3]  # a handle counts until it is removed


def test_nested_blocks_and_plain_handles():
    before = state()
    handle = override()
    with override() as inner:
        dense()
    dense()
    with handle:
        dense()
    assert state() == before and not handle.active
    assert (inner.calls["_int_mm"].octavo, handle.calls["_int_mm"].octavo) == (1, 3)
    for _ in range(20):
        inside(dense, "_int_mm")
    assert state() == before


def test_errors_inside_a_block():
    before = state()
    with pytest.raises(ZeroDivisionError):
        with override() as handle:
            dense()
            raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="int_mm_out_cpu"):
        with override():
            torch._int_mm(torch.ones(2, 2), torch.ones(2, 2))
    assert state() == before and handle.calls["_int_mm"].octavo == 1


def test_two_threads():
    given, wanted = arguments(), inside(lambda: everything(*arguments()))
    wrong, rounds = [], 50

    def work():
        for _ in range(rounds):
            if not all(torch.equal(x, y) for x, y in zip(everything(*given), wanted)):
                wrong.append(1)

    with override() as handle:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    for name in OPERATORS:
        assert (handle.calls[name].octavo, handle.calls[name].torch) == (2 * rounds, 0)
