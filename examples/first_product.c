/* SPDX-License-Identifier: Apache-2.0 */
/* The code of docs/c-api.md as a program: a test compares the two. */
#include <stdio.h>

#include "octavo/octavo.h"

int main(void) {
  /* [C-API] */
  const int8_t x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 0, 0, 1, 1, 1}; /* [2, 3] and [3, 2] */
  const int64_t x_shape[] = {2, 3}, w_shape[] = {3, 2};
  const octavo_view x_view = octavo_view_of(x, OCTAVO_INT8, 2, x_shape);
  const octavo_view w_view = octavo_view_of(w, OCTAVO_INT8, 2, w_shape);
  octavo_operand a = octavo_operand_init(), b = octavo_operand_init();
  octavo_scaled_mm_options options = octavo_scaled_mm_options_init();
  octavo_tensor* y = NULL;
  octavo_view result;

  a.data = &x_view;
  b.data = &w_view;
  options.scale_a = octavo_scale_number(0.5);
  if (octavo_scaled_mm(&a, &b, &options, NULL, &y) != OCTAVO_OK) {
    fprintf(stderr, "%s\n", octavo_last_error());
    return 1;
  }
  octavo_tensor_view(y, &result);
  printf("y[1, 0] = %g\n", (double)((const float*)result.data)[2]); /* (4 + 6) * 0.5 = 5 */
  octavo_tensor_release(y);
  /* [/C-API] */

  /* [C-API] */
  const float ones[] = {1, 1, 1, 1};
  const int64_t y_shape[] = {2, 2};
  const octavo_view grad = octavo_view_of(ones, OCTAVO_FLOAT32, 2, y_shape);
  octavo_matmul_vjp_options ask = octavo_matmul_vjp_options_init();
  octavo_matmul_gradients d = octavo_matmul_gradients_init();

  ask.wanted = OCTAVO_WANT_SCALE_A;
  if (octavo_scaled_mm_vjp(&grad, &a, &b, &options, &ask, NULL, &d) != OCTAVO_OK) {
    fprintf(stderr, "%s\n", octavo_last_error());
    return 1;
  }
  octavo_tensor_view(d.scale_a, &result);
  printf("dy/dscale_a = %g\n", (double)((const float*)result.data)[0]); /* 4 + 5 + 10 + 11 = 30 */
  octavo_tensor_release(d.scale_a); /* everything else in d is NULL */
  /* [/C-API] */
  return 0;
}
