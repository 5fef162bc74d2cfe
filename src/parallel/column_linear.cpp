// SPDX-License-Identifier: Apache-2.0
// Column-parallel layers: a rank's rows of the weight are a layer of their own.
#include "core/error.hpp"
#include "octavo/parallel.hpp"
#include "ops/product/lower.hpp"
#include "ops/values.hpp"
#include "parallel/alike.hpp"
#include "parallel/chunks.hpp"
#include "parallel/gather.hpp"

namespace octavo {
namespace {

std::shared_ptr<Communicator> checked(std::shared_ptr<Communicator> ranks,
                                      const ParallelOptions& options) {
  check_parallel(kColumnParallel, ranks, options);
  return ranks;
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(const Weight& weight, const TensorView& bias,
                                           std::shared_ptr<Communicator> ranks,
                                           const ParallelOptions& options)
    : ranks_(checked(std::move(ranks), options)),
      options_(options),
      n_(weight.codes.data.size(0)),
      cell_(shard_cell(weight, ShardAxis::columns)) {
  check_weights_alike(kColumnParallel, *ranks_, weight, weight.codes.data.size(1), Shared::whole,
                      bias, options);
  columns_ = shard_range(weight, ShardAxis::columns, ranks_->rank(), ranks_->size());
  for (int r = 0; r < ranks_->size(); ++r) {
    ends_.push_back(shard_range(weight, ShardAxis::columns, r, ranks_->size()).end);
  }
  Weight part = shard(weight, ShardAxis::columns, columns_);
  if (bias.defined() && (bias.rank != 1 || bias.shape[0] != n_)) {
    refuse(Code::invalid_argument, "{}: bias.shape must be [{}]; got {}", kColumnParallel, n_,
           shape_string(bias));
  }
  local_ = QuantizedLinear(
      part, bias.defined() ? bias.slice(0, columns_.begin, columns_.end) : TensorView(),
      options.backend);
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
    if (last != own) {
      return fail(Code::invalid_argument,
                  "{}: y.shape must be [..., {}], columns() of rank {}; got {}", kColumnParallel,
                  own, ranks_->rank(), shape_string(y));
    }
    OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kColumnParallel, y, {}));
    OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out({kColumnParallel}, y, n_, y.dtype, {}, {}));
    const Tensor all = gather_columns(*ranks_, rows.view, ends_);
    OCTAVO_TRY(copy_to(kColumnParallel, all, out.rows.view, nullptr));
    return out.tensor;
  });
}

}  // namespace octavo
