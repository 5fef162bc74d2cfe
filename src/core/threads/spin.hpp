// SPDX-License-Identifier: Apache-2.0
// Looking for a moment before sleeping.
#pragma once

#include <atomic>
#include <chrono>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace octavo {

inline void pause_briefly() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Looks until `found` or the end of the time: whether it was found.
template <class Found>
bool spin(std::chrono::steady_clock::time_point end, const Found& found) noexcept {
  do {
    for (int look = 0; look < 16; ++look) {
      if (found()) return true;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  return found();
}

/// Returns once `reached` holds of the value: looks for `look`, then sleeps between notifications.
template <class Value, class Reached>
void wait_until(std::chrono::microseconds look, const std::atomic<Value>& value,
                const Reached& reached) noexcept {
  const auto now = [&] { return reached(value.load(std::memory_order_acquire)); };
  if (now() || spin(std::chrono::steady_clock::now() + look, now)) return;
  for (Value last = value.load(); !reached(last); last = value.load()) value.wait(last);
}

}  // namespace octavo
