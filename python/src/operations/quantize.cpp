// SPDX-License-Identifier: Apache-2.0
// Quantisers, octavo.Quantized, and back.
#include "octavo/quantize.hpp"

#include <string>

#include "bindings.hpp"
#include "octavo/gradient.hpp"
#include "octavo/rotate.hpp"
#include "options.hpp"

namespace octavo::python {
namespace {

nb::object quantized(const QuantizeArguments& arguments) {
  Call call("quantize");
  const TensorView x = call.tensor(arguments.x, "x");
  const QuantizeOptions o = options_of(call, arguments);
  return call.give(unlocked([&] { return quantize(x, o, call.context()); }));
}

nb::object scales(const QuantizeArguments& arguments) {
  Call call("compute_scale");
  const TensorView x = call.tensor(arguments.x, "x");
  const QuantizeOptions o = options_of(call, arguments);
  return call.give(unlocked([&] { return compute_scale(x, o, call.context()); }));
}

nb::object rotated(const RotateArguments& given) {
  Call call("rotate");
  const TensorView x = call.tensor(given.x, "x");
  const RotateOptions o = options_of(call, given);
  const Tensor tensor = unlocked([&] { return rotate(x, o, call.context()); });
  return given.out.is_none() ? call.give(tensor) : nb::object(nb::borrow(given.out));
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
    return quantize_vjp(g, view, o, wanted, static_cast<float>(gradient_scale), call.context());
  });
  return nb::make_tuple(call.give(q.x), call.give(q.scale));
}

// The codes, which what compute_scale gives has not.
nb::object codes_of(const PyQuantized& q, const char* property) {
  if (q.data.is_none()) {
    raise(Code::invalid_argument,
          std::string("Quantized.") + property +
              ": data must be codes (octavo.quantize makes them); got None");
  }
  return q.data;
}

std::string shown(const PyQuantized& q) {
  const auto cell = [](std::int64_t extent) {
    return extent == 0 ? std::string("all") : std::to_string(extent);
  };
  const bool codes = !q.data.is_none();
  const nb::object& tensor = codes ? q.data : q.scale;
  std::string text = codes ? "Quantized(" : "Quantized(no codes, scales ";
  text += text_of(nb::object(tensor.attr("dtype"))) + " " +
          text_of(nb::object(tensor.attr("shape"))) + ", a scale for each " + cell(q.rows) + " x " +
          cell(q.cols);
  if (q.row0 != 0 || q.col0 != 0) {
    text += " from " + std::to_string(q.row0) + ", " + std::to_string(q.col0) + " on";
  }
  return text + (q.azp.is_none() ? ")" : ", zero points)");
}

void bind_properties(nb::class_<PyQuantized>& type) {
  type.def_prop_ro(
          "shape",
          [](const PyQuantized& q) { return nb::tuple(codes_of(q, "shape").attr("shape")); },
          nb::sig("def shape(self) -> tuple[int, ...]"), "That of data.")
      .def_prop_ro(
          "dtype",
          [](const PyQuantized& q) { return nb::object(codes_of(q, "dtype").attr("dtype")); },
          "The codes' data type, of the framework that data is of.")
      .def_prop_ro(
          "device",
          [](const PyQuantized& q) {
            const nb::object codes = codes_of(q, "device");
            const bool named = nb::hasattr(codes, "device");
            return named ? nb::cast<std::string>(nb::str(nb::object(codes.attr("device"))))
                         : std::string("cpu");
          },
          "Where data lies: \"cpu\", \"cuda:0\".")
      .def_prop_ro(
          "nbytes",
          [](const PyQuantized& q) {
            std::int64_t bytes = 0;
            for (const nb::object* part : {&q.data, &q.scale, &q.azp}) {
              if (!part->is_none()) bytes += nb::cast<std::int64_t>(part->attr("nbytes"));
            }
            return bytes;
          },
          "Bytes of codes, scales and zero points.")
      .def(
          "dequantize",
          [](nb::object self, nb::object out_dtype) {
            return nb::object(nb::module_::import_("octavo").attr("dequantize")(self, out_dtype));
          },
          nb::arg("out_dtype") = "float32", "octavo.dequantize of it.");
}

void bind_class(nb::module_& m) {
  nb::class_<PyQuantized> type(
      m, "Quantized",
      "A quantised matrix: element (i, j) = (data[i, j] - azp) * scale of its "
      "cell of rows x cols (0: the whole extent). A slice of one begins at row "
      "row0 and column col0 of its first cell.");
  bind_properties(type);
  type.def(
          "__init__",
          [](PyQuantized* self, nb::object data, nb::object scale, nb::object azp,
             std::int64_t rows, std::int64_t cols, std::int64_t row0, std::int64_t col0,
             const nb::object& zero_point) {
            if (!azp.is_none() && !zero_point.is_none()) {
              raise(Code::invalid_argument,
                    "Quantized: zero_point must be None beside azp, its other name; got both");
            }
            if (!zero_point.is_none()) azp = zero_point;
            new (self) PyQuantized{
                std::move(data), std::move(scale), std::move(azp), rows, cols, row0, col0};
          },
          nb::arg("data"), nb::arg("scale"), nb::arg("azp").none() = nb::none(),
          nb::arg("rows") = 1, nb::arg("cols") = 0, nb::arg("row0") = 0, nb::arg("col0") = 0,
          nb::kw_only(), nb::arg("zero_point").none() = nb::none())
      .def_ro("data", &PyQuantized::data, "Codes [R, C].")
      .def_ro("scale", &PyQuantized::scale, "Decode multipliers, 2-D, one for each cell.")
      .def_ro("azp", &PyQuantized::azp, "Zero points (int32, shape of scale), or None.")
      .def_ro("zero_point", &PyQuantized::azp, "azp under the name that most libraries give it.")
      .def_ro("rows", &PyQuantized::rows, "Rows under one scale; 0: all.")
      .def_ro("cols", &PyQuantized::cols, "Columns under one scale; 0: all.")
      .def_ro("row0", &PyQuantized::row0, "The row of the first cell that data begins with.")
      .def_ro("col0", &PyQuantized::col0, "The column of the first cell that data begins with.")
      .def("__reduce__",
           [](const PyQuantized& q) {
             const nb::object type = nb::borrow(nb::type<PyQuantized>());
             return nb::make_tuple(
                 type, nb::make_tuple(q.data, q.scale, q.azp, q.rows, q.cols, q.row0, q.col0));
           })
      .def_prop_ro(
          "T",
          [](const PyQuantized& q) {
            const auto t = [](const nb::object& v) {
              return v.is_none() ? v : nb::object(v.attr("T"));
            };
            return PyQuantized{t(q.data), t(q.scale), t(q.azp), q.cols, q.rows, q.col0, q.row0};
          },
          "The transposed matrix; nothing is copied.")
      .def("__repr__", shown);
}

}  // namespace

void bind_quantize(nb::module_& m) {
  bind_class(m);
  define_quantize<quantized>(m, "quantize", "See octavo.quantize.");
  define_quantize<scales>(m, "compute_scale", "See octavo.quantizers.compute_scale.");
  define_rotate<rotated>(m, "rotate", "See octavo.quantizers.rotate.");
  m.def("quantize_vjp", gradients, nb::arg("grad"), nb::arg("x"), nb::arg("scale").none(),
        nb::arg("dtype") = "int8", nb::arg("granularity") = "token",
        nb::arg("gradient_scale") = 1.0, nb::arg("side") = "a",
        "See octavo.gradients.quantize_vjp.");
  m.def(
      "quantize_mxfp8",
      [](nb::handle x, nb::handle dtype, const std::string& side) {
        Call call("quantize_mxfp8");
        const TensorView view = call.tensor(x, "x");
        const DType type = call.dtype(dtype, "dtype");
        const Side operand = parse_side(call, side);
        return call.give(
            unlocked([&] { return quantize_mxfp8(view, type, operand, call.context()); }));
      },
      nb::arg("x"), nb::arg("dtype") = "float8_e4m3fn", nb::arg("side") = "a",
      "See octavo.quantizers.quantize_mxfp8.");
  m.def(
      "dequantize",
      [](nb::handle q, nb::handle out_dtype) {
        Call call("dequantize");
        const Quantized quantized = call.quantized(q, "q");
        const DType type = call.dtype(out_dtype, "out_dtype");
        return call.give(unlocked([&] { return dequantize(quantized, type, call.context()); }));
      },
      nb::arg("q"), nb::arg("out_dtype") = "float32", "See octavo.dequantize.");
}

}  // namespace octavo::python
