// SPDX-License-Identifier: Apache-2.0
// Data types as Python spells them: strings, NumPy and ml_dtypes types, PyTorch's dtypes.
#pragma once

#include <nanobind/nanobind.h>

#include "dlpack.hpp"
#include "octavo/dtype.hpp"

namespace octavo::python {

namespace nb = nanobind;

/// The data type that an argument names: a string ("float8_e4m3fn", "bf16"), a NumPy dtype or
/// scalar type, an ml_dtypes type, a torch.dtype; None is `undefined`. Raises ValueError.
DType dtype_argument(nb::handle value, const char* operation, const char* argument);

/// NumPy's dtype object of a data type.
nb::object numpy_dtype(DType dtype);

/// The data type of a NumPy dtype object; `undefined` if Octavo does not know it.
DType dtype_of_numpy(nb::handle dtype);

/// The data type of a DLPack type; `undefined` if Octavo does not know it.
DType dtype_of_dlpack(const DLDataType& type) noexcept;
DLDataType dlpack_dtype(DType dtype) noexcept;

}  // namespace octavo::python
