// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most: register-only loops of its dot-product instructions, and reads.
#pragma once

#include <cstdint>

#include "octavo/dtype.hpp"

namespace octavo::kit {

/// The instruction family that bounds a product. Codes of e4m3 have one of their own where the CPU
/// multiplies them as they are, else that of bf16.
enum class PeakKind : std::uint8_t { int8, e4m3, bf16, fp32 };
/// That of a product of such elements.
PeakKind peak_kind(DType a, DType b);

/// One measurement of a peak.
struct Peak {
  const char* instruction = "";  ///< of the fastest loop
  double gops = 0;               ///< multiplications and additions per second, all threads, in 1e9
  double per_cycle = 0;          ///< implied instructions per cycle and thread: a weak loop shows
};

/// Runs every committed loop of that kind that this CPU has for about `seconds`, on `threads`
/// threads at once; the best counts.
Peak measure_peak(PeakKind kind, int threads, double seconds);

/// The best of several vector reads over a buffer of 512 MB (2 MB pages where the system gives
/// them), in GB/s, `threads` threads reading parts of it at once.
double measure_read_bandwidth(int threads, double seconds);

}  // namespace octavo::kit
