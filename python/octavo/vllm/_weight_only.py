# SPDX-License-Identifier: Apache-2.0
"""int8 weights by activations as they are (W8A16): compressed-tensors' and GPTQ's packing of four codes in an int32."""

import torch
import vllm.model_executor.kernels.linear as tables
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearKernel
from vllm.platforms import current_platform
from vllm.scalar_type import scalar_types

import octavo

from . import _packed


def bytes_of(packed):
    """uint8 codes of int32 words that hold four each along dimension 1: the first code in the lowest byte."""
    return packed.contiguous().view(torch.uint8)


class OctavoInt8WeightOnlyLinearKernel(MPLinearKernel):
    """uint8 codes less 128, or less zero points, with scales per channel or group of K."""

    @classmethod
    def get_min_capability(cls):
        return -1

    @classmethod
    def can_implement(cls, config):
        if not current_platform.is_cpu():
            return False, "requires a CPU"
        if config.weight_type not in (scalar_types.uint8b128, scalar_types.uint8):
            return False, f"takes weights of 8 bits alone; got {config.weight_type}"
        return True, None

    def process_weights_after_loading(self, layer):
        if getattr(layer, "weight_g_idx", None) is not None or getattr(layer, "g_idx", torch.empty(0)).numel():
            raise NotImplementedError("OctavoInt8WeightOnlyLinearKernel: columns must be in their order; got g_idx")
        weight, scale = getattr(layer, self.w_q_name), getattr(layer, self.w_s_name)
        if weight.output_dim == 1:  # GPTQ's [K / 4, N], scales [groups, N]
            codes, scale = bytes_of(weight.data.t()).t(), scale.data.float()
        else:  # compressed-tensors' [N, K / 4], scales [N, groups]
            codes, scale = bytes_of(weight.data).t(), scale.data.float().t()
        codes = (codes.to(torch.int16) - 128).to(torch.int8)  # [K, N]
        k, n = self.config.partition_weight_shape
        codes, group = codes[:k, :n], self.config.group_size
        granularity = "channel" if group in (-1, self.config.full_weight_shape[0]) else f"group{group}"
        if self.config.zero_points:
            zeros = self._zero_points(getattr(layer, self.w_zp_name), n)
            rows = k if granularity == "channel" else group
            weight = octavo.Quantized(codes, scale.contiguous(), zeros.contiguous(), rows, 1)
            _packed.keep(layer, self.w_q_name, weight, octavo.UNDEFINED)
        else:
            _packed.keep(layer, self.w_q_name, codes, scale if granularity != "channel" else scale.reshape(-1), granularity=granularity)

    def _zero_points(self, packed, n):
        """int32 [groups, N], for codes less 128."""
        words = packed.data.t() if packed.output_dim == 0 else packed.data  # packed along N
        return bytes_of(words)[:, :n].to(torch.int32) - 128

    def apply_weights(self, layer, x, bias=None):
        return _packed.apply(layer, x, bias)


def register():
    _packed.put_first(tables._POSSIBLE_KERNELS, OctavoInt8WeightOnlyLinearKernel)
