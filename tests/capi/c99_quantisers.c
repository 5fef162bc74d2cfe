/* SPDX-License-Identifier: Apache-2.0 */
/* Quantisers, owned tensors, LLM.int8. */
#include "expect.h"

static const int64_t kShape[] = {2, 3};
static const float kX[] = {254, -64, 2, 1, 127, 0}; /* absmax by row: 254, 127 */

static void by_row_and_back(void) {
  const octavo_view x = octavo_view_of(kX, OCTAVO_FLOAT32, 2, kShape);
  octavo_quantized *q = NULL, *scales = NULL;
  octavo_quantized_info parts = octavo_quantized_info_init();
  octavo_tensor* y = NULL;
  const int8_t codes[] = {127, -32, 1, 1, 127, 0};

  CHECK(octavo_quantize(&x, NULL, NULL, &q));
  CHECK(octavo_quantized_describe(q, &parts));
  EXPECT(memcmp(parts.data.data, codes, sizeof codes) == 0);
  EXPECT(((const float*)parts.scale.data)[0] == 2 && ((const float*)parts.scale.data)[1] == 1);
  EXPECT(parts.grid_rows == 1 && parts.grid_cols == OCTAVO_WHOLE_EXTENT);
  CHECK(octavo_dequantize(q, OCTAVO_FLOAT32, NULL, &y));
  expect_floats(y, kX, 6);

  CHECK(octavo_compute_scale(&x, NULL, NULL, &scales));
  CHECK(octavo_quantized_describe(scales, &parts));
  EXPECT(parts.data.shape == NULL && ((const float*)parts.scale.data)[0] == 2);
  octavo_quantized_release(q);
  octavo_quantized_release(scales);
}

static void into_memory_of_the_caller(void) {
  const octavo_view x = octavo_view_of(kX, OCTAVO_FLOAT32, 2, kShape);
  const int64_t per_row[] = {2, 1};
  uint8_t codes[6];
  float scales[2];
  int32_t azp[2];
  const octavo_view codes_view = octavo_view_of(codes, OCTAVO_UINT8, 2, kShape);
  const octavo_view scales_view = octavo_view_of(scales, OCTAVO_FLOAT32, 2, per_row);
  const octavo_view azp_view = octavo_view_of(azp, OCTAVO_INT32, 2, per_row);
  octavo_quantize_options options = octavo_quantize_options_init();
  octavo_quantized* q = NULL;

  options.dtype = OCTAVO_UINT8;
  options.flags = OCTAVO_AZP;
  CHECK(octavo_quantized_create(&codes_view, &scales_view, &azp_view, 1, OCTAVO_WHOLE_EXTENT, &q));
  CHECK(octavo_quantize_into(&x, &options, q, NULL, NULL));
  /* Row 1 spans [0, 127]: s = 127 / 255, azp 0, codes RNE(x / s). */
  EXPECT(azp[1] == 0 && codes[3] == 2 && codes[4] == 255 && codes[5] == 0);
  octavo_quantized_release(q);
}

static void mxfp8(void) {
  float x[32] = {0};
  const int64_t shape[] = {1, 32};
  const octavo_view view = octavo_view_of(x, OCTAVO_FLOAT32, 2, shape);
  octavo_quantized* q = NULL;
  octavo_quantized_info parts = octavo_quantized_info_init();

  x[0] = 1024; /* 2^10: scale 2^(10 - 8), code 256 = 0x78 */
  CHECK(octavo_quantize_mxfp8(&view, OCTAVO_FLOAT8_E4M3FN, OCTAVO_SIDE_A, NULL, &q));
  CHECK(octavo_quantized_describe(q, &parts));
  EXPECT(((const uint8_t*)parts.data.data)[0] == 0x78);
  EXPECT(((const uint8_t*)parts.scale.data)[0] == 127 + 2);
  octavo_quantized_release(q);
}

static void tensors(void) {
  octavo_tensor *t = NULL, *copy = NULL;
  octavo_view view;
  octavo_dtype half;
  CHECK(octavo_tensor_create(OCTAVO_INT32, 2, kShape, &t));
  CHECK(octavo_tensor_view(t, &view));
  EXPECT(view.ndim == 2 && view.shape[1] == 3 && view.strides[0] == 3 && view.dtype.bits == 32);
  for (int i = 0; i < 6; ++i) ((int32_t*)view.data)[i] = i;
  CHECK(octavo_tensor_copy(&view, OCTAVO_FLOAT32, &copy));
  const float want[] = {0, 1, 2, 3, 4, 5};
  expect_floats(copy, want, 6);
  octavo_tensor_release(octavo_tensor_retain(t));
  octavo_tensor_release(t);
  octavo_tensor_release(NULL);
  CHECK(octavo_dtype_from_name("bf16", &half));
  EXPECT(strcmp(octavo_dtype_name(half), "bfloat16") == 0 && octavo_qmax(OCTAVO_INT8) == 127);
}

static void llm_int8(void) {
  const float a[] = {127, -64, 9, 2, 127, 1};
  const int8_t w[] = {1, 1, 2};
  const float unit[] = {127, 127}; /* statistics whose scale is 1 */
  const int64_t w_shape[] = {1, 3}, one[] = {1}, two[] = {2};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_FLOAT32, 2, kShape);
  const octavo_view w_view = octavo_view_of(w, OCTAVO_INT8, 2, w_shape);
  const octavo_view rows = octavo_view_of(unit, OCTAVO_FLOAT32, 1, two);
  const octavo_view cols = octavo_view_of(unit, OCTAVO_FLOAT32, 1, one);
  octavo_vectorwise_options options = octavo_vectorwise_options_init();
  octavo_mixed_scaled_mm_options mixed = octavo_mixed_scaled_mm_options_init();
  octavo_tensor *codes, *row_absmax, *outliers, *col_codes, *col_absmax, *acc, *y;
  octavo_view codes_view, outliers_view, acc_view;
  const float want_rows[] = {127, 127}, want[] = {81, 131}, want_cols[] = {127, 127, 9};

  CHECK(octavo_int8_vectorwise_quant(&a_view, NULL, NULL, &codes, &row_absmax, &outliers));
  EXPECT(outliers == NULL); /* not looked for */
  expect_floats(row_absmax, want_rows, 2);
  CHECK(octavo_tensor_view(codes, &codes_view));
  CHECK(octavo_int8_linear_matmul(&codes_view, &w_view, NULL, NULL, &acc));
  CHECK(octavo_tensor_view(acc, &acc_view));
  EXPECT(((const int32_t*)acc_view.data)[0] == 81 && ((const int32_t*)acc_view.data)[1] == 131);
  CHECK(octavo_int8_mm_dequant(&acc_view, &rows, &cols, NULL, OCTAVO_FLOAT32, NULL, &y));
  expect_floats(y, want, 2);
  CHECK(octavo_int8_scaled_mm(&codes_view, &w_view, &rows, &cols, NULL, OCTAVO_FLOAT32, NULL, &y));
  expect_floats(y, want, 2);
  CHECK(octavo_int8_vectorwise_dequant(&codes_view, &rows, NULL, &y));
  expect_floats(y, a, 6);
  octavo_tensor_release(acc);
  octavo_tensor_release(codes);

  options.threshold = 100; /* columns 0 and 1 */
  CHECK(octavo_int8_vectorwise_quant(&a_view, &options, NULL, &codes, &row_absmax, &outliers));
  CHECK(octavo_tensor_view(codes, &codes_view));
  CHECK(octavo_tensor_view(outliers, &outliers_view));
  EXPECT(outliers_view.shape[0] == 2 && ((const int64_t*)outliers_view.data)[1] == 1);
  EXPECT(((const int8_t*)codes_view.data)[0] == 0);
  mixed.outlier_cols = &outliers_view;
  CHECK(octavo_int8_mixed_scaled_mm(&a_view, &codes_view, &w_view, &rows, &cols, &mixed, NULL, &y));
  octavo_tensor_release(y);
  octavo_tensor_release(codes);
  octavo_tensor_release(row_absmax);
  octavo_tensor_release(outliers);

  CHECK(octavo_int8_double_quant(&a_view, NULL, NULL, &codes, &col_codes, &row_absmax, &col_absmax,
                                 &outliers));
  expect_floats(row_absmax, want_rows, 2);
  expect_floats(col_absmax, want_cols, 3);
  octavo_tensor_release(codes);
  octavo_tensor_release(col_codes);
}

void test_quantizers(void) {
  by_row_and_back();
  into_memory_of_the_caller();
  mxfp8();
  tensors();
  llm_int8();
}
