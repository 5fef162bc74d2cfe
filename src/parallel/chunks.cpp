// SPDX-License-Identifier: Apache-2.0
#include "parallel/chunks.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "ops/rules.hpp"

namespace octavo {
namespace {

constexpr std::int64_t kLeastBlockRows = 64;
constexpr std::int64_t kBlockBytes = std::int64_t{16} << 20;  // of a rank's chunks

std::int64_t block_rows(std::int64_t n, std::int64_t chunks) {
  const std::int64_t row = std::max<std::int64_t>(n, 1) * 4 * std::max<std::int64_t>(chunks, 1);
  return std::max(kLeastBlockRows, kBlockBytes / row);
}

}  // namespace

void check_ranks(const char* layer, const std::shared_ptr<Communicator>& ranks) {
  if (ranks == nullptr) {
    refuse(Code::invalid_argument, "{}: ranks must be a communicator; got none", layer);
  }
}

void check_options(const char* layer, const ParallelOptions& options) {
  if (options.k_chunks < 0 || options.k_chunks > kMostChunks) {
    refuse(Code::invalid_argument, "{}: options.k_chunks must be in [0, {}]; got {}", layer,
           kMostChunks, options.k_chunks);
  }
  if (options.overlap_rows < 0) {
    refuse(Code::invalid_argument, "{}: options.overlap_rows must be at least 0; got {}", layer,
           options.overlap_rows);
  }
}

std::vector<ShardRange> chunks_of(const ParallelOptions& options, std::int64_t extent,
                                  std::int64_t cell, int rank, int ranks) {
  const int asked = std::max(options.k_chunks, 1);
  const int count = asked % ranks == 0 ? asked : ranks;
  const int each = count / ranks;
  std::vector<ShardRange> chunks;
  for (int c = rank * each; c < (rank + 1) * each; ++c) {
    chunks.push_back(shard_range(extent, c, count, cell));
  }
  return chunks;
}

void fold_chunks(Communicator& ranks, std::int64_t count, const MakeChunk& make,
                 const Tensor& total) {
  const std::int64_t m = total.size(0);
  const std::int64_t n = total.size(1);
  const std::int64_t block = std::min(m, block_rows(n, count));
  const Tensor chunks = Tensor::empty(DType::float32, {count, block, n});
  for (std::int64_t m0 = 0; m0 < m; m0 += block) {
    const std::int64_t rows = std::min(block, m - m0);
    const auto chunk = [&](std::int64_t i) { return chunks.data_as<float>() + i * block * n; };
    for (std::int64_t i = 0; i < count; ++i) {
      make(i, m0, m0 + rows, {chunk(i), DType::float32, {rows, n}});
    }
    float* t = total.data_as<float>() + m0 * n;
    const std::int64_t bytes = rows * n * 4;
    if (ranks.rank() == 0) {
      std::fill_n(t, rows * n, 0.0F);
    } else {
      ranks.receive(ranks.rank() - 1, t, bytes);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const float* from = chunk(i);
      for (std::int64_t e = 0; e < rows * n; ++e) t[e] += from[e];
    }
    if (ranks.rank() + 1 < ranks.size()) ranks.send(ranks.rank() + 1, t, bytes);
  }
}

}  // namespace octavo
