# SPDX-License-Identifier: Apache-2.0
"""Mixture-of-experts layers in 8 bits."""

from typing import Any

import torch
from typing_extensions import Self

from .. import _octavo
from .._octavo import UNDEFINED, ExpertWeights, Weight
from .._operations import pack_experts
from .._typing import ExpertsScheme
from .layers._layer import EightBitModule, autocast, brought, check_float, size_mismatch
from .operators._dtypes import from_numpy
from .operators._experts import call_fused_experts
from .operators._library import device_refusal
from .operators._linear import handle_of

__all__ = ["FusedMoE", "fused_topk"]

# scheme: granularity of a stored expert [N, K], activation rule.
SCHEMES: dict[str, tuple[str, dict[str, Any]]] = {
    "fp8-dynamic": ("channel", dict(activation=torch.float8_e4m3fn)),
    "int8-dynamic": ("channel", dict(activation=torch.int8)),
    "fp8-block": ("block128x128", dict(activation=torch.float8_e4m3fn, activation_granularity="group128")),
    "int8-weight-only": ("channel", {}),
    "fp8-weight-only": ("channel", {}),
    "mxfp8": ("group32", dict(activation=torch.float8_e4m3fn, activation_granularity="group32", rounding="power_of_two")),
}


def _static(input_scale):
    """The rule of static activations."""
    if input_scale is None:
        return {}
    return {"activation_granularity": "tensor", "static_scale": float(input_scale.max())}


def fused_topk(router_logits: torch.Tensor, topk: int,
               renormalize: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax over the experts [..., E] in float32, then the largest.

    Args:
        router_logits: [..., E], any float type.
        topk: how many experts a row gets.
        renormalize: the weights of a row are divided by their sum.

    Returns:
        Weights float32 and ids int32, both [..., topk].

    Example:
        >>> import torch, octavo.torch.moe
        >>> weights, ids = octavo.torch.moe.fused_topk(torch.tensor([[0.0, 1.0, 2.0]]), topk=2)
        >>> ids.tolist(), weights.dtype
        ([[2, 1]], torch.float32)
    """
    weights, ids = torch.softmax(router_logits, -1, dtype=torch.float32).topk(topk, -1)
    if renormalize:
        weights = weights / weights.sum(-1, keepdim=True)
    return weights, ids.to(torch.int32)


class FusedMoE(EightBitModule):
    """y[m] = sum over t of w[m, t] * (W2[e] @ act(W13[e] @ x[m] + b13[e]) + b2[e]), e = ids[m, t].

    act(h) = silu(h[:I]) * h[I:]; see octavo.moe.fused_experts. Made by `from_float` or `from_quantized`;
    for inference. Its state has codes and scales: w13, w13_scale, w2, w2_scale, as checkpoints
    store them, and static scales (w13_input_scale, w2_input_scale); a layer of the same scheme and
    sizes loads it. `batch_invariant = True` refuses activation scales that tokens share.

    Example:
        >>> import torch, octavo.torch.moe
        >>> moe = octavo.torch.moe.FusedMoE.from_float(torch.randn(4, 64, 32), torch.randn(4, 32, 32), scheme="fp8-dynamic")
        >>> weights, ids = octavo.torch.moe.fused_topk(torch.randn(5, 4), topk=2)
        >>> moe(torch.randn(5, 32), weights, ids).shape
        torch.Size([5, 32])
    """

    batch_invariant: bool = False
    _count: int
    w13: ExpertWeights
    w2: ExpertWeights

    def __init__(self, w13: ExpertWeights, w2: ExpertWeights, bias13: torch.Tensor | None = None,
                 bias2: torch.Tensor | None = None) -> None:
        super().__init__()
        self.out_features = w2.n
        self._pack(w13=w13, w2=w2)
        self.register_buffer("bias13", bias13)
        self.register_buffer("bias2", bias2)
        self._show_parameter(torch.get_default_dtype() if bias13 is None else bias13.dtype, w13.device)

    @classmethod
    def from_float(cls, w13: torch.Tensor, w2: torch.Tensor, bias13: torch.Tensor | None = None,
                   bias2: torch.Tensor | None = None, scheme: ExpertsScheme = "fp8-dynamic") -> Self:
        """Quantises experts w13 [E, 2 I, H] and w2 [E, H, I]: "fp8-dynamic", "int8-dynamic", "fp8-block", "mxfp8", or
        "int8-weight-only" and "fp8-weight-only", whose activations stay as they are."""
        if scheme not in SCHEMES:
            raise ValueError(f"FusedMoE: scheme must be one of {', '.join(SCHEMES)}; got {scheme!r}")
        layer = cls(quantized_experts(w13, scheme)[0], quantized_experts(w2, scheme)[0], bias13, bias2)
        layer._show_parameter(w13.dtype, w13.device)
        return layer

    @classmethod
    def from_quantized(cls, w13: torch.Tensor, w13_scale: torch.Tensor | None, w2: torch.Tensor,
                       w2_scale: torch.Tensor | None, bias13: torch.Tensor | None = None,
                       bias2: torch.Tensor | None = None, *,
                       w13_input_scale: torch.Tensor | None = None,
                       w2_input_scale: torch.Tensor | None = None, granularity: str | None = None,
                       **rule: Any) -> Self:
        """Packs experts as checkpoints store them: codes [E, N, K], scales as octavo.moe.pack_experts takes them.

        w13_input_scale, w2_input_scale: static activations; of one for each expert the largest counts.
        rule: octavo.moe.pack_experts's activation, activation_granularity, azp; none for W8A16.
        """
        first, second = (pack_experts(codes, UNDEFINED if scale is None else scale, granularity=granularity,
                                      **{**rule, **_static(input_scale)})
                         for codes, scale, input_scale in ((w13, w13_scale, w13_input_scale),
                                                           (w2, w2_scale, w2_input_scale)))
        return cls(first, second, bias13, bias2)

    def _pack(self, **weights):
        for name, weight in weights.items():
            object.__setattr__(self, name, weight)
            object.__setattr__(self, f"_{name}_handle", handle_of(weight))
            object.__setattr__(self, "_count", weight.experts)  # torch.compile traces no attribute of packed experts

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("w13", "w2") and name in self.__dict__:
            old = getattr(self, name)
            if not isinstance(value, ExpertWeights) or (value.experts, value.n, value.k) != (old.experts, old.n, old.k):
                got = f"[{value.experts}, {value.n}, {value.k}]" if isinstance(value, ExpertWeights) else type(value).__name__
                raise ValueError(f"{type(self).__name__}: {name} must be octavo.types.ExpertWeights [{old.experts}, {old.n}, "
                                 f"{old.k}] (octavo.moe.pack_experts; load_state_dict takes codes); got {got}")
            self._pack(**{name: value})
        else:
            super().__setattr__(name, value)

    def __setstate__(self, state):
        super().__setstate__(state)
        self._pack(w13=self.w13, w2=self.w2)  # numbers of this process

    def _apply(self, fn, recurse=True):
        held = {name: vars(self)[name] for name in ("w13", "w2") if name in vars(self)}  # none before they are loaded
        if not held:
            return super()._apply(fn, recurse)
        like = fn(torch.empty(0, device=next(iter(held.values())).device))
        if why := device_refusal(like.device):
            raise NotImplementedError(f"{type(self).__name__}: device {why}")
        super()._apply(fn, recurse)
        self._pack(**{name: weights.to(like) for name, weights in held.items()})
        return self

    def forward(self, x: torch.Tensor, topk_weights: torch.Tensor, topk_ids: torch.Tensor,
                expert_map: torch.Tensor | None = None,
                apply_router_weight_on_input: bool = False) -> torch.Tensor:
        check_float("FusedMoE", "x.dtype", x.dtype)
        return call_fused_experts(autocast(x), topk_weights, topk_ids, self.bias13, self.bias2, expert_map, None,
                                  self._w13_handle, self._w2_handle, apply_router_weight_on_input, self.batch_invariant, None)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in ("w13", "w2"):
            codes, scale, _ = getattr(self, name).unpack(torch.empty(0, device="cpu"))
            destination[prefix + name] = codes
            if scale is not None:
                destination[f"{prefix}{name}_scale"] = scale
            rule = getattr(self, name).activation
            if rule and rule["static_scale"]:
                destination[f"{prefix}{name}_input_scale"] = torch.tensor(rule["static_scale"], dtype=torch.float32,
                                                                          device=codes.device)
            if rule and rule["rotation"]:
                destination[f"{prefix}{name}_rotation"] = torch.tensor(rule["rotation"], dtype=torch.int32, device=codes.device)
        self._share_in_states(destination, prefix)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected,
                              errors):
        taken: list[str] = []
        for name in ("w13", "w2"):
            old = getattr(self, name)
            scaled = old.experts > 0 and old[0].unpack(torch.empty(0, device="cpu")).scale is not None
            names = {name: True, f"{name}_scale": scaled,
                     f"{name}_input_scale": bool(old.activation and old.activation["static_scale"]),
                     f"{name}_rotation": bool(old.activation and old.activation["rotation"])}
            given = {key: state_dict[prefix + key] for key in names if prefix + key in state_dict}
            given = brought(given, torch.device(old.device), local_metadata)
            if not old.activation:
                given.pop(f"{name}_input_scale", None)  # no activations to quantise: unexpected
                given.pop(f"{name}_rotation", None)
            if strict:
                missing.extend(prefix + key for key, wanted in names.items() if wanted and key not in given)
            if name in given and (f"{name}_scale" in given or not scaled):
                self._load(name, old, *(given.get(key) for key in names), prefix, errors)
            elif given:
                errors.append(f"{prefix}{name} must come with {prefix}{name}_scale; got {', '.join(given)} alone")
            taken += given
        self._load_others(taken, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)

    def _load(self, name, old, codes, scale, input_scale, rotation, prefix, errors):
        shape = (old.experts, old.n, old.k)
        if tuple(codes.shape) != shape:
            errors.append(size_mismatch(prefix + name, codes.shape, shape))
            return
        if str(codes.dtype) != f"torch.{old.dtype}":
            errors.append(f"{prefix}{name} must be {old.dtype}; got {codes.dtype}")
            return
        rule = {**(old.activation or {}), **_static(input_scale)}
        if rule:
            rule["rotation"] = 0 if rotation is None else int(rotation)
        try:
            packed = pack_experts(codes, UNDEFINED if scale is None else scale, granularity=old.granularity, **rule)
        except ValueError as error:
            errors.append(f"{prefix}{name}_scale must fit the codes ({error})")
            return
        self._pack(**{name: packed})

    def extra_repr(self) -> str:
        return (f"experts={self.w13.experts}, hidden={self.w13.k}, inner={self.w2.k}, dtype={self.w13.dtype}, "
                f"granularity={self.w13.granularity}, bias={self.bias13 is not None}")


def quantized_experts(weight: torch.Tensor, scheme: str) -> tuple[ExpertWeights, list[Weight]]:
    """Experts [E, N, K] in one of SCHEMES: packed, and each in canonical form."""
    granularity, rule = SCHEMES[scheme]
    made = [_octavo.quantize_weight(expert, scheme) for expert in weight.detach()]
    codes = torch.stack([from_numpy(one.quantized.data) for one in made])
    scales = torch.stack([from_numpy(one.quantized.scale) for one in made])
    return pack_experts(codes.to(weight.device), scales.to(weight.device), granularity=granularity, **rule), made
