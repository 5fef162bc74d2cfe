// SPDX-License-Identifier: Apache-2.0
// Codes of 8 bits: through a table, in place (MapProblem), and scales out of PyTorch's
// SWIZZLE_32_4_4 (UnswizzleProblem). A thread a code.
//
//     codes[i, j] = table[codes[i, j]]
//     to[r, c] = tiles[tile * 512 + r % 32 * 16 + r / 32 % 4 * 4 + c % 4]
#pragma once

#include "backends/cuda/kernels/passes/places.hpp"
#include "core/data/code_table.hpp"

namespace octavo::cuda {

/// The table lies in shared memory as words: threads look different codes up at once.
struct MapKernel {
  struct Params {
    MatrixView codes;
    Plane plane;
    CodeTable table;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 256;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::uint32_t table = m.shared_base();
    if (m.tid() < kSharedBytes / 4) {
      std::uint32_t word = 0;
      for (std::uint32_t byte = 0; byte < 4; ++byte)
        word |= std::uint32_t{p.table[m.tid() * 4 + byte]} << (8 * byte);
      m.store_shared(table + m.tid() * 4, word);
    }
    m.sync_named(1, kThreads);
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t j) {
      auto* code = static_cast<std::uint8_t*>(p.codes.data) + i * p.codes.strides[0] +
                   j * p.codes.strides[1];
      const std::uint32_t from = m.load_global(static_cast<const std::uint8_t*>(code));
      const auto word = m.template load_shared<std::uint32_t>(table + from / 4 * 4);
      m.store_global(code, static_cast<std::uint8_t>(word >> (from % 4 * 8)));
    });
  }
};

struct UnswizzleKernel {
  struct Params {
    const void* tiles = nullptr;
    MatrixView to;
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::int64_t across = (p.plane.columns + 3) / 4;
    each_place(m, kThreads, p.plane, [&](std::int64_t r, std::int64_t c) {
      const std::int64_t tile = r / 128 * across + c / 4;
      const std::int64_t from = tile * 512 + r % 32 * 16 + r / 32 % 4 * 4 + c % 4;
      m.store_global(
          static_cast<std::uint8_t*>(p.to.data) + r * p.to.strides[0] + c * p.to.strides[1],
          m.load_global(static_cast<const std::uint8_t*>(p.tiles) + from));
    });
  }
};

}  // namespace octavo::cuda
