// SPDX-License-Identifier: Apache-2.0
// Work on a file in pieces that several threads take in order, while the operating system reads the
// next ones.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace octavo::checkpoint {

class InputFile;

/// Reads some bytes of the input and writes what becomes of them. Pieces run in any order and at
/// the same time, and what one writes no other does.
struct Piece {
  std::string_view name{};           ///< of the tensor
  const InputFile* input = nullptr;  ///< null: nothing to read
  std::int64_t offset = 0, bytes = 0;
  std::function<void()> run;
};

/// Runs all pieces on up to `threads` threads, the caller's among them, which calls `done` with the
/// name of the tensor that it was at and the bytes of input that have been dealt with. What the
/// first failing piece, or `done`, throws ends the others and is thrown.
void run_pieces(const std::vector<Piece>& pieces, int threads,
                const std::function<void(std::string_view, std::int64_t)>& done);

}  // namespace octavo::checkpoint
