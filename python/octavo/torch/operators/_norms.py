# SPDX-License-Identifier: Apache-2.0
"""octavo::rms_norm, and its overload `residual`, whose residual becomes the sum."""

import torch

from ... import _octavo
from ._library import define, direct


def _kernel(x, weight, epsilon, backend):
    return _octavo.rms_norm(x, weight, epsilon, backend)


def _add_kernel(x, residual, weight, epsilon, backend):
    return _octavo.rms_norm(x, weight, epsilon, backend, residual)


def _fake(x, *_):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


rms_norm = define("rms_norm(Tensor x, Tensor? weight, float epsilon, str? backend) -> Tensor", _kernel, _fake)
add_rms_norm = define("rms_norm.residual(Tensor x, Tensor(a!) residual, Tensor? weight, float epsilon, str? backend) -> Tensor", _add_kernel, _fake)
call_rms_norm, call_add_rms_norm = direct(rms_norm), direct(add_rms_norm)
