// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/gguf_tensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::int64_t kMostOfBlock = 1024;  // bytes of what a block becomes: 256 floats

std::int64_t scale_bytes(const BlockType& type) noexcept {
  return static_cast<std::int64_t>(find_type(type.scale)->bits / 8);
}

/// Some of what `reader` makes of blocks, `made` bytes of each.
struct Unpacking {
  const BlockType& type;
  BlockReader reader;
  std::int64_t made;
};

/// Bytes from `offset` on of what all blocks make; the blocks begin at `begin` of the file.
void unpack(const InputFile& file, std::int64_t begin, const Unpacking& how, std::int64_t offset,
            std::span<std::byte> into) {
  constexpr std::int64_t kChunk = std::int64_t{64} << 10;
  const std::int64_t end = offset + std::ssize(into);
  const std::int64_t last = (end + how.made - 1) / how.made;
  const std::int64_t most = kChunk / how.type.bytes;
  std::vector<std::uint8_t> blocks(
      static_cast<std::size_t>(std::min(most, last - offset / how.made) * how.type.bytes));
  std::array<std::uint8_t, kMostOfBlock> made{};
  for (std::int64_t first = offset / how.made; first < last; first += most) {
    const std::int64_t count = std::min(most, last - first);
    const auto some = std::span(blocks).first(static_cast<std::size_t>(count * how.type.bytes));
    file.read(begin + first * how.type.bytes, std::as_writable_bytes(some));
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = (first + i) * how.made;
      const std::int64_t from = std::max(offset, at), to = std::min(end, at + how.made);
      how.reader(some.data() + i * how.type.bytes, made.data());
      std::memcpy(into.data() + (from - offset), made.data() + (from - at),
                  static_cast<std::size_t>(to - from));
    }
  }
}

/// Where a row lies whose head has its halves one behind the other: there they alternate.
std::int64_t stored_row(std::int64_t row, std::int64_t head_rows) noexcept {
  const std::int64_t half = head_rows / 2, of_head = row % head_rows;
  return row - of_head + of_head % half * 2 + of_head / half;
}

}  // namespace

GgufTensors::GgufTensors(GgufHeader source, const std::string& path, OtherBlocks others,
                         const Places& places)
    : source_(std::move(source)), others_(others) {
  header_.data_begin = source_.data_begin;
  for (const GgufValue& value : source_.values) {
    std::string spelled = value.spelled();
    if (!is_utf8(spelled)) {
      refuse(Code::corrupt_data,
             "open_checkpoint: value of key {} must be UTF-8; got {} bytes of another kind (file "
             "{})",
             in_quotes(value.key), spelled.size(), in_quotes(path));
    }
    header_.metadata.emplace(value.key, std::move(spelled));
  }
  for (const GgufTensor& tensor : source_.tensors) {
    const BlockType& type = *tensor.type;
    const auto shown = places ? places(tensor) : Place{tensor.name};
    if (!shown) continue;
    Place place = *shown;
    if (others_ == OtherBlocks::floats && type.values != nullptr) {
      add(tensor, What::values, std::move(place), "F32", tensor.shape,
          tensor.bytes / type.bytes * type.elements * std::int64_t{sizeof(float)});
      continue;
    }
    if (type.group == 0) {
      add(tensor, What::bytes, std::move(place), type.plain.empty() ? type.name : type.plain,
          tensor.shape, tensor.bytes);
      continue;
    }
    const std::int64_t blocks = tensor.bytes / type.bytes;
    std::vector<std::int64_t> scales = tensor.shape;
    scales.back() /= type.group;
    add(tensor, What::codes, place, "I8", tensor.shape, blocks * type.elements);
    place.name += kBlockScaleSuffix;
    add(tensor, What::scales, std::move(place), type.scale, std::move(scales),
        blocks * type.elements / type.group * scale_bytes(type));
  }
}

void GgufTensors::add(const GgufTensor& tensor, What what, Place place, std::string_view dtype,
                      std::vector<std::int64_t> shape, std::int64_t bytes) {
  const std::int64_t begin = header_.entries.empty() ? 0 : header_.entries.back().end;
  const std::int64_t rows = shape.empty() ? 0 : shape[0];
  parts_.push_back({&tensor, what, begin, place.head_rows, rows == 0 ? 0 : bytes / rows});
  header_.entries.push_back(
      {std::move(place.name), std::string(dtype), std::move(shape), begin, begin + bytes});
}

// The last that begins there: those before it are empty.
const GgufTensors::Part& GgufTensors::part_of(const TensorEntry& entry) const noexcept {
  return *(std::ranges::upper_bound(parts_, entry.begin, {}, &Part::begin) - 1);
}

bool GgufTensors::is_widened(const TensorEntry& entry) const noexcept {
  return entry.end > entry.begin && part_of(entry).what == What::values;
}

void GgufTensors::check_blocks(const char* operation) const {
  for (const GgufTensor& tensor : source_.tensors) {
    const bool widened = others_ == OtherBlocks::floats && tensor.type->values != nullptr;
    if (widened || tensor.type->group != 0 || !tensor.type->plain.empty()) continue;
    refuse(Code::unsupported, "{}: tensor {} must hold floats, or blocks of type {}{}{}; got {}{}",
           operation, in_quotes(tensor.name), kExactBlocks,
           others_ == OtherBlocks::floats ? ", " : "",
           others_ == OtherBlocks::floats ? kFloatBlocks : "", tensor.type->name,
           tensor.type->values == nullptr ? "" : " (octavo dequantize writes floats)");
  }
}

void GgufTensors::read(const InputFile& file, const TensorEntry& entry, std::int64_t offset,
                       std::span<std::byte> into) const {
  if (into.empty()) return;
  const Part& part = part_of(entry);
  if (part.head_rows == 0) return read_stored(file, part, offset, into);
  while (!into.empty()) {
    const std::int64_t row = offset / part.row_bytes, skipped = offset % part.row_bytes;
    const std::int64_t count = std::min(part.row_bytes - skipped, std::ssize(into));
    read_stored(file, part, stored_row(row, part.head_rows) * part.row_bytes + skipped,
                into.first(static_cast<std::size_t>(count)));
    into = into.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void GgufTensors::read_stored(const InputFile& file, const Part& part, std::int64_t offset,
                              std::span<std::byte> into) const {
  const BlockType& type = *part.tensor->type;
  const std::int64_t begin = source_.data_begin + part.tensor->begin;
  if (part.what == What::bytes) return file.read(begin + offset, into);
  const auto how = [&]() -> Unpacking {
    if (part.what == What::codes) return {type, type.codes, type.elements};
    if (part.what == What::values) {
      return {type, type.values, type.elements * std::int64_t{sizeof(float)}};
    }
    return {type, type.scales, type.elements / type.group * scale_bytes(type)};
  };
  unpack(file, begin, how(), offset, into);
}

}  // namespace octavo::checkpoint
