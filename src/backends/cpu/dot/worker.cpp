// SPDX-License-Identifier: Apache-2.0
// The loops inside a panel:
//
//   for each chunk of K                     (packed on the fly where B is not packed for the
//   kernels)
//     for each tile of rows                 (A from in place, or from converted rows)
//       for each stretch between changes of scales
//         for each width of vectors
//           the kernel, prefetching what is read after this chunk
//       after the last chunk: the epilogue
#include "backends/cpu/dot/worker.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "backends/cpu/dot/float_layout.hpp"
#include "backends/cpu/dot/int8_layout.hpp"
#include "backends/cpu/dot/tuning.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/weight_rows.hpp"
#include "core/problem/operand.hpp"

namespace octavo::cpu {
namespace {

static_assert(kTileCols == kPanelWidth && kTileCols == kRowSums);

constexpr std::int64_t kWideDepth = 128;  // a multiple of 4
// Rows that decoding a last step of 8-bit weights may write past a chunk.
constexpr std::int64_t kDecodedRows = 3;

// May a weight have codes that the tiles do not decode?
bool may_have_others(const DotMember& d) noexcept {
  const DType b = weight_dtype(d.p->b);
  return d.path.direct != nullptr && is_float8(b) &&
         (d.path.finite_only || float8_table(b).negative_zero_is_nan);
}

// Bytes along K after which sums leave registers, on average.
std::int64_t tile_depth(const DotMember& d, std::int64_t element) noexcept {
  const std::int64_t chunk = std::min(d.k, d.chunk * d.path.kernels().form.step);
  const std::int64_t segments = std::max<std::int64_t>(d.segments.count, 1);
  return std::min(chunk, d.k / segments) * element;
}

Tiling tiling_of(const DotKernels& kernels, std::int64_t rows, std::int64_t vectors,
                 bool tall) noexcept {
  auto most = kernels.max_rows;
  std::int64_t unit = kernels.register_rows;
  if (!tall && unit > 1) {  // equal heights, too: shaping registers anew takes long beside them
    for (auto& limit : most) limit = std::min(limit, 2 * unit);
    unit = 1;
  }
  Tiling t;
  t.kernels = &kernels;
  t.rows = rows;
  t.vectors = vectors;
  // Rows that nearly fill tiles of a whole panel need no halves, if those tiles are enough to fetch
  // a line of what is next in each step.
  const std::int64_t whole = (rows + most[3] - 1) / most[3];
  const bool fill = 10 * rows >= 9 * most[3] * whole;
  const bool fetch = whole * 64 >= kPanelVectors * kernels.form.vector_bytes;
  const bool halves =
      vectors == kPanelVectors && rows > most[3] && rows <= 2 * most[1] && !(fill && fetch);
  t.width = halves ? 2 : vectors;
  // Registers that hold few sums: a tile of the whole panel has fewer rows.
  if (kernels.width < kPanelVectors && rows > most[static_cast<std::size_t>(vectors - 1)]) {
    t.width = vectors % 2 == 0 && (rows <= most[1] || kernels.width == 2) ? 2 : 1;
  }
  const std::int64_t limit = most[static_cast<std::size_t>(t.width - 1)];
  const std::int64_t units = (rows + unit - 1) / unit;
  t.tiles = (rows + limit - 1) / limit;
  t.height = units / t.tiles * unit;
  t.taller = units % t.tiles;
  t.unit = unit;
  t.calls = t.tiles * (vectors / t.width);
  t.fetching_calls = static_cast<std::int64_t>(
      std::bit_floor(static_cast<std::uint64_t>(std::min(t.calls, cache_tuning().fetching_calls))));
  t.fetched_bytes = kPanelVectors * kernels.form.vector_bytes / t.fetching_calls;
  const auto lines = static_cast<int>((t.fetched_bytes + 63) / 64);
  const std::int64_t before_last = (t.tiles - 1) * t.height + t.taller * unit;
  const std::array heights{t.height, t.height + unit, rows - before_last};
  for (std::size_t i = 0; i < heights.size(); ++i) {
    if (heights[i] > limit) continue;
    t.unpacked[i] = kernels.tile(heights[i], t.width, 0);
    t.fetching[i] = kernels.tile(heights[i], t.width, lines);
    if (t.fetching[i] == nullptr) t.fetching[i] = t.unpacked[i];
  }
  return t;
}

}  // namespace

DotScratch take_scratch(const DotMember& d, Arena& arena) noexcept {
  DotScratch w{};
  const std::int64_t tile = d.strip * d.block_rows * kTileCols;
  const std::int64_t of_panel = d.segments.most * kTileCols;
  const std::int64_t segments =
      std::min(d.strip * of_panel, std::max(of_panel, cache_tuning().strip_scales));
  const PanelForm& form = d.path.on_the_fly->form;
  w.sums = arena.take<float>(tile);
  if (d.segments.present()) {
    w.total = arena.take<float>(tile);
    if (d.segments.in_chunks) w.chunks = arena.take<float>(tile);
    w.segment_scales = arena.take<float>(segments);
  }
  if (d.p->a.azp.defined()) w.floats = arena.take<float>(tile);
  w.outliers = take_outlier_scratch(*d.p, d.outliers, d.block_rows, arena);
  if (d.transposed != nullptr) w.panel = arena.take<char>(kGatheredBytes);
  if ((d.path.direct == nullptr && d.unpacked == nullptr) || may_have_others(d)) {
    const std::int64_t panels = d.shares_rows ? 1 : d.strip;  // that are made before their tiles
    const std::int64_t steps = panels * d.chunk * d.path.kernels().form.step / form.step;
    w.panel = arena.take<char>((steps + kDecodedRows) * form.vector_bytes * kPanelVectors);
    if (d.path.pack == nullptr && d.path.integers == nullptr) {
      w.wide = arena.take<float>(kWideDepth * kTileCols);
      w.line = arena.take<float>(std::max(kWideDepth, kTileCols));
    }
  }
  if (d.path.integers == nullptr) return w;
  w.panel_sums = arena.take<std::int32_t>(d.strip * kTileCols);
  if (d.segments.present() && d.flip != 0 && d.unpacked == nullptr) {
    w.segment_sums = arena.take<std::int32_t>(segments);
    w.ones = arena.take<std::uint8_t>(d.chunk * form.step);
  }
  return w;
}

DotWorker::DotWorker(const DotMember& d, const MatmulOptions& options, const DotScratch& w,
                     bool streamed) noexcept
    : d_(d),
      w_(w),
      finisher_(*d.p, options, d.row_scales, streamed),
      outliers_(*d.p, d.outliers, w.outliers),
      packed_(d.p->b.packed != nullptr ? d.p->b.packed->content()->codes.data() : nullptr,
              d.path.kernels().form, d.k, d.n),
      element_(element_bytes(d.path.rows)),
      table_(float8_table(weight_dtype(d.p->b))),
      tall_(tile_depth(d, element_) >= cache_tuning().tall_depth) {}

// Does a tile decode its panel, once for all of its rows?
bool DotWorker::decodes() const noexcept {
  return direct() && d_.path.integers == nullptr && kernels_->form != kBf16Form;
}

void DotWorker::begin_panel(std::int64_t panel) noexcept {
  panel_ = panel;
  vectors_ = packed_.vectors(panel);
  column_ = panel * kTileCols;
  columns_ = std::min(kTileCols, d_.n - column_);
  kernels_ = &d_.path.kernels();
  if (may_have_others(d_) && holds_other_codes(packed_, panel)) kernels_ = d_.path.on_the_fly;
  if (d_.path.integers == nullptr) return;
  column_sums_ =
      d_.p->b.packed != nullptr
          ? column_sums(int8_panels(d_.p->b.packed->content()->codes.data(), d_.k, d_.n), panel)
          : w_.panel_sums;
}

void DotWorker::run(std::int64_t panel, std::int64_t r0, std::int64_t r1,
                    std::int64_t next) noexcept {
  begin_panel(panel);
  finisher_.set_columns(column_, columns_);
  if (r1 - r0 <= cache_tuning().prefetched_rows) finisher_.prefetch_terms();
  if (d_.segments.present()) {
    loaded_scales_ = load_segment_scales(d_, column_, loaded_scales_, w_.segment_scales);
  }
  for (std::int64_t r = r0; r < r1; r += d_.block_rows) {
    const std::int64_t end = std::min(r1, r + d_.block_rows);
    // The first chunk of what follows: this panel once more, unless it is in the cache, or the
    // next.
    const std::int64_t again = d_.single_chunk ? -1 : panel;
    block(r, end, end < r1 ? again : next);
  }
}

// Where a chunk ends that begins at a step: inside a segment, whole blocks behind its beginning.
std::int64_t DotWorker::chunk_end(std::int64_t step) const noexcept {
  const DotKernels& kernels = d_.path.kernels();
  const std::int64_t end = std::min(d_.steps, step + d_.chunk);
  if (end == d_.steps || kernels.block == 1) return end;
  std::int64_t begin = 0;
  if (d_.segments.present()) {
    const std::int64_t* first = d_.segments.ends;
    const std::int64_t* after =
        std::upper_bound(first, first + d_.segments.count, end * kernels.form.step);
    if (after != first) begin = after[-1] / kernels.form.step;
  }
  return end - (end - begin) % kernels.block;
}

void DotWorker::block(std::int64_t r0, std::int64_t r1, std::int64_t next) noexcept {
  const bool packed = packed_panel_ == panel_;
  packed_panel_ = d_.single_chunk && !direct() ? panel_ : -1;
  if (w_.panel_sums != nullptr && !packed) std::fill_n(w_.panel_sums, kTileCols, 0);
  outliers_.set_tiles(column_, columns_, r0, r1 - r0);
  const std::int64_t depth = d_.path.kernels().form.step;
  const char* stream = next == panel_ ? nullptr : stream_of(d_, next, r1 - r0);
  Chunk chunk{};
  do {
    chunk.end = chunk_end(chunk.step);
    chunk.last = chunk.end == d_.steps;
    chunk.k0 = chunk.step * depth;
    chunk.k1 = std::min(d_.k, chunk.end * depth);
    look_ahead(chunk, chunk.last ? next : panel_, chunk.last ? 0 : chunk.end, stream);
    chunk.b = direct() ? packed_.at(panel_, chunk.step)
              : packed ? static_cast<const char*>(w_.panel)
                       : pack_chunk(chunk);
    if (w_.segment_sums != nullptr) sum_segments(chunk);
    run_chunk(r0, r1, chunk);
    chunk.step = chunk.end;
  } while (!chunk.last);
  fetched_panel_ = stream != nullptr ? next : -1;
}

// What is read after a chunk: one of a panel, -1: none, that begins at a step.
void DotWorker::look_ahead(Chunk& chunk, std::int64_t panel, std::int64_t step,
                           const char* stream) noexcept {
  const MatrixView& b = d_.p->b.data;
  const std::int64_t depth = d_.path.kernels().form.step;
  chunk.next = panel >= 0 && direct() ? packed_.at(panel, step) : nullptr;
  chunk.next_bytes = std::numeric_limits<std::int64_t>::max();
  chunk.next_weight = nullptr;
  ahead_ = {};
  if (stream != nullptr) {
    const std::int64_t row = kTileCols * element_bytes(b.dtype);
    chunk.next = stream + chunk.k0 * row;
    chunk.next_bytes = (chunk.k1 - chunk.k0) * row;
  }
  const bool fetched = chunk.last ? stream != nullptr : fetched_panel_ == panel_;
  if (panel < 0 || fetched || d_.path.pack == nullptr || d_.k == 0) return;
  chunk.next_weight = weight_at(step * depth, panel * kTileCols);
  ahead_ = {b, step * depth, std::min(d_.k, (step + d_.chunk) * depth), panel * kTileCols,
            std::min(d_.n, (panel + 1) * kTileCols)};
}

const char* DotWorker::stream_of(const DotMember& d, std::int64_t panel,
                                 std::int64_t rows) noexcept {
  if (panel < 0 || d.path.pack == nullptr || d.k == 0) return nullptr;
  const MatrixView& b = d.p->b.data;
  if (b.strides[0] != 1 || b.strides[1] != d.k) return nullptr;
  const std::int64_t held =
      rows * d.k * element_bytes(d.path.rows) + d.k * kTileCols * element_bytes(b.dtype);
  if (held > cache_tuning().flow_bytes) return nullptr;
  return static_cast<const char*>(b.at(panel * kTileCols * b.strides[1]));
}

const void* DotWorker::weight_at(std::int64_t k, std::int64_t column) const noexcept {
  const MatrixView& b = d_.p->b.data;
  return b.at(k * b.strides[0] + column * b.strides[1]);
}

const char* DotWorker::pack_chunk(const Chunk& chunk) noexcept {
  const std::int64_t k0 = chunk.k0, k1 = chunk.k1;
  const auto* panel = static_cast<const char*>(w_.panel);
  if (d_.path.pack != nullptr) {
    const MatrixView& b = d_.p->b.data;
    d_.path.pack({.dtype = b.dtype,
                  .b = weight_at(k0, column_),
                  .stride_k = b.strides[0],
                  .stride_n = b.strides[1],
                  .depth = k1 - k0,
                  .columns = columns_,
                  .panel = w_.panel,
                  .sums = w_.panel_sums,
                  .table = &table_,
                  .next = chunk.next_weight,
                  .fetched = fetched_panel_ == panel_});
    return panel;
  }
  if (decode_chunk(k0, k1)) return panel;
  const PanelForm& form = kernels_->form;
  for (std::int64_t k = k0; k < k1; k += kWideDepth) {
    const std::int64_t end = std::min(k1, k + kWideDepth);
    load_column_panels(best_kernels(), d_.p->b, k, end, column_, vectors_, w_.wide, w_.line);
    kernels_->pack_rows(
        w_.wide, end - k, vectors_,
        static_cast<char*>(w_.panel) + (k - k0) / form.step * vectors_ * form.vector_bytes);
  }
  return panel;
}

// Weights of 8 and 16 bits in panels of our own, which become wider or get a longer step, where a
// chunk begins with a step of theirs.
bool DotWorker::decode_chunk(std::int64_t k0, std::int64_t k1) noexcept {
  if (d_.p->b.packed == nullptr) return false;
  const PackedWeightData& w = *d_.p->b.packed->content();
  const bool integers = w.layout == &kInt8Layout;
  const bool halves = element_bytes(w.dtype) == 2 && kernels_->from_pairs != nullptr;
  const bool floats = (is_float8(w.dtype) || halves) && w.layout == float_layout(w.dtype);
  if (!integers && !floats) return false;
  const PanelForm& form = integers ? kInt8Form : *float_form(w.dtype);
  if (k0 % form.step != 0) return false;
  const Panels panels(w.codes.data(), form, d_.k, d_.n);
  const char* codes = panels.at(panel_, k0 / form.step);
  const std::int64_t steps = (k1 - k0 + form.step - 1) / form.step;
  if (integers) {
    kernels_->decode_int8(codes, steps, vectors_, w_.panel);
  } else if (halves) {
    kernels_->from_pairs(w.dtype, codes, steps, vectors_, w_.panel);
  } else {
    kernels_->decode_float8(table_, codes, steps, panels.vectors(panel_), vectors_, w_.panel);
  }
  return true;
}

DotWorker::Piece DotWorker::piece_at(std::int64_t k, const Chunk& chunk) const noexcept {
  const Segments& s = d_.segments;
  if (!s.present()) return {chunk.k0, chunk.k1, 0, 0, chunk.step > 0, false};
  const std::int64_t* end = std::upper_bound(s.ends, s.ends + s.count, k);
  const std::int64_t begin = end == s.ends ? 0 : end[-1];
  Piece piece{k, std::min(*end, chunk.k1), 0, end - s.ends, k > begin, false};
  if (piece.k1 < *end) return piece;
  piece.group = piece.k1 - k;
  const auto ends_chunk = [&] { return s.in_chunks && s.ends_chunk[end - s.ends]; };
  // The next ones, as long as their length is the same.
  for (bool same = true; same && !ends_chunk() && piece.k1 < chunk.k1 && end[1] <= chunk.k1;) {
    const std::int64_t next = end[1] - piece.k1;
    if (next > piece.group) break;
    same = next == piece.group;
    piece.k1 = *++end;
  }
  piece.ends_chunk = ends_chunk();
  return piece;
}

// The total of a chunk of K to those before it; the next one's begins.
void DotWorker::add_chunk(std::int64_t place, std::int64_t count) noexcept {
  float* total = w_.total + place;
  float* chunks = w_.chunks + place;
  for (std::int64_t i = 0; i < count; ++i) {
    chunks[i] += total[i];
    total[i] = 0.0F;
  }
}

// Sums of int8 columns, segment by segment: the product with a row of ones.
void DotWorker::sum_segments(const Chunk& chunk) noexcept {
  const PanelForm& form = kernels_->form;
  std::fill_n(w_.ones, chunk.k1 - chunk.k0, std::uint8_t{1});
  const DotKernel kernel = kernels_->tile(1, vectors_, 0);
  const std::int64_t* end =
      std::upper_bound(d_.segments.ends, d_.segments.ends + d_.segments.count, chunk.k0);
  for (std::int64_t k = chunk.k0; k < chunk.k1; ++end) {
    const std::int64_t begin = end == d_.segments.ends ? 0 : end[-1];
    const std::int64_t stop = std::min(*end, chunk.k1);
    kernel({.depth = stop - k,
            .a = w_.ones,
            .lda = 0,
            .b = chunk.b + (k - chunk.k0) / form.step * vectors_ * form.vector_bytes,
            .ldb = vectors_ * form.vector_bytes,
            .c = w_.segment_sums + (end - d_.segments.ends) * kTileCols,
            .add = k > begin,
            .ahead = nullptr});
    k = stop;
  }
}

void DotWorker::run_chunk(std::int64_t r0, std::int64_t r1, const Chunk& chunk) noexcept {
  if (tiling_.rows != r1 - r0 || tiling_.vectors != vectors_ || tiling_.kernels != kernels_) {
    tiling_ = tiling_of(*kernels_, r1 - r0, vectors_, tall_ || decodes());
  }
  DotTile of_calls = of_all_calls();
  std::int64_t row = r0;
  for (std::int64_t t = 0; t < tiling_.tiles; ++t) {
    const std::int64_t whole = tiling_.height + (t < tiling_.taller ? tiling_.unit : 0);
    const std::int64_t rows = std::min(whole, r1 - row);
    // Sums wait for the next chunk, or leave at once.
    const std::int64_t place = d_.single_chunk ? 0 : place_ + (row - r0) * kTileCols;
    if (chunk.last) finisher_.prefetch_output(row, rows);
    run_tile(chunk, row, rows, t, place, of_calls);
    if (chunk.last) finish(row, row + rows, place);
    row += rows;
  }
}

// What the calls of tiles have in common that meet a chunk of the panel at hand.
DotTile DotWorker::of_all_calls() const noexcept {
  DotTile tile{};
  tile.lda = d_.row_bytes;
  tile.ldb = vectors_ * kernels_->form.vector_bytes;
  tile.ahead_step = tiling_.fetched_bytes;
  tile.first_level = first_level_ && direct();
  tile.scale_a_stride = d_.segments.row_stride;
  tile.scale_a_group_stride = d_.segments.stride;
  tile.shift_stride = d_.shift_stride;
  tile.flip = d_.flip;
  tile.table = &table_;
  return tile;
}

void DotWorker::run_tile(const Chunk& chunk, std::int64_t row, std::int64_t rows, std::int64_t tile,
                         std::int64_t place, DotTile& of_calls) noexcept {
  const Tiling& t = tiling_;
  const std::size_t kernel = t.kernel_of(tile);
  const PanelForm& form = kernels_->form;
  const Segments& segments = d_.segments;
  const bool varies = segments.present();
  if (varies && chunk.step == 0) std::fill_n(w_.total + place, rows * kTileCols, 0.0F);
  if (w_.chunks != nullptr && chunk.step == 0) {
    std::fill_n(w_.chunks + place, rows * kTileCols, 0.0F);
  }
  const auto* a = static_cast<const char*>(d_.rows) + row * d_.row_bytes;
  auto* sums = static_cast<float*>(w_.sums) + place;  // or int32
  of_calls.shift = d_.shift + row * d_.shift_stride;
  const bool streams = t.calls == 1 && direct();
  const std::int64_t first_call = tile * (vectors_ / t.width);
  const std::int64_t fetched = (ahead_.pairs() + t.calls - 1) / t.calls;
  std::int64_t k = chunk.k0;
  do {
    const Piece piece = piece_at(k, chunk);
    const std::int64_t step = (k - chunk.k0) / form.step;
    const bool scaled = piece.group > 0;
    const std::int32_t* taken = nullptr;  // column sums
    if (!varies && chunk.last) taken = column_sums_;
    if (scaled && w_.segment_sums != nullptr) taken = w_.segment_sums + piece.segment * kTileCols;
    of_calls.depth = (piece.k1 - k) * element_;
    of_calls.a = a + k * element_;
    of_calls.add = piece.add;
    of_calls.group = piece.group * element_;
    of_calls.scale_a =
        scaled ? segments.scale_a + piece.segment * segments.stride + row * segments.row_stride
               : nullptr;
    std::int64_t call = first_call;
    for (std::int64_t v = 0; v < vectors_; v += t.width, ++call) {
      const std::int64_t column = v * kVectorCols;
      const std::int64_t offset = (call * (chunk.end - chunk.step) + step) * t.fetched_bytes;
      const bool fetches = streams || (chunk.next != nullptr && call < t.fetching_calls &&
                                       offset < chunk.next_bytes);
      const char* b = chunk.b + step * of_calls.ldb + v * form.vector_bytes;
      of_calls.b = b;
      of_calls.c = sums + column;
      of_calls.ahead = streams   ? b + cache_tuning().stream_ahead
                       : fetches ? chunk.next + offset
                                 : nullptr;
      of_calls.total = scaled ? w_.total + place + column : nullptr;
      of_calls.scale_b = scaled ? w_.segment_scales + piece.segment * kTileCols + column : nullptr;
      of_calls.column_sums = taken != nullptr ? taken + column : nullptr;
      (fetches ? t.fetching : t.unpacked)[kernel](of_calls);
      ahead_.fetch(fetched);
    }
    if (piece.ends_chunk) add_chunk(place, rows * kTileCols);
    k = piece.k1;
  } while (k < chunk.k1);
}

void DotWorker::finish(std::int64_t r0, std::int64_t r1, std::int64_t place) noexcept {
  TileSums tile{.m0 = r0, .rows = r1 - r0};
  const bool floats = d_.segments.present() || d_.path.integers == nullptr;
  if (floats) {
    const float* sums = static_cast<const float*>(w_.sums);
    tile.floats = (w_.chunks != nullptr    ? w_.chunks
                   : d_.segments.present() ? w_.total
                                           : sums) +
                  place;
  } else {
    tile.integers = static_cast<const std::int32_t*>(w_.sums) + place;
  }
  tile.outliers = outliers_.of(r0, r1 - r0);
  if (d_.azp != nullptr) {
    const bool stored = widen_sums(r0, r1, tile.integers);
    if (stored) return;
    tile.floats = w_.floats;
  }
  finisher_.finish(tile);
}

// Zero points that 32 bits have no room for. True: the sums were stored.
bool DotWorker::widen_sums(std::int64_t r0, std::int64_t r1, const std::int32_t* sums) noexcept {
  std::array<std::int64_t, static_cast<std::size_t>(kTileCols)> exact;
  float* floats = w_.floats;
  for (std::int64_t r = r0; r < r1; ++r, sums += kTileCols, floats += kTileCols) {
    const std::int64_t azp = d_.azp[r];
    if (d_.near_azp && d_.p->out.dtype != DType::int32) {
      best_kernels().shift_sums(sums, column_sums_, static_cast<double>(azp), columns_, floats);
      continue;
    }
    for (std::int64_t j = 0; j < columns_; ++j) {
      const std::int64_t sum = sums[j] - azp * column_sums_[j];
      exact[static_cast<std::size_t>(j)] = sum;
      floats[j] = static_cast<float>(sum);
    }
    if (d_.p->out.dtype == DType::int32) {
      finish_exact_row(*d_.p, r, column_, columns_, exact.data());
    }
  }
  return d_.p->out.dtype == DType::int32;
}

}  // namespace octavo::cpu
