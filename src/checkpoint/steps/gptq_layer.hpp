// SPDX-License-Identifier: Apache-2.0
// Layers that GPTQ quantises, one after the other.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/calibrated/calibration.hpp"
#include "checkpoint/calibrated/gptq.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/steps/plan.hpp"
#include "checkpoint/steps/rows.hpp"

namespace octavo::checkpoint {

/// The Hessian of a layer's inputs in a calibration file.
struct GptqHessian {
  std::shared_ptr<const Calibration> calibration;
  std::string tensor;
  double damp = 0;
};

/// The Hessian that a layer names, of its input as it is after smoothing. Throws Error.
InputHessian input_hessian(const LayerPlan& layer);

struct GptqLayer {
  QuantizedRows rows;                   ///< all of them
  double nearest_error = 0, error = 0;  ///< LayerReport's nearest_output_error and output_error
};

/// Quantises a layer with the scales of rounding to nearest. The bytes do not depend on `threads`.
/// Throws Error, as quantise_rows.
GptqLayer quantize_gptq(const Checkpoint::Impl& in, const LayerPlan& layer,
                        const InputHessian& hessian, int threads);

/// The most that GPTQ of a plan's layers holds in memory; 0: no layer has a Hessian.
std::int64_t gptq_memory(const WritePlan& plan, int threads) noexcept;

/// About how long GPTQ of a plan's layers takes, by the rate at which a small Hessian is factored
/// here; 0: no layer has one. Throws Error (unsupported: no LAPACK).
double gptq_seconds(const WritePlan& plan);

/// Throws Error (unsupported: no LAPACK; out_of_memory: less of it is free than that).
void check_gptq(const WritePlan& plan, int threads);

}  // namespace octavo::checkpoint
