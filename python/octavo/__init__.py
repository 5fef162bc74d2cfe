# SPDX-License-Identifier: Apache-2.0
"""Octavo: 8-bit matrix multiplication (fp8, int8, scales of every granularity), exactly to a written contract.

Tensors are NumPy arrays (ml_dtypes for bfloat16 and fp8), PyTorch tensors, or anything that exports
DLPack; nothing is copied. Results are tensors of the framework that the arguments came from. PyTorch
is imported by `octavo.torch` alone, and by nothing before a torch tensor arrives; torch tensors are
differentiable where the contract has a gradient.

The names here are those that most programs need. The others are in submodules: attention, checkpoints, gradients, llm_int8, machine, moe,
norms, quantizers, sharding, types; octavo.torch, octavo.bnb and octavo.w8a8_utils are imported by themselves.

Errors say `operation: argument.property must <rule>; got <values>` and are ValueError,
NotImplementedError, MemoryError, OSError or RuntimeError.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from . import attention, checkpoints, gradients, llm_int8, machine, moe, norms, quantizers, sharding, types
from ._checkpoint import open_checkpoint
from ._deprecated import moved
from ._explain import explain
from ._files import quantize_file
from ._octavo import UNDEFINED, Quantized, set_num_threads
from ._operations import grouped_mm, linear, pack, quantize, scaled_grouped_mm, scaled_mm
from ._packed import _restore_experts, _restore_packed
from ._quantize import dequantize
from ._versions import info, show_versions

try:
    __version__ = version("octavo")
except PackageNotFoundError:  # a build tree on the path
    __version__ = "0"

__all__ = ["UNDEFINED", "Quantized", "dequantize", "explain", "grouped_mm", "info", "linear", "open_checkpoint", "pack", "quantize",
           "quantize_file", "scaled_grouped_mm", "scaled_mm", "set_num_threads", "show_versions"]

if not TYPE_CHECKING:  # names of before, until 1.0, which type checkers are not to know
    __getattr__ = moved(__name__, {name: f"{module.__name__}.{name}"
                                   for module in (checkpoints, gradients, llm_int8, machine, moe, quantizers, sharding, types)
                                   for name in module.__all__})
