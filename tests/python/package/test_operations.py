# SPDX-License-Identifier: Apache-2.0
"""The operations on NumPy arrays: values from formulas written here, conventions, errors."""

import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import octavo

FP8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz]


def codes(rng, shape, dtype=np.int8):
    if dtype in (np.int8, np.uint8):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(np.float32).astype(dtype)


def scales(rng, *shape):
    return rng.uniform(0.5, 2.0, shape).astype(np.float32)


def test_torch_is_never_imported():
    program = ("import sys, numpy as np, octavo; octavo.scaled_mm(np.ones((2, 3), np.int8), np.ones((3, 4), np.int8)); "
               "assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", program], check=True)


def test_integer_products_are_exact_and_follow_the_sequence(rng):
    a, b = codes(rng, (5, 70)), codes(rng, (70, 9))
    sa, sb, bias = scales(rng, 5, 1), scales(rng, 1, 9), scales(rng, 9)
    y = octavo.scaled_mm(a, b, sa, sb, bias, 0.5)
    t = (a.astype(np.int64) @ b.astype(np.int64)).astype(np.float32)
    assert y.dtype == np.float32
    assert np.array_equal(y, ((t * sa) * sb + bias) * np.float32(0.5))


@pytest.mark.parametrize("dtype", FP8)
def test_every_fp8_type_gives_bfloat16(rng, dtype):
    a, b = codes(rng, (3, 40), dtype), codes(rng, (40, 5), dtype)
    y = octavo.scaled_mm(a, b)
    assert y.dtype == ml_dtypes.bfloat16
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(y.astype(np.float64) - exact).max() <= 2**-8 * np.abs(exact).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int8,
                                   np.uint8, "float32", "bf16", np.dtype("float16")])
def test_out_dtype_in_every_spelling(rng, dtype):
    a, b = codes(rng, (2, 8)), codes(rng, (8, 3))
    y = octavo.scaled_mm(a, b, 0.01, None, out_dtype=dtype)
    expected = ml_dtypes.bfloat16 if dtype == "bf16" else dtype
    assert y.dtype == np.dtype(expected)


def test_undefined_takes_the_carried_scale_and_none_does_not(rng):
    x = rng.standard_normal((4, 32)).astype(np.float32)
    a, b = octavo.quantize(x), octavo.quantize(x.T.copy(), granularity="channel", side="b")
    with_scales = octavo.scaled_mm(a, b)
    assert np.array_equal(with_scales, octavo.scaled_mm(a.data, b.data, a.scale, b.scale))
    assert np.array_equal(octavo.scaled_mm(a, b, None, None), octavo.scaled_mm(a.data, b.data))
    assert not np.array_equal(with_scales, octavo.scaled_mm(a, b, None))


def test_a_1d_scale_a_broadcasts_along_k_unless_declared(rng):
    a, b = codes(rng, (6, 6)), codes(rng, (6, 6))
    s = scales(rng, 6)
    along_k = octavo.scaled_mm(a, b, s)
    rows = octavo.scaled_mm(a, b, s, granularity_a="token")
    product = a.astype(np.float64) @ b.astype(np.float64)
    assert np.allclose(rows, product * s[:, None].astype(np.float64))
    assert np.allclose(along_k, (a * s[None, :].astype(np.float64)) @ b, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("granularity", ["group16", "block8x16", "mx", "element"])
def test_scales_along_k(rng, granularity):
    m, n, k = 9, 10, 70
    cell = {"group16": (1, 16), "block8x16": (8, 16), "mx": (1, 32), "element": (1, 1)}[granularity]
    a, b = codes(rng, (m, k)), codes(rng, (k, n))
    s = scales(rng, -(-m // cell[0]), -(-k // cell[1]))
    spread = np.repeat(np.repeat(s, cell[0], 0)[:m], cell[1], 1)[:, :k].astype(np.float64)
    y = octavo.scaled_mm(a, b, s, granularity_a=granularity)
    exact = (a * spread) @ b.astype(np.float64)
    assert np.abs(y - exact).max() <= 2**-20 * (np.abs(a * spread) @ np.abs(b.astype(np.float64))).max()


def test_zero_points_and_the_rest_of_the_epilogue(rng):
    a, b = codes(rng, (5, 33), np.uint8), codes(rng, (33, 7))
    azp = rng.integers(0, 255, (5, 1)).astype(np.int32)
    c = rng.standard_normal((5, 7)).astype(np.float32)
    y = octavo.scaled_mm(a, b, 0.02, 0.03, azp=azp, alpha=2.0, beta=0.5, c=c)
    acc = ((a.astype(np.int64) - azp) @ b.astype(np.int64)).astype(np.float32)
    expected = acc * np.float32(0.02) * np.float32(0.03) * np.float32(2) + np.float32(0.5) * c
    assert np.array_equal(y, expected)


def test_out_is_written_in_place_with_any_strides(rng):
    a, b = codes(rng, (4, 16)), codes(rng, (16, 6))
    buffer = np.full((8, 12), 7, np.float32)
    out = buffer[::2, ::2]
    assert octavo.scaled_mm(a, b, out=out) is out
    assert np.array_equal(out, octavo.scaled_mm(a, b))
    assert (buffer[1::2] == 7).all()


def test_large_results_are_octavos_memory_and_outlive_the_call(rng):
    a, b = codes(rng, (1024, 8)), codes(rng, (8, 1024))
    y = octavo.scaled_mm(a, b)
    assert np.array_equal(y, (a.astype(np.int64) @ b.astype(np.int64)).astype(np.float32))
    y[0, 0] = 5  # writable
    bf16 = octavo.scaled_mm(a, b, out_dtype="bfloat16")
    assert bf16.dtype == ml_dtypes.bfloat16 and bf16.shape == (1024, 1024)


@pytest.mark.parametrize("m, n, k", [(0, 4, 3), (3, 0, 4), (3, 4, 0)])
def test_empty_operands(m, n, k):
    y = octavo.scaled_mm(np.ones((m, k), np.int8), np.ones((k, n), np.int8), bias=np.ones(n, np.float32))
    assert y.shape == (m, n) and (y == 1).all()
    compatible = octavo.scaled_mm(np.ones((m, k), np.int8), np.ones((k, n), np.int8), bias=np.ones(n, np.float32),
                                  torch_compat=True)
    assert (compatible == 0).all()


def test_views_are_read_in_place(rng):
    a, b = codes(rng, (6, 20)), codes(rng, (20, 8))
    expected = octavo.scaled_mm(a, b)
    wide = np.zeros((12, 40), np.int8)
    wide[::2, ::2] = a
    assert np.array_equal(octavo.scaled_mm(wide[::2, ::2], b), expected)
    assert np.array_equal(octavo.scaled_mm(a, b[::-1][::-1]), expected)
    assert np.array_equal(octavo.scaled_mm(np.asfortranarray(a), np.asfortranarray(b)), expected)
    assert np.array_equal(octavo.scaled_mm(np.broadcast_to(a[:1], (6, 20)), b), np.repeat(expected[:1], 6, 0))
    constant = a.copy()
    constant.flags.writeable = False
    assert np.array_equal(octavo.scaled_mm(constant, b), expected)
    assert np.array_equal(octavo.scaled_mm(a.T.copy(), b.T.copy(), trans_a=True, trans_b=True), expected)


ERRORS = [
    (lambda a, b: octavo.scaled_mm(a, b[:5]), ValueError, r"scaled_mm: b\.shape\[0\] must equal a\.shape\[1\] = 6"),
    (lambda a, b: octavo.scaled_mm(a[0], b), ValueError, r"scaled_mm: a\.shape must be 2-D"),
    (lambda a, b: octavo.scaled_mm("a", b), ValueError, "scaled_mm: input must be a tensor"),
    (lambda a, b: octavo.scaled_mm(object(), b), ValueError, "scaled_mm: input must be a tensor"),
    (lambda a, b: octavo.scaled_mm(a.astype(np.float64), b), ValueError, "float64"),
    (lambda a, b: octavo.scaled_mm(a.astype(np.complex64), b), ValueError, "must be one that Octavo knows"),
    (lambda a, b: octavo.scaled_mm(a.astype(">f4"), b.astype(np.float32)), ValueError, "byte order"),
    (lambda a, b: octavo.scaled_mm(a, b, np.ones(3, np.float32)), ValueError, "scale_a.shape must broadcast"),
    (lambda a, b: octavo.scaled_mm(a, b, 1.0, granularity_a="token"), None, ""),
    (lambda a, b: octavo.scaled_mm(a, b, np.ones(4, np.float32), granularity_a="nonsense"), ValueError,
     "scale_a must be one of tensor, token"),
    (lambda a, b: octavo.scaled_mm(a, b, out_dtype="float99"), ValueError, "out_dtype must be a data type"),
    (lambda a, b: octavo.scaled_mm(a, b, backend="fast"), ValueError, "backend must be one of"),
    (lambda a, b: octavo.scaled_mm(a, b, out=np.zeros((4, 4), np.float32)), ValueError, r"out\.shape must be"),
    (lambda a, b: octavo.quantize(a.astype(np.float32), side="c"), ValueError, "side must be"),
    (lambda a, b: octavo.linear(a.astype(np.float32), octavo.pack(b[:5])), ValueError, r"x\.shape must be"),
    (lambda a, b: octavo.set_num_threads(-1), ValueError, "threads must be"),
    (lambda a, b: octavo.explain("scaled_mm int8:int8:bf16"), ValueError, "MxNxK"),
    (lambda a, b: octavo.open_checkpoint("/nowhere/x.safetensors"), FileNotFoundError, "x.safetensors"),
]


@pytest.mark.parametrize("call, kind, sentence", ERRORS)
def test_bad_input_gets_one_sentence(rng, call, kind, sentence):
    a, b = codes(rng, (4, 6)), codes(rng, (6, 3))
    if kind is None:
        call(a, b)
        return
    with pytest.raises(kind, match=sentence):
        call(a, b)


def test_a_read_only_out_is_refused(rng):
    a, b = codes(rng, (4, 6)), codes(rng, (6, 3))
    out = np.zeros((4, 3), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        octavo.scaled_mm(a, b, out=out)


def test_quantize_follows_the_contract(rng):
    x = (rng.standard_normal((7, 50)) * 3).astype(np.float32)
    q = octavo.quantize(x)
    scale = np.abs(x).max(1, keepdims=True) / np.float32(127)
    assert np.array_equal(q.scale, scale)
    assert np.array_equal(q.data, np.rint(x / scale).astype(np.int8))
    assert (q.rows, q.cols) == (1, 0)
    assert np.array_equal(octavo.dequantize(q), q.data.astype(np.float32) * scale)
    assert np.array_equal(octavo.quantizers.compute_scale(x).scale, scale)
    assert np.array_equal(q.T.data, q.data.T) and (q.T.rows, q.T.cols) == (0, 1)

    azp = octavo.quantize(x, "uint8", azp=True)
    assert np.abs(octavo.dequantize(azp) - x).max() <= azp.scale.max()
    static = octavo.quantize(x, "float8_e4m3fn", "tensor", scale=0.5)
    assert np.array_equal(static.data.astype(np.float32), (x / np.float32(0.5)).astype(ml_dtypes.float8_e4m3fn)
                          .astype(np.float32))
    mx = octavo.quantizers.quantize_mxfp8(x)
    assert mx.scale.dtype == ml_dtypes.float8_e8m0fnu and mx.scale.shape == (7, 2)
    with pytest.raises(ValueError, match="finite"):
        octavo.quantize(np.full((1, 3), np.nan, np.float32), non_finite="error")


def test_packed_weights(rng):
    w = codes(rng, (48, 20))
    packed = octavo.pack(w, scales(rng, 1, 20), activation="int8")
    assert (packed.k, packed.n, packed.dtype) == (48, 20, "int8")
    back = packed.unpack()
    assert np.array_equal(back.data, w)
    x = rng.standard_normal((2, 3, 48)).astype(ml_dtypes.bfloat16)
    bias = scales(rng, 20)
    y = octavo.linear(x, packed, bias)
    assert y.shape == (2, 3, 20) and y.dtype == ml_dtypes.bfloat16
    q = octavo.quantize(x.reshape(6, 48))
    assert np.array_equal(y.reshape(6, 20), octavo.scaled_mm(q, packed, bias=bias, out_dtype="bfloat16"))
    again = pickle.loads(pickle.dumps(packed))
    assert np.array_equal(octavo.linear(x, again, bias), y)
    assert "int8 [48, 20]" in repr(packed)


def test_lists(rng):
    inputs = [rng.standard_normal(s).astype(np.float32) for s in ((3, 4), (5,), (2, 3, 6), (0, 2))]
    weights = [rng.standard_normal(s).astype(np.float32) for s in ((4, 2), (5, 3), (6, 1), (2, 2))]
    biases = [np.ones(2, np.float32), None, np.ones(1, np.float32), None]
    outputs = octavo.grouped_mm(inputs, weights, biases)
    for x, w, b, y in zip(inputs, weights, biases, outputs):
        assert np.allclose(y, x @ w + (0 if b is None else b), atol=1e-5)
    assert octavo.grouped_mm([], []) == []
    rounded = octavo.grouped_mm(inputs, weights, out_dtype="int8")
    assert np.array_equal(rounded[0], np.rint(inputs[0] @ weights[0]).astype(np.int8))
    with pytest.raises(ValueError, match=r"grouped_mm: weights\.size must equal"):
        octavo.grouped_mm(inputs, weights[:2])
    with pytest.raises(ValueError, match=r"grouped_mm: weights\[1\]"):
        octavo.grouped_mm(inputs, [weights[0], weights[0], *weights[2:]])
    with pytest.raises(ValueError, match="must be a list"):
        octavo.grouped_mm(inputs, weights[0])


@pytest.mark.parametrize("form", ["rows", "columns", "inner", "batch"])
def test_tensor_forms(rng, form):
    groups, m, n, k = 3, 10, 12, 14
    shapes = {"rows": ((m, k), (groups, k, n)), "columns": ((groups, m, k), (k, n)),
              "inner": ((m, k), (k, n)), "batch": ((groups, m, k), (groups, k, n))}[form]
    a, b = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    ends = None if form == "batch" else np.array([4, 4, 9], np.int32)
    y = octavo.grouped_mm(a, b, offs=ends)
    expected = np.zeros(y.shape, np.float32)
    for g in range(groups):
        cut = slice(None) if ends is None else slice(ends[g - 1] if g else 0, ends[g])
        if form == "rows":
            expected[cut] = a[cut] @ b[g]
        elif form == "columns":
            expected[:, cut] = a[g] @ b[:, cut]
        elif form == "inner":
            expected[g] = a[:, cut] @ b[cut]
        else:
            expected[g] = a[g] @ b[g]
    assert np.allclose(y, expected, atol=1e-4)


def test_batches_with_one_scale(rng):
    q, k = (rng.standard_normal((2, 5, 8)).astype(np.float32) for _ in range(2))
    y = octavo.scaled_grouped_mm(q, k, 8**-0.5, trans_b=True)
    assert np.allclose(y, q @ k.transpose(0, 2, 1) * 8**-0.5, atol=1e-5)
    assert np.array_equal(octavo.scaled_grouped_mm(q, k, trans_b=True),
                          octavo.scaled_grouped_mm(q, k, None, trans_b=True))
    with pytest.raises(ValueError, match="say trans_b"):
        octavo.scaled_grouped_mm(q, k)


def test_llm_int8(rng):
    a = rng.standard_normal((4, 32)).astype(np.float16)
    a[:, 5] = 30
    w = rng.standard_normal((8, 32)).astype(np.float16)
    w_codes, w_absmax, none = octavo.llm_int8.int8_vectorwise_quant(w)
    assert none is None
    a_codes, a_absmax, outliers = octavo.llm_int8.int8_vectorwise_quant(a, 6.0)
    assert outliers.dtype == np.int64 and list(outliers) == [5] and (a_codes[:, 5] == 0).all()
    y = octavo.llm_int8.int8_mixed_scaled_mm(a, a_codes, w_codes, a_absmax, w_absmax, outliers)
    exact = a.astype(np.float64) @ w.astype(np.float64).T
    assert np.abs(y - exact).max() <= 0.03 * np.abs(exact).max()
    acc = octavo.llm_int8.int8_linear_matmul(a_codes, w_codes)
    assert acc.dtype == np.int32
    assert np.array_equal(octavo.llm_int8.int8_mm_dequant(acc, a_absmax, w_absmax),
                          octavo.llm_int8.int8_scaled_mm(a_codes, w_codes, a_absmax, w_absmax))


@pytest.mark.parametrize("option, value", [
    ("offs", np.int32([1])), ("offs_prefix", True), ("alpha", 2.0), ("beta", 1.0), ("c", np.ones((1, 1), np.float32)),
    ("scale_result", 2.0),
])
def test_lists_refuse_what_they_do_not_take(option, value):
    x = np.ones((1, 1), np.float32)
    with pytest.raises(ValueError, match=f"grouped_mm: {option} must be left out for lists of inputs; got one"):
        octavo.grouped_mm([x], [x], **{option: value})


def test_llm_int8_outliers_of_rules_and_calls(rng):
    x = rng.standard_normal((3, 64)).astype(np.float32)
    w = codes(rng, (64, 8))
    fixed = octavo.pack(w, scales(rng, 1, 8), granularity="channel", activation="int8", llm_int8=True,
                        outlier_threshold=2.0, whole_columns=True, outlier_columns=[1, 5])
    assert fixed.activation["outlier_columns"] == [1, 5] and fixed.activation["whole_columns"]
    again = pickle.loads(pickle.dumps(fixed))
    assert again.activation == fixed.activation
    y, found = octavo._octavo.linear_with_columns(x, again, outlier_columns=np.array([7, 9]))
    assert np.array_equal(y, octavo.linear(x, fixed, outlier_columns=[7, 9]))
    row_codes, _, columns = octavo.llm_int8.int8_vectorwise_quant(x, 2.0, True, outlier_columns=[1, 5, 7, 9])
    assert found == list(columns) and not row_codes[:, found].any()
    out = np.empty((3, 8), np.float32)
    result = octavo.linear(x, fixed, outlier_weight=np.zeros((64, 8), np.float16), out=out)
    assert result is out and not np.array_equal(out, octavo.linear(x, fixed))
    for row in range(3):
        alone = octavo.linear(x[row:row + 1], fixed, batch_invariant=True)
        assert np.array_equal(alone[0], octavo.linear(x, fixed, batch_invariant=True)[row])
    with pytest.raises(ValueError, match="outlier_columns must be integers"):
        octavo.linear(x, fixed, outlier_columns=[1.5])
    with pytest.raises(ValueError, match=r"outlier_columns\[1\] must be in"):
        octavo.linear(x, fixed, outlier_columns=[3, 2])


def test_explain_answers_for_arguments_and_for_lines(rng):
    text = str(octavo.explain(codes(rng, (4, 6)), codes(rng, (6, 3))))
    assert "reference" in text and "the sum is exact" in text
    explanation = octavo.explain("scaled_mm e4m3fn:e4m3fn:bf16 scale=group128:block128x128 16x256x256")
    assert explanation.error_bound > 0
    assert sum(c.chosen for c in explanation.candidates) == 1
    packed = octavo.pack(octavo.quantize(np.ones((8, 16), np.float32)).T, activation="int8")
    assert "int32 sums" in str(octavo.explain(np.ones((2, 3, 16), np.float32), packed)) or not octavo.machine.cpu_features().get(
        "avx512_vnni")
    assert {b.name for b in octavo.machine.backends()} >= {"generic", "reference"}


def test_a_forced_backend_gives_the_same_integers(rng):
    a, b = codes(rng, (5, 70)), codes(rng, (70, 9))
    assert np.array_equal(octavo.scaled_mm(a, b), octavo.scaled_mm(a, b, backend="reference"))


def test_gradients_in_numpy(rng):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((5, 8), (8, 6)))
    grad = rng.standard_normal((5, 6)).astype(np.float32)
    found = octavo.gradients.scaled_mm_vjp(grad, a, b, 0.5, wanted=("input", "mat2"))
    assert np.allclose(found["input"], 0.5 * grad @ b.T, atol=1e-4)
    assert np.allclose(found["mat2"], 0.5 * a.T @ grad, atol=1e-4)
    with pytest.raises(ValueError, match="wanted must name arguments"):
        octavo.gradients.scaled_mm_vjp(grad, a, b, wanted=("x",))
    dx, ds = octavo.gradients.quantize_vjp(np.ones((1, 3), np.float32), np.array([[0.2, 5.0, -9.0]], np.float32),
                                 np.array([[0.03]], np.float32))
    assert np.array_equal(dx, [[1, 0, 0]])
    inside = np.rint(np.float32(0.2) / np.float32(0.03)) - np.float32(0.2) / np.float32(0.03)
    assert np.allclose(ds, [[inside + 127 - 128]], atol=1e-4)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_rows_and_columns_are_those_of_the_matrix_that_is_given(kind):
    x = np.random.default_rng(3).standard_normal((5, 7)).astype(np.float32)
    x = x if kind == "numpy" else pytest.importorskip("torch").from_numpy(x)
    for function in (octavo.quantize, octavo.quantizers.compute_scale):
        row, column = function(x, granularity="row"), function(x, granularity="column")
        assert row.scale.shape == (5, 1) and column.scale.shape == (1, 7)
        transposed = function(x.T, granularity="column")
        assert np.array_equal(np.asarray(row.scale), np.asarray(transposed.scale).T)
        for made, granularity, side in ((row, "token", "a"), (column, "channel", "b")):
            assert np.array_equal(np.asarray(made.scale), np.asarray(function(x, granularity=granularity, side=side).scale))
