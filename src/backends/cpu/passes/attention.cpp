// SPDX-License-Identifier: Apache-2.0
// Attention over tokens in 8 bits: rows that read one head go through its chunks together.
//
// Where there are few such groups of rows, their chunks are shared out to threads as well and added
// up afterwards, in the same order: the bits are the same.
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/arena.hpp"
#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

static_assert(kAttentionChunk == kChunkTokens && kMostHeadElements == kHeadElements);

constexpr std::int64_t kRows = 8;
constexpr std::int64_t kStep = 16;  // tokens that kernels take at a time
constexpr auto kChunkSize = static_cast<std::size_t>(kChunkTokens);
constexpr auto kHeadSize = static_cast<std::size_t>(kHeadElements);
constexpr std::int64_t kSumBytes = 4;

constexpr std::int64_t step_down(std::int64_t n) noexcept { return n / kStep * kStep; }
constexpr std::int64_t step_up(std::int64_t n) noexcept { return (n + kStep - 1) / kStep * kStep; }

// Tokens of a chunk as kernels want them; some row sees [first, end) of its positions.
struct Chunk {
  std::int64_t base = 0, first = 0, end = 0;
  std::array<const std::int8_t*, kChunkSize> keys, values;
  alignas(64) std::array<float, kChunkSize> key_scales;
  alignas(64) std::array<float, kChunkSize> value_scales;
};

// Rows of kHeadElements elements, of four bytes each at most.
class RowsOfHeads {
 public:
  template <class T>
  T* as() noexcept {
    return reinterpret_cast<T*>(bytes_.data());
  }
  template <class T>
  const T* as() const noexcept {
    return reinterpret_cast<const T*>(bytes_.data());
  }

 private:
  alignas(64) std::array<char, kRows * kHeadSize * kSumBytes> bytes_;
};

// What rows make of a chunk: sums of codes (int32) or of floats.
struct Parts {
  std::array<ChunkTotals, kRows> totals;
  RowsOfHeads sums;

  const char* of_row(std::int64_t i) const noexcept {
    return sums.as<char>() + i * kHeadElements * kSumBytes;
  }
};

// Rows of a sequence that read one head, eight at most.
struct Block {
  const AttentionProblem& p;
  std::int64_t sequence = 0, kv_head = 0, count = 0;
  std::array<std::int64_t, kRows> rows{};  ///< in the problem's order
  std::array<SeenTokens, kRows> seen{};
  SeenTokens all{};  ///< what some row sees
  RowsOfHeads q;     ///< codes or floats, as the problem's

  Block(const AttentionProblem& problem, std::int64_t index) noexcept : p(problem) {
    const std::int64_t group = p.heads / p.kv_heads;
    const std::int64_t of_head = p.queries * group;
    const std::int64_t blocks = (of_head + kRows - 1) / kRows;
    sequence = index / (p.kv_heads * blocks);
    kv_head = index / blocks % p.kv_heads;
    const std::int64_t first = index % blocks * kRows;
    count = std::min(kRows, of_head - first);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t query = (first + i) / group;
      const auto at = static_cast<std::size_t>(i);
      rows[at] = (sequence * p.queries + query) * p.heads + kv_head * group + (first + i) % group;
      seen[at] = seen_tokens(p, sequence, query);
      const auto [begin, end] = seen[at];
      if (begin < end) {
        all.first = all.end == 0 ? begin : std::min(all.first, begin);
        all.end = std::max(all.end, end);
      }
      if (p.q_floats != nullptr) {
        put_row(p.q_floats, i);
      } else {
        put_row(p.q, i);
      }
    }
  }

  // Of row i; its sums or products and their factor are still missing.
  ChunkScores scores(std::int64_t i, const Chunk& chunk) const noexcept {
    const SeenTokens& row = seen[static_cast<std::size_t>(i)];
    return {.key_scales = chunk.key_scales.data(),
            .value_scales = chunk.value_scales.data(),
            .first = std::max(chunk.first, row.first - chunk.base),
            .end = std::min(chunk.end, row.end - chunk.base)};
  }

 private:
  // Zeros follow.
  template <class T>
  void put_row(const T* from, std::int64_t i) noexcept {
    T* to = q.as<T>() + i * kHeadElements;
    std::copy_n(from + rows[static_cast<std::size_t>(i)] * p.depth, p.depth, to);
    std::fill(to + p.depth, to + (p.depth + 63) / 64 * 64, T{});
  }
};

std::int64_t block_count(const AttentionProblem& p) noexcept {
  const std::int64_t of_head = p.queries * (p.heads / p.kv_heads);
  return p.batch * p.kv_heads * ((of_head + kRows - 1) / kRows);
}
std::int64_t chunk_count(const AttentionProblem& p) noexcept {
  std::int64_t longest = 0;
  for (std::int64_t b = 0; b < p.batch; ++b) longest = std::max(longest, p.lengths[b]);
  return (longest + kChunkTokens - 1) / kChunkTokens;
}

std::int64_t place(const std::array<std::int64_t, 3>& strides, std::int64_t page, std::int64_t slot,
                   std::int64_t head) noexcept {
  return page * strides[0] + slot * strides[1] + head * strides[2];
}

// Tokens [first, end) of a chunk at `base`; what fills up steps of sixteen has the scale 0.
void gather(const Block& b, std::int64_t base, std::int64_t first, std::int64_t end,
            Chunk& chunk) noexcept {
  const AttentionProblem& p = b.p;
  chunk.base = base, chunk.first = first - base, chunk.end = end - base;
  for (std::int64_t j = step_down(first - base); j < step_up(end - base); ++j) {
    const std::int64_t token = std::clamp(base + j, first, end - 1);
    const std::int64_t page = p.pages[b.sequence * p.table_step + token / p.page_size];
    const std::int64_t slot = token % p.page_size;
    const auto at = static_cast<std::size_t>(j);
    chunk.keys[at] = p.keys.codes + place(p.keys.strides, page, slot, b.kv_head);
    chunk.values[at] = p.values.codes + place(p.values.strides, page, slot, b.kv_head);
    const bool there = token == base + j;
    const auto scale = [&](const CodedTokens& tokens) {
      return there ? tokens.scales[place(tokens.scale_strides, page, slot, b.kv_head)] : 0.0F;
    };
    chunk.key_scales[at] = scale(p.keys);
    chunk.value_scales[at] = scale(p.values);
  }
}

// visit(j, token) of a chunk's tokens that are seen, as floats, one after the other.
template <class Visit>
void each_token(std::int64_t depth, const std::array<const std::int8_t*, kChunkSize>& codes,
                const Chunk& chunk, const Visit& visit) noexcept {
  alignas(64) std::array<float, kHeadSize> token;
  std::fill(token.begin() + depth, token.begin() + step_up(depth), 0.0F);
  for (std::int64_t j = chunk.first; j < chunk.end; ++j) {
    best_kernels().widen(DType::float8_e4m3fn, codes[static_cast<std::size_t>(j)], depth,
                         token.data());
    visit(j, token.data());
  }
}

void run_float_chunk(const Block& b, const Chunk& chunk, Parts& parts) noexcept {
  const Kernels& kernels = best_kernels();
  const std::int64_t depth = b.p.depth;
  auto* const sums = parts.sums.as<float>();
  alignas(64) std::array<float, kRows * kChunkSize> products{};
  alignas(64) std::array<float, kRows * kChunkSize> weights;
  each_token(depth, chunk.keys, chunk, [&](std::int64_t j, const float* key) {
    kernels.attention_products(b.q.as<float>(), b.count, depth, key, products.data() + j);
  });
  std::array<ChunkScores, kRows> scores;
  for (std::int64_t i = 0; i < b.count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    scores[at] = b.scores(i, chunk);
    scores[at].products = products.data() + i * kChunkTokens;
    scores[at].factor = b.p.scale;
    float* const to = weights.data() + i * kChunkTokens;
    parts.totals[at] = kernels.attention_float_weights(scores[at], to);
    std::fill_n(sums + i * kHeadElements, step_up(depth), 0.0F);
  }
  each_token(depth, chunk.values, chunk, [&](std::int64_t j, const float* value) {
    for (std::int64_t i = 0; i < b.count; ++i) {
      const ChunkScores& row = scores[static_cast<std::size_t>(i)];
      if (j < row.first || j >= row.end) continue;
      float* const to = sums + i * kHeadElements;
      const float weight = weights[static_cast<std::size_t>(i * kChunkTokens + j)];
      kernels.add_scaled(value, weight, depth, to, to);
    }
  });
}

// Chunk `index` of the block's rows.
void run_chunk(const Block& b, std::int64_t index, Parts& parts) noexcept {
  const Kernels& kernels = best_kernels();
  const AttentionProblem& p = b.p;
  const std::int64_t base = p.starts[b.sequence] + index * kChunkTokens;
  const std::int64_t first = std::max(base, b.all.first);
  const std::int64_t end = std::min(base + kChunkTokens, b.all.end);
  parts.totals = {};
  if (first >= end) return;
  Chunk chunk;
  gather(b, base, first, end, chunk);
  if (p.q_floats != nullptr) return run_float_chunk(b, chunk, parts);
  const auto from = static_cast<std::size_t>(step_down(first - base));
  const std::int64_t tokens = step_up(end - base) - step_down(first - base);
  alignas(64) std::array<std::int32_t, kRows * kChunkSize> sums;
  alignas(64) std::array<std::int16_t, kRows * kChunkSize> weights;
  kernels.attention_scores(b.q.as<std::int8_t>(), b.count, p.depth, chunk.keys.data() + from,
                           tokens, sums.data() + from);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    ChunkScores scores = b.scores(i, chunk);
    scores.sums = sums.data() + i * kChunkTokens;
    scores.factor = p.q_scales[b.rows[at]] * p.scale;
    parts.totals[at] = kernels.attention_weights(scores, weights.data() + i * kChunkTokens);
  }
  kernels.attention_values(weights.data() + from, b.count, p.depth, chunk.values.data() + from,
                           tokens, parts.sums.as<std::int32_t>());
}

// Rows on their way through chunks.
struct Sums {
  RowTotals totals;
  alignas(64) std::array<float, kHeadSize> out{};

  // `sums`: of codes or of floats.
  void add(const AttentionProblem& p, const ChunkTotals& chunk, const void* sums) noexcept {
    if (chunk.total == 0.0F) return;
    const Kernels& kernels = best_kernels();
    if (p.q_floats != nullptr) {
      kernels.attention_add_floats(chunk, static_cast<const float*>(sums), p.depth, totals,
                                   out.data());
    } else {
      kernels.attention_add(chunk, static_cast<const std::int32_t*>(sums), p.depth, totals,
                            out.data());
    }
  }
  void write(const AttentionProblem& p, std::int64_t row, bool any) noexcept {
    for (std::int64_t d = 0; d < p.depth; ++d) {
      float& x = out[static_cast<std::size_t>(d)];
      x = any ? x / totals.total : 0.0F;
      if (x != x) x = std::numeric_limits<float>::quiet_NaN();
    }
    narrow(best_kernels(), p.out.dtype, out.data(), p.depth, p.out.at(row * p.out.strides[0]),
           p.out.strides[1], Overflow::saturate);
  }
};

void run_block(const AttentionProblem& p, std::int64_t index) noexcept {
  const Block block(p, index);
  std::array<Sums, kRows> sums;
  Parts parts;
  const std::int64_t start = p.starts[block.sequence];
  for (std::int64_t c = (block.all.first - start) / kChunkTokens;
       start + c * kChunkTokens < block.all.end; ++c) {
    run_chunk(block, c, parts);
    for (std::int64_t i = 0; i < block.count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      sums[at].add(p, parts.totals[at], parts.of_row(i));
    }
  }
  for (std::int64_t i = 0; i < block.count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    sums[at].write(p, block.rows[at], block.seen[at].first < block.seen[at].end);
  }
}

// Chunks of every row, shared out one by one.
struct Shared {
  std::int64_t chunks, row_bytes;
  ChunkTotals* totals;
  char* sums;

  Shared(const AttentionProblem& p, Arena& arena) noexcept
      : chunks(chunk_count(p)),
        row_bytes((p.depth + 63) / 64 * 64 * static_cast<std::int64_t>(sizeof(float))),
        totals(arena.take<ChunkTotals>(saturating_product(p.rows(), chunks))),
        sums(
            arena.take<char>(saturating_product(saturating_product(p.rows(), chunks), row_bytes))) {
  }
};

void run_shared(const AttentionProblem& p, const Shared& shared,
                const ExecContext& context) noexcept {
  parallel_for(context, block_count(p) * shared.chunks, [&](std::int64_t task) {
    const Block block(p, task / shared.chunks);
    const std::int64_t chunk = task % shared.chunks;
    Parts parts;
    run_chunk(block, chunk, parts);
    for (std::int64_t i = 0; i < block.count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::int64_t to = block.rows[at] * shared.chunks + chunk;
      shared.totals[to] = parts.totals[at];
      if (parts.totals[at].total == 0.0F) continue;
      std::memcpy(shared.sums + to * shared.row_bytes, parts.of_row(i),
                  static_cast<std::size_t>(shared.row_bytes));
    }
  });
  const std::int64_t bands = bands_of(context, p.rows(), p.rows() * shared.chunks * p.depth);
  for_each_band(context, bands, p.rows(), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      Sums sums;
      bool any = false;
      for (std::int64_t c = 0; c < shared.chunks; ++c) {
        const std::int64_t from = r * shared.chunks + c;
        any = any || shared.totals[from].total != 0.0F;
        sums.add(p, shared.totals[from], shared.sums + from * shared.row_bytes);
      }
      sums.write(p, r, any);
    }
  });
}

}  // namespace

std::size_t attention_scratch(const AttentionProblem& problem, int threads) noexcept {
  // So many blocks for each thread keep all of them busy.
  constexpr std::int64_t kBlocks = 4;
  if (threads < 2 || block_count(problem) >= kBlocks * threads || chunk_count(problem) < 2)
    return 0;
  Arena arena(nullptr);
  const Shared shared(problem, arena);
  return arena.used();
}

Status attention(const AttentionProblem& problem, void* scratch,
                 const ExecContext& context) noexcept {
  if (scratch != nullptr) {
    Arena arena(scratch);
    run_shared(problem, Shared(problem, arena), context);
    return {};
  }
  parallel_for(context, block_count(problem),
               [&](std::int64_t block) { run_block(problem, block); });
  return {};
}

}  // namespace octavo::cpu
