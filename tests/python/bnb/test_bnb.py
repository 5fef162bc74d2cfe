# SPDX-License-Identifier: Apache-2.0
"""octavo.bnb: bitsandbytes' product, state and functions by specification section 8."""

import copy
import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.bnb as bnb  # noqa: E402
from octavo.bnb.autograd._functions import MatMul8bitFp, MatMul8bitLt, MatmulLtState  # noqa: E402

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def gaussian(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def activations(*shape, columns=(), seed=1, dtype=torch.float32):
    x = gaussian(*shape, seed=seed)
    for c in columns:
        x[..., c] *= 8
        x.reshape(-1, shape[-1])[0, c] = 7.0  # one outlier for sure
    return x.to(dtype)


def state_of(threshold=0.0, **options):
    state = MatmulLtState()
    state.threshold = threshold
    for name, value in options.items():
        setattr(state, name, value)
    return state


def codes_of(x, threshold=0.0, columns=()):
    """Section 8 in float32: codes, absolute maxima, outlier columns. Division and product are each rounded once."""
    x = x.float().numpy().reshape(-1, x.shape[-1])
    magnitude = np.abs(x)
    outliers = magnitude >= threshold if threshold else np.zeros_like(x, bool)
    found = np.flatnonzero(outliers.any(0))
    absmax = np.where(outliers, 0, magnitude).max(1)
    codes = np.rint(x * (np.float32(127) / absmax)[:, None])
    codes[:, found] = 0
    return codes.astype(np.int8), absmax, found


def by_section_8(x, w, bias=None, threshold=0.0):
    """y in the order of section 3, step by step in float32."""
    a, sa, columns = codes_of(x, threshold)
    b, sb, _ = codes_of(w)
    rows = x.float().numpy().reshape(-1, x.shape[-1])
    t = (a.astype(np.int64) @ b.astype(np.int64).T).astype(np.float32)
    t = t * (sa / np.float32(127))[:, None]
    if threshold:
        outlier = np.zeros_like(t)
        for c in columns:
            outlier += rows[:, c, None] * b[:, c].astype(np.float32)
        t = t + outlier
    t = t * (sb / np.float32(127))
    if bias is not None:
        t = t + bias.float().numpy()
    return torch.from_numpy(t).to(x.dtype).reshape(*x.shape[:-1], -1)


# ---- names ---------------------------------------------------------------------------------------------


def test_names_and_signatures_are_bitsandbytes():
    def names(function):
        return list(inspect.signature(function).parameters)

    assert names(bnb.matmul) == ["A", "B", "out", "state", "threshold", "bias"]
    assert names(MatMul8bitLt.forward) == ["ctx", "A", "B", "out", "bias", "state"] == names(MatMul8bitFp.forward)
    assert names(bnb.nn.Linear8bitLt)[:7] == ["input_features", "output_features", "bias", "has_fp16_weights",
                                              "threshold", "index", "device"]
    assert names(bnb.nn.Int8Params.__new__)[1:6] == ["data", "requires_grad", "has_fp16_weights", "CB", "SCB"]
    assert names(bnb.functional.int8_double_quant) == ["A", "col_stats", "row_stats", "out_col", "out_row",
                                                       "threshold"]
    assert issubclass(MatMul8bitLt, torch.autograd.Function)


def test_names_and_signatures_beside_bitsandbytes_itself():
    peer = pytest.importorskip("bitsandbytes")
    for path in ("matmul", "MatmulLtState", "nn.Linear8bitLt", "nn.Int8Params", "functional.int8_vectorwise_quant",
                 "functional.int8_double_quant", "functional.int8_linear_matmul", "functional.int8_mm_dequant",
                 "functional.int8_vectorwise_dequant"):
        own, theirs = bnb, peer
        for name in path.split("."):
            own, theirs = getattr(own, name), getattr(theirs, name)
        ours, expected = inspect.signature(own).parameters, inspect.signature(theirs).parameters
        for position, (name, parameter) in enumerate(expected.items()):
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            assert list(ours)[position] == name, path
            assert ours[name].default == parameter.default, (path, name)
    for name in ("int8_vectorwise_quant", "int8_double_quant", "int8_linear_matmul", "int8_mm_dequant", "int8_scaled_mm",
                 "int8_mixed_scaled_mm", "int8_vectorwise_dequant"):
        schemas = [str(getattr(getattr(torch.ops, space), name).default._schema).split("::")[1]
                   for space in ("octavo", "bitsandbytes")]
        assert schemas[0].replace("-> (Tensor, Tensor)", "-> (Tensor, Tensor?)") == schemas[1].replace(
            "-> (Tensor, Tensor)", "-> (Tensor, Tensor?)"), name


def test_what_is_not_here_says_so():
    with pytest.raises(AttributeError, match="Linear4bit must come from bitsandbytes"):
        bnb.nn.Linear4bit  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        bnb.nothing  # noqa: B018
    with pytest.raises(RuntimeError, match="get_instance"):
        bnb.GlobalOutlierPooler()
    with pytest.warns(FutureWarning):
        assert MatmulLtState().CxB is None


# ---- forward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0.0, 6.0])
def test_the_bits_are_section_8s(dtype, threshold):
    x = activations(3, 5, 70, columns=(2, 69), dtype=dtype)
    w, bias = gaussian(33, 70, seed=2, dtype=dtype), gaussian(33, seed=3, dtype=dtype)
    y = bnb.matmul(x, w, threshold=threshold, bias=bias)
    assert y.dtype == dtype and torch.equal(y, by_section_8(x, w, bias, threshold))


def test_codes_and_statistics_to_the_bit():
    for dtype in DTYPES:
        x = activations(17, 45, columns=(0, 7), dtype=dtype)
        codes, absmax, columns = codes_of(x, 6.0)
        for f in (bnb.functional.int8_vectorwise_quant, torch.ops.octavo.int8_vectorwise_quant):
            got = f(x, 6.0)
            assert np.array_equal(got[0], codes) and np.array_equal(got[1], absmax)
            assert got[2].dtype == torch.int64 and np.array_equal(got[2], columns)
        by_column, col_absmax, _ = codes_of(torch.where(x.abs() >= 6, 0, x).T.contiguous())
        by_column = by_column.T.copy()
        by_column[:, columns] = 0
        double = bnb.functional.int8_double_quant(x, threshold=6.0)
        assert np.array_equal(double[1], by_column) and np.array_equal(double[3], col_absmax)
    assert bnb.functional.int8_vectorwise_quant(gaussian(2, 3))[2] is None
    assert bnb.functional.int8_vectorwise_quant(gaussian(2, 3), 100.0)[2].shape == (0,)


def test_codes_against_bitsandbytes():
    """Its CPU path quantises float16 by a quotient of its own: codes differ at near-ties, by one."""
    peer = pytest.importorskip("bitsandbytes")
    x = activations(64, 512, columns=(5, 77), dtype=torch.float16)
    for threshold in (0.0, 6.0):
        codes, absmax, columns = bnb.functional.int8_vectorwise_quant(x, threshold)
        theirs, their_absmax, their_columns = peer.functional.int8_vectorwise_quant(x.clone(), threshold)
        assert torch.equal(absmax, their_absmax.float())
        apart = (codes.int() - theirs.int()).abs()
        assert apart.max() <= 1 and (apart > 0).double().mean() < 2e-3
        assert (columns is None) == (their_columns is None)
        assert columns is None or torch.equal(columns, their_columns)


def test_range_beyond_float16():
    x, w = gaussian(4, 64) * 1e6, gaussian(8, 64, seed=2) * 1e6
    for dtype in (torch.float32, torch.bfloat16):
        y = bnb.matmul(x.to(dtype), w.to(dtype))
        assert torch.isfinite(y).all()
        exact = x.to(dtype).double() @ w.to(dtype).double().T
        assert (y.double() - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("shape", [(70,), (1, 70), (2, 1, 3, 70), (0, 70), (3, 0, 70)])
def test_any_rank_and_empty(shape):
    x = gaussian(*shape).requires_grad_()
    w = gaussian(9, 70, seed=2).requires_grad_()
    y = bnb.matmul(x, w, threshold=6.0)
    assert y.shape == (*shape[:-1], 9)
    y.sum().backward()
    assert x.grad.shape == x.shape and w.grad.shape == w.shape
    if x.numel():
        assert torch.equal(y.reshape(-1, 9), bnb.matmul(x.detach().reshape(-1, 70), w.detach(), threshold=6.0))
    else:
        assert (w.grad == 0).all()


@pytest.mark.parametrize("k", [1, 3, 30, 1041])
def test_any_number_of_features(k):
    x, w = gaussian(5, k), gaussian(7, k, seed=2)
    assert torch.equal(bnb.matmul(x, w, threshold=2.0), by_section_8(x, w, threshold=2.0))


def test_strided_and_read_only_inputs_stay_as_they_are():
    wide = activations(8, 140, columns=(4,), dtype=torch.float16)
    x, w = wide[:, ::2], gaussian(70, 9, seed=2, dtype=torch.float16).T
    before = wide.clone()
    y = bnb.matmul(x, w, threshold=6.0)
    assert torch.equal(y, bnb.matmul(x.contiguous(), w.contiguous(), threshold=6.0))
    assert torch.equal(wide, before)


def test_out_is_written():
    x, w = activations(4, 70, columns=(1,)), gaussian(9, 70, seed=2)
    for out in (torch.empty(4, 9), torch.empty(9, 4).T):
        y = bnb.matmul(x, w, out=out, threshold=6.0)
        assert y.data_ptr() == out.data_ptr() and torch.equal(out, by_section_8(x, w, threshold=6.0))
    fp = torch.empty(4, 9)
    MatMul8bitFp.apply(x, w, fp, None, state_of())
    assert torch.equal(fp, MatMul8bitFp.apply(x, w, None, None, state_of()))


def test_a_threshold_overrides_the_states_only_above_zero():
    state = state_of(threshold=5.0)
    x, w = gaussian(2, 16), gaussian(3, 16, seed=2)
    bnb.matmul(x, w, state=state)
    assert state.threshold == 5.0
    bnb.matmul(x, w, state=state, threshold=2.0)
    assert state.threshold == 2.0
    bnb.matmul(x, w, state=state, threshold=0.0)
    assert state.threshold == 2.0 and state.idx is not None


def test_functions_and_operators():
    a = torch.randint(-127, 128, (3, 4, 33), dtype=torch.int8)
    b = torch.randint(-127, 128, (7, 33), dtype=torch.int8)
    exact = (a.long() @ b.long().T).int()
    f = bnb.functional
    assert torch.equal(f.int8_linear_matmul(a, b), exact)
    out = torch.empty_like(exact)
    assert f.int8_linear_matmul(a, b, out=out) is out and torch.equal(out, exact)
    out.zero_()
    torch.ops.octavo.int8_linear_matmul.out(a, b, out)
    assert torch.equal(out, exact)
    rows, cols, bias = gaussian(12).abs(), gaussian(7, seed=2).abs(), gaussian(7, seed=3)
    t = exact.float() * (rows / 127).view(3, 4, 1) * (cols / 127) + bias
    assert torch.equal(f.int8_mm_dequant(exact, rows, cols, bias=bias), t.half())
    kept = torch.empty_like(t)
    assert f.int8_mm_dequant(exact, rows, cols, out=kept, bias=bias) is kept and torch.equal(kept, t)
    assert torch.equal(f.int8_scaled_mm(a, b, rows, cols, bias, torch.float32), t)
    x = gaussian(3, 4, 33, dtype=torch.bfloat16)
    y, columns = f.int8_mixed_scaled_mm(x, a, b, rows, cols, torch.tensor([1, 30]), bias)
    assert y.dtype == torch.bfloat16 and torch.equal(columns, x.reshape(12, 33)[:, [1, 30]])
    assert torch.equal(f.int8_vectorwise_dequant(b, cols), b * (cols / 127)[:, None])
    with pytest.raises(ValueError, match="int8_double_quant: out_row must be None"):
        f.int8_double_quant(gaussian(2, 3), out_row=a)


def test_opcheck():
    x, w = activations(4, 32, columns=(3,)), gaussian(8, 32, seed=2)
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(w)
    a, sa, columns = bnb.functional.int8_vectorwise_quant(x, 6.0)
    ops = torch.ops.octavo
    samples = [(ops.int8_vectorwise_quant, (x, 6.0)), (ops.int8_vectorwise_quant, (x,)),
               (ops.int8_double_quant, (x, 6.0)), (ops.int8_linear_matmul, (a, codes)),
               (ops.int8_scaled_mm, (a, codes, sa, absmax)), (ops.int8_vectorwise_dequant, (codes, absmax)),
               (ops.int8_mixed_scaled_mm, (x, a, codes, sa, absmax, columns)),
               *((ops.int8_linear, (x.clone().requires_grad_(), w.clone().requires_grad_(), codes, absmax,
                                    gaussian(8, seed=4), 6.0, False, None, None, False, exact))
                 for exact in (False, True))]
    for op, arguments in samples:
        torch.library.opcheck(op.default, arguments)


# ---- backward ------------------------------------------------------------------------------------------


def relative(got, exact):
    got, exact = got.detach().double(), exact.detach()
    return float((got - exact).norm() / exact.norm())


def gradients(x, w, bias, grad, threshold, function=bnb.matmul, state=None):
    x, w, bias = (t.clone().requires_grad_() for t in (x, w, bias))
    function(x, w, bias=bias, threshold=threshold, state=state).backward(grad)
    return x.grad, w.grad, bias.grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_close_to_the_exact_ones(dtype):
    x = activations(2, 64, 96, columns=(3, 40), dtype=dtype)
    w, bias = gaussian(48, 96, seed=2, dtype=dtype), gaussian(48, seed=3, dtype=dtype)
    grad = gaussian(2, 64, 48, seed=4, dtype=dtype)
    dx, dw, db = gradients(x, w, bias, grad, 6.0)
    assert (dx.dtype, dw.dtype, db.dtype) == (dtype,) * 3
    rows, g = x.double().reshape(-1, 96), grad.double().reshape(-1, 48)
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(w)
    dequantized = bnb.functional.int8_vectorwise_dequant(codes, absmax).double()
    assert relative(dx.reshape(-1, 96), g @ dequantized) < 4e-3  # the folded gradient is rounded to bfloat16
    assert relative(dw, g.T @ rows) < 0.015
    assert relative(db, g.sum(0)) < 4e-3


# Shapes and distributions of the figures; bitsandbytes' formula gives 0.22, 2.7 and 0.35.
@pytest.mark.parametrize("case, bar", [("gaussian", 0.015), ("lognormal", 0.03), ("outliers", 0.015)])
def test_the_weights_gradient(case, bar):
    x, g = gaussian(512, 256), gaussian(512, 192, seed=4)
    if case == "lognormal":
        g = g * gaussian(512, 1, seed=5).exp()
    if case == "outliers":
        hit = torch.arange(512) % 10 == 0
        for c in (3, 50, 51, 200):
            x[hit, c] = x[hit, c] * 8 + 6
    given = x, gaussian(192, 256, seed=2), gaussian(192, seed=3), g, 6.0
    _, dw, _ = gradients(*given, state=state_of(weight_gradient="int8"))
    exact, spread = g.double().T @ x.double(), g.double().abs().T @ x.double().abs()
    assert 0.005 < relative(dw, exact) < bar
    _, dw, _ = gradients(*given)
    steps = 2 * len(x) + 8  # specification section 9, K = M = 512
    assert ((dw - exact).abs() <= steps * 2.0**-24 / (1 - steps * 2.0**-24) * spread).all()


def through_matmul(x, w, state):
    return bnb.matmul(x, w, state=state)


def through_the_class(x, w, state):
    return MatMul8bitLt.apply(x, w, None, None, state)


def through_a_compiled_matmul(x, w, state):
    torch._dynamo.reset()
    return torch.compile(lambda x, w: bnb.matmul(x, w, state=state), backend="aot_eager")(x, w)


def through_a_layer(x, w, state):
    layer = bnb.nn.Linear8bitLt(*reversed(w.shape), bias=False, weight_gradient=state.weight_gradient).train(state.is_training)
    layer.weight = bnb.nn.Int8Params(w.detach(), has_fp16_weights=True)
    through_a_layer.weight = layer.weight
    return layer(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("asked, exact", [(None, True), ("int8", False), ("exact", True)])
@pytest.mark.parametrize("through", [through_matmul, through_the_class, through_a_compiled_matmul, through_a_layer])
def test_whose_gradient_of_the_weight_is_exact(through, asked, exact, training):
    """matmul and layers: bitsandbytes' on a CPU, exact, unless asked for codes; MatMul8bitLt itself: codes, unless asked."""
    if through is through_the_class and asked is None:
        exact = False
    x, g = gaussian(64, 32), gaussian(64, 8, seed=4)
    w = gaussian(8, 32, seed=2).requires_grad_()
    state = state_of(weight_gradient=asked)
    state.is_training = training
    through(x, w, state).backward(g)
    found = (through_a_layer.weight if through is through_a_layer else w).grad
    error = relative(found, g.double().T @ x.double())
    assert (error < 1e-6) if exact else (0.003 < error < 0.02)


def test_both_products_have_these_gradients():
    x, w, bias, grad = gaussian(9, 32), gaussian(8, 32, seed=2), gaussian(8, seed=3), gaussian(9, 8, seed=4)

    def fp(x, w, bias, threshold, state):
        return MatMul8bitFp.apply(x, w, None, bias, state_of(threshold))

    exact = gradients(x, w, bias, grad, 0.0, fp)
    for got, want in zip(gradients(x, w, bias, grad, 0.0), exact):
        assert relative(got, want.double()) < 0.015
    assert torch.allclose(exact[1], grad.T @ x, atol=1e-5)


def test_gradients_accumulate_over_the_same_codes():
    w = torch.nn.Parameter(gaussian(8, 32, seed=2))
    state = state_of()
    x, grad = gaussian(9, 32), gaussian(9, 8, seed=4)
    bnb.matmul(x, w, state=state).backward(grad)
    codes, first = state.CB, w.grad.clone()
    bnb.matmul(x, w, state=state).backward(grad)
    assert state.CB is codes and torch.equal(w.grad, first + first)
    with torch.no_grad():
        w.mul_(-1.0)  # a step of an optimiser that keeps its gradients
    bnb.matmul(x, w, state=state)
    assert torch.equal(state.CB, -codes)


def test_a_changed_weight_is_quantized_anew_outside_of_training():
    layer = bnb.nn.Linear8bitLt(32, 8, threshold=6.0).eval()
    x = gaussian(3, 32)
    y = layer(x)
    assert torch.equal(layer(x), y)
    torch.optim.SGD(layer.parameters(), lr=0.5)
    with torch.no_grad():
        layer.weight.mul_(2.0)
        layer.bias.mul_(2.0)
    assert torch.equal(layer(x), 2 * y)
    layer.weight.data.mul_(2.0)  # nobody is told
    layer.state.reset_grads()
    assert not torch.equal(layer(x), 2 * y)


def test_a_weight_may_change_before_its_backward():
    w = torch.nn.Parameter(gaussian(8, 32, seed=2))
    x = gaussian(3, 32).requires_grad_()
    y = bnb.matmul(x, w)
    expected, = torch.autograd.grad(y.sum(), x, retain_graph=True)
    with torch.no_grad():
        w.zero_()
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected)


def test_a_second_derivative_is_refused():
    x, w = gaussian(4, 32).requires_grad_(), gaussian(8, 32, seed=2).requires_grad_()
    for function in (bnb.matmul, lambda a, b: MatMul8bitFp.apply(a, b, None, None, None)):
        first, = torch.autograd.grad(function(x, w).square().sum(), x, create_graph=True)
        with pytest.raises(NotImplementedError, match="gradients must be taken once"):
            first.sum().backward()


# ---- rules of outliers ---------------------------------------------------------------------------------


def test_the_pool_pools():
    pool = bnb.GlobalOutlierPooler.get_instance()
    assert pool is bnb.GlobalOutlierPooler.get_instance()
    pool.initialize()
    layers = [bnb.nn.Linear8bitLt(70, 8, has_fp16_weights=False, threshold=6.0, use_pool=True) for _ in range(2)]
    other = bnb.nn.Linear8bitLt(71, 8, has_fp16_weights=False, threshold=6.0, use_pool=True)
    calm = gaussian(3, 70).clamp(-3, 3)
    before = layers[0](calm)
    assert layers[0].state.idx.tolist() == []
    layers[1](activations(3, 70, columns=(5, 60)).clamp(-9, 9))
    found = layers[1].state.idx.tolist()
    assert set(found) >= {5, 60} and pool.get_current_outlier_idx().tolist() == found
    after = layers[0](calm)
    assert layers[0].state.idx.tolist() == found and not torch.equal(before, after)
    alone = bnb.nn.Linear8bitLt(70, 8, has_fp16_weights=False, threshold=6.0, outlier_columns=torch.tensor(found))
    alone.load_state_dict(layers[0].state_dict())
    assert torch.equal(alone(calm), after)
    other(gaussian(3, 71))
    assert other.state.idx.tolist() == [] and pool.model_dim == 70
    pool.initialize()


RULES = {"threshold": 3.0, "whole_columns": True, "outlier_columns": torch.tensor([7]), "use_pool": True}


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_changes_after_a_product_is_the_rule_of_the_next(rule, trains):
    """Whatever the codes were packed with."""
    pool = bnb.GlobalOutlierPooler.get_instance()

    def product(state):
        pool.initialize()
        pool.add_outliers([20], 70)
        return bnb.matmul(x, w, state=state)

    x, w = activations(6, 70, columns=(5,)), gaussian(8, 70, seed=2)
    x[1:, 5] = 5.5  # below the threshold
    state, fresh = (state_of(6.0, has_fp16_weights=trains, is_training=trains) for _ in range(2))
    before = product(state)
    for each in (state, fresh):
        setattr(each, rule, RULES[rule])
    want = product(fresh)
    assert torch.equal(product(state), want) and not torch.equal(want, before)
    pool.initialize()


@pytest.mark.parametrize("trains", [False, True])
def test_the_pools_columns_join_a_states_own(trains):
    pool = bnb.GlobalOutlierPooler.get_instance()
    pool.initialize()
    pool.add_outliers([20, 31], 70)
    x, w = gaussian(6, 70).clamp(-3, 3), gaussian(8, 70, seed=2)
    options = {"has_fp16_weights": trains, "is_training": trains}
    pooled = state_of(6.0, use_pool=True, outlier_columns=torch.tensor([7, 31]), **options)
    alone = state_of(6.0, outlier_columns=torch.tensor([7, 20, 31]), **options)
    assert torch.equal(bnb.matmul(x, w, state=pooled), bnb.matmul(x, w, state=alone))
    pool.initialize()


def test_batch_invariance():
    x = gaussian(6, 70)
    x[2, 9], x[4, 11] = 40.0, -50.0
    layer = bnb.nn.Linear8bitLt(70, 33, has_fp16_weights=False, threshold=6.0, batch_invariant=True)
    y = layer(x)
    for rows in ([0], [2], [4], [0, 4], [5, 3, 2]):
        assert torch.equal(layer(x[rows]), y[rows])
    usual = bnb.nn.Linear8bitLt(70, 33, has_fp16_weights=False, threshold=6.0)
    usual.load_state_dict(layer.state_dict())
    assert not torch.equal(usual(x)[:1], usual(x[:1]))  # the default of bitsandbytes: the batch decides
    layer.state.use_pool = True
    with pytest.raises(ValueError, match="use_pool must be False with batch_invariant"):
        layer(x)


def test_whole_columns_give_tighter_codes():
    x = activations(64, 256, columns=(3, 80), seed=6)
    x[1:, 3], x[1:, 80] = 5.5, 5.5  # below the threshold, in the row's maximum all the same
    w = gaussian(48, 256, seed=2)
    exact = x.double() @ bnb.functional.int8_vectorwise_dequant(*bnb.functional.int8_vectorwise_quant(w)[:2]).double().T
    errors = [relative(bnb.matmul(x, w, state=state_of(6.0, whole_columns=whole)), exact) for whole in (False, True)]
    assert errors[1] < 0.8 * errors[0]


def test_original_outlier_weights():
    x, w = gaussian(64, 1024, seed=6), gaussian(48, 1024, seed=2)
    x[:, [3, 80, 500]] *= 60
    exact = x.double() @ w.double().T
    errors = [relative(bnb.matmul(x, w, state=state_of(6.0, outlier_weights=weights)), exact)
              for weights in ("int8", "original")]
    assert errors[1] < 0.7 * errors[0]
    frozen = bnb.nn.Linear8bitLt(1024, 48, has_fp16_weights=False, threshold=6.0, outlier_weights="original")
    with pytest.raises(ValueError, match="the original weight is not kept"):
        frozen(x)


def test_calibrated_columns():
    torch.manual_seed(0)
    net = torch.nn.Sequential(bnb.nn.Linear8bitLt(70, 40, has_fp16_weights=False, threshold=6.0), torch.nn.ReLU(),
                              bnb.nn.Linear8bitLt(40, 8, has_fp16_weights=False, threshold=6.0))
    seen = activations(32, 70, columns=(5, 60)).clamp(-9, 9)
    dynamic = net(seen)
    with bnb.calibrate_outlier_columns(net) as columns:
        net(seen[:16])
        net(seen[16:])
    assert set(columns) == {"0", "2"} and columns["0"].tolist() == net[0].state.outlier_columns.tolist()
    assert set(columns["0"].tolist()) >= {5, 60} and net[0].state.threshold == 0.0
    y = net(seen)
    assert relative(y, dynamic.double()) < 0.02
    assert torch.equal(net(seen[3:4]), y[3:4])  # no row depends on another any more


# ---- errors --------------------------------------------------------------------------------------------


def test_errors_say_what_to_do():
    x, w = gaussian(4, 32), gaussian(8, 32, seed=2)
    with pytest.raises(ValueError, match=r"A.shape must be \[..., K = 32\] \(B is \[N, K\]\); got \[4, 31\]"):
        bnb.matmul(x[:, :31], w)
    with pytest.raises(ValueError, match="B must be a float weight"):
        bnb.matmul(x, w.to(torch.int8))
    with pytest.raises(ValueError, match="A.dtype must be"):
        bnb.matmul(x.double(), w)
    with pytest.raises(ValueError, match="outlier_weights must be"):
        bnb.matmul(x, w, state=state_of(outlier_weights="both"))
    with pytest.raises(ValueError, match="threshold must be at least 0; got -1"):
        bnb.functional.int8_vectorwise_quant(x, -1.0)


def test_states_copy():
    state = state_of(6.0)
    x, w = gaussian(4, 32), gaussian(8, 32, seed=2)
    y = bnb.matmul(x, w, state=state)
    twin = copy.deepcopy(state)
    assert torch.equal(bnb.matmul(x, w, state=twin), y) and octavo.__version__
