/* SPDX-License-Identifier: Apache-2.0 */
/* Single products, scales, outputs, lent threads and workspaces. */
#include "expect.h"

static const int8_t kA[] = {1, 2, 3, 4, 5, 6}; /* [2, 3] */
static const int8_t kB[] = {1, 0, 0, 1, 1, 1}; /* [3, 2]; A @ B = {4, 5, 10, 11} */
static const int64_t kShapeA[] = {2, 3};
static const int64_t kShapeB[] = {3, 2};
static const int64_t kTwo[] = {2};
static const int64_t kSquare[] = {2, 2};

static int64_t tasks_run = 0;

static void lend(void* user, int64_t tasks, octavo_task task, void* task_context) {
  *(int64_t*)user += tasks;
  for (int64_t i = tasks; i-- > 0;) task(task_context, i);
}

static void with_scales_and_bias(void) {
  const octavo_view a_view = octavo_view_of(kA, OCTAVO_INT8, 2, kShapeA);
  const octavo_view b_view = octavo_view_of(kB, OCTAVO_INT8, 2, kShapeB);
  const octavo_operand a = operand_of(&a_view);
  const octavo_operand b = operand_of(&b_view);
  const float scale_b[] = {2, 4};
  const float bias[] = {1, -1};
  const octavo_view scale_b_view = octavo_view_of(scale_b, OCTAVO_FLOAT32, 1, kTwo);
  const octavo_view bias_view = octavo_view_of(bias, OCTAVO_FLOAT32, 1, kTwo);
  octavo_scaled_mm_options options = octavo_scaled_mm_options_init();
  octavo_tensor* y = NULL;
  const float plain[] = {4, 5, 10, 11};
  const float scaled[] = {5, 9, 11, 21};

  CHECK(octavo_scaled_mm(&a, &b, NULL, NULL, &y));
  expect_floats(y, plain, 4);

  options.scale_a = octavo_scale_number(0.5);
  options.scale_b = octavo_scale_tensor(&scale_b_view, OCTAVO_PER_CHANNEL);
  options.bias = &bias_view;
  CHECK(octavo_scaled_mm(&a, &b, &options, NULL, &y));
  expect_floats(y, scaled, 4);
}

static void into_memory_of_the_caller(void) {
  const octavo_view a_view = octavo_view_of(kA, OCTAVO_INT8, 2, kShapeA);
  const octavo_view b_view = octavo_view_of(kB, OCTAVO_INT8, 2, kShapeB);
  const octavo_operand a = operand_of(&a_view);
  const octavo_operand b = operand_of(&b_view);
  int32_t padded[] = {7, 7, 7, 7, 7, 7}; /* columns 1 and 2 of [2, 3] */
  const int64_t strides[] = {3, 1};
  octavo_view out = octavo_view_of(padded, OCTAVO_INT32, 2, kSquare);
  octavo_scaled_mm_options options = octavo_scaled_mm_options_init();
  octavo_tensor* same = NULL;
  octavo_view same_view;
  const int32_t want[] = {7, 4, 5, 7, 10, 11};

  out.strides = strides;
  out.byte_offset = sizeof(int32_t);
  options.out = &out;
  options.out_dtype = OCTAVO_INT32;
  CHECK(octavo_scaled_mm(&a, &b, &options, NULL, NULL));
  EXPECT(memcmp(padded, want, sizeof want) == 0);

  CHECK(octavo_scaled_mm(&a, &b, &options, NULL, &same));
  CHECK(octavo_tensor_view(same, &same_view));
  EXPECT(same_view.data == padded + 1 && same_view.strides[0] == 3);
  octavo_tensor_release(same);
}

static void on_lent_threads_and_memory(void) {
  const octavo_view a_view = octavo_view_of(kA, OCTAVO_INT8, 2, kShapeA);
  const octavo_view bt_view = octavo_view_of(kB, OCTAVO_INT8, 2, kShapeA); /* as [N, K] = [2, 3] */
  const octavo_operand a = operand_of(&a_view);
  const octavo_operand b = operand_of(&bt_view);
  octavo_scaled_mm_options options = octavo_scaled_mm_options_init();
  octavo_executor executor = octavo_executor_init();
  octavo_context context = octavo_context_init();
  octavo_tensor* y = NULL;
  size_t bytes = 0;
  void* memory = NULL;
  const float want[] = {1, 6, 4, 15}; /* rows of B are {1, 0, 0} and {1, 1, 1} */

  options.flags = OCTAVO_TRANS_B;
  executor.user = &tasks_run;
  executor.parallel = lend;
  executor.concurrency = 3;
  context.executor = &executor;
  CHECK(octavo_scaled_mm_workspace_bytes(&a, &b, &options, &context, &bytes));
  memory = malloc(bytes + 1);
  EXPECT(memory != NULL);
  context.workspace = memory;
  context.workspace_bytes = bytes + 1;
  CHECK(octavo_scaled_mm(&a, &b, &options, &context, &y));
  expect_floats(y, want, 4);
  free(memory);

  context.workspace = NULL;
  context.workspace_bytes = 0;
  executor.parallel = NULL; /* threads of the library's own */
  CHECK(octavo_scaled_mm(&a, &b, &options, &context, &y));
  expect_floats(y, want, 4);
}

static void quantized_packed_and_linear(void) {
  const float x[] = {127, -64, 2, 1, 127, 0}; /* [2, 3]: scales 1 */
  const float w[] = {127, 1, 0, 3, 0, 127};   /* [N, K] = [2, 3]: scales 1 */
  const int64_t by_column[] = {1, 3};
  const octavo_view x_view = octavo_view_of(x, OCTAVO_FLOAT32, 2, kShapeA);
  octavo_view w_view = octavo_view_of(w, OCTAVO_FLOAT32, 2, kShapeB);
  octavo_quantize_options per_channel = octavo_quantize_options_init();
  octavo_operand weight = octavo_operand_init();
  octavo_activation per_token = octavo_activation_init();
  octavo_activation rule = octavo_activation_init();
  octavo_pack_options pack = octavo_pack_options_init();
  octavo_packed_info info = octavo_packed_info_init();
  octavo_quantized *codes = NULL, *again = NULL;
  octavo_quantized_info parts = octavo_quantized_info_init();
  octavo_packed* packed = NULL;
  octavo_tensor* y = NULL;
  const float want[] = {16065, 635, 254, 3};

  w_view.strides = by_column; /* [K, N] */
  per_channel.granularity = OCTAVO_PER_CHANNEL;
  per_channel.side = OCTAVO_SIDE_B;
  CHECK(octavo_quantize(&w_view, &per_channel, NULL, &codes));
  weight.quantized = codes;
  pack.activation = &per_token;
  CHECK(octavo_pack(&weight, &pack, NULL, &packed));
  CHECK(octavo_packed_describe(packed, &info));
  EXPECT(info.k == 3 && info.n == 2 && info.has_activation == 1 && info.bytes > 0);
  EXPECT(strcmp(octavo_dtype_name(info.dtype), "int8") == 0);
  CHECK(octavo_packed_activation(packed, &rule));
  EXPECT(rule.granularity == OCTAVO_PER_TOKEN && rule.flags == 0);

  CHECK(octavo_linear(&x_view, packed, NULL, NULL, &y));
  expect_floats(y, want, 4);

  CHECK(octavo_unpack(packed, NULL, &again));
  CHECK(octavo_quantized_describe(again, &parts));
  EXPECT(((const int8_t*)parts.data.data)[0] == 127 && parts.data.strides[0] == 1);
  EXPECT(((const float*)parts.scale.data)[1] == 1.0F && parts.azp.shape == NULL);
  octavo_quantized_release(octavo_quantized_retain(again));
  octavo_quantized_release(again);
  octavo_quantized_release(codes);
  octavo_packed_release(packed);
}

/* Codes of the caller's, with their scales beside them. */
static void packed_with_a_scale(void) {
  const float x[] = {1, 1, 1};
  const float scale[] = {2, 4};
  const int64_t row[] = {1, 3};
  const octavo_view x_view = octavo_view_of(x, OCTAVO_FLOAT32, 2, row);
  const octavo_view b_view = octavo_view_of(kB, OCTAVO_INT8, 2, kShapeB);
  const octavo_view scale_view = octavo_view_of(scale, OCTAVO_FLOAT32, 1, kTwo);
  const octavo_operand b = operand_of(&b_view);
  octavo_pack_options options = octavo_pack_options_init();
  octavo_packed* packed = NULL;
  octavo_tensor* y = NULL;
  const float want[] = {4, 8}; /* columns of B sum to 2 */

  options.scale = octavo_scale_tensor(&scale_view, OCTAVO_PER_CHANNEL);
  CHECK(octavo_pack(&b, &options, NULL, &packed));
  CHECK(octavo_linear(&x_view, packed, NULL, NULL, &y));
  expect_floats(y, want, 2);
  octavo_packed_release(packed);
}

void test_products(void) {
  with_scales_and_bias();
  into_memory_of_the_caller();
  on_lent_threads_and_memory();
  quantized_packed_and_linear();
  packed_with_a_scale();
}
