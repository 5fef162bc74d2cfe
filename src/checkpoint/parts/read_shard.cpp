// SPDX-License-Identifier: Apache-2.0
// A rank's part of a checkpoint's layers.
#include <memory>
#include <vector>

#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/sentence.hpp"
#include "weights/shard.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kReadShard = "read_shard";

/// The elements of some rows or columns, in the type that the weight takes them for.
Tensor read_part(const Checkpoint::Impl& in, const CodesInPlace& codes, ShardAxis axis,
                 const ShardRange& range, DType dtype) {
  const bool rows = axis == ShardAxis::columns;
  const MatrixPlace at = rows ? rows_of(codes.at, range.begin, range.size())
                              : columns_of(codes.at, range.begin, range.size());
  const Tensor stored = read_matrix(in, *codes.entry, at);
  TensorView view = stored.view();
  view.dtype = dtype;
  return Tensor::adopt(std::make_shared<Tensor>(stored), view);
}

Weight read_one(const Checkpoint& checkpoint, std::string_view prefix, ShardAxis axis,
                std::int64_t rank, std::int64_t world) {
  CodesInPlace codes;
  const Weight whole = read_weight(checkpoint, std::string(prefix), &codes);
  const ShardRange range = shard_range(whole, axis, rank, world);
  if (codes.entry == nullptr) return shard(whole, axis, range);
  Weight part = shard_beside_codes(whole, axis, range);
  part.codes.data = read_part(checkpoint.impl(), codes, axis, range, whole.codes.data.dtype());
  return part;
}

}  // namespace

ShardRange shard_range(const Checkpoint& checkpoint, std::string_view prefix, ShardAxis axis,
                       std::int64_t rank, std::int64_t world) {
  return at_edge("shard_range", [&] {
    check_rank("shard_range", rank, world);
    CodesInPlace codes;
    return shard_range(read_weight(checkpoint, std::string(prefix), &codes), axis, rank, world);
  });
}

Weight read_shard(const Checkpoint& checkpoint, std::string_view prefix, ShardAxis axis,
                  std::int64_t rank, std::int64_t world) {
  return at_edge(kReadShard, [&] {
    check_rank(kReadShard, rank, world);
    return read_one(checkpoint, prefix, axis, rank, world);
  });
}

Weight read_shard(const Checkpoint& checkpoint, std::span<const std::string> prefixes,
                  ShardAxis axis, std::int64_t rank, std::int64_t world) {
  return at_edge(kReadShard, [&] {
    check_rank(kReadShard, rank, world);
    if (prefixes.empty()) {
      refuse(Code::invalid_argument, "read_shard: prefixes must have at least one entry; got none");
    }
    std::vector<Weight> parts;
    for (const std::string& prefix : prefixes) {
      parts.push_back(read_one(checkpoint, prefix, axis, rank, world));
    }
    return fuse(parts);
  });
}

}  // namespace octavo
