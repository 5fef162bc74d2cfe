// SPDX-License-Identifier: Apache-2.0
// What ExpertWeights owns.
#pragma once

#include <vector>

#include "octavo/moe.hpp"

namespace octavo {

struct ExpertWeightsData {
  std::vector<PackedWeight> experts;  ///< their codes are slices of one block
  DType dtype = DType::undefined;
  Device device;
  std::int64_t k = 0, n = 0;
  Granularity granularity;
  const char* layout = "none";
  std::size_t bytes = 0;
  std::optional<ActivationQuant> activation;
};

}  // namespace octavo
