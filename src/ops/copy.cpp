// SPDX-License-Identifier: Apache-2.0
// Copies of tensors: to other types, to other places.
#include "backends/backend.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/backend.hpp"
#include "octavo/tensor.hpp"
#include "ops/rules.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr const char* kCopy = "copy";
constexpr ArgNames kNames = named("source");
constexpr Site kSite{kCopy, &kNames};

// Types that hold numbers of ours.
bool converts(DType dtype) noexcept {
  const DTypeKind kind = info(dtype).kind;
  return kind != DTypeKind::foreign && kind != DTypeKind::none && kind != DTypeKind::index;
}

Status check_usable(const Device& device) {
  const std::string why = device_refusal(device);
  if (why.empty()) return {};
  return fail(Code::unavailable, "{}: device {}", kCopy, why);
}

Result<Tensor> run_convert(const TensorView& source, DType dtype, void* stream) {
  OCTAVO_TRY(check_tensor(kSite, Arg::a, source));
  OCTAVO_TRY(check_dtype("copy: ", "dtype", dtype));
  for (const DType type : {source.dtype, dtype}) {
    if (source.dtype == dtype || converts(type)) continue;
    return fail(Code::unsupported, "copy: dtype must be one that Octavo converts; got {} to {}",
                name(source.dtype), name(dtype));
  }
  return converted(kCopy, source, dtype, {.stream = stream});
}

Result<Tensor> run_copy(const TensorView& source, const Place& place) {
  OCTAVO_TRY(check_tensor(kSite, Arg::a, source));
  OCTAVO_TRY(check_usable(place.device));
  if (source.device == place.device) return run_convert(source, source.dtype, place.stream);
  const bool to_host = on_host(place.device);
  if (!to_host && !on_host(source)) {
    return fail(Code::unsupported,
                "copy: place.device must be the source's or the host; got another device");
  }
  Tensor compact = Tensor::adopt(nullptr, source);
  if (!source.contiguous()) {
    OCTAVO_TRY_ASSIGN(compact, run_convert(source, source.dtype, place.stream));
  }
  OCTAVO_TRY_ASSIGN(Tensor target, Tensor::try_empty(kCopy, source.dtype, source.dims(), place));
  const Place far{to_host ? source.device : place.device, place.stream};
  const DeviceMemory& memory = *find_kind(far.device.type)->memory;
  const std::int64_t bytes = source.numel() * element_bytes(source.dtype);
  OCTAVO_TRY(memory.copy(compact, target, static_cast<std::size_t>(bytes), place.stream));
  if (to_host) OCTAVO_TRY(memory.wait(far));
  return target;
}

}  // namespace

Tensor copy(const TensorView& source, DType dtype, void* stream) {
  return at_edge(kCopy, [&] { return run_convert(source, dtype, stream); });
}

Tensor copy(const TensorView& source, const Place& place) {
  return at_edge(kCopy, [&] { return run_copy(source, place); });
}

Tensor Tensor::to(DType dtype) const { return copy(view_, dtype); }

Tensor Tensor::to(const Place& place) const { return copy(view_, place); }

}  // namespace octavo
