// SPDX-License-Identifier: Apache-2.0
// What an open checkpoint holds.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/gguf/gguf_tensors.hpp"
#include "checkpoint/models/model_class.hpp"
#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/safetensors/header.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo {

struct Checkpoint::Impl {
  /// Throws Error, as open_checkpoint. `model_for`: not null, a GGUF file is taken for the folder
  /// that it was made of, and this operation begins sentences about what has no place there.
  Impl(const std::string& path, const std::string& layout_file, const char* model_for = nullptr,
       checkpoint::OtherBlocks others = checkpoint::OtherBlocks::as_they_are);

  /// The entry of that name. Throws Error (invalid_argument) with the nearest name.
  const TensorEntry& entry(const char* operation, std::string_view name) const;
  /// Fills `into` with a tensor's bytes from `offset` on. Throws Error (io).
  void read(const TensorEntry& entry, std::int64_t offset, std::span<std::byte> into) const;
  /// How many bytes of tensors have been read.
  std::int64_t bytes_read() const noexcept { return bytes_read_.load(std::memory_order_relaxed); }
  /// The text of a file beside the tensors, such as config.json; nothing where there is none.
  /// Throws Error (io, corrupt_data: too long).
  std::optional<std::string> text(std::string_view name) const;

  /// What the first declaration declares; read at the first call, by one thread. Throws Error
  /// (corrupt_data: malformed, or another one says something else), at every call the same.
  const checkpoint::QuantizationConfig& config() const;
  /// What is known of the model by the layout file, else by config.json; read at the first call.
  /// Throws Error (io, corrupt_data, invalid_argument).
  const checkpoint::ModelClass& model() const;

  /// What says that fp8 tensors are codes (plain_fp8.hpp); looked for at the first call.
  const std::string& fp8_codes_by() const;

  std::string path;         ///< as opened
  std::string folder;       ///< empty where a file was opened
  std::string beside;       ///< the folder that the files lie in
  std::string index;        ///< the name of the index; empty: none
  std::string layout_file;  ///< the user's; empty: none
  std::vector<checkpoint::InputFile> inputs;
  std::vector<std::int64_t> data_begin;  ///< of each file
  std::vector<CheckpointFile> files;
  std::unique_ptr<const checkpoint::GgufTensors> gguf;  ///< null: safetensors
  /// Files of the folder that a GGUF file is taken for.
  std::map<std::string, std::string, std::less<>> made_texts;
  checkpoint::Header header;  ///< of all files as if they were one
  std::vector<Declaration> declarations;
  std::vector<std::string> findings;  ///< where index and files disagree

 private:
  void add_file(const std::string& name, checkpoint::Header read);
  checkpoint::Header read_file(const checkpoint::InputFile& file, const char* model_for,
                               checkpoint::OtherBlocks others);

  mutable std::atomic<std::int64_t> bytes_read_ = 0;
  mutable std::mutex config_mutex_;
  mutable std::unique_ptr<const checkpoint::QuantizationConfig> config_;
  mutable Status config_refusal_;  ///< why it cannot be had
  mutable std::optional<checkpoint::ModelClass> model_;
  mutable std::optional<std::string> fp8_codes_by_;
};

namespace checkpoint {

/// " (nearest: 'x')", or nothing for a file without a tensor that is alike.
std::string nearest_name(const Header& header, std::string_view name);
/// The same among those names.
std::string nearest_name(const std::vector<std::string>& names, std::string_view name);

}  // namespace checkpoint
}  // namespace octavo
