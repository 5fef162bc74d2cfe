// SPDX-License-Identifier: Apache-2.0
// Products with PyTorch's recipes.
#include "octavo/functional.hpp"

#include <vector>

#include "capi/operations/products.hpp"

using namespace octavo::capi;
namespace F = octavo::functional;

namespace {

std::vector<F::RecipeScale> recipes_from(const ArgumentPath& place,
                                         const octavo_recipe_scale* given, int64_t count) {
  std::vector<F::RecipeScale> scales;
  const std::size_t n = checked_count(place, given, count);
  for (std::size_t i = 0; i < n; ++i) {
    const ArgumentPath entry = place.at(static_cast<std::int64_t>(i));
    scales.push_back(
        {view_from(entry.of("values"), given[i].values),
         enum_from(entry.of("recipe"), given[i].recipe, F::ScalingType::BlockWise128x128),
         enum_from(entry.of("swizzle"), given[i].swizzle, F::SwizzleType::SWIZZLE_32_4_4)});
  }
  return scales;
}

// Both entries take the same arguments.
template <class Product>
octavo_code run(const char* name, const RecipeCall& call, const octavo_context* context,
                octavo_tensor** result, const Product& product) {
  return guarded(name, [&] {
    if (result != nullptr) *result = nullptr;
    const RecipeArguments in({name, "options"}, call);
    Slot slot({name, "result"}, result, result_optional(in.options.out));
    const Context run_on(name, context);
    slot.fill(product(in.mat_a, in.mat_b, in.scale_a, in.scale_b, in.options, run_on));
  });
}

}  // namespace

octavo::capi::RecipeArguments::RecipeArguments(const ArgumentPath& place, const RecipeCall& call)
    : options(options_from(place, call.options)),
      mat_a(view_from({place.operation, "mat_a"}, call.mat_a)),
      mat_b(view_from({place.operation, "mat_b"}, call.mat_b)),
      scale_a(recipes_from({place.operation, "scale_a"}, call.scale_a, call.scale_a_count)),
      scale_b(recipes_from({place.operation, "scale_b"}, call.scale_b, call.scale_b_count)) {}

octavo_code octavo_functional_scaled_mm(const octavo_view* mat_a, const octavo_view* mat_b,
                                        const octavo_recipe_scale* scale_a, int64_t scale_a_count,
                                        const octavo_recipe_scale* scale_b, int64_t scale_b_count,
                                        const octavo_functional_options* options,
                                        const octavo_context* context, octavo_tensor** result) {
  return run("scaled_mm", {mat_a, mat_b, scale_a, scale_a_count, scale_b, scale_b_count, options},
             context, result, F::scaled_mm);
}

octavo_code octavo_functional_scaled_grouped_mm(
    const octavo_view* mat_a, const octavo_view* mat_b, const octavo_recipe_scale* scale_a,
    int64_t scale_a_count, const octavo_recipe_scale* scale_b, int64_t scale_b_count,
    const octavo_functional_options* options, const octavo_context* context,
    octavo_tensor** result) {
  return run("scaled_grouped_mm",
             {mat_a, mat_b, scale_a, scale_a_count, scale_b, scale_b_count, options}, context,
             result, F::scaled_grouped_mm);
}
