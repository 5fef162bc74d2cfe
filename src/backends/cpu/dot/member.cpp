// SPDX-License-Identifier: Apache-2.0
// Rows of A, their scales and zero points, and the segments of K.
#include "backends/cpu/dot/member.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "backends/cpu/dot/panels.hpp"
#include "backends/cpu/dot/tuning.hpp"
#include "core/data/cells.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/grid.hpp"
#include "core/scales/scale_values.hpp"

namespace octavo::cpu {
namespace {

constexpr float kOne = 1.0F;
constexpr std::int64_t kMostSum = (std::int64_t{1} << 31) - 1;
constexpr std::int64_t kLargestWeight = 128;                   // of int8, in magnitude
constexpr std::int64_t kExactProduct = std::int64_t{1} << 52;  // of a zero point and a column's sum

// The scale of an operand that varies along K, if one does.
const ScaleView& varying_scale(const OperandView& operand, Side side) noexcept {
  return operand.scale[varies_along_k(operand.scale[0], side) ? 0 : 1];
}

// One scale for each of `count` rows at column k of A.
void load_scale_column(const ScaleView& scale, std::int64_t k, std::int64_t count,
                       float* out) noexcept {
  const Elements& v = scale.data;
  if (scale.rows == 1) {
    const std::int64_t cell = (scale.col0 + k) / scale.cols;
    const void* first = v.at(scale.row0 * v.strides[0] + cell * v.strides[1]);
    return load_row(v.dtype, first, v.strides[0], count, out);
  }
  for (std::int64_t m = 0; m < count; ++m) out[m] = scale_at(scale, m, k);
}

// How many segments there are, at most: those of the finer grid where its cells make up the
// other's, else those of both, and those that chunks cut. Counting them one by one would take as
// long as K is.
std::int64_t segment_count(const Member& p, std::int64_t k, const KChunks& chunks) noexcept {
  const ScaleView& a = varying_scale(p.a, Side::a);
  const ScaleView& b = varying_scale(p.b, Side::b);
  const bool varies_a = varies_along_k(a, Side::a);
  const bool varies_b = varies_along_k(b, Side::b);
  const auto grid = [k](std::int64_t cell, std::int64_t origin) {
    return cells(origin % cell + k, cell);
  };
  const std::int64_t of_a = varies_a ? grid(a.cols, a.col0) : 0;
  const std::int64_t of_b = varies_b ? grid(b.rows, b.row0) : 0;
  const bool nested = varies_a && varies_b && (a.col0 - b.row0) % std::min(a.cols, b.rows) == 0 &&
                      std::max(a.cols, b.rows) % std::min(a.cols, b.rows) == 0;
  const std::int64_t cut = chunks.several() ? chunks.count : 0;
  return (nested ? std::max(of_a, of_b) : of_a + of_b) + cut;
}

void load_segments(const Member& p, std::int64_t k, const KChunks& chunks, Arena& arena,
                   DotMember& d) noexcept {
  const bool varies_a = varies_along_k(p.a, Side::a);
  const bool varies = varies_a || varies_along_k(p.b, Side::b);
  if (k == 0 || !(varies || chunks.several())) return;
  Segments& s = d.segments;
  s.most = segment_count(p, k, chunks);
  auto* ends = arena.take<std::int64_t>(s.most);
  s.in_chunks = varies && chunks.several();
  auto* ends_chunk = s.in_chunks ? arena.take<bool>(s.most) : nullptr;
  s.ends_chunk = ends_chunk;
  float* scales = varies_a ? arena.take<float>(s.most * d.m) : nullptr;
  s.ends = ends;
  s.scale_a = varies_a ? scales : &kOne;
  s.stride = varies_a ? d.m : 0;
  s.row_stride = varies_a ? 1 : 0;
  if (arena.counting()) return;
  const ScaleView& a = varying_scale(p.a, Side::a);
  std::int64_t chunk = 0;
  for (std::int64_t at = 0; at < k; scales += s.stride, ++s.count) {
    while (chunks[chunk].end <= at) ++chunk;
    if (varies_a) load_scale_column(a, at, d.m, scales);
    at = next_boundary(p, at, chunks[chunk].end);
    *ends++ = at;
    if (ends_chunk != nullptr) *ends_chunk++ = at == chunks[chunk].end;
  }
}

// What is taken away of each row: what the flip added to its bytes, and the zero point where no sum
// of codes less zero points can leave int32; what sums are made of may wrap. Zero points that A's
// codes can be never do.
void load_shifts(const Member& p, Arena& arena, DotMember& d) noexcept {
  const bool asymmetric = p.a.azp.defined();
  auto* shift = arena.take<std::int32_t>(asymmetric ? d.m : 1);
  auto* azp = asymmetric ? arena.take<std::int32_t>(d.m) : nullptr;
  const bool is_signed = p.a.data.dtype == DType::int8;
  const ARows rows = d.path.integers->rows;
  const bool unsigned_a = rows == ARows::unsigned_bytes;
  d.flip = rows != ARows::words && is_signed == unsigned_a ? 0x80 : 0;
  const std::int32_t added = d.flip == 0 ? 0 : unsigned_a ? 128 : -128;
  d.shift = shift;
  d.shift_stride = asymmetric ? 1 : 0;
  if (arena.counting()) return;
  std::fill_n(shift, asymmetric ? d.m : 1, added);
  if (!asymmetric) return;
  const std::int64_t low = is_signed ? -128 : 0;
  const std::int64_t depth = std::max<std::int64_t>(d.k, 1);
  const std::int64_t furthest = kMostSum / kLargestWeight / depth;
  std::int64_t least = low, most = low;
  for (std::int64_t m = 0; m < d.m; ++m) {
    const std::int64_t value = load_int(p.a.azp, m, 0);
    azp[m] = static_cast<std::int32_t>(value);
    least = std::min(least, value);
    most = std::max(most, value);
  }
  const bool narrow = most - low <= furthest && low + 255 - least <= furthest;
  d.near_azp = std::max(std::abs(least), std::abs(most)) < kExactProduct / kLargestWeight / depth;
  if (!narrow) d.azp = azp;
  for (std::int64_t m = 0; m < d.m && narrow; ++m) shift[m] += azp[m];
}

// The scales of 64 columns, of which `count` exist, beginning at column `first` of the grid: `row`
// is the row of scales.
void load_scale_row(const ScaleView& scale, std::int64_t row, std::int64_t first,
                    std::int64_t count, float* out) noexcept {
  const Elements& v = scale.data;
  if (scale.cols == 1) {
    const void* at = v.at(row * v.strides[0] + first * v.strides[1]);
    load_row(v.dtype, at, v.strides[1], count, out);
    std::fill(out + count, out + kPanelWidth, 0.0F);
    return;
  }
  for (std::int64_t j = 0; j < kPanelWidth;) {
    const std::int64_t cell = std::min(first + j, first + count - 1) / scale.cols;
    const std::int64_t end =
        std::min(kPanelWidth, std::max((cell + 1) * scale.cols - first, j + 1));
    std::fill(out + j, out + end, load_float(v, row, cell));
    j = end;
  }
}

std::int64_t panel_count(const DotMember& d) noexcept {
  return (d.n + kPanelWidth - 1) / kPanelWidth;
}

// Bytes of a step of a whole panel.
std::int64_t step_bytes(const DotMember& d) noexcept {
  return d.path.kernels().form.vector_bytes * kPanelVectors;
}

// More rows than are read beside weights that lie where they are, by kernels that fetch them.
bool has_many_rows(const DotMember& d) noexcept {
  return d.path.kernels().fetches_rows && d.m > kMostUnpackedRows;
}

// Is a weight packed on the fly for several panels at once? The rows of one [K, N] come faster so;
// many rows of A come less often.
bool packs_strips(const DotMember& d) noexcept {
  return d.unpacked == nullptr && d.path.pack != nullptr && d.segments.most == 0 &&
         (lies_in_rows(d.p->b) || has_many_rows(d));
}

const PackedStrip& packed_strip(const DotMember& d) noexcept {
  if (!d.path.kernels().fetches_rows) return cache_tuning().packed;
  return has_many_rows(d) ? cache_tuning().many : cache_tuning().fetching;
}

// Are there more of A's rows, for kernels that fetch them, than the second-level cache keeps from
// one panel to the next? Some panels then meet a chunk of them before the next chunk. What would be
// decoded or packed once for all rows is not to be made more often.
bool shares_rows(const DotMember& d, std::int64_t rows) noexcept {
  const bool several_chunks = d.steps > cache_tuning().chunk_bytes / step_bytes(d);
  const std::int64_t counted =
      std::clamp<std::int64_t>(rows, 1, cache_tuning().cached_bytes);  // of any number
  const bool decoded = d.p->b.packed != nullptr || rows <= cache_tuning().sharing_alone;
  return d.path.kernels().fetches_rows && d.unpacked == nullptr && d.segments.most == 0 &&
         !packs_strips(d) && d.n >= cache_tuning().sharing_panels * kPanelWidth &&
         (d.path.direct != nullptr || (several_chunks && decoded && d.path.integers == nullptr)) &&
         d.k > cache_tuning().cached_bytes / (counted * element_bytes(d.path.rows));
}

// Rows of a block that panels share.
std::int64_t sharing_rows(const DotMember& d) noexcept {
  if (d.m <= cache_tuning().sharing_alone) return d.m;
  const std::int64_t unit = d.path.kernels().register_rows;
  const std::int64_t blocks =
      (d.m + cache_tuning().sharing_block - 1) / cache_tuning().sharing_block;
  return ((d.m + blocks - 1) / blocks + unit - 1) / unit * unit;
}

// In steps of K; `strip` panels.
std::int64_t longest_chunk(const DotMember& d, std::int64_t strip) noexcept {
  const std::int64_t step = step_bytes(d);
  if (d.shares_rows) {
    const std::int64_t depth = d.path.kernels().form.step * element_bytes(d.path.rows);
    return std::min(cache_tuning().shared_bytes / (d.block_rows * depth),
                    cache_tuning().chunk_bytes / step);
  }
  // A panel alone is a strip, too, where sums that pass through tiles cost more than packing ahead.
  const bool strips = packs_strips(d) && d.path.kernels().fetches_rows;
  if (strip > 1 || strips) return packed_strip(d).bytes / (step * strip);
  const std::int64_t whole =
      d.m > cache_tuning().few_rows ? cache_tuning().chunk_bytes : cache_tuning().chunk_bytes / 2;
  const std::int64_t on_the_fly = d.m > cache_tuning().many_rows  ? cache_tuning().chunk_bytes
                                  : d.m > cache_tuning().few_rows ? cache_tuning().packed_bytes
                                                                  : cache_tuning().packed_bytes / 2;
  return (d.path.pack != nullptr ? on_the_fly : whole) / step;
}

// Steps that chunks are multiples of, where groups of scales do not say more.
std::int64_t chunk_unit(const DotMember& d) noexcept {
  return std::max(kInt8Form.step, d.path.kernels().block);
}

// A chunk of all of K.
std::int64_t whole_chunk(const DotMember& d) noexcept {
  return (d.steps + chunk_unit(d) - 1) / chunk_unit(d) * chunk_unit(d);
}

// Sums of panels that transposed rows meet one after the other.
std::int64_t transposed_sums(const DotMember& d) noexcept {
  return d.k > cache_tuning().cached_bytes / (d.m * element_bytes(d.path.rows))
             ? cache_tuning().many_transposed_sums
             : cache_tuning().transposed_sums;
}

// Panels whose sums, and scales of so many segments, stay in the caches.
std::int64_t strip_panels(const DotMember& d, std::int64_t segments) noexcept {
  const std::int64_t panels = panel_count(d);
  if (d.transposed != nullptr) {
    return std::clamp<std::int64_t>(transposed_sums(d) / (d.block_rows * kPanelWidth), 1, panels);
  }
  if (packs_strips(d)) {
    const PackedStrip& strip = packed_strip(d);
    const std::int64_t fitting = strip.sums / (d.block_rows * kPanelWidth);
    return std::clamp<std::int64_t>(std::min(fitting, strip.panels), 1, panels);
  }
  if (d.shares_rows) {
    return std::clamp<std::int64_t>(cache_tuning().sharing_sums / (d.block_rows * kPanelWidth), 1,
                                    panels);
  }
  if (d.unpacked == nullptr || d.p->b.data.strides[0] == 1) return 1;
  // Where the first level takes rows of K, several of a strip are to fit it (rows_together), also
  // of the widest one, whose sums are those of one row of A.
  const std::int64_t fewest = cache_tuning().fewest_at_once;
  const std::int64_t most = cache_tuning().rows_at_once * element_bytes(d.p->b.data.dtype);
  const std::int64_t sums =
      cache_tuning().strip_sums / (std::clamp(d.m, fewest, most) * kPanelWidth);
  const std::int64_t scales =
      cache_tuning().strip_scales / (std::max<std::int64_t>(segments, 1) * kPanelWidth);
  return std::clamp<std::int64_t>(std::min(sums, scales), 1, panels);
}

// Bytes of a transposed step of so many rows: an odd number of lines, so that steps of a register
// do not meet in one set of the first-level cache.
std::int64_t transposed_step(std::int64_t rows) noexcept {
  return (rows * kStepBytes + 63) / 64 * 64 | 64;
}

// Bytes from one copied row to the next: an odd number of lines, so that the rows of a tile do not
// meet in one set of the first-level cache, and stretches of many rows not in few of its 64.
std::int64_t copied_row(std::int64_t bytes) noexcept {
  const std::int64_t lines = (bytes + 63) / 64 | 1;
  return (lines % 64 == 1 ? lines + kMoreLines : lines) * 64;
}

}  // namespace

const TransposedUnpacked* transposed_unpacked(const Member& p, const MatmulOptions& options,
                                              const DotPath& path) noexcept {
  const TransposedUnpacked* transposed = path.transposed;
  if (p.b.packed != nullptr || transposed == nullptr || p.b.data.strides[0] != 1) return nullptr;
  const auto* quantize = p.a.quantize;
  const bool shifts = p.a.azp.defined() || (quantize != nullptr && quantize->spec.azp);
  const bool varies = varies_along_k(p.b, Side::b) || varies_along_k(p.a, Side::a) ||
                      sum_chunks(p, options).several();
  const bool few = p.a.data.shape[0] <= transposed->most_rows;
  return few && !shifts && !varies ? transposed : nullptr;
}

UnpackedKernel unpacked_kernel(const Member& p, const MatmulOptions& options,
                               const DotPath& path) noexcept {
  const MatrixView& b = p.b.data;
  if (p.b.packed != nullptr) return nullptr;
  if (path.unpacked == nullptr || path.unpacked->unpacked == nullptr) return nullptr;
  if (b.strides[0] != 1 && b.strides[1] != 1) return nullptr;
  // Lengths alone decide, not where groups begin: a workspace is reserved for any member.
  std::int64_t group = 0;
  for (const ScaleView& scale : p.a.scale) {
    if (varies_along_k(scale, Side::a)) group = std::gcd(group, scale.cols);
  }
  for (const ScaleView& scale : p.b.scale) {
    if (varies_along_k(scale, Side::b)) group = std::gcd(group, scale.rows);
  }
  const KChunks chunks = sum_chunks(p, options);
  if (chunks.several()) group = std::gcd(group, shard_unit(chunks.inner, chunks.cell));
  return path.unpacked->unpacked(
      {.weight = b.dtype,
       .order = b.strides[0] == 1 ? UnpackedOrder::along_k : UnpackedOrder::along_n,
       .rows = p.a.data.shape[0],
       .group = group * element_bytes(path.rows),
       .first_level = cache_tuning().first_level});
}

void lengthen(DotMember& d) noexcept {
  const std::int64_t panels = panel_count(d);
  if (d.transposed != nullptr) {
    const std::int64_t sums = d.block_rows * kPanelWidth;
    d.strip = std::min((transposed_sums(d) + sums - 1) / sums, panels);
    return;
  }
  if (d.unpacked != nullptr) {
    d.strip = strip_panels(d, 1);
    return;
  }
  if (packs_strips(d)) {  // of fewer rows more panels, whose sums take no more
    const PackedStrip& strip = packed_strip(d);
    const std::int64_t sums = d.block_rows * kPanelWidth;
    d.strip = std::min({(strip.sums + sums - 1) / sums, strip.panels, panels});
  } else if (d.shares_rows) {
    d.shares_rows = false;
    d.strip = 1;
    d.block_rows = std::min(d.m, cache_tuning().block_rows);
  }
  d.chunk = std::min(whole_chunk(d), longest_chunk(d, d.strip) + 1);
}

bool lengthen_shared(DotMember& d) noexcept {
  const std::int64_t few = std::min(d.m, cache_tuning().sharing_alone);
  if (!shares_rows(d, d.m) && !shares_rows(d, few)) return false;
  const std::int64_t panels = panel_count(d);
  const std::int64_t sums = few * kPanelWidth;
  d.shares_rows = true;
  d.block_rows = few;
  d.strip = std::min((cache_tuning().sharing_sums + sums - 1) / sums, panels);
  d.chunk = std::min(whole_chunk(d), cache_tuning().chunk_bytes / step_bytes(d) + 1);
  return true;
}

void describe(const MatmulOptions& options, const ExecContext& context, Arena& arena,
              DotMember& d) noexcept {
  const Member& p = *d.p;
  d.m = p.a.data.shape[0];
  d.k = p.a.data.shape[1];
  d.n = weight_columns(p.b);
  const PanelForm& form = d.path.kernels().form;
  d.steps = (d.k + form.step - 1) / form.step;
  const KChunks sums = sum_chunks(p, options);
  d.block_rows = std::min(d.m, cache_tuning().block_rows);
  d.row_scales = load_rows(p, arena);
  d.outliers = gather_outliers(p, options, arena, context);
  load_segments(p, d.k, sums, arena, d);
  if (d.path.integers != nullptr) load_shifts(p, arena, d);
  d.unpacked = unpacked_kernel(p, options, d.path);
  d.transposed = d.unpacked == nullptr ? transposed_unpacked(p, options, d.path) : nullptr;
  if (d.transposed != nullptr) {
    d.unpacked = d.transposed->run;
    d.block_rows = transposed_rows(d.m);
  }
  d.shares_rows = shares_rows(d, d.m);
  if (d.shares_rows) d.block_rows = sharing_rows(d);
  if (packs_strips(d)) d.block_rows = std::min(d.m, packed_strip(d).block_rows);
  d.strip = strip_panels(d, d.segments.most);
  const std::int64_t most = longest_chunk(d, d.strip);
  // A chunk ends where a group of scales does, if that is how long groups are.
  const std::int64_t unit = sums.several() ? shard_unit(d.k, sums.cell) : d.k;
  const std::int64_t boundary = std::min(next_boundary(p, 0, d.k), unit);
  const std::int64_t group = std::max<std::int64_t>(boundary / form.step, 1);
  const std::int64_t whole = d.steps > most && group <= most ? group : chunk_unit(d);
  const std::int64_t fitting = std::max<std::int64_t>(most / whole, 1) * whole;
  const std::int64_t chunks = std::max<std::int64_t>((d.steps + fitting - 1) / fitting, 1);
  d.chunk = ((d.steps + whole - 1) / whole + chunks - 1) / chunks * whole;
  d.single_chunk = chunks == 1;
  if (d.unpacked != nullptr) {
    d.chunk = d.steps;
    d.single_chunk = true;
  }
  d.part_rows = d.block_rows;
  if (packs_strips(d) && has_many_rows(d)) {
    const std::int64_t row = d.chunk * form.step * element_bytes(d.path.rows);  // 0 where K is
    const std::int64_t tile = d.path.kernels().max_rows.back();
    const std::int64_t parts = cache_tuning().part_bytes / std::max<std::int64_t>(row * tile, 1);
    d.part_rows = std::max<std::int64_t>(parts, 1) * tile;
  }
  if (d.transposed != nullptr) {
    d.converted = true;
    d.row_bytes = kStepBytes;
    d.step_bytes = transposed_step(d.m);
    return;
  }
  const MatrixView& a = p.a.data;
  const std::int64_t size = element_bytes(d.path.rows);
  const bool cached = d.unpacked != nullptr || (d.path.kernels().fetches_rows &&
                                                d.n >= cache_tuning().copied_panels * kPanelWidth);
  const bool meet = cached && d.m > 1 && a.strides[0] * size % cache_tuning().meeting_stride == 0;
  d.converted = a.dtype != d.path.rows || (a.strides[1] != 1 && d.k > 1) || meet;
  d.row_bytes = d.converted ? copied_row(d.k * size) : a.strides[0] * size;
  if (!d.converted) d.rows = a.data;
  if (d.k == 0) d.row_bytes = 0;  // rows without elements may have no memory
}

std::int64_t load_segment_scales(const DotMember& d, std::int64_t column, std::int64_t loaded,
                                 float* out) noexcept {
  const std::int64_t count = std::min(kPanelWidth, d.n - column);
  const ScaleView& b = varying_scale(d.p->b, Side::b);
  const std::int64_t segments = d.segments.count;
  if (!varies_along_k(b, Side::b)) {
    if (loaded != 0) std::fill_n(out, segments * kPanelWidth, 1.0F);
    return 0;
  }
  const std::int64_t first = b.col0 + column;
  const std::int64_t cell = b.cols == kWholeExtent ? 0 : first / b.cols;
  const bool one = b.cols == kWholeExtent || (first + count - 1) / b.cols == cell;
  if (one && cell == loaded) return cell;
  std::int64_t row = b.row0 / b.rows;
  for (std::int64_t s = 0, k = b.row0; s < segments; k = b.row0 + d.segments.ends[s++]) {
    if (k == (row + 1) * b.rows) ++row;
    if (one) {
      std::fill_n(out + s * kPanelWidth, kPanelWidth, load_float(b.data, row, cell));
    } else {
      load_scale_row(b, row, first, count, out + s * kPanelWidth);
    }
  }
  return one ? cell : -1;
}

}  // namespace octavo::cpu
