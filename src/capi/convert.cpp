// SPDX-License-Identifier: Apache-2.0
// Descriptors, types, enumerators, scales and contexts.
#include "capi/convert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "capi/options.hpp"
#include "octavo/backend.hpp"

namespace octavo::capi {
namespace {

std::string names_of(std::uint64_t flags, std::span<const FlagName> table) {
  std::string names;
  for (const FlagName& row : table) {
    if ((flags & row.flag) == 0) continue;
    names += names.empty() ? "" : " | ";
    names += row.name;
  }
  return names.empty() ? "none" : names;
}

std::span<const std::int64_t> shape_from(const ArgumentPath& place, const octavo_view& given) {
  if (given.ndim < 0 || given.ndim > OCTAVO_MAX_NDIM) {
    refuse(Code::invalid_argument, "{}.ndim must be in [0, {}]; got {}", place.text(),
           +OCTAVO_MAX_NDIM, given.ndim);
  }
  if (given.ndim > 0 && given.shape == nullptr) {
    refuse(Code::invalid_argument, "{}.shape must not be null; got null for {} dimensions",
           place.text(), given.ndim);
  }
  const std::span shape(given.shape, static_cast<std::size_t>(given.ndim));
  const auto negative = std::ranges::find_if(shape, [](std::int64_t d) { return d < 0; });
  if (negative != shape.end()) {
    refuse(Code::invalid_argument, "{}.shape must not be negative; got {}", place.text(),
           *negative);
  }
  return shape;
}

// The one rule that is left for the view itself to check is about its size.
TensorView compact(const ArgumentPath& place, const void* data, DType dtype,
                   std::span<const std::int64_t> shape) {
  try {
    return {data, dtype, shape};
  } catch (const Error&) {
    refuse(Code::invalid_argument,
           "{}.shape must count less than 2^63 bytes, rows and columns padded to 64 and elements "
           "to 8 bytes; got [{}]",
           place.text(), fmt::join(shape, ", "));
  }
}

}  // namespace

static_assert(OCTAVO_MAX_NDIM == kMaxRank && OCTAVO_CPU == static_cast<int>(DeviceType::cpu));
static_assert(OCTAVO_INTERNAL == static_cast<int>(Code::internal));
static_assert(OCTAVO_GRANULARITIES == kGranularities.size());
static_assert(OCTAVO_SCALE_TENSOR == static_cast<int>(Scale::Kind::tensor));
static_assert(OCTAVO_WHOLE_EXTENT == kWholeExtent);

void check_device(const ArgumentPath& place, octavo_device device) {
  if (device.type == OCTAVO_CPU || (device.type == 0 && device.index == 0)) return;
  const std::string why = device_refusal(device_of(device.type, device.index));
  if (!why.empty()) refuse(Code::unavailable, "{}.device {}", place.text(), why);
}

TensorView view_from(const ArgumentPath& place, const octavo_view* given) {
  require(place, given);
  const std::span<const std::int64_t> shape = shape_from(place, *given);
  if (given->device.type == 0) {
    refuse(Code::invalid_argument, "{}.device must be set (type 1 is the CPU); got type 0",
           place.text());
  }
  check_device(place, given->device);
  const DType dtype = dtype_from(place.of("dtype"), given->dtype);
  if (dtype == DType::undefined) {
    refuse(Code::invalid_argument, "{}.dtype must be defined; got an undefined one", place.text());
  }
  char* data = static_cast<char*>(given->data);
  TensorView view =
      compact(place, data == nullptr ? nullptr : data + given->byte_offset, dtype, shape);
  if (data == nullptr && view.numel() > 0) {
    refuse(Code::invalid_argument, "{}.data must not be null; got null for shape {}", place.text(),
           shape_string(view));
  }
  if (given->strides != nullptr) {
    std::copy_n(given->strides, shape.size(), view.strides.begin());
  }
  return view;
}

TensorView optional_view(const ArgumentPath& place, const octavo_view* given) {
  return given == nullptr ? TensorView() : view_from(place, given);
}

octavo_view view_to(const TensorView& view) noexcept {
  octavo_view result{};
  if (!view.defined()) return result;
  result.data = view.data;
  result.device = {static_cast<std::int32_t>(view.device.type), view.device.index};
  result.ndim = view.rank;
  result.dtype = dtype_to(view.dtype);
  result.shape = view.shape.data();
  result.strides = view.strides.data();
  return result;
}

DType dtype_from(const ArgumentPath& place, octavo_dtype given) {
  if (given.code == 0 && given.bits == 0) return DType::undefined;
  if (given.lanes != 1) {
    refuse(Code::invalid_argument, "{}.lanes must be 1; got {}", place.text(), given.lanes);
  }
  const auto row = std::ranges::find_if(kDTypes, [&](const DTypeInfo& r) {
    return r.dtype != DType::undefined && r.dlpack_code == given.code && r.bits == given.bits;
  });
  if (row != kDTypes.end()) return row->dtype;
  refuse(Code::unsupported,
         "{} must be a type that Octavo knows (convert it, for example to float32); got DLPack "
         "code {} of {} bits",
         place.text(), given.code, given.bits);
}

octavo_dtype dtype_to(DType dtype) noexcept {
  if (dtype == DType::undefined) return {0, 0, 0};
  return {info(dtype).dlpack_code, info(dtype).bits, 1};
}

std::uint8_t checked_enumerator(const ArgumentPath& place, std::int64_t value, std::uint8_t last) {
  if (value < 0 || value > last) {
    refuse(Code::invalid_argument, "{} must be in [0, {}]; got {}", place.text(), last, value);
  }
  return static_cast<std::uint8_t>(value);
}

void check_bits(const ArgumentPath& place, std::uint64_t given, std::uint64_t allowed,
                std::span<const FlagName> names) {
  if ((given & ~allowed) == 0) return;
  refuse(Code::invalid_argument, "{} must be among {}; got {:#x}", place.text(),
         names_of(allowed, names), given);
}

void check_flags(const ArgumentPath& place, std::uint64_t given, std::uint64_t allowed) {
  check_bits(place.of("flags"), given, allowed, flag_names());
}

NonFinite non_finite_from(const ArgumentPath& place, std::uint64_t flags) {
  const bool error = (flags & OCTAVO_NON_FINITE_ERROR) != 0;
  const bool ignore = (flags & OCTAVO_NON_FINITE_IGNORE) != 0;
  if (error && ignore) {
    refuse(Code::invalid_argument,
           "{}.flags must have one of NON_FINITE_ERROR and NON_FINITE_IGNORE; got both",
           place.text());
  }
  return error ? NonFinite::error : ignore ? NonFinite::ignore : NonFinite::propagate;
}

std::uint64_t non_finite_to(NonFinite rule) noexcept {
  if (rule == NonFinite::error) return OCTAVO_NON_FINITE_ERROR;
  return rule == NonFinite::ignore ? OCTAVO_NON_FINITE_IGNORE : 0;
}

Granularity granularity_from(const ArgumentPath& place, std::int32_t kind, std::int64_t rows,
                             std::int64_t cols) {
  return {enum_from(place, kind, kGranularities.back().kind), rows, cols};
}

Scale scale_from(const ArgumentPath& place, const octavo_scale& given) {
  switch (enum_from(place.of("kind"), given.kind, Scale::Kind::tensor)) {
    case Scale::Kind::undefined:
      return {};
    case Scale::Kind::null:
      return nullptr;
    case Scale::Kind::number:
      return given.number;
    case Scale::Kind::tensor:
      break;
  }
  return {view_from(place.of("values"), given.values),
          granularity_from(place.of("granularity"), given.granularity, given.rows, given.cols)};
}

Context::Context(const char* operation, const octavo_context* given) {
  const octavo_context c = read_struct<octavo_context>({operation, "context"}, given);
  check_device({operation, "context"}, c.device);
  context_.stream = c.stream;
  if (c.workspace_bytes > 0)
    require(ArgumentPath{operation, "context"}.of("workspace"), c.workspace);
  if (c.workspace != nullptr) {
    workspace_ = {c.workspace, c.workspace_bytes};
    context_.workspace = &workspace_;
  }
  if (c.executor == nullptr) return;
  constexpr std::int64_t kMostThreads = 1 << 16;
  const ArgumentPath place = ArgumentPath{operation, "context"}.of("executor");
  lent_.executor = read_struct<octavo_executor>(place, c.executor);
  const std::int64_t threads = lent_.executor.concurrency;
  if (threads < 1 || threads > kMostThreads) {
    refuse(Code::invalid_argument, "{}.concurrency must be in [1, {}]; got {}", place.text(),
           kMostThreads, threads);
  }
  if (lent_.executor.parallel != nullptr) {
    context_.executor = &lent_;
  } else {
    context_.executor = &threads_.emplace(static_cast<int>(threads));
  }
}

}  // namespace octavo::capi
