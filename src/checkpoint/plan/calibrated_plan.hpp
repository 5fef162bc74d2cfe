// SPDX-License-Identifier: Apache-2.0
// What a calibration adds to the plan of quantising: smoothed layers, Hessians, static scales,
// outlier columns.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/calibrated/calibration.hpp"
#include "checkpoint/steps/plan.hpp"
#include "checkpoint/steps/recipe.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// The calibration that the options name; null: none. Throws Error (invalid_argument: options that
/// need one, that do not go together, or that the scheme has no use for; and as Calibration).
std::shared_ptr<const Calibration> calibration_of(const Recipe& recipe,
                                                  const QuantizeFileOptions& options);

/// Completes a plan whose layers are there. Throws Error (invalid_argument: a calibration that does
/// not fit the model).
void calibrate(WritePlan& plan, const Checkpoint& in,
               const std::shared_ptr<const Calibration>& calibration,
               const QuantizeFileOptions& options);

/// LLM.int8()'s columns by layer: those whose calibrated inputs, smoothed where the plan smooths
/// them, reach the threshold; that of the calibration where none above 0 is given.
std::map<std::string, std::vector<std::int64_t>> calibrated_columns(
    const WritePlan& plan, const Calibration& calibration, const std::optional<float>& threshold);

}  // namespace octavo::checkpoint
