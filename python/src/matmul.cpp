// SPDX-License-Identifier: Apache-2.0
// scaled_mm: the product and its explanation.
#include "octavo/matmul.hpp"

#include <nanobind/stl/optional.h>

#include <array>
#include <string>

#include "arguments.hpp"
#include "bindings.hpp"
#include "octavo/backend.hpp"

namespace octavo::python {
namespace {

using Name = std::optional<std::string>;

// What every function of this family takes, in this order.
struct Arguments {
  nb::handle input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
      granularity_b, alpha, beta, c, azp;
  bool trans_a, trans_b, saturate, torch_compat;
  nb::handle out;
  const Name& backend;
};

struct Prepared {
  Operand a, b;
  ScaledMmOptions options;
};

Prepared prepare(Call& call, const Arguments& a) {
  Prepared p{call.operand(a.input, "input"), call.operand(a.mat2, "mat2"), {}};
  ScaledMmOptions& o = p.options;
  o.scale_a = call.scale(a.scale_a, a.granularity_a, "scale_a");
  o.scale_b = call.scale(a.scale_b, a.granularity_b, "scale_b");
  o.bias = call.tensor(a.bias, "bias");
  o.scale_result = call.scale(a.scale_result, nb::none(), "scale_result");
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.alpha = call.scale(a.alpha, nb::none(), "alpha");
  o.beta = call.scale(a.beta, nb::none(), "beta");
  o.c = call.tensor(a.c, "c");
  o.azp = call.tensor(a.azp, "azp");
  o.trans_a = a.trans_a;
  o.trans_b = a.trans_b;
  o.matmul.overflow = a.saturate ? Overflow::saturate : Overflow::ieee;
  o.matmul.torch_compat = a.torch_compat;
  o.backend = a.backend ? a.backend->c_str() : nullptr;
  return p;
}

// A small result in memory of the caller's framework. Nothing where the operands are no matrices:
// the operation itself says what is wrong.
nb::object small_result(const Call& call, Prepared& p) {
  const Operand& a = p.a;
  const Operand& b = p.b;
  if (a.data.rank != 2 || (b.packed == nullptr && b.data.rank != 2)) return nb::none();
  const ScaledMmOptions& o = p.options;
  const std::array<std::int64_t, 2> shape{
      a.data.shape[o.trans_a ? 1 : 0],
      b.packed != nullptr ? b.packed->n() : b.data.shape[o.trans_b ? 0 : 1]};
  const DType dtype =
      o.out_dtype != DType::undefined ? o.out_dtype : default_out_dtype(a.data.dtype);
  return call.make_small(dtype, shape, p.options.out);
}

nb::object run(const Arguments& arguments) {
  Call call("scaled_mm");
  Prepared p = prepare(call, arguments);
  p.options.out = call.out(arguments.out);
  nb::object result = arguments.out.is_none() ? small_result(call, p) : nb::borrow(arguments.out);
  const Tensor tensor = unlocked([&] { return scaled_mm(p.a, p.b, p.options, context()); });
  return result.is_none() ? call.give(tensor) : result;
}

Explanation explained(const Arguments& arguments) {
  Call call("scaled_mm");
  const Prepared p = prepare(call, arguments);
  return explain(scaled_mm_problem(p.a, p.b, p.options), context(), p.options.backend);
}

template <auto Body>
void define(nb::module_& m, const char* name, const char* doc) {
  using H = nb::handle;
  const auto call = [](H input, H mat2, H scale_a, H scale_b, H bias, H scale_result, H out_dtype,
                       H granularity_a, H granularity_b, H alpha, H beta, H c, H azp, bool trans_a,
                       bool trans_b, bool saturate, bool torch_compat, H out, const Name& backend) {
    return Body({input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
                 granularity_b, alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat, out,
                 backend});
  };
  const nb::handle undefined = undefined_object;
  const nb::object none = nb::none();
  m.def(name, call, nb::arg("input"), nb::arg("mat2"), nb::arg("scale_a") = undefined,
        nb::arg("scale_b") = undefined, nb::arg("bias").none() = none,
        nb::arg("scale_result").none() = none, nb::arg("out_dtype").none() = none, nb::kw_only(),
        nb::arg("granularity_a").none() = none, nb::arg("granularity_b").none() = none,
        nb::arg("alpha") = undefined, nb::arg("beta") = undefined, nb::arg("c").none() = none,
        nb::arg("azp").none() = none, nb::arg("trans_a") = false, nb::arg("trans_b") = false,
        nb::arg("saturate") = true, nb::arg("torch_compat") = false, nb::arg("out").none() = none,
        nb::arg("backend").none() = none, doc);
}

}  // namespace

void bind_matmul(nb::module_& m) {
  define<run>(m, "scaled_mm", "See octavo.scaled_mm.");
  define<explained>(m, "explain_scaled_mm", "See octavo.explain.");
}

}  // namespace octavo::python
