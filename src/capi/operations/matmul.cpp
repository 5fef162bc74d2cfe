// SPDX-License-Identifier: Apache-2.0
// scaled_mm and linear.
#include "octavo/matmul.hpp"

#include <algorithm>
#include <vector>

#include "capi/operations/products.hpp"

using namespace octavo::capi;

octavo_code octavo_scaled_mm(const octavo_operand* a, const octavo_operand* b,
                             const octavo_scaled_mm_options* options, const octavo_context* context,
                             octavo_tensor** result) {
  return guarded("scaled_mm", [&] {
    if (result != nullptr) *result = nullptr;
    const octavo::ScaledMmOptions o = options_from({"scaled_mm", "options"}, options);
    Slot slot({"scaled_mm", "result"}, result, result_optional(o.out));
    const OperandArgument left({"scaled_mm", "a"}, a);
    const OperandArgument right({"scaled_mm", "b"}, b);
    const Context run_on("scaled_mm", context);
    slot.fill(octavo::scaled_mm(left, right, o, run_on));
  });
}

octavo_code octavo_scaled_mm_workspace_bytes(const octavo_operand* a, const octavo_operand* b,
                                             const octavo_scaled_mm_options* options,
                                             const octavo_context* context, size_t* result) {
  return guarded("scaled_mm", [&] {
    give("scaled_mm", result, size_t{0});
    const OperandArgument left({"scaled_mm", "a"}, a);
    const OperandArgument right({"scaled_mm", "b"}, b);
    const octavo::ScaledMmOptions o = options_from({"scaled_mm", "options"}, options);
    const Context run_on("scaled_mm", context);
    *result = octavo::workspace_bytes(octavo::scaled_mm_problem(left, right, o), run_on, o.backend);
  });
}

octavo_code octavo_linear(const octavo_view* x, const octavo_packed* weight,
                          const octavo_linear_options* options, const octavo_context* context,
                          octavo_tensor** result) {
  return guarded("linear", [&] {
    if (result != nullptr) *result = nullptr;
    const ArgumentPath place{"linear", "options"};
    octavo::LinearOptions o = options_from(place, options);
    const octavo_linear_options c = read_struct(place, options);
    std::vector<std::int64_t> found;
    if (c.found_columns != nullptr) {
      require(place.of("found_count"), c.found_count);
      o.found_columns = &found;
    }
    Slot slot({"linear", "result"}, result, result_optional(o.out));
    const Context run_on("linear", context);
    slot.fill(octavo::linear(view_from({"linear", "x"}, x), value_of({"linear", "weight"}, weight),
                             o, run_on));
    if (c.found_columns != nullptr) {
      std::copy(found.begin(), found.end(), c.found_columns);
      *c.found_count = static_cast<std::int64_t>(found.size());
    }
  });
}
