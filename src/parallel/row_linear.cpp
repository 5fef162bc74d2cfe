// SPDX-License-Identifier: Apache-2.0
// Row-parallel layers: what a rank takes of a weight, and a call from x to y.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "core/problem/operand.hpp"
#include "octavo/checkpoint/sharding.hpp"
#include "octavo/matmul.hpp"
#include "octavo/quantize.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"
#include "parallel/alike.hpp"
#include "parallel/chunks.hpp"
#include "parallel/parts.hpp"
#include "parallel/row_parts.hpp"

namespace octavo {
namespace {

constexpr Site kSite{kRowParallel, &kLinearNames};
// Of one product whose sum of integers int32 has room for, whatever the codes are.
constexpr std::int64_t kNarrowColumns = 32768;

// Scales of groups of K that one group spans change along K all the same: sums are floats.
bool constant_along_k(const Weight& weight) {
  const ActivationQuant& rule = *weight.activation;
  if (weight.codes.scale.defined() && weight.codes.grid.cols != kWholeExtent) return false;
  return rule.vectorwise || scale_grid(rule.spec.granularity, Side::a).cols == kWholeExtent;
}

RowSums kind_of(const Weight& weight, std::int64_t k) {
  const bool integers =
      weight.activation && is_integer8(weight.codes.data.dtype()) &&
      (weight.activation->vectorwise || is_integer8(weight.activation->spec.dtype));
  if (!integers || !constant_along_k(weight)) return RowSums::chunks;
  // The sum of all ranks.
  const std::int64_t most = weight.codes.azp.defined() ? kMostUnsignedDepth : kMostIntegerDepth;
  return k > most ? RowSums::wide : RowSums::exact;
}

Tensor checked_bias(const TensorView& bias, std::int64_t n) {
  if (bias.rank != 1 || bias.shape[0] != n || !is_wide(bias.dtype)) {
    refuse(Code::invalid_argument, "{}: bias must be float32, bfloat16 or float16 [{}]; got {} {}",
           kRowParallel, n, name(bias.dtype), shape_string(bias));
  }
  return copy(bias, bias.dtype);
}

// The rank's parts, in its own columns: one, or chunks of K.
std::vector<ShardRange> cuts(const RowParallelLinear::Impl& layer) {
  std::vector<ShardRange> parts;
  const ShardRange own = layer.rows;
  const auto add = [&](std::int64_t begin, std::int64_t end) {
    parts.push_back({begin - own.begin, end - own.begin});
  };
  const bool outliers = layer.rule && layer.rule->vectorwise;
  if (layer.options.mode == ParallelMode::exact && (layer.sums == RowSums::chunks || outliers)) {
    for (const ShardRange& chunk :
         chunks_of(layer.options, layer.k, layer.cell, layer.rank(), layer.size())) {
      add(chunk.begin, chunk.end);
    }
    return parts;
  }
  const bool fast = layer.options.mode == ParallelMode::fast;
  if (fast || layer.sums != RowSums::wide) return {{0, own.size()}};
  for (std::int64_t k = own.begin; k < own.end; k += kNarrowColumns) {
    add(k, std::min(own.end, k + kNarrowColumns));
  }
  return parts;
}

// Sums of the weight's rows, less its zero points, over all ranks: a product by ones.
Tensor column_sums(const RowParallelLinear::Impl& layer) {
  const Tensor sums = Tensor::empty(DType::int64, {layer.n});
  auto* to = sums.data_as<std::int64_t>();
  std::fill_n(to, layer.n, std::int64_t{0});
  for (const RowPart& part : layer.parts) {
    const Tensor ones = Tensor::empty(DType::int8, {1, part.columns.size()});
    std::fill_n(ones.data_as<std::int8_t>(), ones.numel(), std::int8_t{1});
    const Tensor own =
        scaled_mm(ones, part.weight, {.scale_b = nullptr, .out_dtype = DType::int32});
    for (std::int64_t n = 0; n < layer.n; ++n) to[n] += own.data_as<const std::int32_t>()[n];
  }
  layer.ranks->all_reduce(Reduction::sum_int64, to, layer.n);
  return sums;
}

// (sums * scale_a + addend) * scale_b + bias, of what is given, in section 3's order.
struct Finish {
  const Tensor& sums;
  Scale scale_a, scale_b;
  TensorView addend, bias;
  DType out_dtype;
  TensorView out;
};

Status finish(const RowParallelLinear::Impl& layer, const RowActivations& x, const Finish& f,
              const LinearOptions& o, const ExecContext& context) {
  // Of the operands their scales alone are read.
  static constexpr std::array<double, 2> kNothing{};
  TensorView nothing(kNothing.data(), x.codes.dtype, {x.codes.shape[0], layer.first_row.k()});
  nothing.strides = {0, 0};
  Operand a(nothing);
  if (x.scale.cols == kWholeExtent) a.scale[0] = x.scale;
  ScaledMmOptions options{.scale_a = f.scale_a,
                          .scale_b = f.scale_b,
                          .bias = f.bias,
                          .out_dtype = f.out_dtype,
                          .c = f.addend,
                          .matmul = o.matmul};
  OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(kSite, a, layer.first_row, options));
  Member& member = lowered.problem.single;
  member.a.data.shape[1] = layer.k;
  member.out = f.out;
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kRowParallel, {}, o.backend));
  return backend->passes.finish({f.sums, member, lowered.problem.options}, context);
}

Status finish_all(const RowParallelLinear::Impl& layer, const RowActivations& x, const Tensor& sums,
                  const LinearOptions& o, DType out_dtype, const ExecContext& context,
                  const TensorView& out) {
  const TensorView bias = o.bias.defined() ? o.bias : layer.bias.view();
  if (!layer.rule || !layer.rule->vectorwise) {
    return finish(layer, x, {sums, {}, {}, {}, bias, out_dtype, out}, o, context);
  }
  const Tensor outliers = row_outlier_sums(layer, x, o, context);
  const Tensor scaled = Tensor::empty(DType::float32, out.dims());
  OCTAVO_TRY(
      finish(layer, x, {sums, {}, nullptr, outliers, {}, DType::float32, scaled}, o, context));
  return finish(layer, x, {scaled, nullptr, {}, {}, bias, out_dtype, out}, o, context);
}

// Each rank's own scales: products of the parts, added as float32.
Tensor fast_sums(const RowParallelLinear::Impl& layer, const TensorView& x, LinearOptions o,
                 const ExecContext& context) {
  o.bias = {};
  o.out = {};
  o.out_dtype = DType::float32;
  o.matmul.k_chunks = 0;
  Tensor y;
  if (layer.parts.empty()) {
    y = Tensor::empty(DType::float32, {x.shape[0], layer.n});
    std::fill_n(y.data_as<float>(), y.numel(), 0.0F);
  } else {
    y = linear(x, layer.parts.front().weight, o, context);
  }
  layer.ranks->all_reduce(Reduction::sum_float32, y.data(), y.numel());
  return y;
}

Status run(const RowParallelLinear::Impl& layer, const TensorView& x, const LinearOptions& o,
           DType out_dtype, const ExecContext& context, const TensorView& out) {
  if (layer.options.mode == ParallelMode::fast) {
    const Tensor sums = fast_sums(layer, x, o, context);
    RowActivations as_they_are;
    as_they_are.codes = x;
    const TensorView bias = o.bias.defined() ? o.bias : layer.bias.view();
    return finish(layer, as_they_are, {sums, nullptr, nullptr, {}, bias, out_dtype, out}, o,
                  context);
  }
  const RowActivations codes = row_activations(layer, x, o, context);
  const Tensor sums = row_sums(layer, codes, o, context);
  if (finishes(layer)) {
    OCTAVO_TRY(finish_all(layer, codes, sums, o, out_dtype, context, out));
  }
  if (layer.sums == RowSums::chunks) {
    layer.ranks->broadcast(layer.size() - 1, out.data, out.numel() * element_bytes(out.dtype));
  }
  return {};
}

// What `linear` takes and a layer on ranks does not.
Status check_call_options(const LinearOptions& o) {
  if (o.matmul.k_chunks > 1) {
    return fail(Code::unsupported,
                "{}: k_chunks must be 0 in a call (the layer was made with its own); got {}",
                kRowParallel, o.matmul.k_chunks);
  }
  if (!o.outlier_columns.defined() && !o.outlier_weight.defined() && o.found_columns == nullptr) {
    return {};
  }
  return fail(Code::unsupported,
              "{}: outlier_columns, outlier_weight and found_columns must be undefined; got one",
              kRowParallel);
}

Status check_x(const RowParallelLinear::Impl& layer, const TensorView& x) {
  OCTAVO_TRY(check_float(kSite, Arg::a, x));
  const std::int64_t last = x.rank > 0 ? x.shape[static_cast<std::size_t>(x.rank - 1)] : -1;
  if (last == layer.k || last == layer.rows.size()) return {};
  return fail(Code::invalid_argument,
              "{}: x.shape must be [..., {}], rows() of rank {}, or [..., K = {}]; got {}",
              kRowParallel, layer.rows.size(), layer.rank(), layer.k, shape_string(x));
}

// What a call works on.
struct CheckedCall {
  FlatRows rows;
  TensorView own;  // the rank's columns of x, [M, rows()]
  DType out_dtype;
  FlatOut out;
};

// A rule that refuses NaN in words refuses what one rank alone sees.
Status check_finite(const RowParallelLinear::Impl& layer, const TensorView& own,
                    const ExecContext& context) {
  if (!layer.rule || layer.rule->spec.non_finite != NonFinite::error) return {};
  return status_of([&] {
    (void)quantize(own, {.granularity = per_token(), .non_finite = NonFinite::error}, context);
  });
}

Result<CheckedCall> checked_call(const RowParallelLinear::Impl& layer, const TensorView& x,
                                 const LinearOptions& o, const ExecContext& context) {
  OCTAVO_TRY(check_call_options(o));
  OCTAVO_TRY(check_x(layer, x));
  CheckedCall call;
  OCTAVO_TRY_ASSIGN(call.rows, flatten_rows(kRowParallel, x, context));
  call.own = call.rows.view;
  if (call.own.shape[1] != layer.rows.size()) {
    call.own = call.own.slice(1, layer.rows.begin, layer.rows.end);
  }
  call.out_dtype = o.out_dtype == DType::undefined ? x.dtype : o.out_dtype;
  OCTAVO_TRY_ASSIGN(call.out, flatten_out(kSite, x, layer.n, call.out_dtype, o.out, context));
  OCTAVO_TRY(check_finite(layer, call.own, context));
  return call;
}

Result<Tensor> forward(const RowParallelLinear::Impl& layer, const TensorView& x,
                       const LinearOptions& o, const ExecContext& context) {
  const Result<CheckedCall> checked = checked_call(layer, x, o, context);
  check_alike(
      kRowParallel, "a call", *layer.ranks, checked.status(),
      std::array{Trait{"x.shape[:-1]", leading_words(x)}, Trait{"x.dtype", type_words(x)},
                 Trait{"out_dtype", std::string(name(o.out_dtype))},
                 Trait{"bias", type_words(o.bias)}, Trait{"options", options_words(o.matmul)}});
  const CheckedCall& call = checked.value();
  const FlatOut& out = call.out;
  const bool direct = out.rows.view.contiguous();
  const Tensor made =
      direct ? Tensor() : Tensor::empty(call.out_dtype, {call.own.shape[0], layer.n});
  const TensorView to = direct ? out.rows.view : made.view();
  OCTAVO_TRY(run(layer, call.own, o, call.out_dtype, context, to));
  if (!direct) OCTAVO_TRY(copy_to(kRowParallel, made, out.rows.view, context.stream));
  OCTAVO_TRY(out.finish(kRowParallel, context));
  return out.tensor;
}

Status own_failure(const Weight& weight, const TensorView& bias, const ParallelOptions& options) {
  return status_of([&] {
    check_options(kRowParallel, options);
    if (bias.defined()) (void)checked_bias(bias, weight.codes.data.size(0));
  });
}

// What a layer is made of: the rank's part, and what it does not say of the whole.
struct Made {
  Weight own;
  std::optional<ActivationQuant> rule;
  WholeExtent k;
};

std::shared_ptr<RowParallelLinear::Impl> made(Made from, const TensorView& bias,
                                              std::shared_ptr<Communicator> ranks,
                                              const ParallelOptions& options) {
  auto layer = std::make_shared<RowParallelLinear::Impl>();
  Weight& own = from.own;
  layer->ranks = std::move(ranks);
  layer->options = options;
  layer->n = own.codes.data.size(0);
  layer->k = from.k.extent;
  layer->cell = from.k.cell;
  layer->rows = shard_range(layer->k, layer->rank(), layer->size(), layer->cell);
  layer->rule = std::move(from.rule);
  layer->sums = kind_of(own, layer->k);
  if (layer->rule && layer->rule->rotation != 0 && layer->sums == RowSums::chunks &&
      options.mode == ParallelMode::exact) {
    refuse(Code::unsupported,
           "{}: weight.activation.rotation must be 0 but of exact sums (int8 by int8 under scales "
           "constant along K) or in the mode fast; got {}",
           kRowParallel, layer->rule->rotation);
  }
  if (bias.defined()) layer->bias = checked_bias(bias, layer->n);
  const std::int64_t one = std::min<std::int64_t>(own.codes.data.size(1), 1);
  Weight first = shard(own, ShardAxis::rows, {0, one});
  if (first.activation) first.activation->rotation = 0;  // one row is no block
  layer->first_row = pack(first, options.backend);
  for (const ShardRange& columns : cuts(*layer)) {
    if (columns.size() == 0) continue;
    if (layer->sums == RowSums::wide && columns.size() > kNarrowColumns &&
        options.mode == ParallelMode::exact) {
      refuse(Code::unsupported, "{}: chunks of LLM.int8 must have at most {} columns; got {}",
             kRowParallel, kNarrowColumns, columns.size());
    }
    layer->parts.push_back({columns, pack(shard(own, ShardAxis::rows, columns), options.backend)});
  }
  if (layer->rule && layer->rule->spec.azp && layer->sums != RowSums::chunks) {
    layer->column_sums = column_sums(*layer);
  }
  own.codes.data = {};
  layer->beside = std::move(own);
  return layer;
}

}  // namespace

RowParallelLinear::RowParallelLinear(const Weight& weight, const TensorView& bias,
                                     std::shared_ptr<Communicator> ranks,
                                     const ParallelOptions& options) {
  at_edge(kRowParallel, [&] {
    check_ranks(kRowParallel, ranks);
    check_weights_alike(kRowParallel, *ranks, own_failure(weight, bias, options), weight,
                        Shared::whole, bias, options);
    const ShardRange rows = shard_range(weight, ShardAxis::rows, ranks->rank(), ranks->size());
    const WholeExtent k{weight.codes.data.size(1), shard_cell(weight, ShardAxis::rows)};
    impl_ = made({shard(weight, ShardAxis::rows, rows), weight.activation, k}, bias,
                 std::move(ranks), options);
  });
}

RowParallelLinear RowParallelLinear::of_part(const Weight& part, const TensorView& bias,
                                             std::shared_ptr<Communicator> ranks,
                                             const ParallelOptions& options) {
  return at_edge(kRowParallel, [&] {
    check_ranks(kRowParallel, ranks);
    check_weights_alike(kRowParallel, *ranks, own_failure(part, bias, options), part,
                        Shared::scales, bias, options);
    const WholeExtent k = whole_extent(kRowParallel, *ranks, part, ShardAxis::rows);
    if (part.codes.col0 != 0 || (part.activation && part.activation->outlier_columns.defined())) {
      refuse(Code::unsupported,
             "{}: part must begin with a scale and have no outlier columns (make the layer of the "
             "whole weight); got one of {}",
             kRowParallel, part.scheme);
    }
    RowParallelLinear layer;
    layer.impl_ = made({part, part.activation, k}, bias, std::move(ranks), options);
    return layer;
  });
}

Weight RowParallelLinear::part() const {
  return at_edge(kRowParallel, [&] {
    Weight own = impl_->beside;
    own.codes.data = Tensor::empty(impl_->first_row.dtype(), {impl_->n, impl_->rows.size()});
    for (const RowPart& part : impl_->parts) {
      const ShardRange of = part.columns;
      throw_if_failed(copy_to(kRowParallel, unpack(part.weight).data.transposed(),
                              own.codes.data.view().slice(1, of.begin, of.end), nullptr));
    }
    return own;
  });
}

std::int64_t RowParallelLinear::in_features() const noexcept { return impl_->k; }
std::int64_t RowParallelLinear::out_features() const noexcept { return impl_->n; }
ShardRange RowParallelLinear::rows() const noexcept { return impl_->rows; }

Tensor RowParallelLinear::operator()(const TensorView& x, const LinearOptions& options,
                                     const ExecContext& context) const {
  return at_edge(kRowParallel, [&] { return forward(*impl_, x, options, context); });
}

}  // namespace octavo
