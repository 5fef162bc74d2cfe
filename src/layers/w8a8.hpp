// SPDX-License-Identifier: Apache-2.0
// What vLLM's quantiser and its linear layer share.
#pragma once

#include <array>
#include <cstdint>

#include "octavo/quantize.hpp"
#include "octavo/w8a8_utils.hpp"
#include "ops/rules.hpp"

namespace octavo::w8a8_utils {

/// The group shape's granularity of A; `automatic` for a shape that is none of ours.
Granularity granularity_of(const GroupShape& shape) noexcept;

/// vLLM's rules as a quantiser of octavo.
QuantizeSpec activation_spec(const QuantFP8& quantizer, float scale_ub) noexcept;

/// Does this type's rule keep codes below the type's largest?
bool aims_below_largest(DType dtype) noexcept;

/// The upper bound of absmax: one positive element, infinity where none is given.
Result<float> upper_bound(const Site& site, const TensorView& scale_ub);

/// A quantiser has a scale if and only if it is static.
Status check_mode(const Site& site, bool is_static, const TensorView& scale);

/// x [M, K] as codes and scales, without padding.
Result<QuantFP8::Output> quantize_activations(const Site& site, const QuantFP8& quantizer,
                                              const TensorView& x, const TensorView& scale,
                                              float scale_ub, const ExecContext& context);

}  // namespace octavo::w8a8_utils
