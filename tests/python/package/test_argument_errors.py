# SPDX-License-Identifier: Apache-2.0
"""Every argument of every public operation, given what it is not: an error of the promised form, or what it can only mean.

The operations and their arguments are the rows of api/operations.toml.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import octavo

torch = pytest.importorskip("torch")

from octavo._kinds import KINDS  # noqa: E402
import octavo.bnb as bnb  # noqa: E402
import octavo.torch.functional as F  # noqa: E402
import octavo.w8a8_utils as w8a8  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parents[3] / "api"))
from public import of_inputs, of_option  # noqa: E402
from table import read_table  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / "checkpoint" / "data" / "llm-compressor-fp8-channel"
OPERATIONS = {name: operation for name, operation in read_table()[1].items() if "positional" in operation.row}
ARGUMENTS = [(name, argument) for name, operation in OPERATIONS.items()
             for argument in [*(input for input, _ in of_inputs(operation)),
                              *(of_option(operation, option)[0] for option in operation.arguments), *operation.extra]]


def given(kind):
    """Arguments that each operation takes, of NumPy's arrays or PyTorch's tensors; and as lists of entries."""
    of = torch.from_numpy if kind == "torch" else lambda array: array
    codes, floats = of(np.ones((4, 4), np.int8)), of(np.ones((4, 4), np.float32))
    stack, experts = of(np.ones((2, 4, 4), np.float32)), octavo.moe.pack_experts(np.ones((2, 8, 4), np.float32))
    one, two = of(np.ones((4, 1), np.float32)), of(np.ones((4, 1), np.int32))
    attended, attended_scales = of(np.ones((1, 4, 1, 16), np.int8)), of(np.ones((1, 4, 1), np.float32))
    return {
        "scaled_mm": dict(input=codes, mat2=codes),
        "linear": dict(x=floats, weight=octavo.pack(np.ones((4, 4), np.float32))),
        "grouped_mm": dict(inputs=stack, weights=stack),
        "grouped_mm, lists": dict(inputs=[floats, floats], weights=[floats, floats]),
        "scaled_grouped_mm": dict(input=stack, weight=stack),
        "quantize": dict(x=floats),
        "pack": dict(weight=codes),
        "pack_experts": dict(weight=stack),
        "silu_and_mul": dict(x=floats),
        "silu_and_mul_quantize": dict(x=floats),
        "rms_norm": dict(x=floats),
        "rms_norm_quantize": dict(x=floats),
        "rotate": dict(x=floats.reshape(1, 16), block=16),
        "attention": dict(q=floats.reshape(1, 1, 1, -1), keys=attended, key_scales=attended_scales, values=attended,
                          value_scales=attended_scales),
        "fused_experts": dict(x=floats, w13=experts, w2=octavo.moe.pack_experts(np.ones((2, 4, 4), np.float32)), topk_weights=one,
                              topk_ids=two * 0),
    }


PACKED, EXPERTS = octavo.pack(np.ones((4, 4), np.int8)), octavo.moe.pack_experts(np.ones((2, 4, 4), np.float32))


def wrong_values():
    """By name, what no argument is, or only some are. Made anew for each argument: calls may write into some."""
    values = {
        "None": None, "UNDEFINED": octavo.UNDEFINED, "2.0": 2.0, "7": 7, "-1": -1, "2**70": 2**70, "nan": float("nan"), "1j": 1j,
        "True": True, "text": "text", "bytes": b"bytes", "dict": {}, "set": {1}, "object": object(), "type": int, "function": len,
        "[]": [], "ragged": [[1.0, 2.0], [3.0]], "words": ["a", "b"], "list of None": [None, None], "list of floats": [1.0] * 4,
        "list of integers": [1] * 4, "list of lists": [[1, 2, 3, 4]] * 4, "tuple": (1.0, 2.0), "large integers": [2**40] * 4,
        "numpy.bool_": np.bool_(True), "numpy.float64": np.float64(0.1), "numpy.int64": np.int64(1), "numpy.str_": np.str_("x"),
        "float64": np.full(4, 0.1), "float64, exact": np.full(4, 0.5), "complex": np.ones(4, complex),
        "objects": np.array([object()] * 4), "strings": np.array(["a"] * 4), "0-d": np.float32(1), "empty": np.ones((0, 4), np.float32),
        "five dimensions": np.ones((1,) * 5, np.float32), "int64": np.full((4, 4), 300),
        "Quantized": octavo.quantize(np.ones((4, 4), np.float32)),
        "PackedWeight": PACKED, "ExpertWeights": EXPERTS, "generator": (np.ones((4, 4), np.float32) for _ in range(2)),
        "torch.float16": torch.float16, "torch float64": torch.full((4,), 0.1, dtype=torch.float64), "tensors": [torch.ones(4)] * 2,
        "torch float64, exact": torch.full((4,), 0.5, dtype=torch.float64), "torch complex": torch.ones(4, 4, dtype=torch.complex64),
        "torch bool": torch.ones(4, dtype=torch.bool), "sparse": torch.eye(4).to_sparse(), "meta": torch.ones(4, 4, device="meta"),
        "Parameter": torch.nn.Parameter(torch.ones(4)), "int64 of torch": torch.full((4, 4), 300),
    }
    if hasattr(torch, "float4_e2m1fn_x2"):
        values["float4"] = torch.zeros(4, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    return values


def outcome(operation, arguments):
    """What an error says, or None. Whatever is no error of the promised kinds passes through."""
    try:
        module = next(each for each in (octavo.attention, octavo.moe, octavo.norms, octavo.quantizers, octavo) if hasattr(each, operation))
        getattr(module, operation)(**arguments)
    except (ValueError, NotImplementedError, MemoryError, OSError, RuntimeError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["NumPy", "torch"])
@pytest.mark.parametrize("operation,argument", ARGUMENTS, ids=lambda word: word)
@pytest.mark.filterwarnings("ignore")
def test_wrong_values_get_one_sentence(operation, argument, kind):
    bases = given(kind)
    for form in [name for name in bases if name.partition(",")[0] == operation]:
        for name, value in wrong_values().items():
            said = outcome(operation, bases[form] | {argument: value})
            if said is None:
                continue
            where = (form, kind, argument, name, said)
            assert re.match(rf"{operation}: \w[\w.\[\], ]*.* must .+; got .+", said, re.DOTALL), where
            assert not re.search(r"::|\{scale|std\b|nanobind|\btrue\b", said), where


# ---- functions that are written by hand: their arguments by kind are theirs ------------------------------------

FP8 = torch.ones(4, 4).to(torch.float8_e4m3fn)
ONE, TENSORWISE = torch.tensor(1.0), 0
CODES, FLOATS, MAXIMA = np.ones((4, 4), np.int8), np.ones((4, 4), np.float32), np.ones(4, np.float32)
LAYER = octavo.checkpoints.quantize_weight(np.ones((8, 8), np.float32))
ROUTES = dict(topk_weights=np.ones((4, 1), np.float32), topk_ids=np.zeros((4, 1), np.int32))
BY_HAND = {
    octavo.gradients.scaled_mm_vjp: dict(grad=FLOATS, input=FLOATS, mat2=FLOATS),
    octavo.gradients.grouped_mm_vjp: dict(grad=np.ones((2, 4, 4), np.float32), input=np.ones((2, 4, 4), np.float32),
                                mat2=np.ones((2, 4, 4), np.float32)),
    octavo.gradients.quantize_vjp: dict(grad=FLOATS, x=FLOATS, scale=0.5, granularity="tensor"),
    octavo.moe.explain_fused_experts: dict(x=FLOATS, w13=octavo.moe.pack_experts(np.ones((2, 8, 4), np.float32)), w2=EXPERTS, **ROUTES),
    octavo.llm_int8.int8_vectorwise_quant: dict(a=FLOATS),
    octavo.llm_int8.int8_double_quant: dict(a=FLOATS),
    octavo.llm_int8.int8_linear_matmul: dict(a=CODES, w=CODES),
    octavo.llm_int8.int8_mm_dequant: dict(acc=np.ones((4, 4), np.int32), row_absmax=MAXIMA, col_absmax=MAXIMA),
    octavo.llm_int8.int8_scaled_mm: dict(a=CODES, w=CODES, row_absmax=MAXIMA, col_absmax=MAXIMA),
    octavo.llm_int8.int8_mixed_scaled_mm: dict(a=FLOATS, codes=CODES, w=CODES, row_absmax=MAXIMA, col_absmax=MAXIMA),
    octavo.llm_int8.int8_vectorwise_dequant: dict(codes=CODES, row_absmax=MAXIMA),
    octavo.sharding.shard: dict(weight=LAYER, axis="rows", rank=0, world=2),
    octavo.sharding.shard_range: dict(weight=LAYER, axis="rows", rank=0, world=2),
    octavo.sharding.unshard: dict(parts=[LAYER], axis="rows"),
    octavo.sharding.read_shard: dict(checkpoint=octavo.open_checkpoint(FOLDER), prefix=octavo.open_checkpoint(FOLDER).quantized_layers()[0],
                            axis="columns", rank=0, world=2),
    octavo.checkpoints.quantize_weight: dict(weight=FLOATS),
    octavo.checkpoints.w8a8_weight: dict(scheme="int8-dynamic", weight=CODES, weight_scale=np.ones((4, 1), np.float32)),
    octavo.checkpoints.fuse: dict(weights=[LAYER, LAYER]),
    octavo.checkpoints.compare_weight: dict(layer="name", weight=np.ones((8, 8), np.float32), quantized=LAYER),
    bnb.matmul: dict(A=torch.ones(4, 4), B=torch.ones(4, 4)),
    **{function: dict(qinput=FP8, weight=FP8.t(), out_dtype=torch.float32, scale_a=ONE, scale_b=ONE, bias=None, output_shape=[4, 4])
       for function in (w8a8.cutlass_w8a8_scaled_mm, w8a8.flashinfer_w8a8_scaled_mm)},
    **{function: dict(qinput=FP8, weight=FP8.t(), out_dtype=torch.float32, scale_a=ONE, scale_b=ONE, bias=None,
                      input_2d=torch.ones(4, 4), output_shape=[4, 4])
       for function in (w8a8.rocm_per_tensor_w8a8_scaled_mm, w8a8.torch_per_tensor_w8a8_scaled_mm,
                        w8a8.torch_per_token_w8a8_scaled_mm, w8a8.torch_channelwise_w8a8_scaled_mm)},
    **{function: dict(qinput=FP8, weight=FP8.t(), out_dtype=torch.float32, scale_a=ONE, scale_b=ONE, bias=None,
                      input_2d=torch.ones(4, 4))
       for function in (w8a8.rocm_per_tensor_w8a8_scaled_mm_fake, w8a8.rocm_per_tensor_w8a8_scaled_mm_impl)},
    w8a8.cutlass_scaled_mm_azp: dict(a=torch.ones(4, 4, dtype=torch.int8), b=torch.ones(4, 4, dtype=torch.int8), scale_a=ONE,
                                     scale_b=ONE, out_dtype=torch.float32, azp_adj=torch.zeros(1, 4, dtype=torch.int32)),
    w8a8.convert_to_channelwise: dict(weight_scale=torch.ones(2), logical_widths=[2, 2]),
    w8a8.requantize_with_max_scale: dict(weight=FP8, weight_scale=torch.ones(2), logical_widths=[2, 2]),
    w8a8.per_tensor_dequantize: dict(tensor=FP8, inv_scale=ONE),
    w8a8.all_close_1d: dict(x=torch.ones(4)),
    w8a8.normalize_e4m3fn_to_e4m3fnuz: dict(weight=FP8, weight_scale=ONE),
    w8a8.dispatch_w8a8_scaled_mm: dict(preferred_backend="torch", per_tensor_weights=True, per_tensor_activations=True),
    octavo.quantizers.compute_scale: dict(x=np.ones((4, 4), np.float32)),
    octavo.quantizers.quantize_mxfp8: dict(x=np.ones((4, 32), np.float32)),
    octavo.dequantize: dict(q=octavo.quantize(np.ones((4, 4), np.float32))),
    F.scaled_mm: dict(mat_a=torch.ones(4, 4), mat_b=torch.ones(4, 4), scale_a=ONE, scale_recipe_a=TENSORWISE, scale_b=ONE,
                      scale_recipe_b=TENSORWISE),
    F.scaled_grouped_mm: dict(mat_a=torch.ones(2, 4, 4), mat_b=torch.ones(2, 4, 4), scale_a=ONE, scale_recipe_a=TENSORWISE,
                              scale_b=ONE, scale_recipe_b=TENSORWISE),
    F.grouped_mm: dict(mat_a=torch.ones(2, 4, 4), mat_b=torch.ones(2, 4, 4)),
    F._scaled_mm: dict(input=torch.ones(4, 4), mat2=torch.ones(4, 4), scale_a=ONE, scale_b=ONE),
}


@pytest.mark.parametrize("function", BY_HAND, ids=lambda function: f"{function.__module__}.{function.__name__}")
@pytest.mark.filterwarnings("ignore")
def test_functions_by_hand_say_it_alike(function):
    function(**BY_HAND[function])
    for argument in function.kinds:
        for name, value in wrong_values().items():
            try:
                function(**BY_HAND[function] | {argument: value})
            except (ValueError, NotImplementedError, MemoryError, OSError, RuntimeError) as error:
                said = (argument, name, str(error))
                assert re.match(r"\w+: \w.* must .+; got .+", str(error), re.DOTALL), said
                assert not re.search(r"::|\{scale|std\b|nanobind|\btrue\b", str(error)), said


@pytest.mark.filterwarnings("ignore")
def test_explain_says_it_as_scaled_mm_does():
    octavo.explain(CODES, CODES)
    for argument, value in [(a, v) for a in KINDS["scaled_mm"] for v in wrong_values().values()]:
        try:
            octavo.explain(**{"input": CODES, "mat2": CODES, argument: value})
        except (ValueError, NotImplementedError, MemoryError, RuntimeError) as error:
            assert re.match(r"(explain|scaled_mm): \w.* must .+; got .+", str(error), re.DOTALL), (argument, str(error))
    with pytest.raises(ValueError, match="explain: backend must be a string; got 5"):
        octavo.explain("scaled_mm int8:int8:fp32 2x2x2", backend=5)
    assert "exact" in str(octavo.explain([[1, 2]], [[3], [4]]))


OWN = [value for value in vars(octavo).values() if hasattr(value, "__all__") and value.__name__.count(".") == 1
       and value.__name__.rpartition(".")[2] not in ("torch", "bnb", "w8a8_utils")]


def test_every_function_by_hand_has_a_row():
    found = {value for module in (octavo, *OWN, F, bnb, w8a8) for value in vars(module).values() if hasattr(value, "kinds")}
    assert found == set(BY_HAND)


# ---- what is taken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["NumPy", "torch"])
def test_lists_are_tensors_of_literals(kind):
    """Wherever a tensor goes; beside PyTorch's tensors the result is PyTorch's."""
    made = (lambda values, dtype: torch.tensor(values, dtype=getattr(torch, dtype))) if kind == "torch" else \
        (lambda values, dtype: np.array(values, dtype))
    a, b, bias, azp = [[1, -2], [3, 4]], [[5, 6], [7, -8]], [0.5, 1.5], [1, 2]
    want = octavo.scaled_mm(made(a, "int8"), made(b, "int8"), bias=made(bias, "float32"), azp=made(azp, "int32"))
    for arguments in ((a, made(b, "int8"), bias, azp), (made(a, "int8"), b, bias, azp), (made(a, "int64"), made(b, "int64"), bias, azp)):
        got = octavo.scaled_mm(arguments[0], arguments[1], bias=arguments[2], azp=arguments[3])
        assert type(got) is type(want) and np.array_equal(got, want)
    want = octavo.grouped_mm(made([[1.0, 2.0], [3.0, 4.0]], "float32"), made([[[1.0], [2.0]]] * 2, "float32"),
                             offs=made([1, 2], "int32"))
    assert np.array_equal(octavo.grouped_mm(made([[1.0, 2.0], [3.0, 4.0]], "float32"), [[[1.0], [2.0]]] * 2, offs=[1, 2]), want)
    got = octavo.grouped_mm([[[1.0, 2.0]], made([3.0, 4.0], "float32")], [made([[1.0], [2.0]], "float32"), [[1.0], [2.0]]],
                            [[0.5], None])
    assert [entry.tolist() for entry in got] == [[[5.5]], [11.0]]


def test_lists_alone_are_numpys():
    assert octavo.scaled_mm([[1, 2]], [[3], [4]]).tolist() == [[11.0]]
    assert octavo.scaled_mm([[1.5, 2.0]], [[3], [200]], scale_a=0.5).tolist() == [[202.25]]
    assert octavo.scaled_mm([[1, 2]], [[3], [4]], trans_b=np.bool_(False)).tolist() == [[11.0]]
    assert octavo.linear([[1.0, 2.0]], octavo.pack([[3.0], [4.0]])).tolist() == [[11.0]]
    assert octavo.quantize([[1.0, -2.0]]).data.tolist() == [[64, -127]]
    assert octavo.quantize([[1, -2]], azp=np.bool_(False)).data.tolist() == [[64, -127]]
    assert octavo.scaled_grouped_mm([[[1, 2]]], [[[3], [4]]], 0.5).tolist() == [[[5.5]]]
    with pytest.raises(ValueError, match=r"scaled_mm: input must hold values of int8, or of uint8.*; got 300 at \[0, 1\]"):
        octavo.scaled_mm([[1, 300]], [[3], [4]])
    with pytest.raises(ValueError, match="scaled_mm: mat2 must be a tensor, or nested lists of numbers with equal lengths; got"):
        octavo.scaled_mm([[1, 2]], [[3], [4, 5]])


@pytest.mark.parametrize("kind", ["NumPy", "torch"])
def test_scales_of_float64_are_taken_where_float32_holds_them(kind):
    of = torch.from_numpy if kind == "torch" else lambda array: array
    a, b = of(np.ones((2, 3), np.int8)), of(np.ones((3, 2), np.int8))
    exact, inexact = of(np.array([0.5, 2**-140, np.nan])), of(np.array([0.5, 0.1, 0.25]))
    got = np.asarray(octavo.scaled_mm(a, b, exact))
    assert np.array_equal(got, np.asarray(octavo.scaled_mm(a, b, of(np.array([0.5, 2**-140, np.nan], np.float32)))), equal_nan=True)
    with pytest.raises(ValueError, match=r"scaled_mm: scale_a must hold values of float32 where it is float64; got 0\.1 at \[1\]"):
        octavo.scaled_mm(a, b, inexact)
    with pytest.raises(ValueError, match=r"scale_b must hold values of float32 where it is float64; got 1e\+300 at \[0\]"):
        octavo.scaled_mm(a, b, scale_b=of(np.array([1e300, 1.0])))


def test_gradients_pass_through_what_was_taken():
    scale = torch.tensor([0.5, 0.25], dtype=torch.float64, requires_grad=True)
    octavo.scaled_mm(torch.ones(2, 2), torch.ones(2, 2), scale).sum().backward()
    assert scale.grad.dtype == torch.float64 and scale.grad.tolist() == [4.0, 4.0]


def test_the_table_of_right_arguments_is_whole():
    assert {name.partition(",")[0] for name in given("NumPy")} == set(OPERATIONS)
    for kind in ("NumPy", "torch"):
        for form, arguments in given(kind).items():
            assert outcome(form.partition(",")[0], arguments) is None, form
