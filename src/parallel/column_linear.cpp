// SPDX-License-Identifier: Apache-2.0
// Column-parallel layers: a rank's rows of the weight are a layer of their own.
#include <array>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "octavo/parallel.hpp"
#include "ops/product/lower.hpp"
#include "ops/values.hpp"
#include "parallel/alike.hpp"
#include "parallel/chunks.hpp"
#include "parallel/gather.hpp"
#include "parallel/parts.hpp"

namespace octavo {
namespace {

constexpr auto kColumns = ShardAxis::columns;

void check_bias(const TensorView& bias, std::int64_t n) {
  if (!bias.defined() || (bias.rank == 1 && bias.shape[0] == n)) return;
  refuse(Code::invalid_argument, "{}: bias.shape must be [{}]; got {}", kColumnParallel, n,
         shape_string(bias));
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(const Weight& weight, const TensorView& bias,
                                           std::shared_ptr<Communicator> ranks,
                                           const ParallelOptions& options) {
  at_edge(kColumnParallel, [&] {
    check_ranks(kColumnParallel, ranks);
    const std::int64_t n = weight.codes.data.size(0);
    const Status own_failure = status_of([&] {
      check_options(kColumnParallel, options);
      check_bias(bias, n);
    });
    check_weights_alike(kColumnParallel, *ranks, own_failure, weight, Shared::whole, bias, options);
    const ShardRange own = shard_range(weight, kColumns, ranks->rank(), ranks->size());
    make(shard(weight, kColumns, own),
         bias.defined() ? bias.slice(0, own.begin, own.end) : TensorView(), std::move(ranks),
         options, n, shard_cell(weight, kColumns));
  });
}

ColumnParallelLinear ColumnParallelLinear::of_part(const Weight& part, const TensorView& bias,
                                                   std::shared_ptr<Communicator> ranks,
                                                   const ParallelOptions& options) {
  return at_edge(kColumnParallel, [&] {
    check_ranks(kColumnParallel, ranks);
    const Status own_failure = status_of([&] {
      check_options(kColumnParallel, options);
      check_bias(bias, part.codes.data.size(0));
    });
    check_weights_alike(kColumnParallel, *ranks, own_failure, part, Shared::nothing, {}, options);
    const WholeExtent n = whole_extent(kColumnParallel, *ranks, part, kColumns);
    ColumnParallelLinear layer;
    layer.make(part, bias, std::move(ranks), options, n.extent, n.cell);
    return layer;
  });
}

void ColumnParallelLinear::make(Weight part, const TensorView& bias,
                                std::shared_ptr<Communicator> ranks, const ParallelOptions& options,
                                std::int64_t n, std::int64_t cell) {
  ranks_ = std::move(ranks);
  options_ = options;
  n_ = n;
  cell_ = cell;
  columns_ = shard_range(n, ranks_->rank(), ranks_->size(), cell);
  for (int r = 0; r < ranks_->size(); ++r) {
    ends_.push_back(shard_range(n, r, ranks_->size(), cell).end);
  }
  local_ = QuantizedLinear(part, bias, options.backend);
  part.codes.data = {};
  beside_ = std::move(part);
}

Tensor ColumnParallelLinear::operator()(const TensorView& x, const LinearOptions& options,
                                        const ExecContext& context) const {
  return local_(x, options, context);
}

Weight ColumnParallelLinear::part() const {
  return at_edge(kColumnParallel, [&] {
    Weight own = beside_;
    own.codes.data = unpack(local_.weight()).data.transposed();
    return own;
  });
}

Tensor ColumnParallelLinear::gather(const TensorView& y) const {
  return at_edge(kColumnParallel, [&]() -> Result<Tensor> {
    const std::int64_t own = columns_.size();
    const std::int64_t last = y.rank > 0 ? y.shape[static_cast<std::size_t>(y.rank - 1)] : -1;
    Status failure;
    if (last != own) {
      failure = fail(Code::invalid_argument,
                     "{}: y.shape must be [..., {}], columns() of rank {}; got {}", kColumnParallel,
                     own, ranks_->rank(), shape_string(y));
    }
    check_alike(
        kColumnParallel, "gather", *ranks_, failure,
        std::array{Trait{"y.shape[:-1]", leading_words(y)}, Trait{"y.dtype", type_words(y)}});
    OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kColumnParallel, y, {}));
    OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out({kColumnParallel}, y, n_, y.dtype, {}, {}));
    const Tensor all = gather_columns(*ranks_, rows.view, ends_);
    OCTAVO_TRY(copy_to(kColumnParallel, all, out.rows.view, nullptr));
    return out.tensor;
  });
}

}  // namespace octavo
