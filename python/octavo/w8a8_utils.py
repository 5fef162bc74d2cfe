# SPDX-License-Identifier: Apache-2.0
"""vLLM's w8a8_utils by its own names, on Octavo's kernels.

Code written against `vllm.model_executor.layers.quantization.utils.w8a8_utils` runs with its import
changed. Every function keeps its parameters; what vLLM computes wrongly is right here
(docs/known-wrong.md, specification sections 6 and 7). PyTorch is needed, a GPU is not.

Which backend function runs makes no difference: all of them are octavo.scaled_mm. A scale's shape says
what it means. Of activations [M, K]: one element per tensor, [M] or [M, 1] per token,
[M, ceil(K / 128)] per group of 128 (with group_size, any scale of two dimensions is per group of
so many). Of a weight, in the order [N, K] of its storage: one element, [N] or
[N, 1] per channel, [ceil(N / 128), ceil(K / 128)] per block of 128 x 128. Sizes need not be multiples of
anything; fp8 types may be mixed.
"""

import math
from typing import Any, Callable, ClassVar, NamedTuple, Optional, Sequence, Union

import torch

from . import _octavo
from ._octavo import PackedWeight, backends
from ._taking import kinded, taking
from .torch.operators import _straight_through, _w8a8
from .torch.operators._dtypes import FLOAT8, FLOAT8_MAX
from .torch.operators._library import WIDE
from .torch.operators._w8a8 import azp_product, product

__all__ = [
    "CUTLASS_BLOCK_FP8_SUPPORTED", "CUTLASS_FP8_SUPPORTED", "Fp8LinearOp", "GroupShape", "QuantFP8",
    "TORCH_DEVICE_IDENTITY", "USE_ROWWISE_TORCH_SCALED_MM", "all_close_1d", "convert_to_channelwise",
    "cutlass_block_fp8_supported", "cutlass_fp8_supported", "cutlass_group_gemm_supported",
    "cutlass_scaled_mm_azp", "cutlass_w8a8_scaled_mm", "dispatch_w8a8_scaled_mm", "flashinfer_w8a8_scaled_mm",
    "maybe_create_device_identity", "normalize_e4m3fn_to_e4m3fnuz", "per_tensor_dequantize",
    "requantize_with_max_scale", "rocm_per_tensor_w8a8_scaled_mm", "rocm_per_tensor_w8a8_scaled_mm_fake",
    "rocm_per_tensor_w8a8_scaled_mm_impl", "sparse_cutlass_supported", "torch_channelwise_w8a8_scaled_mm",
    "torch_per_tensor_w8a8_scaled_mm", "torch_per_token_w8a8_scaled_mm",
]

Tensor = torch.Tensor
_Weight = Union[Tensor, PackedWeight]

# ---- what is built ----------------------------------------------------------------------------------


def cutlass_fp8_supported() -> bool:
    """Whether Octavo has fp8 kernels for a GPU that is here: from what is built, without touching CUDA.

    False in a build for CPUs, whose products run on the CPU's kernels.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> type(w8a8.cutlass_fp8_supported())
        <class 'bool'>
    """
    return _octavo.cutlass_fp8_supported()


def cutlass_block_fp8_supported() -> bool:
    """The same for scales per block. False in a build for CPUs."""
    return _octavo.cutlass_block_fp8_supported()


def cutlass_group_gemm_supported() -> bool:
    """The same for grouped products. False in a build for CPUs."""
    return _octavo.cutlass_group_gemm_supported()


def sparse_cutlass_supported() -> bool:
    """The same for sparse products: False, for Octavo has none."""
    return _octavo.sparse_cutlass_supported()


CUTLASS_FP8_SUPPORTED: bool = cutlass_fp8_supported()
CUTLASS_BLOCK_FP8_SUPPORTED: bool = cutlass_block_fp8_supported()

# Whether products of neither kind of per-tensor scales go to torch_per_token_w8a8_scaled_mm.
USE_ROWWISE_TORCH_SCALED_MM: bool = any(b.usable and b.name.startswith("rocm") for b in backends())

# A scale of one, once maybe_create_device_identity has been called. Nothing of Octavo's needs it.
TORCH_DEVICE_IDENTITY: Optional[Tensor] = None


def maybe_create_device_identity() -> None:
    """Makes TORCH_DEVICE_IDENTITY, a float32 tensor [1] of 1, unless it is there.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> w8a8.maybe_create_device_identity()
        >>> w8a8.TORCH_DEVICE_IDENTITY.tolist()
        [1.0]
    """
    global TORCH_DEVICE_IDENTITY
    if TORCH_DEVICE_IDENTITY is None:
        TORCH_DEVICE_IDENTITY = torch.ones(1, dtype=torch.float32)


# ---- scales of fused weights ------------------------------------------------------------------------


@taking()
def convert_to_channelwise(weight_scale: Tensor, logical_widths: Sequence[int]) -> Tensor:
    """The scale of each shard of a fused weight, repeated over the shard's rows: float32 [N, 1].

    Nothing is lost, unlike in requantize_with_max_scale, whose rules for scales hold here, too.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> w8a8.convert_to_channelwise(torch.tensor([0.5, 2.0]), [1, 2]).tolist()
        [[0.5], [2.0], [2.0]]
    """
    return _octavo.convert_to_channelwise(weight_scale.detach(), list(logical_widths))


@taking()
def requantize_with_max_scale(weight: Tensor, weight_scale: Tensor, logical_widths: Sequence[int], *,
                              in_place: bool = False) -> tuple[Tensor, Tensor]:
    """(scale, weight): a fused fp8 weight [N, K] with the largest of its shards' scales alone.

    Args:
        weight_scale: one scale for each shard, [S] or [S, 1], or one for all. A scale that was never
            loaded is torch.finfo(torch.float32).min. Where exactly one of several was loaded, the
            checkpoint was fused: the weight keeps its bits.
        logical_widths: the shards' rows. Shards of width 0 need no scale.
        in_place: rewrite `weight`'s memory, as vLLM does, instead of making a new weight.

    Codes become cast(code * scale / largest) in float32; NaN stays NaN.

    Raises:
        ValueError: scales that are missing, negative, infinite or NaN.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> weight = torch.ones(3, 2).to(torch.float8_e4m3fn)
        >>> scale, same = w8a8.requantize_with_max_scale(weight, torch.tensor([1.0, 2.0]), [1, 2])
        >>> scale.item(), same.float().tolist()
        (2.0, [[0.5, 0.5], [1.0, 1.0], [1.0, 1.0]])
    """
    scale, codes = _octavo.requantize_with_max_scale(weight.detach(), weight_scale.detach(),
                                                     list(logical_widths), in_place)
    return scale, weight if in_place else codes


@taking()
def per_tensor_dequantize(tensor: Tensor, inv_scale: Union[float, Tensor]) -> Tensor:
    """tensor * inv_scale as float16, computed in float32 and converted once.

    The result is float16 whatever the rank of a scale of one element.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> w8a8.per_tensor_dequantize(torch.tensor([2, 4], dtype=torch.int8), 0.5).tolist()
        [1.0, 2.0]
    """
    if isinstance(inv_scale, Tensor):
        inv_scale = inv_scale.detach()
    return _octavo.per_tensor_dequantize(tensor.detach(), inv_scale)


@taking()
def all_close_1d(x: Tensor) -> bool:
    """Whether torch.allclose(x[0], x[i]) for every i; NaN is close to nothing.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> w8a8.all_close_1d(torch.tensor([1.0, 1.0])), w8a8.all_close_1d(torch.tensor([1.0, 2.0]))
        (True, False)
    """
    return _octavo.all_close_1d(x.detach())


@taking()
def normalize_e4m3fn_to_e4m3fnuz(
        weight: Tensor, weight_scale: Tensor,
        input_scale: Optional[Tensor] = None) -> tuple[Tensor, Tensor, Optional[Tensor]]:
    """The same values as e4m3fnuz codes: their bits, and twice the scales; NaN stays NaN, -0 becomes 0.

    All results are new tensors.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> weight, scale, _ = w8a8.normalize_e4m3fn_to_e4m3fnuz(torch.ones(1, 1).to(torch.float8_e4m3fn), torch.tensor(1.0))
        >>> weight.float().item(), scale.item()
        (0.5, 2.0)
    """
    return _octavo.normalize_e4m3fn_to_e4m3fnuz(
        weight.detach(), weight_scale.detach(), None if input_scale is None else input_scale.detach())


# ---- quantised activations --------------------------------------------------------------------------


class _GroupShape(NamedTuple):
    row: int
    col: int


class GroupShape(_GroupShape):
    """How many rows and columns of an activation share a scale; -1: all of them.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> w8a8.GroupShape.PER_TOKEN
        GroupShape(row=1, col=-1)
    """

    PER_TENSOR: ClassVar["GroupShape"]
    PER_TOKEN: ClassVar["GroupShape"]


GroupShape.PER_TENSOR = GroupShape(-1, -1)
GroupShape.PER_TOKEN = GroupShape(1, -1)

# The magnitudes that scales aim at; e4m3fnuz reaches 240, but vLLM keeps to 224.
_QMAX = {**FLOAT8_MAX, torch.float8_e4m3fnuz: 224.0}


class QuantFP8(torch.nn.Module):
    """Quantises activations [M, K] to fp8 by vLLM's rules; bit for bit octavo.quantize with its options.

    scale = max(absmax / qmax, least), qmax 448 (224 for e4m3fnuz), least 1 / (qmax * 512), for groups
    1e-10 / qmax; code = cast(x / scale) by the correctly rounded quotient. NaN stays NaN.

    Args:
        static: the caller gives the scale; else it is computed.
        group_shape: GroupShape.PER_TENSOR, GroupShape.PER_TOKEN or GroupShape(1, columns).
        num_token_padding: codes have at least so many rows; those past M are zero.
        dtype: of the codes.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> codes, scale = w8a8.QuantFP8(False, w8a8.GroupShape.PER_TOKEN)(torch.ones(2, 32))
        >>> codes.dtype, scale.shape
        (torch.float8_e4m3fn, torch.Size([2, 1]))
    """

    def __init__(self, static: bool, group_shape: GroupShape, num_token_padding: Optional[int] = None, *,
                 dtype: torch.dtype = torch.float8_e4m3fn) -> None:
        super().__init__()
        group_shape = GroupShape(*group_shape)
        row, col = group_shape
        if group_shape not in (GroupShape.PER_TENSOR, GroupShape.PER_TOKEN) and (row != 1 or col < 1):
            raise ValueError("QuantFP8: group_shape must be PER_TENSOR, PER_TOKEN or (1, columns); got "
                             f"({row}, {col})")
        if dtype not in _QMAX:
            raise ValueError(f"QuantFP8: dtype must be a float8 type; got {dtype}")
        self.static = static
        self.group_shape = group_shape
        self.num_token_padding = num_token_padding
        self.dtype = dtype
        if group_shape == GroupShape.PER_TENSOR:
            self._granularity = "tensor"
        else:
            self._granularity = "token" if group_shape == GroupShape.PER_TOKEN else f"group{col}"
        qmax = _QMAX[dtype]
        one = torch.ones((), dtype=torch.float32)
        least = one * 1e-10 / qmax if col > 0 else one / (qmax * 512)  # in float32
        # As text: torch.compile makes inputs of numbers, which may change, but takes text as it is.
        self._min_scale, self._qmax = repr(least.item()), repr(qmax)

    def forward(self, x: Tensor, scale: Optional[Tensor] = None,
                scale_ub: Optional[Tensor] = None) -> tuple[Tensor, Tensor]:
        """(codes, scale). scale: if and only if static, one element or the shape of the group shape.

        scale_ub: one element, the upper bound of absmax. The scale of codes is [1], [rows, 1] or
        [rows, ceil(K / columns)]; a static one comes back as given.
        """
        codes, scale = self._unpadded("QuantFP8", "", x, scale, scale_ub)
        missing = (self.num_token_padding or 0) - x.shape[0]
        if missing > 0:
            codes = torch.nn.functional.pad(codes.view(torch.uint8), (0, 0, 0, missing)).view(self.dtype)
            if not self.static and scale.dim() == 2:
                scale = torch.nn.functional.pad(scale, (0, 0, 0, missing), value=1.0)
        return codes, scale

    def _unpadded(self, operation, prefix, x, scale, scale_ub):
        if self.static and scale is None:
            raise ValueError(f"{operation}: {prefix}scale must be given where quantisation is static; got none")
        if not self.static and scale is not None:
            raise ValueError(f"{operation}: {prefix}scale must be undefined where quantisation is dynamic; got "
                             f"{list(scale.shape)}")
        if x.dim() != 2:
            raise ValueError(f"{operation}: x.shape must be 2-D; got {list(x.shape)}")
        if scale_ub is not None and scale_ub.numel() != 1:
            raise ValueError(f"{operation}: {prefix}scale_ub must have one element; got {list(scale_ub.shape)}")
        granularity = self._granularity
        if scale is not None and scale.numel() == 1:
            granularity = "tensor"
        codes, computed = _straight_through.quantize(
            x.detach(), None if scale is None else scale.detach(), self.dtype, granularity,
            None if scale_ub is None else scale_ub.detach(), float(self._min_scale), float(self._qmax))
        if self.dtype == torch.float8_e4m3fnuz:  # codes beyond it: static scales, bounds
            bits = codes.view(torch.uint8)
            codes = torch.where((bits & 0x7F) == 0x7F, bits - 1, bits).view(self.dtype)
        if scale is not None:
            return codes, scale
        return codes, computed.reshape(1) if granularity == "tensor" else computed

    def extra_repr(self) -> str:
        return f"static={self.static}, group_shape={tuple(self.group_shape)}, dtype={self.dtype}"


# ---- the backend functions --------------------------------------------------------------------------


@kinded(_w8a8.KINDS)
def cutlass_w8a8_scaled_mm(*, qinput: Tensor, weight: _Weight, out_dtype: torch.dtype, scale_a: Tensor,
                           scale_b: Tensor, bias: Optional[Tensor], output_shape: list,
                           group_size: Optional[int] = None, **kwargs: Any) -> Tensor:
    """octavo.scaled_mm of codes [M or more, K] and a weight [K, N], as `output_shape`.

    Every function of this family does the same: it takes rows past M off (the rows of input_2d, else what
    output_shape says), adds the bias before the one rounding, and returns `output_shape`.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> x, one = torch.ones(2, 32).to(torch.float8_e4m3fn), torch.tensor([1.0])
        >>> w8a8.cutlass_w8a8_scaled_mm(qinput=x, weight=x.t(), out_dtype=torch.bfloat16, scale_a=one, scale_b=one, bias=None,
        ...                             output_shape=[2, 2]).tolist()
        [[32.0, 32.0], [32.0, 32.0]]
    """
    return product("cutlass_w8a8_scaled_mm", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    kwargs.get("input_2d"), output_shape, group_size)


@kinded(_w8a8.KINDS)
def flashinfer_w8a8_scaled_mm(*, qinput: Tensor, weight: _Weight, out_dtype: torch.dtype, scale_a: Tensor,
                              scale_b: Tensor, bias: Optional[Tensor], output_shape: list,
                              group_size: Optional[int] = None, **kwargs: Any) -> Tensor:
    """See cutlass_w8a8_scaled_mm."""
    return product("flashinfer_w8a8_scaled_mm", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    kwargs.get("input_2d"), output_shape, group_size)


@kinded(_w8a8.KINDS)
def rocm_per_tensor_w8a8_scaled_mm(*, qinput: Tensor, weight: _Weight, out_dtype: torch.dtype,
                                   scale_a: Tensor, scale_b: Tensor, bias: Optional[Tensor],
                                   input_2d: Tensor, output_shape: list, group_size: Optional[int] = None) -> Tensor:
    """See cutlass_w8a8_scaled_mm."""
    return product("rocm_per_tensor_w8a8_scaled_mm", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    input_2d, output_shape, group_size)


@kinded(_w8a8.KINDS)
def torch_per_tensor_w8a8_scaled_mm(*, qinput: Tensor, weight: _Weight, out_dtype: torch.dtype,
                                    scale_a: Tensor, scale_b: Tensor, bias: Optional[Tensor],
                                    input_2d: Tensor, output_shape: list, group_size: Optional[int] = None) -> Tensor:
    """See cutlass_w8a8_scaled_mm."""
    return product("torch_per_tensor_w8a8_scaled_mm", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    input_2d, output_shape, group_size)


@kinded(_w8a8.KINDS)
def torch_per_token_w8a8_scaled_mm(*, qinput: Tensor, weight: _Weight, out_dtype: torch.dtype,
                                   scale_a: Tensor, scale_b: Tensor, bias: Optional[Tensor],
                                   input_2d: Tensor, output_shape: list, group_size: Optional[int] = None,
                                   **kwargs: Any) -> Tensor:
    """See cutlass_w8a8_scaled_mm."""
    return product("torch_per_token_w8a8_scaled_mm", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    input_2d, output_shape, group_size)


@kinded(_w8a8.KINDS)
def torch_channelwise_w8a8_scaled_mm(*, qinput: Tensor, weight: _Weight, out_dtype: torch.dtype,
                                     scale_a: Tensor, scale_b: Tensor, bias: Optional[Tensor],
                                     input_2d: Tensor, output_shape: list, group_size: Optional[int] = None,
                                     **kwargs: Any) -> Tensor:
    """See cutlass_w8a8_scaled_mm."""
    return product("torch_channelwise_w8a8_scaled_mm", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    input_2d, output_shape, group_size)


@taking()
def cutlass_scaled_mm_azp(a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor, out_dtype: torch.dtype,
                          azp_adj: Tensor, azp: Optional[Tensor] = None, bias: Optional[Tensor] = None) -> Tensor:
    """((a @ b - azp * azp_adj) * scale_a) * scale_b + bias, as vllm._custom_ops has it; no gradient.

    Args:
        a, b: int8 [M, K], [K, N], K at most 131071: exact sums, each operation after them rounded once.
        scale_a: one element, [M] or [M, 1]; scale_b: one element, [N], [N, 1] or [1, N]; float32.
        azp_adj: int32 [N]: the column sums of b, or without azp those times the one zero point. They are taken
            as they come; octavo.scaled_mm(azp=...) makes them itself.
        azp: int32, one element, [M] or [M, 1].
        bias: [N], any float type.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> a, b, one = torch.ones(1, 4, dtype=torch.int8), torch.ones(4, 2, dtype=torch.int8), torch.tensor([1.0])
        >>> w8a8.cutlass_scaled_mm_azp(a, b, one, one, torch.bfloat16, b.sum(0, dtype=torch.int32), torch.tensor([1], dtype=torch.int32)).tolist()
        [[0.0, 0.0]]
    """
    return azp_product(a, b, scale_a, scale_b, out_dtype, azp_adj, azp, bias)


# ---- torch.ops.octavo.rocm_per_tensor_w8a8_scaled_mm_impl ---------------------------------------------


@taking()
def rocm_per_tensor_w8a8_scaled_mm_fake(qinput: Tensor, weight: Tensor, out_dtype: torch.dtype, scale_a: Tensor,
                                        scale_b: Tensor, bias: Optional[Tensor], input_2d: Tensor) -> Tensor:
    """An uninitialised tensor as rocm_per_tensor_w8a8_scaled_mm_impl gives it."""
    if qinput.dim() < 1 or weight.dim() != 2:
        raise ValueError("rocm_per_tensor_w8a8_scaled_mm_fake: weight.shape must be [K, N] beside qinput of rows; got "
                         f"{list(weight.shape)} beside {list(qinput.shape)}")
    return _w8a8.fake(qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d)


@taking()
def rocm_per_tensor_w8a8_scaled_mm_impl(qinput: Tensor, weight: Tensor, out_dtype: torch.dtype, scale_a: Tensor,
                                        scale_b: Tensor, bias: Optional[Tensor], input_2d: Tensor) -> Tensor:
    """The product of all rows of qinput, padding included: [rows of qinput, N], the bias added.

    The operator torch.ops.octavo.rocm_per_tensor_w8a8_scaled_mm_impl.
    """
    return _w8a8.impl(qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d)


# ---- the table ----------------------------------------------------------------------------------------


@taking()
def dispatch_w8a8_scaled_mm(preferred_backend: str, per_tensor_weights: bool,
                            per_tensor_activations: bool) -> Callable[..., Tensor]:
    """vLLM's table of which backend function runs; any name that is not in it is "torch".

    Every entry is right for every problem: the table is kept for code that looks at it.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> w8a8.dispatch_w8a8_scaled_mm("torch", per_tensor_weights=True, per_tensor_activations=True).__name__
        'torch_per_tensor_w8a8_scaled_mm'
    """
    tensors, others = _DISPATCH.get(preferred_backend, _DISPATCH["torch"])
    if per_tensor_weights and per_tensor_activations:
        return tensors
    neither = not per_tensor_weights and not per_tensor_activations
    if others is torch_channelwise_w8a8_scaled_mm and neither and USE_ROWWISE_TORCH_SCALED_MM:
        return torch_per_token_w8a8_scaled_mm
    return others


# backend: (per-tensor weights and activations, all others)
_DISPATCH: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "rocm": (rocm_per_tensor_w8a8_scaled_mm, torch_channelwise_w8a8_scaled_mm),
    "flashinfer": (flashinfer_w8a8_scaled_mm, cutlass_w8a8_scaled_mm),
    "cutlass": (cutlass_w8a8_scaled_mm, cutlass_w8a8_scaled_mm),
    "torch": (torch_per_tensor_w8a8_scaled_mm, torch_channelwise_w8a8_scaled_mm),
}


class Fp8LinearOp:
    """The product of an fp8 linear layer: quantises activations and multiplies them with an fp8 weight.

    A row's bits never depend on padding, nor on other rows unless one dynamic scale covers them all. Gradients
    reach scales and bias, not the activations: octavo.torch.nn trains.

    Args:
        act_quant_static: activations have a scale of the caller's; else it is computed.
        act_quant_group_shape: see QuantFP8.
        pad_output: whether quant_fp8 pads to 17 rows; None: on the "torch" backend outside of
            torch.compile. `apply` leaves padding out, since no result depends on it.
        force_fp8_e4m3fnuz: quantise to that type.
        batch_invariant: refuse what makes a row's result depend on the others.

    Attributes:
        preferred_backend: "torch" in a build for CPUs.
        output_padding: 17 or None.
        quant_fp8: the QuantFP8 that quantises activations.

    Example:
        >>> import torch, octavo.w8a8_utils as w8a8
        >>> weight = torch.ones(16, 32).to(torch.float8_e4m3fn).t()
        >>> op = w8a8.Fp8LinearOp(act_quant_static=False, act_quant_group_shape=w8a8.GroupShape.PER_TOKEN)
        >>> op.apply(torch.ones(2, 32), weight, torch.tensor(0.5)).shape
        torch.Size([2, 16])
    """

    def __init__(self, act_quant_static: bool, act_quant_group_shape: GroupShape = GroupShape.PER_TENSOR,
                 pad_output: Optional[bool] = None, force_fp8_e4m3fnuz: bool = False, *,
                 batch_invariant: bool = False) -> None:
        self.preferred_backend = "cutlass" if CUTLASS_FP8_SUPPORTED and not force_fp8_e4m3fnuz else "torch"
        if pad_output is None:
            pad_output = self.preferred_backend == "torch" and not torch.compiler.is_compiling()
        self.output_padding = 17 if pad_output else None
        self.act_quant_static = act_quant_static
        self.act_quant_group_shape = act_quant_group_shape
        self.quant_fp8 = QuantFP8(static=act_quant_static, group_shape=act_quant_group_shape,
                                  num_token_padding=self.output_padding,
                                  dtype=torch.float8_e4m3fnuz if force_fp8_e4m3fnuz else torch.float8_e4m3fn)
        if batch_invariant and not act_quant_static and act_quant_group_shape == GroupShape.PER_TENSOR:
            raise ValueError("Fp8LinearOp: batch_invariant must come without dynamic per-tensor activations (their "
                             "scale is made of all rows); got both")

    def apply(self, input: Tensor, weight: _Weight, weight_scale: Optional[Tensor],
              out_dtype: Optional[torch.dtype] = None, input_scale: Optional[Tensor] = None,
              input_scale_ub: Optional[Tensor] = None, bias: Optional[Tensor] = None) -> Tensor:
        """input [..., K] times weight [K, N], plus bias: [..., N].

        Args:
            input: bfloat16, float16 or float32, which is quantised; or any fp8 type, with its input_scale.
            weight: an fp8 type with any strides, or an octavo.types.PackedWeight (faster; its own scale serves
                where weight_scale is None).
            out_dtype: default input's type, bfloat16 for fp8 input.
            input_scale: with a static quantiser or fp8 input. input_scale_ub: the upper bound of absmax.
            bias: [N], any float type.
        """
        name = "Fp8LinearOp.apply"
        quantized = input.dtype in FLOAT8
        if input.dim() < 1 or not (quantized or input.dtype in WIDE):
            raise ValueError(f"{name}: input must be [..., K] of float32, bfloat16, float16 or a float8 type; got "
                             f"{input.dtype} {list(input.shape)}")
        n = weight.n if isinstance(weight, PackedWeight) else weight.shape[1]
        input_2d = input.reshape(math.prod(input.shape[:-1]), input.shape[-1])
        if quantized:
            if input_scale is None:
                raise ValueError(f"{name}: input_scale must be given with input that is fp8 already; got none for "
                                 f"{input.dtype} {list(input.shape)}")
            codes, scale = input_2d, input_scale
        else:
            codes, scale = self.quant_fp8._unpadded(name, "input_", input_2d, input_scale, input_scale_ub)
        per_tensor_weights = weight_scale is not None and weight_scale.numel() == 1
        per_tensor_activations = scale.dim() == 0 or scale.shape == (1,)
        function = dispatch_w8a8_scaled_mm(self.preferred_backend, per_tensor_weights, per_tensor_activations)
        granularity = self.quant_fp8._granularity
        group = {"group_size": int(granularity[5:])} if granularity.startswith("group") else {}
        default = torch.bfloat16 if quantized else input.dtype
        return function(qinput=codes, weight=weight, out_dtype=out_dtype or default,
                        scale_a=scale, scale_b=weight_scale, bias=bias, input_2d=input_2d,
                        output_shape=[*input.shape[:-1], n], **group)
