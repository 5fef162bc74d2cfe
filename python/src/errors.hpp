// SPDX-License-Identifier: Apache-2.0
// Octavo's errors as Python exceptions.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "octavo/status.hpp"

namespace octavo::python {

namespace nb = nanobind;

/// Throws octavo::Error; the translator makes it a Python exception.
[[noreturn]] void raise(Code code, std::string sentence);

/// str(value).
std::string text_of(nb::handle value);

/// repr(value), cut to a length that fits a sentence.
std::string shown(nb::handle value);

/// ValueError, NotImplementedError, MemoryError, OSError, RuntimeError, by the error's code.
void translate_errors();

}  // namespace octavo::python
