// SPDX-License-Identifier: Apache-2.0
// scaled_mm: the product and its explanation.
#include "octavo/matmul.hpp"

#include <nanobind/stl/optional.h>

#include <array>
#include <chrono>
#include <string>

#include "arguments.hpp"
#include "bindings.hpp"
#include "gradients.hpp"
#include "octavo/backend.hpp"

namespace octavo::python {
namespace {

using Name = std::optional<std::string>;

// What every function of this family takes, in this order.
struct Arguments {
  nb::handle input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
      granularity_b, alpha, beta, c, azp;
  bool trans_a, trans_b, saturate, torch_compat;
  nb::handle subnormals, out;
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
  o.matmul.exact_subnormals = parse_subnormals(a.subnormals, call.operation());
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
      o.out_dtype != DType::undefined
          ? o.out_dtype
          : default_out_dtype(a.data.dtype, b.packed != nullptr ? b.packed->dtype() : b.data.dtype);
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

// Seconds of `loops` calls in C++, without the interpreter: the floor of a call from Python.
double timed(const std::int64_t loops, const Arguments& arguments) {
  Call call("scaled_mm");
  const Prepared p = prepare(call, arguments);
  return unlocked([&] {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < loops; ++i) (void)scaled_mm(p.a, p.b, p.options, context());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
}

nb::list gradients(const GradientArguments& g, const Arguments& arguments) {
  Call call("scaled_mm_vjp");
  const Prepared p = prepare(call, arguments);
  return run_vjp(call, g, [&](auto& grad, auto& wanted, auto& options) {
    return scaled_mm_vjp(grad, p.a, p.b, p.options, wanted, options, context());
  });
}

// One list of arguments for the whole family, in the order of the operator octavo::scaled_mm, whose
// kernel this is; `Head`, named by `names`, comes before it.
template <auto Body, class... Head, class... Names>
void define(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  using H = nb::handle;
  const auto call = [](Head... head, H input, H mat2, H scale_a, H scale_b, H bias, H scale_result,
                       H out_dtype, H granularity_a, H granularity_b, H alpha, H beta, H c, H azp,
                       bool trans_a, bool trans_b, bool saturate, bool torch_compat, H subnormals,
                       const Name& backend, H out) {
    const Arguments arguments{
        input,         mat2,          scale_a,      scale_b,    bias, scale_result, out_dtype,
        granularity_a, granularity_b, alpha,        beta,       c,    azp,          trans_a,
        trans_b,       saturate,      torch_compat, subnormals, out,  backend};
    return apply<Body>(arguments, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  const nb::object none = nb::none();
  m.def(name, call, names..., nb::arg("input"), nb::arg("mat2"),
        nb::arg("scale_a").none() = undefined, nb::arg("scale_b").none() = undefined,
        nb::arg("bias").none() = none, nb::arg("scale_result").none() = none,
        nb::arg("out_dtype").none() = none, nb::arg("granularity_a").none() = none,
        nb::arg("granularity_b").none() = none, nb::arg("alpha").none() = undefined,
        nb::arg("beta").none() = undefined, nb::arg("c").none() = none,
        nb::arg("azp").none() = none, nb::arg("trans_a") = false, nb::arg("trans_b") = false,
        nb::arg("saturate") = true, nb::arg("torch_compat") = false,
        nb::arg("subnormals").none() = none, nb::arg("backend").none() = none,
        nb::arg("out").none() = none, doc);
}

}  // namespace

void bind_matmul(nb::module_& m) {
  define<run>(m, "scaled_mm", "See octavo.scaled_mm.");
  define<explained>(m, "explain_scaled_mm", "See octavo.explain.");
  define<timed, std::int64_t>(m, "_time_scaled_mm", "For bench/torch_bench.py.", nb::arg("loops"));
  define<gradients, nb::handle, const std::vector<bool>&, const nb::tuple&>(
      m, "scaled_mm_vjp", "See octavo.scaled_mm_vjp.", nb::arg("grad"), nb::arg("wanted"),
      nb::arg("options"));
}

}  // namespace octavo::python
