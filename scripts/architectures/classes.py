# SPDX-License-Identifier: Apache-2.0
"""Every model class of the installed transformers, and a model of each on the meta device."""

import importlib
import inspect
import pkgutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
import transformers.models

# What a configuration needs before its class can be built, by model type: a default of transformers that its own
# model refuses.
OVERRIDES: dict[str, dict[str, Any]] = {
    "autoformer": {"prediction_length": 24},
    "beit": {"out_indices": [3, 5, 7, 11]},
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "hunyuan_vl_text": {"head_dim": 128},
    "informer": {"prediction_length": 24},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "reformer": {"is_decoder": True},
    "time_series_transformer": {"prediction_length": 24},
    "wav2vec2-bert": {"vocab_size": 32},
    "wav2vec2-conformer": {"vocab_size": 32},
}
SECONDS = 60  # for one model on the meta device


class TooLong(Exception):
    """A model was not built in its time."""


def model_classes() -> dict[str, type]:
    """The concrete classes with a configuration, by name."""
    found: dict[str, type] = {}
    for folder in pkgutil.iter_modules(transformers.models.__path__, "transformers.models."):
        package = importlib.import_module(folder.name)
        for module in pkgutil.iter_modules(package.__path__, folder.name + "."):
            if not module.name.rpartition(".")[2].startswith("modeling_"):
                continue
            try:
                members = vars(importlib.import_module(module.name))
            except ImportError:  # a package that is not here
                continue
            found.update((name, cls) for name, cls in members.items() if _is_model(cls, module.name))
    return dict(sorted(found.items()))


def _is_model(cls: Any, module: str) -> bool:
    return (inspect.isclass(cls) and issubclass(cls, transformers.PreTrainedModel) and cls.__module__ == module
            and cls.config_class is not None and not cls.__name__.endswith("PreTrainedModel"))


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TooLong in what takes longer."""
    def stop(*_: Any) -> None:
        raise TooLong(f"{seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def on_meta(cls: type) -> torch.nn.Module:
    """The model of the class's default configuration, without memory. Raises: whatever its class raises, TooLong."""
    config_class = cls.config_class  # type: ignore[attr-defined]
    with limited(SECONDS), torch.device("meta"):
        return cls(config_class(**OVERRIDES.get(config_class.model_type, {})))
