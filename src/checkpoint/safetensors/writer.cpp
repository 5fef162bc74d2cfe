// SPDX-License-Identifier: Apache-2.0
// Writing a safetensors file: the layout is settled first, then tensors arrive in the caller's
// order and go to their place.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/safetensors/header.hpp"
#include "checkpoint/safetensors/writer.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// Data begins at a multiple of this many bytes, so that a reader may map it.
constexpr std::size_t kDataAlignment = 4096;

std::int64_t checked_bytes(const TensorShape& tensor) {
  const SafetensorsType* type = find_type(tensor.dtype);
  if (type == nullptr) {
    refuse(Code::invalid_argument,
           "write_safetensors: tensor {}.dtype must be a safetensors type; got {}",
           in_quotes(tensor.name), in_quotes(tensor.dtype));
  }
  if (tensor.name == kMetadataKey || tensor.name.size() > kLongestName) {
    refuse(Code::invalid_argument,
           "write_safetensors: tensor.name must not be '__metadata__' nor longer than {} bytes; "
           "got {}",
           kLongestName, in_quotes(tensor.name));
  }
  std::uint64_t bits = 0;
  const bool negative = std::ranges::any_of(tensor.shape, [](std::int64_t d) { return d < 0; });
  if (negative || !tensor_bits(tensor.shape, type->bits, bits) || bits % 8 != 0) {
    refuse(Code::invalid_argument,
           "write_safetensors: tensor {}.shape must have no negative extent and fill whole bytes; "
           "got {} of {}",
           in_quotes(tensor.name), shape_text(tensor.shape), tensor.dtype);
  }
  return static_cast<std::int64_t>(bits / 8);
}

/// The reference writer's order: type descending, then name. Every tensor is then aligned to its
/// element size, whatever the shapes.
std::vector<std::size_t> file_order(std::span<const TensorShape> tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const SafetensorsType* type_a = find_type(tensors[a].dtype);
    const SafetensorsType* type_b = find_type(tensors[b].dtype);
    return type_a != type_b ? type_a > type_b : tensors[a].name < tensors[b].name;
  });
  return order;
}

void check_unique(std::span<const TensorShape> tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorShape& tensor : tensors) names.emplace_back(tensor.name);
  std::ranges::sort(names);
  const auto twin = std::ranges::adjacent_find(names);
  if (twin != names.end()) {
    refuse(Code::invalid_argument, "write_safetensors: tensor names must be unique; got {} twice",
           in_quotes(*twin));
  }
}

/// Where each tensor begins and ends in the data section.
void place(std::span<const TensorShape> tensors, const std::vector<std::size_t>& order,
           FileLayout& layout) {
  layout.begins.resize(tensors.size());
  layout.ends.resize(tensors.size());
  for (const std::size_t i : order) {
    layout.begins[i] = layout.bytes;
    if (__builtin_add_overflow(layout.bytes, checked_bytes(tensors[i]), &layout.bytes)) {
      refuse(Code::invalid_argument,
             "write_safetensors: tensors must count less than 2^63 bytes; got more");
    }
    layout.ends[i] = layout.bytes;
  }
}

std::string header_json(std::span<const TensorShape> tensors, const FileLayout& layout,
                        const std::vector<std::size_t>& order,
                        const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      json += fmt::format("{}:{},", json_string("write_safetensors", key),
                          json_string("write_safetensors", value));
    }
    json.back() = '}';
    json += ',';
  }
  for (const std::size_t i : order) {
    json += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}},)",
                        json_string("write_safetensors", tensors[i].name), tensors[i].dtype,
                        fmt::join(tensors[i].shape, ","), layout.begins[i], layout.ends[i]);
  }
  if (json.back() == ',') json.pop_back();
  json += '}';
  const std::size_t padding = (kDataAlignment - (kLengthBytes + json.size()) % kDataAlignment);
  json.append(padding % kDataAlignment, ' ');
  if (json.size() > kMostHeaderBytes) {
    refuse(Code::invalid_argument, "write_safetensors: the header must be at most {} bytes; got {}",
           kMostHeaderBytes, json.size());
  }
  return json;
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

// Moved out, so that whatever the producer keeps alive goes with it.
void write_tensor(SafetensorsOutput& file, std::size_t i, TensorToWrite& tensor) {
  const auto produce = std::move(tensor.bytes);
  const std::vector<std::byte> bytes = produce();
  const std::int64_t expected = file.layout().ends[i] - file.layout().begins[i];
  if (static_cast<std::int64_t>(bytes.size()) != expected) {
    refuse(Code::invalid_argument,
           "write_safetensors: tensor {}.bytes must give the {} bytes of {} {}; got {}",
           in_quotes(tensor.name), expected, tensor.dtype, shape_text(tensor.shape), bytes.size());
  }
  file.write(i, 0, bytes);
}

}  // namespace

namespace checkpoint {

FileLayout lay_out(std::span<const TensorShape> tensors,
                   const std::map<std::string, std::string>& metadata) {
  for (const TensorShape& tensor : tensors) checked_bytes(tensor);
  check_unique(tensors);
  const std::vector<std::size_t> order = file_order(tensors);
  FileLayout layout;
  place(tensors, order, layout);
  layout.header = header_json(tensors, layout, order, metadata);
  const auto data = static_cast<std::int64_t>(kLengthBytes + layout.header.size());
  for (std::int64_t& begin : layout.begins) begin += data;
  for (std::int64_t& end : layout.ends) end += data;
  layout.bytes += data;
  return layout;
}

std::string FileLayout::start() const {
  const auto length = std::bit_cast<std::array<char, kLengthBytes>>(std::uint64_t{header.size()});
  return std::string(length.begin(), length.end()) + header;
}

SafetensorsOutput::SafetensorsOutput(const std::string& path, FileLayout layout, bool sparse,
                                     TemporaryListener listener)
    : layout_(std::move(layout)),
      file_(path, layout_.bytes, sparse ? Space::holes : Space::reserved, std::move(listener)),
      sparse_(sparse) {
  const std::string start = layout_.start();
  file_.write(0, std::as_bytes(std::span(start)));
}

void SafetensorsOutput::write(std::size_t tensor, std::int64_t offset,
                              std::span<const std::byte> bytes) {
  constexpr std::size_t kHole = std::size_t{64} << 10;
  std::int64_t at = layout_.begins[tensor] + offset;
  if (!sparse_) return file_.write(at, bytes);
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(kHole, bytes.size()));
    if (!all_zero(part)) file_.write(at, part);
    at += static_cast<std::int64_t>(part.size());
    bytes = bytes.subspan(part.size());
  }
}

void write_file(const std::string& path, std::vector<TensorToWrite> tensors,
                const std::map<std::string, std::string>& metadata, TemporaryListener listener) {
  std::vector<TensorShape> shapes;
  for (const TensorToWrite& t : tensors) shapes.push_back({t.name, t.dtype, t.shape});
  SafetensorsOutput file(path, lay_out(shapes, metadata), false, std::move(listener));
  for (std::size_t i = 0; i < tensors.size(); ++i) write_tensor(file, i, tensors[i]);
  file.commit();
}

}  // namespace checkpoint

void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  at_edge("write_safetensors", [&] { write_file(path, std::move(tensors), metadata, {}); });
}

}  // namespace octavo
