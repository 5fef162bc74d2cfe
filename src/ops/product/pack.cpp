// SPDX-License-Identifier: Apache-2.0
// Packing and unpacking of weights.
#include "ops/product/pack.hpp"

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/backend.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr Site kPack{"pack", &kLinearNames};

Result<const WeightLayout*> find_layout(const char* operation, const char* argument,
                                        const TensorView& weight) {
  OCTAVO_TRY_ASSIGN(const Backend* forced, forced_backend(operation, argument));
  const DType dtype = weight.dtype;
  if (forced != nullptr && forced->layout(dtype) != nullptr) return forced->layout(dtype);
  // A backend without a layout of its own multiplies what another packed.
  for (const Backend* backend : registry()) {
    if (backend->device != weight.device.type || backend->unavailable() != nullptr) continue;
    if (backend->layout(dtype) != nullptr) return backend->layout(dtype);
  }
  return fail(Code::internal, "{}: a backend must have a packed layout; got none", operation);
}

// The weight with its scale resolved.
Result<Operand> checked(const Site& site, const Operand& weight, const Scale& scale) {
  if (weight.packed != nullptr) {
    return fail(Code::invalid_argument, "{} must be a tensor; got a packed weight", site(Arg::b));
  }
  const TensorView& v = weight.data;
  OCTAVO_TRY(check_tensor(site, Arg::b, v));
  if (v.rank != 2) {
    return fail(Code::invalid_argument, "{}.shape must be 2-D [K, N]; got {}", site(Arg::b),
                shape_string(v));
  }
  if (!is_floating(v.dtype) && v.dtype != DType::int8) {
    return fail(Code::invalid_argument,
                "{}.dtype must be int8, a float8 type, float32, bfloat16 or float16; got {}",
                site(Arg::b), name(v.dtype));
  }
  Operand resolved = weight;
  OCTAVO_TRY(resolve_scales(site, resolved, scale,
                            {.side = Side::b, .rows = v.shape[0], .cols = v.shape[1]}));
  OCTAVO_TRY_ASSIGN(resolved.azp,
                    resolve_weight_azp(site, weight.azp, resolved, v.dtype, v.shape[1]));
  return resolved;
}

// Of what a larger matrix has for each cell of its scales, the part of the k rows and n columns
// that begin where the scale says.
TensorView covering(const TensorView& of_cells, const CarriedScale& scale, std::int64_t k,
                    std::int64_t n) noexcept {
  const auto part = [](const TensorView& v, int dim, std::int64_t begin, std::int64_t extent,
                       std::int64_t cell) {
    return v.slice(dim, begin / cell, cells(begin + extent, cell));
  };
  return part(part(of_cells, 0, scale.row0, k, scale.rows), 1, scale.col0, n, scale.cols);
}

}  // namespace

std::int64_t PackedWeight::k() const noexcept { return content_ ? content_->k : 0; }
std::int64_t PackedWeight::n() const noexcept { return content_ ? content_->n : 0; }
DType PackedWeight::dtype() const noexcept { return content_ ? content_->dtype : DType::undefined; }
const char* PackedWeight::layout() const noexcept {
  return content_ ? content_->layout->name : "none";
}
std::size_t PackedWeight::bytes() const noexcept {
  return content_ ? static_cast<std::size_t>(content_->codes.numel()) : 0;
}
Device PackedWeight::device() const noexcept { return content_ ? content_->device : Device{}; }
const std::optional<ActivationQuant>& PackedWeight::activation() const noexcept {
  static const std::optional<ActivationQuant> none;
  return content_ ? content_->activation : none;
}

Result<std::shared_ptr<PackedWeightData>> outlined(const Site& site, const Operand& weight,
                                                   const PackOptions& options,
                                                   const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(const Operand resolved, checked(site, weight, options.scale));
  if (options.activation) {
    const TensorView& columns = options.activation->outlier_columns;
    OCTAVO_TRY(check_activation(std::string(site.operation) + ": activation.", *options.activation,
                                weight.data.shape[0]));
    if (columns.defined()) {
      OCTAVO_TRY(check_columns(site.operation, "activation.outlier_columns", columns,
                               weight.data.shape[0], "x"));
    }
  }
  auto content = std::make_shared<PackedWeightData>();
  OCTAVO_TRY_ASSIGN(content->layout, find_layout(site.operation, options.backend, weight.data));
  content->dtype = weight.data.dtype;
  content->k = weight.data.shape[0];
  content->n = weight.data.shape[1];
  content->device = weight.data.device;
  content->activation = options.activation;
  if (content->activation && content->activation->outlier_columns.defined()) {
    Tensor& columns = content->activation->outlier_columns;
    columns = copy(columns, context.place(content->device));  // nobody changes these
  }
  content->scale = resolved.scale;
  if (resolved.azp.defined()) {
    const TensorView& azp = resolved.azp;
    const bool of_cells = azp.shape[0] != 1 || azp.shape[1] != content->n;
    content->azp =
        copy(of_cells ? covering(azp, resolved.scale[0], content->k, content->n) : weight.azp,
             DType::int32, context.stream);
  }
  return content;
}

Status fill(PackedWeightData& content, const TensorView& weight, const ExecContext& context) {
  if (weight.numel() > 0) {
    OCTAVO_TRY(content.layout->pack(weight, content.codes.data(), context));
  } else {  // nothing lies behind an empty weight: what every layout pads with
    OCTAVO_TRY(fill_with("pack", content.codes, 0.0F, context.stream));
  }
  for (std::size_t level = 0; level < 2; ++level) {
    CarriedScale& own = content.scale[level];
    if (own.kind != ScaleKind::tensor) continue;
    own.data = covering(own.data, own, content.k, content.n);
    own.row0 %= own.rows;
    own.col0 %= own.cols;
    Tensor& kept = content.scales[level];
    if (kept.defined()) {
      OCTAVO_TRY(copy_to("pack", own.data, kept, context.stream));
    } else {
      kept = copy(own.data, own.data.dtype, context.stream);
    }
    own.data = kept.view();
  }
  return {};
}

PackedWeight pack(const Operand& weight, const PackOptions& options, const ExecContext& context) {
  return at_edge("pack", [&]() -> Result<PackedWeight> {
    OCTAVO_TRY_ASSIGN(const std::shared_ptr<PackedWeightData> content,
                      outlined(kPack, weight, options, context));
    const TensorView& v = weight.data;
    const std::array<std::int64_t, 1> bytes{
        static_cast<std::int64_t>(content->layout->bytes(v.dtype, content->k, content->n))};
    OCTAVO_TRY_ASSIGN(content->codes,
                      Tensor::try_empty("pack", DType::uint8, bytes, context.place(v.device)));
    OCTAVO_TRY(fill(*content, v, context));
    return PackedWeight(content);
  });
}

PackedWeight outline(const Operand& weight, const PackOptions& options) {
  return at_edge("pack", [&]() -> Result<PackedWeight> {
    OCTAVO_TRY_ASSIGN(const std::shared_ptr<PackedWeightData> content,
                      outlined(kPack, weight, options, {}));
    return PackedWeight(content);
  });
}

PackedWeight with_activation(const PackedWeight& weight,
                             const std::optional<ActivationQuant>& activation,
                             const ExecContext& context) {
  return at_edge("with_activation", [&]() -> Result<PackedWeight> {
    if (!weight.defined()) {
      return fail(Code::invalid_argument,
                  "with_activation: weight must be packed; got an empty one");
    }
    if (activation) {
      OCTAVO_TRY(check_activation("with_activation: activation.", *activation, weight.k()));
    }
    auto content = std::make_shared<PackedWeightData>(*weight.content());
    content->activation = activation;
    if (activation && activation->outlier_columns.defined()) {
      Tensor& columns = content->activation->outlier_columns;
      if (!same_device(columns.device(), content->device)) {
        columns = copy(columns, context.place(content->device));
      }
    }
    return PackedWeight(content);
  });
}

Quantized unpack(const PackedWeight& weight, const ExecContext& context) {
  return at_edge("unpack", [&]() -> Result<Quantized> {
    const PackedWeightData* content = weight.content();
    if (content == nullptr) {
      return fail(Code::invalid_argument, "unpack: weight must be packed; got an empty one");
    }
    if (content->scale[1].present()) {
      return fail(
          Code::unsupported,
          "unpack: weight.scale must have one level (a Quantized holds no second); got two");
    }
    Quantized q;
    const Place place = context.place(content->device);
    const std::array<std::int64_t, 2> shape{content->n, content->k};
    OCTAVO_TRY_ASSIGN(const Tensor codes,
                      Tensor::try_empty("unpack", content->dtype, shape, place));
    q.data = codes.transposed();
    OCTAVO_TRY(content->layout->unpack(*content, q.data, context));
    const CarriedScale& scale = content->scale[0];
    q.grid = {scale.rows, scale.cols};
    q.row0 = scale.row0;
    q.col0 = scale.col0;
    q.scale = content->scales[0];
    q.azp = content->azp;
    if (scale.kind == ScaleKind::number) {
      const std::array<std::int64_t, 2> one{1, 1};
      OCTAVO_TRY_ASSIGN(q.scale, filled("unpack", DType::float32, one, scale.number, place));
    }
    return q;
  });
}

Status check_moves(const char* operation, const Device& from, const Device& to) {
  if (const std::string why = device_refusal(to); !why.empty()) {
    return fail(Code::unavailable, "{}: device {}", operation, why);
  }
  if (on_host(from) || on_host(to) || same_device(from, to)) return {};
  return fail(Code::unsupported,
              "{}: device must be the host or the weight's own, {} (others are reached by way of "
              "the host); got {}",
              operation, device_string(from), device_string(to));
}

PackedWeight to_device(const PackedWeight& weight, const Device& device,
                       const ExecContext& context) {
  return at_edge("to_device", [&]() -> Result<PackedWeight> {
    if (!weight.defined()) {
      return fail(Code::invalid_argument, "to_device: weight must be packed; got an empty one");
    }
    const PackedWeightData& from = *weight.content();
    OCTAVO_TRY(check_moves("to_device", from.device, device));
    if (same_device(from.device, device)) return weight;
    const Place there = context.place(device);
    const std::array<std::int64_t, 2> shape{from.n, from.k};
    OCTAVO_TRY_ASSIGN(const Tensor codes, Tensor::try_empty("to_device", from.dtype, shape,
                                                            context.place(from.device)));
    OCTAVO_TRY(from.layout->unpack(from, codes.transposed(), context));
    const Tensor moved = copy(codes, there);
    Operand operand(moved.transposed());
    std::array<Tensor, 2> scales;
    for (std::size_t level = 0; level < 2; ++level) {
      operand.scale[level] = from.scale[level];
      if (from.scale[level].kind != ScaleKind::tensor) continue;
      scales[level] = copy(from.scales[level], there);
      operand.scale[level].data = scales[level];
    }
    const Tensor azp = from.azp.defined() ? copy(from.azp, there) : Tensor();
    operand.azp = azp;
    return pack(operand, {.activation = from.activation}, context);
  });
}

}  // namespace octavo
