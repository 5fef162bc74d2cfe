// SPDX-License-Identifier: Apache-2.0
// Quantising weights and whole files by scheme, and what became of them.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "capi/operand.hpp"
#include "octavo/checkpoint.hpp"

using namespace octavo::capi;
using octavo::Code;

namespace {

constexpr const char* kFile = "quantize_file";

static_assert(OCTAVO_EXPERTS_SEPARATE == static_cast<int>(octavo::Experts::separate));
static_assert(OCTAVO_LLM_INT8 == static_cast<int>(octavo::Scheme::llm_int8));
static_assert(OCTAVO_MXFP8 == static_cast<int>(octavo::kAllSchemes.back()));

octavo::Scheme scheme_from(const ArgumentPath& place, std::int64_t scheme) {
  return enum_from(place, scheme, octavo::kAllSchemes.back());
}

std::map<std::string, std::vector<std::int64_t>> outlier_lists(
    const octavo_quantize_file_options& c) {
  const ArgumentPath place{kFile, "outlier_columns"};
  std::map<std::string, std::vector<std::int64_t>> lists;
  const std::size_t n =
      checked_count(place, static_cast<const void*>(c.outlier_columns), c.outlier_columns_count);
  for (std::size_t i = 0; i < n; ++i) {
    const octavo_outlier_columns& list = c.outlier_columns[i];
    const ArgumentPath at{kFile, "outlier_columns", static_cast<std::int64_t>(i)};
    const std::size_t count = checked_count(at.of("columns"), list.columns, list.count);
    lists[text_of(at.of("layer"), list.layer)].assign(list.columns, list.columns + count);
  }
  return lists;
}

// The name is the report's.
octavo_layer_info info_of(const octavo::LayerReport& l) noexcept {
  octavo_layer_info info{};
  info.name = l.name.c_str();
  info.n = l.n;
  info.k = l.k;
  info.bytes_before = l.bytes_before;
  info.bytes_after = l.bytes_after;
  info.sqnr_db = l.sqnr_db;
  info.max_error = l.max_error;
  info.saturated = l.saturated;
  return info;
}

}  // namespace

const char* octavo_scheme_name(int32_t scheme) {
  const auto found = std::ranges::find_if(
      octavo::kAllSchemes, [&](octavo::Scheme s) { return static_cast<int32_t>(s) == scheme; });
  if (found == octavo::kAllSchemes.end()) return "unknown";
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

octavo_code octavo_scheme_activation(int32_t scheme, octavo_activation* result) {
  constexpr const char* kName = "scheme_activation";
  return guarded(kName, [&] {
    const octavo::Scheme known = scheme_from({kName, "scheme"}, scheme);
    give_activation({kName, "scheme"}, octavo::activation_rule(known), result);
  });
}

octavo_code octavo_quantize_weight(const octavo_view* weight, int32_t scheme,
                                   octavo_weight** result) {
  constexpr const char* kName = "quantize_weight";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(octavo::quantize_weight(view_from({kName, "weight"}, weight),
                                      scheme_from({kName, "scheme"}, scheme)));
  });
}

octavo_code octavo_weight_compare(const char* layer, const octavo_view* weight,
                                  const octavo_weight* quantized, octavo_layer_info* result) {
  constexpr const char* kName = "weight_compare";
  return guarded(kName, [&] {
    octavo_layer_info info = info_of(octavo::compare_weight(
        text_of({kName, "layer"}, layer), view_from({kName, "weight"}, weight),
        value_of({kName, "quantized"}, quantized)));
    info.name = layer;  // the report's own copy ends here
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_quantize_file(const char* in, const char* out,
                                 const octavo_quantize_file_options* options,
                                 octavo_report** result) {
  return guarded(kFile, [&] {
    Slot slot({kFile, "result"}, result, true);
    const ArgumentPath place{kFile, "options"};
    const octavo_quantize_file_options c = read_struct(place, options);
    octavo::QuantizeFileOptions o;
    o.scheme = scheme_from(place.of("scheme"), c.scheme);
    const std::size_t n =
        checked_count(place.of("ignore"), static_cast<const void*>(c.ignore), c.ignore_count);
    for (std::size_t i = 0; i < n; ++i) {
      o.ignore.emplace_back(text_of({kFile, "ignore", static_cast<std::int64_t>(i)}, c.ignore[i]));
    }
    o.outlier_columns = outlier_lists(c);
    if (c.has_outlier_threshold != 0) o.outlier_threshold = static_cast<float>(c.outlier_threshold);
    o.whole_columns = c.whole_columns != 0;
    if (c.layout != nullptr) o.layout = c.layout;
    o.guess = c.guess != 0;
    o.experts = enum_from(place.of("experts"), c.experts, octavo::Experts::separate);
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
    write_struct({kName, "result"},
                 info_of(layers[checked_index({kName, "index"}, index, layers.size())]), result);
  });
}

octavo_code octavo_report_warnings(const octavo_report* report, octavo_strings** result) {
  constexpr const char* kName = "report_warnings";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(value_of({kName, "report"}, report).warnings);
  });
}

octavo_report* octavo_report_retain(octavo_report* report) { return retain(report); }
void octavo_report_release(octavo_report* report) { release(report); }
