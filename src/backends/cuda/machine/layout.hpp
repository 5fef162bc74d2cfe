// SPDX-License-Identifier: Apache-2.0
// Where elements lie for Hopper's tensor cores: in shared memory, in a warpgroup's registers.
//
// A tile in shared memory is K-major, 128 bytes a row, eight rows (1024 bytes) a swizzle atom; row
// r holds its sixteen-byte piece p at place p ^ (r % 8):
//
//              bytes 0   16   32   48   64   80   96  112
//      row 0         0    1    2    3    4    5    6    7
//      row 1         1    0    3    2    5    4    7    6
//      row 2         2    3    0    1    6    7    4    5
//      ...
//
// Sums of a 64 x N product lie in 128 threads: warp w has rows 16w to 16w + 15, its lane l rows
// l / 4 and l / 4 + 8 of them, columns 2 (l % 4) and the next of every eight:
//
//      register 4j + i of lane l:  row 16w + l / 4 + 8 (i / 2), column 8j + 2 (l % 4) + i % 2
//
// mma_sync multiplies 16 rows by 8 columns in a warp, 32 bytes of K in registers of four bytes; its
// sums lie as those of warp 0 above:
//
//      register i of lane l:  A  row l / 4 + 8 (i % 2), bytes 4 (l % 4) + 16 (i / 2) on
//                             B  column l / 4,          bytes 4 (l % 4) + 16 i on
//
// All of this is held against CuTe's by tests/cuda/machine/cute_test.cpp.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

constexpr std::uint32_t kRowBytes = 128;             // of a tile in shared memory
constexpr std::uint32_t kAtomBytes = 8 * kRowBytes;  // tiles begin at multiples of it

/// Address of a byte of a tile: bits 4 to 6 are exclusive-ored with bits 7 to 9.
OCTAVO_HOST_DEVICE constexpr std::uint32_t swizzle_128(std::uint32_t address) {
  return address ^ ((address >> 7 & 7U) << 4);
}

/// Matrix descriptor of wgmma for such a tile at a shared address, from a step of 32 bytes on.
/// Bits 0-13 the address, 16-29 the leading offset (unused: a row holds all of K), 32-45 the offset
/// from eight rows to the next, each in units of 16 bytes; bits 62-63: 1 is the 128-byte swizzle.
OCTAVO_HOST_DEVICE constexpr std::uint64_t tile_descriptor(std::uint32_t address) {
  return std::uint64_t{1} << 62 | std::uint64_t{kAtomBytes / 16} << 32 | std::uint64_t{1} << 16 |
         (address & 0x3FFFFU) >> 4;
}
/// What a descriptor grows by from one step of K to the next.
constexpr std::uint64_t kDescriptorStep = kStepBytes / 16;

/// Row inside the warpgroup's 64 and column of a thread's sum `index`; thread 0 to 127.
OCTAVO_HOST_DEVICE constexpr int accumulator_row(int thread, int index) {
  return thread / 32 * 16 + thread % 32 / 4 + index / 2 % 2 * 8;
}
OCTAVO_HOST_DEVICE constexpr int accumulator_column(int thread, int index) {
  return index / 4 * 8 + thread % 4 * 2 + index % 2;
}

/// Row of A, first byte of K: of register `index`, 0 to 3, of mma_sync's a.
OCTAVO_HOST_DEVICE constexpr int fragment_a_row(int lane, int index) {
  return lane / 4 + index % 2 * 8;
}
OCTAVO_HOST_DEVICE constexpr int fragment_a_byte(int lane, int index) {
  return lane % 4 * 4 + index / 2 * 16;
}
/// Column of B, first byte of K: of register `index`, 0 or 1, of mma_sync's b.
OCTAVO_HOST_DEVICE constexpr int fragment_b_column(int lane, int /*index*/) { return lane / 4; }
OCTAVO_HOST_DEVICE constexpr int fragment_b_byte(int lane, int index) {
  return lane % 4 * 4 + index * 16;
}

}  // namespace octavo::cuda
