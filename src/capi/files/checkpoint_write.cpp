// SPDX-License-Identifier: Apache-2.0
// Writing safetensors files.
#include <cstring>
#include <map>
#include <utility>

#include "capi/convert.hpp"
#include "octavo/checkpoint.hpp"

using namespace octavo::capi;
using octavo::Code;

namespace {

constexpr const char* kWrite = "write_safetensors";

std::vector<std::byte> bytes_of(const octavo::TensorView& view) {
  const octavo::Tensor compact = octavo::copy(view, view.dtype);
  std::vector<std::byte> bytes(static_cast<std::size_t>(compact.numel()) *
                               static_cast<std::size_t>(octavo::element_bytes(view.dtype)));
  if (!bytes.empty()) std::memcpy(bytes.data(), compact.data(), bytes.size());
  return bytes;
}

octavo::TensorToWrite from_data(const ArgumentPath& place, const octavo_tensor_to_write& t) {
  const octavo::TensorView view = view_from(place.of("data"), t.data);
  return {t.name,
          std::string(octavo::info(view.dtype).safetensors),
          {view.dims().begin(), view.dims().end()},
          [view] { return bytes_of(view); }};
}

// The writer holds `size` against dtype and shape.
octavo::TensorToWrite from_fill(const ArgumentPath& place, const octavo_tensor_to_write& t) {
  const std::size_t rank = checked_count(place.of("shape"), t.shape, t.ndim);
  return {t.name,
          text_of(place.of("dtype"), t.dtype),
          {t.shape, t.shape + rank},
          [fill = t.fill, user = t.user, size = t.size, place] {
            std::vector<std::byte> bytes(size);
            const octavo_code code = fill(user, bytes.data(), size);
            if (code == OCTAVO_OK) return bytes;
            const bool known = code > OCTAVO_OK && code <= OCTAVO_INTERNAL;
            refuse(known ? static_cast<Code>(code) : Code::internal,
                   "{} must return OCTAVO_OK; got {}", place.of("fill").text(), code);
          }};
}

octavo::TensorToWrite to_write(const ArgumentPath& place, const octavo_tensor_to_write* given) {
  require(place, given);
  const octavo_tensor_to_write t = read_struct(place, given);
  require(place.of("name"), t.name);
  if ((t.data != nullptr) == (t.fill != nullptr)) {
    refuse(Code::invalid_argument, "{} must have either data or fill; got {}", place.text(),
           t.data != nullptr ? "both" : "neither");
  }
  return t.data != nullptr ? from_data(place, t) : from_fill(place, t);
}

}  // namespace

octavo_code octavo_write_safetensors(const char* path, const octavo_tensor_to_write* const* tensors,
                                     int64_t count, const char* const* metadata_keys,
                                     const char* const* metadata_values, int64_t metadata_count) {
  return guarded(kWrite, [&] {
    const char* target = text_of({kWrite, "path"}, path);
    const ArgumentPath place{kWrite, "tensors"};
    const std::size_t n = checked_count(place, static_cast<const void*>(tensors), count);
    std::vector<octavo::TensorToWrite> list;
    for (std::size_t i = 0; i < n; ++i) {
      list.push_back(to_write(place.at(static_cast<std::int64_t>(i)), tensors[i]));
    }
    const ArgumentPath keys{kWrite, "metadata_keys"};
    const ArgumentPath values{kWrite, "metadata_values"};
    const std::size_t pairs =
        checked_count(keys, static_cast<const void*>(metadata_keys), metadata_count);
    checked_count(values, static_cast<const void*>(metadata_values), metadata_count);
    std::map<std::string, std::string> metadata;
    for (std::size_t i = 0; i < pairs; ++i) {
      const auto index = static_cast<std::int64_t>(i);
      const char* key = text_of(keys.at(index), metadata_keys[i]);
      metadata[key] = text_of(values.at(index), metadata_values[i]);
    }
    octavo::write_safetensors(target, std::move(list), metadata);
  });
}
