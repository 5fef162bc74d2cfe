/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of products and of quantisers. */
#include "expect.h"

static const int64_t kOne[] = {1}, kTwo[] = {2}, kSquare[] = {2, 2}, kRow[] = {1, 3};
static const int64_t kBatch[] = {2, 1, 1};

/* A = [[1, 2], [3, 4]] / 2, B = [[1, 2], [0, 1]], alpha = 2, grad = [[1, 2], [3, 4]] */
static void product(void) {
  const int8_t a[] = {1, 2, 3, 4}, b[] = {1, 2, 0, 1};
  const float grad[] = {1, 2, 3, 4}, bias[] = {0, 0};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_INT8, 2, kSquare);
  const octavo_view b_view = octavo_view_of(b, OCTAVO_INT8, 2, kSquare);
  const octavo_view grad_view = octavo_view_of(grad, OCTAVO_FLOAT32, 2, kSquare);
  const octavo_view bias_view = octavo_view_of(bias, OCTAVO_FLOAT32, 1, kTwo);
  const octavo_operand left = operand_of(&a_view), right = operand_of(&b_view);
  octavo_scaled_mm_options forward = octavo_scaled_mm_options_init();
  octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
  octavo_matmul_gradients d = octavo_matmul_gradients_init();
  const float want_a[] = {5, 2, 11, 4};    /* (grad B^T) * 0.5 * 2 */
  const float want_b[] = {10, 14, 14, 20}; /* ((A * 0.5)^T grad) * 2 */
  const float want_bias[] = {4, 6};        /* sums of columns */
  const float want_scale_a[] = {116};      /* (1 * 5 + 2 * 2 + 3 * 11 + 4 * 4) * 2 */
  const float want_alpha[] = {29};         /* (1 * 1 + 2 * 4 + 3 * 3 + 4 * 10) * 0.5 */
  const float plain_a[] = {10, 4, 22, 8};  /* without its own scale */

  forward.scale_a = octavo_scale_number(0.5);
  forward.alpha = octavo_scale_number(2);
  forward.bias = &bias_view;
  options.wanted =
      OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_BIAS | OCTAVO_WANT_SCALE_A | OCTAVO_WANT_ALPHA;
  CHECK(octavo_scaled_mm_vjp(&grad_view, &left, &right, &forward, &options, NULL, &d));
  EXPECT(d.scale_b == NULL && d.beta == NULL && d.c == NULL && d.scale_result == NULL);
  expect_floats(d.a, want_a, 4);
  expect_floats(d.b, want_b, 4);
  expect_floats(d.bias, want_bias, 2);
  expect_floats(d.scale_a, want_scale_a, 1);
  expect_floats(d.alpha, want_alpha, 1);

  options.wanted = OCTAVO_WANT_A;
  options.flags = OCTAVO_DEQUANTIZED_GRADIENTS | OCTAVO_FLOAT32_GRADIENTS;
  CHECK(octavo_scaled_mm_vjp(&grad_view, &left, &right, &forward, &options, NULL, &d));
  EXPECT(d.b == NULL);
  expect_floats(d.a, plain_a, 4);

  /* A failure leaves nothing behind, whatever was there. */
  d.a = (octavo_tensor*)&d;
  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_C;
  EXPECT(octavo_scaled_mm_vjp(&grad_view, &left, &right, &forward, &options, NULL, &d) ==
         OCTAVO_INVALID_ARGUMENT);
  EXPECT(d.a == NULL && d.c == NULL);
}

static void through_a_layer(void) {
  const float w[] = {3, 4}, x[] = {5, 6}, grad[] = {2}; /* [1, 2]: K = 2, N = 1 */
  const int64_t w_shape[] = {2, 1}, x_shape[] = {1, 2}, y_shape[] = {1, 1};
  const octavo_view w_view = octavo_view_of(w, OCTAVO_FLOAT32, 2, w_shape);
  const octavo_view x_view = octavo_view_of(x, OCTAVO_FLOAT32, 2, x_shape);
  const octavo_view grad_view = octavo_view_of(grad, OCTAVO_FLOAT32, 2, y_shape);
  const octavo_operand weight = operand_of(&w_view);
  octavo_packed* packed = NULL;
  octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
  octavo_matmul_gradients d = octavo_matmul_gradients_init();
  const float want_x[] = {6, 8}, want_w[] = {10, 12};

  CHECK(octavo_pack(&weight, NULL, NULL, &packed));
  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_B;
  CHECK(octavo_linear_vjp(&grad_view, &x_view, packed, NULL, &options, NULL, &d));
  expect_floats(d.a, want_x, 2);
  expect_floats(d.b, want_w, 2);
  octavo_packed_release(packed);
}

/* Two products of one element: 2 * 5 and 3 * 7, grad 1 and 10. */
static void groups(void) {
  const float a[] = {2, 3}, b[] = {5, 7}, grad[] = {1, 10}, scale[] = {0.5F};
  const int64_t cell[] = {1, 1};
  const octavo_view a3 = octavo_view_of(a, OCTAVO_FLOAT32, 3, kBatch);
  const octavo_view b3 = octavo_view_of(b, OCTAVO_FLOAT32, 3, kBatch);
  const octavo_view grad3 = octavo_view_of(grad, OCTAVO_FLOAT32, 3, kBatch);
  const octavo_view half_view = octavo_view_of(scale, OCTAVO_FLOAT32, 1, kOne);
  const octavo_operand left = operand_of(&a3), right = operand_of(&b3);
  octavo_scaled_grouped_mm_options batch = octavo_scaled_grouped_mm_options_init();
  octavo_functional_options recipes = octavo_functional_options_init();
  octavo_recipe_scale half = {NULL, OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE};
  octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
  octavo_matmul_gradients d = octavo_matmul_gradients_init(), second = d;
  const float want_a[] = {5, 70}, want_b[] = {2, 30};
  const float half_a[] = {2.5F, 35}, want_scale[] = {220}; /* 1 * 10 + 10 * 21 */
  const float want_recipe[] = {110};                       /* half of it: the other scale */

  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_B;
  CHECK(octavo_grouped_mm_vjp(&grad3, &left, &right, NULL, &options, NULL, &d));
  expect_floats(d.a, want_a, 2);
  expect_floats(d.b, want_b, 2);

  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_ALPHA;
  batch.scale = octavo_scale_number(0.5);
  CHECK(octavo_scaled_grouped_mm_vjp(&grad3, &left, &right, &batch, &options, NULL, &d));
  expect_floats(d.a, half_a, 2);
  expect_floats(d.alpha, want_scale, 1);

  half.values = &half_view;
  recipes.output_dtype = OCTAVO_FLOAT32;
  options.wanted = OCTAVO_WANT_SCALE_A;
  CHECK(octavo_functional_scaled_grouped_mm_vjp(&grad3, &a3, &b3, &half, 1, &half, 1, &recipes,
                                                &options, NULL, &d));
  expect_floats(d.scale_a, want_recipe, 1);

  /* The list: the first entry has no bias, so no gradient of one either. */
  octavo_view views[6];
  octavo_operand operands[4];
  const octavo_view *grads[2], *biases[2] = {NULL, NULL};
  const octavo_operand *inputs[2], *weights[2];
  octavo_matmul_gradients* results[2];
  octavo_grouped_list_options list = octavo_grouped_list_options_init();
  const float want_bias[] = {10};
  for (int i = 0; i < 2; ++i) {
    views[i] = octavo_view_of(a + i, OCTAVO_FLOAT32, 2, cell);
    views[2 + i] = octavo_view_of(b + i, OCTAVO_FLOAT32, 2, cell);
    views[4 + i] = octavo_view_of(grad + i, OCTAVO_FLOAT32, 2, cell);
    operands[i] = operand_of(&views[i]);
    operands[2 + i] = operand_of(&views[2 + i]);
    inputs[i] = &operands[i];
    weights[i] = &operands[2 + i];
    grads[i] = &views[4 + i];
  }
  results[0] = &d;
  results[1] = &second;
  biases[1] = &half_view;
  list.biases = biases;
  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_BIAS;
  CHECK(octavo_grouped_mm_list_vjp(grads, inputs, weights, 2, &list, &options, NULL, results));
  EXPECT(d.bias == NULL && d.scale_a == NULL);
  expect_floats(d.a, want_a, 1);
  expect_floats(second.a, want_a + 1, 1);
  expect_floats(second.bias, want_bias, 1);
  CHECK(octavo_grouped_mm_list_vjp(NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL));
}

static void recipe(void) {
  const uint8_t a[] = {0x38, 0x40}; /* e4m3fn: 1, 2 */
  const float scale[] = {2, 0.5F}, grad[] = {3};
  const int64_t row[] = {1, 2}, column[] = {2, 1}, cell[] = {1, 1};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_FLOAT8_E4M3FN, 2, row);
  const octavo_view b_view = octavo_view_of(a, OCTAVO_FLOAT8_E4M3FN, 2, column);
  const octavo_view grad_view = octavo_view_of(grad, OCTAVO_FLOAT32, 2, cell);
  const octavo_view two_view = octavo_view_of(scale, OCTAVO_FLOAT32, 1, kOne);
  const octavo_view half_view = octavo_view_of(scale + 1, OCTAVO_FLOAT32, 1, kOne);
  octavo_recipe_scale two = {NULL, OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE}, half = two;
  octavo_functional_options forward = octavo_functional_options_init();
  octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
  octavo_matmul_gradients d = octavo_matmul_gradients_init();
  const float want_a[] = {3, 6};     /* 3 * (1, 2) * 0.5 * 2 */
  const float want_scale[] = {7.5F}; /* 3 * (1 * 1 + 2 * 2) * 0.5 */

  two.values = &two_view;
  half.values = &half_view;
  forward.output_dtype = OCTAVO_FLOAT32;
  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_SCALE_A;
  CHECK(octavo_functional_scaled_mm_vjp(&grad_view, &a_view, &b_view, &two, 1, &half, 1, &forward,
                                        &options, NULL, &d));
  expect_floats(d.a, want_a, 2);
  expect_floats(d.scale_a, want_scale, 1);
}

/* int8 with the static scale 0.5: x / s = 2.5, -200, 200, so codes 2, -128, 127. */
static void learned_step(void) {
  const float x[] = {1.25F, -100, 100}, grad[] = {2, 1, 4};
  const octavo_view x_view = octavo_view_of(x, OCTAVO_FLOAT32, 2, kRow);
  const octavo_view grad_view = octavo_view_of(grad, OCTAVO_FLOAT32, 2, kRow);
  octavo_quantize_options forward = octavo_quantize_options_init();
  octavo_quantize_vjp_options options = octavo_quantize_vjp_options_init();
  octavo_quantize_gradients d = octavo_quantize_gradients_init();
  const float want_x[] = {2, 0, 0};      /* clipped elements have none */
  const float want_scale[] = {379};      /* 2 * (2 - 2.5) + 1 * -128 + 4 * 127 */
  const float want_quarter[] = {94.75F}; /* the same, times 0.25 */

  forward.granularity = OCTAVO_PER_TENSOR;
  forward.scale = octavo_scale_number(0.5);
  options.wanted = OCTAVO_WANT_X | OCTAVO_WANT_SCALE;
  CHECK(octavo_quantize_vjp(&grad_view, &x_view, &forward, &options, NULL, &d));
  expect_floats(d.x, want_x, 3);
  expect_floats(d.scale, want_scale, 1);
  options.wanted = OCTAVO_WANT_SCALE;
  options.gradient_scale = 0.25F;
  CHECK(octavo_quantize_vjp(&grad_view, &x_view, &forward, &options, NULL, &d));
  EXPECT(d.x == NULL);
  expect_floats(d.scale, want_quarter, 1);

  options.wanted = OCTAVO_WANT_X; /* straight through a computed scale */
  CHECK(octavo_quantize_vjp(&grad_view, &x_view, NULL, &options, NULL, &d));
  EXPECT(d.scale == NULL);
  expect_floats(d.x, grad, 3);
}

static void back_to_floats(void) {
  const int8_t codes[] = {2, 3, 1};
  const float scale[] = {0.5F}, grad[] = {1, 4, 0};
  const int32_t azp[] = {1};
  const int64_t cell[] = {1, 1};
  const octavo_view codes_view = octavo_view_of(codes, OCTAVO_INT8, 2, kRow);
  const octavo_view scale_view = octavo_view_of(scale, OCTAVO_FLOAT32, 2, cell);
  const octavo_view azp_view = octavo_view_of(azp, OCTAVO_INT32, 2, cell);
  const octavo_view grad_view = octavo_view_of(grad, OCTAVO_FLOAT32, 2, kRow);
  octavo_quantized* q = NULL;
  octavo_dequantize_vjp_options options = octavo_dequantize_vjp_options_init();
  octavo_dequantize_gradients d = octavo_dequantize_gradients_init();
  const float want_data[] = {0.5F, 2, 0}; /* grad * 0.5 */
  const float want_scale[] = {9};         /* 1 * (2 - 1) + 4 * (3 - 1) */
  const float want_azp[] = {-2.5F};       /* -(1 + 4) * 0.5 */

  CHECK(octavo_quantized_create(&codes_view, &scale_view, &azp_view, 1, 3, &q));
  options.wanted = OCTAVO_WANT_DATA | OCTAVO_WANT_SCALE | OCTAVO_WANT_AZP;
  CHECK(octavo_dequantize_vjp(&grad_view, q, &options, NULL, &d));
  expect_floats(d.data, want_data, 3);
  expect_floats(d.scale, want_scale, 1);
  expect_floats(d.azp, want_azp, 1);
  octavo_quantized_release(q);
}

void test_gradients(void) {
  product();
  through_a_layer();
  groups();
  recipe();
  learned_step();
  back_to_floats();
}
