# SPDX-License-Identifier: Apache-2.0
"""Experts of int8 and fp8: vLLM's modular interface over octavo.moe.pack_experts and octavo.moe.fused_experts."""

import vllm.model_executor.layers.fused_moe.experts.cpu_moe as cpu_moe
import vllm.model_executor.layers.fused_moe.modular_kernel as modular
import vllm.model_executor.layers.fused_moe.oracle.fp8 as fp8
import vllm.model_executor.layers.fused_moe.oracle.int8 as int8
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.quantization.utils.quant_utils import (
    kFp8Dynamic128Sym, kFp8DynamicTokenSym, kFp8Static128BlockSym, kFp8StaticChannelSym, kInt8DynamicTokenSym,
    kInt8StaticChannelSym)
from vllm.platforms import current_platform

import octavo

# (key of weights, key of activations) -> granularities of the weight [K, N] and of activations
_CHANNEL, _BLOCK = ("channel", "token"), ("block128x128", "group128")


class OctavoExperts(cpu_moe.CPUExpertsInt8):
    """Both products of a mixture's layer in one call; vLLM routes before it."""

    dtype = "int8"
    schemes = {(kInt8StaticChannelSym, kInt8DynamicTokenSym): _CHANNEL}

    def __init__(self, moe_config, quant_config):
        modular.FusedMoEExpertsModular.__init__(self, moe_config, quant_config)
        self.packed = None

    @staticmethod
    def _supports_current_device():
        return current_platform.is_cpu()

    @staticmethod
    def is_supported_config(cls, moe_config, weight_key, activation_key, activation_format):
        return modular.FusedMoEExperts.is_supported_config(cls, moe_config, weight_key, activation_key, activation_format)

    @staticmethod
    def _supports_activation(activation):
        return activation == MoEActivation.SILU

    @staticmethod
    def _supports_quant_scheme(weight_key, activation_key):
        return (weight_key, activation_key) in OctavoExperts.schemes

    @staticmethod
    def _supports_routing_method(*_):
        return True

    def supports_expert_map(self):
        return True

    def process_weights_after_loading(self, layer):
        self._pack(layer.w13_weight, layer.w2_weight)

    def _pack(self, w13, w2):
        """vLLM's codes give their memory back; their shapes stay, which vLLM reads."""
        granularity, activation = _CHANNEL if self.quant_config.block_shape is None else _BLOCK
        self.packed = []
        for weight, scale in ((w13, self.w1_scale), (w2, self.w2_scale)):
            scale = scale.float() if granularity == "block128x128" else scale.float().squeeze(-1)
            self.packed.append(octavo.moe.pack_experts(weight.data, scale, granularity=granularity, activation=self.dtype,
                                                       activation_granularity=activation))
            weight.data = weight.data.new_zeros(1).expand(weight.shape)

    def apply(self, output, hidden_states, w1, w2, topk_weights, topk_ids, activation, global_num_experts, expert_map,
              a1q_scale, a2_scale, workspace13, workspace2, expert_tokens_meta, apply_router_weight_on_input):
        if self.packed is None:  # vLLM has no hook after loading for fp8; its first call is the profile's
            self._pack(w1, w2)
        # vLLM has multiplied x where the router's weight is on the input.
        octavo.moe.fused_experts(hidden_states, *self.packed, topk_weights, topk_ids, bias13=self.w1_bias, bias2=self.w2_bias,
                                 expert_map=expert_map, out=output)


class OctavoExpertsFp8(OctavoExperts):
    dtype = "float8_e4m3fn"
    schemes = {(kFp8StaticChannelSym, kFp8DynamicTokenSym): _CHANNEL, (kFp8Static128BlockSym, kFp8Dynamic128Sym): _BLOCK}

    @staticmethod
    def _supports_quant_scheme(weight_key, activation_key):
        return (weight_key, activation_key) in OctavoExpertsFp8.schemes


def _before(module, backend, kernel):
    """vLLM has no table of experts: the function that lists a backend's classes is wrapped."""
    theirs = module.backend_to_kernel_cls

    def backend_to_kernel_cls(wanted):
        return [kernel, *theirs(wanted)] if wanted == backend else theirs(wanted)

    backend_to_kernel_cls.octavo = True
    module.backend_to_kernel_cls = backend_to_kernel_cls


def register():
    if hasattr(int8.backend_to_kernel_cls, "octavo"):
        return []
    _before(int8, int8.Int8MoeBackend.CPU, OctavoExperts)
    _before(fp8, fp8.Fp8MoeBackend.CPU, OctavoExpertsFp8)
    # It packs codes for AMX before experts see them. Whatever vLLM's class on AMX takes, Octavo's before it takes, too.
    cpu_moe.prepare_fp8_moe_layer_for_cpu = lambda w13, w2: (w13, w2)
    return ["experts"]
