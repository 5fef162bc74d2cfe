// SPDX-License-Identifier: Apache-2.0
// LLM.int8().
#include "octavo/llm_int8.hpp"

#include <utility>

#include "capi/operations/products.hpp"

using namespace octavo::capi;
using octavo::DType;

namespace {

using TensorSlot = Slot<octavo_tensor>;

// Outlier columns that were not looked for have no handle.
void fill_if_defined(TensorSlot& slot, octavo::Tensor& tensor) noexcept {
  if (tensor.defined()) slot.fill(std::move(tensor));
}

}  // namespace

octavo_code octavo_int8_vectorwise_quant(const octavo_view* a,
                                         const octavo_vectorwise_options* options,
                                         const octavo_context* context, octavo_tensor** codes,
                                         octavo_tensor** row_absmax, octavo_tensor** outlier_cols) {
  constexpr const char* kName = "int8_vectorwise_quant";
  return guarded(kName, [&] {
    TensorSlot to_codes({kName, "codes"}, codes);
    TensorSlot to_rows({kName, "row_absmax"}, row_absmax);
    TensorSlot to_columns({kName, "outlier_cols"}, outlier_cols);
    const Context run_on(kName, context);
    octavo::VectorwiseQuant q = octavo::int8_vectorwise_quant(
        view_from({kName, "a"}, a), options_from({kName, "options"}, options), run_on);
    to_codes.fill(std::move(q.codes));
    to_rows.fill(std::move(q.row_absmax));
    fill_if_defined(to_columns, q.outlier_cols);
  });
}

octavo_code octavo_int8_double_quant(const octavo_view* a, const octavo_vectorwise_options* options,
                                     const octavo_context* context, octavo_tensor** row_codes,
                                     octavo_tensor** col_codes, octavo_tensor** row_absmax,
                                     octavo_tensor** col_absmax, octavo_tensor** outlier_cols) {
  constexpr const char* kName = "int8_double_quant";
  return guarded(kName, [&] {
    TensorSlot to_row_codes({kName, "row_codes"}, row_codes);
    TensorSlot to_col_codes({kName, "col_codes"}, col_codes);
    TensorSlot to_rows({kName, "row_absmax"}, row_absmax);
    TensorSlot to_cols({kName, "col_absmax"}, col_absmax);
    TensorSlot to_columns({kName, "outlier_cols"}, outlier_cols);
    const Context run_on(kName, context);
    octavo::DoubleQuant q = octavo::int8_double_quant(
        view_from({kName, "a"}, a), options_from({kName, "options"}, options), run_on);
    to_row_codes.fill(std::move(q.row_codes));
    to_col_codes.fill(std::move(q.col_codes));
    to_rows.fill(std::move(q.row_absmax));
    to_cols.fill(std::move(q.col_absmax));
    fill_if_defined(to_columns, q.outlier_cols);
  });
}

octavo_code octavo_int8_linear_matmul(const octavo_view* a, const octavo_view* w,
                                      const octavo_view* out, const octavo_context* context,
                                      octavo_tensor** result) {
  constexpr const char* kName = "int8_linear_matmul";
  return guarded(kName, [&] {
    TensorSlot slot({kName, "result"}, result, out != nullptr);
    const Context run_on(kName, context);
    slot.fill(octavo::int8_linear_matmul(view_from({kName, "a"}, a), view_from({kName, "w"}, w),
                                         optional_view({kName, "out"}, out), run_on));
  });
}

octavo_code octavo_int8_mm_dequant(const octavo_view* acc, const octavo_view* row_absmax,
                                   const octavo_view* col_absmax, const octavo_view* bias,
                                   octavo_dtype out_dtype, const octavo_context* context,
                                   octavo_tensor** result) {
  constexpr const char* kName = "int8_mm_dequant";
  return guarded(kName, [&] {
    TensorSlot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::int8_mm_dequant(
        view_from({kName, "acc"}, acc), view_from({kName, "row_absmax"}, row_absmax),
        view_from({kName, "col_absmax"}, col_absmax), optional_view({kName, "bias"}, bias),
        dtype_or({kName, "out_dtype"}, out_dtype, DType::float16), run_on));
  });
}

octavo_code octavo_int8_scaled_mm(const octavo_view* a, const octavo_view* w,
                                  const octavo_view* row_absmax, const octavo_view* col_absmax,
                                  const octavo_view* bias, octavo_dtype out_dtype,
                                  const octavo_context* context, octavo_tensor** result) {
  constexpr const char* kName = "int8_scaled_mm";
  return guarded(kName, [&] {
    TensorSlot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::int8_scaled_mm(
        view_from({kName, "a"}, a), view_from({kName, "w"}, w),
        view_from({kName, "row_absmax"}, row_absmax), view_from({kName, "col_absmax"}, col_absmax),
        optional_view({kName, "bias"}, bias),
        dtype_or({kName, "out_dtype"}, out_dtype, DType::float16), run_on));
  });
}

octavo_code octavo_int8_mixed_scaled_mm(const octavo_view* a, const octavo_view* codes,
                                        const octavo_view* w, const octavo_view* row_absmax,
                                        const octavo_view* col_absmax,
                                        const octavo_mixed_scaled_mm_options* options,
                                        const octavo_context* context, octavo_tensor** result) {
  constexpr const char* kName = "int8_mixed_scaled_mm";
  return guarded(kName, [&] {
    if (result != nullptr) *result = nullptr;
    const octavo::MixedScaledMmOptions o = options_from({kName, "options"}, options);
    TensorSlot slot({kName, "result"}, result, result_optional(o.out));
    const Context run_on(kName, context);
    slot.fill(octavo::int8_mixed_scaled_mm(
        view_from({kName, "a"}, a), view_from({kName, "codes"}, codes), view_from({kName, "w"}, w),
        view_from({kName, "row_absmax"}, row_absmax), view_from({kName, "col_absmax"}, col_absmax),
        o, run_on));
  });
}

octavo_code octavo_int8_vectorwise_dequant(const octavo_view* codes, const octavo_view* row_absmax,
                                           const octavo_context* context, octavo_tensor** result) {
  constexpr const char* kName = "int8_vectorwise_dequant";
  return guarded(kName, [&] {
    TensorSlot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::int8_vectorwise_dequant(
        view_from({kName, "codes"}, codes), view_from({kName, "row_absmax"}, row_absmax), run_on));
  });
}
