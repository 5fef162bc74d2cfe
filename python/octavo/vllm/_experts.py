# SPDX-License-Identifier: Apache-2.0
"""Experts of int8, fp8 and mxfp8: vLLM's modular interface over octavo.moe.pack_experts and octavo.moe.fused_experts."""

import functools

import torch
import vllm.model_executor.layers.fused_moe.experts.cpu_moe as cpu_moe
import vllm.model_executor.layers.fused_moe.modular_kernel as modular
import vllm.model_executor.layers.fused_moe.oracle.fp8 as fp8
import vllm.model_executor.layers.fused_moe.oracle.int8 as int8
import vllm.model_executor.layers.fused_moe.oracle.mxfp8 as mxfp8
from vllm.model_executor.layers.fused_moe.activation import ApplyMoEActivationConfig, MoEActivation
from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe.compressed_tensors_moe_w8a8_fp8 import (
    CompressedTensorsW8A8Fp8MoEMethod)
from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe.compressed_tensors_moe_w8a8_mxfp8 import (
    CompressedTensorsW8A8Mxfp8MoEMethod)
from vllm.model_executor.layers.quantization.fp8 import Fp8MoEMethod
from vllm.model_executor.layers.quantization.utils.quant_utils import (
    kFp8Dynamic128Sym, kFp8DynamicTokenSym, kFp8Static128BlockSym, kFp8StaticChannelSym, kInt8DynamicTokenSym,
    kInt8StaticChannelSym, kMxfp8Dynamic, kMxfp8Static)
from vllm.platforms import current_platform

import octavo

from ..torch.layers._schemes import SCHEMES
from ..torch.operators._experts import fused_experts
from ..torch.operators._linear import handle_of
from . import _packed


class OctavoExperts(cpu_moe.CPUExpertsInt8):
    """Both products of a mixture's layer in one call; vLLM routes before it."""

    schemes = {(kInt8StaticChannelSym, kInt8DynamicTokenSym)}  # of weights and activations

    def __init__(self, moe_config, quant_config):
        super().__init__(moe_config, quant_config)
        if self.activation_config != ApplyMoEActivationConfig():
            raise NotImplementedError(f"octavo.vllm: experts.activation must be SiLU without limits or factors; got {self.activation_config}")

    @staticmethod
    def _supports_current_device():
        return current_platform.is_cpu()

    @staticmethod
    def is_supported_config(cls, moe_config, weight_key, activation_key, activation_format):
        return modular.FusedMoEExperts.is_supported_config(cls, moe_config, weight_key, activation_key, activation_format)

    @staticmethod
    def _supports_activation(activation):
        return activation == MoEActivation.SILU

    @classmethod
    def _supports_quant_scheme(cls, weight_key, activation_key):
        return (weight_key, activation_key) in cls.schemes

    @staticmethod
    def _supports_routing_method(*_):
        return True

    def supports_expert_map(self):
        return True

    def scheme(self):
        return "int8-dynamic"

    def process_weights_after_loading(self, layer):
        """Packs the codes of a layer, which give their memory back; their shapes stay, which vLLM reads."""
        scheme = SCHEMES[self.scheme()]
        _packed.announce()
        self.packed = []
        for weight, scale in ((layer.w13_weight, self.w1_scale), (layer.w2_weight, self.w2_scale)):
            if scale.dtype == torch.uint8:
                scale = scale.data.view(torch.float8_e8m0fnu)
            else:
                scale = scale.float().squeeze(-1) if scheme.weight_kn == "channel" else scale.float()
            self.packed.append(octavo.moe.pack_experts(weight.data, scale, granularity=scheme.weight_kn, **scheme.rule()))
            weight.data = weight.data.new_zeros(1).expand(weight.shape)
        self.handles = [handle_of(weight) for weight in self.packed]

    def apply(self, output, hidden_states, w1, w2, topk_weights, topk_ids, activation, global_num_experts, expert_map,
              a1q_scale, a2_scale, workspace13, workspace2, expert_tokens_meta, apply_router_weight_on_input):
        # vLLM has multiplied x where the router's weight is on the input.
        y = fused_experts(hidden_states, topk_weights, topk_ids, self.w1_bias, self.w2_bias, expert_map, None, *self.handles, False, False, None)
        output.copy_(y)


class OctavoExpertsFp8(OctavoExperts):
    schemes = {(kFp8StaticChannelSym, kFp8DynamicTokenSym), (kFp8Static128BlockSym, kFp8Dynamic128Sym), (kMxfp8Static, kMxfp8Dynamic)}

    def scheme(self):
        cell = self.quant_config._w1.shape  # of a scale; None or -1: a channel's
        if cell is None or cell.col <= 1:
            return "fp8-dynamic"
        return "fp8-block" if cell.row > 1 else "mxfp8"


def _before(module, backend, kernel):
    """vLLM has no table of experts: the function that lists a backend's classes is wrapped."""
    theirs = module.backend_to_kernel_cls

    def backend_to_kernel_cls(wanted):
        return [kernel, *theirs(wanted)] if wanted == backend else theirs(wanted)

    backend_to_kernel_cls.octavo = True
    module.backend_to_kernel_cls = backend_to_kernel_cls


def _after_loading(method):
    """vLLM calls no hook of fp8 experts after loading: the method of their layers does, from now on."""
    theirs = method.process_weights_after_loading

    @functools.wraps(theirs)
    def process_weights_after_loading(self, layer):
        theirs(self, layer)
        if isinstance(experts := self.moe_kernel.fused_experts, OctavoExpertsFp8):
            experts.process_weights_after_loading(layer)

    method.process_weights_after_loading = process_weights_after_loading


def register():
    if hasattr(int8.backend_to_kernel_cls, "octavo"):
        return
    _before(int8, int8.Int8MoeBackend.CPU, OctavoExperts)
    _before(fp8, fp8.Fp8MoeBackend.CPU, OctavoExpertsFp8)
    _before(mxfp8, fp8.Fp8MoeBackend.CPU, OctavoExpertsFp8)
    mxfp8._SUPPORTED_BACKENDS = (fp8.Fp8MoeBackend.CPU, *mxfp8._SUPPORTED_BACKENDS)  # vLLM has no mxfp8 experts on CPUs
    for method in (Fp8MoEMethod, CompressedTensorsW8A8Fp8MoEMethod, CompressedTensorsW8A8Mxfp8MoEMethod):
        _after_loading(method)
    # It packs codes for AMX before experts see them. Whatever vLLM's class on AMX takes, Octavo's before it takes, too.
    cpu_moe.prepare_fp8_moe_layer_for_cpu = lambda w13, w2: (w13, w2)
