# SPDX-License-Identifier: Apache-2.0
"""Linear layers in 8 bits.

A layer made like torch.nn.Linear holds a float weight that trains: each forward pass quantises it, and
gradients go straight through the quantisers. `freeze()` (or quantize_) drops the float weight for packed
8-bit codes: a quarter of the memory, and the fastest forward pass; `from_quantized` and `from_weight`
make a frozen layer of a checkpoint's tensors. In eval mode a layer with a float weight packs it once for
each version of it.
"""

from typing import Any, Literal, Sequence

import torch
from typing_extensions import Self

from .. import _octavo
from .._deprecated import moved
from .._octavo import Quantized, Weight
from .layers._float_again import like
from .layers._layer import EightBitModule, as_rows, autocast, brought, check_float, size_mismatch
from .layers._quantized_linear import QuantizedLinear
from .layers._schemes import SCHEMES
from .moe import FusedMoE, fused_topk
from .operators import _int8
from .operators import _routes
from .operators._library import first_order
from .operators._straight_through import QMAX, quantize, straight_through_mm

__all__ = ["BlockFp8Linear", "CheckpointLinear", "Fp8Linear", "Fp8WeightOnlyLinear", "FusedMoE", "GroupedLinear", "Int8Linear",
           "Int8WeightOnlyLinear", "LLMInt8Linear", "MxFp8Linear", "QatLinear", "fused_topk", "set_scales"]


class Int8Linear(QuantizedLinear):
    """int8 weights per output channel, int8 activations per token.

    activation: "token", or "tensor" for one scale over the batch. azp: activations with zero points
    (frozen layers). rotation: activations and the weight's rows are rotated in blocks of 16, 64 or 256 before they are quantised;
    0: they are not.

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.Int8Linear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "int8-dynamic"
    _loads_static = ("input_scale", "input_zero_point")

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: torch.dtype | None = None, activation: str = "token", azp: bool = False, rotation: int = 0) -> None:
        super().__init__(in_features, out_features, bias, device, dtype, activation=activation, azp=azp, rotation=rotation)

    def _configure(self, activation="token", azp=False, rotation=0):
        self._check_rotation(rotation)
        self._rule = {**SCHEMES[self.scheme].rule(activation, rotation), "azp": azp}

    @classmethod
    def from_quantized(cls, weight: torch.Tensor, weight_scale: torch.Tensor,
                       bias: torch.Tensor | None = None, *, input_scale: torch.Tensor | None = None,
                       input_zero_point: torch.Tensor | None = None, azp: bool = False,
                       activation: str = "token", logical_widths: Sequence[int] | None = None,
                       dtype: torch.dtype = torch.bfloat16) -> Self:
        """A frozen layer of a checkpoint's tensors.

        Args:
            weight: int8 codes [N, K].
            weight_scale: one element, one for each shard, or [N] or [N, 1].
            bias: [N], a float type.
            input_scale, input_zero_point: static activations; one element, or one for each shard.
            azp: dynamic activations with zero points.
            activation: dynamic activations' scales: "token" or "tensor".
            logical_widths: rows of each fused layer (query, key, value), 0 included; each row keeps
                its shard's scale.
            dtype: what quantised activations give.

        Raises:
            ValueError: an argument breaks a rule; the sentence names both.
        """
        return cls._from_tensors(weight, weight_scale, bias, dtype, input_scale=input_scale,
                                 input_zero_point=input_zero_point, azp=azp, activation=activation,
                                 logical_widths=logical_widths or ())


class Fp8Linear(QuantizedLinear):
    """e4m3fn weights per output channel and activations per token.

    activation: "token", or "tensor" for one scale over the batch. input_scale_ub: upper bound of |x|. rotation: as Int8Linear's.

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.Fp8Linear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "fp8-dynamic"
    _loads_static = ("input_scale",)

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: torch.dtype | None = None, activation: str = "token", rotation: int = 0) -> None:
        super().__init__(in_features, out_features, bias, device, dtype, activation=activation, rotation=rotation)

    def _configure(self, activation="token", rotation=0):
        self._check_rotation(rotation)
        self._rule = SCHEMES[self.scheme].rule(activation, rotation)

    @classmethod
    def from_quantized(cls, weight: torch.Tensor, weight_scale: torch.Tensor,
                       bias: torch.Tensor | None = None, *, input_scale: torch.Tensor | None = None,
                       input_scale_ub: float | None = None, activation: str = "token",
                       logical_widths: Sequence[int] | None = None, requantize: bool = False,
                       dtype: torch.dtype = torch.bfloat16) -> Self:
        """A frozen layer of a checkpoint's tensors: weight [N, K] of any fp8 type, whose type
        activations get, too. Arguments as Int8Linear.from_quantized, and

        Args:
            input_scale_ub: upper bound of |x| in dynamic scales.
            requantize: one scale for the whole weight, the largest of the shards': codes are made
                anew, which loses accuracy.
        """
        return cls._from_tensors(weight, weight_scale, bias, dtype, input_scale=input_scale,
                                 activation=activation, requantize=requantize,
                                 input_scale_ub=float("inf") if input_scale_ub is None else
                                 float(input_scale_ub),
                                 logical_widths=logical_widths or ())


class BlockFp8Linear(QuantizedLinear):
    """e4m3fn weights with a scale for each 128 x 128 block, activations for each token and group of 128
    (DeepSeek).

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.BlockFp8Linear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "fp8-block"

    @classmethod
    def from_quantized(cls, weight: torch.Tensor, weight_scale_inv: torch.Tensor,
                       bias: torch.Tensor | None = None, *, block: tuple[int, int] = (128, 128),
                       logical_widths: Sequence[int] | None = None,
                       dtype: torch.dtype = torch.bfloat16) -> Self:
        """A frozen layer of a checkpoint's tensors: weight [N, K] of an fp8 type, and
        weight_scale_inv [ceil(N/r), ceil(K/c)], multipliers despite their name. The blocks of fused
        layers (logical_widths) begin anew with each of them."""
        return cls._from_tensors(weight, weight_scale_inv, bias, dtype, block=block,
                                 logical_widths=logical_widths or ())

    def _grid(self, codes, scale):
        # Borders of fused layers cut blocks in halves, quarters, ...: the tallest cells that give as
        # many rows of scales.
        cell = int(self._rule["activation_granularity"].removeprefix("group"))
        halves = (cell >> i for i in range(cell.bit_length()))
        rows = next((r for r in halves if -(-codes.shape[0] // r) == scale.shape[0]), cell)
        return rows, cell


class Int8WeightOnlyLinear(QuantizedLinear):
    """int8 weights per output channel; activations are multiplied as they are (W8A16).

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.Int8WeightOnlyLinear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "int8-weight-only"


class Fp8WeightOnlyLinear(QuantizedLinear):
    """e4m3fn weights per output channel; activations are multiplied as they are (W8A16).

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.Fp8WeightOnlyLinear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "fp8-weight-only"


class MxFp8Linear(QuantizedLinear):
    """e4m3fn weights and activations with a power of two as scale for 32 elements along K (OCP MX 1.0).

    The power is the least that leaves no element above 448, as in the tools that write such files; octavo.quantizers.quantize_mxfp8 has
    OCP's own rule, which makes the largest of some groups smaller.

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.MxFp8Linear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "mxfp8"

    def _grid(self, codes, scale):
        return 1, 32


class CheckpointLinear(QuantizedLinear):
    """A frozen layer of whatever codes and scales a checkpoint has: weight-only ones, MX blocks, groups with zero points.

    Without an activation rule bfloat16, float16 and float32 activations meet 8-bit weights (W8A16). Made by `from_weight`.

    Example:
        >>> import torch, octavo.torch
        >>> import numpy
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(4, dtype=numpy.float32), "int8-weight-only")
        >>> octavo.torch.nn.CheckpointLinear.from_weight(weight)(torch.ones(1, 4)).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """

    scheme = "checkpoint"

    def __init__(self, *arguments: object, **options: object) -> None:
        raise ValueError("CheckpointLinear: layer must be made by from_weight; got a call of its class")

    @classmethod
    def from_weight(cls, weight: Weight, bias: torch.Tensor | None = None,
                    dtype: torch.dtype = torch.bfloat16) -> Self:
        """A frozen layer of an octavo.types.Weight of any scheme. dtype: of the float weight that it stands for."""
        return cls._from_weight(weight, bias, dtype)

    def _configure(self):
        self._rule = {}

    def _packed_of(self, values):
        old = self._packed.unpack(torch.empty(0, device="cpu")).T
        return _octavo.pack(like(old, self._turned(values)).T, **self._rule)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        zero_points = self.quantized_weight().azp
        if zero_points is not None:
            destination[prefix + "weight_zero_point"] = zero_points
            self._share_in_states(destination, prefix)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        own = {name: value for name, value in self.state_dict().items() if name != "bias"}
        given = {name: state_dict[prefix + name] for name in own if prefix + name in state_dict}
        given = brought(given, self.weight.device, local_metadata)
        self._load_others(own, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        if strict:
            missing.extend(prefix + name for name in own if name not in given)
        if given and (sentence := self._take(prefix, own, given)):
            errors.append(sentence)

    def _take(self, prefix, own, given):
        """Takes codes and scales; or leaves the layer as it was, and says why."""
        if lost := [name for name in own if name not in given]:
            return f"{prefix}{lost[0]} must come with the layer's other tensors; got {', '.join(given)} alone"
        for name, value in given.items():
            if value.shape != own[name].shape:
                return size_mismatch(prefix + name, value.shape, own[name].shape)
            if value.dtype != own[name].dtype:
                return f"{prefix}{name} must be {own[name].dtype}; got {value.dtype}"
        columns = given.get("columns")
        if columns is not None and not self._is_order(columns):
            return f"{prefix}columns must be the numbers 0 to {self.in_features - 1} (int64) in some order; got others"
        old = self.quantized_weight()
        made = Quantized(given["weight"], given["weight_scale"], given.get("weight_zero_point"), old.rows, old.cols)
        self._columns = columns
        rule = dict(self._rule)
        if "input_scale" in given:
            rule["static_scale"] = float(given["input_scale"])
        if "input_zero_point" in given:
            rule["static_azp"] = int(given["input_zero_point"])
        if "rotation" in given:
            rule["rotation"] = int(given["rotation"])
        self._rule = rule
        self._freeze(_octavo.pack(made.T, **rule), self.weight.dtype)
        return None


class LLMInt8Linear(QuantizedLinear):
    """LLM.int8(): int8 rows of the weight, float columns of the activations where |x| >= threshold.

    Like the other layers: a float weight that trains, or a frozen one of packed codes. weight_gradient:
    "int8", a product of codes by column (specification section 8), which is quantised: relative error 0.01
    on normal gradients, 0.2 on Cauchy ones; or "exact", of gradient and activations as they are. `octavo.bnb.nn.Linear8bitLt` has
    bitsandbytes' signature and state. `batch_invariant = True` makes outliers elements instead of
    columns.

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.LLMInt8Linear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    scheme = "llm-int8"

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: torch.dtype | None = None, threshold: float = 6.0, weight_gradient: str = "int8") -> None:
        super().__init__(in_features, out_features, bias, device, dtype, threshold=threshold,
                         weight_gradient=weight_gradient)

    def _configure(self, threshold=6.0, weight_gradient="int8"):
        if weight_gradient not in ("int8", "exact"):
            raise ValueError(f"LLMInt8Linear: weight_gradient must be \"int8\" or \"exact\"; got {weight_gradient!r}")
        self.weight_gradient = weight_gradient
        self._rule = {"activation": "int8", "llm_int8": True, "outlier_threshold": threshold}

    @property
    def threshold(self) -> float:
        """|x| >= threshold keeps a column in float; 0: none."""
        return self._rule["outlier_threshold"]

    def set_outlier_columns(self, columns: torch.Tensor | None, threshold: float = 0.0) -> None:
        """Columns (int64, ascending) that are multiplied in float whatever they hold; others only where
        they have an element of `threshold` and more, with 0 none."""
        self._rule = {**self._rule, "outlier_columns": columns, "outlier_threshold": threshold}
        self._cached = None
        if self._shared is not None:
            self._keep(_octavo.pack(self.quantized_weight().T, **self._rule))
            self._show_weight(self._dtype)
        elif self.frozen:
            self._keep(self._packed.with_llm_int8(threshold, outlier_columns=columns))

    def use_calibration(self, input_scale: float, outlier_columns: Sequence[int], threshold: float) -> None:
        """Outlier columns that stay in float whatever they hold, beside those that reach the threshold."""
        columns = torch.tensor(outlier_columns, dtype=torch.int64) if outlier_columns else None
        self.set_outlier_columns(columns, threshold)

    def _training_forward(self, x):
        codes, absmax, _ = _int8.vectorwise_quant(self.weight.detach())
        return _int8.linear(x, self.weight, codes, absmax, self.bias, self.threshold, False,
                            self._rule.get("outlier_columns"), None, self.batch_invariant,
                            self.weight_gradient == "exact")


class QatLinear(EightBitModule, torch.nn.Linear):
    """A linear layer whose weight and activations are int8 (or fp8) with learned scales.

    Quantisation-aware training by learned step sizes (LSQ, Esser et al., arXiv 1902.08153):
    `x_scale` [1, 1] and `w_scale` [out_features, 1] are parameters beside weight and bias, set by the
    first batch that has an element that is finite and not zero to 2 mean|v| / sqrt(qmax) of finite ones;
    `scales_set` says whether that was seen. Every forward pass multiplies codes. In a process group of several
    ranks the first batch would be another one on each: there `set_scales` comes first, and a layer without it
    raises RuntimeError.

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.QatLinear(128, 256)
        >>> layer(torch.randn(2, 128)).shape
        torch.Size([2, 256])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 code: torch.dtype = torch.int8, device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        check_float("QatLinear", "dtype", dtype)
        super().__init__(in_features, out_features, bias, device, dtype)
        if code not in QMAX:
            raise ValueError(f"QatLinear: code must be one of {tuple(QMAX)}; got {code}")
        self.code = code
        self.x_scale = torch.nn.Parameter(torch.ones((1, 1), device=device, dtype=torch.float32))
        self.w_scale = torch.nn.Parameter(torch.ones((out_features, 1), device=device, dtype=torch.float32))
        self.register_buffer("scales_set", torch.tensor(False, device=device))
        self._sets_scales = False  # while set_scales runs

    @torch.no_grad()
    def _set_scales(self, rows):
        # Of finite elements: a scale that is NaN would stay so for good, and so would one of nothing but zeros.
        factor = 2 * QMAX[self.code] ** -0.5
        magnitude = _mean_magnitude(rows, (0, 1))
        self.w_scale.copy_(_mean_magnitude(self.weight, 1).clamp_min(1e-8) * factor)
        if magnitude > 0:
            self.x_scale.copy_(magnitude.clamp_min(1e-8) * factor)
            self.scales_set.fill_(True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_float("QatLinear", "x.dtype", x.dtype)
        x = autocast(x)
        rows = as_rows(x)
        if not self.scales_set:
            if not self._sets_scales:
                _refuse_several_ranks()
            self._set_scales(rows)
        x_codes, x_scale = quantize(rows.detach(), self.x_scale.detach(), self.code, "tensor")
        w_codes, w_scale = quantize(self.weight.detach(), self.w_scale.detach(), self.code, "token")
        y = straight_through_mm(rows, self.weight, x_codes, x_scale, "tensor", w_codes, w_scale,
                                "channel", self.bias, self.x_scale, self.w_scale)
        if self.code is torch.int8:  # codes of a given scale cannot show what is not finite
            y = y * _nan_where_not_finite(rows, y.dtype).unsqueeze(1) * _nan_where_not_finite(self.weight, y.dtype)
        return y.reshape(*x.shape[:-1], self.out_features)


def _refuse_several_ranks():
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        raise RuntimeError("QatLinear: scales must be set before several ranks train the layer (octavo.torch.nn.set_scales(model, batch) before the "
                           f"model is wrapped); got none on rank {distributed.get_rank()} of {distributed.get_world_size()}")


def set_scales(model: torch.nn.Module, *inputs: Any, **named_inputs: Any) -> list[str]:
    """Sets the scales of a model's QatLinear layers by one batch, as their first forward pass does.

    In a process group each rank calls it before DistributedDataParallel, which takes rank 0's scales, or fully_shard, for
    which all ranks bring the same batch. Layers that have scales keep them.

    Args:
        model: of any class; it is called once, without gradients.
        inputs, named_inputs: what it is called with.

    Returns:
        The names of layers that have none still: the batch did not come to them, or was zero there.

    Example:
        >>> import torch, octavo.torch
        >>> model = torch.nn.Sequential(octavo.torch.nn.QatLinear(8, 4))
        >>> octavo.torch.nn.set_scales(model, torch.randn(2, 8))
        []
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, QatLinear)}
    try:
        for layer in layers.values():
            layer._sets_scales = True
        with torch.no_grad():
            model(*inputs, **named_inputs)
    finally:
        for layer in layers.values():
            layer._sets_scales = False
    return [name for name, layer in layers.items() if not layer.scales_set]


def _mean_magnitude(x, dim):
    magnitude = x.float().abs()
    finite = magnitude.isfinite()
    total = torch.where(finite, magnitude, 0.0).sum(dim, keepdim=True, dtype=torch.float64)  # which does not overflow
    return total / finite.sum(dim, keepdim=True).clamp_min(1)


def _nan_where_not_finite(rows, dtype):
    """A factor for each row: NaN where an element of it is NaN or infinite, else 1. Gradients get it, too."""
    return torch.where(rows.detach().isfinite().all(1), 1.0, torch.nan).to(dtype)


class GroupedLinear(EightBitModule):
    """One linear layer for each of G groups of rows (mixture of experts), in fp8 or int8.

    forward(x [M, in_features], offs [G]): offs are the cumulative ends of the groups' rows (int32 or
    int64), which may be empty; rows past the last one give zeros. The weight [G, out, in] trains:
    gradients go straight through the quantisers.

    Example:
        >>> import torch, octavo.torch
        >>> layer = octavo.torch.nn.GroupedLinear(2, 32, 16)
        >>> layer(torch.randn(5, 32), torch.tensor([2, 5], dtype=torch.int32)).shape
        torch.Size([5, 16])
    """

    def __init__(self, groups: int, in_features: int, out_features: int, bias: bool = True,
                 scheme: Literal["fp8-dynamic", "int8-dynamic"] = "fp8-dynamic", device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__()
        check_float("GroupedLinear", "dtype", dtype)
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
        """Makes weight and bias anew, as torch.nn.Linear does."""
        bound = self.in_features ** -0.5 if self.in_features > 0 else 0.0
        torch.nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            torch.nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
        check_float("GroupedLinear", "x.dtype", x.dtype)
        return _GroupedProduct.apply(autocast(x), self.weight, self.bias, offs, SCHEMES[self.scheme].dtype)

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
        return _routes.grouped_mm(x_codes, w_codes.transpose(1, 2), offs, bias=bias, out_dtype=x.dtype,
                                  scale_a=x_scale.view(-1), scale_b=w_scale)

    @staticmethod
    def backward(ctx, grad):
        x_codes, x_scale, w_codes, w_scale, bias, offs = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3]) + [False] * 6
        found = iter(_octavo.grouped_mm_vjp(grad, wanted, (ctx.dtype, False, True), x_codes,
                                            w_codes.transpose(1, 2), offs, bias=bias,
                                            out_dtype=ctx.dtype, scale_a=x_scale.view(-1), scale_b=w_scale))
        dx, dw, db = (next(found) if want else None for want in wanted[:3])
        dx, dw, db = first_order("GroupedLinear", (grad,), (dx, dw, db))
        return dx, None if dw is None else dw.transpose(1, 2), db, None, None


# Names of before, until 1.0.
__getattr__ = moved(__name__, {"Linear8bitLt": "octavo.torch.nn.LLMInt8Linear"})
