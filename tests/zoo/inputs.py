# SPDX-License-Identifier: Apache-2.0
"""Inputs of small models, by the arguments of their forward function, and their outputs."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

BATCH, TOKENS = 2, 8


def candidates(model: PreTrainedModel) -> Iterator[dict[str, torch.Tensor]]:
    """Arguments to try, the fewest first."""
    names = set(inspect.signature(model.forward).parameters)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(20, 60, (BATCH, TOKENS), generator=generator)
    text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    decoder = {"decoder_input_ids": ids} if "decoder_input_ids" in names else {}
    if "input_ids" in names:
        for more in ({}, decoder, {**decoder, **_images(model, generator)}):
            yield {name: value for name, value in {**text, **more}.items() if name in names}
    for sources in (_images(model, generator), *_sounds(model, generator)):
        for more in (decoder, {}):
            made = {name: value for name, value in {**sources, **more}.items() if name in names}
            if set(sources) <= names:
                yield made
    if "inputs_embeds" in names:
        for size in _numbers(model.config, ("hidden_size", "d_model", "embed_dim", "n_embd")):
            yield {"inputs_embeds": torch.randn(BATCH, TOKENS, size, generator=generator)}
    if "hidden_states" in names:
        for size in _numbers(model.config, ("hidden_size", "d_model", "embed_dim")):
            yield {"hidden_states": torch.randn(BATCH, TOKENS, size, generator=generator)}


def _images(model, generator):
    size = next(iter(_numbers(model.config, ("image_size",))), 32)
    channels = next(iter(_numbers(model.config, ("num_channels", "in_channels", "in_chans"))), 3)
    return {"pixel_values": torch.randn(BATCH, channels, size, size, generator=generator)}


def _sounds(model, generator):
    yield {"input_values": torch.randn(BATCH, 4000, generator=generator)}
    for bins in _numbers(model.config, ("num_mel_bins", "feature_size", "input_feat_per_channel", "input_dim")):
        frames = next(iter(_numbers(model.config, ("max_source_positions",))), 64) * 2
        yield {"input_features": torch.randn(BATCH, bins, frames, generator=generator)}
        yield {"input_features": torch.randn(BATCH, frames, bins, generator=generator)}


def _numbers(config: PretrainedConfig, names: tuple[str, ...]) -> list[int]:
    """Values of those fields, of the configuration and of its parts, each once."""
    found: dict[int, None] = {}
    for part in (config, *(value for value in vars(config).values() if isinstance(value, PretrainedConfig))):
        for name in names:
            value = getattr(part, name, None)
            if type(value) is int:
                found[value] = None
    return list(found)


def inputs_of(model: PreTrainedModel) -> dict[str, torch.Tensor] | None:
    """Arguments that the model takes and gives finite outputs for; None where none of the candidates is."""
    for arguments in candidates(model):
        try:
            if outputs(model, arguments).isfinite().all():
                return arguments
        except Exception:  # not what this model takes
            continue
    return None


def outputs(model: PreTrainedModel, arguments: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All logits, or the first floats that the model gives, flattened."""
    torch.manual_seed(2)
    with torch.no_grad():
        given = model(**arguments)
    logits = getattr(given, "logits", None)
    first = logits if isinstance(logits, torch.Tensor) else next(_floats(given))
    return first.float().flatten()


def _floats(given: Any) -> Iterator[torch.Tensor]:
    if isinstance(given, torch.Tensor):
        if given.is_floating_point():
            yield given
    elif isinstance(given, Mapping):
        for value in given.values():
            yield from _floats(value)
    elif isinstance(given, (list, tuple)):
        for value in given:
            yield from _floats(value)
