// SPDX-License-Identifier: Apache-2.0
// Grouped products: the list, the tensor forms and the batch.
#include "octavo/grouped.hpp"

#include <deque>
#include <vector>

#include "capi/operations/products.hpp"

using namespace octavo::capi;
using octavo::Operand;
using octavo::Scale;
using octavo::Tensor;
using octavo::TensorView;

namespace {

constexpr const char* kGrouped = "grouped_mm";

std::vector<TensorView> views_from(const ArgumentPath& place, const octavo_view* const* given,
                                   std::size_t count) {
  std::vector<TensorView> views;
  for (std::size_t i = 0; given != nullptr && i < count; ++i) {
    views.push_back(optional_view(place.at(static_cast<std::int64_t>(i)), given[i]));
  }
  return views;
}

std::vector<Scale> scales_from(const ArgumentPath& place, const octavo_scale* given,
                               std::size_t count) {
  std::vector<Scale> scales;
  for (std::size_t i = 0; given != nullptr && i < count; ++i) {
    scales.push_back(scale_from(place.at(static_cast<std::int64_t>(i)), given[i]));
  }
  return scales;
}

}  // namespace

namespace octavo::capi {

ListArguments::Operands::Operands(const ArgumentPath& place, const octavo_operand* const* given,
                                  std::size_t count) {
  if (count > 0) require(place, static_cast<const void*>(given));
  for (std::size_t i = 0; i < count; ++i) {
    operands.push_back(arguments.emplace_back(place.at(static_cast<std::int64_t>(i)), given[i]));
  }
}

ListArguments::ListArguments(const ArgumentPath& place, const octavo_operand* const* inputs,
                             const octavo_operand* const* weights, std::size_t count,
                             const octavo_grouped_list_options* given)
    : inputs_({place.operation, "inputs"}, inputs, count),
      weights_({place.operation, "weights"}, weights, count) {
  options_ = options_from(place, given);
  const octavo_grouped_list_options c = read_struct(place, given);
  biases_ = views_from({place.operation, "biases"}, c.biases, count);
  outs_ = views_from({place.operation, "outs"}, c.outs, count);
  scales_a_ = scales_from({place.operation, "scales_a"}, c.scales_a, count);
  scales_b_ = scales_from({place.operation, "scales_b"}, c.scales_b, count);
  options_.biases = biases_;
  options_.outs = outs_;
  options_.scales_a = scales_a_;
  options_.scales_b = scales_b_;
}

}  // namespace octavo::capi

octavo_code octavo_grouped_mm_list(const octavo_operand* const* inputs,
                                   const octavo_operand* const* weights, int64_t count,
                                   const octavo_grouped_list_options* options,
                                   const octavo_context* context, octavo_tensor** results) {
  return guarded(kGrouped, [&] {
    const std::size_t n =
        checked_count({kGrouped, "results"}, static_cast<const void*>(results), count);
    std::deque<Slot<octavo_tensor>> slots;
    for (std::size_t i = 0; i < n; ++i) results[i] = nullptr;
    for (std::size_t i = 0; i < n; ++i)
      slots.emplace_back(ArgumentPath{kGrouped, "results"}, &results[i]);
    const ListArguments list({kGrouped, "options"}, inputs, weights, n, options);
    const Context run_on(kGrouped, context);
    std::vector<Tensor> tensors =
        octavo::grouped_mm(list.inputs(), list.weights(), list.options(), run_on);
    for (std::size_t i = 0; i < n; ++i) slots[i].fill(std::move(tensors[i]));
  });
}

octavo_code octavo_grouped_mm(const octavo_operand* a, const octavo_operand* b,
                              const octavo_grouped_mm_options* options,
                              const octavo_context* context, octavo_tensor** result) {
  return guarded(kGrouped, [&] {
    if (result != nullptr) *result = nullptr;
    const octavo::GroupedOptions o = options_from({kGrouped, "options"}, options);
    Slot slot({kGrouped, "result"}, result, result_optional(o.out));
    const OperandArgument left({kGrouped, "a"}, a);
    const OperandArgument right({kGrouped, "b"}, b);
    const Context run_on(kGrouped, context);
    slot.fill(octavo::grouped_mm(left, right, o, run_on));
  });
}

octavo_code octavo_grouped_mm_workspace_bytes(const octavo_operand* a, const octavo_operand* b,
                                              const octavo_grouped_mm_options* options,
                                              const octavo_context* context, size_t* result) {
  return guarded(kGrouped, [&] {
    give(kGrouped, result, size_t{0});
    const OperandArgument left({kGrouped, "a"}, a);
    const OperandArgument right({kGrouped, "b"}, b);
    const octavo::GroupedOptions o = options_from({kGrouped, "options"}, options);
    const Context run_on(kGrouped, context);
    *result =
        octavo::workspace_bytes(octavo::grouped_mm_problem(left, right, o), run_on, o.backend);
  });
}

octavo_code octavo_scaled_grouped_mm(const octavo_operand* input, const octavo_operand* weight,
                                     const octavo_scaled_grouped_mm_options* options,
                                     const octavo_context* context, octavo_tensor** result) {
  constexpr const char* kName = "scaled_grouped_mm";
  return guarded(kName, [&] {
    if (result != nullptr) *result = nullptr;
    const octavo::ScaledGroupedMmOptions o = options_from({kName, "options"}, options);
    Slot slot({kName, "result"}, result, result_optional(o.out));
    const OperandArgument left({kName, "input"}, input);
    const OperandArgument right({kName, "weight"}, weight);
    const Context run_on(kName, context);
    slot.fill(octavo::scaled_grouped_mm(left, right, o, run_on));
  });
}
