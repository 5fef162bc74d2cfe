// SPDX-License-Identifier: Apache-2.0
// QuantFP8: activations to fp8 by vLLM's rules.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "layers/w8a8.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo::w8a8_utils {
namespace {

constexpr const char* kName = "QuantFP8";

// e4m3fnuz codes of 240 become 224: what vLLM's clamp before the conversion gives.
constexpr CodeTable kClamped = [] {
  CodeTable table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<std::uint8_t>((i & 0x7F) == 0x7F ? i - 1 : i);
  }
  return table;
}();

// A view of an owned tensor in another shape of as many elements.
Tensor reshaped(const Tensor& tensor, std::initializer_list<std::int64_t> shape) {
  TensorView view(tensor.data(), tensor.dtype(), shape);
  view.device = tensor.device();
  return Tensor::adopt(std::make_shared<Tensor>(tensor), view);
}

// A row-major matrix with rows below `matrix` that hold `fill`.
Result<Tensor> padded(const TensorView& matrix, std::int64_t rows, float value,
                      const ExecContext& context) {
  const std::array<std::int64_t, 2> shape{rows, matrix.shape[1]};
  const std::int64_t given = matrix.shape[0];
  OCTAVO_TRY_ASSIGN(const Tensor out,
                    Tensor::try_empty(kName, matrix.dtype, shape, context.place(matrix.device)));
  OCTAVO_TRY(copy_to(kName, matrix, out.view().slice(0, 0, given), context.stream));
  OCTAVO_TRY(fill_with(kName, out.view().slice(0, given, rows), value, context.stream));
  return out;
}

Result<QuantFP8::Output> pad(const QuantFP8& quantizer, QuantFP8::Output output,
                             const ExecContext& context) {
  const std::int64_t rows = output.codes.size(0);
  const std::int64_t wanted = std::max(quantizer.num_token_padding().value_or(0), rows);
  if (wanted == rows) return output;
  OCTAVO_TRY_ASSIGN(output.codes, padded(output.codes, wanted, 0.0F, context));
  const TensorView& scale = output.scale;
  if (!quantizer.is_static() && scale.rank == 2) {
    OCTAVO_TRY_ASSIGN(output.scale, padded(scale, wanted, 1.0F, context));
  }
  return output;
}

Status check_quantizer(const GroupShape& shape, std::optional<std::int64_t> padding, DType dtype) {
  if (granularity_of(shape).kind == Granularity::Kind::automatic) {
    return fail(Code::invalid_argument,
                "QuantFP8: group_shape must be PER_TENSOR, PER_TOKEN or (1, columns); got ({}, {})",
                shape.row, shape.col);
  }
  if (!is_float8(dtype)) {
    return fail(Code::invalid_argument, "QuantFP8: dtype must be a float8 type; got {}",
                name(dtype));
  }
  if (padding.value_or(0) >= 0) return {};
  return fail(Code::invalid_argument, "QuantFP8: num_token_padding must be at least 0; got {}",
              *padding);
}

}  // namespace

Granularity granularity_of(const GroupShape& shape) noexcept {
  if (shape == GroupShape::PER_TENSOR) return per_tensor();
  if (shape == GroupShape::PER_TOKEN) return per_token();
  return shape.row == 1 && shape.col > 0 ? group(shape.col) : Granularity{};
}

bool aims_below_largest(DType dtype) noexcept { return dtype == DType::float8_e4m3fnuz; }

QuantizeSpec activation_spec(const QuantFP8& quantizer, float scale_ub) noexcept {
  QuantizeSpec spec;
  spec.dtype = quantizer.dtype();
  spec.granularity = granularity_of(quantizer.group_shape());
  spec.scale_ub = scale_ub;
  spec.qmax = aims_below_largest(spec.dtype) ? 224.0F : qmax(spec.dtype);
  const bool groups = spec.granularity.kind == Granularity::Kind::group;
  spec.min_scale = groups ? 1e-10F / spec.qmax : 1.0F / (spec.qmax * 512.0F);
  return spec;
}

Result<float> upper_bound(const Site& site, const TensorView& scale_ub) {
  if (!scale_ub.defined()) return std::numeric_limits<float>::infinity();
  OCTAVO_TRY(check_float(site, Arg::scale_ub, scale_ub));
  if (scale_ub.numel() != 1) {
    return fail(Code::invalid_argument, "{} must have one element; got {}", site(Arg::scale_ub),
                shape_string(scale_ub));
  }
  OCTAVO_TRY_ASSIGN(const std::vector<float> value, floats_of(site.operation, scale_ub, nullptr));
  const float bound = value.front();
  if (bound > 0.0F) return bound;
  return fail(Code::invalid_argument, "{} must be positive; got {}", site(Arg::scale_ub), bound);
}

Status check_mode(const Site& site, bool is_static, const TensorView& scale) {
  if (is_static == scale.defined()) return {};
  if (is_static) {
    return fail(Code::invalid_argument, "{} must be given where quantisation is static; got none",
                site(Arg::scale_a));
  }
  return fail(Code::invalid_argument, "{} must be undefined where quantisation is dynamic; got {}",
              site(Arg::scale_a), shape_string(scale));
}

Result<QuantFP8::Output> quantize_activations(const Site& site, const QuantFP8& quantizer,
                                              const TensorView& x, const TensorView& scale,
                                              float scale_ub, const ExecContext& context) {
  OCTAVO_TRY(check_mode(site, quantizer.is_static(), scale));
  const QuantizeSpec spec = activation_spec(quantizer, scale_ub);
  QuantizeOptions o;
  o.dtype = spec.dtype;
  o.granularity = spec.granularity;
  o.scale_ub = spec.scale_ub;
  o.min_scale = spec.min_scale;
  o.qmax = spec.qmax;
  if (scale.defined()) {
    o.scale = Scale(scale, scale.numel() == 1 ? per_tensor() : o.granularity);
  }
  OCTAVO_TRY(check_quantize(site, x, o));
  if (scale.defined()) OCTAVO_TRY(static_scale(site, x, o).status());
  const Quantized q = quantize(x, o, context);
  if (aims_below_largest(spec.dtype)) {
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(site.operation, x.device, nullptr));
    OCTAVO_TRY(backend->passes.map_codes({q.data, kClamped}, context));
  }
  if (scale.defined()) return QuantFP8::Output{q.data, copy(scale, scale.dtype, context.stream)};
  return QuantFP8::Output{q.data, spec.granularity.kind == Granularity::Kind::tensor
                                      ? reshaped(q.scale, {1})
                                      : q.scale};
}

QuantFP8::QuantFP8(bool is_static, GroupShape group_shape,
                   std::optional<std::int64_t> num_token_padding, DType dtype)
    : is_static_(is_static),
      group_shape_(group_shape),
      num_token_padding_(num_token_padding),
      dtype_(dtype) {
  throw_if_failed(check_quantizer(group_shape, num_token_padding, dtype));
}

QuantFP8::Output QuantFP8::operator()(const TensorView& x, const TensorView& scale,
                                      const TensorView& scale_ub,
                                      const ExecContext& context) const {
  return at_edge(kName, [&]() -> Result<Output> {
    const Site site{kName, &kQuantizeNames};
    OCTAVO_TRY_ASSIGN(const float bound, upper_bound(site, scale_ub));
    OCTAVO_TRY_ASSIGN(Output output, quantize_activations(site, *this, x, scale, bound, context));
    return pad(*this, std::move(output), context);
  });
}

}  // namespace octavo::w8a8_utils
