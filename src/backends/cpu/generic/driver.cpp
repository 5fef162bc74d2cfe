// SPDX-License-Identifier: Apache-2.0
// Blocking, exact integer sums and K-varying scales around the float32 tile.
//
//   for each block of rows                         (A widened once, shared by all workers)
//     for each unit of 64 columns x rows, in parallel, statically assigned
//       for each K range over which no scale changes
//         for each 256 of that range               (B widened into panels)
//           for each row panel, each 16 columns    the tile kernel
//         float sums stay in one tile; integer sums move to int32, then int64
//         K-varying scales: t = t + (part * sa) * sb
//       sums of several chunks of K (k_chunks) are added in their order
//       epilogue, row by row
//
// 256 products of 8-bit integers stay below 2^24: float32 carries their sum exactly. A panel of B
// of that depth takes half of a 32 KB first-level cache.
#include "backends/cpu/generic/driver.hpp"

#include <algorithm>

#include "backends/cpu/finish/epilogue.hpp"
#include "backends/cpu/finish/outliers.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/weight_rows.hpp"
#include "core/data/element.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/grid.hpp"
#include "core/scales/scale_values.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kDepth = 256;
constexpr std::int64_t kMaxBlockRows = 256;
constexpr std::int64_t kBlockFloats = std::int64_t{1}
                                      << 24;  // A panels: 64 MB at most, if K allows
constexpr double kSerialWork = 1 << 17;    // products below which threads cost more than they save
constexpr std::int64_t kExactDepth = 512;  // 512 * 255 * 128 < 2^24: exact in float32
constexpr std::int64_t kUnsignedDepth =
    256;  // 256 * 255 * 255 < 2^24: of uint8 by what reaches 255
constexpr std::int64_t kNarrowDepth = 32768;  // 32768 * 255 * 255 < 2^31: exact in int32

std::int64_t round_up(std::int64_t value, std::int64_t step) noexcept {
  return (value + step - 1) / step * step;
}

// What one worker computes in, for `rows` rows.
struct Scratch {
  float* panels;  // [kTileCols / 16][kDepth][16]
  float* row;     // one row or column on its way into a panel
  float* sum;     // [rows][kTileCols]: the tile of the kernel
  float* total;   // the same: K-varying scales
  float* chunks;  // the same: several chunks of K
  OutlierScratch outliers;
  std::int32_t* narrow;       // the same: integer sums of up to kNarrowDepth products
  std::int64_t* exact;        // the same: integer sums
  std::int64_t* column_sums;  // [kTileCols]: of B, for zero points
};

struct Shape {
  const Kernels* kernel;
  std::int64_t m, n, k;
  std::int64_t panel_rows;    // the kernel's
  std::int64_t block_rows;    // rows whose A panels exist at a time
  std::int64_t tile_rows;     // that scratch has room for
  std::int64_t panel_floats;  // that A panels have room for
  std::int64_t workers;
  std::int64_t exact_depth;  // integer products that float32 sums exactly
  bool integer, varying;
  KChunks chunks;  // of the sums
};

Shape shape_of(const Member& p, const MatmulOptions& options, const ExecContext& context) noexcept {
  Shape s{};
  s.kernel = &best_kernels();
  s.panel_rows = s.kernel->rows;
  s.m = p.a.data.shape[0];
  s.k = p.a.data.shape[1];
  s.n = weight_columns(p.b);
  s.integer = is_integer8(p.a.data.dtype) && is_integer8(weight_dtype(p.b));
  const bool wide_b = weight_dtype(p.b) == DType::uint8 || p.b.azp.defined();
  s.exact_depth = p.a.data.dtype == DType::uint8 && wide_b ? kUnsignedDepth : kExactDepth;
  s.varying = varies_along_k(p.a, Side::a) || varies_along_k(p.b, Side::b);
  s.chunks = sum_chunks(p, options);
  const std::int64_t fitting = kBlockFloats / std::max<std::int64_t>(s.k, 1) / s.panel_rows;
  const std::int64_t most = kMaxBlockRows / s.panel_rows;  // whole panels, whatever the kernel
  // Room grows with M, N and K, as rows of a block do not: what is enough for the largest member is
  // enough for all that offsets cut.
  s.tile_rows = std::min(round_up(s.m, s.panel_rows), most * s.panel_rows);
  s.block_rows = std::min(s.tile_rows, std::max<std::int64_t>(fitting, 1) * s.panel_rows);
  s.panel_floats = std::min(saturating_product(s.tile_rows, s.k),
                            std::max(kBlockFloats, saturating_product(s.panel_rows, s.k)));
  const double products = static_cast<double>(s.m) * static_cast<double>(s.n) *
                          static_cast<double>(std::max<std::int64_t>(s.k, 1));
  s.workers = products < kSerialWork ? 1 : std::max(1, executor_of(context).concurrency());
  return s;
}

Scratch take_scratch(const Member& p, const Shape& s, const OutlierTerms& outliers,
                     Arena& arena) noexcept {
  const std::int64_t tile = s.tile_rows * kTileCols;
  Scratch w{};
  w.panels = arena.take<float>(kTileCols * kDepth);
  w.row = arena.take<float>(std::max(kDepth, kTileCols));
  w.sum = arena.take<float>(tile);
  if (s.varying) w.total = arena.take<float>(tile);
  if (s.chunks.several()) w.chunks = arena.take<float>(tile);
  w.outliers = take_outlier_scratch(p, outliers, s.tile_rows, arena);
  if (s.integer) {
    w.narrow = arena.take<std::int32_t>(tile);
    w.exact = arena.take<std::int64_t>(tile);
    w.column_sums = arena.take<std::int64_t>(kTileCols);
  }
  return w;
}

// Rows [m0, m1) x columns [n0, n0 + count) of one member.
class Unit {
 public:
  Unit(const Member& p, const MatmulOptions& options, const EpilogueRows& row_terms,
       const OutlierTerms& outliers, const Shape& s, const Scratch& w, const float* a_panels,
       std::int64_t m0, std::int64_t m1, std::int64_t n0) noexcept
      : p_(p),
        options_(options),
        row_terms_(row_terms),
        outliers_(outliers),
        s_(s),
        w_(w),
        a_(a_panels),
        m0_(m0),
        rows_(m1 - m0),
        n0_(n0),
        count_(std::min(kTileCols, s.n - n0)),
        panels_((count_ + kPanelCols - 1) / kPanelCols),
        tile_(round_up(rows_, s.panel_rows) * kTileCols) {}

  void run() noexcept {
    if (!s_.chunks.several()) return finish(sum_chunk(s_.chunks[0]));
    std::fill(w_.chunks, w_.chunks + tile_, 0.0F);
    for (std::int64_t c = 0; c < s_.chunks.count; ++c) {
      const float* sums = sum_chunk(s_.chunks[c]);
      for (std::int64_t i = 0; i < tile_; ++i) w_.chunks[i] += sums[i];
    }
    finish(w_.chunks);
  }

 private:
  const float* sum_chunk(const ShardRange& range) noexcept {
    if (!s_.varying) {
      sum_range(range.begin, range.end);
      return w_.sum;
    }
    std::fill(w_.total, w_.total + tile_, 0.0F);
    for (std::int64_t k = range.begin, end = 0; k < range.end; k = end) {
      end = next_boundary(p_, k, range.end);
      sum_range(k, end);
      add_scaled(k);
    }
    return w_.total;
  }

  // w.sum = the sums over [k0, k1), as floats; integer ones in w.exact as well where it is needed.
  void sum_range(std::int64_t k0, std::int64_t k1) noexcept {
    std::fill(w_.sum, w_.sum + tile_, 0.0F);
    const bool wide = k1 - k0 > kNarrowDepth || needs_exact();
    if (s_.integer && wide) {
      std::fill(w_.exact, w_.exact + tile_, 0);
      std::fill(w_.column_sums, w_.column_sums + kTileCols, 0);
    }
    std::int64_t in_float = 0;   // products in w.sum since it was drained
    std::int64_t in_narrow = 0;  // products in w.narrow since it was widened
    for (std::int64_t k = k0; k < k1; k += kDepth) {
      const std::int64_t depth = std::min(kDepth, k1 - k);
      if (s_.integer && in_float + depth > s_.exact_depth) in_float = drain(in_float, in_narrow);
      load_column_panels(*s_.kernel, p_.b, k, k + depth, n0_, panels_, w_.panels, w_.row);
      subtract_weight_azp(p_.b, k, k + depth, n0_, panels_, w_.panels);
      multiply_panels(k, depth);
      in_float += depth;
      if (p_.a.azp.defined()) add_column_sums(depth);
    }
    if (!s_.integer || (in_narrow == 0 && !needs_exact())) return;  // w.sum is exact as it is
    drain(in_float, in_narrow);
    if (!wide) {
      for (std::int64_t i = 0; i < tile_; ++i) w_.sum[i] = static_cast<float>(w_.narrow[i]);
      return;
    }
    widen();
    if (p_.a.azp.defined()) subtract_zero_points();
    for (std::int64_t i = 0; i < tile_; ++i) w_.sum[i] = static_cast<float>(w_.exact[i]);
  }

  // Moves w.sum to w.narrow, and that to w.exact before it could overflow. Returns what is left.
  std::int64_t drain(std::int64_t in_float, std::int64_t& in_narrow) noexcept {
    if (in_narrow + in_float > kNarrowDepth) {
      widen();
      in_narrow = 0;
    }
    const bool first = in_narrow == 0;
    for (std::int64_t i = 0; i < tile_; ++i) {
      const auto sum = static_cast<std::int32_t>(w_.sum[i]);
      w_.narrow[i] = first ? sum : w_.narrow[i] + sum;
      w_.sum[i] = 0.0F;
    }
    in_narrow += in_float;
    return 0;
  }

  // Zero points and int32 outputs work on 64-bit sums.
  bool needs_exact() const noexcept { return p_.a.azp.defined() || p_.out.dtype == DType::int32; }

  void multiply_panels(std::int64_t k, std::int64_t depth) noexcept {
    for (std::int64_t r = 0; r < rows_; r += s_.panel_rows) {
      const float* a = a_ + r * s_.k + k * s_.panel_rows;
      for (std::int64_t panel = 0; panel < panels_; ++panel) {
        s_.kernel->tile(depth, a, w_.panels + panel * depth * kPanelCols,
                        w_.sum + r * kTileCols + panel * kPanelCols, kTileCols);
      }
    }
  }

  void widen() noexcept {
    for (std::int64_t i = 0; i < tile_; ++i) w_.exact[i] += w_.narrow[i];
  }

  void add_column_sums(std::int64_t depth) noexcept {
    for (std::int64_t j = 0; j < panels_ * kPanelCols; ++j) {
      const float* column = w_.panels + j / kPanelCols * depth * kPanelCols + j % kPanelCols;
      float sum = 0.0F;
      for (std::int64_t k = 0; k < depth; ++k) sum += column[k * kPanelCols];
      w_.column_sums[j] += static_cast<std::int64_t>(sum);
    }
  }
  void subtract_zero_points() noexcept {
    for (std::int64_t m = 0; m < rows_; ++m) {
      const std::int64_t azp = load_int(p_.a.azp, m0_ + m, 0);
      std::int64_t* sums = w_.exact + m * kTileCols;
      for (std::int64_t j = 0; j < count_; ++j) sums[j] -= azp * w_.column_sums[j];
    }
  }

  // total = total + (sum * sa) * sb, with the scales of the range that begins at k.
  void add_scaled(std::int64_t k) noexcept {
    std::array<std::array<float, kTileCols>, 2> sb;
    for (std::size_t level = 0; level < 2; ++level) {
      if (!varies_along_k(p_.b.scale[level], Side::b)) continue;
      for (std::int64_t j = 0; j < count_; ++j) {
        sb[level][static_cast<std::size_t>(j)] = scale_at(p_.b.scale[level], k, n0_ + j);
      }
    }
    for (std::int64_t m = 0; m < rows_; ++m) {
      float* part = w_.sum + m * kTileCols;
      for (const ScaleView& sa : p_.a.scale) {
        if (!varies_along_k(sa, Side::a)) continue;
        const float factor = scale_at(sa, m0_ + m, k);
        for (std::int64_t j = 0; j < count_; ++j) part[j] *= factor;
      }
      for (std::size_t level = 0; level < 2; ++level) {
        if (!varies_along_k(p_.b.scale[level], Side::b)) continue;
        for (std::int64_t j = 0; j < count_; ++j) part[j] *= sb[level][static_cast<std::size_t>(j)];
      }
      float* total = w_.total + m * kTileCols;
      for (std::int64_t j = 0; j < count_; ++j) total[j] += part[j];
    }
  }

  void finish(const float* sums) noexcept {
    if (p_.out.dtype == DType::int32) {
      for (std::int64_t m = 0; m < rows_; ++m) {
        finish_exact_row(p_, m0_ + m, n0_, count_, w_.exact + m * kTileCols);
      }
      return;
    }
    Finisher finisher(p_, options_, row_terms_, false);
    finisher.set_columns(n0_, count_);
    OutlierSums outliers(p_, outliers_, w_.outliers);
    outliers.set_tiles(n0_, count_, m0_, rows_);
    finisher.finish(
        {.m0 = m0_, .rows = rows_, .floats = sums, .outliers = outliers.of(m0_, rows_)});
  }

  const Member& p_;
  const MatmulOptions& options_;
  const EpilogueRows& row_terms_;
  const OutlierTerms& outliers_;
  const Shape& s_;
  const Scratch& w_;
  const float* a_;
  std::int64_t m0_, rows_, n0_, count_, panels_, tile_;
};

}  // namespace

void run_member(const Member& p, const MatmulOptions& options, const ExecContext& context,
                Arena& arena) noexcept {
  const Shape s = shape_of(p, options, context);
  if (s.m == 0 || s.n == 0) return;
  const std::int64_t column_units = (s.n + kTileCols - 1) / kTileCols;
  const EpilogueRows row_terms = load_rows(p, arena);
  const OutlierTerms outliers = gather_outliers(p, options, arena, context);
  float* a_panels = arena.take<float>(s.panel_floats);
  // A worker's scratch: measured once, then taken at fixed distances.
  Arena counter(nullptr);
  (void)counter.take<float>(s.k);
  (void)take_scratch(p, s, outliers, counter);
  const auto stride = static_cast<std::int64_t>(counter.used());
  char* scratch = arena.take<char>(saturating_product(stride, s.workers));
  if (arena.counting()) return;

  for (std::int64_t block = 0; block < s.m; block += s.block_rows) {
    const std::int64_t rows = std::min(s.block_rows, s.m - block);
    const std::int64_t row_panels = (rows + s.panel_rows - 1) / s.panel_rows;
    parallel_for(context, s.workers, [&](std::int64_t worker) {
      Arena own(scratch + worker * stride);
      auto* row = own.take<float>(s.k);
      const std::int64_t end = row_panels * (worker + 1) / s.workers;
      for (std::int64_t i = row_panels * worker / s.workers; i < end; ++i) {
        load_row_panel(*s.kernel, p.a.data, block + i * s.panel_rows,
                       a_panels + i * s.panel_rows * s.k, row);
      }
    });
    // Few columns: rows are cut as well, so that every worker has a unit.
    const std::int64_t cuts = std::min(row_panels, (s.workers + column_units - 1) / column_units);
    const std::int64_t units = column_units * cuts;
    parallel_for(context, s.workers, [&](std::int64_t worker) {
      Arena own(scratch + worker * stride);
      (void)own.take<float>(s.k);
      const Scratch w = take_scratch(p, s, outliers, own);
      const std::int64_t end = units * (worker + 1) / s.workers;
      for (std::int64_t u = units * worker / s.workers; u < end; ++u) {
        const std::int64_t cut = u % cuts;
        const std::int64_t r0 = row_panels * cut / cuts * s.panel_rows;
        const std::int64_t r1 = std::min(rows, row_panels * (cut + 1) / cuts * s.panel_rows);
        Unit(p, options, row_terms, outliers, s, w, a_panels + r0 * s.k, block + r0, block + r1,
             u / cuts * kTileCols)
            .run();
      }
    });
  }
}

}  // namespace octavo::cpu
