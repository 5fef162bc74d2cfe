// SPDX-License-Identifier: Apache-2.0
// A row for each way to name the scale of a stack, and what is read of one.
#include "checkpoint/dialects/expert_stack.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>

#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/dialects/scale_rules.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"
#include "core/fp_env.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// The names of a stack's tensors behind the prefix.
struct Naming {
  std::string_view codes, scale, input_scale;
};
constexpr std::array<Naming, 6> kNamings{{
    {"", "_scale_inv", "_activation_scale"},  // transformers, Qwen
    {"", "_scales_inv", ""},
    {"", "_weight_scale", "_input_scale"},  // ModelOpt
    {"", "_scale", ""},                     // FBGEMM
    {".weight", ".weight_scale", ".input_scale"},
    {".weight", ".weight_scale_inv", ".activation_scale"},
}};

bool is_stack(const TensorEntry* entry) {
  if (entry == nullptr || entry->shape.size() != 3 || entry->begin == entry->end ||
      entry->shape[0] > kMostExperts) {
    return false;
  }
  const DType dtype = dtype_of_name(entry->dtype);
  return dtype == DType::int8 || is_float8(dtype);
}

/// What a stack's tensors mean, read of their shapes and the configuration alone.
struct Stack {
  StoredStack stored;
  StackOrder order;
  LayerConfig config;
  ScaleGrid grid;         ///< of an expert as [N, K]
  ScaleGrid stored_grid;  ///< of an expert as stored
  std::optional<ActivationQuant> rule;
  const char* scheme = "";

  DType codes() const { return dtype_of_name(stored.codes->dtype); }
  std::int64_t experts() const { return stored.codes->shape[0]; }
  std::int64_t n() const { return stored.codes->shape[order.rows_are_inputs ? 2 : 1]; }
  std::int64_t k() const { return stored.codes->shape[order.rows_are_inputs ? 1 : 2]; }
};

ScaleGrid transposed(const ScaleGrid& grid) { return {grid.cols, grid.rows}; }

StackOrder order_of(const Checkpoint::Impl& in, const StoredStack& stack) {
  const std::string suffix = stack.codes->name.substr(stack.prefix.size());
  const auto other = partner_of(stack.prefix);
  const StackOrder given{false, in.model().interleaves(stack.prefix)};
  if (!other) return given;
  const TensorEntry& entry = *stack.codes;
  const TensorEntry* partner = in.header.find(*other + suffix);
  if (!is_stack(partner) || partner->shape[0] != entry.shape[0]) {
    refuse(
        Code::corrupt_data,
        "Checkpoint::experts: tensor {} must have tensor {} of as many experts beside it; got {}",
        in_quotes(entry.name), in_quotes(*other + suffix),
        partner == nullptr ? "none" : shape_text(partner->shape));
  }
  const bool is_down = stack.prefix.ends_with("down_proj");
  const auto inputs = is_down ? rows_are_inputs(*partner, entry) : rows_are_inputs(entry, *partner);
  if (inputs) return {*inputs, given.interleaved};
  refuse(Code::corrupt_data,
         "Checkpoint::experts: tensors {} and {} must be [E, 2 I, H] and [E, H, I], or [E, H, 2 I] "
         "and [E, I, H]; got {} and {}",
         in_quotes(entry.name), in_quotes(partner->name), shape_text(entry.shape),
         shape_text(partner->shape));
}

/// One element for each cell of each expert [a, b] as stored, in as many dimensions as it takes.
bool fits(const std::vector<std::int64_t>& scale, const std::vector<std::int64_t>& codes,
          const ScaleGrid& grid, bool inputs) {
  const std::int64_t rows = cells(codes[1], grid.rows), cols = cells(codes[2], grid.cols);
  if (scale.empty() || scale[0] != codes[0]) return false;
  if (scale.size() == 3) return scale[1] == rows && scale[2] == cols;
  if (scale.size() == 2) return scale[1] == (inputs ? cols : rows) && (inputs ? rows : cols) == 1;
  return scale.size() == 1 && rows == 1 && cols == 1;
}

/// Of an expert as stored: blocks are of the tensor as it is, rows those of [N, K].
ScaleGrid grid_of(const Stack& stack) {
  const bool inputs = stack.order.rows_are_inputs;
  const auto as_stored = [inputs](const ScaleGrid& reading) {
    const bool by_rows = reading.rows == 1 || reading.cols == kWholeExtent;
    return inputs && by_rows ? transposed(reading) : reading;
  };
  std::vector<ScaleGrid> readings(kUndeclaredGrids.begin(), kUndeclaredGrids.end());
  if (stack.config.grid) readings.assign(1, *stack.config.grid);
  const StoredStack& stored = stack.stored;
  for (const ScaleGrid& reading : readings) {
    const ScaleGrid grid = as_stored(reading);
    if (fits(stored.scale->shape, stored.codes->shape, grid, inputs)) return grid;
  }
  refuse(Code::corrupt_data,
         "Checkpoint::experts: tensor {} must have a scale for each cell of a granularity of the "
         "experts {}; got {}",
         in_quotes(stored.scale->name), shape_text(stored.codes->shape),
         shape_text(stored.scale->shape));
}

Granularity granularity_of(const ScaleGrid& grid) {
  if (grid.cols == kWholeExtent) {
    return grid.rows == kWholeExtent ? per_tensor() : per_channel();
  }
  return grid.rows == 1 ? group(grid.cols) : block(grid.rows, grid.cols);
}

/// Whether activations are quantised by stored scales. Throws Error where they are not stored.
bool is_static(const Stack& stack) {
  const bool there = stack.stored.input_scale != nullptr;
  if (!stack.rule || !stack.config.static_activations.value_or(there)) return false;
  if (there) return true;
  refuse(Code::corrupt_data,
         "Checkpoint::experts: experts {} must have a scale of activations beside them, since '{}' "
         "says that activations are static; got none",
         in_quotes(stack.stored.prefix), kConfigKey);
}

Stack stack_of(const Checkpoint::Impl& in, const StoredStack& stored) {
  Stack stack;
  stack.stored = stored;
  stack.config = in.config().layer(stored.prefix);
  if (stack.config.listed == Listed::left_alone) {
    refuse(Code::corrupt_data,
           "Checkpoint::experts: tensor {} must be in float, since '{}' leaves {} alone; got codes "
           "with scale {}",
           in_quotes(stored.codes->name), kConfigKey, in_quotes(stored.prefix),
           in_quotes(stored.scale->name));
  }
  stack.order = order_of(in, stored);
  stack.stored_grid = grid_of(stack);
  stack.grid = stack.order.rows_are_inputs ? transposed(stack.stored_grid) : stack.stored_grid;
  const bool there = stored.input_scale != nullptr;
  if (!stack.config.activations_by_scale || there) {
    stack.rule = stack.config.activation.value_or(activations_follow(stack.codes(), stack.grid));
  }
  const DType scale = dtype_of_name(stored.scale->dtype);
  stack.scheme = scheme_of(stack.codes(), stack.grid, is_exponent(scale), stack.rule);
  return stack;
}

std::int64_t elements_of(const TensorEntry& entry) {
  return std::accumulate(entry.shape.begin(), entry.shape.end(), std::int64_t{1},
                         std::multiplies<>());
}

/// Elements of one expert [rows, cols] of a tensor that has an equal share for each.
Tensor share(const Checkpoint::Impl& in, const TensorEntry& entry, std::int64_t experts,
             std::int64_t expert, std::int64_t rows, std::int64_t cols) {
  const std::int64_t each = elements_of(entry) / experts;
  return read_matrix(in, entry, {rows, cols, expert * each, cols, 1});
}

/// The scales of an expert as stored, float32.
Tensor stored_scale(const Checkpoint::Impl& in, const Stack& stack, std::int64_t expert) {
  const auto& shape = stack.stored.codes->shape;
  const TensorEntry& entry = *stack.stored.scale;
  const std::int64_t rows = cells(shape[1], stack.stored_grid.rows);
  const std::int64_t cols = cells(shape[2], stack.stored_grid.cols);
  return widened(entry.name, share(in, entry, stack.experts(), expert, rows, cols), stack.codes());
}

/// The static scale of an expert's activations.
float input_scale(const Checkpoint::Impl& in, const Stack& stack, std::int64_t expert) {
  const TensorEntry& entry = *stack.stored.input_scale;
  const std::int64_t elements = elements_of(entry);
  if (!is_wide(dtype_of_name(entry.dtype)) || (elements != 1 && elements != stack.experts())) {
    refuse(Code::corrupt_data,
           "Checkpoint::experts: tensor {} must have one float, or one for each of {} experts; got "
           "{} {}",
           in_quotes(entry.name), stack.experts(), entry.dtype, shape_text(entry.shape));
  }
  const Tensor one =
      copy(share(in, entry, elements, elements == 1 ? 0 : expert, 1, 1), DType::float32);
  const float scale = *one.data_as<float>();
  if (scale > 0.0F && std::isfinite(scale)) return scale;
  refuse(Code::corrupt_data,
         "Checkpoint::experts: tensor {} must hold finite numbers above 0; got {} for expert {}",
         in_quotes(entry.name), scale, expert);
}

void make_static(ActivationQuant& rule, float scale) {
  rule.static_scale = scale;
  rule.spec.granularity = per_tensor();
}

std::optional<ActivationQuant> rule_of(const Checkpoint::Impl& in, const Stack& stack,
                                       std::int64_t expert) {
  std::optional<ActivationQuant> rule = stack.rule;
  if (is_static(stack)) make_static(*rule, input_scale(in, stack, expert));
  return rule;
}

/// Scales of some rows: cells as they are where the rows are one run that begins with a cell, else
/// each row with the scales of its own.
Tensor scales_of_rows(const Tensor& all, const ExpertRows& rows, ScaleGrid& grid) {
  if (grid.rows == kWholeExtent) return all;
  if (rows.step == 1 && rows.first % grid.rows == 0) {
    const std::int64_t first = rows.first / grid.rows;
    return copy(all.view().slice(0, first, first + cells(rows.count, grid.rows)), DType::float32);
  }
  const Tensor own = Tensor::empty(DType::float32, {rows.count, all.size(1)});
  for (std::int64_t i = 0; i < rows.count; ++i) {
    const std::int64_t cell = (rows.first + i * rows.step) / grid.rows;
    std::copy_n(all.data_as<float>() + cell * all.size(1), all.size(1),
                own.data_as<float>() + i * all.size(1));
  }
  grid.rows = 1;
  return own;
}

Weight weight_of(const Checkpoint::Impl& in, const Stack& stack, const ExpertLayer& layer,
                 CodesInPlace* in_place = nullptr) {
  const FloatEnvironment environment;  // E8M0 has subnormals
  Tensor scale = stored_scale(in, stack, layer.expert);
  if (stack.order.rows_are_inputs) scale = copy(scale.view().transposed(), DType::float32);
  Weight weight;
  weight.codes.grid = stack.grid;
  const CodesInPlace codes{stack.stored.codes, layer.at};
  if (in_place != nullptr) *in_place = codes;
  weight.codes.data =
      in_place != nullptr ? outline(codes) : read_matrix(in, *codes.entry, codes.at);
  weight.codes.scale = scales_of_rows(scale, layer.rows, weight.codes.grid);
  weight.activation = rule_of(in, stack, layer.expert);
  weight.scheme = stack.scheme;
  return weight;
}

/// All experts as [E, N, K].
ExpertStack whole_stack(const Checkpoint::Impl& in, const Stack& stack) {
  const std::int64_t rows = cells(stack.n(), stack.grid.rows);
  const std::int64_t cols = cells(stack.k(), stack.grid.cols);
  ExpertStack all;
  all.codes = Tensor::empty(stack.codes(), {stack.experts(), stack.n(), stack.k()});
  std::vector<std::int64_t> shape{stack.experts()};
  if (stack.grid.rows != kWholeExtent || stack.grid.cols != kWholeExtent) shape.push_back(rows);
  if (stack.grid.cols != kWholeExtent) shape.push_back(cols);
  all.scale = Tensor::empty(DType::float32, shape);
  all.granularity = granularity_of(stack.grid);
  all.scheme = stack.scheme;
  all.activation = stack.rule;
  float largest = 0;
  for (std::int64_t e = 0; e < stack.experts(); ++e) {
    const bool inputs = stack.order.rows_are_inputs;
    const MatrixPlace slab{stack.n(), stack.k(), e * stack.n() * stack.k(), inputs ? 1 : stack.k(),
                           inputs ? stack.n() : 1};
    const Weight one = weight_of(in, stack, {{}, e, {0, 1, stack.n()}, slab});
    std::copy_n(one.codes.data.data_as<std::byte>(), stack.n() * stack.k(),
                all.codes.data_as<std::byte>() + e * stack.n() * stack.k());
    std::copy_n(one.codes.scale.data_as<float>(), rows * cols,
                all.scale.data_as<float>() + e * rows * cols);
    if (one.activation) largest = std::max(largest, one.activation->static_scale);
  }
  if (largest > 0.0F) make_static(*all.activation, largest);
  return all;
}

[[noreturn]] void refuse_prefix(const Header& header, const std::string& prefix) {
  refuse(
      Code::invalid_argument,
      "Checkpoint::experts: prefix must name quantised experts [E, N, K] with their scale beside "
      "them; got {}{}",
      in_quotes(prefix), nearest_name(header, prefix));
}

}  // namespace

namespace checkpoint {

std::optional<StoredStack> find_stack(const Header& header, const std::string& prefix) {
  for (const Naming& naming : kNamings) {
    const auto find = [&](std::string_view suffix) {
      return header.find(prefix + std::string(suffix));
    };
    const TensorEntry* codes = find(naming.codes);
    const TensorEntry* scale = find(naming.scale);
    if (!is_stack(codes) || scale == nullptr) continue;
    return StoredStack{prefix, codes, scale,
                       naming.input_scale.empty() ? nullptr : find(naming.input_scale)};
  }
  return std::nullopt;
}

std::vector<StoredStack> stored_stacks(const Header& header) {
  std::vector<StoredStack> stacks;
  for (const TensorEntry& entry : header.entries) {
    if (!is_stack(&entry)) continue;
    constexpr std::string_view kWeight = ".weight";
    const std::size_t suffix = entry.name.ends_with(kWeight) ? kWeight.size() : 0;
    auto stack = find_stack(header, entry.name.substr(0, entry.name.size() - suffix));
    if (stack && stack->codes == &entry) stacks.push_back(*std::move(stack));
  }
  std::ranges::sort(stacks, {}, &StoredStack::prefix);
  return stacks;
}

std::vector<std::string> names_in_stack(const StoredStack& stack) {
  std::vector<std::string> names;
  for (ExpertLayer& layer : layers_of_stack(stack.prefix, *stack.codes, {})) {
    names.push_back(std::move(layer.layer));
  }
  return names;
}

std::optional<Weight> stacked_weight(const Checkpoint::Impl& in, const std::string& layer,
                                     CodesInPlace* in_place) {
  for (const StackOfLayer& place : stacks_of_layer(layer)) {
    const auto stored = find_stack(in.header, place.stack);
    if (!stored) continue;
    const auto named = layer_of_stack(place, *stored->codes, {});
    if (!named || named->layer != layer) continue;
    const Stack stack = stack_of(in, *stored);
    return weight_of(in, stack, *layer_of_stack(place, *stored->codes, stack.order), in_place);
  }
  return std::nullopt;
}

Weight stored_expert(const Checkpoint::Impl& in, const StoredStack& stored, std::int64_t expert) {
  const FloatEnvironment environment;  // E8M0 has subnormals
  const Stack stack = stack_of(in, stored);
  const auto& shape = stored.codes->shape;
  Weight weight;
  weight.codes = {share(in, *stored.codes, shape[0], expert, shape[1], shape[2]),
                  stored_scale(in, stack, expert),
                  stack.stored_grid,
                  {}};
  weight.scheme = stack.scheme;
  return weight;
}

}  // namespace checkpoint

ExpertStack Checkpoint::experts(std::string_view prefix) const {
  return at_edge("Checkpoint::experts", [&] {
    const std::string name(prefix);
    const auto stored = find_stack(impl_->header, name);
    if (!stored) refuse_prefix(impl_->header, name);
    return whole_stack(*impl_, stack_of(*impl_, *stored));
  });
}

std::vector<std::string> Checkpoint::layers_of_experts(std::string_view prefix) const {
  return at_edge("Checkpoint::experts", [&] {
    const std::string name(prefix);
    const auto stored = find_stack(impl_->header, name);
    if (!stored) refuse_prefix(impl_->header, name);
    return names_in_stack(*stored);
  });
}

std::vector<std::string> Checkpoint::quantized_experts() const {
  return at_edge("Checkpoint::quantized_experts", [&] {
    std::vector<std::string> prefixes;
    for (StoredStack& stack : stored_stacks(impl_->header)) {
      prefixes.push_back(std::move(stack.prefix));
    }
    return prefixes;
  });
}

}  // namespace octavo
