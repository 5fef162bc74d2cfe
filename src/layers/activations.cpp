// SPDX-License-Identifier: Apache-2.0
// Quantising through the products' own prologue, a block of rows at a time where a rule allows it.
#include "layers/activations.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "backends/host/prologue.hpp"
#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"

namespace octavo {
namespace {

constexpr std::int64_t kBlockRows = 16;  // from float32 sums to codes inside a second-level cache

bool one_for_all_rows(const ScaleView& scale) noexcept {
  return scale.kind != ScaleView::Kind::tensor || scale.rows == kWholeExtent;
}

// A scale of one row of cells for each row.
ScaleView row_scales(const ScaleView& like, Arena& arena, std::int64_t rows) noexcept {
  const std::int64_t across = like.data.shape[1];
  ScaleView scale = like;
  scale.rows = 1;
  scale.data = matrix_view(arena.take<float>(rows * across), like.data.dtype, rows, across);
  return scale;
}

// Row `row` of a matrix to row `place` of a row-major one of its width.
void copy_row(const TensorView& from, std::int64_t row, const TensorView& to,
              std::int64_t place) noexcept {
  const std::int64_t cols = to.shape[1];
  if (from.strides[1] != 1 && cols > 1) {
    return copy_elements(from.slice(0, row, row + 1), to.slice(0, place, place + 1));
  }
  if (cols == 0) return;
  std::memcpy(to.at(place * to.strides[0]), from.at(row * from.strides[0]),
              static_cast<std::size_t>(cols * element_bytes(to.dtype)));
}

void copy_scale_row(const ScaleView& from, std::int64_t row, const ScaleView& to,
                    std::int64_t place) noexcept {
  const std::int64_t cell = one_for_all_rows(from) ? 0 : row / from.rows;
  copy_row(from.data, cell, to.data, place);
}

void copy_azp(const TensorView& from, std::int64_t row, const TensorView& to,
              std::int64_t place) noexcept {
  store_int32(to.data, place * to.strides[0], static_cast<std::int32_t>(load_int(from, row, 0)));
}

}  // namespace

Operand Rows::outline(std::int64_t count) const noexcept {
  Operand a;
  a.data = data;
  a.data.data = nullptr;
  a.data.shape[0] = count;
  a.scale[0] = scale;
  if (scale.kind == ScaleView::Kind::tensor && scale.rows == 1) a.scale[0].data.shape[0] = count;
  a.azp = azp;
  if (azp.defined()) a.azp.shape[0] = count;
  return a;
}

void Rows::place(std::int64_t begin, Operand& a) const noexcept {
  a.data.data = data.at(begin * data.strides[0]);
  if (scale.kind == ScaleView::Kind::tensor) {
    const bool own = scale.rows == 1;
    a.scale[0].data.data = own ? scale.data.at(begin * scale.data.strides[0]) : scale.data.data;
    if (!own && scale.rows != kWholeExtent) a.scale[0].row0 = begin;
  }
  if (azp.defined()) a.azp.data = azp.at(begin * azp.strides[0]);
}

bool rows_apart(const ActivationQuant& rule) noexcept {
  return rule.vectorwise || rule.static_scale > 0.0F ||
         scale_grid(rule.spec.granularity, Side::a).rows == 1;
}

Result<Rows> quantise(const Backend& backend, const ActivationQuant& rule, const TensorView& x,
                      Arena& arena, const ExecContext& context) noexcept {
  Member member;
  member.a.data = x;
  member.a.quantise = &rule;
  OCTAVO_TRY(quantise_activations(backend, member, arena, context));
  return Rows{member.a.data, member.a.scale[0], member.a.azp};
}

Rows gather(const Rows& tokens, const Routing& routing, Arena& arena,
            const ExecContext& context) noexcept {
  const std::int64_t rows = routing.rows();
  const std::int64_t cols = tokens.data.shape[1];
  const std::int64_t bytes = element_bytes(tokens.data.dtype);
  Rows r = tokens;
  r.data = matrix_view(arena.take<char>(rows * cols * bytes), tokens.data.dtype, rows, cols);
  const bool scales = !one_for_all_rows(tokens.scale);
  if (scales) r.scale = row_scales(tokens.scale, arena, rows);
  const bool azps = tokens.azp.defined() && tokens.azp.strides[0] != 0;
  if (azps) r.azp = matrix_view(arena.take<std::int32_t>(rows), DType::int32, rows, 1);
  if (arena.counting()) return r;
  const auto copy_route = [&](std::int64_t row) {
    const std::int64_t token = routing.routes[static_cast<std::size_t>(row)] / routing.slots;
    copy_row(tokens.data, token, r.data, row);
    if (scales) copy_scale_row(tokens.scale, token, r.scale, row);
    if (azps) copy_azp(tokens.azp, token, r.azp, row);
  };
  for_each_band(context, bands_of(context, rows, rows * cols * bytes / 8), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t row = begin; row < end; ++row) copy_route(row);
                });
  return r;
}

Result<TensorView> apply_factors(const Backend& backend, const TensorView& rows,
                                 const Routing& routing, Arena& arena,
                                 const ExecContext& context) noexcept {
  const std::int64_t count = rows.shape[0];
  const std::int64_t cols = rows.shape[1];
  auto* factors = arena.take<float>(count);
  RescaleProblem p;
  p.source = rows;
  p.out = matrix_view(arena.take<char>(count * cols * element_bytes(rows.dtype)), rows.dtype, count,
                      cols);
  if (arena.counting()) return p.out;
  for (std::int64_t r = 0; r < count; ++r) {
    factors[r] =
        routing.factors[static_cast<std::size_t>(routing.routes[static_cast<std::size_t>(r)])];
  }
  p.scales[0] = {ScaleView::Kind::tensor,
                 1.0F,
                 matrix_view(factors, DType::float32, count, 1),
                 1,
                 kWholeExtent,
                 0,
                 0};
  OCTAVO_TRY(backend.passes.rescale(p, context));
  return p.out;
}

Status Activation::take(Arena& arena, const ExecContext& context) noexcept {
  if (rule_ != nullptr && rows_apart(*rule_)) return take_blocks(arena, context);
  const DType dtype = rule_ != nullptr ? DType::float32 : dtype_;
  floats_ =
      matrix_view(arena.take<char>(rows_ * inner_ * element_bytes(dtype)), dtype, rows_, inner_);
  result_ = Rows{floats_, {}, {}};
  if (rule_ == nullptr || !arena.counting()) return {};
  OCTAVO_TRY_ASSIGN(result_, quantise(backend_, *rule_, floats_, arena, context));
  return {};
}

// The shapes of what the rule makes are those that it would make of a block.
Status Activation::take_blocks(Arena& arena, const ExecContext& context) noexcept {
  bands_ = bands_of(context, (rows_ + kBlockRows - 1) / kBlockRows, rows_ * inner_ * 4);
  Arena counter(nullptr);
  (void)counter.take<float>(kBlockRows * inner_);
  const TensorView block = matrix_view(nullptr, DType::float32, kBlockRows, inner_);
  OCTAVO_TRY_ASSIGN(const Rows made, quantise(backend_, *rule_, block, counter, context));
  band_bytes_ = static_cast<std::int64_t>(counter.used());
  scratch_ = arena.take<char>(band_bytes_ * bands_);
  const DType dtype = made.data.dtype;
  result_.data =
      matrix_view(arena.take<char>(rows_ * inner_ * element_bytes(dtype)), dtype, rows_, inner_);
  result_.scale = row_scales(made.scale, arena, rows_);
  if (made.azp.defined()) {
    result_.azp = matrix_view(arena.take<std::int32_t>(rows_), DType::int32, rows_, 1);
  }
  return {};
}

Status Activation::run(const TensorView& h, Arena& arena, const ExecContext& context) noexcept {
  if (rule_ != nullptr && rows_apart(*rule_)) return run_blocks(h, context);
  OCTAVO_TRY(backend_.passes.silu_and_mul({.x = h, .out = floats_}, context));
  if (rule_ == nullptr) return {};
  OCTAVO_TRY_ASSIGN(result_, quantise(backend_, *rule_, floats_, arena, context));
  return {};
}

Status Activation::run_blocks(const TensorView& h, const ExecContext& context) noexcept {
  Status first;
  std::mutex joining;
  for_each_band(
      context, bands_, rows_, [&](std::int64_t band, std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; r += kBlockRows) {
          Status status =
              run_block(h, r, std::min(end, r + kBlockRows), scratch_ + band * band_bytes_);
          if (status.ok()) continue;
          const std::lock_guard lock(joining);
          first = std::move(status);
        }
      });
  return first;
}

Status Activation::run_block(const TensorView& h, std::int64_t begin, std::int64_t end,
                             char* scratch) const noexcept {
  const ExecContext alone{.executor = &serial_executor()};
  Arena arena(scratch);
  const std::int64_t rows = end - begin;
  const TensorView floats =
      matrix_view(arena.take<float>(kBlockRows * inner_), DType::float32, rows, inner_);
  OCTAVO_TRY(backend_.passes.silu_and_mul({.x = h.slice(0, begin, end), .out = floats}, alone));
  ActivationQuant rule = *rule_;
  rule.codes = result_.data.slice(0, begin, end);
  rule.scales = {};
  OCTAVO_TRY_ASSIGN(const Rows made, quantise(backend_, rule, floats, arena, alone));
  for (std::int64_t r = 0; r < rows; ++r) {
    copy_scale_row(made.scale, r, result_.scale, begin + r);
    if (result_.azp.defined()) copy_azp(made.azp, r, result_.azp, begin + r);
  }
  return {};
}

}  // namespace octavo
