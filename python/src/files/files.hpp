// SPDX-License-Identifier: Apache-2.0
// What bindings that open or write files share.
#pragma once

#include <string>

#include "octavo/checkpoint.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {

/// Runs `body` without the interpreter's lock. A file that is not there is a FileNotFoundError,
/// whatever Octavo's code.
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

/// The scheme of that name. Raises ValueError.
Scheme parse_scheme(const char* operation, const std::string& text);

}  // namespace octavo::python
