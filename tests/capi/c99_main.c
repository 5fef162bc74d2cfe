/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI from C99: every number expected here was worked out by hand. */
#include "expect.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  test_products();
  test_groups();
  test_quantizers();
  test_checkpoints(argv[1]);
  test_explanations();
  test_gradients();
  return 0;
}
