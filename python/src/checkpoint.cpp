// SPDX-License-Identifier: Apache-2.0
// Checkpoints, schemes, and weights in canonical form.
#include "octavo/checkpoint.hpp"

#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "arguments.hpp"
#include "bindings.hpp"

namespace octavo::python {
namespace {

// A file that is not there is an OSError in Python, whatever its code.
template <class Body>
auto with_file(const Body& body) {
  try {
    return unlocked(body);
  } catch (const Error& error) {
    if (error.code() != Code::unavailable) throw;
    PyErr_SetString(PyExc_FileNotFoundError, error.what());
    throw nb::python_error();
  }
}

Scheme parse_scheme(const char* operation, const std::string& text) {
  if (const std::optional<Scheme> scheme = scheme_from_name(text)) return *scheme;
  raise(Code::invalid_argument,
        std::string(operation) +
            ": scheme must be int8-dynamic, fp8-dynamic, fp8-block or llm-int8; got '" + text +
            "'");
}

nb::object tensor_of(const Checkpoint& file, const std::string& name) {
  const Tensor tensor = unlocked([&] { return file.tensor(name); });
  return give(tensor, Framework::numpy);
}

QuantizeReport quantize_file_with(const std::string& in, const std::string& out,
                                  const std::string& scheme, std::vector<std::string> ignore,
                                  const nb::object& progress) {
  QuantizeFileOptions o;
  o.scheme = parse_scheme("quantize_file", scheme);
  o.ignore = std::move(ignore);
  o.progress = [&progress](std::int64_t done, std::int64_t total) {
    const nb::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();  // Ctrl-C: the target stays untouched
    if (!progress.is_none()) progress(done, total);
  };
  return with_file([&] { return quantize_file(in, out, o); });
}

// The rule of the activations is the scheme's.
Weight restored(nb::handle quantized, const std::string& scheme) {
  Call call("Weight");
  const Quantized views = call.quantized(quantized, "quantized");
  Weight weight;
  weight.codes.data = copy(views.data, views.data.dtype());
  weight.codes.scale = copy(views.scale, DType::float32);
  weight.codes.grid = views.grid;
  weight.activation = activation_rule(parse_scheme("Weight", scheme));
  weight.scheme = scheme;
  return weight;
}

void bind_weight(nb::module_& m) {
  nb::class_<Weight>(m, "Weight",
                     "A linear layer's weight [N, K] in canonical form, whatever the dialect.")
      .def_ro("scheme", &Weight::scheme, "\"int8-dynamic\", ..., or \"none\".")
      .def_prop_ro(
          "quantized", [](const Weight& w) { return give(w.codes, Framework::numpy); },
          "Codes [N, K] and scales as an octavo.Quantized.")
      .def(
          "pack",
          [](const Weight& w, const std::optional<std::string>& backend) {
            return unlocked([&] { return pack(w, backend ? backend->c_str() : nullptr); });
          },
          nb::arg("backend").none() = nb::none(),
          "The octavo.PackedWeight [K, N] for octavo.linear; its activation rule travels with it.");
  nb::class_<LayerReport>(m, "LayerReport", "What quantising did to one weight.")
      .def_ro("name", &LayerReport::name)
      .def_ro("n", &LayerReport::n)
      .def_ro("k", &LayerReport::k)
      .def_ro("bytes_before", &LayerReport::bytes_before)
      .def_ro("bytes_after", &LayerReport::bytes_after)
      .def_ro("sqnr_db", &LayerReport::sqnr_db, "10 log10(sum w^2 / sum (w - w')^2).")
      .def_ro("max_error", &LayerReport::max_error, "Largest |w - w'|.")
      .def_ro("saturated", &LayerReport::saturated, "Codes at the type's largest magnitude.");
  nb::class_<QuantizeReport>(m, "QuantizeReport", "What quantize_file did.")
      .def_ro("layers", &QuantizeReport::layers)
      .def_ro("file_bytes_before", &QuantizeReport::file_bytes_before)
      .def_ro("file_bytes_after", &QuantizeReport::file_bytes_after)
      .def_ro("tensors_copied", &QuantizeReport::tensors_copied);
}

void bind_file(nb::module_& m) {
  nb::class_<Checkpoint>(m, "Checkpoint", "A safetensors file, opened and validated.")
      .def(
          "keys",
          [](const Checkpoint& file) {
            nb::list names;
            for (const TensorEntry& e : file.entries()) names.append(e.name);
            return names;
          },
          "Names of the tensors, in file order.")
      .def_prop_ro("metadata", &Checkpoint::metadata)
      .def_prop_ro("nbytes", &Checkpoint::file_bytes, "Size of the file.")
      .def(
          "__contains__",
          [](const Checkpoint& file, const std::string& name) { return file.contains(name); },
          nb::arg("name"))
      .def("tensor", tensor_of, nb::arg("name"), "A tensor as a NumPy array.")
      .def(
          "weight",
          [](const Checkpoint& file, const std::string& prefix) {
            return unlocked([&] { return file.weight(prefix); });
          },
          nb::arg("prefix"), "The weight of a layer (its name without \".weight\").")
      .def("quantized_layers", &Checkpoint::quantized_layers,
           "Names of all layers whose weight is quantised.");
}

}  // namespace

void bind_checkpoint(nb::module_& m) {
  bind_weight(m);
  bind_file(m);
  m.def(
      "open_checkpoint",
      [](const std::string& path) { return with_file([&] { return open_checkpoint(path); }); },
      nb::arg("path"), "See octavo.open_checkpoint.");
  m.def("quantize_file", quantize_file_with, nb::arg("input"), nb::arg("output"),
        nb::arg("scheme") = "int8-dynamic", nb::arg("ignore") = std::vector<std::string>{},
        nb::arg("progress").none() = nb::none(), "See octavo.quantize_file.");
  m.def(
      "quantize_weight",
      [](nb::handle weight, const std::string& scheme) {
        Call call("quantize_weight");
        const TensorView view = call.tensor(weight, "weight");
        const Scheme parsed = parse_scheme("quantize_weight", scheme);
        return unlocked([&] { return quantize_weight(view, parsed); });
      },
      nb::arg("weight"), nb::arg("scheme") = "int8-dynamic", "See octavo.quantize_weight.");
  m.def(
      "canonical_scheme",
      [](const std::string& name) {
        return std::string(scheme_name(parse_scheme("quantize_", name)));
      },
      nb::arg("name"), "The scheme's own name, whatever the ecosystem calls it.");
  m.def("_restore_weight", restored, nb::arg("quantized"), nb::arg("scheme"),
        "The octavo.Weight of codes and scales that an octavo.Weight of that scheme had.");
  m.def(
      "compare_weight",
      [](const std::string& layer, nb::handle weight, const Weight& quantized) {
        Call call("compare_weight");
        const TensorView view = call.tensor(weight, "weight");
        return unlocked([&] { return compare_weight(layer, view, quantized); });
      },
      nb::arg("layer"), nb::arg("weight"), nb::arg("quantized"), "See octavo.compare_weight.");
}

}  // namespace octavo::python
