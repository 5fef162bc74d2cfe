# SPDX-License-Identifier: Apache-2.0
"""Octavo: 8-bit matrix multiplication (fp8, int8, scales of every granularity), exactly to a written contract.

Tensors are NumPy arrays (ml_dtypes for bfloat16 and fp8), PyTorch tensors, or anything that exports
DLPack; nothing is copied. Results are tensors of the framework that the arguments came from. PyTorch
is imported by `octavo.torch` alone, and by nothing before a torch tensor arrives; torch tensors are
differentiable where the contract has a gradient.

Errors say `operation: argument.property must <rule>; got <values>` and are ValueError,
NotImplementedError, MemoryError, OSError or RuntimeError.
"""

from importlib.metadata import PackageNotFoundError, version

from ._checkpoint import (
    compare_weight, fuse, open_checkpoint, quantize_weight, w8a8_weight, write_checkpoint,
)
from ._experts import explain_fused_experts
from ._explain import explain
from ._files import convert_file, dequantize_file, estimate_quantization, quantize_file
from ._gradients import grouped_mm_vjp, quantize_vjp, scaled_mm_vjp
from ._int8 import (
    int8_double_quant, int8_linear_matmul, int8_mixed_scaled_mm, int8_mm_dequant, int8_scaled_mm, int8_vectorwise_dequant,
    int8_vectorwise_quant,
)
from ._octavo import (
    UNDEFINED,
    Checkpoint,
    CheckpointFile,
    Declaration,
    ExpertWeights,
    Explanation,
    FusedExpertsExplanation,
    LayerReport,
    PackedWeight,
    Quantized,
    QuantizeEstimate,
    QuantizeReport,
    Weight,
    backends,
    cpu_features,
    cpu_name,
    get_num_threads,
    set_num_threads,
    threads_reason,
)
from ._operations import (
    fused_experts, grouped_mm, linear, pack, pack_experts, quantize, scaled_grouped_mm, scaled_mm, silu_and_mul,
)
from ._packed import _restore_experts, _restore_packed
from ._quantize import compute_scale, dequantize, quantize_mxfp8
from ._sharding import read_shard, shard, shard_range, unshard
from ._versions import info, show_versions

try:
    __version__ = version("octavo")
except PackageNotFoundError:  # a build tree on the path
    __version__ = "0"

__all__ = [
    "UNDEFINED", "Checkpoint", "CheckpointFile", "Declaration", "ExpertWeights", "Explanation", "FusedExpertsExplanation", "LayerReport", "PackedWeight", "Quantized",
    "QuantizeEstimate", "QuantizeReport", "Weight", "backends", "compare_weight", "compute_scale", "convert_file", "cpu_features",
    "cpu_name", "dequantize", "dequantize_file", "estimate_quantization", "explain", "explain_fused_experts", "fuse", "fused_experts", "get_num_threads",
    "grouped_mm", "grouped_mm_vjp", "info", "int8_double_quant", "int8_linear_matmul", "int8_mixed_scaled_mm",
    "int8_mm_dequant", "int8_scaled_mm", "int8_vectorwise_dequant", "int8_vectorwise_quant", "linear",
    "open_checkpoint", "pack", "pack_experts", "quantize", "quantize_file", "quantize_mxfp8", "quantize_vjp",
    "quantize_weight", "read_shard", "scaled_grouped_mm", "scaled_mm", "scaled_mm_vjp", "set_num_threads", "shard", "shard_range",
    "show_versions", "silu_and_mul", "threads_reason", "unshard", "w8a8_weight", "write_checkpoint",
]
