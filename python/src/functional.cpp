// SPDX-License-Identifier: Apache-2.0
// The products with PyTorch's recipes.
#include "octavo/functional.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "arguments.hpp"
#include "bindings.hpp"

namespace octavo::python {
namespace {

using functional::RecipeScale;
using functional::ScalingType;
using functional::SwizzleType;
using Name = std::optional<std::string>;

template <class Enum>
Enum value_of(const Call& call, int value, int count, const char* argument) {
  if (value >= 0 && value < count) return static_cast<Enum>(value);
  raise(Code::invalid_argument, std::string(call.operation()) + ": " + argument +
                                    " must be in [0, " + std::to_string(count - 1) + "]; got " +
                                    std::to_string(value));
}

std::vector<RecipeScale> scales_of(Call& call, const std::vector<nb::object>& values,
                                   const std::vector<int>& recipes,
                                   const std::vector<int>& swizzles, const char* argument) {
  if (recipes.size() != values.size() || (!swizzles.empty() && swizzles.size() != values.size())) {
    raise(Code::invalid_argument,
          std::string(call.operation()) + ": " + argument +
              " must have one recipe (and one swizzle, if any) for each scale; got " +
              std::to_string(values.size()) + " scales, " + std::to_string(recipes.size()) +
              " recipes and " + std::to_string(swizzles.size()) + " swizzles");
  }
  std::vector<RecipeScale> result;
  for (std::size_t i = 0; i < values.size(); ++i) {
    RecipeScale scale;
    scale.values = call.tensor(values[i], argument);
    scale.recipe = value_of<ScalingType>(call, recipes[i], 6, "recipe");
    if (!swizzles.empty()) scale.swizzle = value_of<SwizzleType>(call, swizzles[i], 2, "swizzle");
    result.push_back(scale);
  }
  return result;
}

using Function = Tensor (*)(const TensorView&, const TensorView&, std::span<const RecipeScale>,
                            std::span<const RecipeScale>, const functional::Options&,
                            const ExecContext&);

template <Function F>
void define(nb::module_& m, const char* name, const char* operation) {
  using Values = const std::vector<nb::object>&;
  using Codes = const std::vector<int>&;
  const auto call_it = [operation](nb::handle mat_a, nb::handle mat_b, Values scale_a,
                                   Codes recipe_a, Values scale_b, Codes recipe_b, Codes swizzle_a,
                                   Codes swizzle_b, nb::handle bias, nb::handle offs,
                                   nb::handle output_dtype, bool torch_compat, nb::handle out,
                                   const Name& backend) {
    Call call(operation);
    const TensorView a = call.tensor(mat_a, "mat_a");
    const TensorView b = call.tensor(mat_b, "mat_b");
    const auto sa = scales_of(call, scale_a, recipe_a, swizzle_a, "scale_a");
    const auto sb = scales_of(call, scale_b, recipe_b, swizzle_b, "scale_b");
    functional::Options o;
    o.bias = call.tensor(bias, "bias");
    o.offs = call.tensor(offs, "offs");
    o.output_dtype = call.dtype(output_dtype, "output_dtype");
    o.torch_compat = torch_compat;
    o.out = call.out(out);
    o.backend = backend ? backend->c_str() : nullptr;
    const Tensor result = unlocked([&] { return F(a, b, sa, sb, o, context()); });
    return out.is_none() ? call.give(result) : nb::borrow(out);
  };
  m.def(name, call_it, nb::arg("mat_a"), nb::arg("mat_b"), nb::arg("scale_a"), nb::arg("recipe_a"),
        nb::arg("scale_b"), nb::arg("recipe_b"), nb::arg("swizzle_a"), nb::arg("swizzle_b"),
        nb::arg("bias").none() = nb::none(), nb::arg("offs").none() = nb::none(),
        nb::arg("output_dtype") = "bfloat16", nb::arg("torch_compat") = false,
        nb::arg("out").none() = nb::none(), nb::arg("backend").none() = nb::none(),
        "See octavo.torch.functional.");
}

}  // namespace

void bind_functional(nb::module_& m) {
  define<functional::scaled_mm>(m, "functional_scaled_mm", "scaled_mm");
  define<functional::scaled_grouped_mm>(m, "functional_scaled_grouped_mm", "scaled_grouped_mm");
}

}  // namespace octavo::python
