// SPDX-License-Identifier: Apache-2.0
// The parts of the module octavo._octavo, a file each.
#pragma once

#include <nanobind/nanobind.h>

namespace octavo::python {

namespace nb = nanobind;

void bind_matmul(nb::module_& m);
void bind_grouped(nb::module_& m);
void bind_functional(nb::module_& m);
void bind_linear(nb::module_& m);
void bind_experts(nb::module_& m);
void bind_norms(nb::module_& m);
void bind_attention(nb::module_& m);
void bind_quantize(nb::module_& m);
void bind_llm_int8(nb::module_& m);
void bind_checkpoint(nb::module_& m);
void bind_files(nb::module_& m);
void bind_sharding(nb::module_& m);
void bind_explain(nb::module_& m);
void bind_parallel(nb::module_& m);
void bind_plain(nb::module_& m);
void bind_w8a8(nb::module_& m);

}  // namespace octavo::python
