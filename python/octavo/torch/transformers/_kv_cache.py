# SPDX-License-Identifier: Apache-2.0
"""Int8Cache and Fp8Cache: keys and values of transformers' models in 8 bits.

A layer keeps codes [B, H_kv, capacity, D] and float32 scales [B, H_kv, capacity], as `quantize` makes them of single
rows of D elements, and gives them to the attention function "octavo" (_attention.py) as they are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from ... import _octavo

_LEAST = 256  # tokens of a first block
_CACHES = {torch.int8: "Int8Cache", torch.float8_e4m3fn: "Fp8Cache"}


class CodedStates(NamedTuple):
    """Keys or values of a layer: codes [B, T, H_kv, D] and scales [B, T, H_kv], views of the cache.

    Whatever another attention function asks of them is an error that names the right one.
    """

    codes: torch.Tensor
    scales: torch.Tensor

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{_CACHES[self.codes.dtype]}: attn_implementation must be 'octavo'; got a function that asks its states for {name!r}")


def coded(states: torch.Tensor, dtype: torch.dtype = torch.int8) -> CodedStates:
    """States [B, H_kv, T, D] as codes and scales, each of its own token and head."""
    batch, heads, tokens, depth = states.shape
    q = _octavo.quantize(states.detach().reshape(-1, depth), dtype)
    return CodedStates(q.data.view(batch, heads, tokens, depth).transpose(1, 2), q.scale.view(batch, heads, tokens).transpose(1, 2))


class Int8Layer(CacheLayerMixin):
    """One layer's codes and scales, in blocks that double when they are full."""

    codes_dtype = torch.int8
    is_compileable = False
    is_croppable = True
    is_sliding = False
    supports_early_init = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._length = 0
        self._tensors: list[torch.Tensor] = []  # key codes, key scales, value codes, value scales: [B, H_kv, capacity, ...]

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Remembers type and device; memory comes with the first tokens."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Adds tokens [B, H_kv, T, D]; returns CodedStates of all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        fresh = [tensor.transpose(1, 2) for states in (key_states, value_states) for tensor in coded(states, self.codes_dtype)]
        begin, self._length = self._length, self._length + key_states.shape[2]
        self._make_room(fresh)
        for to, tensor in zip(self._tensors, fresh):
            to[:, :, begin : self._length] = tensor
        tokens = [tensor[:, :, : self._length].transpose(1, 2) for tensor in self._tensors]
        return CodedStates(*tokens[:2]), CodedStates(*tokens[2:])

    def _make_room(self, fresh: list[torch.Tensor]) -> None:
        capacity = self._tensors[0].shape[2] if self._tensors else 0
        if self._length <= capacity:
            return
        capacity = max(self._length, 2 * capacity, _LEAST)
        grown = [tensor.new_zeros((*tensor.shape[:2], capacity, *tensor.shape[3:])) for tensor in fresh]
        for to, tensor in zip(grown, self._tensors):
            to[:, :, : tensor.shape[2]] = tensor
        self._tensors = grown

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Tokens with those of the query, and the first one's position."""
        return self._length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens that are kept."""
        return self._length

    def get_max_length(self) -> int:
        """-1: there is no limit."""
        return -1

    def reset(self) -> None:
        """Drops all tokens."""
        self._tensors, self._length, self.is_initialized = [], 0, False

    def crop(self, tokens_to_remove: int) -> None:
        """Drops so many of the last tokens, given as a number below 0."""
        if tokens_to_remove > 0:
            raise ValueError(f"{_CACHES[self.codes_dtype]}: crop's argument must be at most 0, minus the tokens to drop; got {tokens_to_remove}")
        self._length = max(0, self._length + tokens_to_remove)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._tensors = [change(tensor) for tensor in self._tensors]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Sequences in another order, for beam search."""
        self._each(lambda tensor: tensor.index_select(0, beam_idx))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every sequence so many times."""
        self._each(lambda tensor: tensor.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """These sequences alone."""
        self._each(lambda tensor: tensor[indices])

    def offload(self) -> None:
        """Nothing: codes are on the CPU."""

    def prefetch(self) -> None:
        """Nothing: codes are on the CPU."""

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales, with room for more tokens."""
        return sum(tensor.nbytes for tensor in self._tensors)


class Fp8Layer(Int8Layer):
    """One layer's codes of float8_e4m3fn."""

    codes_dtype = torch.float8_e4m3fn


class _CodedCache(Cache):
    """Layers that are made as they are used."""

    _layer: type[Int8Layer]

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=self._layer)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales of all layers, with room for more tokens."""
        return sum(layer.nbytes for layer in self.layers)


class Int8Cache(_CodedCache):
    """Keys and values in int8, one float32 scale for each token and head: half the bytes of bfloat16, and 4 for each scale.

    For models whose attn_implementation is "octavo", on CPUs: `model.set_attn_implementation("octavo")`, then
    `model.generate(..., past_key_values=octavo.torch.Int8Cache())`. Layers come as they are used, and keep all tokens,
    those before a sliding window, too. Source: specification section 7, attention.

    Example:
        >>> import octavo.torch, torch, transformers
        >>> sizes = dict(vocab_size=96, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
        >>> model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
        >>> model.set_attn_implementation("octavo")
        >>> cache = octavo.torch.Int8Cache()
        >>> y = model.generate(torch.tensor([[5, 6]]), past_key_values=cache, max_new_tokens=3, min_new_tokens=3)
        >>> cache.get_seq_length()
        4
    """

    _layer = Int8Layer


class Fp8Cache(_CodedCache):
    """Keys and values in float8_e4m3fn, with queries that are not quantised; else as Int8Cache.

    Example:
        >>> import octavo.torch, torch, transformers
        >>> sizes = dict(vocab_size=96, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
        >>> model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
        >>> model.set_attn_implementation("octavo")
        >>> model.generate(torch.tensor([[5, 6]]), past_key_values=octavo.torch.Fp8Cache(), max_new_tokens=3, min_new_tokens=3).shape
        torch.Size([1, 5])
    """

    _layer = Fp8Layer


__all__ = ["CodedStates", "Fp8Cache", "Fp8Layer", "Int8Cache", "Int8Layer", "coded"]
