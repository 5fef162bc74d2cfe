// SPDX-License-Identifier: Apache-2.0
// Fetching what is packed next while tiles multiply what was packed before.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "octavo/matrix.hpp"

namespace octavo::cpu {

/// A piece of a weight that is not packed, on its way into the second-level cache: pairs of lines,
/// one of each column or row in turn, so that no prefetcher takes them for a stream and goes on
/// where the piece ends.
class WeightAhead {
 public:
  WeightAhead() = default;
  /// Rows [k0, k1) of columns [n0, n1) of B.
  WeightAhead(const MatrixView& b, std::int64_t k0, std::int64_t k1, std::int64_t n0,
              std::int64_t n1) noexcept {
    const std::int64_t size = element_bytes(b.dtype);
    const bool along_k = std::abs(b.strides[0]) < std::abs(b.strides[1]);
    if (b.strides[along_k ? 0 : 1] != 1) return;  // neighbours are what lines are for
    first_ = static_cast<const char*>(b.at(k0 * b.strides[0] + n0 * b.strides[1]));
    runs_ = along_k ? n1 - n0 : k1 - k0;
    stride_ = b.strides[along_k ? 1 : 0] * size;
    bytes_ = (along_k ? k1 - k0 : n1 - n0) * size;
  }

  /// Pairs of lines in all.
  std::int64_t pairs() const noexcept { return runs_ * ((bytes_ + kPair - 1) / kPair); }

  /// Fetches so many more.
  void fetch(std::int64_t pairs) noexcept {
    for (; pairs > 0 && at_ < bytes_; --pairs) {
      const char* line = first_ + run_ * stride_ + at_;
      __builtin_prefetch(line, 0, 2);
      __builtin_prefetch(line + kPair / 2, 0, 2);
      if (++run_ < runs_) continue;
      run_ = 0;
      at_ += kPair;
    }
  }

 private:
  static constexpr std::int64_t kPair = 128;
  const char* first_ = nullptr;
  std::int64_t runs_ = 0, stride_ = 0, bytes_ = 0;
  std::int64_t run_ = 0, at_ = 0;
};

}  // namespace octavo::cpu
