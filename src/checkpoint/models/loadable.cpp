// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/models/loadable.hpp"

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {

bool is_expert(std::string_view layer) noexcept {
  return layer.find(".experts.") != std::string_view::npos;
}

bool is_packed(std::string_view layer, std::int64_t k) noexcept {
  return is_expert(layer) && k % kCodesInWord == 0;
}

bool is_packed(std::string_view layer, const Weight& weight) noexcept {
  const TensorView codes = weight.codes.data;
  const bool packs = is_expert(layer) || !weight.activation;
  return codes.dtype == DType::int8 && packs && codes.shape[1] % kCodesInWord == 0;
}

bool blocks_fit(std::int64_t n, std::int64_t k) noexcept {
  const auto fits = [](std::int64_t extent) { return extent < kBlock || extent % kBlock == 0; };
  return fits(n) && fits(k);
}

bool cells_fit(const ScaleGrid& grid, std::int64_t n, std::int64_t k) noexcept {
  if (grid.rows == kBlock) return blocks_fit(n, k);
  return grid.cols == kWholeExtent || k % grid.cols == 0;
}

void refuse_conv1d(const Conv1dRefusal& refusal, std::string_view tensor) {
  refuse(Code::invalid_argument,
         "{}: {} must be {} for tensor {}, which is a Conv1D's [K, N] as config.json's model_type "
         "says: the formats of the others have no such layers; got {} ({})",
         refusal.operation, refusal.kind, refusal.only, in_quotes(tensor), refusal.got,
         refusal.advice);
}

void check_class_loads(const WrittenForm& form, const ModelClass& model) {
  if (model.architecture == nullptr || form.bitsandbytes) return;
  const bool splits = model.architecture->splits_weights;
  if (!splits && !(form.int8 && model.architecture->joins_weights)) return;
  refuse(
      Code::unsupported,
      "{}: {} must be {} for {}, whose weights transformers {} {} while it loads them, which fails "
      "beside layers of other forms; got {} (octavo.torch.OctavoConfig quantises the float model "
      "while it loads)",
      form.operation, form.kind, splits ? "that of bitsandbytes" : "that of bitsandbytes or of fp8",
      model.architecture->name, table_release(), splits ? "splits" : "joins", form.got);
}

void check_float_experts(const WrittenForm& form, const ModelClass& model,
                         const std::string& expert) {
  if (expert.empty() || form.bitsandbytes || !form.int8) return;
  refuse(Code::unsupported,
         "{}: experts of {} must be quantised with the other layers, or {} be another than one of "
         "int8, since transformers {} merges no float experts beside int8 layers; got {} for {} in "
         "float",
         form.operation, model.architecture->name, form.kind, table_release(), form.got,
         in_quotes(expert));
}

void LeftInFloat::add_uneven(std::string_view tensor, std::int64_t n, std::int64_t k,
                             std::int64_t multiple) {
  if (uneven_++ == 0) first_uneven_ = fmt::format("{} [{}, {}]", in_quotes(tensor), n, k);
  multiple_ = multiple;
}

std::vector<std::string> LeftInFloat::warnings(const char* operation, const char* kind,
                                               std::string_view name) const {
  std::vector<std::string> all;
  if (uneven_ > 0) {
    const bool blocks = multiple_ == kBlock;
    all.push_back(fmt::format(
        "{}: {} for transformers to read {}; got {} that stay in float, the first {}", operation,
        blocks ? fmt::format("sizes of layers must be below {} or multiples of it", kBlock)
               : fmt::format("a layer's K must be a multiple of {}", multiple_),
        blocks ? "fp8-block" : name, uneven_, first_uneven_));
  }
  if (experts_ > 0) {
    all.push_back(fmt::format(
        "{}: experts must be quantised by another {} than {}, whose layers transformers does not "
        "use for them; got {} tensors of experts that stay in float",
        operation, kind, name, experts_));
  }
  return all;
}

}  // namespace octavo::checkpoint
