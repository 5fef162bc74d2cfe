# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes' Linear8bitLt."""

import copy
from typing import Any

import torch

from ..._explain import explain
from ..._octavo import Explanation
from .._state import MatmulLtState
from ..autograd import matmul
from ._params import Int8Params, PackedInt8Params


class Linear8bitLt(torch.nn.Linear):
    """y = x W^T + bias by LLM.int8() (bitsandbytes' signature).

    has_fp16_weights True: the float weight trains; each training forward product quantises it, and its
    gradient is an int8 product, too. False: the weight is quantised where the module is moved
    (`.to("cpu")`) or at its first product, and stays int8: gradients go to x and bias, for adapters
    (LoRA). threshold: |x| >= threshold keeps a column of x in float; 0: none.

    Of Octavo alone, keywords that go into `state` (MatmulLtState): batch_invariant, whole_columns,
    outlier_columns, outlier_weights, use_pool.
    """

    def __init__(self, input_features: int, output_features: int, bias: bool = True, has_fp16_weights: bool = True,
                 threshold: float = 0.0, index: Any = None, device: Any = None, dtype: torch.dtype | None = None, *,
                 batch_invariant: bool = False, whole_columns: bool = False,
                 outlier_columns: torch.Tensor | None = None, outlier_weights: str = "int8",
                 use_pool: bool = False) -> None:
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
        self.weight = Int8Params(self.weight.data, has_fp16_weights=has_fp16_weights, requires_grad=has_fp16_weights)

    def init_8bit_state(self) -> None:
        """Moves the weight's codes into the state; into a new one where the state has another weight's."""
        if self.state.quantized:
            self.state = copy.copy(self.state)
        self.state.CB = self.weight.CB
        self.state.SCB = self.weight.SCB
        self.weight.CB = None
        self.weight.SCB = None
        self.weight.state = self.state

    def _own_state(self, weight):
        """The state with the weight's codes: a layer that shares its weight shares the weight's state."""
        if not isinstance(weight, Int8Params):  # torch.func.functional_call, FSDP
            if not self.state.has_fp16_weights and weight.is_floating_point():
                raise ValueError("Linear8bitLt: weight must be an Int8Params where has_fp16_weights is False; got a "
                                 f"{type(weight).__name__} of {weight.dtype}")
        elif weight.CB is not None:
            self.init_8bit_state()
        elif weight.state is not None and weight.state is not self.state:
            self.state = weight.state
        return self.state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., input_features], a float type; the result has its type, whatever the bias's is."""
        weight = self.weight
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
        if not state.quantized:
            state.quantize(self.weight)
        return explain(x, state.packed())

    def _apply(self, fn, recurse=True):
        packed = self._parameters.get("weight")
        if packed is None or packed.dtype != torch.int8 or packed.device.type != "cpu":
            return super()._apply(fn, recurse)
        device = fn(torch.empty(0)).device
        if device.type != "cpu":
            raise NotImplementedError(f"Linear8bitLt: device must be cpu (no CUDA backend is built); got {device}")
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
        destination[prefix + "weight_format"] = torch.tensor(0, dtype=torch.uint8)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        layout = state_dict.pop(prefix + "weight_format", 0)
        layout = layout.item() if isinstance(layout, torch.Tensor) else layout
        weight, absmax = state_dict.get(prefix + "weight"), state_dict.pop(prefix + "SCB", None)
        if layout not in (0, "row"):
            errors.append(f"{prefix}weight_format must be 0, row-major (octavo.open_checkpoint reads the tiled layouts of "
                          f"bitsandbytes 0.39 to 0.44); got {layout}")
            return
        if weight is None:  # adapters alone, say
            super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
            return
        if (weight.dtype == torch.int8) != (absmax is not None):
            errors.append(f"{prefix}weight must be int8 with {prefix}SCB, or float without; got {weight.dtype} "
                          f"{'with' if absmax is not None else 'without'} it")
            return
        if absmax is not None and (weight.shape != (self.out_features, self.in_features)
                                   or absmax.shape != (self.out_features,)):
            errors.append(f"{prefix}weight and {prefix}SCB must be [{self.out_features}, {self.in_features}] and "
                          f"[{self.out_features}]; got {list(weight.shape)} and {list(absmax.shape)}")
            return
        rest = {name: value for name, value in state_dict.items() if name != prefix + "weight"}
        if absmax is not None:
            self._take_codes(weight.clone(), absmax.to(torch.float32, copy=True))
        elif self._holder() is not None:
            self.state.reset_grads()
            self.weight = Int8Params(weight.detach().clone(), requires_grad=False)
            self.weight.to("cpu")
        else:
            rest = state_dict
        super()._load_from_state_dict(rest, prefix, local_metadata, False if rest is not state_dict else strict,
                                      missing, unexpected, errors)

    def _take_codes(self, codes, absmax):
        if self.state.has_fp16_weights:
            weight = codes * (absmax / 127)[:, None]
            with torch.no_grad():
                self.weight.copy_(weight)
            return
        self.state.reset_grads()
        self.weight = Int8Params(codes, requires_grad=False, CB=codes, SCB=absmax)
