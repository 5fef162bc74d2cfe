// SPDX-License-Identifier: Apache-2.0
// Grouped products: lists, tensor forms, batches.
#include "octavo/grouped.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "arguments.hpp"
#include "bindings.hpp"
#include "gradients.hpp"

namespace octavo::python {
namespace {

using Name = std::optional<std::string>;

const char* backend_name(const Name& backend) noexcept {
  return backend ? backend->c_str() : nullptr;
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

// ---- lists

struct ListArguments {
  nb::handle inputs, weights, biases, out_dtype, scales_a, scales_b, granularity_a, granularity_b,
      outs, subnormals;
  const Name& backend;
};

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

  Lists(Call& call, const ListArguments& l) {
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
    options.biases = biases;
    options.out_dtype = call.dtype(l.out_dtype, "out_dtype");
    options.scales_a = scales_a;
    options.scales_b = scales_b;
    options.outs = outs;
    options.matmul.exact_subnormals = parse_subnormals(l.subnormals, call.operation());
    options.backend = backend_name(l.backend);
  }
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;
};

nb::list list_form(const ListArguments& arguments) {
  Call call("grouped_mm");
  const Lists l(call, arguments);
  const std::vector<Tensor> results =
      unlocked([&] { return grouped_mm(l.a, l.b, l.options, context()); });
  const std::vector<nb::object> supplied = entries(arguments.outs, "outs");
  nb::list given;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool own = i >= supplied.size() || supplied[i].is_none();
    given.append(own ? call.give(results[i]) : supplied[i]);
  }
  return given;
}

nb::list list_gradients(const GradientArguments& g, const ListArguments& arguments) {
  Call call("grouped_mm_vjp");
  std::vector<TensorView> grads;
  for (const nb::object& grad : entries(g.grad, "grads"))
    grads.push_back(call.tensor(grad, "grads"));
  const Lists l(call, arguments);
  const MatmulWanted wanted = wanted_of(call.operation(), g.wanted);
  const GradientOptions options = gradient_options(call, g.options);
  const std::vector<MatmulGradients> gradients = unlocked(
      [&] { return grouped_mm_vjp(grads, l.a, l.b, l.options, wanted, options, context()); });
  nb::list given;
  for (const MatmulGradients& entry : gradients) append(call, entry, given);
  return given;
}

template <auto Body, class... Head, class... Names>
void define_list(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  using H = nb::handle;
  const auto call = [](Head... head, H inputs, H weights, H biases, H out_dtype, H scales_a,
                       H scales_b, H granularity_a, H granularity_b, H outs, H subnormals,
                       const Name& backend) {
    const ListArguments arguments{inputs,   weights,    biases,        out_dtype,
                                  scales_a, scales_b,   granularity_a, granularity_b,
                                  outs,     subnormals, backend};
    return apply<Body>(arguments, head...);
  };
  const nb::object none = nb::none();
  m.def(name, call, names..., nb::arg("inputs"), nb::arg("weights"),
        nb::arg("biases").none() = none, nb::arg("out_dtype").none() = none, nb::kw_only(),
        nb::arg("scales_a").none() = none, nb::arg("scales_b").none() = none,
        nb::arg("granularity_a").none() = none, nb::arg("granularity_b").none() = none,
        nb::arg("outs").none() = none, nb::arg("subnormals").none() = none,
        nb::arg("backend").none() = none, doc);
}

// ---- the four tensor forms

struct TensorArguments {
  nb::handle input, mat2, offs, bias, out_dtype, scale_a, scale_b, granularity_a, granularity_b,
      alpha, beta, c, scale_result;
  bool offs_prefix;
  nb::handle subnormals, out;
  const Name& backend;
};

struct Prepared {
  Operand a, b;
  GroupedOptions options;
};

Prepared prepare(Call& call, const TensorArguments& t) {
  Prepared p{call.operand(t.input, "input"), call.operand(t.mat2, "mat2"), {}};
  GroupedOptions& o = p.options;
  o.offs = call.tensor(t.offs, "offs");
  o.offs_prefix = t.offs_prefix;
  o.bias = call.tensor(t.bias, "bias");
  o.out_dtype = call.dtype(t.out_dtype, "out_dtype");
  o.scale_a = call.scale(t.scale_a, t.granularity_a, "scale_a");
  o.scale_b = call.scale(t.scale_b, t.granularity_b, "scale_b");
  o.alpha = call.scale(t.alpha, nb::none(), "alpha");
  o.beta = call.scale(t.beta, nb::none(), "beta");
  o.c = call.tensor(t.c, "c");
  o.scale_result = call.scale(t.scale_result, nb::none(), "scale_result");
  o.matmul.exact_subnormals = parse_subnormals(t.subnormals, call.operation());
  o.out = call.out(t.out);
  o.backend = backend_name(t.backend);
  return p;
}

nb::object tensor_form(const TensorArguments& arguments) {
  Call call("grouped_mm");
  const Prepared p = prepare(call, arguments);
  const Tensor result = unlocked([&] { return grouped_mm(p.a, p.b, p.options, context()); });
  return arguments.out.is_none() ? call.give(result) : nb::borrow(arguments.out);
}

nb::list tensor_gradients(const GradientArguments& g, const TensorArguments& arguments) {
  Call call("grouped_mm_vjp");
  const Prepared p = prepare(call, arguments);
  return run_vjp(call, g, [&](auto& grad, auto& wanted, auto& options) {
    return grouped_mm_vjp(grad, p.a, p.b, p.options, wanted, options, context());
  });
}

template <auto Body, class... Head, class... Names>
void define_tensors(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  using H = nb::handle;
  const auto call = [](Head... head, H input, H mat2, H offs, H bias, H out_dtype, H scale_a,
                       H scale_b, H granularity_a, H granularity_b, H alpha, H beta, H c,
                       H scale_result, bool offs_prefix, H subnormals, H out, const Name& backend) {
    const TensorArguments arguments{input,   mat2,    offs,          bias,          out_dtype,
                                    scale_a, scale_b, granularity_a, granularity_b, alpha,
                                    beta,    c,       scale_result,  offs_prefix,   subnormals,
                                    out,     backend};
    return apply<Body>(arguments, head...);
  };
  const nb::object none = nb::none();
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("input"), nb::arg("mat2"), nb::arg("offs").none() = none,
        nb::arg("bias").none() = none, nb::arg("out_dtype").none() = none, nb::kw_only(),
        nb::arg("scale_a").none() = undefined, nb::arg("scale_b").none() = undefined,
        nb::arg("granularity_a").none() = none, nb::arg("granularity_b").none() = none,
        nb::arg("alpha").none() = undefined, nb::arg("beta").none() = undefined,
        nb::arg("c").none() = none, nb::arg("scale_result").none() = none,
        nb::arg("offs_prefix") = false, nb::arg("subnormals").none() = none,
        nb::arg("out").none() = none, nb::arg("backend").none() = none, doc);
}

// ---- batches with one scale

struct BatchArguments {
  nb::handle input, weight, scale, out_dtype;
  bool trans_b;
  nb::handle out;
  const Name& backend;
};

struct PreparedBatch {
  Operand a, b;
  ScaledGroupedMmOptions options;
};

PreparedBatch prepare(Call& call, const BatchArguments& b) {
  PreparedBatch p{call.operand(b.input, "input"), call.operand(b.weight, "weight"), {}};
  p.options.scale = call.scale(b.scale, nb::none(), "scale");
  p.options.out_dtype = call.dtype(b.out_dtype, "out_dtype");
  p.options.trans_b = b.trans_b;
  p.options.out = call.out(b.out);
  p.options.backend = backend_name(b.backend);
  return p;
}

nb::object batch_form(const BatchArguments& arguments) {
  Call call("scaled_grouped_mm");
  const PreparedBatch p = prepare(call, arguments);
  const Tensor result = unlocked([&] { return scaled_grouped_mm(p.a, p.b, p.options, context()); });
  return arguments.out.is_none() ? call.give(result) : nb::borrow(arguments.out);
}

// wanted: input, weight, scale.
nb::list batch_gradients(const GradientArguments& g, const BatchArguments& arguments) {
  Call call("scaled_grouped_mm_vjp");
  const TensorView grad = call.tensor(g.grad, "grad");
  const PreparedBatch p = prepare(call, arguments);
  const auto entry = [&](std::size_t i) { return i < g.wanted.size() && g.wanted[i]; };
  MatmulWanted wanted;
  wanted.a = entry(0);
  wanted.b = entry(1);
  wanted.alpha = entry(2);
  const GradientOptions options = gradient_options(call, g.options);
  return give(call, unlocked([&] {
                return scaled_grouped_mm_vjp(grad, p.a, p.b, p.options, wanted, options, context());
              }));
}

template <auto Body, class... Head, class... Names>
void define_batch(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  using H = nb::handle;
  const auto call = [](Head... head, H input, H weight, H scale, H out_dtype, bool trans_b, H out,
                       const Name& backend) {
    const BatchArguments arguments{input, weight, scale, out_dtype, trans_b, out, backend};
    return apply<Body>(arguments, head...);
  };
  const nb::object none = nb::none();
  m.def(name, call, names..., nb::arg("input"), nb::arg("weight"), nb::arg("scale").none() = 1.0,
        nb::arg("out_dtype").none() = none, nb::kw_only(), nb::arg("trans_b") = false,
        nb::arg("out").none() = none, nb::arg("backend").none() = none, doc);
}

}  // namespace

void bind_grouped(nb::module_& m) {
  using Wanted = const std::vector<bool>&;
  using Options = const nb::tuple&;
  define_list<list_form>(m, "grouped_mm_list", "See octavo.grouped_mm.");
  define_tensors<tensor_form>(m, "grouped_mm", "See octavo.grouped_mm.");
  define_batch<batch_form>(m, "scaled_grouped_mm", "See octavo.scaled_grouped_mm.");
  define_list<list_gradients, nb::handle, Wanted, Options>(
      m, "grouped_mm_list_vjp", "See octavo.grouped_mm_vjp.", nb::arg("grads"), nb::arg("wanted"),
      nb::arg("options"));
  define_tensors<tensor_gradients, nb::handle, Wanted, Options>(
      m, "grouped_mm_vjp", "See octavo.grouped_mm_vjp.", nb::arg("grad"), nb::arg("wanted"),
      nb::arg("options"));
  define_batch<batch_gradients, nb::handle, Wanted, Options>(
      m, "scaled_grouped_mm_vjp", "See octavo.scaled_grouped_mm_vjp.", nb::arg("grad"),
      nb::arg("wanted"), nb::arg("options"));
}

}  // namespace octavo::python
