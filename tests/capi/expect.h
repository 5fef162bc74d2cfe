/* SPDX-License-Identifier: Apache-2.0 */
/* What the C99 tests are written in. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "octavo/octavo.h"

/* Ends the program where a call fails. */
#define CHECK(call)                                                                              \
  do {                                                                                           \
    const octavo_code code_ = (call);                                                            \
    if (code_ != OCTAVO_OK) {                                                                    \
      fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, octavo_code_name(code_), \
              octavo_last_error());                                                              \
      exit(1);                                                                                   \
    }                                                                                            \
  } while (0)

/* Ends the program where something is not so. */
#define EXPECT(condition)                                                       \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

/* A float32 tensor has exactly these elements; releases it. */
static inline void expect_floats(octavo_tensor* tensor, const float* want, int64_t count) {
  octavo_view view;
  int64_t elements = 1;
  CHECK(octavo_tensor_view(tensor, &view));
  for (int32_t d = 0; d < view.ndim; ++d) elements *= view.shape[d];
  EXPECT(view.dtype.code == 2 && view.dtype.bits == 32 && elements == count);
  for (int64_t i = 0; i < count; ++i) {
    const float got = ((const float*)view.data)[i];
    if (got == want[i]) continue;
    fprintf(stderr, "element %d must be %g; got %g\n", (int)i, (double)want[i], (double)got);
    exit(1);
  }
  octavo_tensor_release(tensor);
}

/* An operand of that view. */
static inline octavo_operand operand_of(const octavo_view* view) {
  octavo_operand operand = octavo_operand_init();
  operand.data = view;
  return operand;
}

/* The tests, a file each; `folder` is an empty one. */
void test_products(void);
void test_groups(void);
void test_quantizers(void);
void test_checkpoints(const char* folder);
void test_explanations(void);
void test_gradients(void);
