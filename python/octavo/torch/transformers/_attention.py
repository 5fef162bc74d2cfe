# SPDX-License-Identifier: Apache-2.0
"""The attention function "octavo" of transformers: 8-bit keys and values, of an Int8Cache or quantised on the way.

A model says which tokens a query sees by a mask function and a padding mask; causal, sliding and bidirectional ones are
what octavo.attention has, everything else is refused.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from .._requirement import has_transformers
from ..operators._operations import attention

_NAME = "octavo"
# What models hand on that changes no result of attention.
_HARMLESS = frozenset(("position_ids", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "cache_position",
                       "num_items_in_batch", "return_dict", "logits_to_keep", "position_embeddings", "layer_idx"))


def watch_attention(modeling: ModuleType) -> None:
    """Registers the function and its masks under "octavo"; once."""
    if not has_transformers() or _NAME in modeling.ALL_ATTENTION_FUNCTIONS:
        return
    from transformers.masking_utils import AttentionMaskInterface

    modeling.AttentionInterface.register(_NAME, octavo_attention)
    AttentionMaskInterface.register(_NAME, octavo_mask)


def octavo_attention(module: torch.nn.Module, query: torch.Tensor, key: Any, value: Any, attention_mask: torch.Tensor | None,
                     dropout: float = 0.0, scaling: float | None = None, sliding_window: int | None = None,
                     is_causal: bool | None = None, **options: Any) -> tuple[torch.Tensor, None]:
    """Attention of query [B, H, T, D] over keys and values [B, H_kv, L, D] or CodedStates; returns [B, T, H, D].

    attention_mask: what octavo_mask gives, the first token of each sequence. Raises NotImplementedError: a mask, a
    dropout or an option that it does not have.
    """
    from ._kv_cache import CodedStates, coded

    _check_options(attention_mask, dropout, options)
    keys, values = ((states if isinstance(states, CodedStates) else coded(states)) for states in (key, value))
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    return attention(query.transpose(1, 2), keys.codes, keys.scales, values.codes, values.scales, None, None, attention_mask,
                     scaling or 0.0, sliding_window or 0, not causal, None, None), None


def _check_options(mask: torch.Tensor | None, dropout: float, options: dict[str, Any]) -> None:
    if mask is not None and mask.dim() != 1:
        raise NotImplementedError(f"octavo_attention: attention_mask must be 2-D, of padding; got one of shape {list(mask.shape)}")
    if dropout:
        raise NotImplementedError(f"octavo_attention: dropout must be 0 (model.eval()); got {dropout}")
    for name, value in options.items():
        if name not in _HARMLESS and value is not None and value is not False:
            raise NotImplementedError(f"octavo_attention: options must be those of causal attention, windows and scaling; got {name}")


def octavo_mask(batch_size: int, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0,
                mask_function: Callable[..., Any] | None = None, attention_mask: torch.Tensor | None = None,
                **options: Any) -> torch.Tensor | None:
    """The first token of each sequence, int64 [B], of a padding mask [B, L]; None where there is no padding.

    Raises NotImplementedError: padding that is not on the left, or a mask that is neither causal, sliding nor bidirectional.
    """
    if mask_function is not None and not _is_known(mask_function):
        raise NotImplementedError("octavo_attention: mask must be causal, a sliding window or bidirectional; got "
                                  f"{getattr(mask_function, '__qualname__', mask_function)}")
    if attention_mask is None:
        return None
    seen = attention_mask[:, -kv_length:].to(torch.int8)
    if seen.shape[1] != kv_length or bool((seen.diff(dim=1) < 0).any()):
        raise NotImplementedError("octavo_attention: attention_mask must have padding on the left alone, for every token of the cache; got "
                                  f"{[list(attention_mask.shape)]} for {kv_length} tokens")
    starts = kv_length - seen.sum(dim=1, dtype=torch.int64)
    return starts if bool(starts.any()) else None


def _is_known(mask_function: Callable[..., Any]) -> bool:
    from transformers import masking_utils as masks

    plain = (masks.causal_mask_function, masks.bidirectional_mask_function)
    if mask_function in plain:
        return True
    if mask_function.__code__ is not masks.and_masks().__code__:
        return False
    window = masks.sliding_window_overlay(1).__code__
    parts = mask_function.__closure__[0].cell_contents  # type: ignore[index]
    return all(part is masks.causal_mask_function or part.__code__ is window for part in parts)


__all__ = ["octavo_attention", "octavo_mask", "watch_attention"]
