// SPDX-License-Identifier: Apache-2.0
// Writing a safetensors file: the layout is settled first, then tensors arrive in the caller's
// order and go to their place.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "checkpoint/file.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/safetensors_header.hpp"
#include "checkpoint/safetensors_writer.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// Data begins at a multiple of this many bytes, so that a reader may map it.
constexpr std::size_t kDataAlignment = 4096;

struct Placed {
  TensorToWrite* tensor;
  std::int64_t begin, end;
};

std::int64_t checked_bytes(const TensorToWrite& tensor) {
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
std::vector<std::size_t> file_order(const std::vector<TensorToWrite>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const SafetensorsType* type_a = find_type(tensors[a].dtype);
    const SafetensorsType* type_b = find_type(tensors[b].dtype);
    return type_a != type_b ? type_a > type_b : tensors[a].name < tensors[b].name;
  });
  return order;
}

void check_unique(const std::vector<TensorToWrite>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorToWrite& tensor : tensors) names.emplace_back(tensor.name);
  std::ranges::sort(names);
  const auto twin = std::ranges::adjacent_find(names);
  if (twin != names.end()) {
    refuse(Code::invalid_argument, "write_safetensors: tensor names must be unique; got {} twice",
           in_quotes(*twin));
  }
}

/// Where each tensor goes in the data section, in the caller's order.
std::vector<Placed> place(std::vector<TensorToWrite>& tensors,
                          const std::vector<std::size_t>& order) {
  std::vector<Placed> placed(tensors.size());
  std::int64_t cursor = 0;
  for (const std::size_t i : order) {
    std::int64_t end = 0;
    if (__builtin_add_overflow(cursor, checked_bytes(tensors[i]), &end)) {
      refuse(Code::invalid_argument,
             "write_safetensors: tensors must count less than 2^63 bytes; got more");
    }
    placed[i] = {&tensors[i], cursor, end};
    cursor = end;
  }
  return placed;
}

std::string header_json(const std::vector<Placed>& placed, const std::vector<std::size_t>& order,
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
    const auto& [tensor, begin, end] = placed[i];
    json += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}},)",
                        json_string("write_safetensors", tensor->name), tensor->dtype,
                        fmt::join(tensor->shape, ","), begin, end);
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

void write_header(AtomicFile& file, const std::string& json) {
  const std::uint64_t length = json.size();
  file.write(0, std::as_bytes(std::span(&length, 1)));
  file.write(kLengthBytes, std::as_bytes(std::span(json)));
}

void write_tensor(AtomicFile& file, const Placed& placed, std::int64_t data_begin) {
  // Moved out, so that whatever the producer keeps alive goes with it.
  const auto produce = std::move(placed.tensor->bytes);
  const std::vector<std::byte> bytes = produce();
  const std::int64_t expected = placed.end - placed.begin;
  if (static_cast<std::int64_t>(bytes.size()) != expected) {
    refuse(Code::invalid_argument,
           "write_safetensors: tensor {}.bytes must give the {} bytes of {} {}; got {}",
           in_quotes(placed.tensor->name), expected, placed.tensor->dtype,
           shape_text(placed.tensor->shape), bytes.size());
  }
  file.write(data_begin + placed.begin, bytes);
}

}  // namespace

namespace checkpoint {

void write_file(const std::string& path, std::vector<TensorToWrite> tensors,
                const std::map<std::string, std::string>& metadata, TemporaryListener listener) {
  for (const TensorToWrite& tensor : tensors) checked_bytes(tensor);
  check_unique(tensors);
  const std::vector<std::size_t> order = file_order(tensors);
  const std::vector<Placed> placed = place(tensors, order);
  const std::string json = header_json(placed, order, metadata);
  const auto data_begin = static_cast<std::int64_t>(kLengthBytes + json.size());
  const std::int64_t data_bytes = order.empty() ? 0 : placed[order.back()].end;

  AtomicFile file(path, data_begin + data_bytes, std::move(listener));
  write_header(file, json);
  for (const Placed& tensor : placed) write_tensor(file, tensor, data_begin);
  file.commit();
}

}  // namespace checkpoint

void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  at_edge("write_safetensors", [&] { write_file(path, std::move(tensors), metadata, {}); });
}

}  // namespace octavo
