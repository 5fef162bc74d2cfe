// SPDX-License-Identifier: Apache-2.0
// Blocking, exact integer sums and K-varying scales around the float32 microkernel.
//
//   for each block of rows                         (A widened once, shared by all workers)
//     for each unit of 64 columns x rows, in parallel, statically assigned
//       for each K range over which no scale changes
//         for each 256 of that range               (B widened into panels)
//           for each row panel, each 16 columns    microkernel
//         float sums stay in one tile; integer sums move to int32, then int64
//         K-varying scales: t = t + (part * sa) * sb
//       epilogue, row by row
//
// 256 products of 8-bit integers stay below 2^24: float32 carries their sum exactly. A panel of B
// of that depth takes half of a 32 KB first-level cache.
#include "backends/cpu/driver.hpp"

#include <algorithm>

#include "backends/cpu/epilogue.hpp"
#include "backends/cpu/microkernel.hpp"
#include "backends/cpu/pack.hpp"
#include "core/element.hpp"
#include "core/grid.hpp"
#include "core/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kDepth = 256;
constexpr std::int64_t kMaxBlockRows = 256;
constexpr std::int64_t kBlockFloats = std::int64_t{1}
                                      << 24;  // A panels: 64 MB at most, if K allows
constexpr double kSerialWork = 1 << 17;     // products below which threads cost more than they save
constexpr std::int64_t kInt32Chunks = 128;  // 128 * 256 * 255 * 128 < 2^31

std::int64_t round_up(std::int64_t value, std::int64_t step) noexcept {
  return (value + step - 1) / step * step;
}

// What one worker computes in, for `rows` rows.
struct Scratch {
  float* panels;              // [kTileCols / 16][kDepth][16]
  float* row;                 // one row or column on its way into a panel
  float* sum;                 // [rows][kTileCols]: the microkernel's tile
  float* total;               // the same: K-varying scales
  float* outliers;            // the same: LLM.int8
  std::int32_t* narrow;       // the same: integer sums of up to kInt32Chunks chunks
  std::int64_t* exact;        // the same: integer sums
  std::int64_t* column_sums;  // [kTileCols]: of B, for zero points
};

struct Shape {
  const Microkernel* kernel;
  std::int64_t m, n, k;
  std::int64_t panel_rows;  // the kernel's
  std::int64_t block_rows;  // rows whose A panels exist at a time
  std::int64_t workers;
  bool integer, varying;
};

Shape shape_of(const Member& p, const ExecContext& context) noexcept {
  Shape s{};
  s.kernel = &best_microkernel();
  s.panel_rows = s.kernel->rows;
  s.m = p.a.data.shape[0];
  s.k = p.a.data.shape[1];
  s.n = column_extent(p.b);
  s.integer = is_integer8(p.a.data.dtype) && is_integer8(weight_dtype(p.b));
  s.varying = varies_along_k(p.a, Side::a) || varies_along_k(p.b, Side::b);
  const std::int64_t fitting = kBlockFloats / std::max<std::int64_t>(s.k, 1) / s.panel_rows;
  const std::int64_t most = kMaxBlockRows / s.panel_rows;  // whole panels, whatever the kernel
  s.block_rows = std::min(round_up(s.m, s.panel_rows),
                          std::clamp<std::int64_t>(fitting, 1, most) * s.panel_rows);
  const double products = static_cast<double>(s.m) * static_cast<double>(s.n) *
                          static_cast<double>(std::max<std::int64_t>(s.k, 1));
  s.workers = products < kSerialWork ? 1 : std::max(1, executor_of(context).concurrency());
  return s;
}

Scratch take_scratch(const Member& p, const Shape& s, Arena& arena) noexcept {
  const std::int64_t tile = s.block_rows * kTileCols;
  const bool outliers = p.epilogue.outliers.present() ||
                        (p.a.quantise != nullptr && p.a.quantise->outlier_threshold > 0.0F);
  Scratch w{};
  w.panels = arena.take<float>(kTileCols * kDepth);
  w.row = arena.take<float>(std::max(kDepth, kTileCols));
  w.sum = arena.take<float>(tile);
  if (s.varying) w.total = arena.take<float>(tile);
  if (outliers) w.outliers = arena.take<float>(tile);
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
  Unit(const Member& p, const MatmulOptions& options, const Shape& s, const Scratch& w,
       const float* a_panels, std::int64_t m0, std::int64_t m1, std::int64_t n0) noexcept
      : p_(p),
        options_(options),
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
    if (s_.varying) {
      std::fill(w_.total, w_.total + tile_, 0.0F);
      for (std::int64_t k = 0, end = 0; k < s_.k; k = end) {
        end = next_boundary(p_, k, s_.k);
        sum_range(k, end);
        add_scaled(k);
      }
    } else {
      sum_range(0, s_.k);
    }
    finish(s_.varying ? w_.total : w_.sum);
  }

 private:
  // w.sum = the sums over [k0, k1), as floats; integer ones in w.exact as well.
  void sum_range(std::int64_t k0, std::int64_t k1) noexcept {
    std::fill(w_.sum, w_.sum + tile_, 0.0F);
    wide_ = k1 - k0 > kInt32Chunks * kDepth;
    if (s_.integer && (wide_ || needs_exact() || k0 == k1)) {
      std::fill(w_.exact, w_.exact + tile_, 0);
      std::fill(w_.column_sums, w_.column_sums + kTileCols, 0);
    }
    std::int64_t chunks = 0;
    for (std::int64_t k = k0; k < k1; k += kDepth) {
      const std::int64_t depth = std::min(kDepth, k1 - k);
      load_column_panels(*s_.kernel, p_.b, k, k + depth, n0_, panels_, w_.panels, w_.row);
      multiply_panels(k, depth);
      if (!s_.integer) continue;
      if (chunks == kInt32Chunks) {  // full, and more follows
        widen();
        chunks = 0;
      }
      if (chunks++ == 0) std::fill(w_.narrow, w_.narrow + tile_, 0);
      drain_sums();
      if (p_.a.azp.defined()) add_column_sums(depth);
    }
    if (!s_.integer) return;
    if (chunks != 0 && !wide_ && !needs_exact()) {  // all of it fits into int32
      for (std::int64_t i = 0; i < tile_; ++i) w_.sum[i] = static_cast<float>(w_.narrow[i]);
      return;
    }
    if (chunks != 0) widen();
    if (p_.a.azp.defined()) subtract_zero_points();
    for (std::int64_t i = 0; i < tile_; ++i) w_.sum[i] = static_cast<float>(w_.exact[i]);
  }

  // Zero points and int32 outputs work on 64-bit sums.
  bool needs_exact() const noexcept { return p_.a.azp.defined() || p_.out.dtype == DType::int32; }

  void multiply_panels(std::int64_t k, std::int64_t depth) noexcept {
    for (std::int64_t r = 0; r < rows_; r += s_.panel_rows) {
      const float* a = a_ + r * s_.k + k * s_.panel_rows;
      for (std::int64_t panel = 0; panel < panels_; ++panel) {
        s_.kernel->run(depth, a, w_.panels + panel * depth * kPanelCols,
                       w_.sum + r * kTileCols + panel * kPanelCols, kTileCols);
      }
    }
  }

  void drain_sums() noexcept {
    for (std::int64_t i = 0; i < tile_; ++i) {
      w_.narrow[i] += static_cast<std::int32_t>(w_.sum[i]);
      w_.sum[i] = 0.0F;
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

  void finish(float* sums) noexcept {
    if (p_.out.dtype == DType::int32) {
      for (std::int64_t m = 0; m < rows_; ++m) {
        finish_exact_row(p_, m0_ + m, n0_, count_, w_.exact + m * kTileCols);
      }
      return;
    }
    EpilogueColumns columns;
    load_columns(p_, n0_, count_, columns);
    const bool outliers = p_.epilogue.outliers.present();
    if (outliers) outlier_tile(p_, m0_, rows_, n0_, count_, w_.outliers);
    for (std::int64_t m = 0; m < rows_; ++m) {
      finish_row(p_, options_, m0_ + m, columns, outliers ? w_.outliers + m * kTileCols : nullptr,
                 sums + m * kTileCols);
    }
  }

  const Member& p_;
  const MatmulOptions& options_;
  const Shape& s_;
  const Scratch& w_;
  const float* a_;
  std::int64_t m0_, rows_, n0_, count_, panels_, tile_;
  bool wide_ = false;  // the current K range may leave int32
};

}  // namespace

void run_member(const Member& p, const MatmulOptions& options, const ExecContext& context,
                Arena& arena) noexcept {
  const Shape s = shape_of(p, context);
  if (s.m == 0 || s.n == 0) return;
  const std::int64_t column_units = (s.n + kTileCols - 1) / kTileCols;
  float* a_panels = arena.take<float>(s.block_rows * s.k);
  // A worker's scratch: measured once, then taken at fixed distances.
  Arena counter(nullptr);
  (void)counter.take<float>(s.k);
  (void)take_scratch(p, s, counter);
  const auto stride = static_cast<std::int64_t>(counter.used());
  char* scratch = arena.take<char>(stride * s.workers);
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
      const Scratch w = take_scratch(p, s, own);
      const std::int64_t end = units * (worker + 1) / s.workers;
      for (std::int64_t u = units * worker / s.workers; u < end; ++u) {
        const std::int64_t cut = u % cuts;
        const std::int64_t r0 = row_panels * cut / cuts * s.panel_rows;
        const std::int64_t r1 = std::min(rows, row_panels * (cut + 1) / cuts * s.panel_rows);
        Unit(p, options, s, w, a_panels + r0 * s.k, block + r0, block + r1, u / cuts * kTileCols)
            .run();
      }
    });
  }
}

}  // namespace octavo::cpu
