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

// An operation as Python spells it: "Checkpoint::weight: ..." is Checkpoint.weight's.
std::string in_python(std::string sentence) {
  const std::size_t end = sentence.find_first_of(" '\"");
  for (std::size_t at = 0; (at = sentence.find("::", at)) < end; ++at) sentence.replace(at, 2, ".");
  return sentence;
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
      PyErr_SetString(exception_of(error.code()), in_python(error.what()).c_str());
    }
  });
}

}  // namespace octavo::python
