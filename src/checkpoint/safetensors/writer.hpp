// SPDX-License-Identifier: Apache-2.0
// Writing a safetensors file whose tensors come in any order and in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors/file.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A tensor of a file to be.
struct TensorShape {
  std::string name;
  std::string dtype;  ///< safetensors spelling
  std::vector<std::int64_t> shape;
};

/// Where everything goes in a file: its header, and the offsets of its tensors.
struct FileLayout {
  std::string header;                ///< JSON, padded: data begin at a multiple of 4096
  std::vector<std::int64_t> begins;  ///< offset of each tensor in the file, in the caller's order
  std::vector<std::int64_t> ends;
  std::int64_t bytes = 0;     ///< of the file
  std::string start() const;  ///< what stands before the tensors: the header and its length
};

/// Throws Error (invalid_argument: names, types, shapes, too much).
FileLayout lay_out(std::span<const TensorShape> tensors,
                   const std::map<std::string, std::string>& metadata);

/// A file that appears whole or not at all. Pieces may be written by several threads at once.
class SafetensorsOutput {
 public:
  /// Reserves the disk space, or, where `sparse`, none: bytes that are zero are then left as holes.
  /// Throws Error (invalid_argument, io).
  SafetensorsOutput(const std::string& path, FileLayout layout, bool sparse,
                    TemporaryListener listener);

  /// Writes bytes of a tensor, from its `offset` on. Throws Error (io).
  void write(std::size_t tensor, std::int64_t offset, std::span<const std::byte> bytes);
  void commit() { file_.commit(); }
  const FileLayout& layout() const noexcept { return layout_; }

 private:
  FileLayout layout_;
  AtomicFile file_;
  bool sparse_;
};

/// octavo::write_safetensors, with a listener.
void write_file(const std::string& path, std::vector<TensorToWrite> tensors,
                const std::map<std::string, std::string>& metadata, TemporaryListener listener);

}  // namespace octavo::checkpoint
