// SPDX-License-Identifier: Apache-2.0
// Elements from one place to another.
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/host/passes.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/data/rows.hpp"
#include "core/error.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::host {
namespace {

bool is_integer(DType dtype) noexcept {
  return is_integer8(dtype) || dtype == DType::int32 || dtype == DType::int64;
}

// One element of any two types.
void convert_element(const ConvertProblem& p, std::int64_t from, std::int64_t to) noexcept {
  if (is_integer(p.from.dtype) && p.to.dtype == DType::int64) {
    const std::int64_t value = load_int(p.from.dtype, p.from.data, from);
    std::memcpy(p.to.at(to), &value, sizeof value);
  } else if (is_integer(p.from.dtype) && p.to.dtype == DType::int32) {
    store_int32(p.to.data, to,
                static_cast<std::int32_t>(load_int(p.from.dtype, p.from.data, from)));
  } else if (p.from.dtype == DType::float64) {
    double value = 0.0;
    std::memcpy(&value, p.from.at(from), sizeof value);
    store_float(p.to.dtype, p.to.data, to, static_cast<float>(value), p.overflow);
  } else {
    store_float(p.to.dtype, p.to.data, to, load_float(p.from.dtype, p.from.data, from), p.overflow);
  }
}

// An element's bytes.
using Element = std::array<char, 8>;

Element element_of(DType dtype, float value) noexcept {
  Element element{};
  if (dtype == DType::int64) {
    const auto integer = static_cast<std::int64_t>(value);
    std::memcpy(element.data(), &integer, sizeof integer);
  } else if (dtype == DType::float64) {
    const auto wide = static_cast<double>(value);
    std::memcpy(element.data(), &wide, sizeof wide);
  } else if (dtype == DType::int32) {
    store_int32(element.data(), 0, static_cast<std::int32_t>(value));
  } else {
    store_float(dtype, element.data(), 0, value, Overflow::saturate);
  }
  return element;
}

}  // namespace

Status convert(const ConvertProblem& p, const ExecContext&) noexcept {
  if (p.from.dtype == p.to.dtype) {
    copy_elements(p.from, p.to);
    return {};
  }
  const FloatEnvironment environment;
  const InnerRow row = innermost(p.from, p.to);
  for_each_row(p.from, p.to, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = 0; i < row.length; ++i) {
      convert_element(p, from + i * row.stride_a, to + i * row.stride_b);
    }
  });
  return {};
}

Status fill(const FillProblem& p, const ExecContext&) noexcept {
  const auto bytes = static_cast<std::size_t>(element_bytes(p.to.dtype));
  const Element element = element_of(p.to.dtype, p.value);
  if (p.value == 0.0F && p.to.contiguous() && p.to.numel() > 0) {
    std::memset(p.to.data, 0, bytes * static_cast<std::size_t>(p.to.numel()));
    return {};
  }
  const InnerRow row = innermost(p.to, p.to);
  for_each_row(p.to, p.to, [&](std::int64_t, std::int64_t to) {
    for (std::int64_t i = 0; i < row.length; ++i) {
      std::memcpy(p.to.at(to + i * row.stride_b), element.data(), bytes);
    }
  });
  return {};
}

Status gather(const GatherProblem& p, const ExecContext& context) noexcept {
  const std::int64_t rows = p.to.shape[0];
  const std::int64_t columns = p.to.shape[1];
  if (columns == 0) return {};
  const std::int64_t bytes = columns * element_bytes(p.to.dtype);
  const bool neighbours = (p.from.strides[1] == 1 && p.to.strides[1] == 1) || columns == 1;
  for_each_band(context, bands_of(context, rows, rows * bytes / 8), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    const std::int64_t row = p.rows[i] / p.divisor;
                    if (neighbours) {
                      std::memcpy(p.to.at(i * p.to.strides[0]), p.from.at(row * p.from.strides[0]),
                                  static_cast<std::size_t>(bytes));
                    } else {
                      copy_elements(p.from.slice(0, row, row + 1), p.to.slice(0, i, i + 1));
                    }
                  }
                });
  return {};
}

Status map_codes(const MapProblem& p, const ExecContext& context) noexcept {
  const MatrixView& codes = p.codes;
  const std::int64_t rows = codes.shape[0];
  const std::int64_t columns = codes.shape[1];
  for_each_band(context, bands_of(context, rows, rows * columns), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    auto* row = static_cast<std::uint8_t*>(codes.at(i * codes.strides[0]));
                    for (std::int64_t j = 0; j < columns; ++j) {
                      std::uint8_t& code = row[j * codes.strides[1]];
                      code = p.table[code];
                    }
                  }
                });
  return {};
}

Status unswizzle(const UnswizzleProblem& p, const ExecContext&) noexcept {
  const auto* tiles = static_cast<const std::uint8_t*>(p.tiles);
  const MatrixView& to = p.to;
  const std::int64_t across = (to.shape[1] + 3) / 4;
  for (std::int64_t r = 0; r < to.shape[0]; ++r) {
    auto* row = static_cast<std::uint8_t*>(to.at(r * to.strides[0]));
    for (std::int64_t c = 0; c < to.shape[1]; ++c) {
      const std::int64_t tile = r / 128 * across + c / 4;
      row[c * to.strides[1]] = tiles[tile * 512 + r % 32 * 16 + r / 32 % 4 * 4 + c % 4];
    }
  }
  return {};
}

Status check_finite(const FiniteProblem& p, const ExecContext& context) noexcept {
  return octavo::check_finite(p.operation, p.x, context);
}

}  // namespace octavo::host
