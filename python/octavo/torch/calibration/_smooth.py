# SPDX-License-Identifier: Apache-2.0
"""smooth_: SmoothQuant's factors, folded into the norms before linear layers."""

from typing import NamedTuple

import torch

from ..models._calibration import Calibration
from ..models._linear_modules import is_conv1d, is_linear

_LLAMA = (("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
          ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")))
_ATTENTION = _LLAMA[:1]  # the other norm feeds a router and experts
# Blocks whose norms multiply by their weight and feed these layers and nothing else.
_BLOCKS = {"LlamaDecoderLayer": _LLAMA, "MistralDecoderLayer": _LLAMA, "Qwen2DecoderLayer": _LLAMA,
           "Qwen3DecoderLayer": _LLAMA, "MixtralDecoderLayer": _ATTENTION, "Qwen2MoeDecoderLayer": _ATTENTION,
           "Qwen3MoeDecoderLayer": _ATTENTION, "GPT2Block": (("ln_1", ("attn.c_attn",)), ("ln_2", ("mlp.c_fc",)))}


def fed_layers(model: torch.nn.Module) -> dict[str, tuple[str, ...]]:
    """The norms of a model that feed linear layers and nothing else, and those layers."""
    found: dict[str, tuple[str, ...]] = {}
    for path, block in model.named_modules():
        prefix = f"{path}." if path else ""
        for norm, names in _BLOCKS.get(type(block).__name__, ()):
            found[prefix + norm] = tuple(prefix + name for name in names)
    return found


class Smoothed(NamedTuple):
    """A norm that took the factors of the layers behind it."""

    norm: str
    layers: tuple[str, ...]


@torch.no_grad()
def smooth_(model: torch.nn.Module, calibration: Calibration) -> tuple[Calibration, list[Smoothed]]:
    """Moves range from activations to weights (SmoothQuant) in a float model of transformers, in place.

    Norms are divided by the calibration's factors and the columns of the layers behind them multiplied: in exact arithmetic
    the model computes what it did. Known are the blocks of Llama, Mistral, Qwen2, Qwen3 and GPT-2, and the attention of
    Mixtral and Qwen-MoE; layers behind anything else (an activation, a norm that feeds a residual as BERT's do) stay.

    Args:
        model: before quantize_.
        calibration: of this model (octavo.torch.calibrate).

    Returns:
        The calibration of the model as it is now, whose static scales and outlier columns are those after smoothing;
        and the norms that took factors.

    Raises:
        ValueError: no norm could take factors, factors that do not fit.

    Example:
        >>> import copy, torch, transformers, octavo.torch
        >>> sizes = dict(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
        >>> model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
        >>> ids = torch.arange(32)[None]
        >>> found, norms = octavo.torch.smooth_(model, octavo.torch.calibrate(model, [ids]))
        >>> len(norms)
        2
    """
    done: list[Smoothed] = []
    rows = dict(calibration)
    for norm, layers in fed_layers(model).items():
        if not all(layer in rows for layer in layers) or not all(_is_float(model, layer) for layer in layers):
            continue
        factors = rows[layers[0]].smooth
        if any(not torch.equal(rows[layer].smooth, factors) for layer in layers):
            raise ValueError(f"smooth_: calibration must have one list of factors for layers that read one input; got "
                             f"several for {', '.join(layers)}")
        _divide(model.get_submodule(norm), factors, norm)
        for layer in layers:
            _multiply(model.get_submodule(layer), factors, layer)
            rows[layer] = rows[layer].smoothed()
        done.append(Smoothed(norm, layers))
    if not done:
        raise ValueError(f"smooth_: model must have calibrated float layers behind norms that feed nothing else (blocks: "
                         f"{', '.join(sorted(_BLOCKS))}); got {type(model).__name__}")
    return Calibration(rows, calibration.in_files, calibration.norms), done


def _is_float(model, name):
    layer = model.get_submodule(name)
    return is_linear(layer) or is_conv1d(layer)


def _divide(norm, factors, name):
    for parameter in (norm.weight, getattr(norm, "bias", None)):
        if parameter is not None:
            if parameter.shape != factors.shape:
                raise ValueError(f"smooth_: calibration must have {parameter.numel()} factors behind {name!r}; got "
                                 f"{factors.numel()}")
            parameter.copy_(parameter.double() / factors.double())


def _multiply(layer, factors, name):
    weight = layer.weight.T if is_conv1d(layer) else layer.weight
    if weight.shape[1] != factors.numel():
        raise ValueError(f"smooth_: calibration must have {weight.shape[1]} factors for {name!r}; got {factors.numel()}")
    weight.copy_(weight.double() * factors.double())
