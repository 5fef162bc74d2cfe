// SPDX-License-Identifier: Apache-2.0
#include "parallel/expert_records.hpp"

#include <cstring>

#include "core/data/cells.hpp"
#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "layers/activations.hpp"

namespace octavo {
namespace {

constexpr std::int64_t kAlignment = 16;

bool of_each_row(const ScaleView& scale) noexcept {
  return scale.kind == ScaleKind::tensor && scale.rows != kWholeExtent;
}
bool of_each_row(const MatrixView& azp) noexcept { return azp.defined() && azp.strides[0] != 0; }

// The expert of each route, -1: none.
std::vector<std::int64_t> experts_of(const Routing& routing) {
  std::vector<std::int64_t> experts(routing.places.size(), -1);
  for (const TouchedExpert& t : routing.touched) {
    for (std::int64_t i = t.begin; i < t.end; ++i) {
      const std::int64_t route = routing.routes[static_cast<std::size_t>(i)];
      experts[static_cast<std::size_t>(route)] = t.expert;
    }
  }
  return experts;
}

// Routes are in the order of experts already: a record each.
Dispatch routes_apart(const Routing& routing, std::span<const std::int64_t> ends) {
  Dispatch d;
  d.slots = 1;
  d.places = routing.places;
  std::vector<std::int64_t> counts(ends.size(), 0);
  std::size_t rank = 0;
  for (const TouchedExpert& t : routing.touched) {
    while (t.expert >= ends[rank]) ++rank;
    counts[rank] += t.rows();
    const std::int64_t begin = rank > 0 ? ends[rank - 1] : 0;
    for (std::int64_t i = t.begin; i < t.end; ++i) {
      d.rows.push_back(i);
      d.ids.push_back(static_cast<std::int32_t>(t.expert - begin));
    }
  }
  d.records_to = d.routes_to = counts;
  return d;
}

}  // namespace

Dispatch dispatch_of(const ExpertCall& call, std::span<const std::int64_t> ends) {
  const Routing& routing = call.routing;
  if (call.factors_on_input) return routes_apart(routing, ends);
  const std::vector<std::int64_t> experts = experts_of(routing);
  Dispatch d;
  d.slots = routing.slots;
  d.places.assign(experts.size(), -1);
  std::int64_t returned = 0;
  std::int64_t begin = 0;
  for (const std::int64_t end : ends) {
    const auto records = static_cast<std::int64_t>(d.rows.size());
    const std::int64_t routes = returned;
    for (std::int64_t m = 0; m < routing.tokens; ++m) {
      const std::size_t first = d.ids.size();
      bool any = false;
      for (std::int64_t t = 0; t < d.slots; ++t) {
        const auto route = static_cast<std::size_t>(m * d.slots + t);
        const bool here = experts[route] >= begin && experts[route] < end;
        d.ids.push_back(here ? static_cast<std::int32_t>(experts[route] - begin) : -1);
        if (here) d.places[route] = returned++;
        any = any || here;
      }
      if (any) {
        d.rows.push_back(m);
      } else {
        d.ids.resize(first);
      }
    }
    d.records_to.push_back(static_cast<std::int64_t>(d.rows.size()) - records);
    d.routes_to.push_back(returned - routes);
    begin = end;
  }
  return d;
}

Result<Rows> coded_rows(const ExpertCall& call, const Backend& backend, Arena& arena,
                        const ExecContext& context) {
  Rows rows{call.x, {}, {}};
  if (call.factors_on_input) {
    OCTAVO_TRY_ASSIGN(rows, gather(backend, rows, call.routing, arena, context));
    OCTAVO_TRY_ASSIGN(rows.data, apply_factors(backend, rows.data, call.routing, arena, context));
  }
  if (!call.w13->activation()) return rows;
  return quantize(backend.passes, *call.w13->activation(), rows.data, arena, context);
}

RecordPart RecordLayout::part(DType dtype, std::int64_t columns) {
  const std::int64_t offset = (bytes_ + kAlignment - 1) / kAlignment * kAlignment;
  bytes_ = offset + columns * element_bytes(dtype);
  return {dtype, columns, offset};
}

RecordLayout::RecordLayout(const Rows& rows, std::int64_t slots) : outline_(rows) {
  const std::int64_t columns = rows.data.shape[1];
  codes_ = part(rows.data.dtype, columns);
  if (of_each_row(rows.scale)) {
    scales_ = part(rows.scale.data.dtype, values_of(rows.scale, 1, columns).shape[1]);
  }
  if (of_each_row(rows.azp)) azp_ = part(DType::int32, rows.azp.shape[1]);
  ids_ = part(DType::int32, slots);
  bytes_ = (bytes_ + kAlignment - 1) / kAlignment * kAlignment;
}

MatrixView RecordLayout::view(const RecordPart& part, char* records, std::int64_t count) const {
  MatrixView view = matrix_view(records + part.offset, part.dtype, count, part.columns, {});
  view.strides[0] = bytes_ / element_bytes(part.dtype);
  return view;
}

Status RecordLayout::write(const Rows& rows, const Dispatch& dispatch, char* records,
                           const Backend& backend, const ExecContext& context) const {
  const auto count = static_cast<std::int64_t>(dispatch.rows.size());
  const auto pass = [&](const RecordPart& to, const MatrixView& from) -> Status {
    if (to.dtype == DType::undefined) return {};
    return backend.passes.gather({from, dispatch.rows.data(), 1, view(to, records, count)},
                                 context);
  };
  OCTAVO_TRY(pass(codes_, rows.data));
  OCTAVO_TRY(pass(scales_, values_of(rows.scale, rows.data.shape[0], rows.data.shape[1])));
  OCTAVO_TRY(pass(azp_, rows.azp));
  const auto bytes = static_cast<std::size_t>(dispatch.slots) * sizeof(std::int32_t);
  for (std::int64_t i = 0; i < count && bytes > 0; ++i) {
    std::memcpy(records + i * bytes_ + ids_.offset,
                &dispatch.ids[static_cast<std::size_t>(i * dispatch.slots)], bytes);
  }
  return {};
}

Rows RecordLayout::rows(char* records, std::int64_t count, const ActivationQuant* rule,
                        Arena& arena) const {
  Rows rows = outline_;
  rows.data = view(codes_, records, count);
  if (scales_.dtype != DType::undefined) {
    rows.scale.data = view(scales_, records, count);
  } else if (rule != nullptr) {
    auto* scale = arena.take<float>(1);
    *scale = rule->static_scale;
    rows.scale.data = matrix_view(scale, DType::float32, 1, 1, {});
  }
  if (azp_.dtype != DType::undefined) {
    rows.azp = view(azp_, records, count);
  } else if (rows.azp.defined()) {
    auto* azp = arena.take<std::int32_t>(1);
    *azp = rule->static_azp;
    rows.azp.data = azp;
    rows.azp.shape[0] = count;
  }
  return rows;
}

TensorView RecordLayout::ids(char* records, std::int64_t count) const {
  return static_cast<TensorView>(view(ids_, records, count));
}

}  // namespace octavo
