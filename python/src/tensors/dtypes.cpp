// SPDX-License-Identifier: Apache-2.0
#include "dtypes.hpp"

#include <array>
#include <string>
#include <string_view>

#include "errors.hpp"

namespace octavo::python {
namespace {

// Objects that have been seen, so that their names are read once: {object: int}. Never freed, as
// dtypes are not: a module that is torn down must not touch Python any more.
nb::handle seen() {
  static const nb::handle cache = nb::dict().release();
  return cache;
}

// "torch.float32", "float32", "<class 'ml_dtypes.bfloat16'>" all end in the name.
DType dtype_of_name(nb::handle value) {
  nb::object text;
  if (nb::isinstance<nb::str>(value)) {
    text = nb::borrow(value);
  } else if (nb::hasattr(value, "__name__")) {
    text = value.attr("__name__");  // a scalar type
  } else {
    text = nb::str(value);
  }
  std::string name = text_of(text);
  name.erase(0, name.rfind('.') + 1);
  return dtype_from_name(name);
}

DType look_up(nb::handle value) {
  PyObject* known = PyDict_GetItemWithError(seen().ptr(), value.ptr());
  if (known != nullptr) return static_cast<DType>(PyLong_AsLong(known));
  if (PyErr_Occurred() != nullptr) PyErr_Clear();  // not hashable, so no dtype either
  const DType dtype = dtype_of_name(value);
  if (dtype != DType::undefined) {
    const nb::int_ number(static_cast<int>(dtype));
    if (PyDict_SetItem(seen().ptr(), value.ptr(), number.ptr()) != 0) PyErr_Clear();
  }
  return dtype;
}

}  // namespace

DType dtype_argument(nb::handle value, const char* operation, const char* argument) {
  if (value.is_none()) return DType::undefined;
  const DType dtype = look_up(value);
  if (dtype != DType::undefined) return dtype;
  raise(Code::invalid_argument,
        std::string(operation) + ": " + argument +
            " must be a data type (\"bfloat16\", numpy.float32, ml_dtypes.float8_e4m3fn, "
            "torch.int8, ...); got " +
            shown(value));
}

nb::object numpy_dtype(DType dtype) {
  static std::array<nb::handle, kDTypes.size()> cache{};
  nb::handle& slot = cache[static_cast<std::size_t>(dtype)];
  if (!slot.is_valid()) {
    const nb::module_ numpy = nb::module_::import_("numpy");
    const nb::module_ ml_dtypes = nb::module_::import_("ml_dtypes");
    const std::string name(octavo::name(dtype));
    const nb::object type =
        nb::hasattr(ml_dtypes, name.c_str()) ? ml_dtypes.attr(name.c_str()) : nb::str(name.c_str());
    slot = numpy.attr("dtype")(type).release();
  }
  return nb::borrow(slot);
}

DType dtype_of_numpy(nb::handle dtype) { return look_up(dtype); }

DType dtype_of_dlpack(const DLDataType& type) noexcept {
  if (type.lanes != 1) return DType::undefined;
  for (const DTypeInfo& row : kDTypes) {
    if (row.dtype != DType::undefined && row.dlpack_code == type.code && row.bits == type.bits) {
      return row.dtype;
    }
  }
  return DType::undefined;
}

DLDataType dlpack_dtype(DType dtype) noexcept {
  const DTypeInfo& row = info(dtype);
  return {row.dlpack_code, row.bits, 1};
}

}  // namespace octavo::python
