# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes' Linear8bitLt."""

import contextlib
import copy
from typing import Any

import torch

from ..._explain import explain
from ..._locks import rlock
from ..._octavo import Explanation
from ...torch.layers._layer import EightBitModule, autocast, check_float, size_mismatch
from ...torch.operators._library import device_refusal
from .._state import MatmulLtState
from ..autograd import matmul
from ._params import Int8Params, PackedInt8Params


_moving = rlock()  # held while codes go from a weight to a state


class Linear8bitLt(EightBitModule, torch.nn.Linear):
    """y = x W^T + bias by LLM.int8() (bitsandbytes' signature).

    has_fp16_weights True: the float weight trains; each training forward product quantises it, and its
    gradient is exact on a CPU (weight_gradient="int8": a product of codes). False: the weight is quantised where the module is moved
    (`.to("cpu")`) or at its first product, and stays int8: gradients go to x and bias, for adapters
    (LoRA). threshold: |x| >= threshold keeps a column of x in float; 0: none.

    Of Octavo alone, keywords that go into `state` (MatmulLtState): batch_invariant, whole_columns,
    outlier_columns, outlier_weights, use_pool, weight_gradient.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> layer = bnb.nn.Linear8bitLt(4, 2, has_fp16_weights=False, threshold=6.0).to("cpu")
        >>> layer(torch.ones(1, 4)).shape, layer.weight.dtype
        (torch.Size([1, 2]), torch.int8)
    """

    def __init__(self, input_features: int, output_features: int, bias: bool = True, has_fp16_weights: bool = True,
                 threshold: float = 0.0, index: Any = None, device: Any = None, dtype: torch.dtype | None = None, *,
                 batch_invariant: bool = False, whole_columns: bool = False,
                 outlier_columns: torch.Tensor | None = None, outlier_weights: str = "int8",
                 use_pool: bool = False, weight_gradient: str | None = None) -> None:
        check_float("Linear8bitLt", "dtype", dtype)
        super().__init__(input_features, output_features, bias, device, dtype)
        self.index = index
        state = self.state = MatmulLtState()
        state.threshold = threshold
        state.has_fp16_weights = has_fp16_weights
        state.batch_invariant = batch_invariant
        state.whole_columns = whole_columns
        state.outlier_columns = outlier_columns
        state.outlier_weights = outlier_weights
        state.use_pool = use_pool
        state.weight_gradient = weight_gradient
        self.weight = Int8Params(self.weight.data, has_fp16_weights=has_fp16_weights, requires_grad=has_fp16_weights)

    def init_8bit_state(self) -> None:
        """Moves the weight's codes into the state; into a new one where the state has another weight's."""
        if self.state.quantized:
            self.state = copy.copy(self.state)
        self.state.take(self.weight.CB, self.weight.SCB)
        self.weight.CB = None
        self.weight.SCB = None
        self.weight.state = self.state

    def invalidate(self) -> None:
        """Forgets the codes of a float weight: call it where one was written through `.data`, which nothing
        shows. Codes of a frozen weight stay: they are the weight."""
        self.state.invalidate()

    def _own_state(self, weight):
        """The state with the weight's codes: a layer that shares its weight shares the weight's state."""
        compiling = torch.compiler.is_compiling()
        with contextlib.nullcontext() if compiling else _moving:
            if not isinstance(weight, Int8Params):  # torch.func.functional_call, FSDP
                if not self.state.has_fp16_weights and weight.is_floating_point():
                    raise ValueError("Linear8bitLt: weight must be an Int8Params where has_fp16_weights is False; got a "
                                     f"{type(weight).__name__} of {weight.dtype}")
            elif weight.CB is not None:
                self.init_8bit_state()
            elif weight.state is not None and weight.state is not self.state:
                self.state = weight.state
            elif not (compiling or self.state.has_fp16_weights):
                self._check_replaced(weight)
            return self.state

    def _check_replaced(self, weight):
        """A weight that was assigned to a frozen layer: a float one is quantised into a state of its own."""
        if weight.state is None and not weight.is_floating_point():
            raise ValueError("Linear8bitLt: weight must be an Int8Params of a float weight, or of codes with CB and SCB; "
                             f"got {weight.dtype} without them")
        if weight.is_floating_point() and self.state.quantized and not self.state.made_of(weight):
            self.state = copy.copy(self.state)
            self.state.reset_grads()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., input_features], a float type; the result has its type, whatever the bias's is."""
        check_float("Linear8bitLt", "x.dtype", x.dtype)
        x = autocast(x)
        weight = self.weight
        state = self.state
        if type(weight) is not PackedInt8Params or weight.state is not state:
            state = self._own_state(weight)
        state.is_training = self.training
        y = matmul(x, weight, bias=self.bias, state=state)
        if (type(weight) is Int8Params and not state.has_fp16_weights and state.is_packed
                and "weight" in self._parameters and not torch.compiler.is_compiling()):
            self.weight = PackedInt8Params(state)  # row-major codes go
        return y

    def explain(self, x: torch.Tensor) -> Explanation:
        """What runs the product of a frozen layer for activations like x, and why."""
        state = self._own_state(self.weight)
        state.quantize(self.weight)
        return explain(x, state.packed())

    def _apply(self, fn, recurse=True):
        packed = self._parameters.get("weight")
        if packed is None or packed.dtype != torch.int8 or packed.device.type != "cpu":
            return super()._apply(fn, recurse)
        device = fn(torch.empty(0)).device
        if why := device_refusal(device):
            raise NotImplementedError(f"Linear8bitLt: device {why}")
        if type(packed) is not PackedInt8Params:
            return super()._apply(fn, recurse)
        self._parameters["weight"] = None
        try:
            return super()._apply(fn, recurse)
        finally:
            self._parameters["weight"] = packed

    def _holder(self):
        """Who has CB and SCB of a quantised layer, the weight or a state; else None."""
        if self.state.has_fp16_weights:
            return None
        weight = self.weight
        if getattr(weight, "SCB", None) is not None and weight.CB is not None:
            return weight
        state = getattr(weight, "state", None) or self.state
        return state if state.quantized else None

    def _codes(self):
        """(CB, SCB) of a quantised layer, wherever they are; else None. Packed codes are unpacked."""
        holder = self._holder()
        return None if holder is None else (holder.CB, holder.SCB)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        codes = self._codes()
        if codes is None:
            return
        destination[prefix + "weight"], destination[prefix + "SCB"] = codes
        self._share_in_states(destination, prefix)
        destination[prefix + "weight_format"] = torch.tensor(0, dtype=torch.uint8)  # which no state misses

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        given = {name: state_dict[prefix + name] for name in ("weight", "SCB", "weight_format")
                 if prefix + name in state_dict}
        quantized = self._holder() is not None
        taken = set(given) if quantized or "weight" in given else set()
        if "weight" in given:
            sentence = self._unfit(prefix, **given)
            if sentence is not None:
                errors.append(sentence)
            elif "SCB" in given:
                self._take_codes(given["weight"].clone(), given["SCB"].to(torch.float32, copy=True))
            elif quantized:
                self._take_float(given["weight"])
            else:
                taken.remove("weight")  # a float weight into a float weight
        elif "SCB" in taken:
            errors.append(f"{prefix}SCB must come with {prefix}weight; got it alone")
        self._load_others(taken, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        if strict and quantized and not given.keys() & {"weight", "SCB"}:
            missing.append(prefix + "SCB")
        weight = self._parameters.get("weight")
        if type(weight) is torch.nn.Parameter and local_metadata.get("assign_to_params_buffers"):
            self.weight = Int8Params(weight.data, weight.requires_grad, self.state.has_fp16_weights)

    def _unfit(self, prefix, weight, SCB=None, weight_format=0):
        """Why a weight of a state cannot be this layer's; None where it can."""
        layout = weight_format.item() if isinstance(weight_format, torch.Tensor) else weight_format
        if layout not in (0, "row"):
            return (f"{prefix}weight_format must be 0, row-major (octavo.open_checkpoint reads the tiled layouts of "
                    f"bitsandbytes 0.39 to 0.44); got {layout}")
        if (weight.dtype == torch.int8) != (SCB is not None):
            return (f"{prefix}weight must be int8 with {prefix}SCB, or float without; got {weight.dtype} "
                    f"{'with' if SCB is not None else 'without'} it")
        if weight.shape != (self.out_features, self.in_features):
            return size_mismatch(prefix + "weight", weight.shape, (self.out_features, self.in_features))
        if SCB is not None and SCB.shape != (self.out_features,):
            return size_mismatch(prefix + "SCB", SCB.shape, (self.out_features,))
        return None

    def _take_float(self, weight):
        self.state.reset_grads()
        self.weight = Int8Params(weight.detach().clone(), requires_grad=False)
        self.weight.to("cpu")

    def _take_codes(self, codes, absmax):
        if self.state.has_fp16_weights:
            weight = codes * (absmax / 127)[:, None]
            with torch.no_grad():
                self.weight.copy_(weight)
            return
        self.state.reset_grads()
        self.weight = Int8Params(codes, requires_grad=False, CB=codes, SCB=absmax)
