// SPDX-License-Identifier: Apache-2.0
#include "arguments.hpp"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace octavo::python {

nb::handle undefined_object;

namespace {

// Other names of granularities.
struct NamedGranularity {
  std::string_view name;
  Granularity granularity;
};
constexpr std::array<NamedGranularity, 4> kAliases{{
    {"auto", {}},
    {"row", per_token()},
    {"column", per_channel()},
    {"k", per_k()},
}};

// "tensor, token, channel, group<g>, block<r>x<c>, ...".
std::string granularity_names() {
  std::string names;
  for (const GranularityInfo& row : kGranularities) {
    if (row.kind == Granularity::Kind::automatic) continue;
    const char* sizes = row.sizes == 0 ? "" : row.sizes == 1 ? "<g>" : "<r>x<c>";
    names += std::string(row.name) + sizes + ", ";
  }
  return names + "mx";
}

// The C++ object behind one of this module's classes, null for anything else.
template <class T>
const T* bound(nb::handle value) noexcept {
  static const nb::handle type = nb::type<T>();
  return value.type().is(type) ? nb::inst_ptr<T>(value) : nullptr;
}

std::int64_t extent_of(std::int64_t size) noexcept { return size == 0 ? kWholeExtent : size; }
std::int64_t size_of(std::int64_t extent) noexcept { return extent == kWholeExtent ? 0 : extent; }

}  // namespace

Granularity parse_granularity(const std::string& text, const char* operation,
                              const char* argument) {
  for (const NamedGranularity& row : kAliases) {
    if (row.name == text) return row.granularity;
  }
  const Granularity found = granularity_from_name(text);
  if (found.kind != Granularity::Kind::automatic) return found;
  raise(Code::invalid_argument, std::string(operation) + ": " + argument + " must be one of " +
                                    granularity_names() + "; got '" + text + "'");
}

namespace {

constexpr std::array<std::pair<std::string_view, ScaleRounding>, 3> kRoundings{{
    {"none", ScaleRounding::none},
    {"power_of_two", ScaleRounding::power_of_two},
    {"mx_floor", ScaleRounding::mx_floor},
}};

constexpr std::array<std::pair<std::string_view, NonFinite>, 3> kNonFinite{{
    {"propagate", NonFinite::propagate},
    {"ignore", NonFinite::ignore},
    {"error", NonFinite::error},
}};

// The value of a name, raising "operation: argument must be rule; got ...".
template <class Table>
auto value_of(const Table& table, const std::string& text, const char* operation,
              const char* argument, const char* rule) {
  for (const auto& [name, value] : table) {
    if (name == text) return value;
  }
  raise(Code::invalid_argument,
        std::string(operation) + ": " + argument + " must be " + rule + "; got '" + text + "'");
}

template <class Table, class Value>
std::string name_of(const Table& table, Value value) {
  return std::string(
      std::ranges::find(table, value, [](const auto& row) { return row.second; })->first);
}

}  // namespace

ScaleRounding parse_rounding(const std::string& text, const char* operation) {
  return value_of(kRoundings, text, operation, "rounding", "none, power_of_two or mx_floor");
}

std::string rounding_name(ScaleRounding rounding) { return name_of(kRoundings, rounding); }

NonFinite parse_non_finite(const std::string& text, const char* operation) {
  return value_of(kNonFinite, text, operation, "non_finite", "propagate, ignore or error");
}

std::string non_finite_name(NonFinite rule) { return name_of(kNonFinite, rule); }

bool parse_subnormals(nb::handle value, const char* operation) {
  if (value.is_none()) return false;
  const std::string text = nb::cast<std::string>(nb::str(value));
  if (text == "exact") return true;
  raise(Code::invalid_argument,
        std::string(operation) + ": subnormals must be \"exact\" or None; got '" + text + "'");
}

Side parse_side(const Call& call, const std::string& side) {
  if (side == "a") return Side::a;
  if (side == "b") return Side::b;
  raise(Code::invalid_argument, std::string(call.operation()) +
                                    ": side must be \"a\" ([M, K]) or \"b\" ([K, N]); got '" +
                                    side + "'");
}

void Call::keep(In& in) {
  if (in.framework == Framework::torch || framework_ == Framework::none) {
    if (in.framework != Framework::none) framework_ = in.framework;
  }
  if (in.owner.is_valid()) owners_.push_back(std::move(in.owner));
  const Device device = in.view.device;
  if (!in.defined() || device.type == DeviceType::cpu || device_.type != DeviceType::cpu) return;
  device_ = device;
  stream_ = current_stream(in.framework, device);
}

ExecContext Call::context() const noexcept {
  ExecContext context = python::context();
  context.device = device_;
  context.stream = stream_;
  return context;
}

ExecContext Call::context_on(const Device& device) const {
  ExecContext context = python::context();
  context.device = device;
  context.stream = stream_of_caller(device);
  return context;
}

TensorView Call::tensor(nb::handle value, const char* argument) {
  In in = acquire(value, operation_, argument);
  keep(in);
  return in.view;
}

TensorView Call::host_tensor(nb::handle value, const char* argument) {
  const TensorView view = tensor(value, argument);
  if (!view.defined() || view.device.type == DeviceType::cpu) return view;
  copies_.push_back(copy(view, Place{Device{}, stream_}));
  return copies_.back();
}

TensorView Call::out(nb::handle value) {
  if (value.is_none()) return {};
  In in = acquire_out(value, operation_);
  keep(in);
  return in.view;
}

TensorView Call::columns(nb::handle value) {
  copies_.push_back(parse_columns(value, operation_));
  return copies_.back();
}

Quantized Call::quantized(nb::handle value, const char* argument) {
  const auto* q = bound<PyQuantized>(value);
  if (q == nullptr) {
    raise(Code::invalid_argument, std::string(operation_) + ": " + argument +
                                      " must be an octavo.Quantized; got " + shown(value));
  }
  Quantized result;
  result.data = Tensor::adopt(nullptr, tensor(q->data, argument));
  result.scale = Tensor::adopt(nullptr, tensor(q->scale, argument));
  result.azp = Tensor::adopt(nullptr, tensor(q->azp, argument));
  result.grid = {extent_of(q->rows), extent_of(q->cols)};
  result.row0 = q->row0;
  result.col0 = q->col0;
  return result;
}

Operand Call::operand(nb::handle value, const char* argument) {
  if (bound<PyQuantized>(value) != nullptr) return quantized(value, argument);
  if (const auto* weight = bound<PackedWeight>(value)) return *weight;
  return tensor(value, argument);
}

Scale Call::scale(nb::handle value, nb::handle granularity_name, const char* argument) {
  if (value.is(undefined_object)) return {};
  if (value.is_none()) return nullptr;
  if (PyFloat_Check(value.ptr()) != 0) return PyFloat_AsDouble(value.ptr());
  if (PyLong_Check(value.ptr()) != 0) return nb::cast<double>(nb::float_(value));
  return {tensor(value, argument), granularity(granularity_name, argument)};
}

Granularity Call::granularity(nb::handle value, const char* argument) const {
  if (value.is_none()) return {};
  if (!nb::isinstance<nb::str>(value)) {
    raise(Code::invalid_argument, std::string(operation_) + ": the granularity of " + argument +
                                      " must be a string such as \"group128\"; got " +
                                      shown(value));
  }
  return parse_granularity(nb::cast<std::string>(value), operation_, argument);
}

nb::object give(const Quantized& quantized, Framework framework) {
  PyQuantized q;
  q.data = give(quantized.data, framework);
  q.scale = give(quantized.scale, framework);
  q.azp = give(quantized.azp, framework);
  q.rows = size_of(quantized.grid.rows);
  q.cols = size_of(quantized.grid.cols);
  q.row0 = quantized.row0;
  q.col0 = quantized.col0;
  return nb::cast(std::move(q));
}

nb::object Call::make_small(DType dtype, std::span<const std::int64_t> shape,
                            TensorView& view) const {
  const bool on_device = device_.type != DeviceType::cpu;
  if (framework_ != Framework::torch && on_device) return nb::none();
  const std::int64_t most = std::int64_t{1} << (on_device ? 50 : 20);
  std::int64_t bytes = element_bytes(dtype);
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes) || bytes > most)
      return nb::none();
  }
  return make(framework_, dtype, shape, device_, view);
}

nb::object Call::make_small_rows(const TensorView& x, std::int64_t n, DType dtype,
                                 TensorView& view) const {
  if (x.rank == 0) return nb::none();
  const auto rank = static_cast<std::size_t>(x.rank);
  std::array<std::int64_t, kMaxRank> shape = x.shape;
  shape[rank - 1] = n;
  return make_small(dtype != DType::undefined ? dtype : x.dtype, std::span(shape.data(), rank),
                    view);
}

}  // namespace octavo::python
