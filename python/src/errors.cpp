// SPDX-License-Identifier: Apache-2.0
#include "errors.hpp"

#include <array>
#include <exception>
#include <utility>

namespace octavo::python {
namespace {

PyObject* exception_of(Code code) noexcept {
  switch (code) {
    case Code::invalid_argument:
      return PyExc_ValueError;
    case Code::unsupported:
      return PyExc_NotImplementedError;
    case Code::out_of_memory:
      return PyExc_MemoryError;
    case Code::io:
      return PyExc_OSError;
    default:
      return PyExc_RuntimeError;
  }
}

}  // namespace

void raise(Code code, std::string sentence) { throw Error(Status(code, std::move(sentence))); }

std::string text_of(nb::handle value) {
  const nb::str text(value);
  return text.c_str();
}

std::string shown(nb::handle value) {
  constexpr std::size_t kLongest = 80;
  std::string text = nb::repr(value).c_str();
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

void translate_errors() {
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      PyErr_SetString(exception_of(error.code()), error.what());
    }
  });
}

}  // namespace octavo::python
