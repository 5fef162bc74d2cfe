/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, tensor forms, batches and PyTorch's recipes. */
#include "expect.h"

static void list(void) {
  const int8_t x0[] = {1, 2}, x1[] = {3}; /* [2] and [1, 1] */
  const int8_t w0[] = {1, 10}, w1[] = {5, 7};
  const int64_t two[] = {2}, one_one[] = {1, 1}, two_one[] = {2, 1}, one_two[] = {1, 2};
  const float bias[] = {0.5F, 0.25F};
  const octavo_view x0_view = octavo_view_of(x0, OCTAVO_INT8, 1, two);
  const octavo_view x1_view = octavo_view_of(x1, OCTAVO_INT8, 2, one_one);
  const octavo_view w0_view = octavo_view_of(w0, OCTAVO_INT8, 2, two_one);
  const octavo_view w1_view = octavo_view_of(w1, OCTAVO_INT8, 2, one_two);
  const octavo_view bias_view = octavo_view_of(bias, OCTAVO_FLOAT32, 1, two);
  const octavo_operand a0 = operand_of(&x0_view), a1 = operand_of(&x1_view);
  const octavo_operand b0 = operand_of(&w0_view), b1 = operand_of(&w1_view);
  const octavo_operand *inputs[2], *weights[2];
  const octavo_view* biases[2] = {NULL, NULL};
  const octavo_scale scales[2] = {{0, 0, 0, NULL, 0, 0}, {OCTAVO_SCALE_NUMBER, 0, 2.0, NULL, 0, 0}};
  octavo_grouped_list_options options = octavo_grouped_list_options_init();
  octavo_tensor* results[2];
  const float want0[] = {21}, want1[] = {30.5F, 42.25F}; /* (3 * 5) * 2 + 0.5, (3 * 7) * 2 + 0.25 */

  inputs[0] = &a0;
  inputs[1] = &a1;
  weights[0] = &b0;
  weights[1] = &b1;
  biases[1] = &bias_view;
  options.biases = biases;
  options.scales_a = scales;
  CHECK(octavo_grouped_mm_list(inputs, weights, 2, &options, NULL, results));
  expect_floats(results[0], want0, 1);
  expect_floats(results[1], want1, 2);
  CHECK(octavo_grouped_mm_list(NULL, NULL, 0, NULL, NULL, NULL));
}

static void rows_cut_by_offsets(void) {
  const int8_t a[] = {1, 2, 3, 4};   /* [4, 1] */
  const int8_t b[] = {1, 2, 10, 20}; /* [2, 1, 2] */
  const int32_t ends[] = {1, 3};
  const int64_t a_shape[] = {4, 1}, b_shape[] = {2, 1, 2}, two[] = {2};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_INT8, 2, a_shape);
  const octavo_view b_view = octavo_view_of(b, OCTAVO_INT8, 3, b_shape);
  const octavo_view offs = octavo_view_of(ends, OCTAVO_INT32, 1, two);
  const octavo_operand left = operand_of(&a_view), right = operand_of(&b_view);
  octavo_grouped_mm_options options = octavo_grouped_mm_options_init();
  octavo_tensor* y = NULL;
  size_t bytes = 0;
  const float want[] = {1, 2, 20, 40, 30, 60, 0, 0};

  options.offs = &offs;
  CHECK(octavo_grouped_mm(&left, &right, &options, NULL, &y));
  expect_floats(y, want, 8);
  CHECK(octavo_grouped_mm_workspace_bytes(&left, &right, &options, NULL, &bytes));
}

static void batch(void) {
  const float a[] = {2, 3}, b[] = {5, 7}; /* [2, 1, 1] */
  const int64_t shape[] = {2, 1, 1};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_FLOAT32, 3, shape);
  const octavo_view b_view = octavo_view_of(b, OCTAVO_FLOAT32, 3, shape);
  const octavo_operand left = operand_of(&a_view), right = operand_of(&b_view);
  octavo_scaled_grouped_mm_options options = octavo_scaled_grouped_mm_options_init();
  octavo_tensor* y = NULL;
  const float want[] = {5, 10.5F};

  options.scale = octavo_scale_number(0.5);
  CHECK(octavo_scaled_grouped_mm(&left, &right, &options, NULL, &y));
  expect_floats(y, want, 2);
}

static void recipes(void) {
  const uint8_t a[] = {0x38, 0x40}; /* e4m3fn: 1, 2 */
  const uint8_t b[] = {0x38, 0x38};
  const float scale[] = {2, 0.5F};
  const int64_t row[] = {1, 2}, column[] = {2, 1}, one[] = {1}, batch_of_two[] = {2, 1, 1};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_FLOAT8_E4M3FN, 2, row);
  const octavo_view b_view = octavo_view_of(b, OCTAVO_FLOAT8_E4M3FN, 2, column);
  const octavo_view a_batch = octavo_view_of(a, OCTAVO_FLOAT8_E4M3FN, 3, batch_of_two);
  const octavo_view two_view = octavo_view_of(scale, OCTAVO_FLOAT32, 1, one);
  const octavo_view half_view = octavo_view_of(scale + 1, OCTAVO_FLOAT32, 1, one);
  octavo_recipe_scale two = {NULL, OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE}, half = two;
  octavo_functional_options options = octavo_functional_options_init();
  octavo_tensor* y = NULL;
  const float want[] = {3}, want_batch[] = {1, 4};

  two.values = &two_view;
  half.values = &half_view;
  options.output_dtype = OCTAVO_FLOAT32;
  CHECK(octavo_functional_scaled_mm(&a_view, &b_view, &two, 1, &half, 1, &options, NULL, &y));
  expect_floats(y, want, 1); /* (1 * 1 + 2 * 1) * 2 * 0.5 */
  CHECK(octavo_functional_scaled_grouped_mm(&a_batch, &a_batch, &two, 1, &half, 1, &options, NULL,
                                            &y));
  expect_floats(y, want_batch, 2);
}

void test_groups(void) {
  list();
  rows_cut_by_offsets();
  batch();
  recipes();
}
