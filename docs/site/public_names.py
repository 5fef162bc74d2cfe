# SPDX-License-Identifier: Apache-2.0
"""The public names of the Python package, found by walking it: the __all__ of every module whose path has no underscore.

The reference prints them, and tests/python/package/test_docstrings.py holds each to its documentation.
"""

import importlib
import inspect
import pkgutil
import warnings
from types import ModuleType

# Importing these says that bitsandbytes' own are meant (octavo/bnb/_absent.py).
STAND_INS = {"octavo.bnb.optim", "octavo.bnb.research", "octavo.bnb.utils"}

# Values that carry no docstring.
CONSTANTS = {
    "octavo.UNDEFINED": "The default of scales: the operand's own scale is used, if it carries one. None: no scale.",
    "octavo.bnb.features": "What accelerate asks: \"multi_backend\", layers run on CPUs.",
    "octavo.bnb.supported_torch_devices": "What accelerate asks: \"cpu\".",
    "octavo.torch.LEFT_IN_FLOAT": "Names that quantize_ leaves in float by default: output heads, and what routes tokens to experts.",
    "octavo.w8a8_utils.CUTLASS_BLOCK_FP8_SUPPORTED": "What cutlass_block_fp8_supported() said at the import.",
    "octavo.w8a8_utils.CUTLASS_FP8_SUPPORTED": "What cutlass_fp8_supported() said at the import.",
    "octavo.w8a8_utils.TORCH_DEVICE_IDENTITY": "None until maybe_create_device_identity() makes it: a float32 tensor [1] of 1.",
    "octavo.w8a8_utils.USE_ROWWISE_TORCH_SCALED_MM": "Whether per-token products take their own function: False, that is ROCm's.",
}

# Names whose example is that of another: what a function returns, and functions of one family.
SHARED = {
    "octavo.Quantized": "octavo.quantize",
    "octavo.types.Checkpoint": "octavo.open_checkpoint",
    "octavo.types.CheckpointFile": "octavo.open_checkpoint",
    "octavo.types.Declaration": "octavo.open_checkpoint",
    "octavo.types.ExpertWeights": "octavo.moe.pack_experts",
    "octavo.types.Explanation": "octavo.explain",
    "octavo.types.FusedExpertsExplanation": "octavo.moe.explain_fused_experts",
    "octavo.types.LayerReport": "octavo.checkpoints.compare_weight",
    "octavo.types.PackedWeight": "octavo.pack",
    "octavo.types.QuantizeEstimate": "octavo.checkpoints.estimate_quantization",
    "octavo.types.QuantizeReport": "octavo.quantize_file",
    "octavo.types.Weight": "octavo.checkpoints.quantize_weight",
    "octavo.torch.Calibration": "octavo.torch.calibrate",
    "octavo.torch.Evaluation": "octavo.torch.evaluate",
    "octavo.torch.LayerCalibration": "octavo.torch.calibrate",
    "octavo.torch.LayerDrift": "octavo.torch.evaluate",
    "octavo.torch.LayerError": "octavo.torch.quantize_",
    "octavo.torch.LeftLayer": "octavo.torch.quantize_",
    "octavo.torch.Override": "octavo.torch.override",
    "octavo.torch.OverrideCalls": "octavo.torch.override",
    "octavo.torch.Report": "octavo.torch.quantize_",
    "octavo.torch.Smoothed": "octavo.torch.smooth_",
    "octavo.w8a8_utils.cutlass_block_fp8_supported": "octavo.w8a8_utils.cutlass_fp8_supported",
    "octavo.w8a8_utils.cutlass_group_gemm_supported": "octavo.w8a8_utils.cutlass_fp8_supported",
    "octavo.w8a8_utils.sparse_cutlass_supported": "octavo.w8a8_utils.cutlass_fp8_supported",
    **{f"octavo.w8a8_utils.{name}": "octavo.w8a8_utils.cutlass_w8a8_scaled_mm" for name in (
        "flashinfer_w8a8_scaled_mm", "rocm_per_tensor_w8a8_scaled_mm", "rocm_per_tensor_w8a8_scaled_mm_fake",
        "rocm_per_tensor_w8a8_scaled_mm_impl", "torch_channelwise_w8a8_scaled_mm", "torch_per_tensor_w8a8_scaled_mm",
        "torch_per_token_w8a8_scaled_mm")},
}

# Names without an example, and why.
NO_EXAMPLE = {
    "octavo.evaluate.main": "a command: python -m octavo.evaluate --help",
    "octavo.vllm.register": "needs vLLM, whose processes call it",
    "octavo.report.page": "takes what `octavo report --json` prints; test_report.py runs both",
    **{f"octavo.torch.parallel.{name}": "runs on ranks, as the examples of docs/guides/ranks.md do" for name in (
        "ColumnParallelLinear", "ColwiseParallel", "ExpertParallelMoE", "ParallelLinear", "RowParallelLinear", "RowwiseParallel")},
}

# Modules whose arguments are another library's, whose documentation explains them; tests hold the signatures to it.
ELSEWHERE = {"octavo.bnb": "bitsandbytes", "octavo.w8a8_utils": "vLLM", "octavo.torch.functional": "PyTorch"}


def public_modules() -> list[ModuleType]:
    """In the order of their names, octavo first."""
    octavo = importlib.import_module("octavo")
    names = ["octavo", *sorted(module.name for module in pkgutil.walk_packages(octavo.__path__, "octavo."))]
    found = []
    for name in names:
        if any(part.startswith("_") for part in name.split(".")) or name in STAND_INS:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
        if hasattr(module, "__all__"):
            found.append(module)
    return found


def is_documented(value: object) -> bool:
    """Whether it can carry a docstring of its own."""
    return inspect.isclass(value) or callable(value)


def public_names() -> dict[str, object]:
    """Every name but modules; of what several modules export, the first."""
    names: dict[str, object] = {}
    seen: set[int] = set()
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or (is_documented(value) and id(value) in seen):
                continue
            seen.add(id(value))
            names[f"{module.__name__}.{name}"] = value
    return names
