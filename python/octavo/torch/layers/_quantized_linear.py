# SPDX-License-Identifier: Apache-2.0
"""What the linear layers in 8 bits share: a float weight that trains, or packed codes that stay."""

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from typing_extensions import Self

from ... import _octavo
from ..._checkpoint import w8a8_weight
from ..._explain import explain
from ..._locks import rlock
from ..._octavo import Explanation, PackedWeight, Quantized, Weight
from ..operators._dtypes import CODES, from_numpy
from ..operators._library import device_refusal
from ..operators._linear import call_linear, call_linear_codes, handle_of
from ..operators._rotate import call_rotate
from ..operators._straight_through import quantize, straight_through_mm
from ._layer import FLOATS, EightBitModule, as_rows, autocast, brought, check_float, size_mismatch
from ._schemes import BLOCKS, SCHEMES
from ._versions import Version
from ._weight import QuantizedWeight

# Names of static activations, and of rotated ones, in a state: the argument of octavo.pack, and the type.
_STATIC = {"input_scale": ("static_scale", torch.float32), "input_zero_point": ("static_azp", torch.int32),
           "rotation": ("rotation", torch.int32)}

_packing = rlock()  # layers in eval mode pack one at a time


class _Cached(NamedTuple):
    """A float weight's packed form, which is good while the weight is still that of `version`."""

    packed: PackedWeight
    handle: torch.Tensor
    version: Version


def check_whole(operation: str, weight: Weight) -> None:
    """A layer's state says nothing of where a slice begins in its scales, or of columns of other slices."""
    q = weight.quantized
    if q.row0 or q.col0:
        raise ValueError(f"{operation}: weight must begin with a cell of its scales; got one that begins at "
                         f"({q.row0}, {q.col0}) of one: pack it (octavo.pack)")
    if weight.columns is not None and len(weight.columns) and weight.columns.max() >= len(weight.columns):
        raise ValueError(f"{operation}: weight must have all columns of an order; got a slice of one: pack it (octavo.pack)")


def quantized_at(weight: Weight, device: torch.device) -> Quantized:
    """Codes and scales [N, K] as tensors of a device."""
    q = weight.quantized
    tensors = (None if value is None else from_numpy(value).to(device) for value in (q.data, q.scale, q.azp))
    return Quantized(*tensors, q.rows, q.cols, q.row0, q.col0)


class QuantizedLinear(EightBitModule, torch.nn.Linear):
    """y = x W^T + bias with W [out_features, in_features] in 8 bits; x bfloat16, float16 or float32.

    A frozen layer also takes x quantised already: layer(codes, scale). A float weight that is assigned to it is quantised;
    writes into `layer.weight` raise RuntimeError. It is a torch.nn.Linear for code that looks for them (PEFT's adapters).
    `batch_invariant = True` refuses what makes a row's result depend on other rows.
    """

    scheme: str = ""
    batch_invariant: bool = False
    place: Any = None  # on ranks, of a tensor-parallel plan of transformers
    stands_for_conv1d: bool = False  # of transformers, whose own weight is [in_features, out_features]
    _loads_static: tuple[str, ...] = ()  # static activations that a state may bring

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: torch.dtype | None = None, **options: Any) -> None:
        torch.nn.Module.__init__(self)
        check_float(type(self).__name__, "dtype", dtype)
        self._start(in_features, out_features)
        self._configure(**options)
        self.weight = torch.nn.Parameter(
            torch.empty((out_features, in_features), device=device, dtype=dtype))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _start(self, in_features, out_features):
        self.in_features = in_features
        self.out_features = out_features
        self.frozen = False  # whether the float weight is gone
        self._columns = None  # int64 [K]: code column j multiplies x[..., columns[j]]; None: in order
        self._packed = None  # codes and scales for kernels, where the layer is frozen
        self._cached = None  # those of the float weight, in eval mode: _Cached
        self._shared = None  # the product that computes for this layer, too, and its place there
        self._before_merge = None  # the codes before an adapter was merged, for `unmerge`: Codes
        self._loaded_by = None  # the list of missing names of the load_state_dict that brought codes
        self._rule = {}  # how activations are quantised, as arguments of octavo.pack

    @classmethod
    def _new(cls, in_features, out_features, options):
        layer = cls.__new__(cls)
        torch.nn.Module.__init__(layer)
        layer._start(in_features, out_features)
        layer._configure(**options)
        return layer

    @classmethod
    def from_float(cls, linear: torch.nn.Linear, freeze: bool = True,
                   quantized: Weight | None = None, **options: Any) -> Self:
        """The quantised form of a torch.nn.Linear; its parameters are shared, not copied.

        freeze: drop the float weight (inference, or fine-tuning around a constant weight).
        quantized: the octavo.types.Weight of linear.weight, where there is one already.
        """
        check_float(f"{cls.__name__}.from_float", "linear.weight.dtype", linear.weight.dtype)
        layer = cls._new(linear.in_features, linear.out_features, options)
        layer.weight = linear.weight
        layer.bias = linear.bias
        layer.training = linear.training
        return layer.freeze(quantized) if freeze else layer

    @classmethod
    def from_weight(cls, weight: Weight, bias: torch.Tensor | None = None,
                    dtype: torch.dtype = torch.bfloat16) -> Self:
        """A frozen layer of an octavo.types.Weight: one of a checkpoint (octavo.open_checkpoint), or
        several fused by octavo.checkpoints.fuse. Activations are quantised as the weight says.

        dtype: of the float weight that the layer stands for; what quantised activations give.
        """
        if weight.scheme != cls.scheme:
            raise ValueError(f"{cls.__name__}.from_weight: weight.scheme must be {cls.scheme}; got "
                             f"{weight.scheme}")
        return cls._from_weight(weight, bias, dtype)

    @classmethod
    def _from_weight(cls, weight, bias, dtype):
        check_float(f"{cls.__name__}.from_weight", "dtype", dtype)
        out_features, in_features = weight.quantized.data.shape
        check_whole(f"{cls.__name__}.from_weight", weight)
        layer = cls._new(in_features, out_features, {})
        layer._rule = weight.activation or {}  # without one: W8A16
        if bias is None:
            layer.register_parameter("bias", None)
        else:
            layer.bias = torch.nn.Parameter(bias)
        if weight.columns is not None:
            layer._columns = torch.from_numpy(weight.columns)
        layer._freeze(weight.pack(gathered=weight.columns is not None), dtype)
        if bias is not None and not device_refusal(bias.device):
            layer._bring(bias, dtype)
        return layer

    @classmethod
    def _from_tensors(cls, weight, scale, bias, dtype, **options):
        """A frozen layer of a checkpoint's tensors, on the device of its codes. options: those of octavo.checkpoints.w8a8_weight."""
        layer = cls.from_weight(w8a8_weight(cls.scheme, weight, scale, **options), bias, dtype)
        layer._bring(weight, dtype)
        return layer

    def _configure(self):
        self._rule = SCHEMES[self.scheme].rule()

    def use_calibration(self, input_scale: float, outlier_columns: Sequence[int], threshold: float) -> None:
        """One static scale for all activations, before the layer is frozen."""
        self._rule = {**self._rule, "activation_granularity": "tensor", "static_scale": input_scale}

    def freeze(self, quantized: Weight | None = None) -> Self:
        """Packs the weight and drops its float form. Returns self."""
        if not self.frozen:
            self._freeze(self._pack(quantized or self._quantized_weight()), self.weight.dtype)
        return self

    def invalidate(self) -> None:
        """Forgets what was made of a float weight: call it where one was written through `.data`, which
        nothing shows. A frozen layer has no float weight, and stays as it is."""
        self._cached = None

    def _freeze(self, packed, dtype):
        self._keep(packed)
        self._cached = self._before_merge = None
        self._parameters.pop("weight", None)
        self.frozen = True
        self._show_weight(dtype)

    def _show_weight(self, dtype):
        self._dtype = dtype
        weight = QuantizedWeight(self._packed, dtype, self._columns, self.scheme, weakref.ref(self))
        object.__setattr__(self, "weight", weight)
        self._show_parameter(dtype, self._packed.device)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight" and self.__dict__.get("frozen"):
            self._replace_weight(value)
        else:
            super().__setattr__(name, value)
            if name == "bias" and self.__dict__.get("frozen"):
                self._show_parameter(self._dtype, self._packed.device)

    def _replace_weight(self, weight):
        """Codes of another weight in the place of a frozen layer's: those of a layer of its kind as they are, a float weight
        is quantised."""
        name, shape = type(self).__name__, (self.out_features, self.in_features)
        if not isinstance(weight, torch.Tensor) or weight.shape != shape or weight.dtype not in FLOATS:
            got = f"{weight.dtype} {list(weight.shape)}" if isinstance(weight, torch.Tensor) else type(weight).__name__
            raise ValueError(f"{name}: weight must be a float tensor {list(shape)}, which a frozen layer quantises "
                             f"(load_state_dict takes codes); got {got}")
        if why := device_refusal(weight.device):
            raise NotImplementedError(f"{name}: device {why}")
        if isinstance(weight, QuantizedWeight) and weight.scheme == self.scheme:
            packed, columns = _octavo.pack(weight.packed.unpack(torch.empty(0, device="cpu")), **self._rule), weight.columns
        else:
            values = weight.values() if isinstance(weight, QuantizedWeight) else weight.detach()
            packed, columns = self._packed_of(values), None
        self._columns = columns
        self._freeze(packed, weight.dtype)

    def _packed_of(self, values):
        """A float weight quantised and packed by the layer's own rules."""
        return _octavo.pack(quantized_at(_octavo.quantize_weight(values, self.scheme, self.rotation), values.device).T, **self._rule)

    @property
    def rotation(self) -> int:
        """The block by which activations, and the rows of the weight's codes, are rotated (octavo.quantizers.rotate); 0: none."""
        return self._rule.get("rotation", 0)

    def _freeze_again(self, dtype):
        """Quantises the float weight that `float_weight` gave; `dtype`: of the weight that the layer shows."""
        packed = self._packed_of(self.weight.detach())
        self._columns = None
        self._freeze(packed, dtype)

    def _quantized_weight(self):
        return _octavo.quantize_weight(self.weight.detach(), self.scheme, self.rotation)

    def _pack(self, weight):
        return _octavo.pack(quantized_at(weight, self.weight.device).T, **self._rule)

    def _keep(self, packed):
        self._packed = packed
        self._shared = None  # a weight of its own again
        self._handle = handle_of(packed)

    def _share(self, product, place, rows):
        """Computes from now on by a product of several layers, of whose weight `rows` are this layer's."""
        self._packed, self._handle = rows, None
        self._shared = product, place
        self._show_weight(self._dtype)

    def __getstate__(self):
        state = {**super().__getstate__(), "_cached": None, "_loaded_by": None}
        if self.frozen:
            state["weight"] = self.weight.dtype
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.frozen:
            if self._shared is None:
                self._handle = handle_of(self._packed)  # of this process
            self._show_weight(self.__dict__["weight"])

    def _apply(self, fn, recurse=True):
        if not self.frozen:
            self._cached = None  # of another device, or of a weight that was assigned
            return super()._apply(fn, recurse)
        like = fn(torch.empty(0, dtype=self.weight.dtype, device=self.weight.device))
        if why := device_refusal(like.device):
            raise NotImplementedError(f"{type(self).__name__}: device {why}")
        super()._apply(fn, recurse)
        self._bring(like, like.dtype)
        return self

    def _bring(self, like, dtype):
        """Codes and scales to the device of `like`; `weight` shows that type. Layers that share a product meet there again."""
        if self._columns is not None:
            self._columns = self._columns.to(like.device)
        if self._shared is not None:
            product, place = self._shared
            product = product.at(like)
            self._packed, self._shared = self._packed.at(product.packed), (product, place)
        else:
            self._keep(self._packed.to(like))
        self._show_weight(dtype)

    def train(self, mode=True):
        self._cached = None  # packed at the first forward pass without training
        return super().train(mode)

    def quantized_weight(self) -> Quantized:
        """Codes [out_features, in_features] and scales, as an octavo.Quantized of torch tensors. Where a state has
        `columns` (GPTQ's act-order), column j is that of the activations' column columns[j]; where the layer has a `rotation`,
        rows are rotated."""
        packed = self._packed if self.frozen else self._pack(self._quantized_weight())
        return packed.unpack(torch.empty(0, device="cpu")).T

    def forward(self, x: torch.Tensor, x_scale: torch.Tensor | float | None = None,
                x_azp: torch.Tensor | None = None) -> torch.Tensor:
        """x [..., in_features] of a float type; or, where the layer is frozen, its codes with x_scale
        (one element, or [..., 1] for each row, or [..., groups of K]) and zero points. A static layer's
        own scale is the default. Codes are those of rotated activations where the layer has a `rotation`. No gradient flows
        from codes."""
        if x.dtype in CODES:
            return self._codes_forward(x, x_scale, x_azp)
        check_float(type(self).__name__, "x.dtype", x.dtype)
        if x_scale is not None or x_azp is not None:
            raise ValueError(f"{type(self).__name__}: x_scale and x_azp must come with codes alone (activations of a float type "
                             f"are quantised by the layer); got x of {x.dtype}")
        if self._shared is not None:
            product, place = self._shared
            return product.columns(place, x, self.batch_invariant)
        x = autocast(x)
        if self.frozen:
            return self._packed_forward(x, self._packed, self._handle)
        differentiable = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        # What changes a weight through `.data` leaves no trace: only layers in eval mode keep it packed.
        # Nor can a compiled graph look at versions.
        if self.training or differentiable or torch.compiler.is_compiling():
            return self._training_forward(x)
        cached = self._of_float_weight()
        return self._packed_forward(x, cached.packed, cached.handle)

    def _of_float_weight(self):
        cached = self._cached
        if cached is None or not cached.version.of(self.weight):
            with _packing:
                cached = self._cached
                if cached is None or not cached.version.of(self.weight):
                    version = Version(self.weight)
                    packed = self._pack(self._quantized_weight())
                    cached = self._cached = _Cached(packed, handle_of(packed), version)
        return cached

    def _packed_forward(self, x, packed, handle):
        """packed: whose handle it is; it has to live as long as the call."""
        if self._columns is not None:
            x = x.index_select(-1, self._columns)
        return call_linear(x, self.bias, None, handle, self.batch_invariant, None)

    def _codes_forward(self, x, scale, azp):
        name = type(self).__name__
        if not self.frozen:
            raise ValueError(f"{name}: x must be of a float type where the weight trains; got {x.dtype}")
        if scale is None and self._rule.get("static_scale"):
            scale = self._rule["static_scale"]
            azp = self._rule["static_azp"] if self._rule["azp"] else None
        if scale is None:
            raise ValueError(f"{name}: x_scale must come with quantised activations (the layer has no "
                             "static scale); got None")
        if self._columns is not None:
            x = x.index_select(-1, self._columns)
        if not isinstance(scale, torch.Tensor):
            scale = torch.tensor(scale, dtype=torch.float32, device=x.device)
        if azp is not None and not isinstance(azp, torch.Tensor):
            azp = torch.tensor(azp, dtype=torch.int32, device=x.device)
        shared, place = self._shared or (None, 0)
        self._check_scale_of(x, scale)
        bias = shared.bias() if shared else self.bias
        bias = bias.detach() if bias is not None and torch.is_grad_enabled() else bias
        handle = shared.handle if shared else self._handle
        y = call_linear_codes(x, scale, self._codes_granularity(scale), azp, bias, self._dtype, handle, None)
        return shared.of(place, y) if shared else y

    def _check_scale_of(self, x, scale):
        groups = scale.shape[-1] if scale.dim() else 1
        fits = scale.numel() == math.prod(x.shape[:-1]) * groups and (groups > 0 or not self.in_features)
        if scale.numel() != 1 and not fits:
            raise ValueError(f"{type(self).__name__}: x_scale.shape must be one element, [..., 1] for each row of x or [..., groups "
                             f"of K]; got {list(scale.shape)} for x {list(x.shape)}")
        if groups > 1 and self._columns is not None:
            raise ValueError(f"{type(self).__name__}: x_scale.shape must be one element or [..., 1] for each row of x where the "
                             f"layer reads columns in an order of its own; got {list(scale.shape)}")

    def _codes_granularity(self, scale):
        if scale.numel() == 1:
            return "tensor"
        groups = scale.shape[-1]
        if groups == 1:
            return "token"
        own = self._rule.get("activation_granularity", "")
        return own if own.startswith("group") else f"group{-(-self.in_features // max(groups, 1)) or 1}"

    def _training_forward(self, x):
        scheme = SCHEMES[self.scheme]
        activation = self._rule.get("activation_granularity")
        self._check_trainable(activation)
        rows, weight = as_rows(x), self.weight
        if activation is None:  # as they are: codes are the activations, under a scale of 1
            activation, x_codes, x_scale = "tensor", rows.detach(), rows.new_ones((1, 1), dtype=torch.float32)
        else:
            x_codes, x_scale = quantize(self._turned(rows.detach()), None, scheme.dtype, activation, rounding=scheme.rounding)
        w_codes, w_scale = quantize(self._turned(weight.detach()), None, scheme.dtype, scheme.weight, rounding=scheme.rounding)
        if self.rotation:  # for their gradients, which are turned back
            rows, weight = call_rotate(rows, self.rotation, None, None), call_rotate(weight, self.rotation, None, None)
        y = straight_through_mm(rows, weight, x_codes, x_scale, activation, w_codes,
                                w_scale, scheme.weight_kn, self.bias, None, None)
        return y.reshape(*x.shape[:-1], self.out_features)

    def _check_rotation(self, rotation):
        if rotation not in (0, *BLOCKS) or rotation and self.in_features % rotation:
            raise ValueError(f"{type(self).__name__}: rotation must be 16, 64 or 256 and divide in_features = {self.in_features}, or 0; "
                             f"got {rotation}")

    def _turned(self, values):
        """What is quantised of them."""
        return call_rotate(values, self.rotation, torch.float32, None) if self.rotation else values

    def _check_trainable(self, activation):
        if self._rule.get("azp"):
            raise NotImplementedError(f"{type(self).__name__}: azp must be False where the weight trains "
                                      "(zero points are for frozen layers); got True")
        if self.batch_invariant and activation == "tensor":
            raise ValueError(f"{type(self).__name__}: batch_invariant must be False where rows of the batch "
                             "share a computed scale; got True")

    def explain(self, x: torch.Tensor) -> Explanation:
        """What runs a frozen layer's product for activations like x, and why: octavo.types.Explanation."""
        packed = self._packed if self.frozen else self._cached and self._cached.packed
        if self._shared is not None:
            packed = self._shared[0].packed
        if packed is None:
            raise ValueError(f"{type(self).__name__}.explain: the layer must be frozen or in eval mode and have "
                             "run; got a layer without a packed weight")
        return explain(x, packed)

    # A frozen layer's state has codes, scales and static activation scales under the names of
    # compressed-tensors. A layer loads a quantised state as it is: one that trains is frozen then.
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self.frozen:
            return
        q = self.quantized_weight()
        destination[prefix + "weight"] = q.data
        destination[prefix + "weight_scale"] = q.scale.contiguous()
        if self._columns is not None:
            destination[prefix + "columns"] = self._columns
        for name in self._static_names():
            value, dtype = _STATIC[name]
            destination[prefix + name] = torch.tensor([self._rule[value]], dtype=dtype, device=q.data.device)
        self._share_in_states(destination, prefix)

    def _static_names(self):
        """The names in the state of what quantises static activations, and rotated ones."""
        rotated = ("rotation",) if self.rotation else ()
        if not self._rule.get("static_scale"):
            return rotated
        return ("input_scale", "input_zero_point", *rotated) if self._rule.get("azp") else ("input_scale", *rotated)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected,
                              errors):
        given = {name: state_dict[prefix + name] for name in ("weight", "weight_scale", "columns", *_STATIC)
                 if prefix + name in state_dict}
        given = brought(given, self.weight.device, local_metadata)
        quantized, trained = "weight" in given and "weight_scale" in given, not self.frozen
        if not (quantized or self.frozen):
            super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
            return
        static = self._loads_static if "input_scale" in given else self._static_names()
        own = ("weight", "weight_scale", "columns", "rotation", *(name for name in static if name != "rotation"))
        given = {name: value for name, value in given.items() if name in own}
        if ("weight" in given) != ("weight_scale" in given):
            errors.append(f"{prefix}weight must come with {prefix}weight_scale (the layer is frozen); got one of them")
        elif given:
            sentence = self._load_quantized(prefix, given)
            if sentence:
                errors.append(sentence)
        self._load_others(own, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        if strict:
            # One that stands in two places has taken another name's codes: as of a shared parameter, its weight is missing here.
            wanted = ("weight",) if self._loaded_by is missing else \
                ("weight", "weight_scale", *(self._static_names() if self.frozen else ()))
            missing.extend(prefix + name for name in wanted if name not in given)
        if trained and self.frozen:
            self._loaded_by = missing

    def _load_quantized(self, prefix, given):
        """Takes codes and scales; or leaves the layer as it was, and says why."""
        if "weight" not in given:
            weight = self.quantized_weight()
            given = {**given, "weight": weight.data, "weight_scale": weight.scale, "rotation": torch.tensor(self.rotation)}
        codes, scale = given["weight"], given["weight_scale"]
        if codes.shape != (self.out_features, self.in_features):
            return size_mismatch(prefix + "weight", codes.shape, (self.out_features, self.in_features))
        if codes.dtype not in CODES:
            return f"{prefix}weight must be codes of 8 bits beside {prefix}weight_scale; got {codes.dtype}"
        cells = self._cells(codes, scale)
        if scale.shape != cells:
            return size_mismatch(prefix + "weight_scale", scale.shape, cells)
        rule = {name: value for name, value in self._rule.items() if name != "rotation"}
        for name in _STATIC:
            if name in given and given[name].numel() != 1:
                return size_mismatch(prefix + name, given[name].shape, (1,))
        if "input_scale" in given:
            rule.update(activation_granularity="tensor", static_scale=float(given["input_scale"]))
        if "input_zero_point" in given and rule.get("static_scale"):
            rule.update(azp=True, static_azp=int(given["input_zero_point"]))
        if "rotation" in given and int(given["rotation"]):
            rule["rotation"] = int(given["rotation"])
        columns = given.get("columns")
        if columns is not None and not self._is_order(columns):
            return f"{prefix}columns must be the numbers 0 to {self.in_features - 1} (int64) in some order; got others"
        try:
            packed = self._restored(codes, scale, rule)
        except (ValueError, RuntimeError) as error:
            return f"{prefix}weight must be codes that {type(self).__name__} can pack; got {codes.dtype} ({error})"
        self._rule = rule
        self._columns = None if columns is None else columns.clone()
        self._freeze(packed, self.weight.dtype)
        return None

    def _is_order(self, columns):
        return columns.dtype == torch.int64 and torch.equal(columns.cpu().sort().values, torch.arange(self.in_features))

    def _cells(self, codes, scale):
        rows, cols = self._grid(codes, scale)
        return -(-codes.shape[0] // rows), -(-codes.shape[1] // cols) if cols else 1

    def _restored(self, codes, scale, rule) -> PackedWeight:
        rows, cols = self._grid(codes, scale)
        return _octavo.pack(Quantized(codes, scale, None, rows, cols).T, **rule)

    def _grid(self, codes, scale):
        """Rows and columns of the weight under one scale; 0: all."""
        return (codes.shape[0] if scale.shape == (1, 1) else 1), 0

    def extra_repr(self):
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}, scheme={self.scheme}, frozen={self.frozen}"
                + (f", rotation={self.rotation}" if self.rotation else ""))

