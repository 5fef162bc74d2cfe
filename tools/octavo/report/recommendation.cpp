// SPDX-License-Identifier: Apache-2.0
#include "recommendation.hpp"

#include <fmt/format.h>

#include <cmath>
#include <tuple>

namespace octavo::cli {

Json advice(const std::string& choice, const std::string& reason) {
  return {{"choice", choice}, {"reason", reason}};
}

Json recommend(const std::vector<SchemeResult>& results, double least_db, const ShapeSpeed* speed) {
  const SchemeResult *best = nullptr, *nearest = nullptr;
  const auto cost = [&](const SchemeResult& r) {
    const double time = speed ? speed->typical_us(std::string(scheme_name(r.scheme))) : 0.0;
    return std::tuple(time, r.error.bytes_after, -r.error.sqnr_db);
  };
  for (const SchemeResult& r : results) {
    if (nearest == nullptr || r.error.sqnr_db > nearest->error.sqnr_db) nearest = &r;
    if (!(r.error.sqnr_db >= least_db)) continue;
    if (best == nullptr || cost(r) < cost(*best)) best = &r;
  }
  if (best == nullptr) {
    return advice("float",
                  fmt::format("no scheme reaches {:g} dB; the nearest is {} with {:.2f}", least_db,
                              scheme_name(nearest->scheme), nearest->error.sqnr_db));
  }
  const std::string name(scheme_name(best->scheme));
  const std::string error = std::isfinite(best->error.sqnr_db)
                                ? fmt::format("{:.2f} dB", best->error.sqnr_db)
                                : "exact codes";
  const double ours = speed ? speed->typical_us(name) : INFINITY;
  if (!std::isfinite(ours)) {
    return advice(name, fmt::format("the smallest with at least {:g} dB ({}); speed was not "
                                    "measured",
                                    least_db, error));
  }
  const double ratio = speed->typical_us("bfloat16") / ours;
  if (ratio < 1.0) {
    return advice(name, fmt::format("slower than bfloat16 here ({:.2f} times as fast), it saves "
                                    "memory alone: no scheme with at least {:g} dB is faster ({})",
                                    ratio, least_db, error));
  }
  return advice(name, fmt::format("the fastest with at least {:g} dB ({}): {:.2f} times as fast as "
                                  "bfloat16 here",
                                  least_db, error, ratio));
}

}  // namespace octavo::cli
