# SPDX-License-Identifier: Apache-2.0
"""Operands of the tests of octavo.bnb's layers."""

import torch


def gaussian(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32).to(dtype)


def activations(*shape, dtype=torch.float32):
    """Gaussians with one column of outliers."""
    x = gaussian(*shape)
    x[..., 3] = 9.0
    return x.to(dtype)
