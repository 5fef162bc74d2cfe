// SPDX-License-Identifier: Apache-2.0
// Packed weights, and linear layers over them.
#include "octavo/linear.hpp"

#include <nanobind/stl/vector.h>

#include <array>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "gradients.hpp"
#include "options.hpp"
#include "tensors/activation.hpp"

namespace octavo::python {

namespace {

using PackedObject = nb::typed<nb::object, PackedWeight>;

PackedObject packed(const PackArguments& given) {
  Call call("pack");
  const Operand weight = call.operand(given.weight, "weight");
  const PackOptions options = options_of(call, given);
  return handed(unlocked([&] { return pack(weight, options, call.context()); }));
}

nb::object unpacked(const PackedWeight& weight, nb::handle like) {
  Call call("unpack");
  call.tensor(like, "like");
  const PackedWeight shown = readable(call, weight);
  const ExecContext context = call.context_on(shown.device());
  return call.give(unlocked([&] { return unpack(shown, context); }));
}

nb::object run(const LinearArguments& given) {
  Call call("linear");
  const TensorView x = call.tensor(given.x, "x");
  LinearOptions o = options_of(call, given);
  nb::object result = nb::borrow(given.out);
  if (result.is_none()) result = call.make_small_rows(x, given.weight.n(), o.out_dtype, o.out);
  const Tensor tensor = unlocked([&] { return linear(x, given.weight, o, call.context()); });
  return result.is_none() ? call.give(tensor) : result;
}

// The same, and LLM.int8()'s outlier columns of the call as a list.
nb::tuple run_with_columns(const LinearArguments& given) {
  Call call("linear");
  const TensorView x = call.tensor(given.x, "x");
  LinearOptions o = options_of(call, given);
  std::vector<std::int64_t> found;
  o.found_columns = &found;
  const Tensor tensor = unlocked([&] { return linear(x, given.weight, o, call.context()); });
  const nb::object result = given.out.is_none() ? call.give(tensor) : nb::borrow(given.out);
  return nb::make_tuple(result, found);
}

// wanted: x, bias.
nb::list gradients(nb::handle grad, const std::vector<bool>& asked, nb::handle x,
                   const PackedWeight& weight, nb::handle bias, nb::handle out_dtype) {
  Call call("linear_vjp");
  const TensorView g = call.tensor(grad, "grad");
  const TensorView view = call.tensor(x, "x");
  LinearOptions o;
  o.bias = call.tensor(bias, "bias");
  o.out_dtype = call.dtype(out_dtype, "out_dtype");
  MatmulWanted wanted;
  wanted.a = !asked.empty() && asked[0];
  wanted.bias = asked.size() > 1 && asked[1];
  return give(call,
              unlocked([&] { return linear_vjp(g, view, weight, o, wanted, {}, call.context()); }));
}

PackedObject with_llm_int8(const PackedWeight& weight, double threshold, bool whole_columns,
                           nb::handle outlier_columns) {
  Call call("with_llm_int8");
  const ActivationQuant rule = llm_int8_rule(call, threshold, whole_columns, outlier_columns);
  return handed(with_activation(weight, rule, call.context_on(weight.device())));
}

void bind_class(nb::module_& m) {
  nb::class_<PackedWeight>(
      m, "PackedWeight",
      "A weight [K, N] in the private layout of one backend: immutable, thread-shareable, and "
      "unpackable bit for bit.",
      nb::is_weak_referenceable(), nb::dynamic_attr())
      .def_prop_ro("k", &PackedWeight::k, "Input features.")
      .def_prop_ro("n", &PackedWeight::n, "Output features.")
      .def_prop_ro(
          "dtype", [](const PackedWeight& w) { return std::string(name(w.dtype())); },
          "The codes' data type, by name.")
      .def_prop_ro(
          "shape", [](const PackedWeight& w) { return nb::make_tuple(w.k(), w.n()); },
          nb::sig("def shape(self) -> tuple[int, int]"), "(k, n).")
      .def_prop_ro("nbytes", &PackedWeight::bytes, "Bytes of the packed codes.")
      .def_prop_ro("layout", &PackedWeight::layout, "Whose layout it is, and its version.")
      .def_prop_ro(
          "device", [](const PackedWeight& w) { return device_name(w.device()); },
          "Where codes and scales lie, as PyTorch writes it: \"cpu\", \"cuda:0\".")
      .def_prop_ro(
          "activation", [](const PackedWeight& w) { return activation_of(w.activation()); },
          "The activation rule as pack's arguments, or None.")
      .def("with_llm_int8", with_llm_int8, nb::arg("threshold") = 0.0, nb::kw_only(),
           nb::arg("whole_columns") = false, nb::arg("outlier_columns").none() = nb::none(),
           "The same weight with LLM.int8's rule for activations (pack's arguments); the codes are "
           "shared.")
      .def("unpack", unpacked, nb::arg("like").none() = nb::none(),
           "Codes [K, N] and scales, bit for bit, as an octavo.Quantized of NumPy arrays; where "
           "`like` is PyTorch's, of its tensors on the weight's device.")
      .def("to", moved<PackedWeight>, nb::arg("like").none(),
           "The weight on the device of the tensor `like`, or on that device (\"cuda\", "
           "torch.device; "
           "None: the CPU), packed for its kernels: "
           "it unpacks to the same bits and has the same activation rule. The object itself where "
           "it is there already.")
      .def("__copy__", [](nb::object self) { return self; })
      .def(
          "__deepcopy__", [](nb::object self, nb::handle) { return self; }, nb::arg("memo"))
      .def("__reduce__",
           [](const PackedWeight& w) {
             const nb::object restore = nb::module_::import_("octavo").attr("_restore_packed");
             return nb::make_tuple(
                 restore, nb::make_tuple(unpacked(w, nb::none()), activation_of(w.activation()),
                                         empty_on(w.device())));
           })
      .def("__repr__", [](const PackedWeight& w) {
        return "PackedWeight(" + std::string(name(w.dtype())) + " [" + std::to_string(w.k()) +
               ", " + std::to_string(w.n()) + "], " + w.layout() + ")";
      });
}

}  // namespace

void bind_linear(nb::module_& m) {
  bind_class(m);
  define_pack<packed>(m, "pack", "See octavo.pack.");
  define_linear<run>(m, "linear", "See octavo.linear.");
  define_linear<run_with_columns>(m, "linear_with_columns",
                                  "octavo.linear and LLM.int8()'s outlier columns of the call.");
  m.def("linear_vjp", gradients, nb::arg("grad"), nb::arg("wanted"), nb::arg("x"),
        nb::arg("weight"), nb::arg("bias").none() = nb::none(),
        nb::arg("out_dtype").none() = nb::none(), "See octavo.linear_vjp.");
}

}  // namespace octavo::python
