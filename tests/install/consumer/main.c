/* SPDX-License-Identifier: Apache-2.0 */
/* The same from C. */
#include <octavo/octavo.h>
#include <stdio.h>

int main(void) {
  const int8_t a[] = {1, 2, 3}, b[] = {4, 5, 6}; /* [1, 3] and [3, 1] */
  const int64_t row[] = {1, 3}, column[] = {3, 1};
  const octavo_view a_view = octavo_view_of(a, OCTAVO_INT8, 2, row);
  const octavo_view b_view = octavo_view_of(b, OCTAVO_INT8, 2, column);
  octavo_operand left = octavo_operand_init(), right = octavo_operand_init();
  octavo_tensor* y = NULL;
  octavo_view out;
  left.data = &a_view;
  right.data = &b_view;
  if (octavo_scaled_mm(&left, &right, NULL, NULL, &y) != OCTAVO_OK ||
      octavo_tensor_view(y, &out) != OCTAVO_OK || *(const float*)out.data != 32.0F) {
    fprintf(stderr, "%s\n", octavo_last_error());
    return 1;
  }
  octavo_tensor_release(y);
  return octavo_scaled_mm(&left, NULL, NULL, NULL, &y) == OCTAVO_INVALID_ARGUMENT ? 0 : 1;
}
