// SPDX-License-Identifier: Apache-2.0
// Dense products on Hopper: out[M, N] = cast(float(A[M, K] B[N, K]^T) sa sb + bias), or the sums.
//
// Persistent clusters of two CTAs. A cluster's tile is 256 rows by 256 columns, or 128 where sums
// are promoted and where there are few tiles: each CTA has its 128 rows of A, and half of B's
// columns, which it sends to both (multicast).
//
//     CTA 0: A rows 0-127    x B 256 columns = [ from CTA 0 | from CTA 1 ]
//     CTA 1: A rows 128-255  x the same B
//
// Of 128 rows and fewer a CTA is a cluster by itself.
//
// A CTA is three warpgroups. The first gives up registers: its warp 0 issues copies, its warp 1
// brings the factors of columns. The others multiply 64 rows each, 128 bytes of K a step, and
// finish: registers -> two panels of 128 bytes of columns in shared memory, in turn -> TMA store.
//
//     shared memory                                    plain   128 columns   promoted        cut
//     stages of [ A 128 x 128 bytes | B ... ]       4 196608      6 196608   5 163840   5 163840
//     2 warpgroups x 2 panels of 64 rows x 128 bytes   32768         32768      32768      32768
//     columns' factors                                  2048          1024       1024       1024
//     the first chunk's sums (half of them)                                     32768
//     the other half's sums                                                                32768
//     barriers: stages, factors, exchange                 96           128        112        112
//
// LLM.int8's outliers have 2 x 6656 bytes before the barriers, instead of a stage.
//
// Promoted: tensor cores add fp8 products with 13 fractional bits, so that long sums lose some.
// Sums of 128 elements, from multiples of 128 of K, are added in float32 in registers beside them;
// those of a chunk of K by themselves, and chunks in order: bits that depend on nothing but the
// row, the column, K and N (chunks.hpp). Where scales change along K, the sums of 128 are
// multiplied by theirs first (k_scales.hpp). A warpgroup has two steps in the tensor cores, and
// adds the sums of one while the other is multiplied: alone, additions take as long as the
// products.
//
// Cut: where a product has too few tiles to fill the device, the two CTAs of a cluster have the
// same rows and half of K each, and the halves are added through distributed shared memory
// (exchange.hpp). Clusters of four could share B as well, but an H100 and an H200 run only 30 of
// them at a time, 120 of 132 multiprocessors.
//
// All tiles are K-major and swizzled (machine/layout.hpp). Rows, columns and K beyond the matrices
// are zeros by TMA, and clipped when stored.
#pragma once

#include "backends/cuda/kernels/common/epilogue.hpp"
#include "backends/cuda/kernels/common/full_epilogue.hpp"
#include "backends/cuda/kernels/common/tiles.hpp"
#include "backends/cuda/kernels/sm90/dense_params.hpp"
#include "backends/cuda/kernels/sm90/exchange.hpp"
#include "backends/cuda/kernels/sm90/promoting.hpp"
#include "backends/cuda/kernels/sm90/ring.hpp"
#include "backends/cuda/machine/layout.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// `outliers`: of LLM.int8, which the epilogue adds, with room for them instead of one stage.
template <MmaType type, Summing summing = Summing::plain, int out_bytes = 2, int cluster_rows = 2,
          int parts = 1, bool outliers = false, int tile_columns = 0>
struct Dense {
  using u32 = std::uint32_t;
  using Sum = Accumulator<type>;

  static constexpr MmaType kType = type;
  static constexpr int kOutBytes = out_bytes, kParts = parts;
  static constexpr bool kPromoted = is_promoted(summing), kScaled = summing == Summing::scaled;
  static constexpr bool kSplit = parts > 1, kOutliers = outliers;
  static constexpr int kRows = 128;  // of a CTA's tile
  static constexpr int kColumns = tile_columns != 0     ? tile_columns
                                  : kPromoted || kSplit ? 128
                                                        : 256;
  static constexpr bool kParks = kPromoted && !kSplit;
  static constexpr int kStages = (kColumns == 256    ? 4
                                  : kParks || kSplit ? 5
                                                     : 6) -
                                 (outliers ? 1 : 0);
  static constexpr int kCluster = cluster_rows * parts, kClusterTile = kRows * cluster_rows;
  static constexpr int kRowsOfB = kColumns / cluster_rows;  // that a CTA brings
  static constexpr int kOwnColumns = kColumns / parts;      // that a CTA finishes
  static constexpr bool kTakesGroups = out_bytes == 4 && !kSplit;
  static_assert(parts == 1 || parts == 2);
  static_assert(!outliers || (out_bytes == 4 && is_integer(type)));
  static_assert(!kPromoted || element_bytes(type) == 1, "promotion is every 128 bytes of K");
  static_assert(!kPromoted || kColumns == 128, "three times a tile's sums fill the registers");
  static constexpr int kWarpgroupRows = 64, kWarpgroups = kRows / kWarpgroupRows;
  static constexpr int kRowsOfOut = kWarpgroupRows;  // of a box that is stored
  static constexpr int kPanelColumns = kRowBytes / out_bytes, kPanels = kOwnColumns / kPanelColumns;
  static constexpr u32 kThreads = 128 * (1 + kWarpgroups);
  static constexpr u32 kRegisters = 168, kFewRegisters = 40, kManyRegisters = 232;

  static constexpr u32 kBytesA = kRows * kRowBytes, kBytesB = kColumns * kRowBytes;
  static constexpr u32 kStageBytes = kBytesA + kBytesB;
  static constexpr u32 kPanelBytes = kWarpgroupRows * kRowBytes;
  static constexpr u32 kStaging = kStages * kStageBytes;  // two panels a warpgroup
  static constexpr u32 kFactors = kStaging + 2 * kWarpgroups * kPanelBytes;
  static constexpr u32 kExchanged = kFactors + kColumns * sizeof(ColumnFactors);
  using Full = FullPanel<Sum, kWarpgroupRows, outliers>;
  using Parts = Exchange<Sum, kColumns / 2, kWarpgroups * 128>;
  // A warpgroup's sums that are parked: half of them in its panels, half here.
  static constexpr u32 kParked = kExchanged, kParkedBytes = 2 * kPanelBytes;
  static constexpr u32 kStaged = kExchanged + (kSplit   ? Parts::kBytes
                                               : kParks ? kWarpgroups * kParkedBytes
                                                        : 0);  // outliers
  static constexpr u32 kBarriers = kStaged + (outliers ? kWarpgroups * Full::kStagedBytes : 0);
  static constexpr u32 kSharedBytes =
      kBarriers + Ring<kStages>::kBarrierBytes + Ring<1>::kBarrierBytes + Parts::kBarrierBytes;
  static_assert(kSharedBytes <= 227 * 1024, "a CTA has 227 KiB of shared memory");

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const DenseParams<typename Machine::TensorMap>& p) {
    const u32 base = m.shared_base(), warp = m.shuffle(m.warp(), 0);
    constexpr u32 kAfterStages = kBarriers + Ring<kStages>::kBarrierBytes;
    constexpr int kStep = static_cast<int>(kRowBytes);
    Work work{TileOrder{groups_of(p).rows_of_tiles(m, p.m, kClusterTile),
                        (p.n + kColumns - 1) / kColumns},
              static_cast<int>(m.block()) / kCluster,
              static_cast<int>(m.blocks()) / kCluster,
              m.cta_rank() % cluster_rows,
              m.cta_rank() / cluster_rows,
              0,
              (p.k_bytes + kStep - 1) / kStep,
              p.chunk_steps,
              Ring<kStages>{base + kBarriers},
              Ring<1>{base + kAfterStages},
              Parts{{base + kExchanged, base + kAfterStages + Ring<1>::kBarrierBytes}},
              base};
    if constexpr (kSplit) {
      work.k_first = static_cast<int>(work.part) * p.chunk_steps;
      work.k_steps = work.part == 0 ? p.chunk_steps : work.k_steps - p.chunk_steps;
    }
    if (warp == 0 && m.elect()) make_barriers(m, work);
    m.cluster_sync();
    if (warp >= 4) {
      m.template registers_increase<kManyRegisters>();
      multiply_tiles(m, p, work, warp - 4);
    } else {
      m.template registers_decrease<kFewRegisters>();
      if (warp == 0 && m.elect()) load_operands(m, p, work);
      if (warp == 1) load_factors(m, p, work);
    }
  }

 private:
  // Only of kernels that take them.
  template <class Params>
  OCTAVO_DEVICE static RowTiles groups_of(const Params& p) {
    return kTakesGroups ? p.groups : RowTiles{};
  }
  template <class Machine, class Params>
  OCTAVO_DEVICE static Tile tile_at(Machine& m, const Params& p, const TilePlace& place) {
    return groups_of(p).at(m, place, p.m, kClusterTile, kColumns);
  }

  /// What all roles of a CTA know.
  struct Work {
    TileOrder tiles;
    int first, step;                    // of the cluster's tiles
    u32 row, part;                      // this CTA's in the cluster: of rows, of K
    int k_first, k_steps, chunk_steps;  // of 128 bytes
    Ring<kStages> operands;
    Ring<1> factors;
    Parts parts_of_k;
    u32 base;  // of shared memory

    OCTAVO_DEVICE u32 a_of(u32 stage) const { return base + stage * kStageBytes; }
    OCTAVO_DEVICE u32 b_of(u32 stage) const { return a_of(stage) + kBytesA; }
  };

  template <class Machine>
  OCTAVO_DEVICE static void make_barriers(Machine& m, const Work& work) {
    for (u32 s = 0; s < kStages; ++s) {
      m.mbarrier_init(work.operands.full(s), 1);
      m.mbarrier_init(work.operands.empty(s), cluster_rows * kWarpgroups * 4);  // every warp
    }
    m.mbarrier_init(work.factors.full(0), 1);
    m.mbarrier_init(work.factors.empty(0), kWarpgroups * 4);
    if constexpr (kSplit) work.parts_of_k.make_barriers(m);
    m.fence_mbarrier_init();
  }

  // One thread. A stage is filled when this CTA's and its peer's multiplying warps have left it.
  template <class Machine>
  OCTAVO_DEVICE static void load_operands(Machine& m,
                                          const DenseParams<typename Machine::TensorMap>& p,
                                          const Work& work) {
    constexpr u32 kShareB = kBytesB / cluster_rows;
    constexpr u32 kAllRows = (1U << cluster_rows) - 1;
    const int rank = static_cast<int>(work.row);
    RingPlace<kStages> place;
    for (int index = work.first; index < work.tiles.count(); index += work.step) {
      const Tile tile = tile_at(m, p, work.tiles.at(index));
      const int row = tile.row + rank * kRows;
      const int row_of_b = tile.group * p.groups.rows_of_b + tile.column + rank * kRowsOfB;
      for (int k = 0; k < work.k_steps; ++k, place.advance()) {
        const u32 full = work.operands.full(place.stage);
        const int element = (work.k_first + k) * static_cast<int>(kRowBytes) / element_bytes(type);
        m.mbarrier_wait(work.operands.empty(place.stage), place.phase ^ 1);
        m.mbarrier_expect(full, kStageBytes);
        m.tma_load(p.a, work.a_of(place.stage), full, element, row);
        const u32 b = work.b_of(place.stage) + work.row * kShareB;
        if constexpr (cluster_rows == 1) {
          m.tma_load(p.b, b, full, element, row_of_b);
        } else {
          m.tma_load(p.b, b, full, element, row_of_b, kAllRows << work.part * cluster_rows);
        }
      }
    }
    // The peer's last arrivals must find this CTA alive.
    for (int s = 0; s < kStages; ++s, place.advance())
      m.mbarrier_wait(work.operands.empty(place.stage), place.phase ^ 1);
  }

  // One warp: eight columns a lane.
  template <class Machine>
  OCTAVO_DEVICE static void load_factors(Machine& m,
                                         const DenseParams<typename Machine::TensorMap>& p,
                                         const Work& work) {
    RingPlace<1> place;
    for (int index = work.first; index < work.tiles.count(); index += work.step, place.advance()) {
      const int column = work.tiles.at(index).column * kColumns;
      m.mbarrier_wait(work.factors.empty(0), place.phase ^ 1);
      for (u32 i = m.lane(); i < kColumns; i += 32) {
        const int n = column + static_cast<int>(i);
        const ColumnFactors factors{p.epilogue.scale_b.at(m, n, p.n),
                                    p.epilogue.bias.at(m, n, p.n)};
        m.store_shared(work.base + kFactors + i * static_cast<u32>(sizeof(ColumnFactors)), factors);
      }
      m.sync_warp();
      if (m.lane() == 0) m.mbarrier_arrive(work.factors.full(0));
    }
  }

  // Warps of two warpgroups, by their number among these.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_tiles(Machine& m,
                                           const DenseParams<typename Machine::TensorMap>& p,
                                           const Work& work, u32 warp) {
    const u32 group = warp / 4;
    RingPlace<kStages> place;
    RingPlace<1> once;  // of what is used once a tile
    for (int index = work.first; index < work.tiles.count(); index += work.step, once.advance()) {
      Tile tile = tile_at(m, p, work.tiles.at(index));
      tile.row += static_cast<int>(work.row) * kRows + static_cast<int>(group) * kWarpgroupRows;
      const int own = static_cast<int>(work.part) * kOwnColumns;
      Sum sums[kColumns / 2];
      if constexpr (kScaled) {
        if (p.k_scales.b.of_each_line()) {
          multiply_promoting<ScaledSums<true>>(m, p, work, tile, warp, place, sums);
        } else {
          multiply_promoting<ScaledSums<false>>(m, p, work, tile, warp, place, sums);
        }
      } else if constexpr (kPromoted) {
        multiply_promoting<UnscaledSums>(m, p, work, tile, warp, place, sums);
      } else {
        multiply_tile(m, work, group, place, sums);
      }
      m.mbarrier_wait(work.factors.full(0), once.phase);
      if constexpr (kSplit) {
        Sum half[Parts::kHalf];
        add_parts(m, work, warp, once.phase, sums, half);
        store_tile(m, p, work, warp, tile, own, once.phase, half);
      } else {
        store_tile(m, p, work, warp, tile, own, once.phase, sums);
      }
      m.sync_warp();
      if (m.lane() == 0) m.mbarrier_arrive(work.factors.empty(0));
    }
    if constexpr (kSplit) work.parts_of_k.finish(m, once.phase);
    if (warp % 4 == 0 && m.lane() == 0) m.template tma_store_wait_read<0>();
  }

  // This warp has left the stage: both CTAs' producers may fill it.
  template <class Machine>
  OCTAVO_DEVICE static void leave(Machine& m, const Work& work, u32 stage) {
    if (m.lane() < cluster_rows) {
      m.mbarrier_arrive_cluster(work.operands.empty(stage), work.part * cluster_rows + m.lane());
    }
  }

  // Products of a stage's 128 bytes of K, once it is filled.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_stage(Machine& m, const Work& work, u32 group,
                                           const RingPlace<kStages>& place, bool accumulate,
                                           Sum (&sums)[kColumns / 2]) {
    m.mbarrier_wait(work.operands.full(place.stage), place.phase);
    const std::uint64_t a =
        tile_descriptor(work.a_of(place.stage) + group * kWarpgroupRows * kRowBytes);
    const std::uint64_t b = tile_descriptor(work.b_of(place.stage));
    m.wgmma_fence();
    OCTAVO_UNROLL
    for (u32 i = 0; i < kRowBytes / kStepBytes; ++i) {
      m.template wgmma<type, kColumns>(sums, a + i * kDescriptorStep, b + i * kDescriptorStep,
                                       accumulate || i > 0);
    }
    m.wgmma_commit();
  }

  // A stage is left one step late, when the products that read it are done.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_tile(Machine& m, const Work& work, u32 group,
                                          RingPlace<kStages>& place, Sum (&sums)[kColumns / 2]) {
    u32 before = 0;
    for (int k = 0; k < work.k_steps; ++k, place.advance()) {
      multiply_stage(m, work, group, place, k > 0, sums);
      m.template wgmma_wait<1>(sums);
      if (k > 0) leave(m, work, before);
      before = place.stage;
    }
    m.template wgmma_wait<0>(sums);
    leave(m, work, before);
  }

  // Chunks of K are summed by themselves, and then in order: what CTAs give that have a chunk each.
  template <class StepSums, class Machine, class Params>
  OCTAVO_DEVICE static void multiply_promoting(Machine& m, const Params& p, const Work& work,
                                               const Tile& tile, u32 warp,
                                               RingPlace<kStages>& place,
                                               Sum (&totals)[kColumns / 2]) {
    StepSums of_step(m, p, tile, warp, work.k_first);
    for (int begin = 0; begin < work.k_steps; begin += work.chunk_steps) {
      if constexpr (kParks) {
        if (begin > 0) park(m, work, warp, totals);
      }
      OCTAVO_UNROLL
      for (int i = 0; i < kColumns / 2; ++i) totals[i] = 0;
      const int end =
          begin + work.chunk_steps < work.k_steps ? begin + work.chunk_steps : work.k_steps;
      add_steps(
          m, of_step, end - begin, place,
          [&](const RingPlace<kStages>& at, Sum(&sums)[kColumns / 2]) {
            multiply_stage(m, work, warp / 4, at, false, sums);
          },
          [&](u32 stage) { leave(m, work, stage); }, totals);
    }
    if constexpr (kParks) {
      if (work.chunk_steps < work.k_steps) add_parked(m, work, warp, totals);
    }
  }

  // Sums of the first chunk, out of the registers while those of the second are added. Each thread
  // has places of its own, sixteen bytes side by side with its neighbours'; stores from the panels
  // must have read them.
  struct alignas(16) FourSums {
    Sum of[4];
  };
  OCTAVO_DEVICE static u32 parked_at(const Work& work, u32 group, u32 four, u32 thread) {
    constexpr u32 kBytes = 128 * sizeof(FourSums), kInPanels = kParkedBytes / kBytes;
    const u32 half = four < kInPanels ? kStaging : kParked;
    return work.base + half + group * kParkedBytes + four % kInPanels * kBytes +
           thread * static_cast<u32>(sizeof(FourSums));
  }
  template <class Machine>
  OCTAVO_DEVICE static void park(Machine& m, const Work& work, u32 warp,
                                 const Sum (&totals)[kColumns / 2]) {
    const u32 thread = warp % 4 * 32 + m.lane(), group = warp / 4;
    if (thread == 0) m.template tma_store_wait_read<0>();
    m.sync_named(1 + group, 128);
    OCTAVO_UNROLL
    for (u32 i = 0; i < kColumns / 8; ++i) {
      const Sum* s = totals + i * 4;
      m.store_shared(parked_at(work, group, i, thread), FourSums{{s[0], s[1], s[2], s[3]}});
    }
  }
  template <class Machine>
  OCTAVO_DEVICE static void add_parked(Machine& m, const Work& work, u32 warp,
                                       Sum (&totals)[kColumns / 2]) {
    const u32 thread = warp % 4 * 32 + m.lane(), group = warp / 4;
    OCTAVO_UNROLL
    for (u32 i = 0; i < kColumns / 8; ++i) {
      const auto four = m.template load_shared<FourSums>(parked_at(work, group, i, thread));
      OCTAVO_UNROLL
      for (u32 j = 0; j < 4; ++j) totals[i * 4 + j] = four.of[j] + totals[i * 4 + j];
    }
  }

  /// How a thread's sums of a step are added: by the scales of its two rows and of the tile's
  /// columns, which have one together or, `of_each`, each its own.
  template <bool of_each>
  struct ScaledSums {
    const KScale &a, &b;
    KCell cell_a, cell_b;
    const float *row_0, *row_1, *columns;  // at the step
    int more_columns;                      // than the thread's first

    template <class Machine, class Params>
    OCTAVO_DEVICE ScaledSums(Machine& m, const Params& p, const Tile& tile, u32 warp, int step)
        : a(p.k_scales.a), b(p.k_scales.b), cell_a(a, step), cell_b(b, step) {
      const int row = tile.row + static_cast<int>(warp % 4 * 16 + m.lane() / 4);
      const int column = tile.column + (of_each ? static_cast<int>(m.lane() % 4 * 2) : 0);
      row_0 = a.at(row, p.m, tile.group, step);
      row_1 = a.at(row + 8, p.m, tile.group, step);
      columns = b.at(column, p.n, tile.group, step);
      more_columns = p.n - column;
    }
    static constexpr bool kPairs = !of_each;
    struct Scales {
      float row_0, row_1, all_columns;
      const float* columns;
    };
    // Of the next step, while the tensor cores multiply.
    template <class Machine>
    OCTAVO_DEVICE Scales load(Machine& m) {
      const Scales scales{a.load(m, row_0), a.load(m, row_1), of_each ? 1 : b.load(m, columns),
                          columns};
      const std::int64_t next = cell_a.advance(a);
      row_0 += next;
      row_1 += next;
      columns += cell_b.advance(b);
      return scales;
    }
    template <class Machine>
    OCTAVO_DEVICE void add(Machine& m, const Scales& scales, const Sum (&sums)[kColumns / 2],
                           Sum (&chunk)[kColumns / 2]) const {
      m.work(kScaledSlots);
      OCTAVO_UNROLL
      for (int eight = 0; eight < kColumns / 8; ++eight) {
        const float near = column(m, scales, eight * 8), far = column(m, scales, eight * 8 + 1);
        const Sum* s = sums + eight * 4;
        Sum* to = chunk + eight * 4;
        to[0] += scaled_sum(s[0], scales.row_0, near);
        to[1] += scaled_sum(s[1], scales.row_0, far);
        to[2] += scaled_sum(s[2], scales.row_1, near);
        to[3] += scaled_sum(s[3], scales.row_1, far);
      }
    }
    // The scale of a column behind the thread's first one.
    template <class Machine>
    OCTAVO_DEVICE float column(Machine& m, const Scales& scales, int index) const {
      if constexpr (!of_each) return scales.all_columns;
      return index < more_columns ? m.load_global(scales.columns + index * b.line_step) : 1.0F;
    }
  };

  // The own half of the columns, of both parts of K.
  template <class Machine>
  OCTAVO_DEVICE static void add_parts(Machine& m, const Work& work, u32 warp, u32 phase,
                                      const Sum (&sums)[kColumns / 2], Sum (&half)[Parts::kHalf]) {
    const u32 thread = warp * 32 + m.lane();
    if (work.part == 0) {
      work.parts_of_k.template run<0>(m, cluster_rows + work.row, thread, phase, sums, half);
    } else {
      work.parts_of_k.template run<1>(m, work.row, thread, phase, sums, half);
    }
  }

  // Panel after panel through two places in shared memory: the store before the last must have read
  // its own.
  template <class Machine>
  OCTAVO_DEVICE static void store_tile(Machine& m,
                                       const DenseParams<typename Machine::TensorMap>& p,
                                       const Work& work, u32 warp, const Tile& tile, int own,
                                       u32 turn, const Sum (&sums)[kOwnColumns / 2]) {
    const int row = tile.row, column = tile.column + own;
    if (out_bytes == 4 && p.out_type == DenseOut::full)
      return finish_tile(m, p, work, warp,
                         {row, column, tile.end_row, p.n, tile.group,
                          work.base + kStaged + warp / 4 * Full::kStagedBytes, 1 + warp / 4},
                         sums);
    const u32 group = warp / 4, lane = m.lane(), in_group = warp % 4;
    const bool stores = in_group == 0 && lane == 0;
    const int first_row = row + static_cast<int>(in_group * 16 + lane / 4);
    const float scale_0 = p.epilogue.scale_a.at(m, first_row, p.m);
    const float scale_1 = p.epilogue.scale_a.at(m, first_row + 8, p.m);
    const u32 first = kPanels % 2 == 0 ? 0 : turn;  // the place that the tile before did not end in
    OCTAVO_UNROLL
    for (u32 panel = 0; panel < kPanels; ++panel) {
      const u32 staging = work.base + kStaging + (group * 2 + (first + panel) % 2) * kPanelBytes;
      if (stores) m.template tma_store_wait_read<1>();
      m.sync_named(1 + group, 128);
      OCTAVO_UNROLL
      for (u32 piece = 0; piece < kPanelColumns / 8; piece += 2) {
        const u32 eight = panel * (kPanelColumns / 8) + piece;  // columns of the tile
        const u32 factors = static_cast<u32>(own) + eight * 8 + lane % 4 * 2;
        const ColumnPair near = column_pair(m, work, factors);
        const ColumnPair far = column_pair(m, work, factors + 8);
        const Sum* s = sums + eight * 4;
        m.work(kPieceSlots);
        if constexpr (out_bytes == 2) {
          // stmatrix: lanes 0-7 give rows 0-7 of eight columns, 8-15 rows 8-15, 16-31 those of the
          // next eight columns.
          const u32 at =
              staging + (in_group * 16 + lane % 16) * kRowBytes + (piece + lane / 16) * 16;
          m.stmatrix4(swizzle_128(at), half_pair(m, p, s, scale_0, near),
                      half_pair(m, p, s + 2, scale_1, near), half_pair(m, p, s + 4, scale_0, far),
                      half_pair(m, p, s + 6, scale_1, far));
        } else {
          const u32 at =
              staging + (in_group * 16 + lane / 4) * kRowBytes + piece * 32 + lane % 4 * 8;
          constexpr u32 kEightRows = 8 * kRowBytes, kEightColumns = 32;
          store_words(m, p, at, s, scale_0, near);
          store_words(m, p, at + kEightRows, s + 2, scale_1, near);
          store_words(m, p, at + kEightColumns, s + 4, scale_0, far);
          store_words(m, p, at + kEightRows + kEightColumns, s + 6, scale_1, far);
        }
      }
      m.fence_async();
      m.sync_named(1 + group, 128);
      if (stores) {
        m.tma_store(p.out, staging, column + static_cast<int>(panel) * kPanelColumns, row);
        m.tma_store_commit();
      }
    }
  }

  // The same for FullEpilogue: sums go through the panels as they are. One copy of its code takes
  // whichever panel it is.
  template <class Machine>
  OCTAVO_DEVICE static void finish_tile(Machine& m,
                                        const DenseParams<typename Machine::TensorMap>& p,
                                        const Work& work, u32 warp, typename Full::Place place,
                                        const Sum (&sums)[kOwnColumns / 2]) {
    constexpr u32 kSumsOfPanel = kPanelColumns / 2, kEightRows = 8 * kRowBytes;
    const u32 group = warp / 4, lane = m.lane(), in_group = warp % 4;
    const u32 thread = in_group * 32 + lane;
    typename Full::Addends c = Full::fetch(m, p.full, place, thread);
    OCTAVO_ROLLED
    for (u32 panel = 0; panel < kPanels; ++panel) {
      const u32 staging = work.base + kStaging + (group * 2 + panel % 2) * kPanelBytes;
      const u32 at = staging + (in_group * 16 + lane / 4) * kRowBytes + lane % 4 * 8;
      m.sync_named(1 + group, 128);  // who read the place before has read it
      OCTAVO_UNROLL
      for (u32 i = 0; i < kPanels; ++i) {
        if (i != panel) continue;
        OCTAVO_UNROLL
        for (u32 j = 0; j < kSumsOfPanel; j += 4) {
          const Sum* s = sums + i * kSumsOfPanel + j;
          m.store_shared(swizzle_128(at + j * 8), SumPair<Sum>{s[0], s[1]});
          m.store_shared(swizzle_128(at + j * 8 + kEightRows), SumPair<Sum>{s[2], s[3]});
        }
      }
      m.sync_named(1 + group, 128);
      Full::finish(m, p.full, staging, place, thread, c);
      place.column += kPanelColumns;
    }
  }

  /// What 16 x 16 outputs of a warp cost to issue, and a step's sums by scales of whole tiles of
  /// columns, from the listing of the machine code.
  static constexpr int kPieceSlots = 44, kScaledSlots = 228;

  struct alignas(16) ColumnPair {
    ColumnFactors first, second;
  };
  struct alignas(8) WordPair {
    u32 first, second;
  };

  // Factors of a column of the tile and the next.
  template <class Machine>
  OCTAVO_DEVICE static ColumnPair column_pair(Machine& m, const Work& work, u32 column) {
    return m.template load_shared<ColumnPair>(work.base + kFactors +
                                              column * static_cast<u32>(sizeof(ColumnFactors)));
  }

  template <class Machine, class Params>
  OCTAVO_DEVICE static u32 half_pair(Machine& m, const Params& p, const Sum* s, float scale,
                                     const ColumnPair& columns) {
    const float first = finish(static_cast<float>(s[0]), scale, columns.first);
    const float second = finish(static_cast<float>(s[1]), scale, columns.second);
    return p.out_type == DenseOut::bf16 ? m.pack_bf16(first, second) : m.pack_f16(first, second);
  }

  template <class Machine, class Params>
  OCTAVO_DEVICE static void store_words(Machine& m, const Params& p, u32 address, const Sum* s,
                                        float scale, const ColumnPair& columns) {
    const float first = finish(static_cast<float>(s[0]), scale, columns.first);
    const float second = finish(static_cast<float>(s[1]), scale, columns.second);
    WordPair words{bits_of(first), bits_of(second)};
    if (is_integer(type) && p.out_type == DenseOut::sums) words = {bits_of(s[0]), bits_of(s[1])};
    m.store_shared(swizzle_128(address), words);
  }
};

}  // namespace octavo::cuda
