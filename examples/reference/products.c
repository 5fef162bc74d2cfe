/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's examples of C: it shows what stands between a name in brackets and its end. */
#include <stdio.h>
#include <stdlib.h>

#include "octavo/octavo.h"

#define CHECK(condition)                              \
  do {                                                \
    if (!(condition)) {                               \
      fprintf(stderr, "must hold: %s\n", #condition); \
      exit(1);                                        \
    }                                                 \
  } while (0)

static void products(void) {
  /* [octavo_view_of] */
  const int8_t x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 0, 0, 1, 1, 1};
  const int64_t x_shape[] = {2, 3}, w_shape[] = {3, 2};
  const octavo_view x_view = octavo_view_of(x, OCTAVO_INT8, 2, x_shape);
  const octavo_view w_view = octavo_view_of(w, OCTAVO_INT8, 2, w_shape);
  /* [/octavo_view_of] */
  octavo_view result;

  {
    /* [octavo_scaled_mm] */
    octavo_operand a = octavo_operand_init(), b = octavo_operand_init();
    octavo_scaled_mm_options options = octavo_scaled_mm_options_init();
    octavo_tensor* y = NULL;
    a.data = &x_view;
    b.data = &w_view;
    options.scale_a = octavo_scale_number(0.5);
    CHECK(octavo_scaled_mm(&a, &b, &options, NULL, &y) == OCTAVO_OK);
    CHECK(octavo_tensor_view(y, &result) == OCTAVO_OK);
    CHECK(((const float*)result.data)[2] == 5.0F); /* (4 + 6) * 0.5 */
    octavo_tensor_release(y);
    /* [/octavo_scaled_mm] */
  }
  {
    /* [octavo_last_error] */
    octavo_operand a = octavo_operand_init();
    octavo_tensor* y = NULL;
    a.data = &x_view; /* [2, 3] times [2, 3] */
    CHECK(octavo_scaled_mm(&a, &a, NULL, NULL, &y) == OCTAVO_INVALID_ARGUMENT && y == NULL);
    printf("%s\n", octavo_last_error());
    /* [/octavo_last_error] */
  }
  {
    /* [octavo_pack] */
    const float floats[] = {0.5F, 0.25F, -0.5F};
    const int64_t shape[] = {1, 3};
    const octavo_view row = octavo_view_of(floats, OCTAVO_FLOAT32, 2, shape);
    octavo_operand weight = octavo_operand_init();
    octavo_pack_options options = octavo_pack_options_init();
    octavo_packed* packed = NULL;
    octavo_tensor* y = NULL;
    weight.data = &w_view; /* [K, N] */
    options.scale = octavo_scale_number(2);
    CHECK(octavo_pack(&weight, &options, NULL, &packed) == OCTAVO_OK);
    CHECK(octavo_linear(&row, packed, NULL, NULL, &y) == OCTAVO_OK);
    CHECK(octavo_tensor_view(y, &result) == OCTAVO_OK);
    CHECK(((const float*)result.data)[1] == -0.5F); /* (0.25 - 0.5) * 2 */
    octavo_tensor_release(y);
    octavo_packed_release(packed);
    /* [/octavo_pack] */
  }
}

static void quantisers(void) {
  /* [octavo_quantize] */
  const float x[] = {127, 0, -127, 1, 2, 254};
  const int64_t shape[] = {2, 3};
  const octavo_view view = octavo_view_of(x, OCTAVO_FLOAT32, 2, shape);
  octavo_quantized* q = NULL;
  octavo_quantized_info info = octavo_quantized_info_init();
  CHECK(octavo_quantize(&view, NULL, NULL, &q) == OCTAVO_OK); /* int8, a scale for each row */
  CHECK(octavo_quantized_describe(q, &info) == OCTAVO_OK);
  CHECK(((const float*)info.scale.data)[1] == 2.0F && ((const int8_t*)info.data.data)[5] == 127);
  /* [/octavo_quantize] */
  {
    /* [octavo_dequantize] */
    const octavo_dtype as_default = {0, 0, 0}; /* float32 */
    octavo_tensor* values = NULL;
    octavo_view result;
    CHECK(octavo_dequantize(q, as_default, NULL, &values) == OCTAVO_OK);
    CHECK(octavo_tensor_view(values, &result) == OCTAVO_OK);
    CHECK(((const float*)result.data)[5] == 254.0F);
    octavo_tensor_release(values);
    /* [/octavo_dequantize] */
  }
  octavo_quantized_release(q);
}

static void machine(void) {
  /* [octavo_backend_describe] */
  int64_t count = 0, i;
  CHECK(octavo_backend_count(&count) == OCTAVO_OK && count > 0);
  for (i = 0; i < count; ++i) {
    octavo_backend_info info = octavo_backend_info_init();
    CHECK(octavo_backend_describe(i, &info) == OCTAVO_OK);
    printf("%s%s\n", info.name, info.usable ? "" : " (not here)");
  }
  /* [/octavo_backend_describe] */
  {
    /* [octavo_line_explain] */
    octavo_explanation* explanation = NULL;
    octavo_explanation_info info = octavo_explanation_info_init();
    CHECK(octavo_line_explain("scaled_mm int8:int8:fp32 16x64x64", NULL, NULL, &explanation) ==
          OCTAVO_OK);
    CHECK(octavo_explanation_describe(explanation, &info) == OCTAVO_OK);
    printf("%s", info.text);
    octavo_explanation_release(explanation);
    /* [/octavo_line_explain] */
  }
}

int main(void) {
  products();
  quantisers();
  machine();
  return 0;
}
