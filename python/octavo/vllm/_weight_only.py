# SPDX-License-Identifier: Apache-2.0
"""int8 weights by activations as they are (W8A16): compressed-tensors' and GPTQ's packing of four codes in an int32."""

import torch
import vllm.model_executor.kernels.linear as tables
import vllm.model_executor.layers.quantization.utils.marlin_utils as marlin_utils
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearKernel
from vllm.platforms import current_platform
from vllm.scalar_type import scalar_types

from . import _packed


class OctavoInt8WeightOnlyLinearKernel(_packed.PackedLayer, MPLinearKernel):
    """uint8 codes less 128 with scales per channel or group of K."""

    @classmethod
    def get_min_capability(cls):
        return -1

    @classmethod
    def can_implement(cls, config):
        if not current_platform.is_cpu():
            return False, "requires a CPU"
        if config.weight_type != scalar_types.uint8b128:
            return False, f"takes weights of 8 bits without zero points; got {config.weight_type}"
        return True, None

    def process_weights_after_loading(self, layer):
        weight, scale = getattr(layer, self.w_q_name), getattr(layer, self.w_s_name)
        if weight.packed_dim != weight.input_dim or getattr(layer, "weight_g_idx", None) is not None:
            raise NotImplementedError("OctavoInt8WeightOnlyLinearKernel: weights must be packed along K, columns in their order; got another "
                                      "packing")
        # [N, K / 4] and [N, groups], which GPTQ transposes; the first code lies in the lowest byte.
        weight, scale = (value.data if value.output_dim == 0 else value.data.t() for value in (weight, scale))
        codes = (weight.contiguous().view(torch.uint8) ^ 128).view(torch.int8)
        whole = self.config.group_size in (-1, self.config.full_weight_shape[0])
        scale = scale.float().reshape(-1) if whole else scale.float().t()
        _packed.keep(layer, self.w_q_name, codes.t()[:self.config.partition_weight_shape[0]], scale,
                     granularity="channel" if whole else f"group{self.config.group_size}")


def _with_bytes(theirs):
    """The types of weights that vLLM takes from GPTQ's folders on a CPU, with those of 8 bits."""

    def supported(has_zp=None, include_fp_type=True):
        found = theirs(has_zp, include_fp_type)
        return [*found, scalar_types.uint8b128] if has_zp is False else found

    supported.octavo = True
    return supported


def register():
    _packed.put_first(tables._POSSIBLE_KERNELS, OctavoInt8WeightOnlyLinearKernel)
    theirs = marlin_utils._query_cpu_marlin_supported_quant_types
    if not hasattr(theirs, "octavo"):
        marlin_utils._query_cpu_marlin_supported_quant_types = _with_bytes(theirs)
