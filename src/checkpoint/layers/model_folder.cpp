// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layers/model_folder.hpp"

#include <algorithm>
#include <array>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kAdapterConfig = "adapter_config.json";
/// Parts of names that PEFT gives to what it adds.
constexpr std::array<std::string_view, 12> kAdapterParts{".lora_A.",
                                                         ".lora_B.",
                                                         ".lora_embedding_A",
                                                         ".lora_embedding_B",
                                                         ".lora_magnitude_vector",
                                                         ".hada_w1_a",
                                                         ".lokr_w1",
                                                         ".ia3_l",
                                                         ".oft_R.",
                                                         ".vera_lambda_b",
                                                         ".boft_R",
                                                         "prompt_embeddings"};

const char* place(const Checkpoint& in) { return in.folder().empty() ? "file" : "folder"; }

void refuse_adapter(const char* operation, const Checkpoint& in) {
  const auto part = std::ranges::find_if(in.entries(), [](const TensorEntry& entry) {
    return std::ranges::any_of(kAdapterParts, [&](std::string_view text) {
      return entry.name.find(text) != std::string::npos;
    });
  });
  const bool declared = in.impl().text(kAdapterConfig).has_value() &&
                        (!in.folder().empty() || in.path().ends_with("adapter_model.safetensors"));
  if (!declared && part == in.entries().end()) return;
  refuse(Code::invalid_argument,
         "{}: {} {} must hold a model; got an adapter ({}): merge it into its model first",
         operation, place(in), in_quotes(in.path()),
         declared ? in_quotes(kAdapterConfig) : in_quotes(part->name));
}

void refuse_diffusers(const char* operation, const Checkpoint& in) {
  if (in.folder().empty()) return;
  const std::string config = in.impl().text(kConfigFile).value_or("{}");
  const auto name = json_field(config, "_class_name");
  if (!name || json_field(config, "model_type")) return;
  refuse(Code::unsupported,
         "{}: folder {} must hold a model of transformers; got a part of a diffusers pipeline, "
         "_class_name {}: diffusers loads none of the formats that are written",
         operation, in_quotes(in.path()), *name);
}

/// Parts of the names of what models keep as integers beside weights.
constexpr std::array<std::string_view, 6> kBuffers{"bias", "mask", "index",
                                                   "idx",  "ids",  "position"};

/// A tensor that looks like codes and belongs to no layer that is known.
const TensorEntry* unknown_codes(const Checkpoint& in, const LayerTensors& layers) {
  constexpr std::array<std::string_view, 4> kCodes{"U8", "I8", "I32", "U32"};
  const auto found = std::ranges::find_if(in.entries(), [&](const TensorEntry& entry) {
    const bool integers = std::ranges::find(kCodes, entry.dtype) != kCodes.end();
    const bool buffer = std::ranges::any_of(kBuffers, [&](std::string_view text) {
      return entry.name.find(text) != std::string::npos;
    });
    return integers && entry.shape.size() >= 2 && !buffer && !layers.is_part(entry);
  });
  return found == in.entries().end() ? nullptr : &*found;
}

}  // namespace

void check_model_folder(const char* operation, const Checkpoint& in, const LayerTensors& layers) {
  refuse_adapter(operation, in);
  refuse_diffusers(operation, in);
  const TensorEntry* const codes = unknown_codes(in, layers);
  const bool declared = !in.folder().empty() && !in.declarations().empty();
  if (declared && (layers.layers().empty() || codes != nullptr)) {
    in.impl().config().check_method();
    refuse(Code::unsupported,
           "{}: {} must declare a quantisation whose layers are known; got {} known layers{}",
           operation, in.declarations()[0].where, layers.layers().size(),
           codes == nullptr
               ? ""
               : fmt::format(", and tensor {} of type {}", in_quotes(codes->name), codes->dtype));
  }
  if (codes != nullptr) {
    refuse(Code::unsupported,
           "{}: tensor {} must belong to a layer that is known; got codes of type {} with no scale "
           "beside them",
           operation, in_quotes(codes->name), codes->dtype);
  }
}

}  // namespace octavo::checkpoint
