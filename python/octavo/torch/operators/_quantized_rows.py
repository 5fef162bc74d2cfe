# SPDX-License-Identifier: Apache-2.0
"""octavo::rms_norm_quantize (and its overload `residual`) and octavo::silu_and_mul_quantize: codes, scales, zero points.

What octavo.norms and octavo.moe give as one octavo.Quantized, which no graph takes. Zero points are empty without `azp`.
"""

import math

import torch

from ... import _octavo
from ._library import define
from ._straight_through import scale_shape

_RULE = ("Tensor? scale, Tensor? azp_in, ScalarType dtype, str granularity, bool azp=False, Tensor? scale_ub=None, "
         "float min_scale=0., float qmax=0., str rounding='none'")
_RESULT = "(Tensor, Tensor, Tensor)"


def _parts(function, inputs, scale, azp_in, dtype, granularity, azp=False, scale_ub=None, min_scale=0.0, qmax=0.0, rounding="none"):
    given = {} if scale is None else {"scale": scale, "azp_in": azp_in}
    if scale_ub is not None:
        given["scale_ub"] = scale_ub.item()
    q = function(**inputs, dtype=dtype, granularity=granularity, azp=azp, min_scale=min_scale, qmax=qmax, rounding=rounding, **given)
    return q.data, q.scale, q.data.new_empty((0, 0), dtype=torch.int32) if q.azp is None else q.azp


def _fakes(x, columns, scale, azp_in, dtype, granularity, azp=False, *_):
    rows = math.prod(x.shape[:-1])
    cells = scale_shape(rows, columns, granularity)
    return (x.new_empty((rows, columns), dtype=dtype), x.new_empty(cells, dtype=torch.float32),
            x.new_empty(cells if azp else (0, 0), dtype=torch.int32))


def _norm(x, weight, epsilon, *rule):
    return _parts(_octavo.rms_norm_quantize, dict(x=x, weight=weight, epsilon=epsilon), *rule)


def _norm_fake(x, weight, epsilon, *rule):
    return _fakes(x, x.shape[-1], *rule)


def _add_norm(x, residual, weight, epsilon, *rule):
    return _parts(_octavo.rms_norm_quantize, dict(x=x, weight=weight, epsilon=epsilon, residual=residual), *rule)


def _add_norm_fake(x, residual, weight, epsilon, *rule):
    return _fakes(x, x.shape[-1], *rule)


def _silu(x, *rule):
    return _parts(_octavo.silu_and_mul_quantize, dict(x=x), *rule)


def _silu_fake(x, *rule):
    return _fakes(x, x.shape[-1] // 2, *rule)


rms_norm_quantize = define(f"rms_norm_quantize(Tensor x, Tensor? weight, float epsilon, {_RULE}) -> {_RESULT}", _norm, _norm_fake)
add_rms_norm_quantize = define(
    f"rms_norm_quantize.residual(Tensor x, Tensor(a!) residual, Tensor? weight, float epsilon, {_RULE}) -> {_RESULT}", _add_norm,
    _add_norm_fake)
silu_and_mul_quantize = define(f"silu_and_mul_quantize(Tensor x, {_RULE}) -> {_RESULT}", _silu, _silu_fake)
