// SPDX-License-Identifier: Apache-2.0
// Section 3 from sums to outputs of any type, where a product has more than scales and a bias, or
// its output is none that a TMA store takes:
//
//   t = float(acc);  t *= sa;  t += outliers;  t *= sb;  t *= alpha;  t += beta * C;  t += bias
//   t *= scale_result;  out = cast(t)
//
// where acc is the exact sum of codes less zero points (zero_point_terms.hpp), if there are any.
// Outliers (outlier_terms.hpp; those of original weights stand behind sb) are for kernels that have
// room for them in shared memory: what the panel's rows and columns have of 16 listed columns of A.
// Each step is rounded by itself, as finishing.hpp has them; a step that is absent is there as what
// changes no bit. The kernel has put sums in a panel of shared memory, rows of 32 columns; from
// there threads take four columns each, so that C and the output are read and written in rows:
//
//        lanes of a warp   0     1     2    ...    7
//                   row  0 |     |     |     |     |    32 columns
//                          8     9    10    ...   15
//                   row  1 |     |     |     |     |
#pragma once

#include <type_traits>

#include "backends/cuda/kernels/common/epilogue.hpp"
#include "backends/cuda/kernels/common/octet.hpp"
#include "backends/cuda/kernels/common/outlier_terms.hpp"
#include "backends/cuda/kernels/common/zero_point_terms.hpp"
#include "backends/cuda/machine/layout.hpp"

namespace octavo::cuda {

/// 8-bit floats saturate: other overflows are for the `finish` pass.
struct FullEpilogue {
  Factors scale_a;                  ///< of rows
  Factors scale_b;                  ///< of columns
  Factors alpha, beta;              ///< one value each
  Factors bias{nullptr, 0, -0.0F};  ///< of columns
  Factors result;                   ///< of columns
  ZeroPoints zero_points;           ///< of integers
  Outliers outliers;                ///< the same; none where they are not the kernel's
  Elements codes;                   ///< with outliers: B, [K, N]
  Elements c;                       ///< of a wide type; undefined: none
  Elements out;                     ///< contiguous rows
  bool c_words = false;             ///< four columns of C, from a multiple of four on, are words
  bool out_words = false;
};

/// Whether the kernel makes outputs of a type: int32 of sums as they are.
constexpr bool is_full_output(DType dtype) {
  return dtype == DType::int32 || dtype == DType::float32 || dtype == DType::bfloat16 ||
         dtype == DType::float16 || dtype == DType::int8 || dtype == DType::uint8 ||
         dtype == DType::float8_e4m3fn || dtype == DType::float8_e5m2;
}

/// Panels of so many rows, by 128 threads.
template <class Sum, int rows, bool has_outliers = false>
class FullPanel {
 public:
  static constexpr int kFour = 4, kThreads = 128;
  static constexpr int kThreadsOfRow = static_cast<int>(kRowBytes) / (4 * kFour);
  static constexpr int kColumns = kThreadsOfRow * kFour;
  static constexpr int kRowsAtOnce = kThreads / kThreadsOfRow, kTurns = rows / kRowsAtOnce;
  static_assert(rows % kRowsAtOnce == 0);

  /// Where a panel lies in the output.
  struct Place {
    int row, column;          // its first
    int end_row, end_column;  // of the output, or of the group's part of it
    int group = 0;
    std::uint32_t staged = 0;   // shared address of kStagedBytes for outliers
    std::uint32_t barrier = 0;  // at which the 128 threads meet
  };

  /// Outliers: listed columns at a time, rows of A's elements, apart from each other's banks, and
  /// of the weight's.
  static constexpr int kListed = 16, kPitch = rows + 4, kPitchOfWeights = kColumns + 4;
  static constexpr std::uint32_t kStagedWeights = kListed * kPitch * 4;
  static constexpr std::uint32_t kStagedBytes = kStagedWeights + kListed * kPitchOfWeights * 4;

  /// What a thread has of C, as it lies or an element a word: of this turn and of the next, fetched
  /// two turns before their use.
  struct Addends {
    Words4 now, next;
  };

  template <class Machine>
  OCTAVO_DEVICE static Addends fetch(Machine& m, const FullEpilogue& p, const Place& place,
                                     std::uint32_t thread) {
    return {fetch_turn(m, p, place, thread, 0), fetch_turn(m, p, place, thread, 1)};
  }

  /// The panel at a shared address, behind whose sums the threads have met. `c` becomes that of
  /// the panel beside it.
  template <class Machine>
  OCTAVO_DEVICE static void finish(Machine& m, const FullEpilogue& p, std::uint32_t panel,
                                   const Place& place, std::uint32_t thread, Addends& c) {
    const int own = own_column(thread), column = place.column + own;
    const int count = place.end_column - column;
    bool scaled_rows = false, scaled_columns = false;  // in the panel, with outliers
    if constexpr (kInteger) {
      if (p.zero_points.any && count > 0) subtract(m, p, panel, place, thread);
      if constexpr (has_outliers) {
        const OutlierTerms terms(p.outliers, p.codes);
        if (terms.column(m, 0) >= 0) {
          add_outliers(m, p, terms, panel, place, thread);
          scaled_rows = true;
          scaled_columns = terms.original();
        }
      }
    }
    if (count <= 0) return;
    const float alpha = p.alpha.at(m, 0, 1), beta = p.beta.at(m, 0, 1);
    float scale_b[kFour], bias[kFour], result[kFour];
    OCTAVO_UNROLL
    for (int e = 0; e < kFour; ++e) {
      scale_b[e] =
          scaled_columns ? 1.0F : p.scale_b.at(m, column + e, place.end_column, place.group);
      bias[e] = p.bias.at(m, column + e, place.end_column, place.group);
      result[e] = p.result.at(m, column + e, place.end_column);
    }
    OCTAVO_ROLLED
    for (int turn = 0; turn < kTurns; ++turn) {
      const int row = place.row + own_row(thread, turn);
      const Words4 addends = c.now;
      c = {c.next, fetch_turn(m, p, place, thread, turn + 2)};
      if (row >= place.end_row) continue;
      m.work(kFourSlots);
      const auto sums = m.template load_shared<Words4>(own_words(panel, thread, turn));
      if (p.out.dtype == DType::int32) {
        store_words(m, p, row, column, count, sums);
        continue;
      }
      const float scale_a = scaled_rows ? 1.0F : p.scale_a.at(m, row, place.end_row, place.group);
      float t[kFour];
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e) {
        t[e] = kInteger && (p.zero_points.any || scaled_rows)
                   ? std::bit_cast<float>(sums.word[e])
                   : static_cast<float>(std::bit_cast<Sum>(sums.word[e]));
        t[e] = t[e] * scale_a;
        t[e] = t[e] * scale_b[e];
        t[e] = t[e] * alpha;
      }
      if (p.c.dtype != DType::undefined) {
        OCTAVO_UNROLL
        for (int e = 0; e < kFour; ++e) {
          const float addend = beta * c_value(p, addends, e, count >= kFour);
          t[e] = t[e] + addend;
        }
      }
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e) {
        t[e] = t[e] + bias[e];
        t[e] = t[e] * result[e];
      }
      store(m, p, row, column, count, t);
    }
  }

 private:
  /// About what four 16-bit outputs with C cost to issue.
  static constexpr int kFourSlots = 100;
  /// Of four sums less zero points.
  static constexpr int kSubtractSlots = 60;
  /// Of a listed column's products with four columns of a row.
  static constexpr int kOutlierSlots = 12;
  static constexpr std::uint32_t kInfinite = 0x7F800000U;  // the bits
  static constexpr bool kInteger = std::is_integral_v<Sum>;

  OCTAVO_DEVICE static int own_column(std::uint32_t thread) {
    return static_cast<int>(thread) % kThreadsOfRow * kFour;
  }
  OCTAVO_DEVICE static int own_row(std::uint32_t thread, int turn) {
    return static_cast<int>(thread) / kThreadsOfRow + turn * kRowsAtOnce;
  }

  // Address of the thread's four sums of a row.
  OCTAVO_DEVICE static std::uint32_t own_words(std::uint32_t panel, std::uint32_t thread,
                                               int turn) {
    return swizzle_128(panel + static_cast<std::uint32_t>(own_row(thread, turn)) * kRowBytes +
                       static_cast<std::uint32_t>(own_column(thread)) * 4);
  }

  // The thread's sums become those of codes less zero points, rounded once to float32; of an int32
  // output they stay integers, saturated.
  template <class Machine>
  OCTAVO_DEVICE static void subtract(Machine& m, const FullEpilogue& p, std::uint32_t panel,
                                     const Place& place, std::uint32_t thread) {
    const int column = place.column + own_column(thread), count = place.end_column - column;
    ZeroPointLine columns[kFour];
    OCTAVO_UNROLL
    for (int e = 0; e < kFour; ++e)
      if (e < count) columns[e] = p.zero_points.column(m, column + e);
    OCTAVO_ROLLED
    for (int turn = 0; turn < kTurns; ++turn) {
      const int i = place.row + own_row(thread, turn);
      if (i >= place.end_row) continue;
      m.work(kSubtractSlots);
      const ZeroPointLine row = p.zero_points.row(m, i);
      const std::uint32_t at = own_words(panel, thread, turn);
      auto words = m.template load_shared<Words4>(at);
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e) {
        const std::int64_t sum =
            ZeroPointTerms::exact(std::bit_cast<std::int32_t>(words.word[e]), row, columns[e]);
        words.word[e] = p.out.dtype == DType::int32 ? bits_of(saturated_int32(sum))
                                                    : bits_of(static_cast<float>(sum));
      }
      m.store_shared(at, words);
    }
  }

  // Float32 values of the panel become those behind the outliers. All 128 threads.
  template <class Machine>
  OCTAVO_DEVICE static void add_outliers(Machine& m, const FullEpilogue& p,
                                         const OutlierTerms& terms, std::uint32_t panel,
                                         const Place& place, std::uint32_t thread) {
    float sums[kTurns][kFour] = {};
    bool more = true;
    OCTAVO_ROLLED
    for (std::int64_t first = 0; more; first += kListed) {
      m.sync_named(place.barrier, kThreads);  // those before have been read
      stage(m, terms, place, thread, first);
      m.sync_named(place.barrier, kThreads);
      OCTAVO_ROLLED
      for (int c = 0; c < kListed && more; ++c) {
        const std::int64_t k = terms.column(m, first + c);
        more = k >= 0;
        if (more) add_column(m, terms.in_all_rows(m, k), terms, place, thread, c, sums);
      }
    }
    const int column = place.column + own_column(thread);
    OCTAVO_UNROLL
    for (int turn = 0; turn < kTurns; ++turn) {
      const int row = place.row + own_row(thread, turn);
      const std::uint32_t at = own_words(panel, thread, turn);
      auto words = m.template load_shared<Words4>(at);
      const float scale_a = p.scale_a.at(m, row, place.end_row, place.group);
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e) {
        float t = p.zero_points.any ? std::bit_cast<float>(words.word[e])
                                    : static_cast<float>(std::bit_cast<Sum>(words.word[e]));
        t = t * scale_a;
        if (terms.original()) t = t * p.scale_b.at(m, column + e, place.end_column, place.group);
        t = t + sums[turn][e];
        words.word[e] = bits_of(t);
      }
      m.store_shared(at, words);
    }
  }

  // What rows and columns have of the listed columns from `first` on; 0 where there is none.
  template <class Machine>
  OCTAVO_DEVICE static void stage(Machine& m, const OutlierTerms& terms, const Place& place,
                                  std::uint32_t thread, std::int64_t first) {
    const int c = static_cast<int>(thread) % kListed;
    const std::int64_t k = terms.column(m, first + c);
    OCTAVO_ROLLED
    for (int row = static_cast<int>(thread) / kListed; row < rows; row += kThreads / kListed) {
      const bool there = k >= 0 && place.row + row < place.end_row;
      m.store_shared(place.staged + static_cast<std::uint32_t>(c * kPitch + row) * 4,
                     there ? terms.left(m, place.row + row, k) : 0.0F);
    }
    OCTAVO_ROLLED
    for (int j = static_cast<int>(thread) / kListed; j < kColumns; j += kThreads / kListed) {
      const int column = place.column + j;
      const bool there = k >= 0 && column < place.end_column;
      m.store_shared(
          place.staged + kStagedWeights + static_cast<std::uint32_t>(c * kPitchOfWeights + j) * 4,
          there ? terms.right(m, k, column) : 0.0F);
    }
  }

  template <class Machine>
  OCTAVO_DEVICE static void add_column(Machine& m, bool all, const OutlierTerms& terms,
                                       const Place& place, std::uint32_t thread, int listed,
                                       float (&sums)[kTurns][kFour]) {
    const auto weights = m.template load_shared<Words4>(
        place.staged + kStagedWeights +
        static_cast<std::uint32_t>(listed * kPitchOfWeights + own_column(thread)) * 4);
    m.work(kOutlierSlots * kTurns);
    OCTAVO_UNROLL
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto left = m.template load_shared<float>(
          place.staged + static_cast<std::uint32_t>(listed * kPitch + own_row(thread, turn)) * 4);
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e)
        terms.add(left, all, std::bit_cast<float>(weights.word[e]), sums[turn][e]);
    }
  }

  // Turns behind the panel's are those of the panels beside it.
  template <class Machine>
  OCTAVO_DEVICE static Words4 fetch_turn(Machine& m, const FullEpilogue& p, const Place& place,
                                         std::uint32_t thread, int turn) {
    const int row = place.row + own_row(thread, turn % kTurns);
    const int column = place.column + turn / kTurns * kColumns + own_column(thread);
    if (p.c.dtype == DType::undefined || row >= place.end_row || column >= place.end_column)
      return {};
    return fetch_c(m, p, row, column, place.end_column - column);
  }
  // Four of a row of C; 0 beyond its end.
  template <class Machine>
  OCTAVO_DEVICE static Words4 fetch_c(Machine& m, const FullEpilogue& p, int row, int column,
                                      int count) {
    const std::int64_t offset = row * p.c.strides[0] + column * p.c.strides[1];
    const auto* wide = static_cast<const std::uint32_t*>(p.c.data) + offset;
    const auto* narrow = static_cast<const std::uint16_t*>(p.c.data) + offset;
    const bool is_float = p.c.dtype == DType::float32;
    Words4 bits{};
    if (p.c_words && count >= kFour) {
      if (is_float) return m.load_global(reinterpret_cast<const Words4*>(wide));
      const auto pairs = m.load_global(reinterpret_cast<const Words2*>(narrow));
      return {{pairs.word[0], pairs.word[1], 0, 0}};
    }
    OCTAVO_UNROLL
    for (int e = 0; e < kFour; ++e) {
      const std::int64_t at = e * p.c.strides[1];
      if (e < count)
        bits.word[e] =
            is_float ? m.load_global(wide + at) : std::uint32_t{m.load_global(narrow + at)};
    }
    return bits;
  }
  OCTAVO_DEVICE static float c_value(const FullEpilogue& p, const Words4& bits, int e, bool whole) {
    if (p.c.dtype == DType::float32) return std::bit_cast<float>(bits.word[e]);
    const bool pairs = p.c_words && whole;
    const std::uint32_t code = pairs ? bits.word[e / 2] >> (e % 2 * 16) & 0xFFFFU : bits.word[e];
    return p.c.dtype == DType::bfloat16 ? widened_bf16(code) : widened_f16(code);
  }

  // Four outputs of 32 bits.
  template <class Machine>
  OCTAVO_DEVICE static void store_words(Machine& m, const FullEpilogue& p, int row, int column,
                                        int count, const Words4& bits) {
    auto* to = static_cast<std::uint32_t*>(p.out.data) + row * p.out.strides[0] + column;
    if (p.out_words && count >= kFour) return m.store_global(reinterpret_cast<Words4*>(to), bits);
    OCTAVO_UNROLL
    for (int e = 0; e < kFour; ++e)
      if (e < count) m.store_global(to + e, bits.word[e]);
  }

  template <class Machine>
  OCTAVO_DEVICE static void store(Machine& m, const FullEpilogue& p, int row, int column, int count,
                                  const float (&t)[kFour]) {
    const Elements& out = p.out;
    const std::int64_t offset = row * out.strides[0] + column;
    const bool words = p.out_words && count >= kFour;
    if (out.dtype == DType::float32) {
      store_words(m, p, row, column, count,
                  {{bits_of(t[0]), bits_of(t[1]), bits_of(t[2]), bits_of(t[3])}});
    } else if (out.dtype == DType::bfloat16 || out.dtype == DType::float16) {
      std::uint16_t* to = static_cast<std::uint16_t*>(out.data) + offset;
      const bool brain = out.dtype == DType::bfloat16;
      const Words2 bits{{brain ? m.pack_bf16(t[0], t[1]) : m.pack_f16(t[0], t[1]),
                         brain ? m.pack_bf16(t[2], t[3]) : m.pack_f16(t[2], t[3])}};
      if (words) return m.store_global(reinterpret_cast<Words2*>(to), bits);
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e) {
        const std::uint32_t code = bits.word[e / 2] >> (e % 2 * 16);
        if (e < count) m.store_global(to + e, static_cast<std::uint16_t>(code));
      }
    } else {
      std::uint8_t* to = static_cast<std::uint8_t*>(out.data) + offset;
      const std::uint32_t codes = codes_of(m, out.dtype, t);
      if (words) return m.store_global(reinterpret_cast<std::uint32_t*>(to), codes);
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e)
        if (e < count) m.store_global(to + e, static_cast<std::uint8_t>(codes >> (e * 8)));
    }
  }

  // Codes of 8 bits, the first in the lowest.
  template <class Machine>
  OCTAVO_DEVICE static std::uint32_t codes_of(Machine& m, DType dtype, const float (&t)[kFour]) {
    std::uint32_t codes = 0;
    if constexpr (Machine::has_fp8) {
      if (dtype == DType::float8_e4m3fn)
        return shown<DType::float8_e4m3fn>(m.pack_e4m3(t[0], t[1]) | m.pack_e4m3(t[2], t[3]) << 16,
                                           t);
      if (dtype == DType::float8_e5m2)
        return shown<DType::float8_e5m2>(m.pack_e5m2(t[0], t[1]) | m.pack_e5m2(t[2], t[3]) << 16,
                                         t);
    } else if (is_float8(dtype)) {
      constexpr FloatFormat kE4M3 = info(DType::float8_e4m3fn).format;
      constexpr FloatFormat kE5M2 = info(DType::float8_e5m2).format;
      OCTAVO_UNROLL
      for (int e = 0; e < kFour; ++e) {
        const bool e4m3 = dtype == DType::float8_e4m3fn;
        codes |= std::uint32_t{e4m3 ? encode<kE4M3>(t[e]) : encode<kE5M2>(t[e])} << (e * 8);
      }
      return codes;
    }
    OCTAVO_UNROLL
    for (int e = 0; e < kFour; ++e) {
      const std::int32_t code =
          dtype == DType::int8 ? int{round_to_int8(t[e])} : int{round_to_uint8(t[e])};
      codes |= (static_cast<std::uint32_t>(code) & 0xFFU) << (e * 8);
    }
    return codes;
  }

  // The instruction saturates infinities, and takes a NaN's sign.
  template <DType dtype>
  OCTAVO_DEVICE static std::uint32_t shown(std::uint32_t codes, const float (&t)[kFour]) {
    constexpr std::uint32_t kNan = info(dtype).format.nan_code;
    constexpr std::uint32_t kInfinity = encode<info(dtype).format>(std::bit_cast<float>(kInfinite));
    OCTAVO_UNROLL
    for (int e = 0; e < kFour; ++e) {
      const std::uint32_t bits = bits_of(t[e]), magnitude = bits & 0x7FFFFFFFU;
      const std::uint32_t code = (magnitude > kInfinite ? kNan : kInfinity) | (bits >> 24 & 0x80U);
      if (magnitude >= kInfinite) codes = (codes & ~(0xFFU << (e * 8))) | code << (e * 8);
    }
    return codes;
  }
};

}  // namespace octavo::cuda
