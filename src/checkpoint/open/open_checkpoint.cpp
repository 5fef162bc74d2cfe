// SPDX-License-Identifier: Apache-2.0
// Opening a file and reading its tensors.
#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/gguf/gguf_model.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/open/plain_fp8.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// The file of tensors of a folder that is made of one file.
constexpr const char* kModelFile = "model.safetensors";

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

Checkpoint::Impl::Impl(const std::string& opened, const std::string& own_layout,
                       const char* model_for, OtherBlocks others)
    : path(opened), layout_file(own_layout) {
  const Layout layout = layout_of(path);
  folder = layout.folder;
  beside = layout.beside;
  index = layout.index;
  for (const std::string& name : layout.files) {
    InputFile& file = inputs.emplace_back(
        folder.empty() ? path : (std::filesystem::path(beside) / name).string());
    Header read = read_file(file, model_for, others);
    add_file(folder.empty() || !gguf ? name : kModelFile, std::move(read));
  }
  findings.insert(findings.begin(), layout.findings.begin(), layout.findings.end());
  for (std::string& finding : settle(layout, header.entries)) {
    findings.push_back(std::move(finding));
  }
  const std::size_t twin = header.index_names();
  if (twin != header.entries.size()) {
    refuse(
        Code::corrupt_data, "open_checkpoint: tensor {} must be in one file; got it twice, in {}",
        in_quotes(header.entries[twin].name), in_quotes(inputs[header.entries[twin].file].path()));
  }
  // What lies beside a file of llama.cpp's says nothing of it.
  if (!gguf) declarations = find_declarations(beside, !folder.empty(), files);
}

Header Checkpoint::Impl::read_file(const InputFile& file, const char* model_for,
                                   OtherBlocks others) {
  if (!folder.empty()) return read_header(file);
  if (is_gguf(file)) {
    GgufHeader source = read_gguf_header(file);
    GgufModel model;
    if (model_for != nullptr) {
      model = gguf_model(model_for, source, file);
      made_texts = std::move(model.texts);
      findings = std::move(model.warnings);
      folder = path;
    }
    gguf = std::make_unique<const GgufTensors>(std::move(source), path, others, model.places);
    Header shown = gguf->header();
    if (model_for != nullptr) shown.metadata = {{"format", "pt"}};
    return shown;
  }
  if (path.ends_with(kGgufSuffix)) {
    refuse(Code::corrupt_data,
           "open_checkpoint: a GGUF file must begin with {}; got other bytes (file {}, offset 0)",
           in_quotes(kGgufMagic), in_quotes(path));
  }
  return read_header(file);
}

void Checkpoint::Impl::add_file(const std::string& name, Header read) {
  const std::size_t number = files.size();
  files.push_back({name, inputs.back().bytes(), read.metadata});
  data_begin.push_back(read.data_begin);
  header.metadata.merge(std::move(read.metadata));
  for (TensorEntry& entry : read.entries) {
    entry.file = number;
    header.entries.push_back(std::move(entry));
  }
}

const TensorEntry& Checkpoint::Impl::entry(const char* operation, std::string_view name) const {
  const TensorEntry* found = header.find(name);
  if (found == nullptr) {
    refuse(Code::invalid_argument, "{}: name must be a tensor of {} {}; got {}{}", operation,
           folder.empty() ? "file" : "folder", in_quotes(path), in_quotes(name),
           nearest_name(header, name));
  }
  return *found;
}

void Checkpoint::Impl::read(const TensorEntry& entry, std::int64_t offset,
                            std::span<std::byte> into) const {
  if (gguf) {
    gguf->read(inputs[entry.file], entry, offset, into);
  } else {
    inputs[entry.file].read(data_begin[entry.file] + entry.begin + offset, into);
  }
  bytes_read_.fetch_add(static_cast<std::int64_t>(into.size()), std::memory_order_relaxed);
}

std::optional<std::string> Checkpoint::Impl::text(std::string_view name) const {
  if (gguf) {
    const auto made = made_texts.find(name);
    return made == made_texts.end() ? std::nullopt : std::optional(made->second);
  }
  const std::filesystem::path wanted = std::filesystem::path(beside) / name;
  std::error_code error;
  // What lies beside a single file may be anything.
  if (folder.empty() && !std::filesystem::is_regular_file(wanted, error)) return std::nullopt;
  return small_text(wanted.string(), QuantizationConfig::kLimits.bytes);
}

const ModelClass& Checkpoint::Impl::model() const {
  const std::lock_guard lock(config_mutex_);
  if (!model_) {
    std::optional<std::string> own;
    if (!layout_file.empty()) {
      own = small_text(layout_file, QuantizationConfig::kLimits.bytes);
      if (!own) {
        refuse(Code::unavailable, "layout: file {} must be there; got none",
               in_quotes(layout_file));
      }
    }
    model_ = model_class(text(kConfigFile).value_or("{}"), own ? &*own : nullptr, header.entries);
  }
  return *model_;
}

const std::string& Checkpoint::Impl::fp8_codes_by() const {
  const std::lock_guard lock(config_mutex_);
  if (!fp8_codes_by_) fp8_codes_by_ = checkpoint::fp8_codes_by(*this);
  return *fp8_codes_by_;
}

const QuantizationConfig& Checkpoint::Impl::config() const {
  const std::lock_guard lock(config_mutex_);
  throw_if_failed(config_refusal_);
  if (config_ != nullptr) return *config_;
  try {
    check_agreement(declarations);
    config_ = declarations.empty()
                  ? std::make_unique<const QuantizationConfig>()
                  : std::make_unique<const QuantizationConfig>(declarations[0].text);
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

const std::vector<CheckpointFile>& Checkpoint::files() const noexcept { return impl_->files; }

std::int64_t Checkpoint::file_bytes() const noexcept {
  std::int64_t sum = 0;
  for (const CheckpointFile& file : impl_->files) sum += file.bytes;
  return sum;
}

const std::string& Checkpoint::path() const noexcept { return impl_->path; }

const std::string& Checkpoint::folder() const noexcept { return impl_->folder; }

const std::vector<Declaration>& Checkpoint::declarations() const noexcept {
  return impl_->declarations;
}

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
    impl_->read(e, 0, memory(result));
    return result;
  });
}

std::vector<std::byte> Checkpoint::bytes(std::string_view name) const {
  return at_edge("Checkpoint::bytes", [&] {
    const TensorEntry& e = impl_->entry("Checkpoint::bytes", name);
    std::vector<std::byte> result(static_cast<std::size_t>(e.end - e.begin));
    impl_->read(e, 0, result);
    return result;
  });
}

Checkpoint open_checkpoint(const std::string& path, const std::string& layout) {
  return at_edge("open_checkpoint", [&] {
    return Checkpoint(std::make_shared<const Checkpoint::Impl>(path, layout));
  });
}

}  // namespace octavo
