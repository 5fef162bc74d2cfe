// SPDX-License-Identifier: Apache-2.0
// Dense products of few rows on Hopper: out[M, N] = cast(float(A[M, K] B[N, K]^T) sa sb + bias), M
// at most 64, or the sums.
//
// What takes time is to bring B from memory, once. The tensor cores multiply 64 rows of their left
// operand at least, so that the left operand is B: a CTA multiplies 64 columns of the output by all
// of its rows, 16, 32 or 64 with those beyond M, and what lies in registers is the output's
// transpose.
//
//                   A's rows, as columns
//                  +------------------+      thread of lane l: columns l / 4 and l / 4 + 8 of the
//     64 rows of B |  out transposed  |      warp's sixteen, two neighbouring rows of every eight
//                  +------------------+
//
// Persistent CTAs of five warps: four multiply, one thread of the fifth issues copies, 128 bytes of
// K a stage. Shared memory holds as many stages as fit, so that copies of the next tile are under
// way while this one is finished:
//
//     shared memory                                   16 rows     32        64
//     stages of [ B 64 x 128 bytes | A rows x 128 ]   22 225280  18 221184  13 212992
//     out: panels of rows x 128 bytes of columns         2048       4096       8192
//     barriers                                            368        304        224
//
// (of 16-bit outputs; twice the panels of 32-bit ones, and room for the other part's sums where K
// is cut, and for LLM.int8's outliers.) stmatrix with .trans turns 16-bit outputs into rows; a TMA
// store takes the panels from there. Sums are those of dense.hpp, bit for bit: chains of the same
// steps, promoted (and scaled) or not, and the same chunks of K; K cut between the two CTAs of a
// cluster (handover.hpp) where tiles are too few for the device.
#pragma once

#include <type_traits>

#include "backends/cuda/kernels/common/epilogue.hpp"
#include "backends/cuda/kernels/common/full_epilogue.hpp"
#include "backends/cuda/kernels/sm90/dense_params.hpp"
#include "backends/cuda/kernels/sm90/handover.hpp"
#include "backends/cuda/kernels/sm90/promoting.hpp"
#include "backends/cuda/kernels/sm90/ring.hpp"
#include "backends/cuda/machine/layout.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// `rows`: M at most. `parts`: of K, a CTA each. `outliers`: of LLM.int8, which the epilogue adds.
template <MmaType type, Summing summing, int out_bytes, int rows, int parts = 1,
          bool outliers = false>
struct FewRows {
  using u32 = std::uint32_t;
  using Sum = Accumulator<type>;

  static constexpr MmaType kType = type;
  static constexpr int kOutBytes = out_bytes, kParts = parts;
  static constexpr bool kPromoted = is_promoted(summing), kScaled = summing == Summing::scaled,
                        kSplit = parts > 1, kOutliers = outliers;
  static constexpr int kRows = rows, kColumns = 64;  // of the tile
  static constexpr int kCluster = parts, kClusterTile = kRows;
  static constexpr int kRowsOfB = kColumns, kRowsOfOut = rows;  // of boxes
  static_assert(parts == 1 || parts == 2);
  static_assert(!outliers || (out_bytes == 4 && is_integer(type)));
  static_assert(rows % 16 == 0, "two blocks of eight rows are stored at a time");
  static_assert(!kPromoted || element_bytes(type) == 1, "promotion is every 128 bytes of K");
  static constexpr int kMultiplying = 128, kWarps = kMultiplying / 32;
  static constexpr u32 kThreads = kMultiplying + 32;
  static constexpr u32 kRegisters = kScaled ? 256 : 176;      // at most
  static constexpr int kSums = rows / 2, kScales = rows / 4;  // of a thread, and of its rows
  static constexpr int kPanelColumns = kRowBytes / out_bytes, kPanels = kColumns / kPanelColumns;

  using Parts = Handover<Sum, kSums, kMultiplying>;
  using Full = FullPanel<Sum, rows, outliers>;
  static constexpr u32 kMostShared = 227 * 1024;  // of a CTA
  static constexpr u32 kBytesB = kColumns * kRowBytes, kBytesA = rows * kRowBytes;
  static constexpr u32 kStageBytes = kBytesB + kBytesA;
  static constexpr u32 kPanelBytes = rows * kRowBytes;
  static constexpr u32 kStagedBytes = outliers ? Full::kStagedBytes : 0;
  static constexpr u32 kOthers =
      kPanels * kPanelBytes + kStagedBytes + (kSplit ? Parts::kBytes : 0) + Parts::kBarrierBytes;
  static constexpr int kStages =
      static_cast<int>((kMostShared - kOthers) / (kStageBytes + Ring<1>::kBarrierBytes));
  static constexpr u32 kStaging = kStages * kStageBytes;
  static constexpr u32 kStaged = kStaging + kPanels * kPanelBytes;  // outliers
  static constexpr u32 kHanded = kStaged + kStagedBytes;
  static constexpr u32 kBarriers = kHanded + (kSplit ? Parts::kBytes : 0);
  static constexpr u32 kAfterStages = kBarriers + Ring<kStages>::kBarrierBytes;
  static constexpr u32 kSharedBytes = kAfterStages + Parts::kBarrierBytes;
  static_assert(kSharedBytes <= kMostShared);
  static_assert(kStages * kBytesB >= (outliers ? 88 : 96) * 1024,
                "of B under way: memory's latency at full rate, or a stage less");

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const DenseParams<typename Machine::TensorMap>& p) {
    const u32 base = m.shared_base(), warp = m.shuffle(m.warp(), 0);
    constexpr int kStep = static_cast<int>(kRowBytes);
    Work work{(p.n + kColumns - 1) / kColumns,
              static_cast<int>(m.block()) / kCluster,
              static_cast<int>(m.blocks()) / kCluster,
              m.cta_rank(),
              0,
              (p.k_bytes + kStep - 1) / kStep,
              p.chunk_steps,
              Ring<kStages>{base + kBarriers},
              Parts{base + kHanded, base + kAfterStages},
              base};
    if constexpr (kSplit) {
      work.k_first = static_cast<int>(work.part) * p.chunk_steps;
      work.k_steps = work.part == 0 ? p.chunk_steps : work.k_steps - p.chunk_steps;
    }
    if (warp == 0 && m.elect()) make_barriers(m, work);
    m.cluster_sync();
    if (warp < kWarps) {
      multiply_tiles(m, p, work, warp);
    } else if (m.elect()) {
      load_operands(m, p, work);
    }
  }

 private:
  /// What all roles of a CTA know.
  struct Work {
    int tiles, first, step;             // of columns; this cluster's
    u32 part;                           // this CTA's of K
    int k_first, k_steps, chunk_steps;  // of 128 bytes
    Ring<kStages> operands;
    Parts parts_of_k;
    u32 base;  // of shared memory

    OCTAVO_DEVICE u32 b_of(u32 stage) const { return base + stage * kStageBytes; }
    OCTAVO_DEVICE u32 a_of(u32 stage) const { return b_of(stage) + kBytesB; }
  };

  template <class Machine>
  OCTAVO_DEVICE static void make_barriers(Machine& m, const Work& work) {
    for (u32 s = 0; s < kStages; ++s) {
      m.mbarrier_init(work.operands.full(s), 1);
      m.mbarrier_init(work.operands.empty(s), kWarps);
    }
    if constexpr (kSplit) work.parts_of_k.make_barriers(m);
    m.fence_mbarrier_init();
  }

  // One thread.
  template <class Machine>
  OCTAVO_DEVICE static void load_operands(Machine& m,
                                          const DenseParams<typename Machine::TensorMap>& p,
                                          const Work& work) {
    RingPlace<kStages> place;
    for (int tile = work.first; tile < work.tiles; tile += work.step) {
      for (int k = 0; k < work.k_steps; ++k, place.advance()) {
        const u32 full = work.operands.full(place.stage);
        const int element = (work.k_first + k) * static_cast<int>(kRowBytes) / element_bytes(type);
        m.mbarrier_wait(work.operands.empty(place.stage), place.phase ^ 1);
        m.mbarrier_expect(full, kStageBytes);
        m.tma_load(p.b, work.b_of(place.stage), full, element, tile * kColumns);
        m.tma_load(p.a, work.a_of(place.stage), full, element, 0);
      }
    }
  }

  // Four warps.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_tiles(Machine& m,
                                           const DenseParams<typename Machine::TensorMap>& p,
                                           const Work& work, u32 warp) {
    const u32 thread = warp * 32 + m.lane();
    float scales[kScales];
    OCTAVO_UNROLL
    for (int i = 0; i < kScales; ++i) scales[i] = p.epilogue.scale_a.at(m, row_of(thread, i), p.m);
    RingPlace<kStages> place;
    RingPlace<1> once;  // of what is used once a tile
    for (int tile = work.first; tile < work.tiles; tile += work.step, once.advance()) {
      const int column = tile * kColumns;
      const int own = column + static_cast<int>(warp * 16 + m.lane() / 4);
      const ColumnFactors near = factors_of(m, p, own), far = factors_of(m, p, own + 8);
      Sum sums[kSums];
      if constexpr (kPromoted) {
        multiply_promoting(m, p, work, own, place, sums);
      } else {
        multiply_tile(m, work, place, sums);
      }
      if constexpr (kSplit) {
        if (work.part == 1) {
          work.parts_of_k.give(m, 0, thread, once.phase, sums);
          continue;
        }
        work.parts_of_k.take(m, 1, thread, once.phase, sums);
      }
      store_tile(m, p, work, warp, column, scales, near, far, sums);
    }
    if constexpr (kSplit) {
      if (work.part == 1) work.parts_of_k.finish(m, once.phase);
    }
    if (thread == 0) m.template tma_store_wait_read<0>();
  }

  template <class Machine, class Params>
  OCTAVO_DEVICE static ColumnFactors factors_of(Machine& m, const Params& p, int column) {
    return {p.epilogue.scale_b.at(m, column, p.n), p.epilogue.bias.at(m, column, p.n)};
  }

  template <class Machine>
  OCTAVO_DEVICE static void leave(Machine& m, const Work& work, u32 stage) {
    if (m.lane() == 0) m.mbarrier_arrive(work.operands.empty(stage));
  }

  // Products of a stage's 128 bytes of K, once it is filled.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_stage(Machine& m, const Work& work,
                                           const RingPlace<kStages>& place, bool accumulate,
                                           Sum (&sums)[kSums]) {
    m.mbarrier_wait(work.operands.full(place.stage), place.phase);
    const std::uint64_t b = tile_descriptor(work.b_of(place.stage));
    const std::uint64_t a = tile_descriptor(work.a_of(place.stage));
    m.wgmma_fence();
    OCTAVO_UNROLL
    for (u32 i = 0; i < kRowBytes / kStepBytes; ++i) {
      m.template wgmma<exchanged(type), rows>(sums, b + i * kDescriptorStep,
                                              a + i * kDescriptorStep, accumulate || i > 0);
    }
    m.wgmma_commit();
  }

  // A stage is left one step late, when the products that read it are done.
  template <class Machine>
  OCTAVO_DEVICE static void multiply_tile(Machine& m, const Work& work, RingPlace<kStages>& place,
                                          Sum (&sums)[kSums]) {
    u32 before = 0;
    for (int k = 0; k < work.k_steps; ++k, place.advance()) {
      multiply_stage(m, work, place, k > 0, sums);
      m.template wgmma_wait<1>(sums);
      if (k > 0) leave(m, work, before);
      before = place.stage;
    }
    m.template wgmma_wait<0>(sums);
    leave(m, work, before);
  }

  // Chunks of K are summed by themselves, and then in order: what CTAs give that have a chunk each.
  template <class Machine, class Params>
  OCTAVO_DEVICE static void multiply_promoting(Machine& m, const Params& p, const Work& work,
                                               int own, RingPlace<kStages>& place,
                                               Sum (&totals)[kSums]) {
    OCTAVO_UNROLL
    for (int i = 0; i < kSums; ++i) totals[i] = 0;
    StepSums of_step(m, p, own, work.k_first);
    for (int begin = 0; begin < work.k_steps; begin += work.chunk_steps) {
      const int end =
          begin + work.chunk_steps < work.k_steps ? begin + work.chunk_steps : work.k_steps;
      Sum chunk[kSums];
      OCTAVO_UNROLL
      for (int i = 0; i < kSums; ++i) chunk[i] = 0;
      add_steps(
          m, of_step, end - begin, place,
          [&](const RingPlace<kStages>& at, Sum(&sums)[kSums]) {
            multiply_stage(m, work, at, false, sums);
          },
          [&](u32 stage) { leave(m, work, stage); }, chunk);
      OCTAVO_UNROLL
      for (int i = 0; i < kSums; ++i) totals[i] += chunk[i];
    }
  }

  /// How a thread's sums of a step are added: by the scales of its rows and of its two columns.
  struct ScaledSums {
    const KScale &a, &b;
    KCell cell_a, cell_b;
    const float *rows_of_a[kScales], *near, *far;  // at the next step

    template <class Machine, class Params>
    OCTAVO_DEVICE ScaledSums(Machine& m, const Params& p, int column, int step)
        : a(p.k_scales.a), b(p.k_scales.b), cell_a(a, step), cell_b(b, step) {
      OCTAVO_UNROLL
      for (int i = 0; i < kScales; ++i) rows_of_a[i] = a.at(row_of(m.tid(), i), p.m, 0, step);
      near = b.at(column, p.n, 0, step);
      far = b.at(column + 8, p.n, 0, step);
    }
    static constexpr bool kPairs = true;
    struct Scales {
      float of_rows[kScales], near, far;
    };
    // Of the next step, while the tensor cores multiply.
    template <class Machine>
    OCTAVO_DEVICE Scales load(Machine& m) {
      Scales scales;
      OCTAVO_UNROLL
      for (int i = 0; i < kScales; ++i) scales.of_rows[i] = a.load(m, rows_of_a[i]);
      scales.near = b.load(m, near);
      scales.far = b.load(m, far);
      const std::int64_t next = cell_a.advance(a), next_column = cell_b.advance(b);
      OCTAVO_UNROLL
      for (int i = 0; i < kScales; ++i) rows_of_a[i] += next;
      near += next_column;
      far += next_column;
      return scales;
    }
    template <class Machine>
    OCTAVO_DEVICE void add(Machine& m, const Scales& scales, const Sum (&sums)[kSums],
                           Sum (&chunk)[kSums]) const {
      m.work(kScaledSlots);
      OCTAVO_UNROLL
      for (int i = 0; i < kSums; ++i)
        chunk[i] += scaled_sum(sums[i], scales.of_rows[i / 8 * 4 + i % 8 / 4 * 2 + i % 2],
                               i % 4 < 2 ? scales.near : scales.far);
    }
  };
  using StepSums = std::conditional_t<kScaled, ScaledSums, UnscaledSums>;

  /// The row of a thread's i-th scale.
  OCTAVO_DEVICE static int row_of(u32 thread, int i) {
    return accumulator_column(static_cast<int>(thread), i / 2 * 4 + i % 2);
  }

  // The store of the tile before must have read the panels. Two blocks of eight rows at a time, of
  // which a thread has two neighbouring ones of two columns.
  template <class Machine>
  OCTAVO_DEVICE static void store_tile(Machine& m,
                                       const DenseParams<typename Machine::TensorMap>& p,
                                       const Work& work, u32 warp, int column,
                                       const float (&scales)[kScales], const ColumnFactors& near,
                                       const ColumnFactors& far, const Sum (&sums)[kSums]) {
    const u32 lane = m.lane(), staging = work.base + kStaging;
    const bool stores = warp == 0 && lane == 0;
    if (stores) m.template tma_store_wait_read<0>();
    m.sync_warp();
    m.sync_named(1, kMultiplying);
    OCTAVO_UNROLL
    for (u32 first = 0; first < rows; first += 16) {
      const u32 row = first + lane % 4 * 2;
      const float* upper = scales + first / 4;
      const float* lower = upper + 2;
      const Sum* s = sums + first / 2;
      m.work(kPieceSlots);
      if constexpr (out_bytes == 2) {
        // stmatrix: lanes 0-7 give rows 0-7 of eight columns, 8-15 those of the next eight columns,
        // 16-31 rows 8-15.
        const u32 at = staging + (first + lane / 16 * 8 + lane % 8) * kRowBytes + warp * 32 +
                       lane / 8 % 2 * 16;
        m.stmatrix4_transposed(
            swizzle_128(at), half_pair(m, p, s, upper, near), half_pair(m, p, s + 2, upper, far),
            half_pair(m, p, s + 4, lower, near), half_pair(m, p, s + 6, lower, far));
      } else {
        const u32 at =
            staging + warp / 2 * kPanelBytes + row * kRowBytes + warp % 2 * 64 + lane / 4 * 4;
        constexpr u32 kEightRows = 8 * kRowBytes, kEightColumns = 32;
        store_words(m, p, at, s, upper, near);
        store_words(m, p, at + kEightColumns, s + 2, upper, far);
        store_words(m, p, at + kEightRows, s + 4, lower, near);
        store_words(m, p, at + kEightRows + kEightColumns, s + 6, lower, far);
      }
    }
    if (out_bytes == 4 && p.out_type == DenseOut::full) {
      m.sync_named(1, kMultiplying);
      typename Full::Place place{0, column, p.m, p.n, 0, work.base + kStaged, 1};
      typename Full::Addends c = Full::fetch(m, p.full, place, warp * 32 + lane);
      OCTAVO_ROLLED
      for (u32 panel = 0; panel < kPanels; ++panel, place.column += kPanelColumns)
        Full::finish(m, p.full, staging + panel * kPanelBytes, place, warp * 32 + lane, c);
      m.sync_warp();  // as below
      return;
    }
    m.fence_async();
    m.sync_named(1, kMultiplying);
    if (stores) {
      for (u32 panel = 0; panel < kPanels; ++panel) {
        m.tma_store(p.out, staging + panel * kPanelBytes,
                    column + static_cast<int>(panel) * kPanelColumns, 0);
      }
      m.tma_store_commit();
    }
    m.sync_warp();  // the next tile's products are issued by all lanes together
  }

  /// What 16 x 16 outputs of a warp cost to issue: those of dense.hpp; and a step's sums by scales,
  /// from the listing of the machine code.
  static constexpr int kPieceSlots = 44, kScaledSlots = 32 + 6 * kSums;

  // Two rows of a column.
  template <class Machine, class Params>
  OCTAVO_DEVICE static u32 half_pair(Machine& m, const Params& p, const Sum* s, const float* scales,
                                     const ColumnFactors& column) {
    const float first = finish(static_cast<float>(s[0]), scales[0], column);
    const float second = finish(static_cast<float>(s[1]), scales[1], column);
    return p.out_type == DenseOut::bf16 ? m.pack_bf16(first, second) : m.pack_f16(first, second);
  }

  template <class Machine, class Params>
  OCTAVO_DEVICE static void store_words(Machine& m, const Params& p, u32 address, const Sum* s,
                                        const float* scales, const ColumnFactors& column) {
    u32 first = bits_of(finish(static_cast<float>(s[0]), scales[0], column));
    u32 second = bits_of(finish(static_cast<float>(s[1]), scales[1], column));
    if (is_integer(type) && p.out_type != DenseOut::f32) {
      first = bits_of(s[0]);
      second = bits_of(s[1]);
    }
    m.store_shared(swizzle_128(address), first);
    m.store_shared(swizzle_128(address + kRowBytes), second);
  }
};

}  // namespace octavo::cuda
