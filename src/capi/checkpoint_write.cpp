// SPDX-License-Identifier: Apache-2.0
// Writing safetensors files and quantising them.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "capi/convert.hpp"
#include "octavo/checkpoint.hpp"

using namespace octavo::capi;
using octavo::Code;

namespace {

constexpr const char* kWrite = "write_safetensors";
constexpr const char* kFile = "quantize_file";

constexpr std::array kSchemes{octavo::Scheme::int8_dynamic, octavo::Scheme::fp8_dynamic,
                              octavo::Scheme::fp8_block, octavo::Scheme::llm_int8};
static_assert(OCTAVO_LLM_INT8 == static_cast<int>(octavo::Scheme::llm_int8));

std::vector<std::byte> bytes_of(const octavo::TensorView& view) {
  const octavo::Tensor compact = octavo::copy(view, view.dtype);
  std::vector<std::byte> bytes(static_cast<std::size_t>(compact.numel()) *
                               static_cast<std::size_t>(octavo::element_bytes(view.dtype)));
  if (!bytes.empty()) std::memcpy(bytes.data(), compact.data(), bytes.size());
  return bytes;
}

octavo::TensorToWrite from_data(const Place& place, const octavo_tensor_to_write& t) {
  const octavo::TensorView view = view_from(place.of("data"), t.data);
  return {t.name,
          std::string(octavo::info(view.dtype).safetensors),
          {view.dims().begin(), view.dims().end()},
          [view] { return bytes_of(view); }};
}

// The writer holds `size` against dtype and shape.
octavo::TensorToWrite from_fill(const Place& place, const octavo_tensor_to_write& t) {
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

octavo::TensorToWrite to_write(const Place& place, const octavo_tensor_to_write* given) {
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
    const Place place{kWrite, "tensors"};
    const std::size_t n = checked_count(place, static_cast<const void*>(tensors), count);
    std::vector<octavo::TensorToWrite> list;
    for (std::size_t i = 0; i < n; ++i) {
      list.push_back(to_write(place.at(static_cast<std::int64_t>(i)), tensors[i]));
    }
    const Place keys{kWrite, "metadata_keys"};
    const Place values{kWrite, "metadata_values"};
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

const char* octavo_scheme_name(int32_t scheme) {
  const auto found = std::ranges::find_if(
      kSchemes, [&](octavo::Scheme s) { return static_cast<int32_t>(s) == scheme; });
  if (found == kSchemes.end()) return "unknown";
  return octavo::scheme_name(*found).data();  // a literal, so it ends in a null byte
}

octavo_code octavo_scheme_from_name(const char* name, int32_t* result) {
  constexpr const char* kName = "scheme_from_name";
  return guarded(kName, [&] {
    give(kName, result, int32_t{0});
    const auto scheme = octavo::scheme_from_name(text_of({kName, "name"}, name));
    if (!scheme) {
      refuse(Code::invalid_argument, "{}: name must be that of a scheme; got '{}'", kName, name);
    }
    *result = static_cast<int32_t>(*scheme);
  });
}

octavo_code octavo_quantize_file(const char* in, const char* out,
                                 const octavo_quantize_file_options* options,
                                 octavo_report** result) {
  return guarded(kFile, [&] {
    Slot slot({kFile, "result"}, result, true);
    const Place place{kFile, "options"};
    const octavo_quantize_file_options c = read_struct(place, options);
    octavo::QuantizeFileOptions o;
    o.scheme = enum_from(place.of("scheme"), c.scheme, kSchemes.back());
    const std::size_t n =
        checked_count(place.of("ignore"), static_cast<const void*>(c.ignore), c.ignore_count);
    for (std::size_t i = 0; i < n; ++i) {
      o.ignore.emplace_back(text_of({kFile, "ignore", static_cast<std::int64_t>(i)}, c.ignore[i]));
    }
    if (c.progress != nullptr) {
      o.progress = [progress = c.progress, user = c.user](std::int64_t done, std::int64_t total) {
        progress(user, done, total);
      };
    }
    const char* from = text_of({kFile, "in"}, in);
    slot.fill(octavo::quantize_file(from, text_of({kFile, "out"}, out), o));
  });
}

octavo_code octavo_report_describe(const octavo_report* report, octavo_report_info* result) {
  constexpr const char* kName = "report_describe";
  return guarded(kName, [&] {
    const octavo::QuantizeReport& r = value_of({kName, "report"}, report);
    octavo_report_info info{};
    info.layers = static_cast<int64_t>(r.layers.size());
    info.file_bytes_before = r.file_bytes_before;
    info.file_bytes_after = r.file_bytes_after;
    info.tensors_copied = r.tensors_copied;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_report_layer(const octavo_report* report, int64_t index,
                                octavo_layer_info* result) {
  constexpr const char* kName = "report_layer";
  return guarded(kName, [&] {
    const auto& layers = value_of({kName, "report"}, report).layers;
    const octavo::LayerReport& l = layers[checked_index({kName, "index"}, index, layers.size())];
    octavo_layer_info info{};
    info.name = l.name.c_str();
    info.n = l.n;
    info.k = l.k;
    info.bytes_before = l.bytes_before;
    info.bytes_after = l.bytes_after;
    info.sqnr_db = l.sqnr_db;
    info.max_error = l.max_error;
    info.saturated = l.saturated;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_report* octavo_report_retain(octavo_report* report) { return retain(report); }
void octavo_report_release(octavo_report* report) { release(report); }
