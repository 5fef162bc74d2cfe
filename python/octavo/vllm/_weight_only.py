# SPDX-License-Identifier: Apache-2.0
"""int8 weights by activations as they are (W8A16): compressed-tensors' packing of four codes in an int32."""

import torch
import vllm.model_executor.kernels.linear as tables
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
        weight, scale = getattr(layer, self.w_q_name), getattr(layer, self.w_s_name)  # [N, K / 4], [N, groups]
        if weight.output_dim != 0 or getattr(layer, "weight_g_idx", None) is not None:
            raise NotImplementedError("OctavoInt8WeightOnlyLinearKernel: weights must be packed as compressed-tensors packs them, columns "
                                      "in their order; got another packing")
        codes = (weight.data.contiguous().view(torch.uint8) ^ 128).view(torch.int8)  # the first code in the lowest byte
        whole = self.config.group_size in (-1, self.config.full_weight_shape[0])
        scale = scale.data.float().reshape(-1) if whole else scale.data.float().t()
        _packed.keep(layer, self.w_q_name, codes.t()[:self.config.partition_weight_shape[0]], scale,
                     granularity="channel" if whole else f"group{self.config.group_size}")


def register():
    _packed.put_first(tables._POSSIBLE_KERNELS, OctavoInt8WeightOnlyLinearKernel)
