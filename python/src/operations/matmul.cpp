// SPDX-License-Identifier: Apache-2.0
// scaled_mm: the product and its explanation.
#include "octavo/matmul.hpp"

#include <array>
#include <chrono>

#include "bindings.hpp"
#include "gradients.hpp"
#include "octavo/backend.hpp"
#include "options.hpp"

namespace octavo::python {
namespace {

using Arguments = ScaledMmArguments;

struct Prepared {
  Operand a, b;
  ScaledMmOptions options;

  Prepared(Call& call, const Arguments& given)
      : a(call.operand(given.input, "input")),
        b(call.operand(given.mat2, "mat2")),
        options(options_of(call, given)) {}
};

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
  Prepared p(call, arguments);
  nb::object result = arguments.out.is_none() ? small_result(call, p) : nb::borrow(arguments.out);
  const Tensor tensor = unlocked([&] { return scaled_mm(p.a, p.b, p.options, call.context()); });
  return result.is_none() ? call.give(tensor) : result;
}

Explanation explained(const Arguments& arguments) {
  Call call("scaled_mm");
  const Prepared p(call, arguments);
  return explain(scaled_mm_problem(p.a, p.b, p.options), call.context(), p.options.backend);
}

// Seconds of `loops` calls in C++, without the interpreter: the floor of a call from Python.
double timed(const std::int64_t loops, const Arguments& arguments) {
  Call call("scaled_mm");
  const Prepared p(call, arguments);
  return unlocked([&] {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < loops; ++i) (void)scaled_mm(p.a, p.b, p.options, call.context());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
}

nb::list gradients(const GradientArguments& g, const Arguments& arguments) {
  Call call("scaled_mm_vjp");
  const Prepared p(call, arguments);
  return run_vjp(call, g, [&](auto& grad, auto& wanted, auto& options) {
    return scaled_mm_vjp(grad, p.a, p.b, p.options, wanted, options, call.context());
  });
}

}  // namespace

void bind_matmul(nb::module_& m) {
  define_scaled_mm<run>(m, "scaled_mm", "See octavo.scaled_mm.");
  define_scaled_mm<explained>(m, "explain_scaled_mm", "See octavo.explain.");
  define_scaled_mm<timed, std::int64_t>(m, "_time_scaled_mm", "For bench/torch_bench.py.",
                                        nb::arg("loops"));
  define_scaled_mm<gradients, nb::handle, const std::vector<bool>&, const nb::tuple&>(
      m, "scaled_mm_vjp", "See octavo.gradients.scaled_mm_vjp.", nb::arg("grad"), nb::arg("wanted"),
      nb::arg("options"));
}

}  // namespace octavo::python
