// SPDX-License-Identifier: Apache-2.0
// What an open checkpoint holds.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/file.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/safetensors_header.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo {

struct Checkpoint::Impl {
  Impl(checkpoint::InputFile opened, checkpoint::Header parsed) noexcept
      : file(std::move(opened)), header(std::move(parsed)) {}

  /// The entry of that name. Throws Error (invalid_argument) with the nearest name.
  const TensorEntry& entry(const char* operation, std::string_view name) const;

  /// What metadata "quantization_config" declares; read at the first call, by one thread. Throws
  /// Error (corrupt_data), at every call the same.
  const checkpoint::QuantizationConfig& config() const;

  checkpoint::InputFile file;
  checkpoint::Header header;

 private:
  mutable std::mutex config_mutex_;
  mutable std::unique_ptr<const checkpoint::QuantizationConfig> config_;
  mutable Status config_refusal_;  ///< why it cannot be had
};

namespace checkpoint {

/// " (nearest: 'x')", or nothing for a file without a tensor that is alike.
std::string nearest_name(const Header& header, std::string_view name);
/// The same among those names.
std::string nearest_name(const std::vector<std::string>& names, std::string_view name);

}  // namespace checkpoint
}  // namespace octavo
