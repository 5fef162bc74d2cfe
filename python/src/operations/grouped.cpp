// SPDX-License-Identifier: Apache-2.0
// Grouped products: lists, tensor forms, batches.
#include "octavo/grouped.hpp"

#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "bindings.hpp"
#include "gradients.hpp"
#include "options.hpp"

namespace octavo::python {
namespace {

// The entries of an optional list; a single value is no list.
std::vector<nb::object> entries(nb::handle list, const char* argument) {
  std::vector<nb::object> result;
  if (list.is_none()) return result;
  if (!nb::isinstance<nb::list>(list) && !nb::isinstance<nb::tuple>(list)) {
    raise(Code::invalid_argument, std::string("grouped_mm: ") + argument +
                                      " must be a list or a tuple; got " + shown(list));
  }
  for (nb::handle value : list) result.push_back(nb::borrow(value));
  return result;
}

// ---- lists

// take(value, "inputs[2]") of every entry; the name lives as long as that call.
template <class Take>
auto each(nb::handle list, const char* name, const Take& take) {
  std::vector<decltype(take(nb::handle(), name))> result;
  for (const nb::object& value : entries(list, name)) {
    const std::string place = std::string(name) + "[" + std::to_string(result.size()) + "]";
    result.push_back(take(nb::handle(value), place.c_str()));
  }
  return result;
}

// The lists that GroupedListOptions refers to.
struct Lists {
  std::vector<Operand> a, b;
  std::vector<TensorView> biases, outs;
  std::vector<Scale> scales_a, scales_b;
  GroupedListOptions options;

  Lists(Call& call, const GroupedMmListArguments& l) {
    a = each(l.inputs, "inputs", [&](auto value, auto name) { return call.operand(value, name); });
    b = each(l.weights, "weights",
             [&](auto value, auto name) { return call.operand(value, name); });
    biases =
        each(l.biases, "biases", [&](auto value, auto name) { return call.tensor(value, name); });
    outs = each(l.outs, "outs", [&](auto value, auto) { return call.out(value); });
    scales_a = each(l.scales_a, "scales_a", [&](auto value, auto name) {
      return call.scale(value, l.granularity_a, name);
    });
    scales_b = each(l.scales_b, "scales_b", [&](auto value, auto name) {
      return call.scale(value, l.granularity_b, name);
    });
    options = options_of(call, l);
    options.biases = biases;
    options.scales_a = scales_a;
    options.scales_b = scales_b;
    options.outs = outs;
  }
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;
};

nb::list list_form(const GroupedMmListArguments& arguments) {
  Call call("grouped_mm");
  const Lists l(call, arguments);
  const std::vector<Tensor> results =
      unlocked([&] { return grouped_mm(l.a, l.b, l.options, call.context()); });
  const std::vector<nb::object> supplied = entries(arguments.outs, "outs");
  nb::list given;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool own = i >= supplied.size() || supplied[i].is_none();
    given.append(own ? call.give(results[i]) : supplied[i]);
  }
  return given;
}

nb::list list_gradients(const GradientArguments& g, const GroupedMmListArguments& arguments) {
  Call call("grouped_mm_vjp");
  std::vector<TensorView> grads;
  for (const nb::object& grad : entries(g.grad, "grads"))
    grads.push_back(call.tensor(grad, "grads"));
  const Lists l(call, arguments);
  const MatmulWanted wanted = wanted_of(call.operation(), g.wanted);
  const GradientOptions options = gradient_options(call, g.options);
  const std::vector<MatmulGradients> gradients = unlocked(
      [&] { return grouped_mm_vjp(grads, l.a, l.b, l.options, wanted, options, call.context()); });
  nb::list given;
  for (const MatmulGradients& entry : gradients) append(call, entry, given);
  return given;
}

// ---- the four tensor forms

template <class Options>
struct Prepared {
  Operand a, b;
  Options options;
};

Prepared<GroupedOptions> prepare(Call& call, const GroupedMmArguments& t) {
  return {call.operand(t.input, "input"), call.operand(t.mat2, "mat2"), options_of(call, t)};
}

nb::object tensor_form(const GroupedMmArguments& arguments) {
  Call call("grouped_mm");
  const auto p = prepare(call, arguments);
  const Tensor result = unlocked([&] { return grouped_mm(p.a, p.b, p.options, call.context()); });
  return arguments.out.is_none() ? call.give(result) : nb::borrow(arguments.out);
}

nb::list tensor_gradients(const GradientArguments& g, const GroupedMmArguments& arguments) {
  Call call("grouped_mm_vjp");
  const auto p = prepare(call, arguments);
  return run_vjp(call, g, [&](auto& grad, auto& wanted, auto& options) {
    return grouped_mm_vjp(grad, p.a, p.b, p.options, wanted, options, call.context());
  });
}

// ---- batches with one scale

Prepared<ScaledGroupedMmOptions> prepare(Call& call, const ScaledGroupedMmArguments& b) {
  return {call.operand(b.input, "input"), call.operand(b.weight, "weight"), options_of(call, b)};
}

nb::object batch_form(const ScaledGroupedMmArguments& arguments) {
  Call call("scaled_grouped_mm");
  const auto p = prepare(call, arguments);
  const Tensor result =
      unlocked([&] { return scaled_grouped_mm(p.a, p.b, p.options, call.context()); });
  return arguments.out.is_none() ? call.give(result) : nb::borrow(arguments.out);
}

// wanted: input, weight, scale.
nb::list batch_gradients(const GradientArguments& g, const ScaledGroupedMmArguments& arguments) {
  Call call("scaled_grouped_mm_vjp");
  const TensorView grad = call.tensor(g.grad, "grad");
  const auto p = prepare(call, arguments);
  const auto entry = [&](std::size_t i) { return i < g.wanted.size() && g.wanted[i]; };
  MatmulWanted wanted;
  wanted.a = entry(0);
  wanted.b = entry(1);
  wanted.alpha = entry(2);
  const GradientOptions options = gradient_options(call, g.options);
  return give(call, unlocked([&] {
                return scaled_grouped_mm_vjp(grad, p.a, p.b, p.options, wanted, options,
                                             call.context());
              }));
}

}  // namespace

void bind_grouped(nb::module_& m) {
  using Wanted = const std::vector<bool>&;
  using Options = const nb::tuple&;
  define_grouped_mm_list<list_form>(m, "grouped_mm_list", "See octavo.grouped_mm.");
  define_grouped_mm<tensor_form>(m, "grouped_mm", "See octavo.grouped_mm.");
  define_scaled_grouped_mm<batch_form>(m, "scaled_grouped_mm", "See octavo.scaled_grouped_mm.");
  define_grouped_mm_list<list_gradients, nb::handle, Wanted, Options>(
      m, "grouped_mm_list_vjp", "See octavo.gradients.grouped_mm_vjp.", nb::arg("grads"),
      nb::arg("wanted"), nb::arg("options"));
  define_grouped_mm<tensor_gradients, nb::handle, Wanted, Options>(
      m, "grouped_mm_vjp", "See octavo.gradients.grouped_mm_vjp.", nb::arg("grad"),
      nb::arg("wanted"), nb::arg("options"));
  define_scaled_grouped_mm<batch_gradients, nb::handle, Wanted, Options>(
      m, "scaled_grouped_mm_vjp", "See octavo.scaled_grouped_mm_vjp.", nb::arg("grad"),
      nb::arg("wanted"), nb::arg("options"));
}

}  // namespace octavo::python
