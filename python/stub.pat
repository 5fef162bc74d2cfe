# What nanobind's stub generator cannot know: the types behind nb::object in the public names of octavo._octavo.
# A tensor in a result is of the caller's framework, hence Any; see python/octavo/_typing.py.

_octavo\.Quantized\.__init__$:
    \from octavo._typing import Tensor
    def __init__(self, data: Tensor, scale: Tensor, azp: Tensor | None = None, rows: int = 1, cols: int = 0,
                 row0: int = 0, col0: int = 0, *, zero_point: Tensor | None = None) -> None: ...

_octavo\.Quantized\.dtype$:
    \from typing import Any
    @property
    def dtype(self) -> Any:
        \doc

_octavo\.Quantized\.dequantize$:
    \from typing import Any
    \from octavo._typing import DTypeLike
    def dequantize(self, out_dtype: DTypeLike = 'float32') -> Any:
        \doc

_octavo\.Checkpoint\.__getitem__$:
    \from typing import Any
    def __getitem__(self, name: str) -> Any:
        \doc

_octavo\.Quantized\.(data|scale|azp|zero_point)$:
    \from typing import Any
    @property
    def \1(self) -> Any:
        \doc

_octavo\.(PackedWeight|Weight)\.activation$:
    \from typing import Any
    @property
    def activation(self) -> dict[str, Any] | None:
        \doc

_octavo\.Weight\.columns$:
    \from typing import Any
    @property
    def columns(self) -> Any | None:
        \doc

_octavo\.PackedWeight\.unpack$:
    \from octavo._typing import Tensor
    def unpack(self, like: Tensor | None = None) -> Quantized:
        \doc

_octavo\.PackedWeight\.to$:
    \from octavo._typing import Tensor, TorchDevice
    def to(self, like: Tensor | TorchDevice | str | None) -> PackedWeight:
        \doc

_octavo\.PackedWeight\.__copy__$:
    def __copy__(self) -> PackedWeight: ...

_octavo\.PackedWeight\.__deepcopy__$:
    def __deepcopy__(self, memo: object) -> PackedWeight: ...

_octavo\.ExpertWeights\.activation$:
    \from typing import Any
    @property
    def activation(self) -> dict[str, Any] | None:
        \doc

_octavo\.ExpertWeights\.granularity$:
    @property
    def granularity(self) -> str | None:
        \doc

_octavo\.ExpertWeights\.unpack$:
    \from octavo._typing import Tensor
    \from typing import Any
    def unpack(self, like: Tensor | None = None) -> tuple[Any, Any, str | None]:
        \doc

_octavo\.ExpertWeights\.to$:
    \from octavo._typing import Tensor, TorchDevice
    def to(self, like: Tensor | TorchDevice | str | None) -> ExpertWeights:
        \doc

_octavo\.ExpertWeights\.__copy__$:
    def __copy__(self) -> ExpertWeights: ...

_octavo\.ExpertWeights\.__deepcopy__$:
    def __deepcopy__(self, memo: object) -> ExpertWeights: ...

_octavo\.Weight\.columns$:
    \from typing import Any
    @property
    def columns(self) -> Any:
        \doc

_octavo\.Weight\.quantized$:
    @property
    def quantized(self) -> Quantized:
        \doc

_octavo\.Checkpoint\.keys$:
    framework: str
    def keys(self) -> list[str]:
        \doc

_octavo\.open_checkpoint$:
    def open_checkpoint(path: str, framework: str = 'np') -> Checkpoint:
        \doc

_octavo\.Checkpoint\.__iter__$:
    \from typing import Iterator
    def __iter__(self) -> Iterator[str]: ...

_octavo\.Checkpoint\.__enter__$:
    def __enter__(self) -> Checkpoint: ...

_octavo\.Checkpoint\.__exit__$:
    def __exit__(self, *arguments: object) -> None: ...

_octavo\.Checkpoint\.(tensor|get_tensor)$:
    \from typing import Any
    def \1(self, name: str) -> Any:
        \doc

_octavo\.cpu_features$:
    def cpu_features() -> dict[str, bool]:
        \doc

_octavo\.int8_vectorwise_quant$:
    \from octavo._typing import Tensor
    \from typing import Any
    def int8_vectorwise_quant(a: Tensor, threshold: float = 0.0, whole_columns: bool = False, by_element: bool = False, outlier_columns: Any = None) -> tuple[Any, Any, Any]:
        \doc

_octavo\.int8_double_quant$:
    \from octavo._typing import Tensor
    \from typing import Any
    def int8_double_quant(a: Tensor, threshold: float = 0.0, whole_columns: bool = False, by_element: bool = False, outlier_columns: Any = None) -> tuple[Any, Any, Any, Any, Any]:
        \doc

_octavo\.int8_linear_matmul$:
    \from octavo._typing import Tensor
    \from typing import Any
    def int8_linear_matmul(a: Tensor, w: Tensor, out: Tensor | None = None) -> Any:
        \doc

_octavo\.int8_mm_dequant$:
    \from octavo._typing import DTypeLike, Tensor
    \from typing import Any
    def int8_mm_dequant(acc: Tensor, row_absmax: Tensor, col_absmax: Tensor, bias: Tensor | None = None, out_dtype: DTypeLike = 'float16') -> Any:
        \doc

_octavo\.int8_scaled_mm$:
    \from octavo._typing import DTypeLike, Tensor
    \from typing import Any
    def int8_scaled_mm(a: Tensor, w: Tensor, row_absmax: Tensor, col_absmax: Tensor, bias: Tensor | None = None, out_dtype: DTypeLike = 'float16') -> Any:
        \doc

_octavo\.int8_mixed_scaled_mm$:
    \from octavo._typing import DTypeLike, Tensor
    \from typing import Any
    def int8_mixed_scaled_mm(a: Tensor, codes: Tensor, w: Tensor, row_absmax: Tensor, col_absmax: Tensor, outlier_cols: Tensor | None = None, bias: Tensor | None = None, original_weight: Tensor | None = None, out_dtype: DTypeLike | None = None, out: Tensor | None = None) -> Any:
        \doc

_octavo\.int8_vectorwise_dequant$:
    \from octavo._typing import Tensor
    \from typing import Any
    def int8_vectorwise_dequant(codes: Tensor, row_absmax: Tensor) -> Any:
        \doc

_octavo\.(quantize|compute_scale|rms_norm_quantize|silu_and_mul_quantize)$:
    \from typing import Any
    def \1(*arguments: Any, **options: Any) -> Quantized:
        \doc

_octavo\.quantize_mxfp8$:
    def quantize_mxfp8(x: object, dtype: object = 'float8_e4m3fn', side: str = 'a') -> Quantized:
        \doc

_octavo\.(convert_to_channelwise|per_tensor_dequantize)$:
    \from typing import Any
    def \1(*arguments: Any) -> Any:
        \doc
