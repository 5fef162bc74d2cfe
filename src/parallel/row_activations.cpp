// SPDX-License-Identifier: Apache-2.0
// Codes of a rank's columns under the scales of whole rows (specification section 11):
//
//   no rule                          x itself
//   scales of groups of K            the rank's own: groups do not cross its borders
//   a static scale                   given; one flag a row shows what is not finite
//   dynamic, a token's or tensor's   the ranks' largest, whose bits are those of the largest
//                                    magnitude's: a scale grows with it, and NaN beats all
//   with zero points                 those of a row of two: the ranks' least and largest elements
//   LLM.int8                         columns are outliers by themselves; the ranks' largest absmax
//                                    stands beside a row as one element more
//   scales that are not float32, a   x of all ranks, quantised on each
//   rule that refuses NaN in words
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "backends/backend.hpp"
#include "core/data/matrix.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/rotate.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"
#include "parallel/gather.hpp"
#include "parallel/row_parts.hpp"

namespace octavo {
namespace {

constexpr float kLeastScale = 0x1p-126F;

QuantizeOptions options_of(const QuantizeSpec& spec) {
  return {.dtype = spec.dtype,
          .granularity = spec.granularity,
          .azp = spec.azp,
          .scale_ub = spec.scale_ub,
          .min_scale = spec.min_scale,
          .qmax = spec.qmax,
          .rounding = spec.rounding,
          .scale_dtype = spec.scale_dtype,
          .non_finite = spec.non_finite,
          .overflow = spec.overflow,
          .widen = spec.widen};
}

CarriedScale carried(const Tensor& scale, const ScaleGrid& grid) {
  return {ScaleKind::tensor, 1.0F, scale.view(), grid.rows, grid.cols, 0, 0};
}

void take(RowActivations& to, const Quantized& q) {
  to.codes = q.data.view();
  to.scale = carried(q.scale, q.grid);
  to.azp = q.azp.view();
  to.memory.insert(to.memory.end(), {q.data, q.scale, q.azp});
}

// The largest on any rank; NaN where one has it, as the bits of one that has no sign.
void take_largest(const RowParallelLinear::Impl& layer, const Tensor& scale) {
  auto* values = scale.data_as<float>();
  for (std::int64_t i = 0; i < scale.numel(); ++i) values[i] = std::abs(values[i]);
  layer.ranks->all_reduce(Reduction::max_int32, scale.data(), scale.numel());
}

// A row whose elements are all 0 on this rank must not win by the scale 1 of an empty range. Where
// they are 0 on all of them, any scale gives the same codes and sums.
Quantized with_largest_scale(const RowParallelLinear::Impl& layer, const TensorView& x,
                             QuantizeOptions o, const ExecContext& context) {
  o.min_scale = std::max(o.min_scale, kLeastScale);
  const Quantized own = compute_scale(x, o, context);
  take_largest(layer, own.scale);
  o.scale = Scale(own.scale, o.granularity);
  return quantize(x, o, context);
}

// float32 numbers as integers of their order, and back.
std::int32_t ordered(std::int32_t bits) { return bits >= 0 ? bits : bits ^ 0x7FFFFFFF; }

// Least and largest elements of cells on all ranks, [cells, 2]: of a row, or of all that there is.
// NaN where an element is not finite.
Tensor ranges_of_all(const RowParallelLinear::Impl& layer, const TensorView& x, bool by_row,
                     const ExecContext& context) {
  const std::int64_t cells = by_row ? x.shape[0] : 1;
  constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::min();
  // Of a cell: its largest element, its negated least one, whether one is not finite.
  std::vector<std::int32_t> most(static_cast<std::size_t>(3 * cells), kNone);
  const Tensor floats = copy(x, DType::float32, context.stream);
  const auto* value = floats.data_as<const float>();
  for (std::int64_t m = 0; m < x.shape[0]; ++m) {
    std::int32_t* cell = &most[static_cast<std::size_t>(by_row ? 3 * m : 0)];
    for (std::int64_t k = 0; k < x.shape[1]; ++k, ++value) {
      if (!std::isfinite(*value)) {
        cell[2] = 1;
        continue;
      }
      cell[0] = std::max(cell[0], ordered(std::bit_cast<std::int32_t>(*value)));
      cell[1] = std::max(cell[1], ordered(std::bit_cast<std::int32_t>(-*value)));
    }
  }
  layer.ranks->all_reduce(Reduction::max_int32, most.data(), std::ssize(most));
  const Tensor ranges = Tensor::empty(DType::float32, {cells, 2});
  auto* to = ranges.data_as<float>();
  for (std::size_t i = 0; i < most.size(); i += 3, to += 2) {
    const auto number = [&](std::int32_t bits) {
      if (most[i + 2] == 1) return std::numeric_limits<float>::quiet_NaN();
      return bits == kNone ? 0.0F : std::bit_cast<float>(ordered(bits));
    };
    to[0] = number(most[i]);
    to[1] = -number(most[i + 1]);
  }
  return ranges;
}

Quantized with_zero_points(const RowParallelLinear::Impl& layer, const TensorView& x,
                           QuantizeOptions o, const ExecContext& context) {
  const bool by_row = scale_grid(o.granularity, Side::a).rows != kWholeExtent;
  const Quantized of_all = compute_scale(ranges_of_all(layer, x, by_row, context), o, context);
  o.scale = Scale(of_all.scale, o.granularity);
  o.azp_in = of_all.azp.view();
  return quantize(x, o, context);
}

// Integers of a static scale cannot show what is not finite: the row's scale does.
Quantized with_static_scale(const RowParallelLinear::Impl& layer, const TensorView& x,
                            QuantizeOptions o, float scale, std::int32_t azp,
                            const ExecContext& context) {
  const Tensor zero_point = Tensor::empty(DType::int32, {1, 1});
  *zero_point.data_as<std::int32_t>() = azp;
  o.scale = scale;
  if (o.azp) o.azp_in = zero_point.view();
  Quantized q = quantize(x, o, context);
  const bool shows = is_integer8(o.dtype) && o.non_finite == NonFinite::propagate;
  if (!shows) return q;
  const Quantized flags =
      compute_scale(x, {.dtype = DType::int8, .granularity = per_token()}, context);
  take_largest(layer, flags.scale);
  auto* of_row = flags.scale.data_as<float>();
  for (std::int64_t m = 0; m < flags.scale.numel(); ++m) {
    if (!std::isnan(of_row[m])) of_row[m] = scale;
  }
  q.scale = flags.scale;
  q.grid = flags.grid;
  return q;
}

// All of x [M, K], from the ranks' columns.
Tensor gathered(const RowParallelLinear::Impl& layer, const TensorView& x) {
  std::vector<std::int64_t> ends;
  for (int r = 0; r < layer.size(); ++r) {
    ends.push_back(shard_range(layer.k, r, layer.size(), layer.cell).end);
  }
  return gather_columns(*layer.ranks, x, ends);
}

// Columns of a list that lie in a range, counted from where it begins.
std::vector<std::int64_t> within(const ColumnList& list, const ShardRange& range) {
  std::vector<std::int64_t> columns;
  for (std::int64_t i = 0; i < list.count; ++i) {
    const std::int64_t k = list[i];
    if (k >= range.begin && k < range.end) columns.push_back(k - range.begin);
  }
  return columns;
}

// What a product would quantise of x, of which the rank keeps some columns.
Status quantize_as_product(const ActivationQuant& rule, const Tensor& x, const ShardRange& kept,
                           const LinearOptions& options, const ExecContext& context,
                           RowActivations& result) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kRowParallel, x.device(), options.backend));
  Member member;
  member.a.data = x;
  member.a.quantize = &rule;
  Arena counter(nullptr);
  Member counted = member;
  OCTAVO_TRY(backend->passes.quantize_activations(counted, options.matmul, counter, context));
  const std::array<std::int64_t, 1> bytes{static_cast<std::int64_t>(counter.used()) + 64};
  OCTAVO_TRY_ASSIGN(const Tensor block,
                    Tensor::try_empty(kRowParallel, DType::uint8, bytes, context.place({})));
  Arena arena(block.data());
  OCTAVO_TRY(backend->passes.quantize_activations(member, options.matmul, arena, context));
  const auto tensor = [](const MatrixView& view) { return static_cast<TensorView>(view); };
  result.memory.insert(result.memory.end(), {block, x});
  result.codes = tensor(member.a.data).slice(1, kept.begin, kept.end);
  const ScaleView& s = member.a.scale[0];
  const std::int64_t rows = s.rows == 1 ? x.size(0) : 1;
  result.scale = {s.kind, s.number, tensor(MatrixView(s.data, rows, 1)), s.rows, s.cols,
                  s.row0, s.col0};
  if (member.a.azp.defined()) result.azp = tensor(member.a.azp);
  const Outliers& o = member.epilogue.outliers;
  result.x = x.view().slice(1, kept.begin, kept.end);
  result.outliers = within(o.columns, kept);
  result.whole = within(o.whole, kept);
  result.threshold = o.threshold;
  return {};
}

// The rank's columns, and behind them one of the absmax that all ranks' columns have together: no
// outlier, and the largest of its row.
Status vectorwise(const RowParallelLinear::Impl& layer, const TensorView& x,
                  const LinearOptions& options, const ExecContext& context,
                  RowActivations& result) {
  ActivationQuant rule = *layer.rule;
  if (rule.outlier_columns.defined()) {
    const ColumnList all{rule.outlier_columns.data_as<const std::int64_t>(),
                         rule.outlier_columns.numel()};
    const std::vector<std::int64_t> own = within(all, layer.rows);
    rule.outlier_columns = Tensor::empty(DType::int64, {std::ssize(own)});
    std::ranges::copy(own, rule.outlier_columns.data_as<std::int64_t>());
  }
  const Tensor absmax = int8_vectorwise_quant(x,
                                              {.threshold = rule.outlier_threshold,
                                               .whole_columns = rule.whole_columns,
                                               .by_element = options.matmul.batch_invariant,
                                               .outlier_columns = rule.outlier_columns.view()},
                                              context)
                            .row_absmax;
  take_largest(layer, absmax);
  const std::int64_t own = x.shape[1];
  const Tensor beside = Tensor::empty(x.dtype, {x.shape[0], own + 1});
  OCTAVO_TRY(copy_to(kRowParallel, x, beside.view().slice(1, 0, own), context.stream));
  TensorView column = absmax.view();
  column.rank = 2;
  column.shape[1] = 1;
  column.strides[1] = 1;
  OCTAVO_TRY(copy_to(kRowParallel, column, beside.view().slice(1, own, own + 1), context.stream));
  return quantize_as_product(rule, beside, {0, own}, options, context, result);
}

// R of the rank's columns, of which blocks are whole; undefined where the rule has none.
Tensor rotated_by(const ActivationQuant& rule, const TensorView& x, const ExecContext& context) {
  if (rule.rotation == 0) return {};
  return rotate(x, {.block = rule.rotation, .out_dtype = DType::float32}, context);
}

}  // namespace

Operand RowActivations::operand(const ShardRange& columns) const {
  Operand a(codes.slice(1, columns.begin, columns.end));
  if (scale.present() && scale.cols != kWholeExtent) a.scale[0] = scale.shifted(0, columns.begin);
  return a;
}

RowActivations row_activations(const RowParallelLinear::Impl& layer, const TensorView& given,
                               const LinearOptions& options, const ExecContext& context) {
  RowActivations result;
  result.codes = given;
  if (!layer.rule) return result;
  const ActivationQuant& rule = *layer.rule;
  const QuantizeOptions o = options_of(rule.spec);
  const bool of_groups = scale_grid(o.granularity, Side::a).cols != kWholeExtent;
  const bool zero_points = o.azp && rule.static_scale == 0.0F;
  const bool refuses = o.non_finite == NonFinite::error && (zero_points || rule.rotation != 0);
  if (!of_groups && (o.scale_dtype != DType::float32 || refuses)) {
    throw_if_failed(
        quantize_as_product(rule, gathered(layer, given), layer.rows, options, context, result));
    return result;
  }
  const Tensor rotated = rotated_by(rule, given, context);
  const TensorView x = rotated.defined() ? rotated.view() : given;
  if (rule.vectorwise) {
    throw_if_failed(vectorwise(layer, x, options, context, result));
  } else if (rule.static_scale != 0.0F) {
    take(result, with_static_scale(layer, x, o, rule.static_scale, rule.static_azp, context));
  } else if (of_groups) {
    take(result, quantize(x, o, context));
  } else if (zero_points) {
    take(result, with_zero_points(layer, x, o, context));
  } else {
    take(result, with_largest_scale(layer, x, o, context));
  }
  return result;
}

}  // namespace octavo
