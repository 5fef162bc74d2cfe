// SPDX-License-Identifier: Apache-2.0
// Gradients of layers whose weights lie on several ranks (specification section 11).
//
//   column-parallel   grad_x = sum over ranks of grad[:, columns()] W[columns(), :], of chunks
//                     of N, each of them linear_vjp's gradient in float32
//   row-parallel      grad_x[:, rows()] = grad W[:, rows()], of each part of K by itself
#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "core/error.hpp"
#include "octavo/checkpoint/sharding.hpp"
#include "octavo/rotate.hpp"
#include "ops/product/lower.hpp"
#include "ops/values.hpp"
#include "parallel/alike.hpp"
#include "parallel/chunks.hpp"
#include "parallel/row_parts.hpp"

namespace octavo {
namespace {

constexpr GradientOptions kFloat32{.dtype = DType::float32};
constexpr MatmulWanted kWantA{.a = true};
constexpr MatmulWanted kWantBias{.bias = true};

void check_wanted(const char* layer, const MatmulWanted& w) {
  if (!w.b && !w.scale_a && !w.scale_b && !w.alpha && !w.beta && !w.c && !w.scale_result) return;
  refuse(Code::unsupported,
         "{}: wanted must be a and bias alone (what lies on several ranks is constant); got others",
         layer);
}

// grad and x as matrices.
struct GradientRows {
  FlatRows grad, x;
};

Result<GradientRows> rows_of(const char* layer, const TensorView& grad, const TensorView& x,
                             std::int64_t n, std::int64_t k, const ExecContext& context) {
  const auto last = [](const TensorView& t) {
    return t.rank > 0 ? t.shape[static_cast<std::size_t>(t.rank - 1)] : -1;
  };
  const std::span<const std::int64_t> g = grad.dims();
  const std::span<const std::int64_t> v = x.dims();
  const bool alike = last(grad) == n && last(x) == k && g.size() == v.size() &&
                     std::equal(g.begin(), g.end() - 1, v.begin());
  if (!alike) {
    return fail(Code::invalid_argument,
                "{}: grad.shape and x.shape must be [..., {}] and [..., {}]; got {} and {}", layer,
                n, k, shape_string(grad), shape_string(x));
  }
  OCTAVO_TRY_ASSIGN(FlatRows grads, flatten_rows(layer, grad, context));
  OCTAVO_TRY_ASSIGN(FlatRows rows, flatten_rows(layer, x, context));
  return GradientRows{std::move(grads), std::move(rows)};
}

// What a call's gradients are asked with.
LinearOptions of_call(LinearOptions o, const Tensor& bias) {
  o.out = {};
  o.matmul.k_chunks = 0;
  if (!o.bias.defined()) o.bias = bias.view();
  return o;
}

// grad W for the columns of a layer, chunk by chunk, in their order over all ranks.
void sum_chunks(Communicator& ranks, std::span<const ShardRange> chunks, const GradientRows& rows,
                const Weight& weight, const LinearOptions& forward, const Tensor& total,
                const ExecContext& context) {
  std::vector<Weight> parts;
  for (const ShardRange& chunk : chunks) parts.push_back(shard(weight, ShardAxis::columns, chunk));
  const ScaledMmOptions options{
      .out_dtype = DType::float32, .matmul = forward.matmul, .backend = forward.backend};
  const std::int32_t rotation = weight.activation ? weight.activation->rotation : 0;
  const auto make = [&](std::int64_t i, std::int64_t m0, std::int64_t m1, const TensorView& to) {
    const auto at = static_cast<std::size_t>(i);
    const TensorView grad =
        rows.grad.view.slice(0, m0, m1).slice(1, chunks[at].begin, chunks[at].end);
    const TensorView x = rows.x.view.slice(0, m0, m1);
    const Operand b = Operand(parts[at].codes).transposed();
    Tensor part = scaled_mm_vjp(grad, x, b, options, kWantA, kFloat32, context).a;
    if (rotation != 0) part = rotate(part, {.block = rotation}, context);
    throw_if_failed(copy_to(kColumnParallel, part, to, nullptr));
  };
  fold_chunks(ranks, static_cast<std::int64_t>(chunks.size()), make, total);
  ranks.broadcast(ranks.size() - 1, total.data(), total.numel() * 4);
}

}  // namespace

MatmulGradients ColumnParallelLinear::vjp(const TensorView& grad, const TensorView& x,
                                          const LinearOptions& forward, const MatmulWanted& wanted,
                                          const ExecContext& context) const {
  return at_edge(kColumnParallel, [&]() -> Result<MatmulGradients> {
    const std::int64_t k = local_.in_features();
    const auto checked = [&]() -> Result<GradientRows> {
      OCTAVO_TRY(status_of([&] { check_wanted(kColumnParallel, wanted); }));
      return rows_of(kColumnParallel, grad, x, columns_.size(), k, context);
    };
    const Result<GradientRows> rows_or = checked();
    check_alike(kColumnParallel, "vjp", *ranks_, rows_or.status(),
                std::array{Trait{"x.shape[:-1]", leading_words(x)}, Trait{"x.dtype", type_words(x)},
                           Trait{"grad.dtype", type_words(grad)},
                           Trait{"wanted.a", wanted.a ? "true" : "false"},
                           Trait{"options", options_words(forward.matmul)}});
    const GradientRows& rows = rows_or.value();
    const LinearOptions own = of_call(forward, local_.bias());
    MatmulGradients result;
    if (wanted.bias) {
      result.bias =
          linear_vjp(rows.grad.view, rows.x.view, local_.weight(), own, kWantBias, {}, context)
              .bias;
    }
    if (!wanted.a) return result;
    OCTAVO_TRY_ASSIGN(const FlatOut out,
                      flatten_out({kColumnParallel}, x, k, x.dtype, {}, context));
    Tensor total;
    if (options_.mode == ParallelMode::fast) {
      total =
          linear_vjp(rows.grad.view, rows.x.view, local_.weight(), own, kWantA, kFloat32, context)
              .a;
      ranks_->all_reduce(Reduction::sum_float32, total.data(), total.numel());
    } else {
      total = Tensor::empty(DType::float32, {rows.x.view.shape[0], k});
      std::vector<ShardRange> chunks =
          chunks_of(options_, n_, cell_, ranks_->rank(), ranks_->size());
      for (ShardRange& chunk : chunks) {
        chunk = {chunk.begin - columns_.begin, chunk.end - columns_.begin};
      }
      sum_chunks(*ranks_, chunks, rows, part(), own, total, context);
    }
    OCTAVO_TRY(copy_to(kColumnParallel, total, out.rows.view, nullptr));
    result.a = out.tensor;
    return result;
  });
}

MatmulGradients RowParallelLinear::vjp(const TensorView& grad, const TensorView& x,
                                       const LinearOptions& forward, const MatmulWanted& wanted,
                                       const ExecContext& context) const {
  return at_edge(kRowParallel, [&]() -> Result<MatmulGradients> {
    check_wanted(kRowParallel, wanted);
    const Impl& layer = *impl_;
    const std::int64_t k = layer.rows.size();
    OCTAVO_TRY_ASSIGN(const GradientRows rows, rows_of(kRowParallel, grad, x, layer.n, k, context));
    const LinearOptions own = of_call(forward, layer.bias);
    MatmulGradients result;
    if (wanted.bias) {  // whatever the rank has of K
      OCTAVO_TRY_ASSIGN(const Tensor some,
                        filled(kRowParallel, x.dtype,
                               std::array{rows.x.view.shape[0], layer.first_row.k()}, 0.0F, {}));
      result.bias =
          linear_vjp(rows.grad.view, some, layer.first_row, own, kWantBias, {}, context).bias;
    }
    if (!wanted.a) return result;
    OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out({kRowParallel}, x, k, x.dtype, {}, context));
    for (const RowPart& part : layer.parts) {
      const ShardRange of = part.columns;
      const Tensor a = linear_vjp(rows.grad.view, rows.x.view.slice(1, of.begin, of.end),
                                  part.weight, own, kWantA, {}, context)
                           .a;
      OCTAVO_TRY(copy_to(kRowParallel, a, out.rows.view.slice(1, of.begin, of.end), nullptr));
    }
    result.a = out.tensor;
    return result;
  });
}

}  // namespace octavo
