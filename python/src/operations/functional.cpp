// SPDX-License-Identifier: Apache-2.0
// The products with PyTorch's recipes.
#include "octavo/functional.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "bindings.hpp"
#include "gradients.hpp"
#include "tensors/arguments.hpp"

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

struct Arguments {
  nb::handle mat_a, mat_b;
  const std::vector<nb::object>& scale_a;
  const std::vector<int>& recipe_a;
  const std::vector<nb::object>& scale_b;
  const std::vector<int>&recipe_b, &swizzle_a, &swizzle_b;
  nb::handle bias, offs, output_dtype;
  bool torch_compat;
  nb::handle out;
  const Name& backend;
};

struct Prepared {
  TensorView a, b;
  std::vector<RecipeScale> scale_a, scale_b;
  functional::Options options;
};

Prepared prepare(Call& call, const Arguments& f) {
  Prepared p;
  p.a = call.tensor(f.mat_a, "mat_a");
  p.b = call.tensor(f.mat_b, "mat_b");
  p.scale_a = scales_of(call, f.scale_a, f.recipe_a, f.swizzle_a, "scale_a");
  p.scale_b = scales_of(call, f.scale_b, f.recipe_b, f.swizzle_b, "scale_b");
  p.options.bias = call.tensor(f.bias, "bias");
  p.options.offs = call.tensor(f.offs, "offs");
  p.options.output_dtype = call.dtype(f.output_dtype, "output_dtype");
  p.options.torch_compat = f.torch_compat;
  p.options.out = call.out(f.out);
  p.options.backend = f.backend ? f.backend->c_str() : nullptr;
  return p;
}

// The two operations differ in these functions alone.
struct Dense {
  static constexpr const char* name = "scaled_mm";
  static constexpr auto run = functional::scaled_mm;
  static constexpr auto vjp = functional::scaled_mm_vjp;
};
struct Grouped {
  static constexpr const char* name = "scaled_grouped_mm";
  static constexpr auto run = functional::scaled_grouped_mm;
  static constexpr auto vjp = functional::scaled_grouped_mm_vjp;
};

template <class Operation>
nb::object run(const Arguments& arguments) {
  Call call(Operation::name);
  const Prepared p = prepare(call, arguments);
  const Tensor result = unlocked(
      [&] { return Operation::run(p.a, p.b, p.scale_a, p.scale_b, p.options, call.context()); });
  return arguments.out.is_none() ? call.give(result) : nb::borrow(arguments.out);
}

template <class Operation>
nb::list gradients(const GradientArguments& g, const Arguments& arguments) {
  Call call(Operation::name);
  const Prepared p = prepare(call, arguments);
  return run_vjp(call, g, [&](auto& grad, auto& wanted, auto& options) {
    return Operation::vjp(grad, p.a, p.b, p.scale_a, p.scale_b, p.options, wanted, options,
                          call.context());
  });
}

template <auto Body, class... Head, class... Names>
void define(nb::module_& m, const char* name, const Names&... names) {
  using H = nb::handle;
  using Values = const std::vector<nb::object>&;
  using Codes = const std::vector<int>&;
  const auto call = [](Head... head, H mat_a, H mat_b, Values scale_a, Codes recipe_a,
                       Values scale_b, Codes recipe_b, Codes swizzle_a, Codes swizzle_b, H bias,
                       H offs, H output_dtype, bool torch_compat, H out, const Name& backend) {
    const Arguments arguments{mat_a,        mat_b,        scale_a,   recipe_a, scale_b,
                              recipe_b,     swizzle_a,    swizzle_b, bias,     offs,
                              output_dtype, torch_compat, out,       backend};
    return apply<Body>(arguments, head...);
  };
  m.def(name, call, names..., nb::arg("mat_a"), nb::arg("mat_b"), nb::arg("scale_a"),
        nb::arg("recipe_a"), nb::arg("scale_b"), nb::arg("recipe_b"), nb::arg("swizzle_a"),
        nb::arg("swizzle_b"), nb::arg("bias").none() = nb::none(),
        nb::arg("offs").none() = nb::none(), nb::arg("output_dtype") = "bfloat16",
        nb::arg("torch_compat") = false, nb::arg("out").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), "See octavo.torch.functional.");
}

template <class Operation>
void define_both(nb::module_& m, const char* name, const char* name_of_vjp) {
  define<run<Operation>>(m, name);
  define<gradients<Operation>, nb::handle, const std::vector<bool>&, const nb::tuple&>(
      m, name_of_vjp, nb::arg("grad"), nb::arg("wanted"), nb::arg("options"));
}

}  // namespace

void bind_functional(nb::module_& m) {
  define_both<Dense>(m, "functional_scaled_mm", "functional_scaled_mm_vjp");
  define_both<Grouped>(m, "functional_scaled_grouped_mm", "functional_scaled_grouped_mm_vjp");
}

}  // namespace octavo::python
