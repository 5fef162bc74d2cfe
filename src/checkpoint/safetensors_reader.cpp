// SPDX-License-Identifier: Apache-2.0
// Opening a file and reading its tensors.
#include <algorithm>
#include <array>
#include <functional>

#include "checkpoint/file.hpp"
#include "checkpoint/impl.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

// Equal characters at both ends: dotted names differ in the middle or by a typing error.
std::size_t likeness(std::string_view a, std::string_view b) noexcept {
  const std::size_t shorter = std::min(a.size(), b.size());
  const auto head =
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(shorter), b.begin());
  const auto front = static_cast<std::size_t>(head.first - a.begin());
  const auto tail = std::mismatch(
      a.rbegin(), a.rbegin() + static_cast<std::ptrdiff_t>(shorter - front), b.rbegin());
  return front + static_cast<std::size_t>(tail.first - a.rbegin());
}

template <class Names, class Project>
std::string nearest_among(const Names& names, Project project, std::string_view name) {
  std::string_view best;
  std::size_t most = 0;
  for (const auto& each : names) {
    const std::string_view candidate = std::invoke(project, each);
    const std::size_t score = likeness(candidate, name);
    if (score > most) {
      most = score;
      best = candidate;
    }
  }
  return most == 0 ? "" : fmt::format(" (nearest: {})", in_quotes(best));
}

Header read_header(const InputFile& file) {
  const Source source{file.path(), file.bytes()};
  std::array<char, kLengthBytes> length{};
  if (file.bytes() >= static_cast<std::int64_t>(kLengthBytes)) {
    file.read(0, std::as_writable_bytes(std::span(length)));
  }
  std::string text(header_bytes({length.data(), length.size()}, source), '\0');
  file.read(kLengthBytes, std::as_writable_bytes(std::span(text)));
  return parse_header(text, source);
}

std::span<std::byte> memory(const Tensor& tensor) {
  const auto bytes = tensor.numel() * element_bytes(tensor.dtype());
  return {tensor.data_as<std::byte>(), static_cast<std::size_t>(bytes)};
}

}  // namespace

namespace checkpoint {

std::string nearest_name(const Header& header, std::string_view name) {
  return nearest_among(header.entries, &TensorEntry::name, name);
}

std::string nearest_name(const std::vector<std::string>& names, std::string_view name) {
  return nearest_among(names, std::identity(), name);
}

}  // namespace checkpoint

const TensorEntry& Checkpoint::Impl::entry(const char* operation, std::string_view name) const {
  const TensorEntry* found = header.find(name);
  if (found == nullptr) {
    refuse(Code::invalid_argument, "{}: name must be a tensor of file {}; got {}{}", operation,
           in_quotes(file.path()), in_quotes(name), nearest_name(header, name));
  }
  return *found;
}

const QuantizationConfig& Checkpoint::Impl::config() const {
  const std::lock_guard lock(config_mutex_);
  throw_if_failed(config_refusal_);
  if (config_ != nullptr) return *config_;
  const auto text = header.metadata.find(kConfigKey);
  try {
    config_ = text == header.metadata.end()
                  ? std::make_unique<const QuantizationConfig>()
                  : std::make_unique<const QuantizationConfig>(text->second);
  } catch (const Error& error) {
    config_refusal_ = error.status();
    throw;
  }
  return *config_;
}

const std::vector<TensorEntry>& Checkpoint::entries() const noexcept {
  return impl_->header.entries;
}

const std::map<std::string, std::string>& Checkpoint::metadata() const noexcept {
  return impl_->header.metadata;
}

std::int64_t Checkpoint::file_bytes() const noexcept { return impl_->file.bytes(); }

bool Checkpoint::contains(std::string_view name) const noexcept {
  return impl_->header.find(name) != nullptr;
}

Tensor Checkpoint::tensor(std::string_view name) const {
  return at_edge("Checkpoint::tensor", [&] {
    const TensorEntry& e = impl_->entry("Checkpoint::tensor", name);
    const DType dtype = dtype_of_name(e.dtype);
    if (dtype == DType::undefined) {
      refuse(Code::unsupported,
             "Checkpoint::tensor: tensor {}.dtype must be one that Octavo carries; got {}: read "
             "its bytes with bytes()",
             in_quotes(name), e.dtype);
    }
    if (e.shape.size() > static_cast<std::size_t>(kMaxRank)) {
      refuse(Code::unsupported,
             "Checkpoint::tensor: tensor {}.shape must have at most {} dimensions; got {}: read "
             "its bytes with bytes()",
             in_quotes(name), kMaxRank, e.shape.size());
    }
    const Tensor result = Tensor::empty(dtype, e.shape);
    impl_->file.read(impl_->header.data_begin + e.begin, memory(result));
    return result;
  });
}

std::vector<std::byte> Checkpoint::bytes(std::string_view name) const {
  return at_edge("Checkpoint::bytes", [&] {
    const TensorEntry& e = impl_->entry("Checkpoint::bytes", name);
    std::vector<std::byte> result(static_cast<std::size_t>(e.end - e.begin));
    impl_->file.read(impl_->header.data_begin + e.begin, result);
    return result;
  });
}

Checkpoint open_checkpoint(const std::string& path) {
  return at_edge("open_checkpoint", [&] {
    InputFile file(path);
    Header header = read_header(file);
    return Checkpoint(std::make_shared<const Checkpoint::Impl>(std::move(file), std::move(header)));
  });
}

}  // namespace octavo
