// SPDX-License-Identifier: Apache-2.0
// Experts: one block of codes and one of scales, a packed weight over each slice of them.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "layers/experts.hpp"
#include "ops/product/pack.hpp"
#include "ops/rules.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

using Kind = Granularity::Kind;

constexpr const char* kPackExperts = "pack_experts";
constexpr Site kSite{kPackExperts, &kExpertNames};
constexpr std::int64_t kPage = 4096;  // experts begin with pages where their layout wants no other

// The scale of stored experts [E, N, K] of a granularity: [E, down, across], where `across` (and
// then `down`) may be left out if it is 1.
struct StoredScale {
  Granularity granularity;
  std::int64_t down = 1, across = 1;
};

bool fits(const TensorView& s, std::int64_t experts, std::int64_t down, std::int64_t across) {
  if (s.rank < 1 || s.rank > 3 || s.shape[0] != experts) return false;
  if ((s.rank > 1 ? s.shape[1] : 1) != down) return false;
  return (s.rank > 2 ? s.shape[2] : 1) == across;
}

Result<StoredScale> stored_scale(const TensorView& weight, const Scale& scale) {
  const std::int64_t experts = weight.shape[0];
  const std::int64_t n = weight.shape[1];
  const std::int64_t k = weight.shape[2];
  const TensorView& s = scale.values();
  Granularity g = scale.granularity();
  if (g.kind == Kind::automatic) g = fits(s, experts, 1, 1) ? per_tensor() : per_channel();
  OCTAVO_TRY(check_sizes("pack_experts: scale.", g));
  StoredScale stored{g};
  switch (g.kind) {
    case Kind::tensor:
      break;
    case Kind::channel:
      stored.down = n;
      break;
    case Kind::group:
      stored.down = n;
      stored.across = cells(k, g.rows);
      break;
    case Kind::block:
      stored.down = cells(n, g.rows);
      stored.across = cells(k, g.cols);
      break;
    default:
      return fail(Code::invalid_argument,
                  "pack_experts: scale.granularity must be tensor, channel, group or "
                  "block; got {}",
                  to_string(g));
  }
  if (fits(s, experts, stored.down, stored.across)) return stored;
  return fail(
      Code::invalid_argument,
      "pack_experts: scale.shape must be [{}, {}, {}] for granularity {} (trailing ones may "
      "be left out; declare groups and blocks); got {}",
      experts, stored.down, stored.across, to_string(g), shape_string(s));
}

// An expert's scale as `pack` reads that of B [K, N].
Scale scale_of(const Scale& all, const StoredScale& stored, std::int64_t expert) {
  if (all.kind() != Scale::Kind::tensor) return all;
  const TensorView& s = all.values();
  TensorView one = s[expert];
  one.rank = 2;
  one.shape = {stored.across, stored.down};
  one.strides = {s.rank > 2 ? s.strides[2] : 0, s.rank > 1 ? s.strides[1] : 0};
  const Granularity& g = stored.granularity;
  return {one, g.kind == Kind::block ? block(g.cols, g.rows) : g};
}

Status check_weight(const TensorView& weight) {
  OCTAVO_TRY(check_tensor(kSite, Arg::b, weight));
  if (weight.rank == 3) return {};
  return fail(Code::invalid_argument, "pack_experts: weight.shape must be 3-D [E, N, K]; got {}",
              shape_string(weight));
}

// Slices of one block that every copy of them keeps alive.
class Slices {
 public:
  static Result<Slices> make(std::int64_t count, std::size_t bytes, std::int64_t step_of,
                             const Place& place) {
    Slices s;
    s.bytes_ = static_cast<std::int64_t>(bytes);
    s.step_ = (s.bytes_ + step_of - 1) / step_of * step_of;
    const std::array<std::int64_t, 1> shape{count * s.step_};
    OCTAVO_TRY_ASSIGN(Tensor whole, Tensor::try_empty(kPackExperts, DType::uint8, shape, place));
    s.block_ = std::make_shared<Tensor>(std::move(whole));
    return s;
  }
  Tensor operator[](std::int64_t index) const {
    return Tensor::adopt(block_, block_->view().slice(0, index * step_, index * step_ + bytes_));
  }

 private:
  std::shared_ptr<Tensor> block_;
  std::int64_t bytes_ = 0, step_ = 0;
};

Result<ExpertWeights> run_pack(const TensorView& weight, const PackExpertsOptions& o,
                               const ExecContext& context) {
  OCTAVO_TRY(check_weight(weight));
  if (o.activation) {
    OCTAVO_TRY(check_activation("pack_experts: activation.", *o.activation, weight.shape[2]));
  }
  auto content = std::make_shared<ExpertWeightsData>();
  content->dtype = weight.dtype;
  content->device = weight.device;
  content->n = weight.shape[1];
  content->k = weight.shape[2];
  content->activation = o.activation;
  if (content->activation) content->activation->codes = content->activation->scales = {};
  StoredScale stored;
  if (o.scale.kind() == Scale::Kind::tensor) {
    OCTAVO_TRY(check_tensor(kSite, Arg::scale_b, o.scale.values()));
    OCTAVO_TRY_ASSIGN(stored, stored_scale(weight, o.scale));
  } else if (o.scale.kind() == Scale::Kind::number) {
    stored.granularity = per_tensor();
  }
  content->granularity = stored.granularity;
  Slices slices;
  std::shared_ptr<Tensor> scales;  // of all experts, one behind the other: one launch may read them
  for (std::int64_t e = 0; e < weight.shape[0]; ++e) {
    const TensorView b = weight[e].transposed();
    const PackOptions options{scale_of(o.scale, stored, e), content->activation, o.backend};
    OCTAVO_TRY_ASSIGN(const std::shared_ptr<PackedWeightData> expert,
                      outlined(kSite, b, options, context));
    if (e == 0) {
      const std::size_t bytes = expert->layout->bytes(b.dtype, expert->k, expert->n);
      const auto stack_step = expert->layout->stack_step;
      const std::int64_t step = stack_step != nullptr ? stack_step(b.dtype, expert->k) : kPage;
      OCTAVO_TRY_ASSIGN(slices,
                        Slices::make(weight.shape[0], bytes, std::max<std::int64_t>(step, 1),
                                     context.place(b.device)));
      content->layout = expert->layout->name;
    }
    expert->codes = slices[e];
    if (const CarriedScale& own = expert->scale[0]; own.kind == ScaleKind::tensor) {
      if (e == 0) {
        const std::array<std::int64_t, 3> shape{weight.shape[0], own.data.shape[0],
                                                own.data.shape[1]};
        OCTAVO_TRY_ASSIGN(Tensor all, Tensor::try_empty(kPackExperts, own.data.dtype, shape,
                                                        context.place(b.device)));
        scales = std::make_shared<Tensor>(std::move(all));
      }
      expert->scales[0] = Tensor::adopt(scales, scales->view()[e]);
    }
    OCTAVO_TRY(fill(*expert, b, context));
    content->bytes += static_cast<std::size_t>(expert->codes.numel());
    content->experts.emplace_back(expert);
  }
  return ExpertWeights(content);
}

// The scales of all experts as [E, down, across] of the stored weight.
Result<Tensor> gathered_scales(const ExpertWeightsData& w, const ExecContext& context) {
  const auto count = static_cast<std::int64_t>(w.experts.size());
  if (count == 0 || w.granularity.kind == Kind::automatic) return Tensor();
  const CarriedScale& first = w.experts.front().content()->scale[0];
  const Place place = context.place(w.device);
  const bool number = first.kind == ScaleKind::number;
  const TensorView cell = number ? TensorView() : first.data.transposed();
  const std::array<std::int64_t, 3> shape{count, number ? 1 : cell.shape[0],
                                          number ? 1 : cell.shape[1]};
  const auto rank = w.granularity.kind == Kind::tensor    ? 1U
                    : w.granularity.kind == Kind::channel ? 2U
                                                          : 3U;
  OCTAVO_TRY_ASSIGN(Tensor scales,
                    Tensor::try_empty("unpack_experts", number ? DType::float32 : cell.dtype,
                                      std::span(shape.data(), rank), place));
  for (std::int64_t e = 0; e < count; ++e) {
    const CarriedScale& own = w.experts[static_cast<std::size_t>(e)].content()->scale[0];
    if (number) {
      OCTAVO_TRY(fill_with("unpack_experts", scales.view().slice(0, e, e + 1), own.number,
                           context.stream));
      continue;
    }
    TensorView to = own.data.transposed();
    to.data = scales.view().at(e * shape[1] * shape[2]);
    to.strides = {shape[2], 1};
    OCTAVO_TRY(copy_to("unpack_experts", own.data.transposed(), to, context.stream));
  }
  return scales;
}

}  // namespace

std::int64_t ExpertWeights::experts() const noexcept {
  return content_ ? static_cast<std::int64_t>(content_->experts.size()) : 0;
}
std::int64_t ExpertWeights::k() const noexcept { return content_ ? content_->k : 0; }
std::int64_t ExpertWeights::n() const noexcept { return content_ ? content_->n : 0; }
DType ExpertWeights::dtype() const noexcept {
  return content_ ? content_->dtype : DType::undefined;
}
Granularity ExpertWeights::granularity() const noexcept {
  return content_ ? content_->granularity : Granularity{};
}
const char* ExpertWeights::layout() const noexcept { return content_ ? content_->layout : "none"; }
std::size_t ExpertWeights::bytes() const noexcept { return content_ ? content_->bytes : 0; }
Device ExpertWeights::device() const noexcept { return content_ ? content_->device : Device{}; }
const std::optional<ActivationQuant>& ExpertWeights::activation() const noexcept {
  static const std::optional<ActivationQuant> none;
  return content_ ? content_->activation : none;
}
const PackedWeight& ExpertWeights::operator[](std::int64_t expert) const noexcept {
  return content_->experts[static_cast<std::size_t>(expert)];
}

ExpertWeights pack_experts(const TensorView& weight, const PackExpertsOptions& options,
                           const ExecContext& context) {
  return at_edge(kPackExperts, [&] { return run_pack(weight, options, context); });
}

UnpackedExperts unpack_experts(const ExpertWeights& weights, const ExecContext& context) {
  return at_edge("unpack_experts", [&]() -> Result<UnpackedExperts> {
    if (!weights.defined()) {
      return fail(Code::invalid_argument,
                  "unpack_experts: weights must be packed; got an empty one");
    }
    const ExpertWeightsData& w = *weights.content();
    UnpackedExperts u;
    u.granularity = w.granularity;
    const std::array<std::int64_t, 3> shape{weights.experts(), w.n, w.k};
    OCTAVO_TRY_ASSIGN(u.data,
                      Tensor::try_empty("unpack_experts", w.dtype, shape, context.place(w.device)));
    for (std::int64_t e = 0; e < weights.experts(); ++e) {
      const PackedWeightData& expert = *weights[e].content();
      OCTAVO_TRY(expert.layout->unpack(expert, u.data.view()[e].transposed(), context));
    }
    OCTAVO_TRY_ASSIGN(u.scale, gathered_scales(w, context));
    return u;
  });
}

ExpertWeights to_device(const ExpertWeights& weights, const Device& device,
                        const ExecContext& context) {
  return at_edge("to_device", [&]() -> Result<ExpertWeights> {
    if (!weights.defined()) {
      return fail(Code::invalid_argument, "to_device: weights must be packed; got empty ones");
    }
    const Device& from = weights.content()->device;
    OCTAVO_TRY(check_moves("to_device", from, device));
    if (same_device(from, device)) return weights;
    const UnpackedExperts u = unpack_experts(weights, context);
    const Tensor data = copy(u.data, context.place(device));
    PackExpertsOptions options{.activation = weights.activation()};
    Tensor scale;
    if (u.scale.defined()) {
      scale = copy(u.scale, context.place(device));
      options.scale = {scale, u.granularity};
    }
    return pack_experts(data, options, context);
  });
}

}  // namespace octavo
