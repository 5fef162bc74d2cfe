# SPDX-License-Identifier: Apache-2.0
"""Experts that Octavo does not take: other gates than SiLU, and what changes SiLU."""

import types

import pytest
import torch
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.config import fp8_w8a16_moe_quant_config

from octavo.vllm._experts import OctavoExperts, OctavoExpertsFp8

CHANGES = ("swiglu_limit", "swiglu_alpha", "swiglu_beta", "activation_situ_beta", "activation_situ_linear_beta")


def experts(config=None, **changes):
    ones = torch.ones(1)
    return OctavoExpertsFp8(types.SimpleNamespace(**dict.fromkeys(CHANGES) | changes),
                            fp8_w8a16_moe_quant_config(w1_scale=ones, w2_scale=ones, **config or {}))


@pytest.mark.parametrize("kernel", [OctavoExperts, OctavoExpertsFp8])
def test_silu_alone_is_taken(kernel):
    assert [gate for gate in MoEActivation if kernel._supports_activation(gate)] == [MoEActivation.SILU]


@pytest.mark.parametrize("changes", [*({name: 7.0} for name in CHANGES), {"config": {"gemm1_clamp_limit": 7.0}},
                                     {"config": {"gemm1_alpha": 7.0}}, {"config": {"gemm1_beta": 7.0}}])
def test_what_changes_silu_is_refused(changes):
    experts()
    with pytest.raises(NotImplementedError, match=r"octavo.vllm: experts.activation must be SiLU without limits or factors; got .*=7.0"):
        experts(**changes)
