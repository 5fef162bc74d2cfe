# SPDX-License-Identifier: Apache-2.0
"""Linear layers with 8-bit weights and 8-bit activations: int8, fp8 per tensor and channel, fp8 blocks, mxfp8.

A weight is packed once after loading; each call is one octavo.linear, which quantises the activations.
"""

import torch
import vllm.model_executor.kernels.linear as tables
from vllm.model_executor.kernels.linear.mxfp8.Mxfp8LinearKernel import Mxfp8LinearKernel
from vllm.model_executor.kernels.linear.scaled_mm.BlockScaledMMLinearKernel import Fp8BlockScaledMMLinearKernel
from vllm.model_executor.kernels.linear.scaled_mm.ScaledMMLinearKernel import FP8ScaledMMLinearKernel, Int8ScaledMMLinearKernel
from vllm.model_executor.layers.quantization.utils.w8a8_utils import convert_to_channelwise

from ..torch.layers._schemes import SCHEMES
from . import _packed


def static_range(scales, zero_points):
    """One scale and zero point of the least range that has those of all shards, as vLLM's int8 kernels take them."""
    zero_points = zero_points.to(torch.int32)
    most, least = (scales * (127 - zero_points)).max(), (scales * (-128 - zero_points)).min()
    scale = (most - least) / 255
    return scale.item(), int((-128 - least / scale).round().item())


class OctavoInt8LinearKernel(_packed.PackedLayer, Int8ScaledMMLinearKernel):
    """int8 by int8: weights per channel or shard, activations per token or static, with zero points or without."""

    @classmethod
    def can_implement(cls, config):
        return True, None

    def process_weights_after_loading(self, layer):
        name, *_ = self.layer_param_names
        weight, scale, input_scale, zero_point, _ = self._get_layer_params(layer)
        if not self.config.is_channelwise:
            scale = convert_to_channelwise(scale, layer.logical_widths)
        rule = {"activation": "int8", "azp": not self.config.input_symmetric}
        if self.config.is_static_input_scheme:
            rule |= {"activation_granularity": "tensor", "static_scale": input_scale.max().item()}
            if not self.config.input_symmetric:
                rule["static_scale"], rule["static_azp"] = static_range(input_scale, zero_point)
        _packed.keep(layer, name, weight.data.t(), scale.data.float().reshape(-1), granularity="channel", **rule)


class OctavoFp8LinearKernel(_packed.PackedLayer, FP8ScaledMMLinearKernel):
    """e4m3fn by e4m3fn: weights per tensor, shard or channel, activations per token, per tensor or static."""

    @classmethod
    def can_implement(cls, config):
        if config.weight_quant_key.scale.group_shape.is_per_group():
            return False, "takes no scales by group"
        return True, None

    def rule(self, input_scale):
        """How activations are quantised, as arguments of octavo.pack."""
        scale = self.config.activation_quant_key.scale
        rule = {"activation": "float8_e4m3fn"}
        if scale.static:
            return rule | {"activation_granularity": "tensor", "static_scale": input_scale.max().item()}
        return rule | ({"activation_granularity": "tensor"} if scale.group_shape.is_per_tensor() else {})

    def process_weights_after_loading(self, layer):
        name, *_ = self.layer_param_names
        weight, scale, input_scale, _ = self._get_layer_params(layer)
        weight, scale = weight.data, scale.data.float()  # the weight is [K, N], a transposed view
        widths = getattr(layer, "logical_widths", ())
        if scale.numel() == len(widths) > 1:
            scale = convert_to_channelwise(scale.reshape(-1), widths)
        one = scale.numel() == 1
        _packed.keep(layer, name, weight, scale.reshape(()) if one else scale.reshape(-1),
                     granularity="tensor" if one else "channel", **self.rule(input_scale))

    def apply_scaled_mm(self, **_):
        raise NotImplementedError("OctavoFp8LinearKernel: apply_weights multiplies")


class OctavoFp8WeightOnlyLinearKernel(OctavoFp8LinearKernel):
    """e4m3fn weights, activations as they are (W8A16)."""

    def rule(self, input_scale):
        return {}


class OctavoFp8BlockLinearKernel(_packed.PackedLayer, Fp8BlockScaledMMLinearKernel):
    """e4m3fn in blocks, of any size, by activations in groups of as many columns."""

    apply_input_quant = False  # octavo.linear does

    @classmethod
    def can_implement(cls, config):
        weight, activation = (key.scale.group_shape for key in (config.weight_quant_key, config.activation_quant_key))
        if activation.row != 1 or activation.col != weight.col:
            return False, f"requires activations in groups of {weight.col}; got {activation}"
        return super().can_implement(config)

    def process_weights_after_loading(self, layer):
        params, block = self._get_layer_params(layer), self.weight_group_shape
        _packed.keep(layer, params.WEIGHT, params.weight.data.t(), params.block_scale.data.float().t(),
                     granularity=f"block{block.col}x{block.row}", activation="float8_e4m3fn",
                     activation_granularity=f"group{block.col}")

    def apply_block_scaled_mm(self, A, B, As, Bs):
        raise NotImplementedError("OctavoFp8BlockLinearKernel: apply_weights multiplies")


class OctavoMxfp8LinearKernel(_packed.PackedLayer, Mxfp8LinearKernel):
    """e4m3fn in groups of 32 with scales that are powers of two, activations the same."""

    @classmethod
    def can_implement(cls, config):
        if config.bmm_batch_size is not None:
            return False, "takes no batches"
        return True, None

    def process_weights_after_loading(self, layer):
        n, k = self.config.weight_shape
        weight = layer.weight.data.view(torch.float8_e4m3fn)
        scale = layer.weight_scale.data[:n, :k // 32].view(torch.float8_e8m0fnu)
        _packed.keep(layer, "weight", weight.t(), scale.t(), granularity="group32", **SCHEMES["mxfp8"].rule())


def register():
    """Puts the classes into vLLM's tables."""
    for table, kernel in ((tables._POSSIBLE_INT8_KERNELS, OctavoInt8LinearKernel), (tables._POSSIBLE_FP8_KERNELS, OctavoFp8LinearKernel),
                          (tables._POSSIBLE_FP8_BLOCK_KERNELS, OctavoFp8BlockLinearKernel),
                          (tables._POSSIBLE_WFP8A16_KERNELS, OctavoFp8WeightOnlyLinearKernel),
                          (tables._POSSIBLE_MXFP8_KERNELS, OctavoMxfp8LinearKernel)):
        _packed.put_first(table, kernel)
