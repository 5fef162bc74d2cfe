/* SPDX-License-Identifier: Apache-2.0 */
/* What would run, and what is there. */
#include "expect.h"

/* Exactly one candidate is chosen, and the text names it. */
static void expect_explained(octavo_explanation* explanation) {
  octavo_explanation_info info = octavo_explanation_info_init();
  int chosen = 0;
  CHECK(octavo_explanation_describe(explanation, &info));
  EXPECT(info.candidates >= 2 && info.executor[0] != '\0');
  for (int64_t i = 0; i < info.candidates; ++i) {
    octavo_candidate_info candidate = octavo_candidate_info_init();
    CHECK(octavo_explanation_candidate(explanation, i, &candidate));
    EXPECT(candidate.reason[0] != '\0');
    if (candidate.chosen == 0) continue;
    ++chosen;
    EXPECT(candidate.accepts == 1 && strstr(info.text, candidate.backend) != NULL);
  }
  EXPECT(chosen == 1);
  octavo_explanation_release(octavo_explanation_retain(explanation));
  octavo_explanation_release(explanation);
}

static void problems(void) {
  const int8_t codes[16] = {0};
  const int64_t matrix[] = {4, 4}, batch[] = {2, 2, 4}, stack[] = {2, 4, 2};
  const octavo_view view = octavo_view_of(codes, OCTAVO_INT8, 2, matrix);
  const octavo_view batch_view = octavo_view_of(codes, OCTAVO_INT8, 3, batch);
  const octavo_view stack_view = octavo_view_of(codes, OCTAVO_INT8, 3, stack);
  const octavo_operand a = operand_of(&view), b = operand_of(&batch_view);
  const octavo_operand c = operand_of(&stack_view);
  octavo_explanation* explanation = NULL;
  CHECK(octavo_scaled_mm_explain(&a, &a, NULL, NULL, &explanation));
  expect_explained(explanation);
  CHECK(octavo_grouped_mm_explain(&b, &c, NULL, NULL, &explanation));
  expect_explained(explanation);
  CHECK(octavo_line_explain("scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel 16x64x32", NULL, NULL,
                            &explanation));
  expect_explained(explanation);
}

static void machine(void) {
  int64_t count = 0;
  const char* cpu = NULL;
  octavo_backend_info backend = octavo_backend_info_init();
  octavo_cpu_feature_info feature = octavo_cpu_feature_info_init();
  CHECK(octavo_backend_count(&count));
  CHECK(octavo_backend_describe(count - 1, &backend));
  EXPECT(strcmp(backend.name, "reference") == 0 && backend.usable == 1);
  EXPECT(backend.unavailable[0] == '\0' && backend.summary[0] != '\0');
  CHECK(octavo_cpu_feature_count(&count));
  for (int64_t i = 0; i < count; ++i) CHECK(octavo_cpu_feature_describe(i, &feature));
  CHECK(octavo_cpu_name(&cpu));
  EXPECT(cpu != NULL && octavo_executor_reason()[0] != '\0' && octavo_version()[0] != '\0');
}

void test_explanations(void) {
  problems();
  machine();
}
