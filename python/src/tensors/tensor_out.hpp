// SPDX-License-Identifier: Apache-2.0
// Octavo's tensors as NumPy arrays and PyTorch tensors, without a copy.
#pragma once

#include <nanobind/nanobind.h>

#include "octavo/tensor.hpp"
#include "tensor_in.hpp"

namespace octavo::python {

namespace nb = nanobind;

/// A tensor of that framework over the same memory, which it keeps alive. An undefined tensor is
/// None. Framework::none means NumPy.
nb::object give(const Tensor& tensor, Framework framework);

/// Any tensor as PyTorch's, of the same memory, which must not be written to; a copy where PyTorch
/// has no such strides. Raises what `acquire` raises.
nb::object as_torch(nb::handle value, const char* operation, const char* argument);

/// A new, uninitialised tensor of that framework; `view` becomes its memory. Cheaper than `give`
/// for small results, whose memory the framework has at hand. On a device: PyTorch's alone.
nb::object make(Framework framework, DType dtype, std::span<const std::int64_t> shape,
                const Device& device, TensorView& view);

/// "cpu", "cuda:0": as PyTorch writes it.
std::string device_name(const Device& device);

/// An empty tensor of PyTorch's on a device; None for the host.
nb::object empty_on(const Device& device);
/// What a weight is moved to: a tensor, or None for the host, as it is; of a device's name or a
/// torch.device an empty tensor there. Raises ValueError, RuntimeError (a device that cannot be
/// used).
nb::object tensor_on(nb::handle like, const char* operation);

/// Registers the class that keeps memory alive behind a NumPy array.
void register_memory(nb::module_& module);

}  // namespace octavo::python
