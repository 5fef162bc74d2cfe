// SPDX-License-Identifier: Apache-2.0
// What llama.cpp and transformers call the tensors of a model, in the architectures that both ways
// are known of.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace octavo::checkpoint {

/// An architecture of llama.cpp's, and transformers' words for it.
struct GgufArchitecture {
  std::string_view name;
  std::string_view model_type;
  std::string_view model_class;
  bool permuted;      ///< rows of query and key are in the order of rotated pairs
  bool head_norms;    ///< query and key have norms
  bool biases_named;  ///< config.json says whether projections have biases
};

/// The row of that name, or null.
const GgufArchitecture* find_gguf_architecture(std::string_view name) noexcept;
/// The row of that model_type, or null.
const GgufArchitecture* gguf_architecture_of(std::string_view model_type) noexcept;
/// All names, for sentences.
std::string gguf_architectures();

/// The tensor of factors of rotary embeddings.
inline constexpr std::string_view kRopeFactors = "rope_freqs.weight";

/// A field of config.json, and llama.cpp's key for it behind the architecture's name.
struct GgufConfigField {
  std::string_view field, key;
  bool integer = true;  ///< else a float
};
/// Those that every architecture needs.
std::span<const GgufConfigField> gguf_config_fields() noexcept;

/// transformers' name of a tensor; nothing: the architecture has none such.
std::optional<std::string> name_from_gguf(const GgufArchitecture& architecture,
                                          std::string_view tensor);
/// llama.cpp's name of a tensor; nothing: the architecture has none such.
std::optional<std::string> name_to_gguf(const GgufArchitecture& architecture,
                                        std::string_view tensor);
/// Whether a tensor, by llama.cpp's name, is of the rows of query (1) or key (2); 0: neither.
int rotated_rows(std::string_view gguf_name) noexcept;

}  // namespace octavo::checkpoint
