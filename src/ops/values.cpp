// SPDX-License-Identifier: Apache-2.0
// Conversions by a backend's passes, and copies by the table of devices.
#include "ops/values.hpp"

#include <array>

#include "backends/backend.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

// Few elements, for which no thread is worth waking.
ExecContext alone(void* stream) noexcept {
  return {.stream = stream, .executor = &serial_executor()};
}

// The compact view of values on the host.
template <class T>
TensorView host_view(const T* values, std::int64_t count) noexcept {
  TensorView view;
  view.data = const_cast<T*>(values);  // NOLINT: read, or the caller's own
  view.dtype = dtype_of<T>;
  view.rank = 1;
  view.shape = {count};
  view.strides = {1};
  return view;
}

template <class T>
Result<std::vector<T>> values_of(const char* operation, const TensorView& view, void* stream) {
  std::vector<T> values(static_cast<std::size_t>(view.numel()));
  if (values.empty()) return values;
  TensorView to = host_view(values.data(), view.numel());
  if (!on_host(view)) {
    OCTAVO_TRY_ASSIGN(const Tensor beside, converted(operation, view, dtype_of<T>, alone(stream)));
    const DeviceMemory& memory = *find_kind(view.device.type)->memory;
    OCTAVO_TRY(memory.copy(beside, to, values.size() * sizeof(T), stream));
    OCTAVO_TRY(memory.wait({view.device, stream}));
    return values;
  }
  to.rank = view.rank;
  to.shape = view.shape;
  std::int64_t step = 1;
  for (auto d = static_cast<std::size_t>(view.rank); d-- > 0; step *= to.shape[d]) {
    to.strides[d] = step;
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, view.device, nullptr));
  OCTAVO_TRY(backend->passes.convert({view, to}, alone(stream)));
  return values;
}

template <class T>
Result<Tensor> tensor_of_values(const char* operation, std::span<const T> values,
                                const Place& place) {
  const TensorView from = host_view(values.data(), static_cast<std::int64_t>(values.size()));
  if (on_host(place.device)) return Tensor::adopt(nullptr, from);
  OCTAVO_TRY_ASSIGN(const Tensor to, Tensor::try_empty(operation, from.dtype, from.dims(), place));
  const DeviceMemory& memory = *find_kind(place.device.type)->memory;
  OCTAVO_TRY(memory.copy(from, to, values.size() * sizeof(T), place.stream));
  return to;
}

}  // namespace

Result<std::vector<std::int64_t>> integers_of(const char* operation, const TensorView& view,
                                              void* stream) {
  return values_of<std::int64_t>(operation, view, stream);
}

Result<std::vector<float>> floats_of(const char* operation, const TensorView& view, void* stream) {
  return values_of<float>(operation, view, stream);
}

Result<Tensor> tensor_of(const char* operation, std::span<const std::int64_t> values,
                         const Place& place) {
  return tensor_of_values(operation, values, place);
}

Result<Tensor> tensor_of(const char* operation, std::span<const float> values, const Place& place) {
  return tensor_of_values(operation, values, place);
}

Result<Tensor> converted(const char* operation, const TensorView& view, DType dtype,
                         const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(Tensor to,
                    Tensor::try_empty(operation, dtype, view.dims(), context.place(view.device)));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, view.device, nullptr));
  OCTAVO_TRY(backend->passes.convert({view, to}, context));
  return to;
}

Result<Tensor> filled(const char* operation, DType dtype, std::span<const std::int64_t> shape,
                      float value, const Place& place) {
  OCTAVO_TRY_ASSIGN(Tensor to, Tensor::try_empty(operation, dtype, shape, place));
  OCTAVO_TRY(fill_with(operation, to, value, place.stream));
  return to;
}

Status fill_with(const char* operation, const TensorView& to, float value, void* stream) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, to.device, nullptr));
  return backend->passes.fill({to, value}, alone(stream));
}

Status copy_to(const char* operation, const TensorView& from, const TensorView& to, void* stream) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, from.device, nullptr));
  return backend->passes.convert({from, to}, alone(stream));
}

}  // namespace octavo
