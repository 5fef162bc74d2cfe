# SPDX-License-Identifier: Apache-2.0
"""What a layer keeps between calls: its quantised weight, and the outlier columns it has met."""

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any, Iterable, NamedTuple

import torch

from .. import _octavo
from .._locks import rlock
from .._octavo import PackedWeight, Quantized
from ..torch.operators._linear import handle_of
from ..torch.layers._versions import Version

# Attributes of bitsandbytes before 0.45 that code for TGI and vLLM still reads.
_GONE = frozenset({"CxB", "CxBt", "formatB", "_tile_indices"})


class GlobalOutlierPooler:
    """Outlier columns of all layers with the same number of input features, by that number.

    A layer whose state has `use_pool` adds what it finds, and multiplies the pool's columns in float
    whatever they hold. `outliers` and `model_dim` are those of the first number of features seen.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> pool = bnb.GlobalOutlierPooler.get_instance()
        >>> pool.add_outliers(torch.tensor([3, 1]), 8)
        >>> pool.get_current_outlier_idx(8).tolist()
        [1, 3]
        >>> pool.initialize()
    """

    _instance: "GlobalOutlierPooler | None" = None
    _lock = rlock()

    def __init__(self) -> None:
        raise RuntimeError("GlobalOutlierPooler: the one instance must be asked for by get_instance(); got a call of "
                           "the class")

    def initialize(self) -> None:
        """Forgets all columns."""
        self.columns: dict[int, set[int]] = {}
        self.model_dim: int | None = None

    @classmethod
    def get_instance(cls) -> "GlobalOutlierPooler":
        """The one pool of the process."""
        with cls._lock:
            if cls._instance is None:
                made = cls.__new__(cls)
                made.initialize()
                cls._instance = made
            return cls._instance

    @property
    def outliers(self) -> set[int]:
        """The columns of layers with `model_dim` input features."""
        return self.columns.get(self.model_dim, set()) if self.model_dim is not None else set()

    def add_outliers(self, outlier_idx: torch.Tensor | Iterable[int], feature_dim: int) -> None:
        """Adds columns of layers with `feature_dim` input features."""
        found = outlier_idx.tolist() if isinstance(outlier_idx, torch.Tensor) else outlier_idx
        with self._lock:
            if self.model_dim is None:
                self.model_dim = feature_dim
            self.columns.setdefault(feature_dim, set()).update(found)

    def get_current_outlier_idx(self, feature_dim: int | None = None) -> torch.Tensor:
        """int64, ascending; feature_dim: by default the first that was seen."""
        with self._lock:
            dim = self.model_dim if feature_dim is None else feature_dim
            found = sorted(self.columns.get(dim, ())) if dim is not None else []
        return torch.tensor(found, dtype=torch.int64)


class Codes(NamedTuple):
    """A quantised weight as one product takes it: packed (frozen, or outside training), or by row."""

    packed: PackedWeight | None
    absmax: torch.Tensor
    row_major: torch.Tensor | None

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """CB and SCB."""
        codes = self.row_major
        if codes is None and self.packed is not None:
            codes = _unpacked(self.packed)
        assert codes is not None
        return codes, self.absmax


@dataclass(eq=False)
class _Fields:
    """bitsandbytes' fields of a state, in its order: what dataclasses.fields, replace and repr go by."""

    force_no_igemmlt: bool = False
    CB: torch.Tensor | None = None
    SB: Any = None
    SCB: torch.Tensor | None = None
    SBt: Any = None
    CBt: Any = None
    subB: Any = None
    outlier_pool: GlobalOutlierPooler | None = None
    idx: torch.Tensor | None = None


class MatmulLtState(_Fields):
    """The quantised weight of a layer and how it multiplies (bitsandbytes' MatmulLtState, a dataclass).

    A frozen weight (has_fp16_weights False) is packed for the kernels by its first product: CB is unpacked
    from it, bit for bit, whenever it is read. The last five attributes are Octavo's alone.

    Attributes:
        CB: int8 codes [N, K]; value = CB * (SCB / 127).
        SCB: float32 [N]: absolute maxima of the weight's rows.
        threshold: |x| >= threshold is an outlier, whose column stays in float; 0: none.
        idx: int64, ascending: the outlier columns of the last forward product; None without a threshold.
        use_pool: outlier columns are shared by all layers with as many input features.
        batch_invariant: outliers are elements instead of columns, so that no row's result depends on
            the rows beside it.
        whole_columns: outlier columns stay out of the rows' absolute maxima altogether (tighter codes).
        outlier_columns: int64, ascending: columns that are always multiplied in float, whatever they
            hold (calibrate_outlier_columns finds them); with threshold 0 no others.
        outlier_weights: "int8", or "original": outliers meet the float weight (has_fp16_weights).
        weight_gradient: of a weight that trains: "exact", the product of the gradient and the activations
            as they are, or "int8", a product of codes by column (section 8). None, the default: as
            bitsandbytes trains, "exact" in matmul on a CPU and "int8" elsewhere.

    Threads may share a state: each product takes codes and maxima that belong together. `idx` is then of
    any of their products.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> state = bnb.MatmulLtState()
        >>> state.threshold = 6.0
        >>> bnb.matmul(torch.ones(1, 4), torch.eye(4), state=state).shape
        torch.Size([1, 4])
    """

    def __init__(self, force_no_igemmlt: bool = False, CB: torch.Tensor | None = None, SB: Any = None,
                 SCB: torch.Tensor | None = None, SBt: Any = None, CBt: Any = None, subB: Any = None,
                 outlier_pool: GlobalOutlierPooler | None = None, idx: torch.Tensor | None = None) -> None:
        self.force_no_igemmlt = force_no_igemmlt
        self.SB, self.SBt, self.CBt, self.subB = SB, SBt, CBt, subB
        self.outlier_pool = outlier_pool
        self.idx = idx
        self.has_accumulated_gradients = False
        self.threshold = 0.0
        self.is_training = True
        self.has_fp16_weights = True
        self.use_pool = False
        self.batch_invariant = False
        self.whole_columns = False
        self.outlier_columns: torch.Tensor | None = None
        self.outlier_weights = "int8"
        self.weight_gradient: str | None = None
        self._lock = rlock()  # held where codes change, or are read together
        self._codes = CB
        self._absmax = _wide(SCB)
        self._packed: PackedWeight | None = None
        self._rule: tuple[Any, ...] | None = None  # of the packed weight
        self.handle = None  # of operators
        self._source: Version | None = None  # the float weight that the codes are of

    def __getattr__(self, name):
        if name in _GONE:
            warnings.warn(f"MatmulLtState.{name} is always None: codes are row-major", FutureWarning, stacklevel=2)
            return None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def CB(self) -> torch.Tensor | None:
        """Int8 codes [N, K]; None: there are none."""
        with self._guard():
            if self._codes is None and self._packed is not None:
                return _unpacked(self._packed)
            return self._codes

    @CB.setter
    def CB(self, codes: torch.Tensor | None) -> None:
        with self._guard():
            self._codes, self._packed, self._source = codes, None, None

    def _guard(self):
        # torch.compile traces no lock.
        return contextlib.nullcontext() if torch.compiler.is_compiling() else self._lock

    @property
    def SCB(self) -> torch.Tensor | None:
        """Float32 [N]: absolute maxima of the weight's rows; None: there are none."""
        return self._absmax

    @SCB.setter
    def SCB(self, absmax: torch.Tensor | None) -> None:
        with self._guard():
            self._codes, self._packed = self.CB, None
            self._absmax = _wide(absmax)

    def take(self, codes: torch.Tensor | None, absmax: torch.Tensor | None) -> None:
        """Codes and maxima that belong together: CB and SCB in one step."""
        with self._guard():
            self._codes, self._packed, self._source = codes, None, None
            self._absmax = _wide(absmax)

    def reset_grads(self) -> None:
        """Forgets the quantised weight: the next product quantises it anew."""
        self.take(None, None)
        self.SB = self.SBt = self.CBt = None

    def invalidate(self) -> None:
        """Forgets the codes of a float weight: what to call after a write through `.data`, which nothing
        else shows. Codes that have no float weight stay."""
        with self._guard():
            if self.has_fp16_weights or self._source is not None:
                self.reset_grads()

    @property
    def quantized(self) -> bool:
        """Whether there are codes."""
        return self._absmax is not None and (self._codes is not None or self._packed is not None)

    @property
    def out_features(self) -> int:
        """N of the codes."""
        return self._absmax.shape[0]

    @property
    def in_features(self) -> int:
        """K of the codes."""
        return self._packed.k if self._packed is not None else self._codes.shape[1]

    def quantize(self, weight: torch.Tensor | None) -> None:
        """Makes the codes of a float weight [N, K] where there are none that fit.

        A weight that trains is quantised by each training forward product, but while gradients
        accumulate (weight.grad is there and the weight has not changed) the codes stay; outside
        training they stay until the weight changes. So do those of a frozen weight; codes that came as
        codes stay for good. An optimiser's step, a write in place and another weight are changes; a
        write through `.data` is seen in training alone (elsewhere: invalidate()).
        """
        with self._guard():
            if self.quantized and self._fits(weight):
                return
            assert weight is not None
            source = Version(weight)
            self._codes, self._absmax, _ = _octavo.int8_vectorwise_quant(weight.detach())
            self._packed, self._source = None, source

    def _fits(self, weight):
        if not self.has_fp16_weights:
            given = isinstance(weight, torch.Tensor) and weight.is_floating_point()
            return self._source is None or not given or self._source.of(weight)
        accumulates = weight.is_leaf and weight.grad is not None
        return self.made_of(weight) and (accumulates or not self.is_training)

    def made_of(self, weight: torch.Tensor) -> bool:
        """Whether the codes are those of this float weight, as it is now."""
        return self._source is not None and self._source.of(weight)

    def codes_of(self, weight: torch.Tensor | None) -> Codes:
        """The quantised weight for one product; of `weight` where the state has none that fits."""
        rule, packed, absmax = self._rule, self._packed, self._absmax  # in this order: a rule is set last
        if (packed is not None and absmax is not None and not self.has_fp16_weights and self._is_rule(rule)
                and self._fits(weight)):
            return Codes(packed, absmax, None)
        with self._guard():
            self.quantize(weight)
            assert self._absmax is not None
            if self.has_fp16_weights and self.is_training:
                return Codes(None, self._absmax, self.CB)
            return Codes(self.packed(), self._absmax, None)

    def packed(self) -> PackedWeight:
        """The codes in the layout of the kernels, with this state's rule for activations. Row-major codes
        are dropped."""
        with self._guard():
            if self._packed is None:
                self._packed, self._codes, self._rule = self._pack(self._codes, self._absmax), None, None
            if not self.packed_fits:
                self._packed = self._packed.with_llm_int8(self.threshold, whole_columns=self.whole_columns,
                                                          outlier_columns=self.outlier_columns)
                self._rule = self.threshold, self.whole_columns, self.outlier_columns
                self.handle = handle_of(self._packed)
            return self._packed

    @staticmethod
    def _pack(codes, absmax):
        if codes.dtype != torch.int8 or codes.dim() != 2 or absmax.numel() != codes.shape[0]:
            raise ValueError("matmul: state.CB and state.SCB must be int8 codes [N, K] and absolute maxima [N]; got "
                             f"{codes.dtype} {list(codes.shape)} and {list(absmax.shape)}")
        scale = (absmax / 127).view(-1, 1)
        return _octavo.pack(Quantized(codes, scale, None, 1, 0).T, activation="int8", llm_int8=True)

    @property
    def is_packed(self) -> bool:
        """Whether the codes lie in the kernels' layout."""
        return self._packed is not None

    @property
    def packed_fits(self) -> bool:
        """Whether there is a packed weight with this state's rule."""
        return self._packed is not None and self._is_rule(self._rule)

    def _is_rule(self, rule):
        if rule is None:
            return False
        threshold, whole_columns, columns = rule
        return (threshold == self.threshold and whole_columns == self.whole_columns
                and columns is self.outlier_columns)

    def pool(self) -> GlobalOutlierPooler | None:
        """The pool whose columns a product takes; None without use_pool."""
        if not self.use_pool:
            return None
        if self.batch_invariant:
            raise ValueError("matmul: state.use_pool must be False with batch_invariant (pooled columns depend on "
                             "earlier calls); got True")
        return self.outlier_pool or GlobalOutlierPooler.get_instance()

    def __getstate__(self):
        return {**self.__dict__, "_rule": None, "_source": None, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._lock = rlock()


def _unpacked(packed):
    return packed.unpack(torch.empty(0, device="cpu")).data.T


def _wide(absmax):
    """float32: files and models in 16 bits have taken SCB along."""
    return absmax if absmax is None or absmax.dtype is torch.float32 else absmax.to(torch.float32)
