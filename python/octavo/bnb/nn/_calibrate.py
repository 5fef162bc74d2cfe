# SPDX-License-Identifier: Apache-2.0
"""Fixed lists of outlier columns, from activations that a model has seen."""

import contextlib
from typing import Iterator

import torch

from ... import _octavo
from ...torch.nn import LLMInt8Linear as _NativeLayer
from ._linear import Linear8bitLt


@contextlib.contextmanager
def calibrate_outlier_columns(model: torch.nn.Module, threshold: float = 6.0) -> Iterator[dict[str, torch.Tensor]]:
    """Collects the outlier columns of every Linear8bitLt of a model while it runs in the block.

    At the end each layer keeps its list and looks for no other columns (threshold 0), so that a row's
    result no longer depends on the rows beside it. Yields {layer name: int64 columns, ascending}, filled
    at the end: what octavo.quantize_file takes as outlier_columns.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> model = torch.nn.Sequential(bnb.nn.Linear8bitLt(4, 2, has_fp16_weights=False, threshold=6.0)).to("cpu")
        >>> with bnb.calibrate_outlier_columns(model) as columns:
        ...     _ = model(torch.tensor([[1.0, 9.0, 0.0, 0.0]]))
        >>> columns["0"].tolist()
        [1]
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (Linear8bitLt, _NativeLayer))}
    seen: dict[str, set[int]] = {name: set() for name in layers}

    def watch(columns):
        def hook(module, arguments):
            found = _octavo.int8_vectorwise_quant(arguments[0].detach(), threshold)[2]
            columns.update(found.tolist())

        return hook

    hooks = [layer.register_forward_pre_hook(watch(seen[name])) for name, layer in layers.items()]
    result: dict[str, torch.Tensor] = {}
    try:
        yield result
    finally:
        for hook in hooks:
            hook.remove()
    for name, layer in layers.items():
        result[name] = torch.tensor(sorted(seen[name]), dtype=torch.int64)
        if isinstance(layer, Linear8bitLt):
            layer.state.outlier_columns, layer.state.threshold = result[name], 0.0
        else:
            layer.set_outlier_columns(result[name])
