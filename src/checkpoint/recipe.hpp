// SPDX-License-Identifier: Apache-2.0
// How each scheme quantises a weight, and what its files hold.
#pragma once

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A weight as a scheme writes it.
struct Written {
  Quantized codes;  ///< scales are decode multipliers
  Tensor scale;     ///< as stored in the file
};

/// One row per scheme.
struct Recipe {
  Scheme scheme;
  Written (*quantise)(const TensorView& weight);
  ActivationQuant (*rule)();
  const char* code_type;
  const char* scale;  ///< the tensor beside "weight"
  ScaleGrid grid;
  bool bitsandbytes = false;  ///< a scale of shape [N], and a byte that says "row-major"
};

/// The row of a scheme. Throws Error (invalid_argument).
const Recipe& recipe_of(const char* operation, Scheme scheme);

}  // namespace octavo::checkpoint
