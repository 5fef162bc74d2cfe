// SPDX-License-Identifier: Apache-2.0
// vLLM's helpers: scales of fused weights, conversions, what is built.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "backends/backend.hpp"
#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "layers/w8a8.hpp"
#include "octavo/w8a8_utils.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo::w8a8_utils {
namespace {

constexpr ArgNames kWeightNames{
    .a = "weight", .b = "weight", .scale_a = "input_scale", .scale_b = "weight_scale"};
constexpr ArgNames kDequantizeNames{.a = "tensor", .scale_b = "inv_scale"};
constexpr ArgNames kCloseNames = named("x");

// ---- scales of shards --------------------------------------------------------------------------

// The scale that each shard has, once the checkpoint's way of loading is understood.
struct ShardScales {
  std::vector<float> scale;
  float largest = 1.0F;  // of the shards that have rows
  std::int64_t rows = 0;
};

Status check_widths(const Site& site, std::span<const std::int64_t> widths, std::int64_t* rows) {
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] >= 0 && !__builtin_add_overflow(*rows, widths[i], rows)) continue;
    return fail(Code::invalid_argument,
                "{}: logical_widths[{}] must be at least 0 and their sum less than 2^63; got {}",
                site.operation, i, widths[i]);
  }
  return {};
}

Status check_shard_scale(const Site& site, std::size_t shard, float scale) {
  if (std::isfinite(scale) && scale >= 0.0F) return {};
  const bool unset = scale == kUnsetScale;
  return fail(Code::invalid_argument,
              "{}[{}] must be loaded, finite and at least 0 (or be the only one loaded); got {}",
              site(Arg::scale_b), shard, unset ? "none loaded" : fmt::format("{}", scale));
}

// A scale for each shard, from [S], [S, 1] or one element.
Result<std::vector<float>> given_scales(const Site& site, const TensorView& v, std::size_t shards) {
  OCTAVO_TRY(check_float(site, Arg::scale_b, v));
  const bool one = v.numel() == 1;
  const bool vector = v.rank == 1 || (v.rank == 2 && v.shape[1] == 1);
  if (!one && !(vector && v.shape[0] == static_cast<std::int64_t>(shards))) {
    return fail(Code::invalid_argument,
                "{}.shape must be one element or [{}], one for each of logical_widths; got {}",
                site(Arg::scale_b), shards, shape_string(v));
  }
  OCTAVO_TRY_ASSIGN(std::vector<float> scales, floats_of(site.operation, v, nullptr));
  if (one) scales.resize(shards, scales.front());
  return scales;
}

Result<ShardScales> shard_scales(const Site& site, const TensorView& weight_scale,
                                 std::span<const std::int64_t> widths) {
  ShardScales shards;
  OCTAVO_TRY(check_widths(site, widths, &shards.rows));
  OCTAVO_TRY_ASSIGN(shards.scale, given_scales(site, weight_scale, widths.size()));
  const auto loaded = [](float scale) { return scale != kUnsetScale; };
  if (std::ranges::count_if(shards.scale, loaded) == 1) {
    const float only = *std::ranges::find_if(shards.scale, loaded);
    std::ranges::fill(shards.scale, only);
  }
  bool any = false;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] == 0) continue;
    OCTAVO_TRY(check_shard_scale(site, i, shards.scale[i]));
    shards.largest = any ? std::max(shards.largest, shards.scale[i]) : shards.scale[i];
    any = true;
  }
  return shards;
}

// ---- codes through a table ---------------------------------------------------------------------

Status check_weight(const Site& site, const TensorView& weight, std::int64_t rows) {
  OCTAVO_TRY(check_tensor(site, Arg::a, weight));
  if (!is_float8(weight.dtype) || weight.rank != 2) {
    return fail(Code::invalid_argument, "{} must be 2-D [N, K] of a float8 type; got {} {}",
                site(Arg::a), name(weight.dtype), shape_string(weight));
  }
  if (weight.shape[0] == rows) return {};
  return fail(Code::invalid_argument, "{}: logical_widths must add up to {}.shape[0] = {}; got {}",
              site.operation, site.bare(Arg::a), weight.shape[0], rows);
}

// Replaces the codes of rows by a table's.
Status map_rows(const char* operation, const MatrixView& codes, const CodeTable& table,
                const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, codes.device, nullptr));
  return backend->passes.map_codes({codes, table}, context);
}

Result<Requantized> run_requantize(const TensorView& weight, const TensorView& weight_scale,
                                   std::span<const std::int64_t> widths, bool in_place,
                                   const ExecContext& context) {
  const Site site{"requantize_with_max_scale", &kWeightNames};
  OCTAVO_TRY_ASSIGN(const ShardScales shards, shard_scales(site, weight_scale, widths));
  OCTAVO_TRY(check_weight(site, weight, shards.rows));
  Requantized result;
  OCTAVO_TRY_ASSIGN(result.scale, filled(site.operation, DType::float32, {}, shards.largest,
                                         context.place(weight.device)));
  result.weight =
      in_place ? Tensor::adopt(nullptr, weight) : copy(weight, weight.dtype, context.stream);
  std::int64_t row = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const float scale = shards.scale[i];
    if (widths[i] > 0 && scale != shards.largest) {
      OCTAVO_TRY(map_rows(site.operation, result.weight.view().slice(0, row, row + widths[i]),
                          rescaled_codes(weight.dtype, scale, shards.largest), context));
    }
    row += widths[i];
  }
  return result;
}

// ---- conversions -------------------------------------------------------------------------------

Result<float> one_number(const Site& site, const Scale& scale) {
  if (scale.kind() == Scale::Kind::number) return scale.number();
  OCTAVO_TRY(check_float(site, Arg::scale_b, scale.values()));
  const TensorView& v = scale.values();
  if (v.numel() != 1) {
    return fail(Code::invalid_argument, "{} must be a number or have one element; got {}",
                site(Arg::scale_b), shape_string(v));
  }
  OCTAVO_TRY_ASSIGN(const std::vector<float> value, floats_of(site.operation, v, nullptr));
  return value.front();
}

// All elements of a compact tensor as one row.
MatrixView as_row(const TensorView& v) noexcept {
  return matrix_view(v.data, v.dtype, 1, v.numel(), v.device);
}

// out = in * factor, both row-major, apart.
Status multiply(const char* operation, const TensorView& in, float factor, const TensorView& out,
                const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, in.device, nullptr));
  RescaleProblem r;
  r.source = as_row(in);
  r.scales[0].kind = ScaleKind::number;
  r.scales[0].number = factor;
  r.out = as_row(out);
  return backend->passes.rescale(r, context);
}

Result<Tensor> run_dequantize(const TensorView& tensor, const Scale& inv_scale,
                              const ExecContext& context) {
  const Site site{"per_tensor_dequantize", &kDequantizeNames};
  OCTAVO_TRY(check_tensor(site, Arg::a, tensor));
  if (!is_floating(tensor.dtype) && !is_integer8(tensor.dtype)) {
    return fail(Code::invalid_argument,
                "{}.dtype must be an 8-bit type or a 16- or 32-bit float type; got {}",
                site(Arg::a), name(tensor.dtype));
  }
  OCTAVO_TRY_ASSIGN(const float factor, one_number(site, inv_scale));
  OCTAVO_TRY_ASSIGN(const Tensor out,
                    Tensor::try_empty(site.operation, DType::float16, tensor.dims(),
                                      context.place(tensor.device)));
  const Tensor compact = tensor.contiguous() ? Tensor::adopt(nullptr, tensor)
                                             : copy(tensor, tensor.dtype, context.stream);
  OCTAVO_TRY(multiply(site.operation, compact, factor, out, context));
  return out;
}

Result<bool> run_all_close(const TensorView& x) {
  const Site site{"all_close_1d", &kCloseNames};
  OCTAVO_TRY(check_float(site, Arg::a, x));
  if (x.rank != 1) {
    return fail(Code::invalid_argument, "{}.shape must be 1-D; got {}", site(Arg::a),
                shape_string(x));
  }
  OCTAVO_TRY_ASSIGN(const std::vector<float> values, floats_of(site.operation, x, nullptr));
  for (const float one : values) {
    const double first = values.front();
    const double value = one;
    const double apart = std::abs(first - value);
    const bool close =
        first == value || (std::isfinite(apart) && apart <= 1e-8 + 1e-5 * std::abs(value));
    if (!close) return false;
  }
  return true;
}

constexpr CodeTable fnuz_codes() noexcept {
  CodeTable table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const bool nan = (i & 0x7F) == 0x7F;
    table[i] = nan ? 0x80 : i == 0x80 ? 0x00 : static_cast<std::uint8_t>(i);
  }
  return table;
}

Result<Tensor> doubled(const Site& site, Arg arg, const TensorView& scale,
                       const ExecContext& context) {
  OCTAVO_TRY(check_float(site, arg, scale));
  const Tensor once = copy(scale, scale.dtype, context.stream);
  OCTAVO_TRY_ASSIGN(Tensor twice, Tensor::try_empty(site.operation, scale.dtype, scale.dims(),
                                                    context.place(scale.device)));
  OCTAVO_TRY(multiply(site.operation, once, 2.0F, twice, context));
  return twice;
}

Result<NormalizedFnuz> run_normalize(const TensorView& weight, const TensorView& weight_scale,
                                     const TensorView& input_scale, const ExecContext& context) {
  const Site site{"normalize_e4m3fn_to_e4m3fnuz", &kWeightNames};
  static constexpr CodeTable kCodes = fnuz_codes();
  OCTAVO_TRY(check_tensor(site, Arg::a, weight));
  if (weight.dtype != DType::float8_e4m3fn) {
    return fail(Code::invalid_argument, "{}.dtype must be float8_e4m3fn; got {}", site(Arg::a),
                name(weight.dtype));
  }
  NormalizedFnuz result;
  OCTAVO_TRY_ASSIGN(result.weight_scale, doubled(site, Arg::scale_b, weight_scale, context));
  if (input_scale.defined()) {
    OCTAVO_TRY_ASSIGN(result.input_scale, doubled(site, Arg::scale_a, input_scale, context));
  }
  const auto owner = std::make_shared<Tensor>(copy(weight, weight.dtype, context.stream));
  const std::int64_t count = weight.numel();
  const std::int64_t piece = 4096;
  const auto map = [&](std::int64_t begin, std::int64_t rows, std::int64_t columns) {
    void* codes = owner->view().at(begin);
    return map_rows(site.operation, matrix_view(codes, weight.dtype, rows, columns, weight.device),
                    kCodes, context);
  };
  OCTAVO_TRY(map(0, count / piece, piece));
  OCTAVO_TRY(map(count / piece * piece, 1, count % piece));
  TensorView view = owner->view();
  view.dtype = DType::float8_e4m3fnuz;
  result.weight = Tensor::adopt(owner, view);
  return result;
}

bool cuda_backend() noexcept {
  return std::ranges::any_of(registry(), [](const Backend* backend) {
    return backend->device == DeviceType::cuda && backend->unavailable() == nullptr;
  });
}

}  // namespace

Tensor convert_to_channelwise(const TensorView& weight_scale,
                              std::span<const std::int64_t> logical_widths) {
  constexpr const char* kName = "convert_to_channelwise";
  return at_edge(kName, [&]() -> Result<Tensor> {
    OCTAVO_TRY_ASSIGN(const ShardScales shards,
                      shard_scales({kName, &kWeightNames}, weight_scale, logical_widths));
    const std::array<std::int64_t, 2> shape{shards.rows, 1};
    OCTAVO_TRY_ASSIGN(const Tensor out,
                      Tensor::try_empty(kName, DType::float32, shape, {weight_scale.device}));
    std::int64_t row = 0;
    for (std::size_t i = 0; i < logical_widths.size(); ++i) {
      const std::int64_t end = row + logical_widths[i];
      OCTAVO_TRY(fill_with(kName, out.view().slice(0, row, end), shards.scale[i], nullptr));
      row = end;
    }
    return out;
  });
}

Requantized requantize_with_max_scale(const TensorView& weight, const TensorView& weight_scale,
                                      std::span<const std::int64_t> logical_widths, bool in_place,
                                      const ExecContext& context) {
  return at_edge("requantize_with_max_scale", [&] {
    return run_requantize(weight, weight_scale, logical_widths, in_place, context);
  });
}

Tensor per_tensor_dequantize(const TensorView& tensor, const Scale& inv_scale,
                             const ExecContext& context) {
  return at_edge("per_tensor_dequantize",
                 [&] { return run_dequantize(tensor, inv_scale, context); });
}

bool all_close_1d(const TensorView& x) {
  return at_edge("all_close_1d", [&] { return run_all_close(x); });
}

NormalizedFnuz normalize_e4m3fn_to_e4m3fnuz(const TensorView& weight,
                                            const TensorView& weight_scale,
                                            const TensorView& input_scale,
                                            const ExecContext& context) {
  return at_edge("normalize_e4m3fn_to_e4m3fnuz",
                 [&] { return run_normalize(weight, weight_scale, input_scale, context); });
}

bool cutlass_fp8_supported() noexcept { return cuda_backend(); }
bool cutlass_block_fp8_supported() noexcept { return cuda_backend(); }
bool cutlass_group_gemm_supported() noexcept { return cuda_backend(); }
bool sparse_cutlass_supported() noexcept { return false; }

}  // namespace octavo::w8a8_utils
