// SPDX-License-Identifier: Apache-2.0
// Quantisers, octavo.Quantized, and back.
#include "octavo/quantize.hpp"

#include <array>
#include <limits>
#include <string>
#include <string_view>

#include "arguments.hpp"
#include "bindings.hpp"
#include "octavo/gradient.hpp"

namespace octavo::python {
namespace {

Side parse_side(const Call& call, const std::string& side) {
  if (side == "a") return Side::a;
  if (side == "b") return Side::b;
  raise(Code::invalid_argument, std::string(call.operation()) +
                                    ": side must be \"a\" ([M, K]) or \"b\" ([K, N]); got '" +
                                    side + "'");
}

struct Arguments {
  nb::handle x, dtype;
  const std::string &granularity, &side;
  bool azp;
  double scale_ub, min_scale, qmax;
  const std::string& rounding;
  nb::handle scale_dtype;
  const std::string& non_finite;
  bool widen, saturate;
  nb::handle scale, azp_in;
};

QuantizeOptions options_of(Call& call, const Arguments& a) {
  QuantizeOptions o;
  o.dtype = call.dtype(a.dtype, "dtype");
  o.granularity = parse_granularity(a.granularity, call.operation(), "granularity");
  o.side = parse_side(call, a.side);
  o.azp = a.azp;
  o.scale_ub = static_cast<float>(a.scale_ub);
  o.min_scale = static_cast<float>(a.min_scale);
  o.qmax = static_cast<float>(a.qmax);
  o.rounding = parse_rounding(a.rounding, call.operation());
  o.scale_dtype = call.dtype(a.scale_dtype, "scale_dtype");
  o.non_finite = parse_non_finite(a.non_finite, call.operation());
  o.widen = a.widen;
  o.overflow = a.saturate ? Overflow::saturate : Overflow::ieee;
  o.scale = call.scale(a.scale, nb::none(), "scale");
  o.azp_in = call.tensor(a.azp_in, "azp_in");
  return o;
}

nb::object quantized(const Arguments& arguments) {
  Call call("quantize");
  const TensorView x = call.tensor(arguments.x, "x");
  const QuantizeOptions o = options_of(call, arguments);
  return call.give(unlocked([&] { return quantize(x, o, context()); }));
}

nb::object scales(const Arguments& arguments) {
  Call call("compute_scale");
  const TensorView x = call.tensor(arguments.x, "x");
  const QuantizeOptions o = options_of(call, arguments);
  return call.give(unlocked([&] { return compute_scale(x, o, context()); }));
}

template <auto Body>
void define(nb::module_& m, const char* name, const char* doc) {
  using H = nb::handle;
  const auto call = [](H x, H dtype, const std::string& granularity, const std::string& side,
                       bool azp, double scale_ub, double min_scale, double qmax,
                       const std::string& rounding, H scale_dtype, const std::string& non_finite,
                       bool widen, bool saturate, H scale, H azp_in) {
    return Body({x, dtype, granularity, side, azp, scale_ub, min_scale, qmax, rounding, scale_dtype,
                 non_finite, widen, saturate, scale, azp_in});
  };
  m.def(name, call, nb::arg("x"), nb::arg("dtype") = "int8", nb::arg("granularity") = "token",
        nb::kw_only(), nb::arg("side") = "a", nb::arg("azp") = false,
        nb::arg("scale_ub") = std::numeric_limits<double>::infinity(), nb::arg("min_scale") = 0.0,
        nb::arg("qmax") = 0.0, nb::arg("rounding") = "none", nb::arg("scale_dtype") = "float32",
        nb::arg("non_finite") = "propagate", nb::arg("widen") = false, nb::arg("saturate") = true,
        nb::arg("scale") = nb::borrow(undefined_object), nb::arg("azp_in").none() = nb::none(),
        doc);
}

// Learned step sizes: the gradients of x and of a static scale.
nb::tuple gradients(nb::handle grad, nb::handle x, nb::handle scale, nb::handle dtype,
                    const std::string& granularity, double gradient_scale,
                    const std::string& side) {
  Call call("quantize_vjp");
  const TensorView g = call.tensor(grad, "grad");
  const TensorView view = call.tensor(x, "x");
  QuantizeOptions o;
  o.dtype = call.dtype(dtype, "dtype");
  o.granularity = parse_granularity(granularity, call.operation(), "granularity");
  o.side = parse_side(call, side);
  o.scale = call.scale(scale, nb::none(), "scale");
  const QuantizeWanted wanted{true, o.scale.kind() == Scale::Kind::tensor};
  const QuantizeGradients q = unlocked([&] {
    return quantize_vjp(g, view, o, wanted, static_cast<float>(gradient_scale), context());
  });
  return nb::make_tuple(call.give(q.x), call.give(q.scale));
}

void bind_class(nb::module_& m) {
  nb::class_<PyQuantized>(m, "Quantized",
                          "A quantised matrix: element (i, j) = (data[i, j] - azp) * scale of its "
                          "cell of rows x cols (0: the whole extent).")
      .def(
          "__init__",
          [](PyQuantized* self, nb::object data, nb::object scale, nb::object azp,
             std::int64_t rows, std::int64_t cols) {
            new (self) PyQuantized{std::move(data), std::move(scale), std::move(azp), rows, cols};
          },
          nb::arg("data"), nb::arg("scale"), nb::arg("azp").none() = nb::none(),
          nb::arg("rows") = 1, nb::arg("cols") = 0)
      .def_ro("data", &PyQuantized::data, "Codes [R, C].")
      .def_ro("scale", &PyQuantized::scale, "Decode multipliers, 2-D, one for each cell.")
      .def_ro("azp", &PyQuantized::azp, "Zero points (int32, shape of scale), or None.")
      .def_ro("rows", &PyQuantized::rows, "Rows under one scale; 0: all.")
      .def_ro("cols", &PyQuantized::cols, "Columns under one scale; 0: all.")
      .def("__reduce__",
           [](const PyQuantized& q) {
             const nb::object type = nb::borrow(nb::type<PyQuantized>());
             return nb::make_tuple(type, nb::make_tuple(q.data, q.scale, q.azp, q.rows, q.cols));
           })
      .def_prop_ro(
          "T",
          [](const PyQuantized& q) {
            const auto t = [](const nb::object& v) {
              return v.is_none() ? v : nb::object(v.attr("T"));
            };
            return PyQuantized{t(q.data), t(q.scale), t(q.azp), q.cols, q.rows};
          },
          "The transposed matrix; nothing is copied.")
      .def("__repr__", [](const PyQuantized& q) {
        const auto shape = text_of(nb::object(q.data.attr("shape")));
        const auto dtype = text_of(nb::object(q.data.attr("dtype")));
        const auto cell = [](std::int64_t extent) {
          return extent == 0 ? std::string("all") : std::to_string(extent);
        };
        return "Quantized(" + dtype + " " + shape + ", a scale for each " + cell(q.rows) + " x " +
               cell(q.cols) + (q.azp.is_none() ? ")" : ", zero points)");
      });
}

}  // namespace

void bind_quantize(nb::module_& m) {
  bind_class(m);
  define<quantized>(m, "quantize", "See octavo.quantize.");
  define<scales>(m, "compute_scale", "See octavo.compute_scale.");
  m.def("quantize_vjp", gradients, nb::arg("grad"), nb::arg("x"), nb::arg("scale").none(),
        nb::arg("dtype") = "int8", nb::arg("granularity") = "token",
        nb::arg("gradient_scale") = 1.0, nb::arg("side") = "a", "See octavo.quantize_vjp.");
  m.def(
      "quantize_mxfp8",
      [](nb::handle x, nb::handle dtype, const std::string& side) {
        Call call("quantize_mxfp8");
        const TensorView view = call.tensor(x, "x");
        const DType type = call.dtype(dtype, "dtype");
        const Side operand = parse_side(call, side);
        return call.give(unlocked([&] { return quantize_mxfp8(view, type, operand, context()); }));
      },
      nb::arg("x"), nb::arg("dtype") = "float8_e4m3fn", nb::arg("side") = "a",
      "See octavo.quantize_mxfp8.");
  m.def(
      "dequantize",
      [](nb::handle q, nb::handle out_dtype) {
        Call call("dequantize");
        const Quantized quantized = call.quantized(q, "q");
        const DType type = call.dtype(out_dtype, "out_dtype");
        return call.give(unlocked([&] { return dequantize(quantized, type, context()); }));
      },
      nb::arg("q"), nb::arg("out_dtype") = "float32", "See octavo.dequantize.");
}

}  // namespace octavo::python
