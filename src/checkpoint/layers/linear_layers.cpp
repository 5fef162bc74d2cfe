// SPDX-License-Identifier: Apache-2.0
#include "octavo/checkpoint/linear_layers.hpp"

#include <optional>
#include <string_view>
#include <utility>

#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/dialects/expert_layers.hpp"
#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/layers/layer_choice.hpp"
#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {

namespace {

using namespace checkpoint;

MatrixPlace place_of(const Checkpoint& model, const TensorEntry& entry) {
  const MatrixPlace stored = whole_matrix(entry);
  return model.impl().model().is_conv1d(*layer_of(entry.name)) ? transposed(stored) : stored;
}

/// The number of its last element; nothing where a number is negative or too large.
std::optional<std::int64_t> last_element(const MatrixPlace& at) {
  std::int64_t rows = 0, columns = 0, last = 0;
  const bool counts =
      at.n > 0 && at.k > 0 && at.begin >= 0 && at.row_step >= 0 && at.column_step >= 0;
  if (!counts || __builtin_mul_overflow(at.n - 1, at.row_step, &rows) ||
      __builtin_mul_overflow(at.k - 1, at.column_step, &columns) ||
      __builtin_add_overflow(rows, columns, &last) ||
      __builtin_add_overflow(last, at.begin, &last)) {
    return std::nullopt;
  }
  return last;
}

}  // namespace

std::vector<LinearLayer> linear_layers(const Checkpoint& model) {
  return at_edge("linear_layers", [&] {
    const NamePatterns ignored("linear_layers", Code::invalid_argument, {});
    LayerChoice choice(model, ignored, Readers::decompress, true);
    const LayerTensors stored(model);
    std::vector<LinearLayer> layers;
    for (const TensorEntry& entry : model.entries()) {
      if (stored.is_part(entry)) continue;
      const Treatment treated = choice.of(entry);
      if (treated == Treatment::quantize) {
        layers.push_back({std::string(*layer_of(entry.name)), entry.name, place_of(model, entry)});
      } else if (treated == Treatment::copy) {
        for (ExpertLayer& layer : float_experts(model, entry)) {
          layers.push_back({std::move(layer.layer), entry.name, layer.at});
        }
      }
    }
    return layers;
  });
}

bool is_embedding(const Checkpoint& model, std::string_view layer) {
  return at_edge("is_embedding", [&] {
    const auto found = model.impl().model().find(layer);
    return found && found->kind == ModuleKind::embedding;
  });
}

std::vector<TensorEntry> plain_tensors(const Checkpoint& model) {
  return at_edge("plain_tensors", [&] {
    const LayerTensors stored(model);
    std::vector<TensorEntry> plain;
    for (const TensorEntry& entry : model.entries()) {
      if (!stored.is_part(entry)) plain.push_back(entry);
    }
    return plain;
  });
}

Tensor float_weight(const Checkpoint& model, const LinearLayer& layer) {
  constexpr const char* kName = "float_weight";
  return at_edge(kName, [&] {
    const TensorEntry& entry = model.impl().entry(kName, layer.tensor);
    const DType dtype = dtype_of_name(entry.dtype);
    const std::int64_t elements = (entry.end - entry.begin) / element_bytes(dtype);
    const auto last = last_element(layer.at);
    if (is_wide(dtype) && last && *last < elements) {
      return read_matrix(model.impl(), entry, layer.at);
    }
    refuse(Code::invalid_argument,
           "{}: layer.at must be a matrix inside tensor {} of {} floats; got [{}, {}] from {} in "
           "steps of {} and {}",
           kName, in_quotes(layer.tensor), elements, layer.at.n, layer.at.k, layer.at.begin,
           layer.at.row_step, layer.at.column_step);
  });
}

}  // namespace octavo
