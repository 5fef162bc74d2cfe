# SPDX-License-Identifier: Apache-2.0
"""What the tests of torch_test.py share: the device, and what a result there is held to."""

import sys

import torch

DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")


def there(x: torch.Tensor) -> torch.Tensor:
    return x.to(DEVICE)


def same(got: torch.Tensor, want: torch.Tensor) -> None:
    assert got.device.type == DEVICE.type, got.device
    got = got.cpu()
    assert got.dtype == want.dtype and got.shape == want.shape, (got.dtype, want.dtype, got.shape, want.shape)
    assert torch.equal(got.contiguous().view(torch.uint8), want.contiguous().view(torch.uint8)), "the bits differ"


def close(got: torch.Tensor, want: torch.Tensor, relative: float) -> None:
    error = (got.cpu().double() - want.double()).abs().max() / want.double().abs().max()
    assert error <= relative, f"{error} > {relative}"
