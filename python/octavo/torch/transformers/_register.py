# SPDX-License-Identifier: Apache-2.0
"""Octavo among the quantisers of transformers, from whichever of the two imports comes second.

A folder that Octavo's save_pretrained wrote declares itself in a dialect that others read, with a field "octavo"; of
such a folder, and of no other, Octavo is the quantiser.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._requirement import has_transformers
from .._when_imported import when_imported

if TYPE_CHECKING:
    from ._quantizer import OctavoConfig

_MODULE = "transformers.quantizers.auto"
_DIALECTS = ("compressed-tensors", "fp8", "bitsandbytes_8bit")  # in transformers' words


def register() -> None:
    """Registers OctavoConfig where transformers is there, or when it is imported."""
    when_imported(_MODULE, _register)


def octavo_config() -> "type[OctavoConfig]":
    """The class; transformers' table is imported before it, which registers it."""
    importlib.import_module(_MODULE)
    from ._quantizer import OctavoConfig

    return OctavoConfig


def _register(auto: ModuleType) -> None:
    if not has_transformers() or "octavo" in auto.AUTO_QUANTIZER_MAPPING:  # an older one has another way of loading
        return
    from ._quantizer import OctavoConfig, OctavoQuantizer

    auto.register_quantization_config("octavo")(OctavoConfig)
    auto.register_quantizer("octavo")(OctavoQuantizer)
    configs = auto.AUTO_QUANTIZATION_CONFIG_MAPPING
    for method in _DIALECTS:
        if method in configs:
            configs[method] = _or_octavo(configs[method], OctavoConfig)


def _or_octavo(theirs: Any, ours: Any) -> type:
    """The class of a dialect's configuration, which makes Octavo's of what Octavo declared."""

    class Configuration(theirs):  # type: ignore[misc]
        @classmethod
        def from_dict(cls, config_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            chosen = ours if "octavo" in config_dict else theirs
            return chosen.from_dict(config_dict, *args, **kwargs)

    Configuration.__name__ = theirs.__name__
    Configuration.__qualname__ = theirs.__qualname__
    return Configuration
