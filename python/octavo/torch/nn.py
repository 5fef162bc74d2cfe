# SPDX-License-Identifier: Apache-2.0
"""Linear layers in 8 bits.

A layer made like torch.nn.Linear holds a float weight that trains: each forward pass quantises it, and
gradients go straight through the quantisers. `freeze()` (or quantize_) drops the float weight for packed
8-bit codes: a quarter of the memory, and the fastest forward pass. In eval mode a layer with a
float weight packs it once for each version of it.
"""

from typing import Any

import torch
from typing_extensions import Self

from .. import _octavo
from .._explain import explain
from .._octavo import Explanation, Quantized, Weight, _restore_weight
from ._grouped import grouped_mm as _grouped_operator
from ._linear import handle_of
from ._linear import linear as _linear_operator
from ._schemes import SCHEMES
from ._straight_through import QMAX, quantize, straight_through_mm
from ._weight import QuantizedWeight
from .moe import FusedMoE, fused_topk

__all__ = ["Fp8Linear", "FusedMoE", "GroupedLinear", "Int8Linear", "Linear8bitLt", "QatLinear", "fused_topk"]


class _QuantizedLinear(torch.nn.Module):
    """y = x W^T + bias with W [out_features, in_features] in 8 bits; x bfloat16, float16 or float32."""

    scheme: str | None = None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self._start()
        self.weight = torch.nn.Parameter(
            torch.empty((out_features, in_features), device=device, dtype=dtype))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _start(self):
        self.frozen = False  # whether the float weight is gone
        self._packed = None  # codes and scales for kernels
        self._packed_version = None  # of the float weight that was packed

    # As torch.nn.Linear: uniform in +-1/sqrt(in_features).
    reset_parameters = torch.nn.Linear.reset_parameters

    @classmethod
    def from_float(cls, linear: torch.nn.Linear, freeze: bool = True,
                   quantized: Weight | None = None, **options: Any) -> Self:
        """The quantised form of a torch.nn.Linear; its parameters are shared, not copied.

        freeze: drop the float weight (inference, or fine-tuning around a constant weight).
        quantized: the octavo.Weight of linear.weight, where there is one already.
        """
        layer = cls.__new__(cls)
        torch.nn.Module.__init__(layer)
        layer.in_features = linear.in_features
        layer.out_features = linear.out_features
        layer._start()
        layer.weight = linear.weight
        layer.bias = linear.bias
        layer.training = linear.training
        layer._configure(**options)
        return layer.freeze(quantized) if freeze else layer

    def _configure(self):
        """Takes the options of from_float; there are none."""

    def freeze(self, quantized: Weight | None = None) -> Self:
        """Packs the weight and drops its float form. Returns self."""
        if not self.frozen:
            self._freeze(quantized or self._quantized_weight(), self.weight.dtype)
        return self

    def _freeze(self, quantized, dtype):
        self._pack(quantized)
        self._parameters.pop("weight", None)
        self.frozen = True
        self._show_weight(dtype)

    def _show_weight(self, dtype):
        object.__setattr__(self, "weight", QuantizedWeight(self._packed, dtype))

    def _quantized_weight(self):
        return _octavo.quantize_weight(self.weight.detach(), self.scheme)

    def _pack(self, weight):
        self._packed = self._pack_weight(weight)
        self._handle = handle_of(self._packed)

    def _pack_weight(self, weight):
        return weight.pack()

    def __getstate__(self):
        state = self.__dict__.copy()
        if self.frozen:
            state["weight"] = self.weight.dtype
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if self._packed is not None:
            self._handle = handle_of(self._packed)  # of this process
        if self.frozen:
            self._show_weight(self.__dict__["weight"])

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if self.frozen:
            like = fn(torch.empty(0, dtype=self.weight.dtype))
            if like.device.type != "cpu":
                raise NotImplementedError(f"{type(self).__name__}: device must be cpu (no CUDA backend is "
                                          f"built); got {like.device}")
            self._show_weight(like.dtype)
        return self

    def train(self, mode=True):
        if not self.frozen:
            self._packed = None  # packed at the first forward pass without training
        return super().train(mode)

    def quantized_weight(self) -> Quantized:
        """Codes [out_features, in_features] and scales, as an octavo.Quantized of torch tensors."""
        packed = self._packed if self.frozen else self._quantized_weight().pack()
        return packed.unpack(torch.empty(0)).T

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.frozen:
            return self._packed_forward(x)
        differentiable = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        # What changes a weight through `.data` leaves its version alone: only layers in eval mode keep
        # it packed. A version counter is no part of a compiled graph, either.
        if self.training or differentiable or torch.compiler.is_compiling():
            return self._training_forward(x)
        if self._packed is None or self._packed_version != self.weight._version:
            self._pack(self._quantized_weight())
            self._packed_version = self.weight._version
        return self._packed_forward(x)

    def _packed_forward(self, x):
        return _linear_operator(x, self.bias, None, self._handle, self.out_features, None)

    def _training_forward(self, x):
        scheme = SCHEMES[self.scheme]
        rows = x.reshape(-1, self.in_features)
        x_codes, x_scale = quantize(rows.detach(), None, scheme.dtype, scheme.activation)
        w_codes, w_scale = quantize(self.weight.detach(), None, scheme.dtype, scheme.weight)
        y = straight_through_mm(rows, self.weight, x_codes, x_scale, scheme.activation, w_codes,
                                w_scale, scheme.weight_kn, self.bias, None, None)
        return y.reshape(*x.shape[:-1], self.out_features)

    def explain(self, x: torch.Tensor) -> Explanation:
        """What runs a frozen layer's product for activations like x, and why: octavo.Explanation."""
        if self._packed is None:
            raise ValueError(f"{type(self).__name__}.explain: the layer must be frozen or in eval mode and have "
                             "run; got a layer without a packed weight")
        return explain(x, self._packed)

    # A frozen layer's state has codes and scales under the names of compressed-tensors.
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.frozen:
            q = self.quantized_weight()
            destination[prefix + "weight"] = q.data
            destination[prefix + "weight_scale"] = q.scale

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected,
                              errors):
        codes = state_dict.get(prefix + "weight")
        scale = state_dict.pop(prefix + "weight_scale", None)
        if scale is None:
            if self.frozen and codes is not None:
                errors.append(f"{prefix}weight must come with {prefix}weight_scale (the layer is "
                              "frozen); got a float weight")
                return
            super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing,
                                          unexpected, errors)
            return
        rest = {name: value for name, value in state_dict.items() if name != prefix + "weight"}
        self._freeze(self._restored(codes, scale), self.weight.dtype)
        super()._load_from_state_dict(rest, prefix, local_metadata, strict, missing, unexpected,
                                      errors)

    def _restored(self, codes, scale):
        """The octavo.Weight of a state's codes and scales."""
        rows, cols = (128, 128) if self.scheme == "fp8-block" else (1, 0)
        return _restore_weight(Quantized(codes, scale, None, rows, cols), self.scheme)

    def extra_repr(self):
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}, scheme={self.scheme}, frozen={self.frozen}")


class Int8Linear(_QuantizedLinear):
    """int8 weights per output channel, int8 activations per token."""

    scheme = "int8-dynamic"


class Fp8Linear(_QuantizedLinear):
    """e4m3fn weights per output channel and activations per token; block=True: DeepSeek's 128 x 128
    blocks of the weight, groups of 128 of the activations."""

    scheme = "fp8-dynamic"

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: torch.dtype | None = None, block: bool = False) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self._configure(block)

    def _configure(self, block=False):
        self.scheme = "fp8-block" if block else "fp8-dynamic"


class Linear8bitLt(_QuantizedLinear):
    """LLM.int8(): int8 rows of the weight, float columns of the activations where |x| >= threshold.

    The signature follows bitsandbytes. The layer is made frozen from a torch.nn.Linear
    (`from_float`), or quantises its weight at the first forward pass without gradients. Gradients go
    to x and bias of a frozen layer; training the weight itself by LLM.int8() is not supported yet
    (has_fp16_weights=True is refused).
    """

    scheme = "llm-int8"

    def __init__(self, input_features: int, output_features: int, bias: bool = True,
                 has_fp16_weights: bool = False, threshold: float = 6.0, device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        if has_fp16_weights:
            raise NotImplementedError(
                "Linear8bitLt: has_fp16_weights must be False (LLM.int8()'s gradient of the weight is "
                "not built yet; Int8Linear trains in int8); got True")
        super().__init__(input_features, output_features, bias, device, dtype)
        self._configure(threshold)

    def _configure(self, threshold=6.0):
        self.threshold = threshold

    def _pack_weight(self, weight):
        return _octavo.pack(weight.quantized.T, activation="int8", llm_int8=True,
                            outlier_threshold=self.threshold)

    def _training_forward(self, x):
        if self.weight.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError(
                "Linear8bitLt: weight must be frozen where gradients are needed (layer.freeze()); got "
                "a weight that trains")
        self._pack(self._quantized_weight())
        return self._packed_forward(x)


class QatLinear(torch.nn.Linear):
    """A linear layer whose weight and activations are int8 (or fp8) with learned scales.

    Quantisation-aware training by learned step sizes (LSQ, Esser et al., arXiv 1902.08153):
    `x_scale` [1, 1] and `w_scale` [out_features, 1] are parameters beside weight and bias, set by the
    first batch to 2 mean|v| / sqrt(qmax). Every forward pass multiplies codes.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 code: torch.dtype = torch.int8, device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        if code not in QMAX:
            raise ValueError(f"QatLinear: code must be one of {tuple(QMAX)}; got {code}")
        self.code = code
        self.x_scale = torch.nn.Parameter(torch.ones((1, 1), device=device))
        self.w_scale = torch.nn.Parameter(torch.ones((out_features, 1), device=device))
        self.register_buffer("scales_set", torch.tensor(False, device=device))

    @torch.no_grad()
    def _set_scales(self, rows):
        factor = 2 * QMAX[self.code] ** -0.5
        self.x_scale.copy_(rows.float().abs().mean().clamp_min(1e-8) * factor)
        self.w_scale.copy_(self.weight.float().abs().mean(1, keepdim=True).clamp_min(1e-8) * factor)
        self.scales_set.fill_(True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, self.in_features)
        if not self.scales_set:
            self._set_scales(rows)
        x_codes, x_scale = quantize(rows.detach(), self.x_scale.detach(), self.code, "tensor")
        w_codes, w_scale = quantize(self.weight.detach(), self.w_scale.detach(), self.code, "token")
        y = straight_through_mm(rows, self.weight, x_codes, x_scale, "tensor", w_codes, w_scale,
                                "channel", self.bias, self.x_scale, self.w_scale)
        return y.reshape(*x.shape[:-1], self.out_features)


class GroupedLinear(torch.nn.Module):
    """One linear layer for each of G groups of rows (mixture of experts), in fp8 or int8.

    forward(x [M, in_features], offs [G]): offs are the cumulative ends of the groups' rows (int32 or
    int64), which may be empty; rows past the last one give zeros. The weight [G, out, in] trains:
    gradients go straight through the quantisers.
    """

    def __init__(self, groups: int, in_features: int, out_features: int, bias: bool = True,
                 scheme: str = "fp8-dynamic", device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__()
        if scheme not in ("fp8-dynamic", "int8-dynamic"):
            raise ValueError("GroupedLinear: scheme must be fp8-dynamic or int8-dynamic; got "
                             f"{scheme!r}")
        self.groups = groups
        self.in_features = in_features
        self.out_features = out_features
        self.scheme = scheme
        shape = (groups, out_features, in_features)
        self.weight = torch.nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(shape[:2], device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        bound = self.in_features ** -0.5 if self.in_features > 0 else 0.0
        torch.nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            torch.nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
        return _GroupedProduct.apply(x, self.weight, self.bias, offs, SCHEMES[self.scheme].dtype)

    def extra_repr(self):
        return (f"groups={self.groups}, in_features={self.in_features}, "
                f"out_features={self.out_features}, bias={self.bias is not None}, "
                f"scheme={self.scheme}")


class _GroupedProduct(torch.autograd.Function):
    """Quantised rows by quantised experts; gradients of the dequantised values."""

    @staticmethod
    def forward(ctx, x, weight, bias, offs, dtype):
        groups, n, k = weight.shape
        x_codes, x_scale = quantize(x, None, dtype, "token")
        w_codes, w_scale = quantize(weight.reshape(groups * n, k), None, dtype, "token")
        w_codes, w_scale = w_codes.view(groups, n, k), w_scale.view(groups, n)
        ctx.save_for_backward(x_codes, x_scale, w_codes, w_scale, bias, offs)
        ctx.dtype = x.dtype
        return _grouped_operator(x_codes, w_codes.transpose(1, 2), offs, bias, x_scale.view(-1),
                                 w_scale, None, None, None, None, x.dtype, None, None, False, None)

    @staticmethod
    def backward(ctx, grad):
        x_codes, x_scale, w_codes, w_scale, bias, offs = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3]) + [False] * 6
        found = iter(_octavo.grouped_mm_vjp(grad, wanted, (ctx.dtype, False, True), x_codes,
                                            w_codes.transpose(1, 2), offs, bias, ctx.dtype,
                                            scale_a=x_scale.view(-1), scale_b=w_scale))
        dx, dw, db = (next(found) if want else None for want in wanted[:3])
        return dx, None if dw is None else dw.transpose(1, 2), db, None, None
