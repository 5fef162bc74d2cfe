# SPDX-License-Identifier: Apache-2.0
"""How an operator is registered: schema, kernel of CPUs and CUDA devices, fake kernel, gradient.

Nothing is compiled against PyTorch: kernels are Python functions over the extension module, put into
the dispatcher by torch.library. Gradients are operators themselves, so that torch.compile traces
them.
"""

import functools

import torch
from torch.autograd import forward_ad

from ... import _octavo

_library = torch.library.Library("octavo", "DEF")


def define(schema, kernel, fake):
    """Registers octavo::<schema>; returns its overload, which is cheaper to call than the packet."""
    name = schema[: schema.index("(")]
    packet, _, overload = name.partition(".")
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        _library.impl(name, kernel, device)
    _library.impl(name, _refusal(packet), "CompositeExplicitAutograd")
    torch.library.register_fake(f"octavo::{name}", _without_memory(packet, fake), lib=_library)
    operator = getattr(getattr(torch.ops.octavo, packet), overload or "default")
    _kernels[operator.name()] = kernel
    return operator


_kernels = {}  # by operators' names


def _without_memory(name, fake):
    """A fake kernel that refuses tensors of a device: the dispatcher comes here where one of several is on `meta`.
    Handles of packed weights (_linear.py) are always on the CPU."""

    def checked(*arguments):
        for value in torch.utils._pytree.tree_leaves(arguments):
            if type(value) in _TENSORS and value.device.type != "meta" and not hasattr(value, "_number"):
                raise RuntimeError(f"{name}: tensors.device must be one for all; got meta and {value.device}")
        return fake(*arguments)

    return checked


def direct(operator, instead=None):
    """The operator as a function, which calls its kernel at once where nothing would happen between the two.

    The dispatcher costs as much as a small product: it converts arguments and results twice.
    instead: arguments -> another operator and its arguments, or None.
    """
    kernel = _kernels[operator.name()]

    def call(*arguments):
        if not _is_compiling():
            if _nothing_between(arguments):
                try:
                    return kernel(*arguments)
                except (ValueError, RuntimeError):  # of another device or layout, perhaps, which the dispatcher knows
                    pass
            arguments = _tensors_of(operator, arguments)
        if instead is not None and (other := instead(arguments)) is not None:
            return other[0](*other[1])
        return operator(*arguments)

    return call


def _tensors_of(operator, arguments):
    """The arguments of an operator with tensors of other frameworks as PyTorch's, of the same memory."""
    return [_octavo._as_torch(value, operator.name().removeprefix("octavo::"), operator._schema.arguments[position].name)
            if hasattr(type(value), "__dlpack__") and not hasattr(type(value), "__torch_function__") else value
            for position, value in enumerate(arguments)]


def _nothing_between(arguments):
    """Whether the dispatcher has nothing to do for a call on a CPU: no gradient, mode, transformation, tracer or
    profiler, and plain tensors."""
    return (_all_plain(arguments, _TENSORS, _PLAIN, _is_grad_enabled()) and _added_keys().raw_repr() in _QUIET
            and not _is_torch_function_mode_enabled() and not _profiler_enabled() and forward_ad._current_level < 0)


# Looked up once: attributes of modules are a tenth of a call.
_all_plain, _added_keys = _octavo._all_plain, torch._C._dispatch_tls_local_include_set
_is_grad_enabled, _is_torch_function_mode_enabled = torch.is_grad_enabled, torch._C._is_torch_function_mode_enabled
_is_compiling, _profiler_enabled = torch.compiler.is_compiling, torch.autograd._profiler_enabled

_TENSORS = (torch.Tensor, torch.nn.Parameter)
_PLAIN = frozenset((type(None), bool, int, float, str, torch.dtype))
_keys = torch._C.DispatchKey


def _key_sets(*sets):
    return frozenset(functools.reduce(torch._C.DispatchKeySet.add, rest, torch._C.DispatchKeySet(first)).raw_repr()
                     for first, *rest in sets)


# What a thread adds to every call's keys, in inference_mode and without.
_QUIET = _key_sets((_keys.BackendSelect,), (_keys.BackendSelect, _keys.ADInplaceOrView))


def device_refusal(device):
    """Why tensors cannot be on a torch.device, for a sentence; empty: they can."""
    return _octavo.device_refusal(device.type, device.index or 0)


def _refusal(name):
    """What every device and layout without a kernel runs: one sentence."""

    def refuse(*arguments):
        for value in torch.utils._pytree.tree_leaves(arguments):
            if not isinstance(value, torch.Tensor):
                continue
            if why := device_refusal(value.device):
                raise RuntimeError(f"{name}: tensors.device {why}")
            if value.layout != torch.strided:
                raise RuntimeError(f"{name}: tensors.layout must be torch.strided; got {value.layout}")
        raise RuntimeError(f"{name}: arguments must have a tensor of the CPU or a CUDA device; got none")

    return refuse


def differentiate(operator, arguments, vjp, slots, typed, keep=None, like=torch.empty_like):
    """Gives an operator its gradient, an operator of its own (octavo::<name>_vjp).

    Args:
        arguments: the operator's own, as in its schema.
        vjp: kernel(grad, wanted, options, *inputs), the extension module's function where its
            arguments come in the operator's order. `wanted` has one bool for each entry of `slots`;
            the result is the list of wanted gradients in that order.
        slots: positions of the differentiable inputs.
        typed: those of them that are operands, whose gradients keep their types; all others have
            gradients of float32.
        keep: inputs -> what has to live until the gradient is computed, beside the inputs.
        like: (input, dtype) -> a fake gradient, as the kernel's lies.
    """

    def kernel(grad, *inputs):
        *inputs, wanted = inputs
        return vjp(grad, wanted, _GRADIENT_OPTIONS, *inputs)

    def fake(grad, *inputs):
        *inputs, wanted = inputs
        return [
            like(inputs[slot], dtype=gradient_dtype(inputs[slot], grad) if slot in typed else torch.float32)
            for slot, want in zip(slots, wanted) if want
        ]

    def save(ctx, inputs, output):
        save_inputs(ctx, inputs)
        ctx.kept = keep and keep(inputs)

    def backward(ctx, grad):
        inputs = saved_inputs(ctx)
        wanted = [ctx.needs_input_grad[slot] for slot in slots]
        found = iter(gradient(as_gradient(grad), *inputs, wanted))
        gradients = no_gradients(inputs)
        for slot, want in zip(slots, wanted):
            if want:
                gradients[slot] = next(found)
        return tuple(gradients)

    name = operator.name().removeprefix("octavo::")
    gradient = define(f"{name}_vjp(Tensor grad, {arguments}, bool[] wanted) -> Tensor[]", kernel, fake)
    differentiate_once(gradient, name)
    register_gradient(operator, backward, save)


def row_major(x, dtype):
    """A fake tensor of that shape, rows one behind the other."""
    return x.new_empty(x.shape, dtype=dtype)


def rows_like(x, dtype):
    """The same, but of a matrix in its order."""
    return torch.empty_like(x, dtype=dtype) if x.dim() == 2 else row_major(x, dtype)


def register_gradient(operator, backward, save):
    """torch.library.register_autograd, and what it leaves out: a sentence for forward-mode derivatives, and a short way.

    Calls that need no gradient go from the dispatcher straight to their kernel: PyTorch's way there is long.
    """
    torch.library.register_autograd(operator.name(), backward, setup_context=save, lib=_library)
    if not hasattr(torch.library, "get_kernel"):  # older than 2.9
        return
    kernel = _kernels[operator.name()]
    theirs = torch.library.get_kernel(operator, "AutogradCPU").call_boxed

    name = operator.name().removeprefix("octavo::")

    def autograd(keys, *arguments):
        refuse_tangents(name, arguments)
        if keys.raw_repr() in _NO_MORE and not (torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments)):
            return kernel(*arguments)
        return theirs(keys, *arguments)

    _library.impl(name, autograd, "AutogradCPU", with_keyset=True)


def refuse_tangents(name, arguments):
    """Makes a forward-mode derivative an error; without one PyTorch gives zeros."""
    if forward_ad._current_level < 0:
        return
    for value in torch.utils._pytree.tree_leaves(arguments):
        if isinstance(value, torch.Tensor) and forward_ad.unpack_dual(value).tangent is not None:
            raise NotImplementedError(f"{name}: derivatives must be taken backward (forward mode is not built); got a "
                                      "tensor with a tangent")


# The keys of a call that has a gradient and a kernel before it, and nothing else.
_NO_MORE = _key_sets((_keys.CPU, _keys.AutogradCPU), (_keys.CPU, _keys.AutogradCPU, _keys.ADInplaceOrView))


def differentiate_once(gradient, name):
    """Makes the derivative of a gradient operator an error; without one PyTorch gives zeros."""
    register_gradient(gradient, lambda ctx, *grads: refuse_second(name), lambda ctx, inputs, output: None)


def refuse_second(name):
    raise NotImplementedError(f"{name}: gradients must be taken once (second derivatives are not built); got a "
                              "derivative of a gradient")


class _FirstOrder(torch.autograd.Function):
    """Gradients as they are, without gradients of their own."""

    @staticmethod
    def forward(ctx, operation, count, *tensors):
        ctx.operation = operation
        return tuple(None if t is None else t.view_as(t) for t in tensors[-count:])

    @staticmethod
    def backward(ctx, *grads):
        refuse_second(ctx.operation)


def first_order(operation, inputs, gradients):
    """The gradients of inputs that torch.autograd.Function gives, such that differentiating them says why that cannot be."""
    if not torch.is_grad_enabled():
        return gradients
    kept = iter(_FirstOrder.apply(operation, len(gradients), *inputs, *gradients))
    return tuple(next(kept) for _ in gradients)


# The extension module's (type, float32, dequantized) of gradients: each argument's own, no, no.
_GRADIENT_OPTIONS = (None, False, False)


def save_inputs(ctx, inputs):
    """Keeps an operator's inputs for its gradient: tensors, lists of tensors, anything else."""
    leaves, ctx.structure = torch.utils._pytree.tree_flatten(list(inputs))
    ctx.save_for_backward(*(x if isinstance(x, torch.Tensor) else None for x in leaves))
    ctx.others = tuple(None if isinstance(x, torch.Tensor) else x for x in leaves)


def saved_inputs(ctx):
    leaves = [other if tensor is None else tensor
              for tensor, other in zip(ctx.saved_tensors, ctx.others)]
    return torch.utils._pytree.tree_unflatten(leaves, ctx.structure)


def no_gradients(inputs):
    """None for each input, in the structure that autograd expects: a list of them for a list of tensors."""
    return [[None] * len(x) if _is_tensor_list(x) else None for x in inputs]


def _is_tensor_list(value):
    return isinstance(value, (list, tuple)) and all(isinstance(x, torch.Tensor) for x in value)


WIDE = (torch.float32, torch.bfloat16, torch.float16)


def as_gradient(grad):
    """A gradient in a type that products take: that of an fp8 result arrives in fp8."""
    return grad if grad.dtype in WIDE else grad.to(torch.float32)


def gradient_dtype(argument, grad):
    """The type of the gradient of an operand: its own, or the incoming gradient's."""
    return argument.dtype if argument.dtype in WIDE else grad.dtype


_INTEGERS = (torch.int8, torch.uint8)


def default_out_dtype(a, b):
    """The rule of octavo.scaled_mm: a float type with itself or beside 8 bits, bfloat16 for fp8, else float32."""
    if a in WIDE or b in WIDE:
        wide = [dtype for dtype in (a, b) if dtype in WIDE]
        return wide[0] if len(wide) == 1 or a == b else torch.float32
    return torch.float32 if a in _INTEGERS or b in _INTEGERS else torch.bfloat16
