# SPDX-License-Identifier: Apache-2.0
"""Equal products of a graph that inductor compiles become one.

Layers that share a product (fuse=True) each multiply for all where a model is traced. Behind inductor's functionalisation equal
arguments have equal values, so that the later call is the earlier one's result.
"""

import operator
from types import ModuleType

import torch
from torch.multiprocessing.reductions import StorageWeakRef

POST_GRAD = "torch._inductor.fx_passes.post_grad"  # the module that holds inductor's tables of passes


def register(post_grad: ModuleType) -> None:
    """Adds the pass to inductor's first table."""
    from torch._inductor.pattern_matcher import CallFunctionVarArgs, register_graph_pattern

    product = torch.ops.octavo.linear.default
    register_graph_pattern(CallFunctionVarArgs(product), pass_dict=post_grad.pass_patterns[0])(_take_the_first)


def _take_the_first(match, *arguments, **options):
    later = match.output_node()
    if _memory(later) & {storage for value in later.graph.output_node().all_input_nodes for storage in _memory(value)}:
        return  # whoever gets two results may write to one of them
    for node in later.graph.nodes:
        if node is later:
            return
        if _equal(node, later):
            later.replace_all_uses_with(node)
            later.graph.erase_node(later)
            return


def _memory(node):
    value = node.meta.get("val")
    return {StorageWeakRef(value.untyped_storage())} if isinstance(value, torch.Tensor) else set()


def _equal(a, b):
    """Whether two nodes, or arguments of nodes, have one value."""
    if isinstance(a, torch.fx.Node) and isinstance(b, torch.fx.Node):
        return a is b or (a.op == b.op == "call_function" and a.target == b.target and _pure(a.target)
                          and _equal(a.args, b.args) and _equal(a.kwargs, b.kwargs))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def _pure(target):
    if target is operator.getitem:
        return True
    return (isinstance(target, torch._ops.OpOverload) and not target._schema.is_mutable
            and torch.Tag.nondeterministic_seeded not in target.tags)
