// SPDX-License-Identifier: Apache-2.0
// Codes of a rank's columns under the scales of whole rows (specification section 11):
//
//   no rule                          x itself
//   scales of groups of K            the rank's own: groups do not cross its borders
//   a static scale                   given; one flag a row shows what is not finite
//   dynamic, a token's or tensor's   the ranks' largest, whose bits are those of the largest
//                                    magnitude's: a scale grows with it, and NaN beats all
//   zero points, LLM.int8            x of all ranks, quantised on each
#include <algorithm>
#include <cmath>

#include "backends/backend.hpp"
#include "core/matrix.hpp"
#include "ops/run.hpp"
#include "parallel/gather.hpp"
#include "parallel/row_impl.hpp"

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

// What a product would quantise of all of x, on every rank; the rank keeps its columns.
Status quantise_whole(const RowParallelLinear::Impl& layer, const Tensor& all,
                      const LinearOptions& options, const ExecContext& context,
                      RowActivations& result) {
  OCTAVO_TRY_ASSIGN(const Backend* backend,
                    backend_for(kRowParallel, all.device(), options.backend));
  Member member;
  member.a.data = all;
  member.a.quantise = &*layer.rule;
  Arena counter(nullptr);
  Member counted = member;
  OCTAVO_TRY(backend->passes.prologue(counted, options.matmul, counter, context));
  const std::array<std::int64_t, 1> bytes{static_cast<std::int64_t>(counter.used()) + 64};
  OCTAVO_TRY_ASSIGN(const Tensor block,
                    Tensor::try_empty(kRowParallel, DType::uint8, bytes, context.place({})));
  Arena arena(block.data());
  OCTAVO_TRY(backend->passes.prologue(member, options.matmul, arena, context));
  const auto tensor = [](const MatrixView& view) { return static_cast<TensorView>(view); };
  result.memory.insert(result.memory.end(), {block, all});
  result.codes = tensor(member.a.data).slice(1, layer.rows.begin, layer.rows.end);
  const ScaleView& s = member.a.scale[0];
  const std::int64_t rows = s.rows == 1 ? all.size(0) : 1;
  result.scale = {s.kind, s.number, tensor(MatrixView(s.data, rows, 1)), s.rows, s.cols,
                  s.row0, s.col0};
  if (member.a.azp.defined()) result.azp = tensor(member.a.azp);
  const Outliers& o = member.epilogue.outliers;
  result.x = all.view().slice(1, layer.rows.begin, layer.rows.end);
  result.outliers = within(o.columns, layer.rows);
  result.whole = within(o.whole, layer.rows);
  result.threshold = o.threshold;
  return {};
}

}  // namespace

Operand RowActivations::operand(const ShardRange& columns) const {
  Operand a(codes.slice(1, columns.begin, columns.end));
  if (scale.present() && scale.cols != kWholeExtent) a.scale[0] = scale.shifted(0, columns.begin);
  return a;
}

RowActivations row_activations(const RowParallelLinear::Impl& layer, const TensorView& x,
                               const LinearOptions& options, const ExecContext& context) {
  RowActivations result;
  result.codes = x;
  if (!layer.rule) return result;
  const ActivationQuant& rule = *layer.rule;
  const QuantizeOptions o = options_of(rule.spec);
  const bool of_groups = scale_grid(o.granularity, Side::a).cols != kWholeExtent;
  if (rule.vectorwise || (o.azp && rule.static_scale == 0.0F && !of_groups) ||
      (o.scale_dtype != DType::float32 && !of_groups)) {
    throw_if_failed(quantise_whole(layer, gathered(layer, x), options, context, result));
  } else if (rule.static_scale != 0.0F) {
    take(result, with_static_scale(layer, x, o, rule.static_scale, rule.static_azp, context));
  } else if (of_groups) {
    take(result, quantize(x, o, context));
  } else {
    take(result, with_largest_scale(layer, x, o, context));
  }
  return result;
}

}  // namespace octavo
