// SPDX-License-Identifier: Apache-2.0
// Gradients of products.
#include "capi/operations/gradient.hpp"

#include <deque>
#include <vector>

#include "capi/operations/products.hpp"

using namespace octavo::capi;
using octavo::MatmulGradients;
using octavo::MatmulWanted;
using octavo::TensorView;

namespace {

constexpr GradientParts<octavo_matmul_gradients, MatmulGradients, MatmulWanted, 9> kParts{{
    {{OCTAVO_WANT_A, "A"}, &octavo_matmul_gradients::a, &MatmulGradients::a, &MatmulWanted::a},
    {{OCTAVO_WANT_B, "B"}, &octavo_matmul_gradients::b, &MatmulGradients::b, &MatmulWanted::b},
    {{OCTAVO_WANT_BIAS, "BIAS"},
     &octavo_matmul_gradients::bias,
     &MatmulGradients::bias,
     &MatmulWanted::bias},
    {{OCTAVO_WANT_SCALE_A, "SCALE_A"},
     &octavo_matmul_gradients::scale_a,
     &MatmulGradients::scale_a,
     &MatmulWanted::scale_a},
    {{OCTAVO_WANT_SCALE_B, "SCALE_B"},
     &octavo_matmul_gradients::scale_b,
     &MatmulGradients::scale_b,
     &MatmulWanted::scale_b},
    {{OCTAVO_WANT_ALPHA, "ALPHA"},
     &octavo_matmul_gradients::alpha,
     &MatmulGradients::alpha,
     &MatmulWanted::alpha},
    {{OCTAVO_WANT_BETA, "BETA"},
     &octavo_matmul_gradients::beta,
     &MatmulGradients::beta,
     &MatmulWanted::beta},
    {{OCTAVO_WANT_C, "C"}, &octavo_matmul_gradients::c, &MatmulGradients::c, &MatmulWanted::c},
    {{OCTAVO_WANT_SCALE_RESULT, "SCALE_RESULT"},
     &octavo_matmul_gradients::scale_result,
     &MatmulGradients::scale_result,
     &MatmulWanted::scale_result},
}};

using Slots = GradientSlots<octavo_matmul_gradients, MatmulGradients, MatmulWanted, kParts.size()>;

// What is asked for, and how.
struct Request {
  Request(const char* operation, const octavo_matmul_vjp_options* given) {
    const ArgumentPath place{operation, "options"};
    const octavo_matmul_vjp_options c = read_struct(place, given);
    check_flags(place, c.flags, OCTAVO_FLOAT32_GRADIENTS | OCTAVO_DEQUANTIZED_GRADIENTS);
    wanted = wanted_from(place, kParts, c.wanted);
    options = {.dtype = dtype_from(place.of("dtype"), c.dtype),
               .float32 = (c.flags & OCTAVO_FLOAT32_GRADIENTS) != 0,
               .dequantized = (c.flags & OCTAVO_DEQUANTIZED_GRADIENTS) != 0};
  }

  MatmulWanted wanted;
  octavo::GradientOptions options;
};

// A function with one result; `vjp(grad, request, context)` is what is its own.
template <class Vjp>
octavo_code run(const char* name, const octavo_view* grad, const octavo_matmul_vjp_options* options,
                const octavo_context* context, octavo_matmul_gradients* result, const Vjp& vjp) {
  return guarded(name, [&] {
    Slots slots({name, "result"}, kParts, result);
    const Request request(name, options);
    slots.prepare({name, "result"}, request.wanted);
    const TensorView view = view_from({name, "grad"}, grad);
    const Context run_on(name, context);
    slots.fill(vjp(view, request, run_on));
  });
}

// Both entries with recipes take the same arguments.
template <class Vjp>
octavo_code run_recipes(const char* name, const octavo_view* grad, const RecipeCall& call,
                        const octavo_matmul_vjp_options* options, const octavo_context* context,
                        octavo_matmul_gradients* result, const Vjp& vjp) {
  return run(name, grad, options, context, result,
             [&](const TensorView& g, const Request& request, const Context& run_on) {
               const RecipeArguments in({name, "forward"}, call);
               return vjp(g, in.mat_a, in.mat_b, in.scale_a, in.scale_b, in.options, request.wanted,
                          request.options, run_on);
             });
}

}  // namespace

octavo_code octavo_scaled_mm_vjp(const octavo_view* grad, const octavo_operand* a,
                                 const octavo_operand* b, const octavo_scaled_mm_options* forward,
                                 const octavo_matmul_vjp_options* options,
                                 const octavo_context* context, octavo_matmul_gradients* result) {
  constexpr const char* kName = "scaled_mm_vjp";
  return run(kName, grad, options, context, result,
             [&](const TensorView& g, const Request& request, const Context& run_on) {
               const OperandArgument left({kName, "a"}, a);
               const OperandArgument right({kName, "b"}, b);
               return octavo::scaled_mm_vjp(g, left, right,
                                            options_from({kName, "forward"}, forward),
                                            request.wanted, request.options, run_on);
             });
}

octavo_code octavo_linear_vjp(const octavo_view* grad, const octavo_view* x,
                              const octavo_packed* weight, const octavo_linear_options* forward,
                              const octavo_matmul_vjp_options* options,
                              const octavo_context* context, octavo_matmul_gradients* result) {
  constexpr const char* kName = "linear_vjp";
  return run(kName, grad, options, context, result,
             [&](const TensorView& g, const Request& request, const Context& run_on) {
               return octavo::linear_vjp(g, view_from({kName, "x"}, x),
                                         value_of({kName, "weight"}, weight),
                                         options_from({kName, "forward"}, forward), request.wanted,
                                         request.options, run_on);
             });
}

octavo_code octavo_grouped_mm_vjp(const octavo_view* grad, const octavo_operand* a,
                                  const octavo_operand* b, const octavo_grouped_mm_options* forward,
                                  const octavo_matmul_vjp_options* options,
                                  const octavo_context* context, octavo_matmul_gradients* result) {
  constexpr const char* kName = "grouped_mm_vjp";
  return run(kName, grad, options, context, result,
             [&](const TensorView& g, const Request& request, const Context& run_on) {
               const OperandArgument left({kName, "a"}, a);
               const OperandArgument right({kName, "b"}, b);
               return octavo::grouped_mm_vjp(g, left, right,
                                             options_from({kName, "forward"}, forward),
                                             request.wanted, request.options, run_on);
             });
}

octavo_code octavo_grouped_mm_list_vjp(const octavo_view* const* grads,
                                       const octavo_operand* const* inputs,
                                       const octavo_operand* const* weights, int64_t count,
                                       const octavo_grouped_list_options* forward,
                                       const octavo_matmul_vjp_options* options,
                                       const octavo_context* context,
                                       octavo_matmul_gradients* const* results) {
  constexpr const char* kName = "grouped_mm_vjp";
  return guarded(kName, [&] {
    const ArgumentPath place{kName, "results"};
    const std::size_t n = checked_count(place, static_cast<const void*>(results), count);
    const auto entry = [&](std::size_t i) { return place.at(static_cast<std::int64_t>(i)); };
    std::deque<Slots> slots;
    for (std::size_t i = 0; i < n; ++i) slots.emplace_back(entry(i), kParts, results[i]);
    const Request request(kName, options);
    for (std::size_t i = 0; i < n; ++i) slots[i].prepare(entry(i), request.wanted);
    std::vector<TensorView> views;
    checked_count({kName, "grads"}, static_cast<const void*>(grads), count);
    for (std::size_t i = 0; i < n; ++i) {
      views.push_back(view_from({kName, "grads", static_cast<std::int64_t>(i)}, grads[i]));
    }
    const ListArguments list({kName, "forward"}, inputs, weights, n, forward);
    const Context run_on(kName, context);
    std::vector<MatmulGradients> gradients =
        octavo::grouped_mm_vjp(views, list.inputs(), list.weights(), list.options(), request.wanted,
                               request.options, run_on);
    for (std::size_t i = 0; i < n; ++i) slots[i].fill(std::move(gradients[i]));
  });
}

octavo_code octavo_scaled_grouped_mm_vjp(const octavo_view* grad, const octavo_operand* input,
                                         const octavo_operand* weight,
                                         const octavo_scaled_grouped_mm_options* forward,
                                         const octavo_matmul_vjp_options* options,
                                         const octavo_context* context,
                                         octavo_matmul_gradients* result) {
  constexpr const char* kName = "scaled_grouped_mm_vjp";
  return run(kName, grad, options, context, result,
             [&](const TensorView& g, const Request& request, const Context& run_on) {
               const OperandArgument left({kName, "input"}, input);
               const OperandArgument right({kName, "weight"}, weight);
               return octavo::scaled_grouped_mm_vjp(g, left, right,
                                                    options_from({kName, "forward"}, forward),
                                                    request.wanted, request.options, run_on);
             });
}

octavo_code octavo_functional_scaled_mm_vjp(
    const octavo_view* grad, const octavo_view* mat_a, const octavo_view* mat_b,
    const octavo_recipe_scale* scale_a, int64_t scale_a_count, const octavo_recipe_scale* scale_b,
    int64_t scale_b_count, const octavo_functional_options* forward,
    const octavo_matmul_vjp_options* options, const octavo_context* context,
    octavo_matmul_gradients* result) {
  return run_recipes("scaled_mm_vjp", grad,
                     {mat_a, mat_b, scale_a, scale_a_count, scale_b, scale_b_count, forward},
                     options, context, result, octavo::functional::scaled_mm_vjp);
}

octavo_code octavo_functional_scaled_grouped_mm_vjp(
    const octavo_view* grad, const octavo_view* mat_a, const octavo_view* mat_b,
    const octavo_recipe_scale* scale_a, int64_t scale_a_count, const octavo_recipe_scale* scale_b,
    int64_t scale_b_count, const octavo_functional_options* forward,
    const octavo_matmul_vjp_options* options, const octavo_context* context,
    octavo_matmul_gradients* result) {
  return run_recipes("scaled_grouped_mm_vjp", grad,
                     {mat_a, mat_b, scale_a, scale_a_count, scale_b, scale_b_count, forward},
                     options, context, result, octavo::functional::scaled_grouped_mm_vjp);
}
