// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/gguf_names.hpp"

#include <algorithm>
#include <array>

namespace octavo::checkpoint {
namespace {

constexpr std::array kArchitectures{
    GgufArchitecture{"llama", "llama", "LlamaForCausalLM", true, false, true},
    GgufArchitecture{"qwen2", "qwen2", "Qwen2ForCausalLM", false, false, false},
    GgufArchitecture{"qwen3", "qwen3", "Qwen3ForCausalLM", false, true, true},
};

constexpr std::array kGgufConfigFields{
    GgufConfigField{"hidden_size", "embedding_length"},
    GgufConfigField{"num_hidden_layers", "block_count"},
    GgufConfigField{"intermediate_size", "feed_forward_length"},
    GgufConfigField{"num_attention_heads", "attention.head_count"},
    GgufConfigField{"max_position_embeddings", "context_length"},
    GgufConfigField{"rms_norm_eps", "attention.layer_norm_rms_epsilon", false},
};

/// Names of modules; "*" is the number of a layer.
struct NameRow {
  std::string_view gguf, model;
  bool head_norm = false;
};
constexpr std::array kModuleNames{
    NameRow{"token_embd", "model.embed_tokens"},
    NameRow{"output_norm", "model.norm"},
    NameRow{"output", "lm_head"},
    NameRow{"blk.*.attn_norm", "model.layers.*.input_layernorm"},
    NameRow{"blk.*.attn_q", "model.layers.*.self_attn.q_proj"},
    NameRow{"blk.*.attn_k", "model.layers.*.self_attn.k_proj"},
    NameRow{"blk.*.attn_v", "model.layers.*.self_attn.v_proj"},
    NameRow{"blk.*.attn_output", "model.layers.*.self_attn.o_proj"},
    NameRow{"blk.*.attn_q_norm", "model.layers.*.self_attn.q_norm", true},
    NameRow{"blk.*.attn_k_norm", "model.layers.*.self_attn.k_norm", true},
    NameRow{"blk.*.ffn_norm", "model.layers.*.post_attention_layernorm"},
    NameRow{"blk.*.ffn_gate", "model.layers.*.mlp.gate_proj"},
    NameRow{"blk.*.ffn_up", "model.layers.*.mlp.up_proj"},
    NameRow{"blk.*.ffn_down", "model.layers.*.mlp.down_proj"},
};

/// The digits at the beginning of a text.
std::string_view leading_digits(std::string_view text) noexcept {
  return text.substr(0, std::min(text.find_first_not_of("0123456789"), text.size()));
}

/// The number that "*" stands for; nothing where the name is another. Without "*" it is empty.
std::optional<std::string_view> layer_number_in(std::string_view pattern,
                                                std::string_view name) noexcept {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) {
    return pattern == name ? std::optional(std::string_view()) : std::nullopt;
  }
  if (!name.starts_with(pattern.substr(0, star))) return std::nullopt;
  const std::string_view number = leading_digits(name.substr(star));
  const bool rest =
      !number.empty() && name.substr(star + number.size()) == pattern.substr(star + 1);
  return rest ? std::optional(number) : std::nullopt;
}

std::optional<std::string> renamed(const GgufArchitecture& architecture, std::string_view tensor,
                                   std::string_view NameRow::*from, std::string_view NameRow::*to) {
  const std::size_t dot = std::min(tensor.rfind('.'), tensor.size());
  const std::string_view kind = tensor.substr(dot);
  if (kind != ".weight" && kind != ".bias") return std::nullopt;
  for (const NameRow& row : kModuleNames) {
    if (row.head_norm && !architecture.head_norms) continue;
    const auto number = layer_number_in(row.*from, tensor.substr(0, dot));
    if (!number) continue;
    std::string name(row.*to);
    if (!number->empty()) name.replace(name.find('*'), 1, *number);
    return name.append(kind);
  }
  return std::nullopt;
}

}  // namespace

const GgufArchitecture* find_gguf_architecture(std::string_view name) noexcept {
  const auto* found = std::ranges::find(kArchitectures, name, &GgufArchitecture::name);
  return found == kArchitectures.end() ? nullptr : found;
}

const GgufArchitecture* gguf_architecture_of(std::string_view model_type) noexcept {
  const auto* found = std::ranges::find(kArchitectures, model_type, &GgufArchitecture::model_type);
  return found == kArchitectures.end() ? nullptr : found;
}

std::string gguf_architectures() {
  std::string all;
  for (const GgufArchitecture& row : kArchitectures) {
    all += all.empty() ? "" : &row == &kArchitectures.back() ? " or " : ", ";
    all += row.name;
  }
  return all;
}

std::span<const GgufConfigField> gguf_config_fields() noexcept { return kGgufConfigFields; }

std::optional<std::string> name_from_gguf(const GgufArchitecture& architecture,
                                          std::string_view tensor) {
  return renamed(architecture, tensor, &NameRow::gguf, &NameRow::model);
}

std::optional<std::string> name_to_gguf(const GgufArchitecture& architecture,
                                        std::string_view tensor) {
  return renamed(architecture, tensor, &NameRow::model, &NameRow::gguf);
}

int rotated_rows(std::string_view gguf_name) noexcept {
  const std::string_view module =
      gguf_name.substr(0, std::min(gguf_name.rfind('.'), gguf_name.size()));
  if (layer_number_in("blk.*.attn_q", module)) return 1;
  return layer_number_in("blk.*.attn_k", module) ? 2 : 0;
}

}  // namespace octavo::checkpoint
