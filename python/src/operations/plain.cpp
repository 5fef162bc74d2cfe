// SPDX-License-Identifier: Apache-2.0
// Whether the arguments of a call are no more than they look like.
#include "bindings.hpp"

namespace octavo::python {
namespace {

bool needs_gradient(nb::handle tensor) {
  static const nb::handle requires_grad = PyUnicode_InternFromString("requires_grad");
  return tensor.attr(requires_grad).is(Py_True);
}

bool all_plain(const nb::tuple& arguments, const nb::tuple& tensors, const nb::frozenset& others,
               bool gradients) {
  nb::handle last;  // a call has many arguments of few types
  for (const nb::handle argument : arguments) {
    const nb::handle type = argument.type();
    if (type.is(last)) continue;
    bool tensor = false;
    for (const nb::handle known : tensors) tensor = tensor || type.is(known);
    if (tensor ? gradients && needs_gradient(argument)
               : PySet_Contains(others.ptr(), type.ptr()) != 1) {
      return false;
    }
    if (!tensor) last = type;
  }
  return true;
}

}  // namespace

void bind_plain(nb::module_& m) {
  m.def("_all_plain", all_plain, nb::arg("arguments"), nb::arg("tensors"), nb::arg("others"),
        nb::arg("gradients"),
        "Whether every argument is of one of these types (subclasses are not); with `gradients`, "
        "and no tensor needs one.");
}

}  // namespace octavo::python
