// SPDX-License-Identifier: Apache-2.0
// LLM.int8(): the functions of bitsandbytes.
#include "octavo/llm_int8.hpp"

#include <nanobind/stl/optional.h>

#include <utility>

#include "bindings.hpp"
#include "gradients.hpp"
#include "octavo/linear.hpp"
#include "tensors/activation.hpp"

namespace octavo::python {
namespace {

// The options of both quantisers, and the columns that they look at.
struct Options {
  VectorwiseOptions options;
  Tensor columns;

  Options(const Call& call, double threshold, bool whole_columns, bool by_element,
          nb::handle outlier_columns)
      : columns(parse_columns(outlier_columns, call.operation())) {
    options.threshold = static_cast<float>(threshold);
    options.whole_columns = whole_columns;
    options.by_element = by_element;
    options.outlier_columns = columns;
  }
};

nb::tuple vectorwise_quant(nb::handle a, double threshold, bool whole_columns, bool by_element,
                           nb::handle outlier_columns) {
  Call call("int8_vectorwise_quant");
  const TensorView view = call.tensor(a, "a");
  const Options o(call, threshold, whole_columns, by_element, outlier_columns);
  const VectorwiseQuant q =
      unlocked([&] { return int8_vectorwise_quant(view, o.options, call.context()); });
  return nb::make_tuple(call.give(q.codes), call.give(q.row_absmax), call.give(q.outlier_cols));
}

nb::tuple double_quant(nb::handle a, double threshold, bool whole_columns, bool by_element,
                       nb::handle outlier_columns) {
  Call call("int8_double_quant");
  const TensorView view = call.tensor(a, "a");
  const Options o(call, threshold, whole_columns, by_element, outlier_columns);
  const DoubleQuant q =
      unlocked([&] { return int8_double_quant(view, o.options, call.context()); });
  return nb::make_tuple(call.give(q.row_codes), call.give(q.col_codes), call.give(q.row_absmax),
                        call.give(q.col_absmax), call.give(q.outlier_cols));
}

nb::object linear_matmul(nb::handle a, nb::handle w, nb::handle out) {
  Call call("int8_linear_matmul");
  const TensorView x = call.tensor(a, "a");
  const TensorView weight = call.tensor(w, "w");
  const TensorView to = call.out(out);
  const Tensor y = unlocked([&] { return int8_linear_matmul(x, weight, to, call.context()); });
  return out.is_none() ? call.give(y) : nb::borrow(out);
}

nb::object mm_dequant(nb::handle acc, nb::handle row_absmax, nb::handle col_absmax, nb::handle bias,
                      nb::handle out_dtype) {
  Call call("int8_mm_dequant");
  const TensorView sums = call.tensor(acc, "acc");
  const TensorView rows = call.tensor(row_absmax, "row_absmax");
  const TensorView cols = call.tensor(col_absmax, "col_absmax");
  const TensorView b = call.tensor(bias, "bias");
  const DType type = call.dtype(out_dtype, "out_dtype");
  return call.give(
      unlocked([&] { return int8_mm_dequant(sums, rows, cols, b, type, call.context()); }));
}

nb::object scaled_product(nb::handle a, nb::handle w, nb::handle row_absmax, nb::handle col_absmax,
                          nb::handle bias, nb::handle out_dtype) {
  Call call("int8_scaled_mm");
  const TensorView x = call.tensor(a, "a");
  const TensorView weight = call.tensor(w, "w");
  const TensorView rows = call.tensor(row_absmax, "row_absmax");
  const TensorView cols = call.tensor(col_absmax, "col_absmax");
  const TensorView b = call.tensor(bias, "bias");
  const DType type = call.dtype(out_dtype, "out_dtype");
  return call.give(
      unlocked([&] { return int8_scaled_mm(x, weight, rows, cols, b, type, call.context()); }));
}

nb::object mixed_scaled_mm(nb::handle a, nb::handle codes, nb::handle w, nb::handle row_absmax,
                           nb::handle col_absmax, nb::handle outlier_cols, nb::handle bias,
                           nb::handle original_weight, nb::handle out_dtype, nb::handle out) {
  Call call("int8_mixed_scaled_mm");
  const TensorView x = call.tensor(a, "a");
  const TensorView quantized = call.tensor(codes, "codes");
  const TensorView weight = call.tensor(w, "w");
  const TensorView rows = call.tensor(row_absmax, "row_absmax");
  const TensorView cols = call.tensor(col_absmax, "col_absmax");
  MixedScaledMmOptions o;
  o.outlier_cols = call.tensor(outlier_cols, "outlier_cols");
  o.bias = call.tensor(bias, "bias");
  o.original_weight = call.tensor(original_weight, "original_weight");
  o.out_dtype = call.dtype(out_dtype, "out_dtype");
  o.out = call.out(out);
  const Tensor y = unlocked(
      [&] { return int8_mixed_scaled_mm(x, quantized, weight, rows, cols, o, call.context()); });
  return out.is_none() ? call.give(y) : nb::borrow(out);
}

// What linear and its gradient over int8 rows share.
struct Int8RowsCall {
  Call call;
  TensorView x;
  Quantized weight;
  ActivationQuant rule;
  Tensor columns;  // that options look at
  LinearOptions options;

  Int8RowsCall(const char* operation, nb::handle activations, nb::handle codes, nb::handle absmax,
               nb::handle bias, double threshold, bool whole_columns, nb::handle outlier_columns)
      : call(operation), x(call.tensor(activations, "x")) {
    const TensorView c = call.tensor(codes, "codes");
    weight = int8_rows(c, call.tensor(absmax, "row_absmax"));
    rule = llm_int8_rule(call, threshold, whole_columns, outlier_columns);
    options.bias = call.tensor(bias, "bias");
    if (call.context().device.type == DeviceType::cpu) return;
    columns = std::exchange(rule.outlier_columns, {});  // a call's list is brought to the device
    options.outlier_columns = columns;
  }
  Operand operand() const { return Operand(weight).transposed(); }
};

nb::object rows_linear(nb::handle x, nb::handle codes, nb::handle absmax, nb::handle bias,
                       double threshold, bool whole_columns, nb::handle outlier_columns,
                       nb::handle outlier_weight, bool batch_invariant, nb::handle out,
                       nb::handle columns) {
  Int8RowsCall r("int8_linear", x, codes, absmax, bias, threshold, whole_columns, outlier_columns);
  const TensorView original = r.call.tensor(outlier_weight, "outlier_weight");
  if (original.defined()) r.options.outlier_weight = original.transposed();
  r.options.matmul.batch_invariant = batch_invariant;
  r.options.out = r.call.out(out);
  std::vector<std::int64_t> found;
  if (!columns.is_none()) r.options.found_columns = &found;
  const Tensor y =
      unlocked([&] { return linear(r.x, r.operand(), r.rule, r.options, r.call.context()); });
  if (!columns.is_none()) give_columns(found, columns);
  return out.is_none() ? r.call.give(y) : nb::borrow(out);
}

// wanted: x, the weight [N, K], bias.
nb::list rows_linear_vjp(nb::handle grad, const std::vector<bool>& asked, nb::handle x,
                         nb::handle codes, nb::handle absmax, nb::handle bias, double threshold,
                         nb::handle outlier_columns, nb::handle weight_dtype) {
  Int8RowsCall r("int8_linear_vjp", x, codes, absmax, bias, threshold, false, outlier_columns);
  const TensorView g = r.call.tensor(grad, "grad");
  const MatmulWanted wanted = wanted_of(r.call.operation(), asked);
  const GradientOptions of_weight{.dtype = r.call.dtype(weight_dtype, "weight_dtype")};
  MatmulGradients d = unlocked([&] {
    const auto vjp = [&](const MatmulWanted& some, const GradientOptions& o) {
      return linear_vjp(g, r.x, r.operand(), r.rule, r.options, some, o, r.call.context());
    };
    MatmulGradients own = vjp({.a = wanted.a, .bias = wanted.bias}, {});
    if (wanted.b) own.b = vjp({.b = true}, of_weight).b.transposed();
    return own;
  });
  return give(r.call, d);
}

nb::object vectorwise_dequant(nb::handle codes, nb::handle row_absmax) {
  Call call("int8_vectorwise_dequant");
  const TensorView c = call.tensor(codes, "codes");
  const TensorView rows = call.tensor(row_absmax, "row_absmax");
  return call.give(unlocked([&] { return int8_vectorwise_dequant(c, rows, call.context()); }));
}

}  // namespace

void bind_llm_int8(nb::module_& m) {
  const nb::object none = nb::none();
  m.def("int8_vectorwise_quant", vectorwise_quant, nb::arg("a"), nb::arg("threshold") = 0.0,
        nb::arg("whole_columns") = false, nb::arg("by_element") = false,
        nb::arg("outlier_columns").none() = none,
        "(codes, row_absmax, outlier_cols) of A [..., K], specification section 8.");
  m.def("int8_double_quant", double_quant, nb::arg("a"), nb::arg("threshold") = 0.0,
        nb::arg("whole_columns") = false, nb::arg("by_element") = false,
        nb::arg("outlier_columns").none() = none,
        "(row_codes, col_codes, row_absmax, col_absmax, outlier_cols) of one matrix.");
  m.def("int8_linear_matmul", linear_matmul, nb::arg("a"), nb::arg("w"),
        nb::arg("out").none() = none,
        "A [..., K] int8 times W [N, K] int8, transposed: exact int32.");
  m.def("int8_mm_dequant", mm_dequant, nb::arg("acc"), nb::arg("row_absmax"), nb::arg("col_absmax"),
        nb::arg("bias").none() = none, nb::arg("out_dtype") = "float16",
        "acc * (row_absmax / 127) * (col_absmax / 127) + bias.");
  m.def("int8_scaled_mm", scaled_product, nb::arg("a"), nb::arg("w"), nb::arg("row_absmax"),
        nb::arg("col_absmax"), nb::arg("bias").none() = none, nb::arg("out_dtype") = "float16",
        "int8_linear_matmul and int8_mm_dequant in one step.");
  m.def("int8_mixed_scaled_mm", mixed_scaled_mm, nb::arg("a"), nb::arg("codes"), nb::arg("w"),
        nb::arg("row_absmax"), nb::arg("col_absmax"), nb::arg("outlier_cols").none() = none,
        nb::arg("bias").none() = none, nb::arg("original_weight").none() = none,
        nb::arg("out_dtype").none() = none, nb::arg("out").none() = none,
        "int8_scaled_mm plus the outlier columns of A in float, specification section 8.");
  m.def(
      "int8_linear", rows_linear, nb::arg("x"), nb::arg("codes"), nb::arg("row_absmax"),
      nb::arg("bias").none() = none, nb::arg("threshold") = 0.0, nb::kw_only(),
      nb::arg("whole_columns") = false, nb::arg("outlier_columns").none() = none,
      nb::arg("outlier_weight").none() = none, nb::arg("batch_invariant") = false,
      nb::arg("out").none() = none, nb::arg("columns").none() = none,
      "x [..., K] times a weight [N, K] of codes and row_absmax by LLM.int8, in x's type. "
      "outlier_weight [N, K]: outliers meet this. columns: a list that gets the outlier columns.");
  m.def("int8_linear_vjp", rows_linear_vjp, nb::arg("grad"), nb::arg("wanted"), nb::arg("x"),
        nb::arg("codes"), nb::arg("row_absmax"), nb::arg("bias").none() = none,
        nb::arg("threshold") = 0.0, nb::kw_only(), nb::arg("outlier_columns").none() = none,
        nb::arg("weight_dtype").none() = none,
        "The gradients of int8_linear: those wanted of x, the weight [N, K] and bias.");
  m.def("int8_vectorwise_dequant", vectorwise_dequant, nb::arg("codes"), nb::arg("row_absmax"),
        "codes * (row_absmax / 127), float32.");
}

}  // namespace octavo::python
