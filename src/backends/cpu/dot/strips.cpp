// SPDX-License-Identifier: Apache-2.0
// Panels side by side: of a weight that is read in place, and of one that is packed on the
// fly, as [K, N], whose rows are longer then, or for many rows of A, which come less often then:
//
//   for each chunk of K
//     all panels are packed, of [K, N] a few rows of K at a time, and the next ones fetched
//     for each part of the rows, for each panel: the tiles of these rows
//
// and of panels, packed or packed one by one, that share more rows of A than a cache keeps:
//
//   for each chunk of K, for each panel: the tiles of all rows
#include <algorithm>

#include "backends/cpu/dot/tuning.hpp"
#include "backends/cpu/dot/worker.hpp"

namespace octavo::cpu {
namespace {

// Rows of K that are packed for one panel after the other.
constexpr std::int64_t kPackedDepth = 32;

}  // namespace

void DotWorker::run_unpacked(std::int64_t first, std::int64_t count, std::int64_t r0,
                             std::int64_t r1, const char* next) noexcept {
  const MatrixView& b = d_.p->b.data;
  const Segments& segments = d_.segments;
  const bool varies = segments.present();
  const bool shifted = d_.flip != 0 || d_.p->a.azp.defined();
  const std::int64_t column = first * kTileCols;
  const std::int64_t panel_rows = d_.transposed != nullptr ? transposed_rows(r1 - r0) : r1 - r0;
  const std::int64_t panel_sums = panel_rows * kTileCols;
  const std::int64_t panel_scales = segments.count * kTileCols;
  if (varies) std::fill_n(w_.total, count * panel_sums, 0.0F);
  if (w_.chunks != nullptr) std::fill_n(w_.chunks, count * panel_sums, 0.0F);
  for (std::int64_t i = 0; i < count && varies; ++i) {
    const std::int64_t loaded =
        load_segment_scales(d_, column + i * kTileCols, i == 0 ? loaded_scales_ : -1,
                            w_.segment_scales + i * panel_scales);
    if (i == 0) loaded_scales_ = loaded;
  }
  if (count == 1) {
    finisher_.set_columns(column, std::min(kTileCols, d_.n - column));
    finisher_.prefetch_terms();
    finisher_.prefetch_output(r0, r1 - r0);
  }
  const Chunk all{0, d_.steps, nullptr, nullptr, 0, nullptr, 0, d_.k, true};
  const std::int64_t neighbours = b.strides[0] == 1 ? b.strides[1] : b.strides[0];
  std::int64_t k = 0;
  do {
    const Piece piece = piece_at(k, all);
    const std::int64_t segment = piece.segment;
    d_.unpacked({.tile = {.depth = (piece.k1 - k) * element_,
                          .a = static_cast<const char*>(d_.rows) + r0 * d_.row_bytes + k * element_,
                          .lda = d_.transposed != nullptr ? d_.step_bytes : d_.row_bytes,
                          .b = weight_at(k, column),
                          .ldb = neighbours * element_bytes(b.dtype),
                          .c = w_.sums,
                          .add = false,
                          .ahead = next,
                          .first_level = first_level_,
                          .total = varies ? w_.total : nullptr,
                          .group = piece.group * element_,
                          .scale_a = varies ? segments.scale_a + segment * segments.stride +
                                                  r0 * segments.row_stride
                                            : nullptr,
                          .scale_a_stride = segments.row_stride,
                          .scale_a_group_stride = segments.stride,
                          .scale_b = varies ? w_.segment_scales + segment * kTileCols : nullptr,
                          .shift = d_.shift + r0 * d_.shift_stride,
                          .shift_stride = d_.shift_stride,
                          .flip = d_.flip,
                          .table = &table_},
                 .rows = r1 - r0,
                 .columns = std::min(count * kTileCols, d_.n - column),
                 .panel_sums = panel_sums,
                 .panel_scales = panel_scales,
                 .sums_out = shifted ? w_.panel_sums : nullptr,
                 .gathered = static_cast<char*>(w_.panel)});
    if (piece.ends_chunk) add_chunk(0, count * panel_sums);
    k = piece.k1;
  } while (k < d_.k);
  for (std::int64_t i = 0; i < count; ++i) {
    column_ = column + i * kTileCols;
    columns_ = std::min(kTileCols, d_.n - column_);
    column_sums_ = strip_sums(i);
    if (count > 1) finisher_.set_columns(column_, columns_);
    outliers_.set_tiles(column_, columns_, r0, r1 - r0);
    finish(r0, r1, i * panel_sums);
  }
}

// A chunk of `count` panels, of [K, N] a few rows at a time.
void DotWorker::pack_strip(std::int64_t first, std::int64_t count, const Chunk& chunk) noexcept {
  const MatrixView& b = d_.p->b.data;
  const PanelForm& form = d_.path.on_the_fly->form;
  const bool by_rows = lies_in_rows(d_.p->b);
  const std::int64_t depth = by_rows ? kPackedDepth : chunk.k1 - chunk.k0;
  for (std::int64_t k = chunk.k0; k < chunk.k1; k += depth) {
    const std::int64_t end = std::min(k + depth, chunk.k1);
    RowsAhead ahead = rows_ahead(first, count, k);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t panel = first + i;
      const bool fetches = !by_rows && panel + 1 < packed_.count();
      d_.path.pack(
          {.dtype = b.dtype,
           .b = weight_at(k, panel * kTileCols),
           .stride_k = b.strides[0],
           .stride_n = b.strides[1],
           .depth = end - k,
           .columns = std::min(kTileCols, d_.n - panel * kTileCols),
           .panel = strip_panel(i) + (k - chunk.k0) / form.step * packed_.step_bytes(panel),
           .sums = strip_sums(i),
           .table = &table_,
           .next = fetches ? weight_at(k, (panel + 1) * kTileCols) : nullptr,
           .ahead = ahead.at != nullptr ? &ahead : nullptr});
    }
  }
}

// What is fetched while a strip's rows from k on are packed: later ones, or the next strip's first
// ones; none behind the last strip, or of another weight than [K, N].
RowsAhead DotWorker::rows_ahead(std::int64_t first, std::int64_t count,
                                std::int64_t k) const noexcept {
  if (!lies_in_rows(d_.p->b)) return {};
  const MatrixView& b = d_.p->b.data;
  const std::int64_t later = k + (cache_tuning().packed_rows_ahead);
  const bool leaves = later >= d_.k;
  if (leaves) first += count;
  if (first >= packed_.count()) return {};
  const std::int64_t size = element_bytes(b.dtype);
  const std::int64_t column = first * kTileCols;
  const std::int64_t row = std::min(count * kTileCols, d_.n - column) * size;
  const void* at = weight_at(leaves ? std::min(later - d_.k, d_.k - 1) : later, column);
  return RowsAhead::of(static_cast<const char*>(at), row, b.strides[0] * size, first_level_);
}

char* DotWorker::strip_panel(std::int64_t index) const noexcept {
  const std::int64_t step = kPanelVectors * d_.path.on_the_fly->form.vector_bytes;
  return static_cast<char*>(w_.panel) + index * d_.chunk * step;
}

std::int32_t* DotWorker::strip_sums(std::int64_t index) const noexcept {
  return w_.panel_sums != nullptr ? w_.panel_sums + index * kTileCols : nullptr;
}

void DotWorker::run_strip(std::int64_t first, std::int64_t count, std::int64_t r0,
                          std::int64_t r1) noexcept {
  const std::int64_t depth = d_.path.kernels().form.step;
  ahead_ = {};
  packed_panel_ = fetched_panel_ = -1;
  for (std::int64_t begin = r0; begin < r1; begin += d_.block_rows) {
    const std::int64_t end = std::min(r1, begin + d_.block_rows);
    if (w_.panel_sums != nullptr) std::fill_n(w_.panel_sums, count * kTileCols, 0);
    Chunk chunk{};
    do {
      chunk.end = chunk_end(chunk.step);
      chunk.last = chunk.end == d_.steps;
      chunk.k0 = chunk.step * depth;
      chunk.k1 = std::min(d_.k, chunk.end * depth);
      if (!d_.shares_rows) pack_strip(first, count, chunk);
      for (std::int64_t part = begin; part < end; part += d_.part_rows) {
        run_part(first, count, part, std::min(end, part + d_.part_rows), begin, end == r1, chunk);
      }
      chunk.step = chunk.end;
    } while (!chunk.last);
  }
  place_ = 0;
}

// Rows [r0, r1) by a chunk of `count` panels; sums lie as those of the rows from `block` on do.
void DotWorker::run_part(std::int64_t first, std::int64_t count, std::int64_t r0, std::int64_t r1,
                         std::int64_t block, bool last_rows, Chunk& chunk) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    begin_panel(first + i);
    if (chunk.last) {
      finisher_.set_columns(column_, columns_);
      outliers_.set_tiles(column_, columns_, r0, r1 - r0);
    }
    place_ = (i * d_.block_rows + r0 - block) * kTileCols;
    if (d_.shares_rows) {
      make_shared(chunk, first, count, last_rows);
    } else {
      column_sums_ = strip_sums(i);
      chunk.b = strip_panel(i);
    }
    run_chunk(r0, r1, chunk);
  }
}

// A chunk of the panel at hand, and what is read after it: that of the panel beside it, or, behind
// the last of them, the next chunk of the first, or, with the last rows, what follows the strip.
void DotWorker::make_shared(Chunk& chunk, std::int64_t first, std::int64_t count,
                            bool last_rows) noexcept {
  const bool strip_ends = panel_ + 1 == first + count;
  const bool leaves = strip_ends && chunk.last && last_rows;
  const std::int64_t after = panel_ + 1 < packed_.count() ? panel_ + 1 : -1;
  const std::int64_t begins = chunk.last ? 0 : chunk.end;
  look_ahead(chunk, leaves || !strip_ends ? after : first, strip_ends ? begins : chunk.step,
             nullptr);
  chunk.b = direct() ? packed_.at(panel_, chunk.step) : pack_chunk(chunk);
}

}  // namespace octavo::cpu
