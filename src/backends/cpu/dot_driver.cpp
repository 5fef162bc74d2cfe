// SPDX-License-Identifier: Apache-2.0
// Blocking around tiles of exact int32 sums.
//
//   for each block of rows of A that fits the last-level cache
//     every worker: its part of the panels x rows, statically assigned
//       for each panel of 64 columns                 (B stays in the second-level cache)
//         for each chunk of K                        (packed on the way where B is not)
//           for each tile of rows                    (A from where it lies)
//             the kernel, prefetching what is read after this chunk
//             after the last chunk: the epilogue
#include "backends/cpu/dot_driver.hpp"

#include <algorithm>

#include "backends/cpu/dot_layout.hpp"
#include "backends/cpu/epilogue.hpp"
#include "backends/cpu/pack.hpp"
#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/parallel.hpp"

namespace octavo::cpu {
namespace {

static_assert(kTileCols == kPanelVectors * kVectorCols);

constexpr std::int64_t kChunkSteps = 1024;  // 256 KB of a panel: a quarter of a 1 MB cache
constexpr std::int64_t kCachedRowBytes = std::int64_t{16} << 20;  // of A
constexpr std::int64_t kBlockRows = 512;  // rows whose sums wait for the next chunk
// Work below which waking other threads costs more than it saves, about 6 us: in products, with a
// byte of B for six of them.
constexpr double kSerialWork = 3 << 20;
constexpr double kByteWork = 6;

struct Shape {
  std::int64_t m, n, k;
  std::int64_t vectors, panels;  // of 16 and of 64 columns
  std::int64_t steps;            // of 4 along K
  std::int64_t chunk;            // steps at a time
  std::int64_t block_rows;       // rows at a time
  std::int64_t workers;
  bool single_chunk;
};

Shape shape_of(const Member& p, const ExecContext& context) noexcept {
  Shape s{};
  s.m = p.a.data.shape[0];
  s.k = p.a.data.shape[1];
  s.n = column_extent(p.b);
  s.vectors = dot_vectors(s.n);
  s.panels = (s.vectors + kPanelVectors - 1) / kPanelVectors;
  s.steps = dot_steps(s.k);
  const std::int64_t chunks = std::max<std::int64_t>(1, (s.steps + kChunkSteps - 1) / kChunkSteps);
  s.chunk = (s.steps + chunks - 1) / chunks;
  s.single_chunk = chunks == 1;
  s.block_rows = std::min(s.m, kBlockRows);
  const double work = (static_cast<double>(s.m) + kByteWork) * static_cast<double>(s.n) *
                      static_cast<double>(std::max<std::int64_t>(s.k, 1));
  s.workers = work < kSerialWork ? 1 : std::max(1, executor_of(context).concurrency());
  return s;
}

// What all workers read.
struct Shared {
  const std::uint8_t* a;  // [m] rows of k bytes
  std::int64_t lda;
  std::uint8_t flip;
  EpilogueRows rows;
  const std::int32_t* shift;  // [m] or one for all: what a row's bytes stand too high
  std::int64_t shift_stride;  // 1 or 0
  const std::int32_t* azp;    // [m], where 32 bits have no room for one of them; else null
};

struct Scratch {
  std::int32_t* sums;        // [block_rows][64]
  float* floats;             // the same
  float* outliers;           // the same
  std::int8_t* panel;        // one chunk of a panel, where B is not packed
  std::int32_t* panel_sums;  // [64]
};

Scratch take_scratch(const Member& p, const Shape& s, Arena& arena) noexcept {
  Scratch w{};
  const std::int64_t tile = s.block_rows * kTileCols;
  w.sums = arena.take<std::int32_t>(tile);
  if (p.a.azp.defined()) w.floats = arena.take<float>(tile);
  if (p.epilogue.outliers.present()) w.outliers = arena.take<float>(tile);
  if (p.b.packed == nullptr) {
    w.panel = arena.take<std::int8_t>(s.chunk * kStep * kTileCols);
    w.panel_sums = arena.take<std::int32_t>(kTileCols);
  }
  return w;
}

// Rows [r0, r1) of one panel; a share begins at r0.
struct Part {
  std::int64_t panel, r0, r1;
};

// The place where a worker's share of a block of `rows` rows begins: work is vectors x rows, panel
// after panel. A panel is cut between tiles, and only where whole panels would not balance.
Part begin_of(const Shape& s, std::int64_t rows, std::int64_t worker) noexcept {
  const std::int64_t position = s.vectors * rows * worker / s.workers;
  const std::int64_t panel = std::min(position / (kPanelVectors * rows), s.panels - 1);
  const std::int64_t vectors = std::min(kPanelVectors, s.vectors - panel * kPanelVectors);
  const bool few = s.panels < 4 * s.workers;
  const std::int64_t grain = rows > 24 ? 6 : few ? 4 : rows;
  const std::int64_t exact = (position - panel * kPanelVectors * rows) / vectors;
  const std::int64_t cut = (exact + grain / 2) / grain * grain;
  const std::int64_t row = exact >= rows ? rows : std::min(rows, cut);
  return row == rows ? Part{panel + 1, 0, 0} : Part{panel, row, row};
}

// How a number of rows meets a panel of some vectors: tiles of nearly the same height. Few rows
// take the panel in two halves, in tiles of twice the rows: it is read once instead of twice. The
// first calls prefetch the chunk that is read next, four lines for each of its steps.
struct Tiling {
  std::int64_t rows = -1, vectors = 0;
  std::int64_t width = 0;   // vectors at a time
  std::int64_t tiles = 0;   // for each width
  std::int64_t height = 0;  // of a tile; the first `taller` ones have one row more
  std::int64_t taller = 0;
  std::int64_t lines = 0, fetching_calls = 0;
  std::array<DotKernel, 2> plain{}, fetching{};  // the second of each is the taller one's
};

Tiling tiling_of(const DotKernels& kernels, std::int64_t rows, std::int64_t vectors) noexcept {
  const auto& most = kernels.max_rows;
  Tiling t;
  t.rows = rows;
  t.vectors = vectors;
  const bool halves = vectors == kPanelVectors && rows > most[3] && rows <= 2 * most[1];
  t.width = halves ? 2 : vectors;
  const std::int64_t limit = most[static_cast<std::size_t>(t.width - 1)];
  t.tiles = (rows + limit - 1) / limit;
  t.height = rows / t.tiles;
  t.taller = rows % t.tiles;
  const std::int64_t calls = t.tiles * (halves ? 2 : 1);
  t.lines = calls == 1 ? 4 : calls < 4 ? 2 : 1;
  t.fetching_calls = 4 / t.lines;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t height = t.height + static_cast<std::int64_t>(i);
    if (height > limit) continue;
    t.plain[i] = kernels.tile(height, t.width, 0);
    t.fetching[i] = kernels.tile(height, t.width, static_cast<int>(t.lines));
    if (t.fetching[i] == nullptr) t.fetching[i] = t.plain[i];
  }
  return t;
}

class Worker {
 public:
  Worker(const DotKernels& kernels, const Member& p, const MatmulOptions& options, const Shape& s,
         const Shared& shared, const Scratch& w) noexcept
      : kernels_(kernels),
        p_(p),
        s_(s),
        shared_(shared),
        w_(w),
        finisher_(p, options, shared.rows),
        packed_(p.b.packed != nullptr ? p.b.packed->content()->codes.data() : nullptr, s.k, s.n) {}

  /// Rows of a panel. `next` is the panel after it, -1 where there is none.
  void run(const Part& part, std::int64_t next) noexcept {
    first_ = part.panel * kPanelVectors;
    vectors_ = std::min(kPanelVectors, s_.vectors - first_);
    column_ = part.panel * kTileCols;
    columns_ = std::min(kTileCols, s_.n - column_);
    finisher_.set_columns(column_, columns_);
    sums_ = is_packed() ? packed_.sums(first_) : w_.panel_sums;
    for (std::int64_t r = part.r0; r < part.r1; r += s_.block_rows) {
      const std::int64_t end = std::min(part.r1, r + s_.block_rows);
      // The first chunk of what follows: this panel once more, or the next.
      const std::int64_t after = end < part.r1 ? first_ : next * kPanelVectors;
      const bool again = end < part.r1 && s_.single_chunk;  // it is in the cache
      block(r, end, again || after < 0 ? nullptr : codes(after, 0));
    }
  }

 private:
  bool is_packed() const noexcept { return p_.b.packed != nullptr; }

  const std::int8_t* codes(std::int64_t first, std::int64_t step) const noexcept {
    return is_packed() ? packed_.codes(first, step) : nullptr;
  }

  void block(std::int64_t r0, std::int64_t r1, const std::int8_t* next) noexcept {
    if (!is_packed()) std::fill_n(w_.panel_sums, kTileCols, 0);
    for (std::int64_t step = 0, end = 0;; step = end) {
      end = std::min(s_.steps, step + s_.chunk);
      const bool last = end == s_.steps;
      chunk(r0, r1, step, end, last ? next : codes(first_, end));
      if (last) return;
    }
  }

  const std::int8_t* pack_chunk(std::int64_t k0, std::int64_t depth) noexcept {
    const TensorView& b = p_.b.data;
    kernels_.pack(
        {.b = static_cast<const std::int8_t*>(b.at(k0 * b.strides[0] + column_ * b.strides[1])),
         .stride_k = b.strides[0],
         .stride_n = b.strides[1],
         .depth = depth,
         .columns = columns_,
         .panel = w_.panel,
         .sums = w_.panel_sums});
    return w_.panel;
  }

  // Steps [step, end) of rows [r0, r1).
  void chunk(std::int64_t r0, std::int64_t r1, std::int64_t step, std::int64_t end,
             const std::int8_t* next) noexcept {
    const bool last = end == s_.steps;
    const std::int64_t k0 = step * kStep;
    const std::int64_t depth = std::min(s_.k, end * kStep) - k0;
    const std::int8_t* b = is_packed() ? codes(first_, step) : pack_chunk(k0, depth);
    if (tiling_.rows != r1 - r0 || tiling_.vectors != vectors_) {
      tiling_ = tiling_of(kernels_, r1 - r0, vectors_);
    }
    const Tiling& tiling = tiling_;
    const bool halves = tiling.width != vectors_;
    const std::int64_t kept_rows = halves || !s_.single_chunk ? kTileCols : 0;
    const auto* ahead = reinterpret_cast<const char*>(next);
    std::int64_t calls = next != nullptr ? tiling.fetching_calls : 0;
    for (std::int64_t v = 0; v < vectors_; v += tiling.width) {
      std::int64_t begin = r0;
      for (std::int64_t t = 0; t < tiling.tiles; ++t) {
        const std::size_t taller = t < tiling.taller ? 1 : 0;
        const std::int64_t stop = begin + tiling.height + static_cast<std::int64_t>(taller);
        std::int32_t* sums = w_.sums + (begin - r0) * kept_rows;
        const DotKernel kernel = (calls > 0 ? tiling.fetching : tiling.plain)[taller];
        kernel({.depth = depth,
                .a = shared_.a + begin * shared_.lda + k0,
                .lda = shared_.lda,
                .b = b + v * kVectorCols * kStep,
                .ldb = vectors_ * kVectorCols * kStep,
                .c = sums + v * kVectorCols,
                .column_sums = last ? sums_ + v * kVectorCols : nullptr,
                .shift = shared_.shift + begin * shared_.shift_stride,
                .shift_stride = shared_.shift_stride,
                .flip = shared_.flip,
                .add = step > 0,
                .ahead = ahead});
        if (--calls > 0) ahead += tiling.lines * (end - step) * 64;
        if (last && !halves) finish(begin, stop, sums);
        begin = stop;
      }
    }
    if (last && halves) finish(r0, r1, w_.sums);
  }

  void finish(std::int64_t r0, std::int64_t r1, const std::int32_t* sums) noexcept {
    TileSums tile{.m0 = r0, .rows = r1 - r0, .integers = sums};
    if (p_.epilogue.outliers.present()) {
      outlier_tile(p_, r0, r1 - r0, column_, columns_, w_.outliers);
      tile.outliers = w_.outliers;
    }
    if (shared_.azp != nullptr) {
      const bool stored = widen_sums(tile);
      if (stored) return;
      tile.floats = w_.floats;
    }
    finisher_.finish(tile);
  }

  // Zero points that 32 bits have no room for. True: the sums were stored.
  bool widen_sums(const TileSums& tile) noexcept {
    std::array<std::int64_t, static_cast<std::size_t>(kTileCols)> exact;
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      const std::int64_t azp = shared_.azp[tile.m0 + r];
      for (std::int64_t j = 0; j < columns_; ++j) {
        const std::int64_t sum = tile.integers[r * kTileCols + j] - azp * sums_[j];
        exact[static_cast<std::size_t>(j)] = sum;
        w_.floats[r * kTileCols + j] = static_cast<float>(sum);
      }
      if (p_.out.dtype == DType::int32) {
        finish_exact_row(p_, tile.m0 + r, column_, columns_, exact.data());
      }
    }
    return p_.out.dtype == DType::int32;
  }

  const DotKernels& kernels_;
  const Member& p_;
  const Shape& s_;
  const Shared& shared_;
  const Scratch& w_;
  Finisher finisher_;
  Tiling tiling_;
  const DotPanels packed_;
  std::int64_t first_ = 0, vectors_ = 0;   // of the panel at hand, in vectors
  std::int64_t column_ = 0, columns_ = 0;  // the same in columns
  const std::int32_t* sums_ = nullptr;     // its column sums
};

// Rows of neighbouring bytes, where A has others.
void load_a(const Member& p, const Shape& s, const ExecContext& context, Arena& arena,
            Shared& shared) noexcept {
  const TensorView& a = p.a.data;
  shared.flip = a.dtype == DType::int8 ? 0x80 : 0;
  shared.a = static_cast<const std::uint8_t*>(a.data);
  shared.lda = a.strides[0];
  if (a.strides[1] == 1 || s.k <= 1) return;
  auto* own = arena.take<std::uint8_t>(s.m * s.k);
  shared.a = own;
  shared.lda = s.k;
  if (arena.counting()) return;
  parallel_for(context, s.workers, [&](std::int64_t worker) {
    const std::int64_t begin = s.m * worker / s.workers;
    const std::int64_t end = s.m * (worker + 1) / s.workers;
    TensorView to = a.slice(0, begin, end);
    to.data = own + begin * s.k;
    to.strides = {s.k, 1};
    copy_elements(a.slice(0, begin, end), to);
  });
}

// What is taken away of each row: 128 for a signed byte, and the zero point where it lies in the
// range of A's type. No sum leaves int32 then.
void load_shifts(const Member& p, const Shape& s, Arena& arena, Shared& shared) noexcept {
  const bool asymmetric = p.a.azp.defined();
  auto* shift = arena.take<std::int32_t>(asymmetric ? s.m : 1);
  auto* azp = asymmetric ? arena.take<std::int32_t>(s.m) : nullptr;
  shared.shift = shift;
  shared.shift_stride = asymmetric ? 1 : 0;
  if (arena.counting()) return;
  std::fill_n(shift, asymmetric ? s.m : 1, shared.flip);
  if (!asymmetric) return;
  const std::int64_t low = -std::int64_t{shared.flip};
  bool narrow = true;
  for (std::int64_t m = 0; m < s.m; ++m) {
    const std::int64_t value = load_int(p.a.azp, m, 0);
    azp[m] = static_cast<std::int32_t>(value);
    narrow = narrow && value >= low && value <= low + 255;
  }
  if (!narrow) shared.azp = azp;
  for (std::int64_t m = 0; m < s.m && narrow; ++m) shift[m] += azp[m];
}

}  // namespace

void run_dot_member(const DotKernels& kernels, const Member& p, const MatmulOptions& options,
                    const ExecContext& context, Arena& arena) noexcept {
  const Shape s = shape_of(p, context);
  if (s.m == 0 || s.n == 0) return;
  Shared shared{};
  shared.rows = load_rows(p, arena);
  load_a(p, s, context, arena, shared);
  load_shifts(p, s, arena, shared);
  // A worker's scratch: measured once, then taken at fixed distances.
  Arena counter(nullptr);
  (void)take_scratch(p, s, counter);
  const auto stride = static_cast<std::int64_t>(counter.used());
  char* scratch = arena.take<char>(stride * s.workers);
  if (arena.counting()) return;

  const std::int64_t cached =
      std::max(kCachedRowBytes / std::max<std::int64_t>(s.k, 1), kBlockRows);
  for (std::int64_t m0 = 0; m0 < s.m; m0 += cached) {
    const std::int64_t rows = std::min(cached, s.m - m0);
    parallel_for(context, s.workers, [&](std::int64_t index) {
      Arena own(scratch + index * stride);
      const Scratch w = take_scratch(p, s, own);
      Worker worker(kernels, p, options, s, shared, w);
      const Part begin = begin_of(s, rows, index);
      const Part end = begin_of(s, rows, index + 1);
      for (std::int64_t panel = begin.panel; panel <= end.panel; ++panel) {
        const std::int64_t r0 = panel == begin.panel ? begin.r0 : 0;
        const std::int64_t r1 = panel == end.panel ? end.r0 : rows;
        if (r0 >= r1) continue;
        const bool more = panel + 1 < end.panel || (panel + 1 == end.panel && end.r0 > 0);
        worker.run({panel, m0 + r0, m0 + r1}, more ? panel + 1 : -1);
      }
    });
  }
}

}  // namespace octavo::cpu
