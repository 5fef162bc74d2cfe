# SPDX-License-Identifier: Apache-2.0
"""PyTorch's products in graphs of its compiler, called by the dispatcher, as in every other program.

Inductor does not do so everywhere: with `freezing` it fuses a product with constant weights into operators of oneDNN, with
`cpp_wrapper` it binds PyTorch's kernels by their names. While `enable` holds, such graphs are given operators that it does not
know: octavo::dispatched_int_mm and so on, each of which calls PyTorch's of that name. They do so after `disable`, too.
"""

import importlib
import sys
from collections.abc import Iterable
from typing import Any

import torch

from .._when_imported import when_imported
from ..operators._library import define
from ._aten import NAMES

_CONFIG = "torch._inductor.config"
_enabled = False
_pass: Any = None  # inductor's, while it is there


def enable() -> None:
    """Gives every graph that is compiled from now on those operators."""
    global _enabled
    _enabled = True
    when_imported(_CONFIG, _begin)  # inductor takes two seconds to import, which few programs need


def disable() -> None:
    global _enabled, _pass
    _enabled = False
    if _pass is not None and sys.modules[_CONFIG].joint_custom_pre_pass is _pass:
        sys.modules[_CONFIG].joint_custom_pre_pass = _pass.before
    _pass = None


def _begin(config: Any) -> None:
    global _pass
    if _enabled and hasattr(config, "joint_custom_pre_pass"):
        _pass = config.joint_custom_pre_pass = _make_pass(config, config.joint_custom_pre_pass)


def _make_pass(config: Any, before: Any) -> Any:
    base = importlib.import_module("torch._inductor.custom_graph_pass").CustomGraphPass
    passes = before if isinstance(before, (list, tuple)) else [] if before is None else [before]

    class Pass(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.before = before

        def __call__(self, graph: torch.fx.Graph) -> None:
            for one in passes:
                one(graph)
            if config.freezing or config.cpp_wrapper:
                _replace(graph.nodes)

        def uuid(self) -> Any:
            """What inductor's cache knows it by; None, as that of another pass: such graphs are not kept."""
            known = [one.uuid() if hasattr(one, "uuid") else None for one in passes]
            return None if None in known else ("octavo: dispatched products, 1", *known)

    return Pass()


def _replace(nodes: Iterable[torch.fx.Node]) -> None:
    for node in nodes:
        if node.op == "call_function" and node.target in _OPERATORS and node.meta["val"].device.type == "cpu":
            node.target = _OPERATORS[node.target]


def _dispatched(name: str) -> Any:
    operator = getattr(torch.ops.aten, name).default

    def call(*arguments: Any) -> torch.Tensor:
        return operator(*arguments)

    return operator, define(str(operator._schema).replace("aten::_", "dispatched_"), call, call)


# By PyTorch's operators, those that this version has.
_OPERATORS = dict(_dispatched(name) for name in NAMES if hasattr(torch.ops.aten, name))
