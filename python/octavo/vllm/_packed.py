# SPDX-License-Identifier: Apache-2.0
"""A layer of vLLM with a packed weight: what the kernel classes have in common."""

import torch
from vllm.logger import init_logger
from vllm.model_executor.layers.quantization.utils import replace_parameter
from vllm.platforms import PlatformEnum, current_platform

import octavo

from ..torch.operators._linear import handle_of, linear

_log = init_logger("vllm.octavo")


def put_first(table, kernel):
    """Puts a kernel at the head of a table of vLLM's, once."""
    kernels = table.setdefault(PlatformEnum.CPU, [])
    if kernel not in kernels:
        kernels.insert(0, kernel)


def announce():
    """One line of vLLM's log, when the first layer is packed."""
    _log.info_once("Octavo %s multiplies layers in 8 bits, by %s (OCTAVO_VLLM=0 turns it off)", octavo.__version__,
                   octavo.machine.threads_reason())


def keep(layer, name, weight, scale, **rule):
    """Packs a weight [K, N] for the layer, whose parameter `name` gives its memory back.

    MLA reads the codes of some layers itself (`_cpu_skip_gemm_dispatch`), so theirs stay.
    """
    announce()
    packed = octavo.pack(weight, scale, **rule)
    layer.octavo_weight, layer.octavo_handle = packed, handle_of(packed)
    if not getattr(layer, "_cpu_skip_gemm_dispatch", False):
        replace_parameter(layer, name, torch.nn.Parameter(torch.empty(0, dtype=torch.int8), requires_grad=False))


class PackedLayer:
    """Before vLLM's classes of kernels, whose `process_weights_after_loading` calls `keep`."""

    @classmethod
    def is_supported(cls, compute_capability=None):
        return (True, None) if current_platform.is_cpu() else (False, "requires a CPU")

    def apply_weights(self, layer, x, bias=None, **_):
        return linear(x, bias, None, layer.octavo_handle, False, None)
