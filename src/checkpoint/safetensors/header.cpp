// SPDX-License-Identifier: Apache-2.0
// The rules of the reference reader: no hole, no overlap, no trailing byte, no wrapped product.
#include "checkpoint/safetensors/header.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <tuple>

#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

// Offsets are compared in the order of the data section, so that each tensor has one neighbour.
void check_offsets(const Header& header, const Source& source) {
  std::int64_t cursor = 0;
  for (const TensorEntry& e : header.entries) {
    if (e.begin != cursor) {
      refuse(Code::corrupt_data,
             "open_checkpoint: tensor {}.data_offsets must begin at {}, where the tensor before it "
             "ends; got [{}, {}], {} (file {}, offset {})",
             in_quotes(e.name), cursor, e.begin, e.end, e.begin > cursor ? "a hole" : "an overlap",
             in_quotes(source.file), header.data_begin + std::min(cursor, e.begin));
    }
    cursor = e.end;
  }
  const std::int64_t room = source.file_bytes - header.data_begin;
  if (cursor != room) {
    refuse(Code::corrupt_data,
           "open_checkpoint: the data section must be as long as its tensors, {} bytes; got {}, {} "
           "(file {}, offset {})",
           cursor, room, room < cursor ? "a truncated file" : "trailing bytes",
           in_quotes(source.file), header.data_begin + std::min(cursor, room));
  }
}

void check_type_and_size(const TensorEntry& e, const Header& header, const Source& source) {
  const SafetensorsType* type = find_type(e.dtype);
  const std::int64_t offset = header.data_begin + e.begin;
  if (type == nullptr) {
    refuse(Code::corrupt_data,
           "open_checkpoint: tensor {}.dtype must be a safetensors type; got {} (file {}, offset "
           "{})",
           in_quotes(e.name), in_quotes(e.dtype), in_quotes(source.file), offset);
  }
  std::uint64_t bits = 0;
  if (!tensor_bits(e.shape, type->bits, bits)) {
    refuse(Code::corrupt_data,
           "open_checkpoint: tensor {}.shape must count less than 2^64 bits; got {} of {} (file "
           "{}, offset {})",
           in_quotes(e.name), shape_text(e.shape), e.dtype, in_quotes(source.file), offset);
  }
  if (bits % 8 != 0) {
    refuse(Code::corrupt_data,
           "open_checkpoint: tensor {}.shape must fill whole bytes; got {} of {}, {} bits (file "
           "{}, offset {})",
           in_quotes(e.name), shape_text(e.shape), e.dtype, bits, in_quotes(source.file), offset);
  }
  if (bits / 8 != static_cast<std::uint64_t>(e.end - e.begin)) {
    refuse(Code::corrupt_data,
           "open_checkpoint: tensor {}.data_offsets must span the {} bytes of {} {}; got [{}, {}] "
           "(file {}, offset {})",
           in_quotes(e.name), bits / 8, e.dtype, shape_text(e.shape), e.begin, e.end,
           in_quotes(source.file), offset);
  }
}

void check_names(Header& header, const Source& source) {
  const std::size_t twin = header.index_names();
  if (twin == header.entries.size()) return;
  refuse(Code::corrupt_data,
         "open_checkpoint: tensor {} must be in the header once; got it twice (file {}, offset "
         "{})",
         in_quotes(header.entries[twin].name), in_quotes(source.file), kLengthBytes);
}

}  // namespace

const TensorEntry* Header::find(std::string_view name) const noexcept {
  const auto found = std::ranges::lower_bound(
      by_name, name, {}, [&](std::size_t i) { return std::string_view(entries[i].name); });
  if (found == by_name.end() || entries[*found].name != name) return nullptr;
  return &entries[*found];
}

std::size_t Header::index_names() {
  by_name.resize(entries.size());
  std::iota(by_name.begin(), by_name.end(), std::size_t{0});
  const auto name = [&](std::size_t i) -> const std::string& { return entries[i].name; };
  std::ranges::sort(by_name, {}, name);
  const auto twin = std::ranges::adjacent_find(by_name, {}, name);
  return twin == by_name.end() ? entries.size() : *twin;
}

bool tensor_bits(const std::vector<std::int64_t>& shape, std::uint64_t element_bits,
                 std::uint64_t& bits) noexcept {
  bits = 1;
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(extent), &bits)) return false;
  }
  return !__builtin_mul_overflow(bits, element_bits, &bits);
}

std::uint64_t header_bytes(std::string_view first_bytes, const Source& source) {
  if (source.file_bytes < static_cast<std::int64_t>(kLengthBytes)) {
    refuse(Code::corrupt_data,
           "open_checkpoint: a safetensors file must have at least {} bytes; got {} (file {}, "
           "offset 0)",
           kLengthBytes, source.file_bytes, in_quotes(source.file));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, first_bytes.data(), kLengthBytes);
  if (length > kMostHeaderBytes) {
    refuse(Code::corrupt_data,
           "open_checkpoint: header.length must be at most {} bytes; got {} (file {}, offset 0)",
           kMostHeaderBytes, length, in_quotes(source.file));
  }
  const std::uint64_t room = static_cast<std::uint64_t>(source.file_bytes) - kLengthBytes;
  if (length > room) {
    refuse(Code::corrupt_data,
           "open_checkpoint: header.length must be at most the {} bytes that follow it; got {} "
           "(file {}, offset 0)",
           room, length, in_quotes(source.file));
  }
  return length;
}

Header parse_header(std::string_view text, const Source& source) {
  Header header = parse_header_json(text, source);
  header.data_begin = static_cast<std::int64_t>(kLengthBytes + text.size());
  std::ranges::stable_sort(header.entries, {},
                           [](const TensorEntry& e) { return std::tuple(e.begin, e.end); });
  check_names(header, source);
  check_offsets(header, source);
  for (const TensorEntry& e : header.entries) check_type_and_size(e, header, source);
  return header;
}

}  // namespace octavo::checkpoint
