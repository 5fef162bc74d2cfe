// SPDX-License-Identifier: Apache-2.0
// The extension module octavo._octavo: arguments in, C++ operations, tensors of the caller's
// framework out.
#include "bindings.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {
namespace {

void bind_settings(nb::module_& m) {
  nb::class_<Undefined>(m, "Undefined", "The type of octavo.UNDEFINED.")
      .def("__repr__", [](const Undefined&) { return "UNDEFINED"; })
      .def("__reduce__", [](const Undefined&) { return "UNDEFINED"; })
      .def("__bool__", [](const Undefined&) { return false; });
  const nb::object undefined = nb::cast(Undefined{});
  undefined_object = nb::borrow(undefined).release();
  m.attr("UNDEFINED") = undefined;

  m.def("set_num_threads", &set_num_threads, nb::arg("threads"),
        "Limits the threads of every later call; 0 takes all of them (OCTAVO_NUM_THREADS).\n\n"
        "Example:\n"
        "    >>> import octavo\n"
        "    >>> octavo.set_num_threads(1)\n"
        "    >>> octavo.machine.get_num_threads()\n"
        "    1\n"
        "    >>> octavo.set_num_threads(0)");
  m.def("get_num_threads", &num_threads,
        "How many threads a call runs on.\n\n"
        "Example:\n"
        "    >>> import octavo\n"
        "    >>> octavo.machine.get_num_threads() >= 1\n"
        "    True");
  m.def("_use_openmp", &use_openmp, nb::arg("path"),
        "Runs later calls on a loaded OpenMP runtime.");
  m.def("_use_own_threads", &use_own_threads, "Runs later calls on Octavo's own threads.");
  m.def("threads_reason", &threads_reason,
        "Whose threads calls run on, and why, in one sentence.\n\n"
        "Example:\n"
        "    >>> import octavo\n"
        "    >>> type(octavo.machine.threads_reason())\n"
        "    <class 'str'>");
  m.def(
      "dtype_name",
      [](nb::handle value, const std::string& operation, const std::string& argument) {
        const DType dtype = dtype_argument(value, operation.c_str(), argument.c_str());
        return std::string(name(dtype));
      },
      nb::arg("value"), nb::arg("operation"), nb::arg("argument"),
      "The name of a data type that an argument names in any of its ways.");
  m.def(
      "float8_types",
      [] {
        nb::dict largest;
        for (const DType dtype : kFloat8Types) {
          largest[std::string(name(dtype)).c_str()] = info(dtype).max;
        }
        return largest;
      },
      nb::sig("def float8_types() -> dict[str, float]"),
      "The names of the float8 types, each with its largest finite value.");
  m.def(
      "_acquire",
      [](const char* protocol, nb::handle value) {
        const In in = acquire_through(protocol, value);
        const std::span<const std::int64_t> dims = in.view.dims();
        nb::list shape;
        nb::list strides;
        for (std::size_t d = 0; d < dims.size(); ++d) {
          shape.append(dims[d]);
          strides.append(in.view.strides[d]);
        }
        return nb::make_tuple(std::string(name(in.view.dtype)).c_str(), shape, strides,
                              reinterpret_cast<std::uintptr_t>(in.view.data), in.read_only);
      },
      nb::arg("protocol"), nb::arg("value"));
  m.def("_as_torch", as_torch, nb::arg("value"), nb::arg("operation"), nb::arg("argument"),
        "Any tensor as PyTorch's, of the same memory.");
}

}  // namespace
}  // namespace octavo::python

NB_MODULE(_octavo, m) {
  using namespace octavo::python;
  nb::set_leak_warnings(false);  // looked-up objects are never freed, see tensors/dtypes.cpp
  translate_errors();
  register_memory(m);
  bind_settings(m);
  bind_quantize(m);
  bind_linear(m);
  bind_matmul(m);
  bind_grouped(m);
  bind_functional(m);
  bind_llm_int8(m);
  bind_checkpoint(m);
  bind_sharding(m);
  bind_parallel(m);
  bind_files(m);
  bind_explain(m);
  bind_plain(m);
  bind_w8a8(m);
  bind_experts(m);
  bind_norms(m);
  bind_attention(m);
}
