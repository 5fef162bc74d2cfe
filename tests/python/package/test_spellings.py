# SPDX-License-Identifier: Apache-2.0
"""Numbers, types and integers in all the ways that Python and NumPy spell them, beside tensors of both frameworks."""

import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch.functional as F  # noqa: E402

HALVES = {"float": 0.5, "numpy.float32": np.float32(0.5), "numpy.float64": np.float64(0.5), "numpy.float16": np.float16(0.5),
          "bfloat16": ml_dtypes.bfloat16(0.5), "0-d array": np.array(0.5, np.float32), "0-d tensor": torch.tensor(0.5),
          "list": [0.5], "array": np.array([0.5], np.float32), "bfloat16 array": np.array([0.5], ml_dtypes.bfloat16),
          "tensor": torch.tensor([0.5])}
TWOS = {"int": 2, "numpy.int64": np.int64(2), "numpy.int8": np.int8(2), "0-d array": np.array(2), "list": [2]}
X = torch.arange(-6, 6, dtype=torch.int8).view(3, 4)
W = torch.arange(-4, 4, dtype=torch.int8).view(4, 2)


@pytest.mark.parametrize("place", ["scale_a", "scale_b", "scale_result", "alpha"])
@pytest.mark.parametrize("number", [*HALVES.values(), *TWOS.values()], ids=[*HALVES, *(f"2, {name}" for name in TWOS)])
def test_numbers(number, place):
    factor = float(np.asarray(number, dtype=np.float32).reshape(-1)[0])
    granularity = {"granularity_a": "tensor"} if place == "scale_a" else {"granularity_b": "tensor"} if place == "scale_b" else {}
    if place.startswith("scale_") and place != "scale_result" and np.ndim(number) == 0:
        granularity = {}
    want = (X.float() @ W.float()) * factor
    assert torch.equal(octavo.scaled_mm(X, W, **{place: number}, **granularity), want)
    if place in ("scale_result", "alpha"):
        x = torch.stack([X, X])
        grouped = octavo.grouped_mm(x, torch.stack([W, W]), **{place: number})
        assert torch.equal(grouped[0], want)


@pytest.mark.parametrize("spelling", HALVES)
def test_numbers_of_other_operations(spelling):
    number = HALVES[spelling]
    q, k = X.float().view(1, 3, 4), W.float().view(1, 4, 2)
    assert torch.equal(octavo.scaled_grouped_mm(q, k, number), q @ k * 0.5)
    c = torch.ones(3, 2)
    assert torch.equal(octavo.scaled_mm(X, W, beta=number, c=c), X.float() @ W.float() + 0.5)


def test_what_is_no_number():
    for value in ("half", object(), {0.5}):
        with pytest.raises((ValueError, TypeError)):
            octavo.scaled_mm(X, W, value)


NAMES = {torch.bfloat16: ["bfloat16", "bf16", ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16), torch.bfloat16],
         torch.float32: ["float32", "fp32", np.float32, np.dtype("float32"), torch.float32],
         torch.float8_e4m3fn: ["float8_e4m3fn", "e4m3fn", ml_dtypes.float8_e4m3fn, torch.float8_e4m3fn],
         torch.int8: ["int8", np.int8, np.dtype("int8"), torch.int8]}


@pytest.mark.parametrize("dtype", NAMES)
def test_names_of_types(dtype):
    x, w = X.float(), W.float()
    for name in NAMES[dtype]:
        assert octavo.scaled_mm(x, w, out_dtype=name).dtype == dtype
        assert octavo.grouped_mm(x[None], w[None], out_dtype=name).dtype == dtype
        assert octavo.grouped_mm([x], [w], out_dtype=name)[0].dtype == dtype
        assert octavo.scaled_grouped_mm(x[None], w[None], out_dtype=name).dtype == dtype
        assert F.grouped_mm(x[None], w[None], out_dtype=name).dtype == dtype
        assert F._scaled_mm(X, W, torch.ones(1), torch.ones(1), out_dtype=name).dtype == dtype


def test_names_of_no_type():
    x, w = X.float(), W.float()
    for call, operation in ((lambda: octavo.scaled_mm(x, w, out_dtype="float33"), "scaled_mm"),
                            (lambda: octavo.grouped_mm(x[None], w[None], out_dtype="float33"), "grouped_mm"),
                            (lambda: octavo.scaled_grouped_mm(x[None], w[None], out_dtype=3), "scaled_grouped_mm")):
        with pytest.raises(ValueError, match=f"{operation}: out_dtype must be a data type .*; got "):
            call()


# ---- integers ---------------------------------------------------------------------------------------------


def frameworks(values):
    return np.array(values), torch.tensor(values)


@pytest.mark.parametrize("a, b", [([[1, 2, 3], [4, 5, 6]], [[7, 8], [9, 10], [11, -128]]),
                                  ([[0, 200, 255], [1, 2, 3]], [[1, 0], [0, 1], [127, -1]])])
def test_integers_of_literals_are_taken_as_8_bits(a, b):
    for x, w in zip(frameworks(a), frameworks(b)):
        want = np.array(a) @ np.array(b)
        y = octavo.scaled_mm(x, w)
        assert str(y.dtype).endswith("float32") and np.array_equal(np.asarray(y), want)
        assert np.array_equal(np.asarray(octavo.scaled_mm(x, w, out_dtype="int32")), want)
        assert np.array_equal(np.asarray(octavo.grouped_mm([x], [w])[0]), want)
        assert np.array_equal(np.asarray(octavo.grouped_mm(x[None], w[None])[0]), want)
        assert np.array_equal(np.asarray(octavo.scaled_grouped_mm(x[None], w[None])[0]), want)
    assert octavo.scaled_mm(np.zeros((0, 3), np.int64), np.zeros((3, 2), np.int64)).shape == (0, 2)


# What a process may do first: octavo asks for PyTorch's types when it meets PyTorch, and not before.
FIRST_CALLS = {
    "a call before torch is there": """
        assert octavo.scaled_mm(*arrays).tolist() == want and "torch" not in sys.modules
        import torch
        assert octavo.scaled_mm(*map(torch.tensor, arrays)).tolist() == want""",
    "arrays by tensors": """
        import torch
        assert octavo.scaled_mm(arrays[0], torch.tensor(arrays[1])).tolist() == want""",
    "a module in torch's place that cannot be imported": """
        sys.modules["torch"] = None
        assert octavo.scaled_mm(*arrays).tolist() == want""",
    "a compiled call": """
        import torch
        compiled = torch.compile(octavo.scaled_mm, backend="eager", fullgraph=True)
        assert compiled(*(torch.tensor(a, dtype=torch.int8) for a in arrays)).tolist() == want""",
}


@pytest.mark.parametrize("calls", FIRST_CALLS.values(), ids=FIRST_CALLS)
def test_first_calls_of_a_process(calls):
    begin = "import sys, numpy, octavo\narrays, want = [numpy.array([[2]])] * 2, [[4.0]]\n"
    done = subprocess.run([sys.executable, "-c", begin + textwrap.dedent(calls)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("values, place", [([[1, 300]], r"got 300 at \[0, 1\]"), ([[-1, 0], [200, 0]], r"got 200 at \[1, 0\]"),
                                           ([[-129, 0]], r"got -129 at \[0, 0\]")])
def test_integers_that_fit_no_8_bits_are_named(values, place):
    for x in frameworks(values):
        w = np.ones((2, 2), np.int8) if isinstance(x, np.ndarray) else torch.ones(2, 2, dtype=torch.int8)
        rule = "must hold values of int8, or of uint8, where it is int64; "
        with pytest.raises(ValueError, match=f"scaled_mm: input {rule}{place}"):
            octavo.scaled_mm(x, w)
        with pytest.raises(ValueError, match=rf"grouped_mm: inputs\[0\] {rule}{place}"):
            octavo.grouped_mm([x], [w])


def test_float64_operands_are_refused_with_the_conversion():
    for x, w in ((np.ones((2, 2)), np.ones((2, 2))), (torch.ones(2, 2).double(), torch.ones(2, 2).double())):
        with pytest.raises(ValueError, match="dtype must"):
            octavo.scaled_mm(x, w)
