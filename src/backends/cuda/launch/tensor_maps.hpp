// SPDX-License-Identifier: Apache-2.0
// Tensor maps as TMA reads them, made by the driver and kept.
#pragma once

#include "backends/cuda/machine/types.hpp"
#include "core/devices/cuda_driver.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo::cuda {

/// The map that the driver makes of a description of a device's memory. A thread keeps the last
/// ones that it has asked for: a weight's is made once.
Status encode_map(const TensorMap& map, const Device& device, EncodedMap& encoded) noexcept;

}  // namespace octavo::cuda
