// SPDX-License-Identifier: Apache-2.0
// Sums of 64 x 64 outputs of the general product (product.hpp), a thread 4 x 4 of them.
//
//   16 steps of K lie in shared memory at a time as 32-bit values, while the next ones are on their
//   way in registers:
//
//         A: [16 of K][64 rows]      B: [16 of K][64 columns], zero points taken off
//
//   Cells of scales, and chunks of K, end where they end, inside such a stage too. A's zero points
//   come off at the end of a cell: sum (a - azp) b = sum a b - azp * sum b.
#pragma once

#include <bit>
#include <type_traits>

#include "backends/cuda/kernels/common/chunk_at_hand.hpp"
#include "backends/cuda/kernels/common/elements.hpp"

namespace octavo::cuda {

struct ProductParams {
  Member product;
  ChunkSteps chunks, outlier_chunks;
  std::int64_t m = 0, n = 0, k = 0;
  bool integers = false;  ///< both operands are of 8-bit integers
  bool exact = false;     ///< the output is the integers' sum, in int32
  bool varies = false;    ///< a scale varies along K
  bool torch_compat = false;
  Overflow overflow = Overflow::saturate;
};

/// The shared memory of a tile.
struct ProductShared {
  static constexpr std::uint32_t kThreads = 256;
  static constexpr std::uint32_t kTile = 64, kStage = 16;
  static constexpr std::uint32_t kPitch = kTile + 4;  // words: a column spreads over the banks
  static constexpr std::uint32_t kA = 0, kB = kA + kStage * kPitch * 4;
  static constexpr std::uint32_t kFactors = kB + kStage * kPitch * 4;  // [A, A, B, B][64]
  static constexpr std::uint32_t kZeroPoints = kFactors + 4 * kTile * 4;
  static constexpr std::uint32_t kWide = kZeroPoints + kTile * 8;  // [64 rows][64] of 64 bits
  static constexpr std::uint32_t kSums = kWide;                    // afterwards: [64 rows][kPitch]
  static constexpr std::uint32_t kBytes = kWide + kTile * kTile * 8;
};

/// One thread's part of a tile.
template <class Machine, bool integers>
class ProductTile {
  using Value = std::conditional_t<integers, std::int32_t, float>;
  using Shared = ProductShared;
  static constexpr std::uint32_t kEach = 4;  // rows, and columns, of a thread
  static constexpr std::uint32_t kLoads = Shared::kTile * Shared::kStage / Shared::kThreads;
  // Products that int32 sums take before they are added to wider ones: 33025 of 8-bit differences
  // would stay exact.
  static constexpr std::int64_t kMostNarrow = 4096;

 public:
  OCTAVO_DEVICE ProductTile(Machine& m, const ProductParams& p, std::int64_t row,
                            std::int64_t column)
      : m_(m),
        p_(p),
        row_(row),
        column_(column),
        shared_(m.shared_base()),
        down_(m.tid() / (Shared::kTile / kEach) * kEach),
        across_(m.tid() % (Shared::kTile / kEach) * kEach),
        place_a_(place_of(p.product.a.data.strides[1], p.product.a.data.strides[0])),
        place_b_(place_of(p.product.b.data.strides[0], p.product.b.data.strides[1])) {}

  /// Leaves t of every output, or the exact sum, in shared memory; behind it wants a barrier.
  OCTAVO_DEVICE void run() {
    put_zero_points();
    ChunkAtHand chunk(p_.chunks);
    std::int64_t begin = 0, end = next_boundary(0, chunk.end());  // of a cell of K
    Value a[kLoads], b[kLoads];
    constexpr std::int64_t kStage = Shared::kStage;
    for (std::int64_t k = -kStage; k < p_.k; k += kStage) {  // the first only fetches
      if (k >= 0) {
        put(Shared::kA, place_a_, a);
        put(Shared::kB, place_b_, b);
      }
      m_.sync_named(1, Shared::kThreads);
      if (k + kStage < p_.k) fetch(k + kStage, a, b);
      if (k < 0) continue;
      const std::int64_t count = p_.k - k < kStage ? p_.k - k : kStage;
      for (std::int64_t step = 0; step < count;) {
        const std::int64_t stop = end - k < count ? end - k : count;
        for (; step < stop; ++step) multiply(static_cast<std::uint32_t>(step));
        if (k + step != end) {
          if (integers && (k + kStage) % kMostNarrow == 0) widen();
          continue;
        }
        finish_cell(begin);
        begin = end;
        if (chunk.pass(begin)) end_chunk();
        end = next_boundary(begin, chunk.end());
      }
      m_.sync_named(1, Shared::kThreads);  // the stage has been read
    }
    if (p_.chunks.several()) {
      end_chunk();
      each([&](std::uint32_t r, std::uint32_t c) { total_[r][c] = before_[r][c]; });
    }
    put_sums();
  }

 private:
  // ---- operands
  // ----------------------------------------------------------------------------------

  // Which elements of a stage a thread brings: neighbours in memory are threads' neighbours.
  struct Place {
    std::uint32_t line, step;              // of the first
    std::uint32_t line_apart, step_apart;  // from each to the next
  };
  OCTAVO_DEVICE Place place_of(std::int64_t k_stride, std::int64_t line_stride) const {
    const auto distance = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
    const std::uint32_t t = m_.tid();
    if (distance(k_stride) <= distance(line_stride))
      return {t / Shared::kStage, t % Shared::kStage, Shared::kThreads / Shared::kStage, 0};
    return {t % Shared::kTile, t / Shared::kTile, 0, Shared::kThreads / Shared::kTile};
  }

  OCTAVO_DEVICE void fetch(std::int64_t k, Value (&a)[kLoads], Value (&b)[kLoads]) {
    const OperandView &left = p_.product.a, &right = p_.product.b;
    load(left.data, place_a_, row_, p_.m, k, left.data.strides[0], left.data.strides[1], a);
    load(right.data, place_b_, column_, p_.n, k, right.data.strides[1], right.data.strides[0], b);
    if (right.azp.dtype == DType::undefined) return;
    OCTAVO_UNROLL
    for (std::uint32_t i = 0; i < kLoads; ++i) {
      const std::int64_t n = column_ + place_b_.line + i * place_b_.line_apart;
      const std::int64_t at = k + place_b_.step + i * place_b_.step_apart;
      if (n < p_.n && at < p_.k) b[i] -= static_cast<Value>(zero_point(at, n));
    }
  }

  // Lines are rows of A, columns of B; past either end there are zeros.
  OCTAVO_DEVICE void load(const MatrixView& x, const Place& place, std::int64_t first,
                          std::int64_t lines, std::int64_t k, std::int64_t line_stride,
                          std::int64_t k_stride, Value (&to)[kLoads]) {
    const std::int64_t line = first + place.line, step = k + place.step;
    const std::int64_t at = line * line_stride + step * k_stride;
    const std::int64_t apart = place.line_apart * line_stride + place.step_apart * k_stride;
    with_codec(x.dtype, [&]<std::size_t row>(Codec<row>) {
      using Raw = typename Codec<row>::Raw;
      constexpr DTypeKind kKind = Codec<row>::kKind;
      if constexpr (kKind == DTypeKind::integer ||
                    (!integers && (kKind == DTypeKind::float8 || kKind == DTypeKind::wide))) {
        OCTAVO_UNROLL
        for (std::uint32_t i = 0; i < kLoads; ++i) {
          to[i] = 0;
          if (line + i * place.line_apart >= lines || step + i * place.step_apart >= p_.k) continue;
          const Raw raw = m_.load_global(static_cast<const Raw*>(x.data) + at + i * apart);
          if constexpr (integers) {
            to[i] = raw;
          } else {
            to[i] = Codec<row>::decode(raw);
          }
        }
      }
    });
  }

  // As core/scales/scale_values.hpp has it: [1, N], or one for each cell of the first scale.
  OCTAVO_DEVICE std::int64_t zero_point(std::int64_t k, std::int64_t n) {
    const OperandView& b = p_.product.b;
    if (b.azp.shape[0] == 1 && b.azp.shape[1] >= p_.n) return read_int(m_, b.azp, 0, n);
    const ScaleView& scale = b.scale[0];
    return read_int(m_, b.azp, cell_of(scale.row0 + k, scale.rows),
                    cell_of(scale.col0 + n, scale.cols));
  }

  OCTAVO_DEVICE void put(std::uint32_t to, const Place& place, const Value (&from)[kLoads]) {
    OCTAVO_UNROLL
    for (std::uint32_t i = 0; i < kLoads; ++i) {
      const std::uint32_t step = place.step + i * place.step_apart;
      const std::uint32_t line = place.line + i * place.line_apart;
      m_.store_shared(shared_ + to + (step * Shared::kPitch + line) * 4, from[i]);
    }
  }

  // Of A's rows; 0 where there are none.
  OCTAVO_DEVICE void put_zero_points() {
    if (!integers || m_.tid() >= Shared::kTile) return;
    const std::int64_t i = row_ + m_.tid();
    std::int64_t azp = 0;
    if (p_.product.a.azp.dtype != DType::undefined && i < p_.m)
      azp = read_int(m_, p_.product.a.azp, i, 0);
    m_.store_shared(shared_ + Shared::kZeroPoints + m_.tid() * 8, azp);
  }

  // ---- sums
  // --------------------------------------------------------------------------------------

  template <class T>
  struct alignas(16) Four {
    T at[kEach];
  };
  template <class T>
  OCTAVO_DEVICE Four<T> four(std::uint32_t address) {
    return m_.template load_shared<Four<T>>(shared_ + address);
  }
  template <class Visit>
  OCTAVO_DEVICE static void each(const Visit& visit) {
    OCTAVO_UNROLL
    for (std::uint32_t r = 0; r < kEach; ++r) {
      OCTAVO_UNROLL
      for (std::uint32_t c = 0; c < kEach; ++c) visit(r, c);
    }
  }

  OCTAVO_DEVICE void multiply(std::uint32_t step) {
    const std::uint32_t line = step * Shared::kPitch * 4;
    const auto a = four<Value>(Shared::kA + line + down_ * 4);
    const auto b = four<Value>(Shared::kB + line + across_ * 4);
    OCTAVO_UNROLL
    for (std::uint32_t r = 0; r < kEach; ++r) {
      OCTAVO_UNROLL
      for (std::uint32_t c = 0; c < kEach; ++c) sums_[r][c] += a.at[r] * b.at[c];
    }
    if constexpr (integers) {
      OCTAVO_UNROLL
      for (std::uint32_t c = 0; c < kEach; ++c) column_sums_[c] += b.at[c];
    }
  }

  // The cell's exact sum so far, A's zero points taken off.
  OCTAVO_DEVICE std::int64_t exact(std::uint32_t r, std::uint32_t c, std::int64_t azp) {
    const std::int64_t sum = sums_[r][c] - azp * column_sums_[c];
    return widened_ ? sum + m_.template load_shared<std::int64_t>(wide(r, c)) : sum;
  }
  OCTAVO_DEVICE std::int64_t zero_point_of_row(std::uint32_t r) {
    return m_.template load_shared<std::int64_t>(shared_ + Shared::kZeroPoints + (down_ + r) * 8);
  }
  OCTAVO_DEVICE std::uint32_t wide(std::uint32_t r, std::uint32_t c) const {
    return shared_ + Shared::kWide + ((down_ + r) * Shared::kTile + across_ + c) * 8;
  }

  // To 64 bits, which lie in shared memory.
  OCTAVO_DEVICE void widen() {
    if constexpr (integers) {
      OCTAVO_UNROLL
      for (std::uint32_t r = 0; r < kEach; ++r) {
        const std::int64_t azp = zero_point_of_row(r);
        OCTAVO_UNROLL
        for (std::uint32_t c = 0; c < kEach; ++c) {
          m_.store_shared(wide(r, c), exact(r, c, azp));
          sums_[r][c] = 0;
        }
      }
      clear_column_sums();
      widened_ = true;
    }
  }
  OCTAVO_DEVICE void clear_column_sums() {
    OCTAVO_UNROLL
    for (std::uint32_t c = 0; c < kEach; ++c) column_sums_[c] = 0;
  }

  // ---- cells of K
  // --------------------------------------------------------------------------------

  OCTAVO_DEVICE static bool varies(const ScaleView& scale, std::int64_t along) {
    return scale.kind == ScaleKind::tensor && along != kWholeExtent;
  }
  // The end of the cell of all scales that vary along K which holds k, or of the chunk.
  OCTAVO_DEVICE std::int64_t next_boundary(std::int64_t k, std::int64_t chunk_end) const {
    std::int64_t next = chunk_end;
    if (!p_.varies) return next;
    const auto consider = [&](const ScaleView& scale, std::int64_t cell, std::int64_t origin) {
      if (!varies(scale, cell)) return;
      const std::int64_t end = (cell_of(origin + k, cell) + 1) * cell - origin;
      next = end < next ? end : next;
    };
    for (const ScaleView& scale : p_.product.a.scale) consider(scale, scale.cols, scale.col0);
    for (const ScaleView& scale : p_.product.b.scale) consider(scale, scale.rows, scale.row0);
    return next;
  }

  // Scales that vary along K, at k, of the tile's rows and columns: a thread one of them.
  OCTAVO_DEVICE void put_factors(std::int64_t k) {
    const std::uint32_t which = m_.tid() / Shared::kTile, line = m_.tid() % Shared::kTile;
    const bool of_a = which < 2;
    const ScaleView& scale = of_a ? p_.product.a.scale[which % 2] : p_.product.b.scale[which % 2];
    const std::int64_t i = of_a ? row_ + line : k, j = of_a ? k : column_ + line;
    const bool inside = of_a ? i < p_.m : j < p_.n;
    float factor = 1.0F;
    if (inside && varies(scale, of_a ? scale.cols : scale.rows))
      factor = read_scale(m_, scale, i, j);
    m_.sync_named(1, Shared::kThreads);  // those of the cell before have been read
    m_.store_shared(shared_ + Shared::kFactors + m_.tid() * 4, factor);
    m_.sync_named(1, Shared::kThreads);
  }

  // t += part * scales, and the sums begin again. An exact sum is the output's bits.
  OCTAVO_DEVICE void finish_cell(std::int64_t k) {
    float part[kEach][kEach];
    OCTAVO_UNROLL
    for (std::uint32_t r = 0; r < kEach; ++r) {
      const std::int64_t azp = integers ? zero_point_of_row(r) : 0;
      OCTAVO_UNROLL
      for (std::uint32_t c = 0; c < kEach; ++c) {
        if constexpr (integers) {
          const std::int64_t sum = exact(r, c, azp);
          part[r][c] =
              p_.exact ? std::bit_cast<float>(saturated_int32(sum)) : static_cast<float>(sum);
        } else {
          part[r][c] = sums_[r][c];
        }
        sums_[r][c] = 0;
      }
    }
    clear_column_sums();
    widened_ = false;
    if (p_.exact) {
      each([&](std::uint32_t r, std::uint32_t c) { total_[r][c] = part[r][c]; });
      return;
    }
    if (p_.varies) {
      put_factors(k);
      OCTAVO_UNROLL
      for (std::uint32_t level = 0; level < 2; ++level) {
        const auto factor = four<float>(Shared::kFactors + (level * Shared::kTile + down_) * 4);
        each([&](std::uint32_t r, std::uint32_t c) { part[r][c] *= factor.at[r]; });
      }
      OCTAVO_UNROLL
      for (std::uint32_t level = 2; level < 4; ++level) {
        const auto factor = four<float>(Shared::kFactors + (level * Shared::kTile + across_) * 4);
        each([&](std::uint32_t r, std::uint32_t c) { part[r][c] *= factor.at[c]; });
      }
    }
    each([&](std::uint32_t r, std::uint32_t c) { total_[r][c] += part[r][c]; });
  }

  // t of a chunk to those before it; the next one's begins.
  OCTAVO_DEVICE void end_chunk() {
    each([&](std::uint32_t r, std::uint32_t c) {
      before_[r][c] += total_[r][c];
      total_[r][c] = 0;
    });
  }

  OCTAVO_DEVICE void put_sums() {
    OCTAVO_UNROLL
    for (std::uint32_t r = 0; r < kEach; ++r) {
      Four<float> line;
      OCTAVO_UNROLL
      for (std::uint32_t c = 0; c < kEach; ++c) line.at[c] = total_[r][c];
      m_.store_shared(shared_ + Shared::kSums + ((down_ + r) * Shared::kPitch + across_) * 4, line);
    }
  }

  Machine& m_;
  const ProductParams& p_;
  std::int64_t row_, column_;  // of the tile
  std::uint32_t shared_;
  std::uint32_t down_, across_;  // of the thread's outputs, in the tile
  Place place_a_, place_b_;
  Value sums_[kEach][kEach] = {};  // of the cell so far
  std::int32_t column_sums_[kEach] = {};
  bool widened_ = false;             // part of the cell's sums lies in shared memory
  float total_[kEach][kEach] = {};   // of the chunk so far, or the exact sum's bits
  float before_[kEach][kEach] = {};  // of chunks of K
};

}  // namespace octavo::cuda
