// SPDX-License-Identifier: Apache-2.0
// Dense products on the tensor cores of any device from sm_80 on:
//
//     out[M, N] = section 3 of the sums A[M, K] B[N, K]^T          (full_epilogue.hpp)
//
// A CTA takes tile after tile. Its warps share the tile out; each multiplies 16 rows by 8 columns
// at a time (mma.sync) from registers that ldmatrix fills:
//
//     128 x 128, eight warps of 64 x 32          32 x 64, four warps of 32 x 16: where those
//     +----+----+----+----+                      are too few to fill the device
//     | 0  | 1  | 2  | 3  |                      +---+---+---+---+
//     +----+----+----+----+                      | 0 | 1 | 2 | 3 |
//     | 4  | 5  | 6  | 7  |                      +---+---+---+---+
//     +----+----+----+----+
//
//     shared memory                                       128 x 128     32 x 64
//     stages of [ A rows x 128 bytes | B rows x 128 ]      3  98304      4 49152
//     after the last: panels of 32 columns of sums, in the stages' place, and what outliers need
//
// Threads copy (cp.async) what is two or three steps ahead, each its pieces of 16 bytes; what is
// beyond K or the last row becomes zeros and is not read. Tiles are K-major and swizzled
// (machine/layout.hpp), so that neither copies nor ldmatrix meet in a bank.
//
// Sums: integers are exact. 16-bit elements are added by the tensor cores, sixteen at a time in
// ascending k, and so is fp8, widened to fp16 between shared memory and registers: elements 0 and 1
// of every four of 32 are multiplied first, then 2 and 3. An element's sum is one chain from k = 0,
// or from where a cell of scales along K begins (mma_sums.hpp), whatever the tile and M, so that a
// row's bits depend on no other row.
#pragma once

#include <bit>
#include <type_traits>

#include "backends/cuda/kernels/common/full_epilogue.hpp"
#include "backends/cuda/kernels/common/row_tiles.hpp"
#include "backends/cuda/kernels/common/tiles.hpp"
#include "backends/cuda/kernels/sm80/mma_halves.hpp"
#include "backends/cuda/kernels/sm80/mma_sums.hpp"
#include "backends/cuda/machine/layout.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// Rows of A and of B begin at multiples of 16 bytes.
struct MmaParams {
  const std::uint8_t* a = nullptr;
  const std::uint8_t* b = nullptr;
  std::int64_t pitch_a = 0, pitch_b = 0;  ///< bytes
  std::int32_t m = 0, n = 0, k_bytes = 0;
  FullEpilogue full;
  RowTiles groups;
  KScales k_scales;  ///< of MmaTerms::k_scales, whose steps are of 32 elements
};

/// What sums need beside products; each takes the main loop instructions that others are spared.
enum class MmaTerms : std::uint8_t {
  none,
  outliers,  ///< of LLM.int8, which the epilogue adds
  k_scales,  ///< that change along K, every 32 8-bit elements or more rarely
};

/// Where a tile's warps are: `rows` x `columns` of a warp, `down` x `across` of them.
struct MmaTile {
  int rows, columns, down, across, stages;
  int resident;  // CTAs that registers leave room for on a multiprocessor
};
constexpr MmaTile kLargeTile{64, 32, 2, 4, 3, 1}, kSmallTile{32, 16, 1, 4, 4, 4};

template <MmaType type, MmaTile tile, MmaTerms terms = MmaTerms::none>
struct Mma {
  using u32 = std::uint32_t;
  using Params = MmaParams;
  static constexpr MmaType kType = type;
  static constexpr bool kOutliers = terms == MmaTerms::outliers;
  static constexpr bool kScaled = terms == MmaTerms::k_scales;
  static_assert(!kOutliers || is_integer(type));
  static_assert(!kScaled || element_bytes(type) == 1);
  using Part = Accumulator<type>;                        // in the tensor cores
  using Sum = std::conditional_t<kScaled, float, Part>;  // over all of K
  static constexpr bool kFp8 = !is_integer(type) && !is_half(type);
  static constexpr MmaType kMultiplied = kFp8 ? MmaType::f16_f16 : type;
  static constexpr int kRows = tile.rows * tile.down, kColumns = tile.columns * tile.across;
  static constexpr int kStages = tile.stages, kResident = tile.resident;
  static constexpr u32 kThreads = 32 * tile.down * tile.across;
  static constexpr u32 kBytesA = kRows * kRowBytes, kBytesB = kColumns * kRowBytes;
  static constexpr u32 kStageBytes = kBytesA + kBytesB;
  static constexpr u32 kSharedBytes = kStages * kStageBytes;
  static_assert(kSharedBytes <= 99 * 1024, "what a CTA has on every device from sm_80 on");

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const u32 base = m.shared_base(), warp = m.shuffle(m.warp(), 0);
    const TileOrder tiles{p.groups.rows_of_tiles(m, p.m, kRows), (p.n + kColumns - 1) / kColumns};
    const int steps = (p.k_bytes + static_cast<int>(kRowBytes) - 1) / static_cast<int>(kRowBytes);
    OCTAVO_ROLLED
    for (int index = static_cast<int>(m.block()); index < tiles.count();
         index += static_cast<int>(m.blocks())) {
      const Tile place = p.groups.at(m, tiles.at(index), p.m, kRows, kColumns);
      Sums sums(m, p, place, place.row + static_cast<int>(warp / tile.across * tile.rows),
                place.column + static_cast<int>(warp % tile.across * tile.columns),
                (p.k_bytes + kStepBytes - 1) / kStepBytes);
      Nans nans;
      multiply_tile(m, Source(m, p, place), base, warp, steps, nans, sums);
      if constexpr (hides_nan<Machine>()) show(m, nans, sums.totals());
      finish_tile(m, p, base, warp, place, sums.totals());
    }
  }

 private:
  static constexpr int kDown = tile.rows / 16, kAcross = tile.columns / 8;  // of mma.sync, a warp
  static_assert(kAcross % 2 == 0, "ldmatrix fills two of them");
  using Sums = std::conditional_t<kScaled, ScaledCells<Part, kDown, kAcross>,
                                  WholeSums<Part, kDown, kAcross>>;
  static constexpr bool kE5M2A = type == MmaType::e5m2_e4m3 || type == MmaType::e5m2_e5m2;
  static constexpr bool kE5M2B = type == MmaType::e4m3_e5m2 || type == MmaType::e5m2_e5m2;
  static constexpr Fp8 kFormatA = kE5M2A ? Fp8::e5m2 : Fp8::e4m3;
  static constexpr Fp8 kFormatB = kE5M2B ? Fp8::e5m2 : Fp8::e4m3;

  template <class Machine>
  static constexpr bool hides_nan() {
    return kFp8 && !Machine::has_fp8 && !(kE5M2A && kE5M2B);
  }
  /// Of e4m3 that becomes fp16 by arithmetic.
  struct Nans {
    Fp8Nans<2 * kDown> of_a;
    Fp8Nans<kAcross> of_b;
  };

  /// Pieces of 16 bytes that a thread copies in a step: the same one of several rows.
  struct Source {
    static constexpr u32 kPieces = kRowBytes / 16;
    static constexpr int kRowsAtOnce = kThreads / kPieces;
    static constexpr int kOfA = kRows / kRowsAtOnce, kOfB = kColumns / kRowsAtOnce;
    static_assert(kRows % kRowsAtOnce == 0 && kColumns % kRowsAtOnce == 0);
    static_assert(kRowsAtOnce % 8 == 0, "pieces of all its rows have one place");

    template <class Machine>
    OCTAVO_DEVICE Source(Machine& m, const Params& p, const Tile& place)
        : k_bytes_(p.k_bytes),
          own_(static_cast<int>(m.tid() % kPieces * 16)),
          to_(swizzle_128(m.tid() / kPieces * kRowBytes + m.tid() % kPieces * 16)) {
      const int first = static_cast<int>(m.tid() / kPieces);
      const std::int64_t row = place.row + first, column = place.column + first;
      a_ = Side{p.a + row * p.pitch_a + own_, kRowsAtOnce * p.pitch_a,
                place.end_row - place.row - first};
      b_ = Side{p.b + (std::int64_t{place.group} * p.groups.rows_of_b + column) * p.pitch_b + own_,
                kRowsAtOnce * p.pitch_b, p.n - place.column - first};
    }

    template <class Machine>
    OCTAVO_DEVICE void copy(Machine& m, int step, u32 stage) const {
      const int k = step * static_cast<int>(kRowBytes);
      const int left = k_bytes_ - k - own_;
      const int bytes = left < 0 ? 0 : left < 16 ? left : 16;
      copy_rows<kOfA>(m, a_, k, bytes, stage + to_);
      copy_rows<kOfB>(m, b_, k, bytes, stage + kBytesA + to_);
    }

   private:
    struct Side {
      const std::uint8_t* from;  // of its first row
      std::int64_t stride;       // to its next
      int rows;                  // from its first to the matrix's end
    };
    template <int count, class Machine>
    OCTAVO_DEVICE static void copy_rows(Machine& m, const Side& side, int k, int bytes, u32 to) {
      OCTAVO_UNROLL
      for (int i = 0; i < count; ++i) {
        const bool is_there = i * kRowsAtOnce < side.rows;
        m.cp_async16(to + static_cast<u32>(i * kRowsAtOnce) * kRowBytes,
                     side.from + i * side.stride + k, is_there ? static_cast<u32>(bytes) : 0);
      }
    }

    int k_bytes_, own_;
    u32 to_;
    Side a_, b_;
  };

  template <class Machine>
  OCTAVO_DEVICE static void multiply_tile(Machine& m, const Source& source, u32 base, u32 warp,
                                          int steps, Nans& nans, Sums& sums) {
    const auto fill = [&](int step, u32 stage) {
      if (step < steps) source.copy(m, step, base + stage * kStageBytes);
      m.cp_async_commit();
    };
    OCTAVO_UNROLL
    for (int s = 0; s < kStages - 1; ++s) fill(s, static_cast<u32>(s));
    u32 stage = 0, ahead = kStages - 1;
    OCTAVO_ROLLED
    for (int step = 0; step < steps; ++step) {
      m.template cp_async_wait<kStages - 2>();
      m.sync_named(1, kThreads);  // this step has landed, and all have left the one before
      fill(step + kStages - 1, ahead);
      multiply_stage(m, base + stage * kStageBytes, warp, nans, sums);
      ahead = stage;
      stage = stage + 1 < kStages ? stage + 1 : 0;
    }
    m.template cp_async_wait<0>();
    m.sync_named(1, kThreads);
  }

  // 128 bytes of K. Lanes give the rows that ldmatrix reads: of A, 16 rows at bytes 0 and 16; of B,
  // 8 columns at bytes 0 and 16, then 8 more.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_stage(Machine& m, u32 stage, u32 warp, Nans& nans,
                                           Sums& sums) {
    const u32 lane = m.lane();
    const u32 row_a = warp / tile.across * tile.rows + lane % 16;
    const u32 row_b = warp % tile.across * tile.columns + lane % 8 + lane / 16 * 8;
    const u32 at_a = stage + row_a * kRowBytes;
    const u32 at_b = stage + kBytesA + row_b * kRowBytes;
    // Widening by arithmetic takes registers: all four at a time would leave none.
    [[maybe_unused]] constexpr int kAtOnce = kScaled                ? 1
                                             : hides_nan<Machine>() ? 2
                                                                    : kRowBytes / kStepBytes;
    OCTAVO_UNROLL_BY(kAtOnce)
    for (u32 j = 0; j < kRowBytes / kStepBytes; ++j) {
      u32 a[kDown][4], b[kAcross / 2][4];
      OCTAVO_UNROLL
      for (u32 i = 0; i < kDown; ++i)
        m.ldmatrix4(swizzle_128(at_a + j * kStepBytes + lane / 16 * 16) + i * 16 * kRowBytes, a[i]);
      OCTAVO_UNROLL
      for (u32 i = 0; i < kAcross / 2; ++i)
        m.ldmatrix4(swizzle_128(at_b + j * kStepBytes + lane / 8 % 2 * 16) + i * 16 * kRowBytes,
                    b[i]);
      if constexpr (kFp8) {
        multiply_halves<0>(m, a, b, nans, sums.parts);
        multiply_halves<1>(m, a, b, nans, sums.parts);
      } else {
        multiply(m, a, b, sums.parts);
      }
      sums.step(m);
    }
  }

  template <class Machine>
  OCTAVO_DEVICE static void multiply(Machine& m, const u32 (&a)[kDown][4],
                                     const u32 (&b)[kAcross / 2][4],
                                     Part (&sums)[kDown][kAcross][4]) {
    OCTAVO_UNROLL
    for (int i = 0; i < kDown; ++i) multiply_rows(m, a[i], b, sums[i]);
  }

  // Sixteen rows.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_rows(Machine& m, const u32 (&a)[4],
                                          const u32 (&b)[kAcross / 2][4],
                                          Part (&sums)[kAcross][4]) {
    OCTAVO_UNROLL
    for (int j = 0; j < kAcross; ++j) {
      const u32 column[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
      m.template mma_sync<kMultiplied>(sums[j], a, column);
    }
  }

  // Elements 0 and 1 of every four, or 2 and 3.
  template <int pair, class Machine>
  OCTAVO_DEVICE static void multiply_halves(Machine& m, const u32 (&a)[kDown][4],
                                            const u32 (&b)[kAcross / 2][4], Nans& nans,
                                            Part (&sums)[kDown][kAcross][4]) {
    u32 wide_b[kAcross / 2][4];
    OCTAVO_UNROLL
    for (int i = 0; i < kAcross / 2; ++i) {
      OCTAVO_UNROLL
      for (int r = 0; r < 4; ++r)
        wide_b[i][r] = halves_of<kFormatB>(m, b[i][r], pair, nans.of_b[2 * i + r / 2]);
    }
    OCTAVO_UNROLL
    for (int i = 0; i < kDown; ++i) {
      u32 wide_a[4];
      OCTAVO_UNROLL
      for (int r = 0; r < 4; ++r)
        wide_a[r] = halves_of<kFormatA>(m, a[i][r], pair, nans.of_a[2 * i + r % 2]);
      multiply_rows(m, wide_a, wide_b, sums[i]);
    }
  }

  // A row or a column with a NaN has no other sums.
  template <class Machine>
  OCTAVO_DEVICE static void show(Machine& m, Nans& nans, Sum (&sums)[kDown][kAcross][4]) {
    constexpr float kNan = std::bit_cast<float>(0x7FFFFFFFU);  // the tensor cores'
    const u32 lane = m.lane(), column = lane % 4 * 2;
    nans.of_a.meet(m);
    nans.of_b.meet(m);
    OCTAVO_UNROLL
    for (int i = 0; i < kDown; ++i) {
      const bool rows[2] = {nans.of_a.any(m, 2 * i, lane), nans.of_a.any(m, 2 * i + 1, lane)};
      OCTAVO_UNROLL
      for (int j = 0; j < kAcross; ++j) {
        const bool columns[2] = {nans.of_b.any(m, j, column * 4),
                                 nans.of_b.any(m, j, column * 4 + 4)};
        OCTAVO_UNROLL
        for (int e = 0; e < 4; ++e)
          if (rows[e / 2] || columns[e % 2]) sums[i][j][e] = kNan;
      }
    }
  }

  // Through panels in the stages' place, from which each four warps finish a share of the rows.
  template <class Machine>
  OCTAVO_DEVICE static void finish_tile(Machine& m, const Params& p, u32 base, u32 warp,
                                        const Tile& in, const Sum (&sums)[kDown][kAcross][4]) {
    constexpr u32 kGroups = kThreads / 128, kGroupRows = kRows / kGroups;
    using Full = FullPanel<Sum, static_cast<int>(kGroupRows), kOutliers>;
    constexpr u32 kPanels = kColumns / Full::kColumns, kPanelBytes = kGroupRows * kRowBytes;
    constexpr u32 kStaged = kGroups * kPanels * kPanelBytes;
    static_assert(kStaged + kGroups * Full::kStagedBytes <= kSharedBytes);
    static_assert(tile.columns <= Full::kColumns && kGroupRows % tile.rows == 0);
    const u32 lane = m.lane();
    {
      const u32 at_row = warp / tile.across * tile.rows,
                at_column = warp % tile.across * tile.columns;
      const u32 panel = at_row / kGroupRows * kPanels + at_column / Full::kColumns;
      const u32 at = base + panel * kPanelBytes + (at_row % kGroupRows + lane / 4) * kRowBytes +
                     at_column % Full::kColumns * 4 + lane % 4 * 8;
      OCTAVO_UNROLL
      for (u32 i = 0; i < kDown; ++i) {
        OCTAVO_UNROLL
        for (u32 j = 0; j < kAcross; ++j) {
          const Sum* s = sums[i][j];
          const u32 to = swizzle_128(at + j * 32) + i * 16 * kRowBytes;
          m.store_shared(to, SumPair<Sum>{s[0], s[1]});
          m.store_shared(to + 8 * kRowBytes, SumPair<Sum>{s[2], s[3]});
        }
      }
    }
    const u32 group = warp / 4, thread = warp % 4 * 32 + lane;
    typename Full::Place place{
        in.row + static_cast<int>(group * kGroupRows), in.column, in.end_row, p.n, in.group,
        base + kStaged + group * Full::kStagedBytes,   2 + group};
    typename Full::Addends c = Full::fetch(m, p.full, place, thread);
    m.sync_named(1, kThreads);
    OCTAVO_ROLLED
    for (u32 panel = 0; panel < kPanels; ++panel, place.column += Full::kColumns)
      Full::finish(m, p.full, base + (group * kPanels + panel) * kPanelBytes, place, thread, c);
    m.sync_warp();
    m.sync_named(1, kThreads);  // the next tile's stages go where the panels were
  }
};

}  // namespace octavo::cuda
