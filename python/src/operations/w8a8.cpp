// SPDX-License-Identifier: Apache-2.0
// vLLM's helpers, which octavo.w8a8_utils offers.
#include <nanobind/stl/vector.h>

#include "bindings.hpp"
#include "octavo/w8a8_utils.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {
namespace {

using Widths = std::vector<std::int64_t>;

nb::object channelwise(nb::handle weight_scale, const Widths& logical_widths) {
  Call call("convert_to_channelwise");
  const TensorView scale = call.tensor(weight_scale, "weight_scale");
  return call.give(w8a8_utils::convert_to_channelwise(scale, logical_widths));
}

nb::tuple requantize(nb::handle weight, nb::handle weight_scale, const Widths& logical_widths,
                     bool in_place) {
  Call call("requantize_with_max_scale");
  const TensorView codes = in_place ? call.out(weight) : call.tensor(weight, "weight");
  const TensorView scale = call.tensor(weight_scale, "weight_scale");
  const w8a8_utils::Requantized r = unlocked([&] {
    return w8a8_utils::requantize_with_max_scale(codes, scale, logical_widths, in_place,
                                                 call.context());
  });
  return nb::make_tuple(call.give(r.scale), in_place ? nb::borrow(weight) : call.give(r.weight));
}

nb::object dequantized(nb::handle tensor, nb::handle inv_scale) {
  Call call("per_tensor_dequantize");
  const TensorView codes = call.tensor(tensor, "tensor");
  const Scale scale = call.scale(inv_scale, nb::none(), "inv_scale");
  return call.give(
      unlocked([&] { return w8a8_utils::per_tensor_dequantize(codes, scale, call.context()); }));
}

bool all_close(nb::handle x) {
  Call call("all_close_1d");
  return w8a8_utils::all_close_1d(call.tensor(x, "x"));
}

nb::tuple normalized(nb::handle weight, nb::handle weight_scale, nb::handle input_scale) {
  Call call("normalize_e4m3fn_to_e4m3fnuz");
  const TensorView codes = call.tensor(weight, "weight");
  const TensorView scale = call.tensor(weight_scale, "weight_scale");
  const TensorView input = call.tensor(input_scale, "input_scale");
  const w8a8_utils::NormalizedFnuz n = unlocked([&] {
    return w8a8_utils::normalize_e4m3fn_to_e4m3fnuz(codes, scale, input, call.context());
  });
  return nb::make_tuple(call.give(n.weight), call.give(n.weight_scale), call.give(n.input_scale));
}

}  // namespace

void bind_w8a8(nb::module_& m) {
  m.def("convert_to_channelwise", channelwise, nb::arg("weight_scale"), nb::arg("logical_widths"),
        "See octavo.w8a8_utils.convert_to_channelwise.");
  m.def("requantize_with_max_scale", requantize, nb::arg("weight"), nb::arg("weight_scale"),
        nb::arg("logical_widths"), nb::arg("in_place") = false,
        "See octavo.w8a8_utils.requantize_with_max_scale.");
  m.def("per_tensor_dequantize", dequantized, nb::arg("tensor"), nb::arg("inv_scale"),
        "See octavo.w8a8_utils.per_tensor_dequantize.");
  m.def("all_close_1d", all_close, nb::arg("x"), "See octavo.w8a8_utils.all_close_1d.");
  m.def("normalize_e4m3fn_to_e4m3fnuz", normalized, nb::arg("weight"), nb::arg("weight_scale"),
        nb::arg("input_scale").none() = nb::none(),
        "See octavo.w8a8_utils.normalize_e4m3fn_to_e4m3fnuz.");
  m.def("cutlass_fp8_supported", &w8a8_utils::cutlass_fp8_supported,
        "Whether fp8 products for a GPU are built and the GPU is there.");
  m.def("cutlass_block_fp8_supported", &w8a8_utils::cutlass_block_fp8_supported,
        "The same for block scales.");
  m.def("cutlass_group_gemm_supported", &w8a8_utils::cutlass_group_gemm_supported,
        "The same for grouped products.");
  m.def("sparse_cutlass_supported", &w8a8_utils::sparse_cutlass_supported,
        "The same for sparse products; Octavo has none.");
}

}  // namespace octavo::python
