// SPDX-License-Identifier: Apache-2.0
// One codec per data type, and row conversions made from it.
#include "core/data/element.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "core/data/convert.hpp"

namespace octavo {
namespace {

template <class T>
T load_raw(const void* base, std::int64_t offset) noexcept {
  T value;
  std::memcpy(&value, static_cast<const char*>(base) + offset * std::int64_t{sizeof(T)}, sizeof(T));
  return value;
}
template <class T>
void store_raw(void* base, std::int64_t offset, T value) noexcept {
  std::memcpy(static_cast<char*>(base) + offset * std::int64_t{sizeof(T)}, &value, sizeof(T));
}

// A codec says how a type is stored and converts one element either way.
template <FloatFormat F, class Raw>
struct SmallFloat {
  static float load(const void* base, std::int64_t offset) noexcept {
    return decode<F>(load_raw<Raw>(base, offset));
  }
  static void store(void* base, std::int64_t offset, float value, Overflow overflow) noexcept {
    store_raw(base, offset, static_cast<Raw>(encode<F>(value, overflow)));
  }
};

// 16-bit floats overflow to infinity, as IEEE 754 says.
template <FloatFormat F>
struct Float16Bit : SmallFloat<F, std::uint16_t> {
  static void store(void* base, std::int64_t offset, float value, Overflow) noexcept {
    store_raw(base, offset, static_cast<std::uint16_t>(encode<F>(value, Overflow::ieee)));
  }
};

struct E8M0 {
  static float load(const void* base, std::int64_t offset) noexcept {
    return kE8M0Values[load_raw<std::uint8_t>(base, offset)];
  }
  static void store(void* base, std::int64_t offset, float value, Overflow) noexcept {
    store_raw(base, offset, static_cast<std::uint8_t>(encode_e8m0(value)));
  }
};

struct Float32 {
  static float load(const void* base, std::int64_t offset) noexcept {
    return load_raw<float>(base, offset);
  }
  static void store(void* base, std::int64_t offset, float value, Overflow) noexcept {
    store_raw(base, offset, value);
  }
};

template <class T, T (*round)(float) noexcept>
struct Integer {
  static float load(const void* base, std::int64_t offset) noexcept {
    return static_cast<float>(load_raw<T>(base, offset));
  }
  static void store(void* base, std::int64_t offset, float value, Overflow) noexcept {
    store_raw(base, offset, round(value));
  }
};

struct None {
  static float load(const void*, std::int64_t) noexcept { return 0.0F; }
  static void store(void*, std::int64_t, float, Overflow) noexcept {}
};

struct Functions {
  float (*load)(const void*, std::int64_t) noexcept = &None::load;
  void (*store)(void*, std::int64_t, float, Overflow) noexcept = &None::store;
  void (*load_row)(const void*, std::int64_t, std::int64_t, float*) noexcept = nullptr;
  void (*store_row)(const float*, std::int64_t, void*, std::int64_t, Overflow) noexcept = nullptr;
};

template <class Codec>
void load_row_of(const void* base, std::int64_t stride, std::int64_t n, float* out) noexcept {
  for (std::int64_t i = 0; i < n; ++i) out[i] = Codec::load(base, i * stride);
}

template <class Codec>
void store_row_of(const float* in, std::int64_t n, void* base, std::int64_t stride,
                  Overflow overflow) noexcept {
  for (std::int64_t i = 0; i < n; ++i) Codec::store(base, i * stride, in[i], overflow);
}

template <class Codec>
constexpr Functions functions_of() {
  return {&Codec::load, &Codec::store, &load_row_of<Codec>, &store_row_of<Codec>};
}

// The codec of a row: from its format, or its own. int64 is read by load_int; foreign types are
// refused before they get here.
template <std::size_t row>
constexpr Functions functions_of_row() {
  constexpr const DTypeInfo& kRow = kDTypes[row];
  if constexpr (kRow.kind == DTypeKind::float8) {
    return functions_of<SmallFloat<kRow.format, std::uint8_t>>();
  } else if constexpr (kRow.kind == DTypeKind::wide && kRow.bits == 16) {
    return functions_of<Float16Bit<kRow.format>>();
  } else if constexpr (kRow.dtype == DType::float32) {
    return functions_of<Float32>();
  } else if constexpr (kRow.dtype == DType::float8_e8m0fnu) {
    return functions_of<E8M0>();
  } else if constexpr (kRow.dtype == DType::int8) {
    return functions_of<Integer<std::int8_t, &round_to_int8>>();
  } else if constexpr (kRow.dtype == DType::uint8) {
    return functions_of<Integer<std::uint8_t, &round_to_uint8>>();
  } else if constexpr (kRow.dtype == DType::int32) {
    return functions_of<Integer<std::int32_t, &round_to_int32>>();
  } else {
    static_assert(kRow.kind == DTypeKind::none || kRow.kind == DTypeKind::index ||
                      kRow.kind == DTypeKind::foreign,
                  "a type that is computed with needs a codec");
    return functions_of<None>();
  }
}

constexpr auto kFunctions = []<std::size_t... row>(std::index_sequence<row...>) {
  return std::array<Functions, kDTypes.size()>{functions_of_row<row>()...};
}
(std::make_index_sequence<kDTypes.size()>());

const Functions& functions(DType dtype) noexcept {
  return kFunctions[static_cast<std::size_t>(dtype)];
}

}  // namespace

float load_float(DType dtype, const void* base, std::int64_t offset) noexcept {
  return functions(dtype).load(base, offset);
}

std::int64_t load_int(DType dtype, const void* base, std::int64_t offset) noexcept {
  switch (dtype) {
    case DType::int8:
      return load_raw<std::int8_t>(base, offset);
    case DType::uint8:
      return load_raw<std::uint8_t>(base, offset);
    case DType::int32:
      return load_raw<std::int32_t>(base, offset);
    case DType::int64:
      return load_raw<std::int64_t>(base, offset);
    default:
      return 0;
  }
}

void store_float(DType dtype, void* base, std::int64_t offset, float value,
                 Overflow overflow) noexcept {
  functions(dtype).store(base, offset, value, overflow);
}

void store_int32(void* base, std::int64_t offset, std::int32_t value) noexcept {
  store_raw(base, offset, value);
}

void load_row(DType dtype, const void* base, std::int64_t stride, std::int64_t n,
              float* out) noexcept {
  functions(dtype).load_row(base, stride, n, out);
}

void store_row(DType dtype, const float* in, std::int64_t n, void* base, std::int64_t stride,
               Overflow overflow) noexcept {
  functions(dtype).store_row(in, n, base, stride, overflow);
}

}  // namespace octavo
