// SPDX-License-Identifier: Apache-2.0
// vLLM's backend functions, its table of them, and Fp8LinearOp.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "layers/w8a8.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"

namespace octavo::w8a8_utils {
namespace {

constexpr std::int64_t kBlock = 128;  // of DeepSeek's weights, along both dimensions

constexpr ArgNames kProductNames{.a = "qinput", .b = "weight", .scale_ub = "input_scale_ub"};
constexpr ArgNames kLinearOpNames{.a = "input",
                                  .b = "weight",
                                  .scale_a = "input_scale",
                                  .scale_b = "weight_scale",
                                  .scale_ub = "input_scale_ub"};

bool is_code(DType dtype) noexcept { return dtype == DType::int8 || is_float8(dtype); }
bool is_matrix(const TensorView& v, std::int64_t rows, std::int64_t cols) noexcept {
  return v.rank == 2 && v.shape[0] == rows && v.shape[1] == cols;
}
// [length] or [length, 1].
bool is_vector(const TensorView& v, std::int64_t length) noexcept {
  return (v.rank == 1 && v.shape[0] == length) || is_matrix(v, length, 1);
}

// ---- what shapes of scales mean ----------------------------------------------------------------

// scale_a of codes [rows or padded, K], cut to `rows`.
struct PaddedRows {
  std::int64_t rows, padded, k, group_size;
};
Result<Scale> activation_scale(const Site& site, const TensorView& v, const PaddedRows& r) {
  OCTAVO_TRY(check_tensor(site, Arg::scale_a, v));
  if (r.group_size < 0) {
    return fail(Code::invalid_argument, "{}: group_size must be at least 0; got {}", site.operation,
                r.group_size);
  }
  if (v.rank < 2 && v.numel() == 1) return Scale(v, per_tensor());
  const std::int64_t size = r.group_size > 0 ? r.group_size : kBlock;
  const std::int64_t groups = cells(r.k, size);
  for (const std::int64_t rows : {r.padded, r.rows}) {
    const bool grouped = is_matrix(v, rows, groups);
    const bool token = is_vector(v, rows) && !(grouped && r.group_size > 0);
    if (!token && !grouped) continue;
    return Scale(v.slice(0, 0, r.rows), token ? per_token() : group(size));
  }
  if (v.numel() == 1) return Scale(v, per_tensor());
  return fail(Code::invalid_argument,
              "{}.shape must be one element, [{}], [{}, 1] or, for groups of {}, [{}, {}]; got {}",
              site(Arg::scale_a), r.rows, r.rows, size, r.rows, groups, shape_string(v));
}

// scale_b of a weight [K, N], in the order of the stored weight [N, K], or [1, N] as a product has
// it.
Result<Scale> weight_scale(const Site& site, const TensorView& v, std::int64_t n, std::int64_t k) {
  OCTAVO_TRY(check_tensor(site, Arg::scale_b, v));
  if (v.numel() == 1) return Scale(v, per_tensor());
  if (is_vector(v, n)) return Scale(v, per_channel());
  if (is_matrix(v, cells(n, kBlock), cells(k, kBlock))) {
    return Scale(v.transposed(), block(kBlock, kBlock));
  }
  if (is_matrix(v, 1, n)) return Scale(v, per_channel());
  return fail(Code::invalid_argument,
              "{}.shape must be one element, [{}], [{}, 1], [1, {}] or, for blocks of {} x {}, "
              "[{}, {}]; got {}",
              site(Arg::scale_b), n, n, n, kBlock, kBlock, cells(n, kBlock), cells(k, kBlock),
              shape_string(v));
}

struct Sizes {
  std::int64_t k, n;
};
Result<Sizes> sizes_of(const Site& site, const Operand& weight) {
  if (weight.packed != nullptr && weight.packed->defined()) {
    return Sizes{weight.packed->k(), weight.packed->n()};
  }
  OCTAVO_TRY(check_tensor(site, Arg::b, weight.data));
  const TensorView& w = weight.data;
  if (w.rank != 2 || !is_code(w.dtype)) {
    return fail(Code::invalid_argument, "{} must be 2-D [K, N] of int8 or a float8 type; got {} {}",
                site(Arg::b), name(w.dtype), shape_string(w));
  }
  return Sizes{w.shape[0], w.shape[1]};
}

Result<Scale> scale_of_weight(const Site& site, const TensorView& scale_b, const Operand& weight) {
  if (!scale_b.defined() && weight.packed != nullptr) return Scale();
  OCTAVO_TRY_ASSIGN(const Sizes sizes, sizes_of(site, weight));
  return weight_scale(site, scale_b, sizes.n, sizes.k);
}

// ---- the backend functions ---------------------------------------------------------------------

Result<std::int64_t> rows_of(const Site& site, const W8a8Arguments& a) {
  const std::int64_t padded = a.qinput.shape[0];
  std::int64_t rows = padded;
  if (a.input_2d.defined()) {
    rows = a.input_2d.rank > 0 ? a.input_2d.shape[0] : -1;
  } else if (!a.output_shape.empty()) {
    const auto leading = a.output_shape.first(a.output_shape.size() - 1);
    rows = std::accumulate(leading.begin(), leading.end(), std::int64_t{1}, std::multiplies<>());
  }
  if (rows >= 0 && rows <= padded) return rows;
  return fail(Code::invalid_argument, "{}.shape[0] must be at least the {} rows asked for; got {}",
              site(Arg::a), rows, padded);
}

Result<Tensor> in_shape(const Site& site, const Tensor& matrix,
                        std::span<const std::int64_t> shape) {
  if (shape.empty()) return matrix;
  const std::int64_t count =
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  if (count != matrix.numel()) {
    return fail(Code::invalid_argument, "{}: output_shape must have {} elements; got [{}]",
                site.operation, matrix.numel(), fmt::join(shape.begin(), shape.end(), ", "));
  }
  TensorView view(matrix.data(), matrix.dtype(), shape);
  view.device = matrix.device();
  return Tensor::adopt(std::make_shared<Tensor>(matrix), view);
}

Status check_codes(const Site& site, const TensorView& codes) {
  OCTAVO_TRY(check_tensor(site, Arg::a, codes));
  if (codes.rank == 2 && is_code(codes.dtype)) return {};
  return fail(Code::invalid_argument, "{} must be 2-D [M, K] of int8 or a float8 type; got {} {}",
              site(Arg::a), name(codes.dtype), shape_string(codes));
}

Result<Tensor> multiply_codes(const Site& site, const W8a8Arguments& a, std::int64_t rows,
                              const ExecContext& context) {
  ScaledMmOptions o;
  o.bias = a.bias;
  o.out_dtype = a.out_dtype;
  OCTAVO_TRY_ASSIGN(o.scale_a,
                    activation_scale(site, a.scale_a,
                                     {rows, a.qinput.shape[0], a.qinput.shape[1], a.group_size}));
  OCTAVO_TRY_ASSIGN(o.scale_b, scale_of_weight(site, a.scale_b, a.weight));
  OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, a.qinput.slice(0, 0, rows), a.weight, o));
  return run_lowered(lowered, context, nullptr);
}

Tensor backend_function(const char* operation, const W8a8Arguments& a, const ExecContext& context) {
  return at_edge(operation, [&]() -> Result<Tensor> {
    const Site site{operation, &kProductNames};
    OCTAVO_TRY(check_codes(site, a.qinput));
    OCTAVO_TRY_ASSIGN(const std::int64_t rows, rows_of(site, a));
    OCTAVO_TRY_ASSIGN(const Tensor y, multiply_codes(site, a, rows, context));
    return in_shape(site, y, a.output_shape);
  });
}

// ---- the table ---------------------------------------------------------------------------------

struct DispatchRow {
  std::string_view backend;
  W8a8ScaledMm tensors;              // per-tensor weights and activations
  W8a8ScaledMm mixed;                // one of them
  W8a8ScaledMm channels_and_tokens;  // neither
};
constexpr W8a8ScaledMm kPerToken = USE_ROWWISE_TORCH_SCALED_MM ? &torch_per_token_w8a8_scaled_mm
                                                               : &torch_channelwise_w8a8_scaled_mm;
// The last row is every other name's.
constexpr std::array<DispatchRow, 4> kDispatch{{
    {"rocm", &rocm_per_tensor_w8a8_scaled_mm, &torch_channelwise_w8a8_scaled_mm, kPerToken},
    {"flashinfer", &flashinfer_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm},
    {"cutlass", &cutlass_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm},
    {"torch", &torch_per_tensor_w8a8_scaled_mm, &torch_channelwise_w8a8_scaled_mm, kPerToken},
}};

// ---- Fp8LinearOp -------------------------------------------------------------------------------

// The left operand of the product and where its scale comes from.
struct Activations {
  Operand operand;
  Scale scale;
  ActivationQuant rule;     // of a fused quantiser
  QuantFP8::Output output;  // of one that ran before
};

Status quantized_input(const Site& site, const TensorView& x, const TensorView& scale,
                       const GroupShape& shape, Activations& a) {
  if (!scale.defined()) {
    return fail(Code::invalid_argument,
                "{} must be given with input that is fp8 already; got none for {} {}",
                site(Arg::scale_a), name(x.dtype), shape_string(x));
  }
  a.operand = Operand(x);
  const std::int64_t group_size = std::max<std::int64_t>(shape.col, 0);
  OCTAVO_TRY_ASSIGN(
      a.scale, activation_scale(site, scale, {x.shape[0], x.shape[0], x.shape[1], group_size}));
  return {};
}

Status quantize_input(const Site& site, const QuantFP8& quantizer, const TensorView& x,
                      const TensorView& scale, const TensorView& scale_ub, Activations& a,
                      const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(const float bound, upper_bound(site, scale_ub));
  if (!quantizer.is_static() && !aims_below_largest(quantizer.dtype())) {
    OCTAVO_TRY(check_mode(site, false, scale));
    a.rule.spec = activation_spec(quantizer, bound);
    a.operand = Operand(x);
    a.operand.quantize = &a.rule;
    return {};
  }
  OCTAVO_TRY_ASSIGN(a.output, quantize_activations(site, quantizer, x, scale, bound, context));
  a.operand = Operand(a.output.codes);
  const std::int64_t columns = std::max<std::int64_t>(quantizer.group_shape().col, 0);
  OCTAVO_TRY_ASSIGN(a.scale, activation_scale(site, a.output.scale,
                                              {x.shape[0], x.shape[0], x.shape[1], columns}));
  return {};
}

}  // namespace

#define OCTAVO_W8A8_FUNCTION(function)                                          \
  Tensor function(const W8a8Arguments& arguments, const ExecContext& context) { \
    return backend_function(#function, arguments, context);                     \
  }
OCTAVO_W8A8_FUNCTION(cutlass_w8a8_scaled_mm)
OCTAVO_W8A8_FUNCTION(flashinfer_w8a8_scaled_mm)
OCTAVO_W8A8_FUNCTION(rocm_per_tensor_w8a8_scaled_mm)
OCTAVO_W8A8_FUNCTION(torch_per_tensor_w8a8_scaled_mm)
OCTAVO_W8A8_FUNCTION(torch_per_token_w8a8_scaled_mm)
OCTAVO_W8A8_FUNCTION(torch_channelwise_w8a8_scaled_mm)
#undef OCTAVO_W8A8_FUNCTION

Tensor rocm_per_tensor_w8a8_scaled_mm_impl(const W8a8Arguments& arguments,
                                           const ExecContext& context) {
  W8a8Arguments whole = arguments;
  whole.input_2d = {};
  whole.output_shape = {};
  return backend_function("rocm_per_tensor_w8a8_scaled_mm_impl", whole, context);
}

Tensor rocm_per_tensor_w8a8_scaled_mm_fake(const W8a8Arguments& arguments) {
  constexpr const char* kName = "rocm_per_tensor_w8a8_scaled_mm_fake";
  return at_edge(kName, [&]() -> Result<Tensor> {
    const Site site{kName, &kProductNames};
    OCTAVO_TRY(check_codes(site, arguments.qinput));
    OCTAVO_TRY_ASSIGN(const Sizes sizes, sizes_of(site, arguments.weight));
    const DType dtype =
        arguments.out_dtype == DType::undefined ? DType::bfloat16 : arguments.out_dtype;
    const std::array<std::int64_t, 2> shape{arguments.qinput.shape[0], sizes.n};
    return Tensor::try_empty(kName, dtype, shape, {arguments.qinput.device});
  });
}

W8a8ScaledMm dispatch_w8a8_scaled_mm(std::string_view preferred_backend, bool per_tensor_weights,
                                     bool per_tensor_activations) noexcept {
  const DispatchRow* row = kDispatch.data();
  while (row != &kDispatch.back() && row->backend != preferred_backend) ++row;
  if (per_tensor_weights && per_tensor_activations) return row->tensors;
  return per_tensor_weights || per_tensor_activations ? row->mixed : row->channels_and_tokens;
}

Fp8LinearOp::Fp8LinearOp(bool act_quant_static, GroupShape act_quant_group_shape,
                         std::optional<bool> pad_output, bool force_fp8_e4m3fnuz,
                         bool batch_invariant)
    : preferred_backend_(!force_fp8_e4m3fnuz && cutlass_fp8_supported() ? "cutlass" : "torch"),
      quant_fp8_(act_quant_static, act_quant_group_shape,
                 pad_output.value_or(preferred_backend_ == "torch")
                     ? std::optional<std::int64_t>(17)
                     : std::nullopt,
                 force_fp8_e4m3fnuz ? DType::float8_e4m3fnuz : DType::float8_e4m3fn) {
  if (!batch_invariant || act_quant_static || act_quant_group_shape != GroupShape::PER_TENSOR) {
    return;
  }
  throw_status(fail(Code::invalid_argument,
                    "Fp8LinearOp: batch_invariant must come without dynamic per-tensor "
                    "activations (their scale is made of all rows); got both"));
}

Tensor Fp8LinearOp::apply(const TensorView& input, const Operand& weight,
                          const TensorView& weight_scale_view, DType out_dtype,
                          const TensorView& input_scale, const TensorView& input_scale_ub,
                          const TensorView& bias, const ExecContext& context) const {
  constexpr const char* kName = "Fp8LinearOp.apply";
  return at_edge(kName, [&]() -> Result<Tensor> {
    const Site site{kName, &kLinearOpNames};
    OCTAVO_TRY(check_tensor(site, Arg::a, input));
    const bool quantized = is_float8(input.dtype);
    if (input.rank < 1 || !(quantized || is_wide(input.dtype))) {
      return fail(Code::invalid_argument,
                  "{} must be [..., K] of float32, bfloat16, float16 or a float8 type; got {} {}",
                  site(Arg::a), name(input.dtype), shape_string(input));
    }
    OCTAVO_TRY_ASSIGN(const Sizes sizes, sizes_of(site, weight));
    OCTAVO_TRY_ASSIGN(const FlatRows x, flatten_rows(kName, input, context));
    Activations a;
    OCTAVO_TRY(quantized ? quantized_input(site, x.view, input_scale, act_quant_group_shape(), a)
                         : quantize_input(site, quant_fp8_, x.view, input_scale, input_scale_ub, a,
                                          context));
    ScaledMmOptions o;
    o.scale_a = a.scale;
    o.bias = bias;
    o.out_dtype = out_dtype == DType::undefined && !quantized ? input.dtype : out_dtype;
    OCTAVO_TRY_ASSIGN(o.scale_b, scale_of_weight(site, weight_scale_view, weight));
    OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, a.operand, weight, o));
    OCTAVO_TRY_ASSIGN(const FlatOut out,
                      flatten_out(site, input, sizes.n, lowered.out_dtype, {}, context));
    lowered.problem.single.out = out.rows.view;
    OCTAVO_TRY(run_problem(lowered.problem, context, nullptr));
    return out.tensor;
  });
}

}  // namespace octavo::w8a8_utils
