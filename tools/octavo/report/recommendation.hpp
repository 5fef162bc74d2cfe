// SPDX-License-Identifier: Apache-2.0
// Which scheme a layer should go to.
#pragma once

#include <string>
#include <vector>

#include "layer.hpp"
#include "output.hpp"
#include "speed.hpp"

namespace octavo::cli {

/// An object of `choice` and `reason`.
Json advice(const std::string& choice, const std::string& reason);

/// The fastest scheme that is near enough; without times the smallest.
Json recommend(const std::vector<SchemeResult>& results, double least_db, const ShapeSpeed* speed);

}  // namespace octavo::cli
