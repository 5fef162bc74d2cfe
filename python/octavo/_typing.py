# SPDX-License-Identifier: Apache-2.0
"""What arguments and results may be, for readers and for type checkers."""

from typing import Any, Callable, Literal, Protocol, Sequence, TypeAlias, Union

from ._octavo import PackedWeight, Quantized, Undefined


class Exporter(Protocol):
    """Whatever speaks DLPack: arrays of NumPy (ml_dtypes for bfloat16 and fp8), tensors of PyTorch, ..."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any: ...


class TorchType(Protocol):
    """A torch.dtype, which only a program with PyTorch has."""

    @property
    def is_floating_point(self) -> bool: ...

    @property
    def is_complex(self) -> bool: ...


class TorchDevice(Protocol):
    """A torch.device."""

    @property
    def type(self) -> str: ...

    @property
    def index(self) -> int | None: ...


class NumpyType(Protocol):
    """A numpy.dtype."""

    @property
    def itemsize(self) -> int: ...

    @property
    def byteorder(self) -> str: ...


# A tensor given to Octavo. Its memory is read in place.
Tensor: TypeAlias = Union[Exporter, memoryview]
# A tensor from Octavo: of the framework that the arguments came from, which a signature cannot say.
Result: TypeAlias = Any
Operand: TypeAlias = Union[Tensor, Quantized]
Weight: TypeAlias = Union[Tensor, Quantized, PackedWeight]
# UNDEFINED (the scale that the operand carries, else none), None (explicitly none), a number or a tensor.
ScaleArgument: TypeAlias = Union[Undefined, None, float, Tensor]
# "bfloat16", "bf16", numpy.float32, ml_dtypes.bfloat16, numpy.dtype("int8"), torch.bfloat16, ...
DTypeLike: TypeAlias = Union[str, type, NumpyType, TorchType]
Side: TypeAlias = Literal["a", "b"]
ShardAxis: TypeAlias = Literal["columns", "rows"]
# What NaN and infinity do to codes and scales (octavo.quantize).
NonFinite: TypeAlias = Literal["propagate", "ignore", "error"]
Subnormals: TypeAlias = Union[Literal["exact"], None]
Rounding: TypeAlias = Literal["none", "power_of_two", "mx_floor"]
# Octavo's own names first, then those of llm-compressor's presets and of bitsandbytes; capitals and underscores make no
# difference to Octavo.
Scheme: TypeAlias = Literal["int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8", "INT8", "W8A8", "w8a8", "W8A8_INT8",
                            "w8a8-int8", "FP8_DYNAMIC", "W8A8_FP8", "w8a8-fp8", "FP8_BLOCK", "LLM.int8", "llm.int8",
                            "bitsandbytes", "int8-weight-only", "W8A16", "w8a16", "fp8-weight-only", "float8-weight-only", "mxfp8", "MXFP8"]
# Schemes of a layer that stores codes and their scales.
StoredScheme: TypeAlias = Literal["int8-dynamic", "fp8-dynamic", "fp8-block"]
# Schemes of experts that stand in one tensor.
ExpertsScheme: TypeAlias = Literal["int8-dynamic", "fp8-dynamic", "fp8-block", "int8-weight-only", "fp8-weight-only", "mxfp8"]
Experts: TypeAlias = Literal["as-loaded", "float", "separate"]
Format: TypeAlias = Literal["compressed-tensors", "fp8", "fp8-block", "bitsandbytes"]
Progress: TypeAlias = Callable[[int, int], object]  # (done bytes, total bytes)
TensorList: TypeAlias = Sequence[Union[Tensor, None]]
