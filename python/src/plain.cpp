// SPDX-License-Identifier: Apache-2.0
// Whether the arguments of a call are no more than they look like.
#include "bindings.hpp"

namespace octavo::python {
namespace {

// Raises what an attribute raises.
bool needs_gradient(PyObject* tensor) {
  static PyObject* const name = PyUnicode_InternFromString("requires_grad");
  const nb::object found = nb::steal(PyObject_GetAttr(tensor, name));
  if (!found.is_valid()) nb::raise_python_error();
  return found.ptr() == Py_True;
}

bool all_plain(const nb::tuple& arguments, const nb::tuple& tensors, const nb::frozenset& others,
               bool gradients) {
  for (const nb::handle argument : arguments) {
    const nb::handle type = argument.type();
    bool tensor = false;
    for (const nb::handle known : tensors) tensor = tensor || type.is(known);
    if (tensor ? gradients && needs_gradient(argument.ptr())
               : PySet_Contains(others.ptr(), type.ptr()) != 1) {
      return false;
    }
  }
  return true;
}

}  // namespace

void bind_plain(nb::module_& m) {
  m.def("_all_plain", all_plain, nb::arg("arguments"), nb::arg("tensors"), nb::arg("others"),
        nb::arg("gradients"),
        "Whether every argument is of one of these types, subclasses left out; with `gradients`, "
        "and no tensor needs one.");
}

}  // namespace octavo::python
