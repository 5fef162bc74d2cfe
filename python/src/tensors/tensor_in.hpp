// SPDX-License-Identifier: Apache-2.0
// Tensors of Python programs as views: no copy, no import of a framework that is not there.
#pragma once

#include <nanobind/nanobind.h>

#include "dlpack.hpp"
#include "octavo/tensor.hpp"

namespace octavo::python {

namespace nb = nanobind;

/// Whose tensor an argument is; results are made for the same.
enum class Framework : std::uint8_t { none, numpy, torch };

/// An argument, acquired. The view lives as long as this and the Python object.
struct In {
  TensorView view;  ///< undefined for None
  Framework framework = Framework::none;
  bool read_only = false;
  bool resolved = false;  ///< a copy: PyTorch's tensor was a view of its memory's negatives
  nb::object owner;       ///< what else has to live: a capsule, a temporary array

  bool defined() const noexcept { return view.defined(); }
};

/// Takes any tensor: torch.Tensor (DLPack's exchange interface, else its attributes), numpy.ndarray
/// (the array interface), whatever else exports DLPack, and what numpy.asarray takes. None gives an
/// undefined view. Raises ValueError (no tensor, foreign byte order, a type that Octavo does not
/// know) and RuntimeError (a device that Octavo was not built for).
In acquire(nb::handle value, const char* operation, const char* argument);

/// DLPack's exchange interface of torch.Tensor; null where torch is not imported or older than it.
const DLPackExchangeApi* torch_api();

/// The stream that a framework works on there: PyTorch's current one, of others the default one.
void* current_stream(Framework framework, const Device& device);

/// The stream of work there for which no tensor of a framework asks: PyTorch's where it is
/// imported.
void* stream_of_caller(const Device& device);

/// The same through one named protocol ("exchange", "attributes", "array", "dlpack", "asarray"),
/// for tests of each. Raises ValueError if the object does not speak it.
In acquire_through(const char* protocol, nb::handle value);

/// A view that will be written to. PyTorch's counts as changed from then on, as an operation of its
/// own would have it. Raises ValueError for a read-only tensor and for a view of negatives,
/// NotImplementedError for one that needs a gradient where gradients are recorded.
In acquire_out(nb::handle value, const char* operation);

}  // namespace octavo::python
