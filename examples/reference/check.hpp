// SPDX-License-Identifier: Apache-2.0
// What the reference's examples say of their results.
#pragma once

#include <cstdlib>
#include <iostream>

inline void check(bool right, const char* what) {
  if (right) return;
  std::cerr << "must hold: " << what << '\n';
  std::exit(1);
}
#define CHECK(condition) check(condition, #condition)
