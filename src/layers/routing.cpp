// SPDX-License-Identifier: Apache-2.0
// Counting, then placing.
#include "layers/routing.hpp"

#include <cstddef>

#include "core/element.hpp"
#include "core/error.hpp"

namespace octavo {
namespace {

constexpr std::int64_t kNowhere = -1;

std::int64_t map_at(const TensorView& map, std::int64_t id) noexcept {
  return load_int(map.dtype, map.data, id * map.strides[0]);
}

Status check_map(const Site& site, const TensorView& map, std::int64_t experts) {
  for (std::int64_t id = 0; map.defined() && id < map.shape[0]; ++id) {
    const std::int64_t expert = map_at(map, id);
    if (expert >= kNowhere && expert < experts) continue;
    return fail(Code::invalid_argument, "{}[{}] must be in [-1, {}); got {}", site(Arg::azp), id,
                experts, expert);
  }
  return {};
}

}  // namespace

Result<Routing> find_routes(const Site& site, const RoutingTensors& t, std::int64_t experts) {
  OCTAVO_TRY(check_map(site, t.map, experts));
  Routing r;
  r.tokens = t.ids.shape[0];
  r.slots = t.ids.shape[1];
  const std::int64_t ids = t.map.defined() ? t.map.shape[0] : experts;
  const auto count = static_cast<std::size_t>(r.tokens * r.slots);
  r.places.resize(count);
  r.factors.resize(count);
  // An expert's rows begin where those before it end.
  std::vector<std::int64_t> next(static_cast<std::size_t>(experts) + 1, 0);
  for (std::size_t route = 0; route < count; ++route) {
    const std::int64_t token = static_cast<std::int64_t>(route) / r.slots;
    const std::int64_t slot = static_cast<std::int64_t>(route) % r.slots;
    const std::int64_t id = load_int(t.ids, token, slot);
    if (id < kNowhere || id >= ids) {
      return fail(Code::invalid_argument, "{}[{}, {}] must be in [-1, {}); got {}", site(Arg::offs),
                  token, slot, ids, id);
    }
    const std::int64_t expert = id != kNowhere && t.map.defined() ? map_at(t.map, id) : id;
    r.places[route] = expert;
    r.factors[route] = load_float(t.weights, token, slot);
    if (expert != kNowhere) ++next[static_cast<std::size_t>(expert) + 1];
  }
  for (std::size_t e = 0; e < static_cast<std::size_t>(experts); ++e) {
    const std::int64_t rows = next[e + 1];
    next[e + 1] += next[e];
    if (rows > 0) r.touched.push_back({static_cast<std::int64_t>(e), next[e], next[e + 1]});
  }
  r.routes.resize(static_cast<std::size_t>(next.back()));
  for (std::size_t route = 0; route < count; ++route) {
    std::int64_t& place = r.places[route];
    if (place == kNowhere) continue;
    place = next[static_cast<std::size_t>(place)]++;
    r.routes[static_cast<std::size_t>(place)] = static_cast<std::int64_t>(route);
  }
  return r;
}

}  // namespace octavo
