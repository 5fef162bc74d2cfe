// SPDX-License-Identifier: Apache-2.0
// Section 8: LLM.int8's statistics and codes by row, beside outlier columns. Four kernels, no word
// from the host between them:
//
//     mark    flags[c] = 2 for a fixed column, else 0
//     find    flags[c] |= 1 for a column with |x| >= threshold in any row
//     rows    absmax[r] = max |x[r, c]| of what counts; codes[r, c] = RNE(x[r, c] * (127 / absmax))
//     list    columns of either kind, ascending, -1 behind the last; flags become 0 or 1
//
// Threads that find an outlier in one column at once write the same byte.
#pragma once

#include "backends/cuda/kernels/common/octet.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"
#include "backends/cuda/kernels/passes/teams.hpp"
#include "core/scales/scale_rule.hpp"

namespace octavo::cuda {

constexpr std::uint8_t kFoundColumn = 1;
constexpr std::uint8_t kFixedColumn = 2;

/// Bits of a float without its sign.
OCTAVO_HOST_DEVICE constexpr std::uint32_t magnitude_bits(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU;
}
/// Numbers of magnitudes from `limit` on, as bits; no NaN is one.
OCTAVO_HOST_DEVICE constexpr bool is_outlier(float x, std::uint32_t limit) {
  const std::uint32_t magnitude = magnitude_bits(x);
  return magnitude >= limit && magnitude <= 0x7F800000U;
}

struct VectorwiseMark {
  struct Params {
    std::uint8_t* flags = nullptr;
    std::int64_t count = 0;
    ColumnList fixed;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_element(m, kThreads, p.count, [&](std::int64_t c) {
      std::int64_t begin = 0, end = p.fixed.count;  // of those that may be c
      while (begin < end) {
        const std::int64_t middle = (begin + end) / 2;
        if (m.load_global(p.fixed.data + middle * p.fixed.stride) < c) {
          begin = middle + 1;
        } else {
          end = middle;
        }
      }
      const bool fixed =
          begin < p.fixed.count && m.load_global(p.fixed.data + begin * p.fixed.stride) == c;
      m.store_global(p.flags + c, fixed ? kFixedColumn : std::uint8_t{0});
    });
  }
};

struct VectorwiseFind {
  struct Params {
    MatrixView x;             ///< its rows as they lie in memory
    bool transposed = false;  ///< rows are the problem's columns
    bool words = false;
    std::uint32_t limit = 0;
    std::uint8_t* flags = nullptr;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::int64_t per_row = octets_of(p.x.shape[1]);
    each_element(m, kThreads, p.x.shape[0] * per_row, [&](std::int64_t t) {
      const std::int64_t r = quotient_of(t, per_row), c = (t - r * per_row) * kOctet;
      float x[kOctet];
      load_octet(m, p.x, p.words, r, c, p.x.shape[1] - c, x);
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e) {
        if (c + e >= p.x.shape[1] || !is_outlier(x[e], p.limit)) continue;
        std::uint8_t* flag = p.flags + (p.transposed ? r : c + e);
        m.store_global(flag, static_cast<std::uint8_t>(m.load_global(flag) | kFoundColumn));
      }
    });
  }
};

/// A team takes a row; `kept` octets of a thread stay in registers.
template <std::uint32_t threads, int kept>
struct VectorwiseRows {
  struct Params {
    MatrixView x, codes, absmax;
    std::uint32_t limit = 0;
    const std::uint8_t* flags = nullptr;      ///< null: no columns
    std::uint8_t uncounted = 0, uncoded = 0;  ///< flags of columns beside the statistics, of code 0
    const std::uint8_t* zero_rows = nullptr;
    bool input_words = false, code_words = false;
    std::uint32_t team = 1;  ///< threads
  };
  static constexpr std::uint32_t kThreads = threads, kSharedBytes = team_bytes(threads);
  static constexpr int kKept = kept;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::uint32_t teams = kThreads / p.team, rank = m.tid() % p.team;
    const std::int64_t rows = p.x.shape[0], octets = octets_of(p.x.shape[1]);
    std::uint32_t turn = 0;
    each_piece(m, (rows + teams - 1) / teams, [&](std::int64_t piece) {
      const std::int64_t r = piece * teams + m.tid() / p.team;
      const std::int64_t count = r < rows ? octets : 0;
      Most most;
      float x[kKept > 0 ? kKept : 1][kOctet];
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::int64_t t = rank + std::int64_t{p.team} * k;
        if (t < count) read(m, p, r, t, x[k], most);
      }
      const std::int64_t more = rank + std::int64_t{p.team} * kKept;
      for (std::int64_t t = more; t < count; t += p.team) {
        float once[kOctet];
        read(m, p, r, t, once, most);
      }
      join_team<kThreads>(m, p.team, turn, most);
      if (r >= rows) return;
      const bool shown = most.bits >= 0x7F800000U;
      const float absmax =
          shown ? std::numeric_limits<float>::quiet_NaN() : std::bit_cast<float>(most.bits);
      if (rank == 0)
        m.store_global(static_cast<float*>(p.absmax.data) + r * p.absmax.strides[0], absmax);
      if (p.codes.dtype == DType::undefined) return;
      const bool zero = shown || (p.zero_rows != nullptr && m.load_global(p.zero_rows + r) != 0);
      const float factor = zero ? 0.0F : vectorwise_factor(absmax);
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::int64_t t = rank + std::int64_t{p.team} * k;
        if (t < count) write(m, p, r, t, x[k], zero, factor);
      }
      for (std::int64_t t = more; t < count; t += p.team) {
        float again[kOctet];
        Most unused;
        read(m, p, r, t, again, unused);
        write(m, p, r, t, again, zero, factor);
      }
    });
  }

 private:
  // The largest magnitude of what counts, and of NaN anywhere, as bits.
  struct Most {
    std::uint32_t bits = 0;
    OCTAVO_DEVICE void join(const Most& other) { bits = other.bits > bits ? other.bits : bits; }
    template <class Move>
    OCTAVO_DEVICE Most moved(const Move& move) const {
      return {move(bits)};
    }
  };

  template <class Machine>
  OCTAVO_DEVICE static bool flagged(Machine& m, const Params& p, std::int64_t c,
                                    std::uint8_t which) {
    return p.flags != nullptr && which != 0 && (m.load_global(p.flags + c) & which) != 0;
  }
  template <class Machine>
  OCTAVO_DEVICE static void read(Machine& m, const Params& p, std::int64_t r, std::int64_t t,
                                 float (&x)[kOctet], Most& most) {
    const std::int64_t c = t * kOctet, count = p.x.shape[1] - c;
    load_octet(m, p.x, kept > 0 && p.input_words, r, c, count, x);
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      const std::uint32_t magnitude = magnitude_bits(x[e]);
      const bool counts =
          magnitude > 0x7F800000U ||
          (magnitude < p.limit && !(e < count && flagged(m, p, c + e, p.uncounted)));
      if (counts) most.join({magnitude});
    }
  }
  template <class Machine>
  OCTAVO_DEVICE static void write(Machine& m, const Params& p, std::int64_t r, std::int64_t t,
                                  const float (&x)[kOctet], bool zero, float factor) {
    const std::int64_t c = t * kOctet, count = p.x.shape[1] - c;
    Words2 codes{};
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      if (zero || e >= count || is_outlier(x[e], p.limit) || flagged(m, p, c + e, p.uncoded))
        continue;
      const std::int32_t code = round_to_int<-127, 127>(x[e] * factor);
      codes.word[e / 4] |= (static_cast<std::uint32_t>(code) & 0xFFU) << (e % 4 * 8);
    }
    store_octet(m, p.codes, p.code_words, r, c, count, codes);
  }
};
using VectorwiseLongRows = VectorwiseRows<512, 4>;
/// Neighbouring threads have neighbouring rows: columns lie together.
using VectorwiseTransposedRows = VectorwiseRows<256, 0>;

/// One CTA.
struct VectorwiseList {
  struct Params {
    std::uint8_t* flags = nullptr;
    std::int64_t count = 0;    ///< of columns
    std::uint8_t uncoded = 0;  ///< flags that stay
    std::int64_t* columns = nullptr;
    std::int64_t* column_count = nullptr;
  };
  static constexpr std::uint32_t kThreads = 512, kWarps = kThreads / 32;
  static constexpr std::uint32_t kSharedBytes = kWarps * 4;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    if (m.block() != 0) return;
    std::int64_t listed = 0;
    for (std::int64_t begin = 0; begin < p.count; begin += std::int64_t{kThreads} * kOctet) {
      const std::int64_t c = begin + std::int64_t{m.tid()} * kOctet;
      std::uint8_t flags[kOctet];
      std::uint32_t own = 0;
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e) {
        flags[e] = c + e < p.count ? m.load_global(p.flags + c + e) : std::uint8_t{0};
        own += flags[e] != 0 ? 1 : 0;
      }
      std::uint32_t all = 0;
      std::int64_t place = listed + before(m, own, all);
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e) {
        if (c + e >= p.count) continue;
        if (flags[e] != 0) m.store_global(p.columns + place++, c + e);
        m.store_global(p.flags + c + e,
                       static_cast<std::uint8_t>((flags[e] & p.uncoded) != 0 ? 1 : 0));
      }
      listed += all;
    }
    for (std::int64_t i = listed + m.tid(); i < p.count; i += kThreads)
      m.store_global(p.columns + i, std::int64_t{-1});
    if (m.tid() == 0) m.store_global(p.column_count, listed);
  }

 private:
  // The sum over the CTA's threads before this one, and over all of them.
  template <class Machine>
  OCTAVO_DEVICE static std::uint32_t before(Machine& m, std::uint32_t own, std::uint32_t& all) {
    std::uint32_t sum = own;
    for (std::uint32_t step = 1; step < 32; step *= 2) {
      const std::uint32_t other = m.shuffle(sum, (m.lane() - step) % 32);
      if (m.lane() >= step) sum += other;
    }
    m.sync_named(1, kThreads);  // the last tile's sums have been read
    if (m.lane() == 31) m.store_shared(m.shared_base() + m.warp() * 4, sum);
    m.sync_named(1, kThreads);
    std::uint32_t earlier = 0;
    for (std::uint32_t w = 0; w < kWarps; ++w) {
      const auto count = m.template load_shared<std::uint32_t>(m.shared_base() + w * 4);
      earlier += w < m.warp() ? count : 0;
      all += count;
    }
    return earlier + sum - own;
  }
};

}  // namespace octavo::cuda
