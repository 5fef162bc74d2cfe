# SPDX-License-Identifier: Apache-2.0
"""transformers' save_pretrained of a model that quantize_ has changed.

It would write codes beside a config.json that does not declare them, which loads as nonsense or not at all.
Until such a folder can declare itself, saving is an error.
"""

import functools
import sys

from ._quantized_linear import QuantizedLinear


def watch_transformers() -> None:
    """Makes save_pretrained of transformers' models look for layers of quantize_; once, where there is transformers."""
    modeling = sys.modules.get("transformers.modeling_utils")
    model = getattr(modeling, "PreTrainedModel", None)
    if model is None or hasattr(model.save_pretrained, "_octavo"):
        return
    original = model.save_pretrained

    @functools.wraps(original)
    def save_pretrained(self, *args, **options):
        # Of a model with PEFT's adapters only these are written.
        if not getattr(self, "_hf_peft_config_loaded", False):
            _check(self, options.get("state_dict"))
        return original(self, *args, **options)

    save_pretrained._octavo = True  # type: ignore[attr-defined]
    model.save_pretrained = save_pretrained


def _check(model, state):
    for name, layer in model.named_modules():
        if isinstance(layer, QuantizedLinear) and layer.frozen and (state is None or f"{name}.weight_scale" in state):
            raise NotImplementedError(f"save_pretrained: model must have no frozen layers of quantize_ (config.json cannot "
                                      f"declare them yet; octavo.quantize_file writes files, torch.save(model.state_dict()) "
                                      f"keeps codes); got {name!r}, {layer.scheme}")
