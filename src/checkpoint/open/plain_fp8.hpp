// SPDX-License-Identifier: Apache-2.0
// Models that were cast to fp8: their tensors are values, not codes.
#pragma once

#include <string>

#include "checkpoint/open/open_checkpoint.hpp"

namespace octavo::checkpoint {

/// What says that fp8 tensors of this checkpoint are codes: a declaration, a scale, or that some of
/// the model's files are not here. Empty: nothing does, and they are values.
std::string fp8_codes_by(const Checkpoint::Impl& in);

/// Whether that tensor is fp8 and a value as it is.
bool is_plain_fp8(const Checkpoint::Impl& in, const TensorEntry& entry);

}  // namespace octavo::checkpoint
