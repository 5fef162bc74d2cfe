// SPDX-License-Identifier: Apache-2.0
// Arguments of operations: operands, scales, granularities, results.
#pragma once

#include <nanobind/nanobind.h>

#include <span>
#include <string>
#include <vector>

#include "dtypes.hpp"
#include "errors.hpp"
#include "interpreter_lock.hpp"
#include "octavo/moe.hpp"
#include "octavo/packed.hpp"
#include "octavo/problem.hpp"
#include "octavo/quantize.hpp"
#include "tensor_in.hpp"
#include "tensor_out.hpp"
#include "threads.hpp"

namespace octavo::python {

namespace nb = nanobind;

/// The default of scale arguments: the scale that the operand carries, else none.
struct Undefined {};
extern nb::handle undefined_object;

/// octavo.Quantized: codes, scales and zero points as tensors of the caller's framework.
struct PyQuantized {
  nb::object data, scale, azp;
  std::int64_t rows = 0, cols = 0;  ///< of the matrix under one scale; 0: the whole extent
  std::int64_t row0 = 0, col0 = 0;  ///< where in the first cell a slice begins
};

/// An octavo.Quantized of that framework's tensors.
nb::object give(const Quantized& quantized, Framework framework);

/// Collects the tensors of one call: keeps them alive, and knows whose result it will be.
class Call {
 public:
  explicit Call(const char* operation) noexcept : operation_(operation) {}

  TensorView tensor(nb::handle value, const char* argument);
  /// A tensor that the host will read: of a device's, a copy there.
  TensorView host_tensor(nb::handle value, const char* argument);
  TensorView out(nb::handle value);
  /// None, or integers: a list, or a tensor of any framework.
  TensorView columns(nb::handle value);
  /// A tensor, an octavo.Quantized with its scale, or an octavo.types.PackedWeight.
  Operand operand(nb::handle value, const char* argument);
  /// UNDEFINED, None, a number or a tensor, with a granularity (see `granularity`).
  Scale scale(nb::handle value, nb::handle granularity, const char* argument);
  DType dtype(nb::handle value, const char* argument) const {
    return dtype_argument(value, operation_, argument);
  }
  /// None or a string ("token", "group128", "block128x128", "mx", ...).
  Granularity granularity(nb::handle value, const char* argument) const;
  Quantized quantized(nb::handle value, const char* argument);

  nb::object give(const Tensor& tensor) const { return python::give(tensor, framework_); }
  nb::object give(const Quantized& quantized) const { return python::give(quantized, framework_); }
  /// A result of few bytes in the framework's own memory, which it has at hand; None for a large
  /// one, which the operation allocates (in large pages). On a device, of any size: a framework
  /// that captures a graph has to know its memory.
  nb::object make_small(DType dtype, std::span<const std::int64_t> shape, TensorView& view) const;
  /// The same for rows of `n` elements in the place of x's, by default of x's type.
  nb::object make_small_rows(const TensorView& x, std::int64_t n, DType dtype,
                             TensorView& view) const;
  const char* operation() const noexcept { return operation_; }
  /// Whose tensors the call got.
  Framework framework() const noexcept { return framework_; }
  /// What the call runs on: of tensors on a device, that and the stream that their framework works
  /// on.
  ExecContext context() const noexcept;
  /// The same for work on that device, whatever the call's tensors lie on.
  ExecContext context_on(const Device& device) const;

 private:
  void keep(In& in);

  const char* operation_;
  Framework framework_ = Framework::none;
  Device device_{};         // the first one that is not the CPU
  void* stream_ = nullptr;  // there
  std::vector<nb::object> owners_;
  std::vector<Tensor> copies_;
};

/// The name of a granularity on either side. Raises ValueError.
Granularity parse_granularity(const std::string& text, const char* operation, const char* argument);

/// "a" or "b". Raises ValueError.
Side parse_side(const Call& call, const std::string& side);

/// What Python gets for a packed weight or experts: with the handle by which compilers know it,
/// once octavo.torch is there.
template <class Weights>
nb::typed<nb::object, Weights> handed(Weights weights) {
  return nb::module_::import_("octavo._routing").attr("with_handle")(nb::cast(std::move(weights)));
}

/// The weight or experts where the tensor `like` is (None: the host): the object itself where it is
/// there. Raises RuntimeError (a device that cannot be used).
template <class Weights>
nb::object moved(nb::handle self, nb::handle like) {
  Call call("to");
  const nb::object there = tensor_on(like, call.operation());
  const Device device = call.tensor(there, "like").device;
  const auto& weights = nb::cast<const Weights&>(self);
  const Device from = weights.device();
  if (device == from) return nb::borrow(self);
  const ExecContext leaving = call.context_on(from);
  const ExecContext arriving = call.context_on(device);
  return handed(unlocked([&] {
    const bool by_host = from.type != DeviceType::cpu && device.type != DeviceType::cpu;
    if (by_host) return to_device(to_device(weights, Device{}, leaving), device, arriving);
    return to_device(weights, device, device.type == DeviceType::cpu ? leaving : arriving);
  }));
}

/// What NumPy's arrays can show of a weight or experts: themselves, or a copy on the host.
template <class Weights>
Weights readable(const Call& call, const Weights& weights) {
  if (call.framework() == Framework::torch) return weights;
  return to_device(weights, Device{}, call.context_on(weights.device()));
}

/// None, or integers (a list, or a tensor of any framework), as an int64 tensor of its own.
Tensor parse_columns(nb::handle columns, const char* operation);

/// Outlier columns as a list; undefined: None.
nb::object columns_of(const Tensor& columns);

/// "none", "power_of_two" or "mx_floor", and back. Raises ValueError.
ScaleRounding parse_rounding(const std::string& text, const char* operation);
std::string rounding_name(ScaleRounding rounding);

/// "propagate", "ignore" or "error", and back. Raises ValueError.
NonFinite parse_non_finite(const std::string& text, const char* operation);
std::string non_finite_name(NonFinite rule);

/// None, or "exact": no path that counts numbers below 2^-126 as 0. Raises ValueError.
bool parse_subnormals(nb::handle value, const char* operation);

/// Calls a function's body: with its arguments, and before them with what comes first in a function
/// of its family (`head`), where something does.
template <auto Body, class Arguments, class... Head>
auto apply(const Arguments& arguments, Head... head) {
  if constexpr (sizeof...(Head) == 0) {
    return Body(arguments);
  } else {
    return Body({head...}, arguments);
  }
}

/// Runs without the interpreter's lock.
template <class Body>
auto unlocked(const Body& body) {
  const Unlocked other_threads_run;
  return body();
}

}  // namespace octavo::python
