// SPDX-License-Identifier: Apache-2.0
// The chunk of K that an ascending sum is in (MatmulOptions::k_chunks, specification section 3):
// KChunks without its divisions, since a kernel keeps sums in registers beside it.
//
//   chunk c of n ends at unit  units * (c + 1) / n  =  (units / n) * (c + 1) + carries of units % n
#pragma once

#include <cstdint>

#include "backends/cuda/machine/types.hpp"
#include "octavo/shard.hpp"

namespace octavo::cuda {

/// For a kernel's parameters.
struct ChunkSteps {
  std::int64_t inner = 0, count = 1;  ///< of KChunks
  std::int64_t unit = 0;              ///< elements
  std::int64_t each = 0, left = 0;    ///< elements of every chunk; units that not all of them have

  ChunkSteps() = default;
  /// Of KChunks, which a kernel does not see.
  template <class Chunks>
  explicit ChunkSteps(const Chunks& chunks) noexcept : inner(chunks.inner), count(chunks.count) {
    unit = shard_unit(inner, chunks.cell);
    const std::int64_t units = inner / unit + (inner % unit != 0 ? 1 : 0);
    each = units / count * unit;
    left = units % count;
  }
  OCTAVO_HOST_DEVICE bool several() const { return count > 1; }
};

class ChunkAtHand {
 public:
  /// The one that has element 0.
  OCTAVO_HOST_DEVICE explicit ChunkAtHand(const ChunkSteps& steps) : steps_(steps) { pass(0); }

  OCTAVO_HOST_DEVICE std::int64_t end() const { return end_ < steps_.inner ? end_ : steps_.inner; }
  /// Goes on to the chunk that has k < inner. Whether that is another one than before.
  OCTAVO_HOST_DEVICE bool pass(std::int64_t k) {
    if (k < end_ || k >= steps_.inner) return false;
    while (end_ <= k) {
      end_ += steps_.each;
      carried_ += steps_.left;
      if (carried_ < steps_.count) continue;
      carried_ -= steps_.count;
      end_ += steps_.unit;
    }
    return true;
  }

 private:
  const ChunkSteps& steps_;
  std::int64_t end_ = 0;  // perhaps in the middle of a last unit, beyond inner
  std::int64_t carried_ = 0;
};

}  // namespace octavo::cuda
