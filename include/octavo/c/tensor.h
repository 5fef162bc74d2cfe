/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors that own their memory, and quantised matrices. */
#pragma once

#include "octavo/c/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor that the library made: row-major (a gradient: in its argument's stride order), aligned
 * to 64 bytes; or, as the result of a call with `out`, a view of the caller's memory, which then
 * has to outlive the handle. */
typedef struct octavo_tensor octavo_tensor;

/* A tensor with uninitialised elements. */
OCTAVO_C_API octavo_code octavo_tensor_create(octavo_dtype dtype, int32_t ndim,
                                              const int64_t* shape, octavo_tensor** result);
/* A row-major copy, converted to `dtype` (undefined: source's type) as section 1 of the
 * specification says. */
OCTAVO_C_API octavo_code octavo_tensor_copy(const octavo_view* source, octavo_dtype dtype,
                                            octavo_tensor** result);
/* The tensor's descriptor; its pointers are good as long as the handle. */
OCTAVO_C_API octavo_code octavo_tensor_view(const octavo_tensor* tensor, octavo_view* result);
OCTAVO_C_API octavo_tensor* octavo_tensor_retain(octavo_tensor* tensor);
OCTAVO_C_API void octavo_tensor_release(octavo_tensor* tensor);

/* A quantised matrix: codes [R, C], scales and, where asked for, zero points. One scale covers
 * grid_rows x grid_cols elements; dequantised = (code - azp) * scale. */
typedef struct octavo_quantized octavo_quantized;
#define OCTAVO_WHOLE_EXTENT INT64_MAX /* one scale covers the whole extent of that dimension */

/* A quantised matrix over memory of the caller, which has to outlive the handle. `scale` is 2-D,
 * one element for each cell of the grid; NULL: no scales. `azp` is int32 and shaped as `scale`;
 * NULL: none. */
OCTAVO_C_API octavo_code octavo_quantized_create(const octavo_view* data, const octavo_view* scale,
                                                 const octavo_view* azp, int64_t grid_rows,
                                                 int64_t grid_cols, octavo_quantized** result);

/* A slice of a quantised matrix: the same, beginning at row row0 and column col0 of the first of
 * the cells that `scale` and `azp` have. */
OCTAVO_C_API octavo_code octavo_quantized_create_slice(const octavo_view* data,
                                                       const octavo_view* scale,
                                                       const octavo_view* azp, int64_t grid_rows,
                                                       int64_t grid_cols, int64_t row0,
                                                       int64_t col0, octavo_quantized** result);

/* The parts of a quantised matrix; a part that is not there has a NULL shape, no dimensions and the
 * undefined type. Pointers are good as long as the handle. A slice is refused to a caller whose
 * struct ends before row0. */
typedef struct octavo_quantized_info {
  size_t struct_size;
  octavo_view data, scale, azp; /* codes, their scales, their zero points */
  int64_t grid_rows, grid_cols; /* of `data` under one scale */
  int64_t row0, col0;           /* of the first cell, where `data` begins */
} octavo_quantized_info;
OCTAVO_INIT_FUNCTION_(octavo_quantized_info);
OCTAVO_C_API octavo_code octavo_quantized_describe(const octavo_quantized* quantized,
                                                   octavo_quantized_info* result);
OCTAVO_C_API octavo_quantized* octavo_quantized_retain(octavo_quantized* quantized);
OCTAVO_C_API void octavo_quantized_release(octavo_quantized* quantized);

#ifdef __cplusplus
}
#endif
