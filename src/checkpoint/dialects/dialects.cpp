// SPDX-License-Identifier: Apache-2.0
// Dialects: a row for each, by which layers are recognised and read into one Weight.
#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/dialects/expert_stack.hpp"
#include "checkpoint/gguf/gguf_tensors.hpp"
#include "checkpoint/open/plain_fp8.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

bool is_int8(DType dtype) noexcept { return dtype == DType::int8; }
bool is_int32(DType dtype) noexcept { return dtype == DType::int32; }
bool is_uint8(DType dtype) noexcept { return dtype == DType::uint8; }
/// U32, which no tensor of Octavo has.
bool is_word(DType dtype) noexcept { return dtype == DType::undefined; }
bool is_fp8(DType dtype) noexcept { return is_float8(dtype); }
bool is_code(DType dtype) noexcept { return is_int8(dtype) || is_float8(dtype); }

constexpr std::string_view kBlockScale = ".weight_block_scale";
static_assert(kBlockScale.ends_with(kBlockScaleSuffix));

constexpr std::array<Dialect, 13> kDialects{{
    {"bitsandbytes", ".weight", ".SCB", "", "", "", is_int8, read_bitsandbytes},
    {"compressed-tensors, vLLM, AutoFP8, FBGEMM, ModelOpt, ComfyUI", ".weight", ".weight_scale",
     ".weight_zero_point", ".input_scale", ".input_zero_point", is_code, read_scaled},
    {"ComfyUI, in a container of bytes", ".weight", ".weight_scale", "", ".input_scale", "",
     is_uint8, read_scaled},
    {"Mistral", ".weight", ".qscale_weight", "", ".qscale_act", "", is_fp8, read_scaled},
    {"MLX", ".weight", ".scales", ".biases", "", "", is_word, read_mlx, false},
    {"transformers, DeepSeek", ".weight", ".weight_scale_inv", "", ".activation_scale", "", is_fp8,
     read_block_fp8},
    {"DeepSeek V4", ".weight", ".scale", "", "", "", is_fp8, read_block_fp8, false},
    {"ComfyUI's scaled_fp8", ".weight", ".scale_weight", "", ".scale_input", "", is_fp8,
     read_comfy_scaled},
    {"compressed-tensors' pack-quantized", ".weight_packed", ".weight_scale", ".weight_zero_point",
     ".input_scale", ".input_zero_point", is_int32, read_pack_quantized},
    {"GPTQ", ".qweight", ".scales", ".qzeros", "", "", is_int32, read_gptq, false},
    {"torchao", "._weight_qdata", "._weight_scale", "._weight_zero_point",
     "._weight_act_quant_scale", "._weight_act_quant_zero_point", is_code, read_torchao},
    {"llama.cpp", ".weight", kBlockScale, "", "", "", is_int8, read_gguf},
    {"quanto", ".weight._data", ".weight._scale", "", ".input_scale", "", is_code, read_quanto},
}};

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kWords = "U32";  // of MLX
constexpr float kOne = 1.0F;

DType dtype_of(const TensorEntry* entry) {
  return entry == nullptr ? DType::undefined : dtype_of_name(entry->dtype);
}

void add(std::vector<std::string>& names, std::string name) {
  if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
}

/// The tensors by which a layer is recognised, each once.
struct Found {
  std::vector<std::string> codes;   ///< of any type: an unpacked weight is one, too
  std::vector<std::string> scales;  ///< those that prove something
};

Found find(const Header& header, const std::string& prefix) {
  Found found;
  for (const Dialect& dialect : kDialects) {
    std::string codes = prefix + std::string(dialect.codes);
    std::string scale = prefix + std::string(dialect.scale);
    const TensorEntry* entry = header.find(codes);
    if ((dialect.proof || (entry != nullptr && dialect.takes(dtype_of(entry)))) &&
        header.find(scale) != nullptr) {
      add(found.scales, std::move(scale));
    }
    if (entry != nullptr) add(found.codes, std::move(codes));
  }
  return found;
}

/// How the name of experts ends whose codes are packed in one tensor, a form that no reader has.
constexpr std::string_view kPackedStack = "_packed";

bool is_packed_stack(const TensorEntry& entry) {
  return entry.name.ends_with(kPackedStack) && entry.shape.size() == 3 &&
         !is_wide(dtype_of_name(entry.dtype));
}

void refuse_packed_stack(const Header& header, const std::string& prefix) {
  const TensorEntry* const packed = header.find(prefix + std::string(kPackedStack));
  if (packed == nullptr || !is_packed_stack(*packed)) return;
  refuse(Code::unsupported,
         "Checkpoint::weight: experts {} must have a tensor of codes each, or codes that are not "
         "packed; got {} {} of type {}",
         in_quotes(prefix), in_quotes(packed->name), shape_text(packed->shape), packed->dtype);
}

/// Blocks of llama.cpp's that are no codes and scales of 8 bits.
bool is_block(const TensorEntry& entry) noexcept { return find_type(entry.dtype) == nullptr; }

/// The layer that a tensor of a quantised layer belongs to: its codes or its scale.
std::optional<std::string_view> quantized_layer_of(const TensorEntry& entry) noexcept {
  const std::string_view name = entry.name;
  for (const Dialect& dialect : kDialects) {
    const bool codes = name.ends_with(dialect.codes) &&
                       (dialect.codes != kWeight || is_code(dtype_of_name(entry.dtype)) ||
                        entry.dtype == kWords || is_block(entry));
    if (codes) return name.substr(0, name.size() - dialect.codes.size());
    if (dialect.proof && name.ends_with(dialect.scale)) {
      return name.substr(0, name.size() - dialect.scale.size());
    }
  }
  if (is_packed_stack(entry)) return name.substr(0, name.size() - kPackedStack.size());
  return std::nullopt;
}

/// Several dialects have that scale: the weight is most likely to be missing.
[[noreturn]] void refuse_without_codes(const Checkpoint::Impl& impl, const std::string& prefix,
                                       const std::vector<std::string>& scales) {
  const std::string weight = prefix + std::string(kWeight);
  if (!scales.empty()) {
    const auto row = std::ranges::find_if(kDialects, [&](const Dialect& dialect) {
      return scales[0] == prefix + std::string(dialect.scale);
    });
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must have its weight beside it; got no tensor {}",
           in_quotes(scales[0]), in_quotes(prefix + std::string(row->codes)));
  }
  impl.config().check_method();
  refuse(Code::invalid_argument, "Checkpoint::weight: prefix must name a layer; got no tensor {}{}",
         in_quotes(weight), nearest_name(impl.header, weight));
}

/// What is declared of the layer, beside it or by the configuration.
LayerConfig config_of(const Checkpoint& file, const Checkpoint::Impl& impl,
                      const std::string& prefix) {
  if (auto own = comfy_config(file, prefix)) return *own;
  const auto found = impl.model().find(prefix);
  return impl.config().layer(prefix, found && found->kind == ModuleKind::embedding);
}

/// Whether a layer is declared by its own name to be quantised, in whatever form.
bool is_listed(const Checkpoint& file, const Checkpoint::Impl& impl, const std::string& prefix) {
  if (const auto own = comfy_config(file, prefix)) return own->listed == Listed::quantized;
  return impl.config().names(prefix);
}

Weight read_plain(const Checkpoint& file, const Checkpoint::Impl& impl, const std::string& prefix,
                  const TensorEntry& entry, CodesInPlace* in_place) {
  const DType dtype = dtype_of_name(entry.dtype);
  if (is_block(entry)) {
    refuse(Code::unsupported,
           "Checkpoint::weight: tensor {} must hold floats, or blocks of type {}; got {}",
           in_quotes(entry.name), kExactBlocks, entry.dtype);
  }
  if (!is_wide(dtype)) impl.config().check_method();
  if (is_int8(dtype) && impl.header.find(prefix + ".scale") != nullptr) {
    refuse(
        Code::unsupported,
        "Checkpoint::weight: tensor {} must hold floats of 8 bits, since its scale is {}; got {}, "
        "in which DeepSeek-V4 has two codes of 4 bits a byte",
        in_quotes(entry.name), in_quotes(prefix + ".scale"), entry.dtype);
  }
  const bool plain_fp8 = is_plain_fp8(impl, entry);
  if ((is_code(dtype) && !plain_fp8) || !entry.name.ends_with(kWeight)) {
    refuse(
        Code::corrupt_data,
        "Checkpoint::weight: tensor {} of type {} must have its scale beside it (weight_scale, "
        "weight_scale_inv, SCB, scales, _weight_scale, weight._scale); got none{}",
        in_quotes(entry.name), entry.dtype,
        is_fp8(dtype) ? fmt::format(", and {} says that it holds codes", impl.fp8_codes_by()) : "");
  }
  if (!is_wide(dtype) && !plain_fp8) {
    refuse(Code::unsupported,
           "Checkpoint::weight: tensor {}.dtype must be F32, F16, BF16, or an 8-bit type with a "
           "scale; got {}",
           in_quotes(entry.name), entry.dtype);
  }
  if (is_listed(file, impl, prefix)) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be quantised, since the file declares layer {} so; "
           "got {} without a scale",
           in_quotes(entry.name), in_quotes(prefix), entry.dtype);
  }
  if (entry.shape.size() != 2) {
    refuse(Code::invalid_argument,
           "Checkpoint::weight: tensor {}.shape must be 2-D, [N, K]; got {}: read it with tensor()",
           in_quotes(entry.name), shape_text(entry.shape));
  }
  Weight weight;
  if (in_place != nullptr) *in_place = {&entry, whole_matrix(entry)};
  weight.codes.data = in_place != nullptr ? outline(*in_place) : file.tensor(entry.name);
  weight.scheme = "none";
  if (plain_fp8) {  // values: codes whose scale is 1
    weight.scheme = "fp8-weight-only";
    weight.codes.scale = copy(TensorView(&kOne, DType::float32, {1, 1}), DType::float32);
  }
  return weight;
}

Weight read_quantized(const Checkpoint& file, const Checkpoint::Impl& impl, const Dialect& dialect,
                      const std::string& prefix, CodesInPlace* in_place, Extents extents) {
  Layer layer{file, impl, dialect, prefix, config_of(file, impl, prefix), extents, in_place};
  if (layer.config.listed != Listed::left_alone) return dialect.read(layer);
  refuse(Code::corrupt_data,
         "Checkpoint::weight: tensor {} must be a float weight, since '{}' leaves layer {} alone; "
         "got codes with scale {}",
         in_quotes(layer.name(dialect.codes)), kConfigKey, in_quotes(prefix),
         in_quotes(layer.name(dialect.scale)));
}

Weight read_layer(const Checkpoint& file, const std::string& prefix, CodesInPlace* in_place,
                  Extents extents) {
  const Checkpoint::Impl& impl = file.impl();
  const Header& header = impl.header;
  const Found found = find(header, prefix);
  if (found.codes.empty()) {
    if (auto weight = stacked_weight(impl, prefix, in_place)) return *std::move(weight);
    refuse_packed_stack(header, prefix);
    refuse_without_codes(impl, prefix, found.scales);
  }
  if (found.codes.size() > 1) {
    refuse(Code::corrupt_data, "Checkpoint::weight: layer {} must have one weight; got {} and {}",
           in_quotes(prefix), in_quotes(found.codes[0]), in_quotes(found.codes[1]));
  }
  const std::string& codes = found.codes[0];
  const TensorEntry& entry = *header.find(codes);
  if (found.scales.empty()) return read_plain(file, impl, prefix, entry, in_place);
  if (found.scales.size() > 1) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must have one scale; got {} and {}",
           in_quotes(codes), in_quotes(found.scales[0]), in_quotes(found.scales[1]));
  }
  for (const Dialect& dialect : kDialects) {
    if (codes == prefix + std::string(dialect.codes) &&
        found.scales[0] == prefix + std::string(dialect.scale) && dialect.takes(dtype_of(&entry))) {
      return read_quantized(file, impl, dialect, prefix, in_place, extents);
    }
  }
  (void)config_of(file, impl, prefix);  // says where the layer has other codes
  refuse(Code::corrupt_data,
         "Checkpoint::weight: tensor {}.dtype must be an 8-bit type that goes with {}; got {}",
         in_quotes(codes), in_quotes(found.scales[0]), entry.dtype);
}

}  // namespace

Weight checkpoint::read_weight(const Checkpoint& file, const std::string& prefix,
                               CodesInPlace* in_place, Extents extents) {
  return read_layer(file, prefix, in_place, extents);
}

Weight Checkpoint::weight(std::string_view prefix) const {
  return at_edge("Checkpoint::weight",
                 [&] { return read_weight(*this, std::string(prefix), nullptr); });
}

std::vector<std::string> Checkpoint::quantized_layers() const {
  return at_edge("Checkpoint::quantized_layers", [&] {
    std::set<std::string, std::less<>> layers;
    for (const TensorEntry& entry : entries()) {
      if (entry.shape.size() != 2 && is_plain_fp8(*impl_, entry)) continue;  // a bias, a norm
      if (const auto layer = quantized_layer_of(entry)) layers.emplace(*layer);
    }
    for (const StoredStack& stack : stored_stacks(impl_->header)) {
      layers.erase(stack.prefix);
      for (std::string& name : names_in_stack(stack)) layers.insert(std::move(name));
    }
    return std::vector<std::string>(layers.begin(), layers.end());
  });
}

}  // namespace octavo
