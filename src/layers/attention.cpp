// SPDX-License-Identifier: Apache-2.0
// Attention over keys and values in 8 bits: what its arguments must be.
#include "octavo/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "core/data/overlap.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/quantize.hpp"
#include "ops/product/lower.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"
#include "ops/scratch.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr const char* kAttention = "attention";
constexpr std::array kCacheNames{"keys", "key_scales", "values", "value_scales"};

// Codes and scales of keys, or of values.
struct Cache {
  const TensorView& codes;
  const TensorView& scales;
  const char* codes_name;
  const char* scales_name;
};

Status check_cache(const TensorView& q, const TensorView& keys, const Cache& cache) {
  const ArgNames codes_names = named(cache.codes_name);
  const ArgNames scales_names = named(cache.scales_name);
  OCTAVO_TRY(check_tensor({kAttention, &codes_names}, Arg::a, cache.codes));
  OCTAVO_TRY(check_tensor({kAttention, &scales_names}, Arg::a, cache.scales));
  const TensorView& codes = cache.codes;
  if (codes.dtype != DType::int8 && codes.dtype != DType::float8_e4m3fn) {
    return fail(Code::invalid_argument, "attention: {}.dtype must be int8 or float8_e4m3fn; got {}",
                cache.codes_name, name(codes.dtype));
  }
  if (codes.dtype != keys.dtype) {
    return fail(Code::invalid_argument, "attention: values.dtype must be that of keys, {}; got {}",
                name(keys.dtype), name(codes.dtype));
  }
  if (codes.rank != 4 || codes.shape[3] != q.shape[3]) {
    return fail(Code::invalid_argument,
                "attention: {}.shape must be [pages, page_size, H_kv, {}] (q's D); got {}",
                cache.codes_name, q.shape[3], shape_string(codes));
  }
  if (shape_string(codes) != shape_string(keys)) {
    return fail(Code::invalid_argument, "attention: values.shape must be that of keys, {}; got {}",
                shape_string(keys), shape_string(codes));
  }
  if (codes.shape[3] > 1 && codes.strides[3] != 1) {
    return fail(Code::invalid_argument, "attention: {}.strides must be 1 along D; got {}",
                cache.codes_name, codes.strides[3]);
  }
  const TensorView& scales = cache.scales;
  if (scales.dtype != DType::float32) {
    return fail(Code::invalid_argument, "attention: {}.dtype must be float32; got {}",
                cache.scales_name, name(scales.dtype));
  }
  if (scales.rank != 3 || scales.shape[0] != codes.shape[0] || scales.shape[1] != codes.shape[1] ||
      scales.shape[2] != codes.shape[2]) {
    return fail(Code::invalid_argument, "attention: {}.shape must be [{}, {}, {}]; got {}",
                cache.scales_name, codes.shape[0], codes.shape[1], codes.shape[2],
                shape_string(scales));
  }
  if (reinterpret_cast<std::uintptr_t>(scales.data) % alignof(float) != 0) {
    return fail(Code::invalid_argument,
                "attention: {}.data must be a multiple of {} bytes; got {} bytes beyond one",
                cache.scales_name, alignof(float),
                reinterpret_cast<std::uintptr_t>(scales.data) % alignof(float));
  }
  OCTAVO_TRY(
      check_device_of(std::string("attention: ") + cache.codes_name, codes.device, "q", q.device));
  return check_device_of(std::string("attention: ") + cache.scales_name, scales.device, "q",
                         q.device);
}

CodedTokens tokens_of(const Cache& cache) noexcept {
  CodedTokens tokens;
  tokens.codes = static_cast<const std::int8_t*>(cache.codes.data);
  tokens.scales = static_cast<const float*>(cache.scales.data);
  for (std::size_t d = 0; d < 3; ++d) {
    tokens.strides[d] = cache.codes.strides[d];
    tokens.scale_strides[d] = cache.scales.strides[d];
  }
  return tokens;
}

// A list of integers of the call, one row for each sequence, read once: another thread may be
// writing the caller's.
Result<std::vector<std::int64_t>> read_list(const char* argument, const TensorView& list, int rank,
                                            const TensorView& q, const ExecContext& context) {
  const ArgNames names = named(argument);
  OCTAVO_TRY(check_tensor({kAttention, &names}, Arg::a, list));
  if (list.dtype != DType::int32 && list.dtype != DType::int64) {
    return fail(Code::invalid_argument, "attention: {}.dtype must be int32 or int64; got {}",
                argument, name(list.dtype));
  }
  if (list.rank != rank || list.shape[0] != q.shape[0]) {
    return fail(Code::invalid_argument, "attention: {}.shape must be [{}{}]; got {}", argument,
                q.shape[0], rank == 2 ? ", P" : "", shape_string(list));
  }
  OCTAVO_TRY(check_device_of(std::string("attention: ") + argument, list.device, "q", q.device));
  return integers_of(kAttention, list, context.stream);
}

// Where the tokens of each sequence are, and how many.
struct Sequences {
  std::vector<std::int64_t> pages, lengths, starts;
  std::int64_t of_one = 1;  ///< pages in the table
};

Result<Sequences> read_sequences(const TensorView& q, const TensorView& keys,
                                 const AttentionOptions& o, const ExecContext& context) {
  Sequences s;
  const std::int64_t batch = q.shape[0];
  if (o.block_table.defined()) {
    OCTAVO_TRY_ASSIGN(s.pages, read_list("block_table", o.block_table, 2, q, context));
    s.of_one = o.block_table.shape[1];
  } else if (keys.shape[0] != batch) {
    return fail(Code::invalid_argument,
                "attention: keys.shape must begin with {}, a page for each sequence, without a "
                "block_table; got {}",
                batch, shape_string(keys));
  } else {
    for (std::int64_t b = 0; b < batch; ++b) s.pages.push_back(b);
  }
  const std::int64_t most = saturating_product(s.of_one, keys.shape[1]);
  s.lengths.assign(static_cast<std::size_t>(batch), most);
  if (o.lengths.defined()) {
    OCTAVO_TRY_ASSIGN(s.lengths, read_list("lengths", o.lengths, 1, q, context));
  }
  s.starts.assign(static_cast<std::size_t>(batch), 0);
  if (o.starts.defined()) {
    OCTAVO_TRY_ASSIGN(s.starts, read_list("starts", o.starts, 1, q, context));
  }
  for (std::size_t b = 0; b < s.lengths.size(); ++b) {
    const std::int64_t length = s.lengths[b];
    if (length < 0 || length > most) {
      return fail(Code::invalid_argument, "attention: lengths[{}] must be in [0, {}]; got {}", b,
                  most, length);
    }
    if (s.starts[b] < 0) {
      return fail(Code::invalid_argument, "attention: starts[{}] must be at least 0; got {}", b,
                  s.starts[b]);
    }
    s.starts[b] = std::min(s.starts[b], most);
    const std::int64_t used = length == 0 ? 0 : (length - 1) / keys.shape[1] + 1;
    for (std::int64_t i = 0; i < used; ++i) {
      const std::int64_t page =
          s.pages[b * static_cast<std::size_t>(s.of_one) + static_cast<std::size_t>(i)];
      if (page < 0 || page >= keys.shape[0]) {
        return fail(Code::invalid_argument,
                    "attention: block_table[{}, {}] must be in [0, {}); got {}", b, i,
                    keys.shape[0], page);
      }
    }
  }
  return s;
}

Status check_queries(const TensorView& q, const AttentionOptions& o) {
  if (q.rank != 4) {
    return fail(Code::invalid_argument, "attention: q.shape must be [B, T, H, D]; got {}",
                shape_string(q));
  }
  if (q.shape[3] > kMostHeadElements) {
    return fail(Code::unsupported, "attention: q.shape[3] must be at most {}; got {}",
                kMostHeadElements, q.shape[3]);
  }
  if (!std::isfinite(o.scale)) {
    return fail(Code::invalid_argument, "attention: scale must be finite; got {}", o.scale);
  }
  if (o.window < 0) {
    return fail(Code::invalid_argument, "attention: window must be at least 0; got {}", o.window);
  }
  return {};
}

Status check_heads(const TensorView& q, const TensorView& keys) {
  const std::int64_t heads = keys.shape[2];
  if (q.shape[2] == 0 || (heads > 0 && q.shape[2] % heads == 0)) return {};
  return fail(Code::invalid_argument,
              "attention: q.shape[2] must be a multiple of keys.shape[2]; got {} and {}",
              q.shape[2], heads);
}

// Rows as they are multiplied: codes with scales beside keys of int8, else float32.
Result<Quantized> read_queries(const TensorView& rows, DType keys, const ExecContext& context,
                               AttentionProblem& p) {
  Quantized queries;
  if (keys != DType::int8) {
    OCTAVO_TRY_ASSIGN(queries.data, converted(kAttention, rows, DType::float32, context));
    p.q_floats = queries.data.data_as<float>();
    return queries;
  }
  const Place place = context.place(rows.device);
  queries.data = Tensor::empty(DType::int8, {p.rows(), p.depth}, place);
  queries.scale = Tensor::empty(DType::float32, {p.rows(), 1}, place);
  queries.grid = scale_grid(per_token(), Side::a);
  quantize_into(rows, {}, queries, context);
  p.q = queries.data.data_as<std::int8_t>();
  p.q_scales = queries.scale.data_as<float>();
  return queries;
}

Status run_pass(const Backend& backend, const AttentionProblem& problem, const Device& device,
                const ExecContext& given) {
  PinnedExecutor executor(executor_of(given));
  ExecContext context = given;
  context.executor = &executor;
  // It makes calls faster and changes no bit, so nobody has to lend it.
  context.workspace = nullptr;
  OCTAVO_TRY_ASSIGN(
      Scratch scratch,
      find_scratch(kAttention, backend.passes.attention_scratch(problem, executor.concurrency()),
                   device, context));
  const Status status = backend.passes.attention(problem, scratch.data, context);
  keep_scratch(scratch);
  return status;
}

Result<Tensor> run_attention(const TensorView& q, const std::array<Cache, 2>& caches,
                             const AttentionOptions& o, const ExecContext& context) {
  const ArgNames names = named("q");
  const Site site{kAttention, &names};
  OCTAVO_TRY(check_device(kAttention, context));
  OCTAVO_TRY(check_float(site, Arg::a, q));
  OCTAVO_TRY(check_queries(q, o));
  const TensorView& keys = caches[0].codes;
  for (const Cache& cache : caches) OCTAVO_TRY(check_cache(q, keys, cache));
  OCTAVO_TRY(check_heads(q, keys));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kAttention, q.device, o.backend));
  if (backend->passes.attention == nullptr) {
    return fail(Code::unavailable, "attention: q.device must be the CPU; got {}",
                device_string(q.device));
  }
  OCTAVO_TRY_ASSIGN(const Sequences sequences, read_sequences(q, keys, o, context));
  OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out(site, q, q.shape[3], q.dtype, o.out, context));
  if (o.out.defined()) {
    std::size_t i = 0;
    for (const TensorView* other :
         {&caches[0].codes, &caches[0].scales, &caches[1].codes, &caches[1].scales}) {
      if (overlap(o.out, *other)) {
        return fail(Code::invalid_argument, "attention: out must not overlap {}; got shared memory",
                    kCacheNames[i]);
      }
      ++i;
    }
  }
  AttentionProblem p;
  p.batch = q.shape[0], p.queries = q.shape[1], p.heads = q.shape[2];
  p.kv_heads = keys.shape[2], p.depth = q.shape[3];
  p.out = out.rows.view;
  if (p.rows() == 0 || p.depth == 0) return out.tensor;
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kAttention, q, context));
  OCTAVO_TRY_ASSIGN(const Quantized queries, read_queries(rows.view, keys.dtype, context, p));
  p.keys = tokens_of(caches[0]), p.values = tokens_of(caches[1]);
  p.page_size = keys.shape[1];
  p.table_step = sequences.of_one;
  p.pages = sequences.pages.data();
  p.lengths = sequences.lengths.data();
  p.starts = sequences.starts.data();
  p.scale =
      o.scale != 0.0F ? o.scale : static_cast<float>(1.0 / std::sqrt(static_cast<double>(p.depth)));
  p.causal = !o.bidirectional;
  p.window = o.window;
  OCTAVO_TRY(run_pass(*backend, p, q.device, context));
  OCTAVO_TRY(out.finish(kAttention, context));
  return out.tensor;
}

}  // namespace

Tensor attention(const TensorView& q, const TensorView& keys, const TensorView& key_scales,
                 const TensorView& values, const TensorView& value_scales,
                 const AttentionOptions& options, const ExecContext& context) {
  const std::array<Cache, 2> caches{Cache{keys, key_scales, "keys", "key_scales"},
                                    Cache{values, value_scales, "values", "value_scales"}};
  return at_edge(kAttention, [&] { return run_attention(q, caches, options, context); });
}

}  // namespace octavo
