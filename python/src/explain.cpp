// SPDX-License-Identifier: Apache-2.0
// What would run, and why; backends and processor.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "bindings.hpp"
#include "octavo/backend.hpp"
#include "octavo/matmul.hpp"
#include "octavo/problem_line.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {
namespace {

void bind_classes(nb::module_& m) {
  nb::class_<Candidate>(m, "Candidate", "What one backend says of a problem.")
      .def_ro("backend", &Candidate::backend)
      .def_ro("accepts", &Candidate::accepts)
      .def_ro("chosen", &Candidate::chosen)
      .def_ro("reason", &Candidate::reason, "How it would run, or why it does not.")
      .def("__repr__", [](const Candidate& c) {
        return "Candidate(" + c.backend + (c.chosen ? ", chosen" : "") + ": " + c.reason + ")";
      });
  nb::class_<Explanation>(m, "Explanation", "What will run a problem, and why.")
      .def_ro("candidates", &Explanation::candidates)
      .def_ro("executor", &Explanation::executor, "Whose threads, and why.")
      .def_ro("error_bound", &Explanation::error_bound,
              "Of a floating sum, relative to sum |A||B|; 0: the sum is exact.")
      .def_ro("workspace_bytes", &Explanation::workspace_bytes)
      .def("__str__", &Explanation::to_string)
      .def("__repr__", &Explanation::to_string);
  nb::class_<BackendInfo>(m, "Backend", "One row of the registry.")
      .def_ro("name", &BackendInfo::name)
      .def_ro("summary", &BackendInfo::summary)
      .def_ro("usable", &BackendInfo::usable)
      .def_ro("unavailable", &BackendInfo::unavailable, "Why not, if not.")
      .def("__repr__", [](const BackendInfo& b) {
        return b.name + ": " + (b.usable ? b.summary : b.unavailable);
      });
}

}  // namespace

void bind_explain(nb::module_& m) {
  bind_classes(m);
  m.def(
      "device_refusal",
      [](const std::string& name, int index) { return device_refusal(name, index); },
      nb::arg("name"), nb::arg("index"),
      "Why tensors cannot be on a device (PyTorch's name), for a sentence; empty: they can.");
  m.def(
      "explain_line",
      [](const std::string& line, const std::optional<std::string>& backend) {
        return explain(parse_problem_line(line), context(), backend ? backend->c_str() : nullptr);
      },
      nb::arg("line"), nb::arg("backend").none() = nb::none(), "See octavo.explain.");
  m.def(
      "explain_linear",
      [](nb::handle x, const PackedWeight& weight, const std::optional<std::string>& backend) {
        Call call("linear");
        Operand a = call.operand(x, "x");
        if (weight.activation()) a.quantize = &*weight.activation();
        const char* name = backend ? backend->c_str() : nullptr;
        return explain(scaled_mm_problem(a, weight, {.out_dtype = a.data.dtype}), context(), name);
      },
      nb::arg("x"), nb::arg("weight"), nb::arg("backend").none() = nb::none(),
      "See octavo.explain.");
  m.def("backends", &backends,
        "The registry of backends, best first.\n\n"
        "Example:\n"
        "    >>> import octavo\n"
        "    >>> octavo.machine.backends()[-1].name\n"
        "    'reference'");
  m.def(
      "cpu_features",
      [] {
        nb::dict features;
        for (const CpuFeature& f : cpu_features()) features[f.name.c_str()] = f.present;
        return features;
      },
      "Instruction-set extensions that kernels may use: {name: present}.\n\n"
      "Example:\n"
      "    >>> import octavo\n"
      "    >>> set(map(type, octavo.machine.cpu_features().values()))\n"
      "    {<class 'bool'>}");
  m.def("cpu_name", &cpu_name,
        "The processor's own name.\n\n"
        "Example:\n"
        "    >>> import octavo\n"
        "    >>> type(octavo.machine.cpu_name())\n"
        "    <class 'str'>");
}

}  // namespace octavo::python
