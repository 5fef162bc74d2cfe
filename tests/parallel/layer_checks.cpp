// SPDX-License-Identifier: Apache-2.0
#include "parallel/layer_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "octavo/octavo.hpp"
#include "parallel/random.hpp"

namespace octavo::test {
namespace {

struct LayerKind {
  const char* name;
  DType weight;
  Granularity scale;  // of the weight [N, K], as of an operand A; automatic: none
  std::optional<DType> activation;
  Granularity rule = per_token();
  bool azp = false;
  float static_scale = 0.0F;
  std::int32_t static_azp = 0;
  ScaleRounding rounding = ScaleRounding::none;
  DType scale_dtype = DType::float32;
  bool vectorwise = false;
  float threshold = 0.0F;
  bool fixed_columns = false;
  bool weight_azp = false;
  std::int32_t rotation = 0;
};

using enum DType;
const std::array kLayerKinds{
    LayerKind{"int8", int8, per_token(), int8},
    LayerKind{"int8 per tensor", int8, per_tensor(), int8, per_tensor()},
    LayerKind{"int8 static", int8, per_token(), int8, per_tensor(), false, 0.02F},
    LayerKind{"int8 azp", int8, per_token(), int8, per_token(), true},
    LayerKind{"uint8 azp", int8, per_token(), uint8, per_token(), true},
    LayerKind{"uint8 static azp", int8, per_token(), uint8, per_tensor(), true, 0.02F, 300},
    LayerKind{"int8 weight azp", int8, per_token(), int8, per_token(), true, 0.0F, 0,
              ScaleRounding::none, float32, false, 0.0F, false, true},
    LayerKind{"int8 groups", int8, group(16), int8},
    LayerKind{"int8 groups both", int8, group(32), int8, group(16)},
    LayerKind{"fp8", float8_e4m3fn, per_token(), float8_e4m3fn},
    LayerKind{"fp8 per tensor", float8_e4m3fn, per_tensor(), float8_e4m3fn, per_tensor()},
    LayerKind{"fp8 static", float8_e5m2, per_token(), float8_e4m3fn, per_tensor(), false, 0.01F},
    LayerKind{"fp8 blocks", float8_e4m3fn, block(16, 32), float8_e4m3fn, group(32)},
    LayerKind{"mx", float8_e4m3fn, group(32), float8_e4m3fn, group(32), false, 0.0F, 0,
              ScaleRounding::mx_floor, float8_e8m0fnu},
    LayerKind{"bfloat16", bfloat16, Granularity{}, std::nullopt},
    LayerKind{"float32", float32, Granularity{}, std::nullopt},
    LayerKind{"int8 weight only", int8, per_token(), std::nullopt},
    LayerKind{"fp8 weight only", float8_e4m3fn, group(64), std::nullopt},
    LayerKind{"llm-int8", int8, per_token(), int8, per_token(), false, 0.0F, 0, ScaleRounding::none,
              float32, true, 2.0F},
    LayerKind{"llm-int8 without outliers", int8, per_token(), int8, per_token(), false, 0.0F, 0,
              ScaleRounding::none, float32, true, 1000.0F},
    LayerKind{"llm-int8 fixed", int8, per_token(), int8, per_token(), false, 0.0F, 0,
              ScaleRounding::none, float32, true, 2.5F, true},
    LayerKind{.name = "int8 rotated",
              .weight = int8,
              .scale = per_token(),
              .activation = int8,
              .rotation = 16},
    LayerKind{.name = "uint8 azp rotated",
              .weight = int8,
              .scale = per_token(),
              .activation = uint8,
              .azp = true,
              .rotation = 64},
    LayerKind{.name = "int8 static rotated",
              .weight = int8,
              .scale = per_token(),
              .activation = int8,
              .rule = per_tensor(),
              .static_scale = 0.02F,
              .rotation = 16},
};

struct Layer {
  const LayerKind* kind;
  std::int64_t m, n, k;
  std::int32_t k_chunks;
  std::int64_t overlap_rows;
  DType out;
  Weight weight;
  Tensor bias, x;
  Tensor bias_of_call;  // which stands in the place of the layer's

  std::string words(int size) const {
    return fmt::format("{} {}x{}x{} k_chunks={} on {} ranks", kind->name, m, n, k, k_chunks, size);
  }
};

Weight weight_of(const Layer& l, Dice& dice) {
  const LayerKind& kind = *l.kind;
  Weight w;
  const Tensor floats = dice.floats(float32, {l.n, l.k});
  w.scheme = kind.activation ? "test" : "none";
  if (kind.scale.kind == Granularity::Kind::automatic) {
    w.codes.data = floats.to(kind.weight);
    return w;
  }
  w.codes = quantize(floats, {.dtype = kind.weight,
                              .granularity = kind.scale,
                              .azp = kind.weight_azp,
                              .rounding = kind.rounding,
                              .scale_dtype = kind.scale_dtype,
                              .widen = kind.weight_azp});
  if (kind.vectorwise) w.absmax = dice.floats(float32, {l.n});
  if (!kind.activation) return w;
  ActivationQuant rule;
  rule.spec.dtype = *kind.activation;
  rule.spec.granularity = kind.rule;
  rule.spec.azp = kind.azp;
  rule.spec.rounding = kind.rounding;
  rule.spec.scale_dtype = kind.scale_dtype;
  rule.static_scale = kind.static_scale;
  rule.static_azp = kind.static_azp;
  rule.rotation = kind.rotation;
  rule.vectorwise = kind.vectorwise;
  rule.outlier_threshold = kind.threshold;
  if (kind.fixed_columns) {
    rule.outlier_columns = Tensor::empty(int64, {(l.k + 2) / 3});
    for (std::int64_t i = 0; i < rule.outlier_columns.numel(); ++i) {
      rule.outlier_columns.data_as<std::int64_t>()[i] = 3 * i;
    }
  }
  w.activation = rule;
  return w;
}

// Of a size that is given, or a random one.
Layer random_layer(std::uint64_t seed, const LayerSize* size) {
  Dice dice(seed * 7919 + 1);
  const LayerSize thrown{dice.number(9), 1 + dice.number(70), dice.number(260)};
  const LayerSize& of = size != nullptr ? *size : thrown;
  Layer l{
      &kLayerKinds[seed % kLayerKinds.size()], of.m, of.n, of.k, 24, 0, float32, {}, {}, {}, {}};
  if (l.kind->rotation != 0) l.k = l.k / l.kind->rotation * l.kind->rotation;
  const std::array<std::int32_t, 4> counts{24, 24, 12, 1};
  l.k_chunks = counts[static_cast<std::size_t>(dice.number(3))];
  l.overlap_rows = dice.number(3);
  if (dice.number(1) == 0) l.out = bfloat16;
  l.weight = weight_of(l, dice);
  if (dice.number(1) == 0) l.bias = dice.floats(bfloat16, {l.n});
  const Tensor x = dice.floats(float32, {l.m, l.k});
  disturb(x, dice);
  const bool of_type = !l.kind->activation && l.kind->scale.kind == Granularity::Kind::automatic;
  l.x = of_type ? x.to(l.kind->weight) : x.to(dice.number(1) == 0 ? float32 : bfloat16);
  if (dice.number(2) == 0) l.bias_of_call = dice.floats(float32, {l.n});
  return l;
}

// Whether a part is shard's.
bool same_part(const Weight& part, const Weight& whole, ShardAxis axis, int rank, int size) {
  const Weight want = shard(whole, axis, rank, size);
  const auto alike = [](const Tensor& a, const Tensor& b) {
    return a.defined() == b.defined() && (!a.defined() || same(a, b));
  };
  return part.scheme == want.scheme && part.codes.grid == want.codes.grid &&
         part.codes.row0 == want.codes.row0 && part.codes.col0 == want.codes.col0 &&
         alike(part.codes.data, want.codes.data) && alike(part.codes.scale, want.codes.scale) &&
         alike(part.codes.azp, want.codes.azp) && alike(part.absmax, want.absmax);
}

// The gradient of x as the sum of those of chunks of N, each a layer of its own.
Tensor gradient_in_chunks(const Layer& l, const Tensor& grad, int size) {
  const int chunks = l.k_chunks % size == 0 ? l.k_chunks : size;
  const Tensor sum = Tensor::empty(float32, {l.m, l.k});
  std::fill_n(sum.data_as<float>(), sum.numel(), 0.0F);
  for (int c = 0; c < chunks; ++c) {
    const ShardRange range = shard_range(l.weight, ShardAxis::columns, c, chunks);
    const QuantizedLinear layer(shard(l.weight, ShardAxis::columns, range));
    const Tensor part =
        linear_vjp(grad.view().slice(1, range.begin, range.end), l.x, layer.weight(),
                   {.out_dtype = l.out}, {.a = true}, {.dtype = float32})
            .a;
    for (std::int64_t i = 0; i < sum.numel(); ++i) {
      sum.data_as<float>()[i] += part.data_as<const float>()[i];
    }
  }
  return sum.to(l.x.dtype());
}

TensorView entries(const Tensor& bias, const ShardRange& range) {
  return bias.defined() ? bias.view().slice(0, range.begin, range.end) : TensorView();
}

// Gradients of a layer on ranks and of the whole one: of x, and of the bias.
std::string check_gradients(const Layer& l, const RowParallelLinear& row,
                            const ColumnParallelLinear& column, const PackedWeight& whole,
                            int size) {
  Dice dice(static_cast<std::uint64_t>(l.n * 31 + l.k));
  const Tensor grad = dice.floats(l.out, {l.m, l.n});
  const ShardRange own = column.columns();
  const auto part = [](const Tensor& t, int dim, const ShardRange& range) {
    return copy(t.view().slice(dim, range.begin, range.end), t.dtype());
  };
  const Tensor& bias = l.bias_of_call.defined() ? l.bias_of_call : l.bias;
  LinearOptions forward{.bias = bias, .out_dtype = l.out};
  const MatmulWanted wanted{.a = true, .bias = bias.defined()};
  const MatmulGradients all = linear_vjp(grad, l.x, whole, forward, wanted);
  forward.bias = l.bias_of_call;
  const MatmulGradients of_row = row.vjp(grad, part(l.x, 1, row.rows()), forward, wanted);
  forward.bias = entries(l.bias_of_call, own);
  const MatmulGradients of_column = column.vjp(part(grad, 1, own), l.x, forward, wanted);
  if (!same(of_row.a, part(all.a, 1, row.rows()))) return "row-parallel gradient of x: ";
  if (!same(of_column.a, gradient_in_chunks(l, grad, size)))
    return "column-parallel gradient of x: ";
  if (!wanted.bias) return {};
  if (!same(of_row.bias, all.bias)) return "row-parallel gradient of the bias: ";
  if (!same(of_column.bias, part(all.bias, 0, own)))
    return "column-parallel gradient of the bias: ";
  return {};
}

std::string check_layer(const std::shared_ptr<Communicator>& ranks, const Layer& l) {
  const int size = ranks->size();
  const LinearOptions options{.bias = l.bias_of_call, .out_dtype = l.out};
  LinearOptions chunked = options;
  chunked.matmul.k_chunks = l.k_chunks % size == 0 ? l.k_chunks : size;
  const QuantizedLinear whole(l.weight, l.bias);

  const ParallelOptions of_ranks{.k_chunks = l.k_chunks, .overlap_rows = l.overlap_rows};
  const RowParallelLinear row(l.weight, l.bias, ranks, of_ranks);
  const bool listed = l.weight.activation && l.weight.activation->outlier_columns.defined();
  const RowParallelLinear of_part =
      listed ? row
             : RowParallelLinear::of_part(shard(l.weight, ShardAxis::rows, ranks->rank(), size),
                                          l.bias, ranks, of_ranks);
  const TensorView part = l.x.view().slice(1, row.rows().begin, row.rows().end);
  const Tensor want = whole(l.x, chunked);
  const Tensor got = row(part, options);
  const Tensor got_of_part = of_part(part, options);
  const ColumnParallelLinear column(l.weight, l.bias, ranks, of_ranks);
  const ColumnParallelLinear column_of_part =
      ColumnParallelLinear::of_part(shard(l.weight, ShardAxis::columns, ranks->rank(), size),
                                    entries(l.bias, column.columns()), ranks, of_ranks);
  const LinearOptions of_columns{.bias = entries(l.bias_of_call, column.columns()),
                                 .out_dtype = l.out};
  const Tensor own = column(l.x, of_columns);
  const Tensor all = column_of_part.gather(column_of_part(l.x, of_columns));
  const Tensor y = whole(l.x, options);
  const std::string gradients = check_gradients(l, row, column, whole.weight(), size);
  const ShardRange columns = column.columns();
  const Tensor part_of_y = copy(y.view().slice(1, columns.begin, columns.end), y.dtype());

  // Every rank has said all that the others wait for.
  if (!same(got, want)) return "row-parallel " + l.words(size);
  if (!same(got_of_part, want)) return "row-parallel layer of a part " + l.words(size);
  if (!same(own, part_of_y)) return "column-parallel " + l.words(size);
  if (!same(all, y)) return "gathered columns of " + l.words(size);
  if (!same_part(row.part(), l.weight, ShardAxis::rows, ranks->rank(), size) ||
      !same_part(column.part(), l.weight, ShardAxis::columns, ranks->rank(), size)) {
    return "unpacked part of " + l.words(size);
  }
  if (!gradients.empty()) return gradients + l.words(size);
  return {};
}

}  // namespace

int layer_kinds() { return static_cast<int>(kLayerKinds.size()); }

std::string check_random_layer(const std::shared_ptr<Communicator>& ranks, std::uint64_t seed) {
  return check_layer(ranks, random_layer(seed, nullptr));
}

std::string check_layer_of_chunks(const std::shared_ptr<Communicator>& ranks,
                                  const LayerSize& size) {
  const auto* fp8 = std::ranges::find(kLayerKinds, std::string_view("fp8"), &LayerKind::name);
  Layer l = random_layer(static_cast<std::uint64_t>(fp8 - kLayerKinds.begin()), &size);
  l.k_chunks = 24;
  return check_layer(ranks, l);
}

}  // namespace octavo::test
