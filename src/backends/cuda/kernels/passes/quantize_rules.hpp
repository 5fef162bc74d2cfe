// SPDX-License-Identifier: Apache-2.0
// Section 6 in a thread's registers: what elements reach, scales, codes.
//
//     scale = rule(max |x|) or rule(min x, max x) over a cell's finite elements
//     code  = cast(x / scale) or saturate(RNE(x / scale) + azp)
#pragma once

#include <cmath>

#include "backends/cuda/kernels/common/octet.hpp"
#include "core/scales/scale_rule.hpp"

namespace octavo::cuda {

constexpr std::uint32_t kInfiniteBits = 0x7F800000U;

/// What some elements of a cell reach.
struct Range {
  std::uint32_t most = 0;  ///< the largest finite magnitude, as bits
  std::uint32_t all = 0;   ///< the largest magnitude: NaN is above infinity
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();

  OCTAVO_HOST_DEVICE constexpr void add(float x) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU;
    const bool finite = magnitude < kInfiniteBits;
    all = magnitude > all ? magnitude : all;
    most = finite && magnitude > most ? magnitude : most;
    low = finite && x < low ? x : low;
    high = finite && x > high ? x : high;
  }
  /// The first `count` of eight elements; the others are 0. `ends`: low and high are wanted.
  OCTAVO_HOST_DEVICE constexpr void add(const float (&x)[kOctet], std::int64_t count, bool ends) {
    std::uint32_t largest = 0;
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[e]) & 0x7FFFFFFFU;
      largest = magnitude > largest ? magnitude : largest;
    }
    all = largest > all ? largest : all;
    if (largest >= kInfiniteBits) {
      largest = 0;
      for (const float one : x) {
        const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(one) & 0x7FFFFFFFU;
        if (magnitude < kInfiniteBits && magnitude > largest) largest = magnitude;
      }
    }
    most = largest > most ? largest : most;
    if (!ends) return;
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      const bool finite = (std::bit_cast<std::uint32_t>(x[e]) & 0x7FFFFFFFU) < kInfiniteBits;
      low = finite && e < count && x[e] < low ? x[e] : low;
      high = finite && e < count && x[e] > high ? x[e] : high;
    }
  }
  OCTAVO_HOST_DEVICE constexpr void join(const Range& other) {
    most = other.most > most ? other.most : most;
    all = other.all > all ? other.all : all;
    low = other.low < low ? other.low : low;
    high = other.high > high ? other.high : high;
  }
  template <class Move>
  OCTAVO_HOST_DEVICE constexpr Range moved(const Move& move) const {
    return {move(most), move(all), move(low), move(high)};
  }
  OCTAVO_HOST_DEVICE constexpr CellRange cell() const {
    return {std::bit_cast<float>(most), low, high, all >= kInfiniteBits};
  }
};

/// A matrix cell by cell of a grid, its rows as they lie in memory.
struct CellGrid {
  MatrixView x;
  MatrixView codes;         ///< undefined: not wanted
  MatrixView scales;        ///< [cells down, across]
  MatrixView azp;           ///< undefined: none
  MatrixView shown_scales;  ///< undefined: not wanted
  std::int64_t height = 1;  ///< of a cell
  std::int64_t width = 1;
  ScaleRule rule;
  DType dtype = DType::int8;  ///< of the codes
  Overflow overflow = Overflow::saturate;
  bool ignores = false;  ///< infinities saturate where the type has none
  bool static_scales = false;
  bool input_words = false;  ///< octets of x, from each cell's first column, are whole words
  bool code_words = false;   ///< those of codes
};

/// The scale of cell (i, j) as codes are made by it, and its zero point. Who `writes` stores them,
/// or what a static scale shows.
template <class Machine>
OCTAVO_DEVICE CellScale settle(Machine& m, const CellGrid& g, std::int64_t i, std::int64_t j,
                               const Range& range, bool writes) {
  CellScale cell;
  if (!g.static_scales) {
    cell = cell_scale(g.rule, range.cell());
    const std::int64_t place = i * g.scales.strides[0] + j * g.scales.strides[1];
    if (g.scales.dtype == DType::float32) {  // computed ones have one of two types
      if (writes) m.store_global(static_cast<float*>(g.scales.data) + place, cell.scale);
    } else {
      const auto code = static_cast<std::uint8_t>(encode_e8m0(cell.scale));
      if (writes) m.store_global(static_cast<std::uint8_t*>(g.scales.data) + place, code);
      cell.scale = decode_e8m0(code);
    }
    if (writes && g.azp.dtype != DType::undefined) {
      m.store_global(
          static_cast<std::int32_t*>(g.azp.data) + i * g.azp.strides[0] + j * g.azp.strides[1],
          cell.azp);
    }
    return cell;
  }
  cell.scale = read_float(m, g.scales, i, j);
  if (g.azp.dtype != DType::undefined) {
    cell.azp = static_cast<std::int32_t>(read_int(m, g.azp, i, j));
  }
  if (writes && g.shown_scales.dtype != DType::undefined) {
    const bool shown = range.all >= kInfiniteBits;
    write_float(m, g.shown_scales, i, j,
                shown ? std::numeric_limits<float>::quiet_NaN() : cell.scale);
  }
  return cell;
}

/// x / scale. A NaN keeps its sign, which a device's division does not.
OCTAVO_HOST_DEVICE constexpr float code_quotient(float x, float scale) {
  const float quotient = x / scale;
  if (quotient == quotient) return quotient;
  if (x != x) return x;
  return scale != scale ? scale : quotient;
}

/// What an 8-bit float is converted from: an infinite element is shown where the type or the rule
/// says so, a finite one whose quotient is infinite saturates.
template <bool has_inf>
OCTAVO_HOST_DEVICE constexpr float shown_quotient(float x, float quotient, bool ignores) {
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(quotient) & 0x80000000U;
  const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU;
  if (magnitude == kInfiniteBits) {
    const bool keeps = has_inf || ignores;
    return std::bit_cast<float>(sign | (keeps ? kInfiniteBits : 0x7FC00000U));
  }
  const bool infinite = (std::bit_cast<std::uint32_t>(quotient) & 0x7FFFFFFFU) == kInfiniteBits;
  return infinite ? std::bit_cast<float>(sign | 0x7F7FFFFFU) : quotient;
}

/// A scale that whole octets are divided by.
struct Divisor {
  float scale = 1.0F;
  std::int32_t azp = 0;
  float reciprocal = 1.0F;
  bool near = false;  ///< near_quotient takes it, and elements up to a magnitude
};

/// `most`: the largest magnitude of the elements, as bits.
OCTAVO_HOST_DEVICE constexpr Divisor divisor_of(const CellScale& cell, std::uint32_t most) {
  Divisor by{cell.scale, cell.azp, 1.0F / cell.scale, false};
  by.near = cell.scale > 0x1p-80F && cell.scale < 0x1p80F && most < kInfiniteBits &&
            std::bit_cast<float>(most) * by.reciprocal < 0x1p60F;
  return by;
}

/// x / scale, correctly rounded where it is 2^-20 or more, and of its sign and less below that:
/// Markstein's division by a correctly rounded reciprocal. The first correction leaves less than an
/// ulp, whose remainder is exact; the second rounds.
OCTAVO_HOST_DEVICE float near_quotient(float x, const Divisor& by) {
  const float first = x * by.reciprocal;
  const float second = fmaf(fmaf(-first, by.scale, x), by.reciprocal, first);
  const float third = fmaf(fmaf(-second, by.scale, x), by.reciprocal, second);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(third) & 0x7FFFFFFFU) |
                              (std::bit_cast<std::uint32_t>(x) & 0x80000000U));
}

/// Codes of eight quotients of elements x.
OCTAVO_DEVICE Words2 encode_octet(const CellGrid& g, const float (&x)[kOctet],
                                  const float (&quotient)[kOctet],
                                  const std::int32_t (&azp)[kOctet], bool near) {
  Words2 codes{};
  const auto put = [&](int e, std::uint32_t code) {
    codes.word[e / 4] |= (code & 0xFFU) << (e % 4 * 8);
  };
  if (g.rule.azp) {
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      put(e, static_cast<std::uint32_t>(
                 octavo::shifted_code(g.rule.lowest, quotient[e], std::int64_t{azp[e]})));
    }
    return codes;
  }
  with_codec(g.dtype, [&]<std::size_t row>(Codec<row>) {
    using Type = Codec<row>;
    if constexpr (Type::kKind == DTypeKind::float8) {
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e) {
        const float shown =
            near ? quotient[e]
                 : shown_quotient<Type::kFormat.inf_code != 0>(x[e], quotient[e], g.ignores);
        put(e, Type::encode(shown, g.overflow));
      }
    } else if constexpr (Type::kKind == DTypeKind::integer) {
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e)
        put(e, static_cast<std::uint32_t>(Type::encode(quotient[e], g.overflow)));
    }
  });
  return codes;
}

/// Codes of eight elements by one scale.
OCTAVO_DEVICE Words2 codes_of(const CellGrid& g, const float (&x)[kOctet], const Divisor& by) {
  float quotient[kOctet];
  std::int32_t azp[kOctet];
  OCTAVO_UNROLL
  for (int e = 0; e < kOctet; ++e) {
    quotient[e] = by.near ? near_quotient(x[e], by) : code_quotient(x[e], by.scale);
    azp[e] = by.azp;
  }
  return encode_octet(g, x, quotient, azp, by.near);
}

}  // namespace octavo::cuda
