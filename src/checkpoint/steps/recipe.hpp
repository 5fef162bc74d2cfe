// SPDX-License-Identifier: Apache-2.0
// How each scheme quantises a weight, and what its files hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors/writer.hpp"
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
  /// What codes lose is added to `errors`, of a weight in the host's memory; null: unasked.
  Written (*quantize)(const TensorView& weight, CodeErrors* errors, const ExecContext& context);
  std::optional<ActivationQuant> (*rule)();  ///< gives none where activations stay as they are
  const char* code_type;
  const char* scale;       ///< the tensor beside "weight"
  const char* scale_type;  ///< "U8": exponents of powers of two
  ScaleGrid grid;
  /// int8: the code of a weight beside what the file stores for its row; null for others.
  float (*code)(float weight, float stored) = nullptr;
  bool bitsandbytes = false;  ///< a scale of shape [N], and a byte that says "row-major"

  /// Whether compressed-tensors has its experts' codes four in an int32, and whether those of all
  /// layers: it reads int8 without a rule for activations in no other form.
  bool packs_experts() const noexcept {
    return std::string_view(code_type) == "I8" && !bitsandbytes;
  }
  bool packs_all() const { return packs_experts() && !rule(); }
};

/// Scales as a file of that scheme holds them.
Tensor stored_scale(const Recipe& recipe, const Tensor& scale);

/// The bytes of a row-major tensor.
std::vector<std::byte> bytes_of(const Tensor& tensor);

/// The scales of a layer [n, k] in a file of that scheme.
TensorShape scale_shape(const Recipe& recipe, const std::string& layer, std::int64_t n,
                        std::int64_t k);

/// What a file of that scheme holds beside the codes [n, k] of a layer; `scale` gives what
/// Written::scale is when its turn comes.
std::vector<TensorToWrite> tensors_beside(const Recipe& recipe, const std::string& layer,
                                          std::int64_t n, std::int64_t k,
                                          std::function<Tensor()> scale);

/// The row of a scheme. Throws Error (invalid_argument).
const Recipe& recipe_of(const char* operation, Scheme scheme);

}  // namespace octavo::checkpoint
