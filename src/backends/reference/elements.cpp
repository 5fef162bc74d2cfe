// SPDX-License-Identifier: Apache-2.0
// Elements from one place to another, one at a time.
#include <array>
#include <cmath>
#include <cstring>

#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/error.hpp"
#include "core/fp_env.hpp"

namespace octavo::reference {
namespace {

// Calls visit(offset in a, offset in b) for each element of two views of one shape.
template <class Visit>
void each_element(const TensorView& a, const TensorView& b, const Visit& visit) {
  const auto rank = static_cast<std::size_t>(a.rank);
  for (std::int64_t number = 0; number < a.numel(); ++number) {
    std::int64_t rest = number, in_a = 0, in_b = 0;
    for (std::size_t d = rank; d-- > 0;) {
      const std::int64_t index = rest % a.shape[d];
      rest /= a.shape[d];
      in_a += index * a.strides[d];
      in_b += index * b.strides[d];
    }
    visit(in_a, in_b);
  }
}

template <class T>
void store(const TensorView& to, std::int64_t place, T value) {
  std::memcpy(to.at(place), &value, sizeof value);
}

bool holds_integers(DType dtype) {
  return dtype == DType::int8 || dtype == DType::uint8 || dtype == DType::int32 ||
         dtype == DType::int64;
}

}  // namespace

Status convert(const ConvertProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const auto bytes = static_cast<std::size_t>(element_bytes(p.to.dtype));
  each_element(p.from, p.to, [&](std::int64_t from, std::int64_t to) {
    if (p.from.dtype == p.to.dtype) {
      std::memmove(p.to.at(to), p.from.at(from), bytes);
    } else if (p.from.dtype == DType::float64) {
      double value = 0.0;
      std::memcpy(&value, p.from.at(from), sizeof value);
      store_float(p.to.dtype, p.to.data, to, static_cast<float>(value), p.overflow);
    } else if (holds_integers(p.from.dtype) && p.to.dtype == DType::int64) {
      store<std::int64_t>(p.to, to, load_int(p.from.dtype, p.from.data, from));
    } else if (holds_integers(p.from.dtype) && p.to.dtype == DType::int32) {
      const std::int64_t value = load_int(p.from.dtype, p.from.data, from);
      store<std::int32_t>(p.to, to, static_cast<std::int32_t>(value));
    } else {
      const float value = load_float(p.from.dtype, p.from.data, from);
      store_float(p.to.dtype, p.to.data, to, value, p.overflow);
    }
  });
  return {};
}

Status fill(const FillProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  each_element(p.to, p.to, [&](std::int64_t, std::int64_t to) {
    switch (p.to.dtype) {
      case DType::int64:
        return store<std::int64_t>(p.to, to, static_cast<std::int64_t>(p.value));
      case DType::int32:
        return store<std::int32_t>(p.to, to, static_cast<std::int32_t>(p.value));
      case DType::float64:
        return store<double>(p.to, to, static_cast<double>(p.value));
      default:
        return store_float(p.to.dtype, p.to.data, to, p.value, Overflow::saturate);
    }
  });
  return {};
}

Status gather(const GatherProblem& p, const ExecContext&) noexcept {
  const auto bytes = static_cast<std::size_t>(element_bytes(p.to.dtype));
  for (std::int64_t i = 0; i < p.to.shape[0]; ++i) {
    const std::int64_t row = p.rows[i] / p.divisor;
    for (std::int64_t j = 0; j < p.to.shape[1]; ++j) {
      std::memcpy(p.to.at(i * p.to.strides[0] + j * p.to.strides[1]),
                  p.from.at(row * p.from.strides[0] + j * p.from.strides[1]), bytes);
    }
  }
  return {};
}

Status map_codes(const MapProblem& p, const ExecContext&) noexcept {
  for (std::int64_t i = 0; i < p.codes.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.codes.shape[1]; ++j) {
      auto* code =
          static_cast<std::uint8_t*>(p.codes.at(i * p.codes.strides[0] + j * p.codes.strides[1]));
      *code = p.table[*code];
    }
  }
  return {};
}

Status unswizzle(const UnswizzleProblem& p, const ExecContext&) noexcept {
  constexpr std::int64_t kTileRows = 128, kTileColumns = 4, kTile = kTileRows * kTileColumns;
  constexpr std::int64_t kBand = 32, kLine = 16;  // bands of rows lie beside one another in a line
  const auto* tile = static_cast<const std::uint8_t*>(p.tiles);
  for (std::int64_t row = 0; row < p.to.shape[0]; row += kTileRows) {
    for (std::int64_t column = 0; column < p.to.shape[1]; column += kTileColumns, tile += kTile) {
      for (std::int64_t at = 0; at < kTile; ++at) {
        const std::int64_t r = row + at / kLine + at % kLine / kTileColumns * kBand;
        const std::int64_t c = column + at % kTileColumns;
        if (r >= p.to.shape[0] || c >= p.to.shape[1]) continue;
        std::memcpy(p.to.at(r * p.to.strides[0] + c * p.to.strides[1]), tile + at, 1);
      }
    }
  }
  return {};
}

Status check_finite(const FiniteProblem& p, const ExecContext&) noexcept {
  for (std::int64_t i = 0; i < p.x.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.x.shape[1]; ++j) {
      const float value = load_float(p.x, i, j);
      if (std::isfinite(value)) continue;
      return fail(Code::invalid_argument, "{}: x[{}, {}] must be finite; got {}", p.operation, i, j,
                  value);
    }
  }
  return {};
}

}  // namespace octavo::reference
