// SPDX-License-Identifier: Apache-2.0
// Grouped products: lists, tensor forms, batches.
#include "octavo/grouped.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "arguments.hpp"
#include "bindings.hpp"

namespace octavo::python {
namespace {

using Name = std::optional<std::string>;

const char* backend_name(const Name& backend) noexcept {
  return backend ? backend->c_str() : nullptr;
}

// "inputs[2]": the text has to outlive the call that it is given to, no longer.
std::string entry(const char* list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

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

nb::list list_form(nb::handle inputs, nb::handle weights, nb::handle biases, nb::handle out_dtype,
                   nb::handle scales_a, nb::handle scales_b, nb::handle granularity_a,
                   nb::handle granularity_b, nb::handle outs, const Name& backend) {
  Call call("grouped_mm");
  const auto operands = [&](nb::handle list, const char* name) {
    std::vector<Operand> result;
    for (const nb::object& value : entries(list, name)) {
      result.push_back(call.operand(value, entry(name, result.size()).c_str()));
    }
    return result;
  };
  const auto tensors = [&](nb::handle list, const char* name) {
    std::vector<TensorView> result;
    for (const nb::object& value : entries(list, name)) {
      result.push_back(call.tensor(value, entry(name, result.size()).c_str()));
    }
    return result;
  };
  const auto scales = [&](nb::handle list, nb::handle granularity, const char* name) {
    std::vector<Scale> result;
    for (const nb::object& value : entries(list, name)) {
      result.push_back(call.scale(value, granularity, entry(name, result.size()).c_str()));
    }
    return result;
  };
  const std::vector<Operand> a = operands(inputs, "inputs");
  const std::vector<Operand> b = operands(weights, "weights");
  const std::vector<TensorView> bias = tensors(biases, "biases");
  const std::vector<Scale> scale_a = scales(scales_a, granularity_a, "scales_a");
  const std::vector<Scale> scale_b = scales(scales_b, granularity_b, "scales_b");
  std::vector<TensorView> out;
  for (const nb::object& value : entries(outs, "outs")) out.push_back(call.out(value));
  GroupedListOptions o;
  o.biases = bias;
  o.out_dtype = call.dtype(out_dtype, "out_dtype");
  o.scales_a = scale_a;
  o.scales_b = scale_b;
  o.outs = out;
  o.backend = backend_name(backend);
  const std::vector<Tensor> results = unlocked([&] { return grouped_mm(a, b, o, context()); });
  nb::list given;
  const std::vector<nb::object> supplied = entries(outs, "outs");
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool own = i >= supplied.size() || supplied[i].is_none();
    given.append(own ? call.give(results[i]) : supplied[i]);
  }
  return given;
}

nb::object tensor_form(nb::handle input, nb::handle mat2, nb::handle offs, nb::handle bias,
                       nb::handle out_dtype, nb::handle scale_a, nb::handle scale_b,
                       nb::handle granularity_a, nb::handle granularity_b, nb::handle alpha,
                       nb::handle beta, nb::handle c, nb::handle scale_result, bool offs_prefix,
                       nb::handle out, const Name& backend) {
  Call call("grouped_mm");
  const Operand a = call.operand(input, "input");
  const Operand b = call.operand(mat2, "mat2");
  GroupedOptions o;
  o.offs = call.tensor(offs, "offs");
  o.offs_prefix = offs_prefix;
  o.bias = call.tensor(bias, "bias");
  o.out_dtype = call.dtype(out_dtype, "out_dtype");
  o.scale_a = call.scale(scale_a, granularity_a, "scale_a");
  o.scale_b = call.scale(scale_b, granularity_b, "scale_b");
  o.alpha = call.scale(alpha, nb::none(), "alpha");
  o.beta = call.scale(beta, nb::none(), "beta");
  o.c = call.tensor(c, "c");
  o.scale_result = call.scale(scale_result, nb::none(), "scale_result");
  o.out = call.out(out);
  o.backend = backend_name(backend);
  const Tensor result = unlocked([&] { return grouped_mm(a, b, o, context()); });
  return out.is_none() ? call.give(result) : nb::borrow(out);
}

nb::object batch_form(nb::handle input, nb::handle weight, nb::handle scale, nb::handle out_dtype,
                      bool trans_b, nb::handle out, const Name& backend) {
  Call call("scaled_grouped_mm");
  const Operand a = call.operand(input, "input");
  const Operand b = call.operand(weight, "weight");
  ScaledGroupedMmOptions o;
  o.scale = call.scale(scale, nb::none(), "scale");
  o.out_dtype = call.dtype(out_dtype, "out_dtype");
  o.trans_b = trans_b;
  o.out = call.out(out);
  o.backend = backend_name(backend);
  const Tensor result = unlocked([&] { return scaled_grouped_mm(a, b, o, context()); });
  return out.is_none() ? call.give(result) : nb::borrow(out);
}

}  // namespace

void bind_grouped(nb::module_& m) {
  const nb::object none = nb::none();
  const nb::object undefined = nb::borrow(undefined_object);
  m.def("grouped_mm_list", list_form, nb::arg("inputs"), nb::arg("weights"),
        nb::arg("biases").none() = none, nb::arg("out_dtype").none() = none, nb::kw_only(),
        nb::arg("scales_a").none() = none, nb::arg("scales_b").none() = none,
        nb::arg("granularity_a").none() = none, nb::arg("granularity_b").none() = none,
        nb::arg("outs").none() = none, nb::arg("backend").none() = none, "See octavo.grouped_mm.");
  m.def("grouped_mm", tensor_form, nb::arg("input"), nb::arg("mat2"), nb::arg("offs").none() = none,
        nb::arg("bias").none() = none, nb::arg("out_dtype").none() = none, nb::kw_only(),
        nb::arg("scale_a") = undefined, nb::arg("scale_b") = undefined,
        nb::arg("granularity_a").none() = none, nb::arg("granularity_b").none() = none,
        nb::arg("alpha") = undefined, nb::arg("beta") = undefined, nb::arg("c").none() = none,
        nb::arg("scale_result").none() = none, nb::arg("offs_prefix") = false,
        nb::arg("out").none() = none, nb::arg("backend").none() = none, "See octavo.grouped_mm.");
  m.def("scaled_grouped_mm", batch_form, nb::arg("input"), nb::arg("weight"),
        nb::arg("scale") = 1.0, nb::arg("out_dtype").none() = none, nb::kw_only(),
        nb::arg("trans_b") = false, nb::arg("out").none() = none, nb::arg("backend").none() = none,
        "See octavo.scaled_grouped_mm.");
}

}  // namespace octavo::python
