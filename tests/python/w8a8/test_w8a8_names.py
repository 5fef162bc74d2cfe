# SPDX-License-Identifier: Apache-2.0
"""octavo.w8a8_utils has vLLM's names, signatures and table."""

import inspect
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.w8a8_utils as w8a8  # noqa: E402
from octavo.w8a8_utils import GroupShape  # noqa: E402

TENSOR, TOKEN = GroupShape.PER_TENSOR, GroupShape.PER_TOKEN


# ---- names and signatures -------------------------------------------------------------------------

POSITIONAL, KEYWORD, REST = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY,
                             inspect.Parameter.VAR_KEYWORD)
NO_DEFAULT = inspect.Parameter.empty


def positional(*names):
    return [(name, POSITIONAL, NO_DEFAULT) for name in names]


def keywords(*names):
    return [(name, KEYWORD, NO_DEFAULT) for name in names]


def optional(**defaults):
    return [(name, POSITIONAL, default) for name, default in defaults.items()]


PRODUCT = keywords("qinput", "weight", "out_dtype", "scale_a", "scale_b", "bias")
OPERATOR = positional("qinput", "weight", "out_dtype", "scale_a", "scale_b", "bias", "input_2d")
INPUT, SHAPE, KWARGS = keywords("input_2d"), keywords("output_shape"), [("kwargs", REST, NO_DEFAULT)]

# vLLM's functions: (name, parameters).
SIGNATURES = [
    ("Fp8LinearOp.__init__", positional("self", "act_quant_static") + optional(
        act_quant_group_shape=TENSOR, pad_output=None, force_fp8_e4m3fnuz=False)),
    ("Fp8LinearOp.apply", positional("self", "input", "weight", "weight_scale") + optional(
        out_dtype=None, input_scale=None, input_scale_ub=None, bias=None)),
    ("QuantFP8.__init__", positional("self", "static", "group_shape") + optional(num_token_padding=None)),
    ("QuantFP8.forward", positional("self", "x") + optional(scale=None, scale_ub=None)),
    ("all_close_1d", positional("x")),
    ("convert_to_channelwise", positional("weight_scale", "logical_widths")),
    ("cutlass_block_fp8_supported", []),
    ("cutlass_fp8_supported", []),
    ("cutlass_group_gemm_supported", []),
    ("cutlass_scaled_mm_azp", positional("a", "b", "scale_a", "scale_b", "out_dtype", "azp_adj") + optional(
        azp=None, bias=None)),
    ("cutlass_w8a8_scaled_mm", PRODUCT + SHAPE + KWARGS),
    ("dispatch_w8a8_scaled_mm", positional("preferred_backend", "per_tensor_weights", "per_tensor_activations")),
    ("flashinfer_w8a8_scaled_mm", PRODUCT + SHAPE + KWARGS),
    ("maybe_create_device_identity", []),
    ("normalize_e4m3fn_to_e4m3fnuz", positional("weight", "weight_scale") + optional(input_scale=None)),
    ("per_tensor_dequantize", positional("tensor", "inv_scale")),
    ("requantize_with_max_scale", positional("weight", "weight_scale", "logical_widths")),
    ("rocm_per_tensor_w8a8_scaled_mm", PRODUCT + INPUT + SHAPE),
    ("rocm_per_tensor_w8a8_scaled_mm_fake", OPERATOR),
    ("rocm_per_tensor_w8a8_scaled_mm_impl", OPERATOR),
    ("sparse_cutlass_supported", []),
    ("torch_channelwise_w8a8_scaled_mm", PRODUCT + INPUT + SHAPE + KWARGS),
    ("torch_per_tensor_w8a8_scaled_mm", PRODUCT + INPUT + SHAPE),
    ("torch_per_token_w8a8_scaled_mm", PRODUCT + INPUT + SHAPE + KWARGS),
]
ATTRIBUTES = {"CUTLASS_BLOCK_FP8_SUPPORTED": False, "CUTLASS_FP8_SUPPORTED": False, "TORCH_DEVICE_IDENTITY": None,
              "USE_ROWWISE_TORCH_SCALED_MM": False}


@pytest.mark.parametrize("name, parameters", SIGNATURES, ids=lambda v: v if isinstance(v, str) else "")
def test_signatures_are_vllms(name, parameters):
    function = w8a8
    for part in name.split("."):
        function = getattr(function, part)
    names = {parameter for parameter, _, _ in parameters}
    found = [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()
             if p.name in names or p.kind != KEYWORD or p.default is NO_DEFAULT]  # ours may have options besides
    assert found == parameters


def test_every_name_is_there_and_exported():
    functions = {name.split(".")[0] for name, _ in SIGNATURES}
    assert sorted(functions | set(ATTRIBUTES) | {"GroupShape"}) == sorted(w8a8.__all__)


def test_attributes_of_a_module_just_imported():
    program = ("import sys, octavo; assert 'torch' not in sys.modules; import octavo.w8a8_utils as w, torch; "
               "print({name: getattr(w, name) for name in sys.argv[1:]}, torch.cuda.is_initialized())")
    done = subprocess.run([sys.executable, "-c", program, *ATTRIBUTES], capture_output=True, text=True)
    assert done.stdout.strip() == f"{ATTRIBUTES} False", done.stderr


def test_the_device_identity_is_made_once(monkeypatch):
    monkeypatch.setattr(w8a8, "TORCH_DEVICE_IDENTITY", None)
    assert w8a8.maybe_create_device_identity() is None
    made = w8a8.TORCH_DEVICE_IDENTITY
    assert torch.equal(made, torch.ones(1))
    w8a8.maybe_create_device_identity()
    assert w8a8.TORCH_DEVICE_IDENTITY is made


def test_what_is_supported_follows_the_backends():
    cuda = any(b.usable and b.name.startswith("cuda") for b in octavo.machine.backends())
    assert w8a8.cutlass_fp8_supported() is w8a8.CUTLASS_FP8_SUPPORTED is cuda
    assert w8a8.cutlass_block_fp8_supported() is w8a8.CUTLASS_BLOCK_FP8_SUPPORTED is cuda
    assert w8a8.cutlass_group_gemm_supported() is cuda and w8a8.sparse_cutlass_supported() is False


def test_group_shapes_are_tuples():
    assert (TENSOR, TOKEN) == ((-1, -1), (1, -1)) and TOKEN.row == 1 and TOKEN.col == -1
    assert GroupShape(1, 128) == GroupShape(row=1, col=128) and isinstance(TOKEN, GroupShape)


# ---- the table ------------------------------------------------------------------------------------

# backend: the function for (W tensor, A tensor), (W tensor, A token), (W channel, A tensor), (W channel, A token).
DISPATCH = {
    "rocm": ("rocm_per_tensor", "torch_channelwise", "torch_channelwise", "torch_channelwise"),
    "flashinfer": ("flashinfer", "cutlass", "cutlass", "cutlass"),
    "cutlass": ("cutlass", "cutlass", "cutlass", "cutlass"),
    "torch": ("torch_per_tensor", "torch_channelwise", "torch_channelwise", "torch_channelwise"),
    "something else": ("torch_per_tensor", "torch_channelwise", "torch_channelwise", "torch_channelwise"),
}
FUNCTIONS = sorted({f"{name}_w8a8_scaled_mm" for row in DISPATCH.values() for name in row} |
                   {"torch_per_token_w8a8_scaled_mm"})


@pytest.mark.parametrize("rowwise", [False, True])
@pytest.mark.parametrize("backend", DISPATCH)
def test_the_dispatch_table(backend, rowwise, monkeypatch):
    monkeypatch.setattr(w8a8, "USE_ROWWISE_TORCH_SCALED_MM", rowwise)
    found = [w8a8.dispatch_w8a8_scaled_mm(backend, weights, activations).__name__
             for weights in (True, False) for activations in (True, False)]
    wanted = list(DISPATCH[backend])
    if rowwise and wanted[3] == "torch_channelwise":
        wanted[3] = "torch_per_token"
    assert found == [f"{name}_w8a8_scaled_mm" for name in wanted]
