# SPDX-License-Identifier: Apache-2.0
"""What lies between the layers: RMSNorm, with the addition of the residual or without, and SwiGLU's activation.

vLLM's CPU backend takes ten operations of PyTorch's for a norm; Octavo one, whose rows have the same bits in every batch.
"""

import torch
from torch import Tensor
from vllm import ir
from vllm.config import get_current_vllm_config
from vllm.model_executor.custom_op import CustomOp
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.platforms.cpu import CpuPlatform

from ..torch.operators import _experts
from ..torch.operators._norms import call_add_rms_norm, call_rms_norm

NAME = "octavo"
TYPES = (torch.bfloat16, torch.float16, torch.float32)


def _takes(x, weight, variance_size):
    return variance_size is None and x.dtype in TYPES and (weight is None or weight.dtype in (x.dtype, torch.float32))


def _norm(x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None) -> Tensor:
    return call_rms_norm(x, weight, epsilon, None)


def _add_norm(x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float,
              variance_size: int | None = None) -> tuple[Tensor, Tensor]:
    return call_add_rms_norm(x, x_residual, weight, epsilon, None), x_residual


class OctavoSiluAndMul(SiluAndMul):
    """silu(x[..., :I]) * x[..., I:] in float32, rounded once; in models without quantised layers vLLM's own."""

    def __init__(self, **options):
        super().__init__(**options)
        self._ours = get_current_vllm_config().quant_config is not None

    def forward_cpu(self, x):
        return self.forward_native(x)

    def forward_native(self, x):  # what a compiled model traces, too
        return _experts.call_silu_and_mul(x, None, None) if self._ours else SiluAndMul.forward_native(x)


def _first(priority):
    """vLLM's order of implementations on a CPU, Octavo's before it where a model is quantised."""

    def ordered(cls, vllm_config):
        found = priority(vllm_config)
        if vllm_config.quant_config is None:
            return found
        for name in ("rms_norm", "fused_add_rms_norm"):
            setattr(found, name, [NAME, *(each for each in getattr(found, name) or ["native"] if each != NAME)])
        return found

    return classmethod(ordered)


def register():
    """Octavo's implementations in vLLM's tables, before its own; `--ir-op-priority` of vLLM still chooses others."""
    if NAME in ir.ops.rms_norm.impls:
        return
    ir.ops.rms_norm.register_impl(NAME, supports_args=lambda x, weight, epsilon, variance_size=None: _takes(x, weight, variance_size))(_norm)
    ir.ops.fused_add_rms_norm.register_impl(
        NAME, inplace=True, supports_args=lambda x, x_residual, weight, epsilon, variance_size=None: _takes(x, weight, variance_size))(_add_norm)
    CpuPlatform.get_default_ir_op_priority = _first(CpuPlatform.get_default_ir_op_priority)
    CustomOp.register_oot(OctavoSiluAndMul, name="SiluAndMul")
