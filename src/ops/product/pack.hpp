// SPDX-License-Identifier: Apache-2.0
// The steps of packing.
#pragma once

#include <memory>

#include "backends/backend.hpp"
#include "octavo/packed.hpp"
#include "octavo/status.hpp"
#include "ops/site.hpp"

namespace octavo {

/// Everything of a packed weight but its codes; its scales are the caller's.
Result<std::shared_ptr<PackedWeightData>> outlined(const Site& site, const Operand& weight,
                                                   const PackOptions& options,
                                                   const ExecContext& context);

/// Packs the weight into `content.codes`, which have the layout's size, and copies the scales that
/// cover it, into `content.scales` where these have their shape, else into memory of their own. The
/// memory of an empty weight is not read.
Status fill(PackedWeightData& content, const TensorView& weight, const ExecContext& context);

/// Whether a weight can be brought from one device to the other.
Status check_moves(const char* operation, const Device& from, const Device& to);

/// What pack gives, its scales in place and no codes: to be explained and planned, not run.
/// The weight's memory is not read. Throws Error.
PackedWeight outline(const Operand& weight, const PackOptions& options);

}  // namespace octavo
