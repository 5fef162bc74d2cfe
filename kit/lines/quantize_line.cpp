// SPDX-License-Identifier: Apache-2.0
// Reading and writing the lines of quantisers.
#include "kit/lines/quantize_line.hpp"

#include "kit/lines/line_words.hpp"

namespace octavo::kit {
namespace {

constexpr LineWord<QuantizeLine> kWords[] = {
    {"scale", "be tensor, token, channel, group<g>, block<r>x<c>, per_k, element or mx",
     [](std::string_view v, QuantizeLine& l) {
       l.mx = v == "mx";
       if (l.mx) l.scale_dtype = DType::float8_e8m0fnu;
       l.scale = granularity_from_name(v);
       return l.scale.kind != Granularity::Kind::automatic;
     }},
    {"azp", "stand alone",
     [](std::string_view v, QuantizeLine& l) { return l.azp = true, v.empty(); }},
    {"power_of_two", "stand alone",
     [](std::string_view v, QuantizeLine& l) { return l.power_of_two = true, v.empty(); }},
    {"scale_dtype", "be fp32 or e8m0fnu",
     [](std::string_view v, QuantizeLine& l) {
       l.scale_dtype = dtype_from_name(v);
       return l.scale_dtype == DType::float32 || l.scale_dtype == DType::float8_e8m0fnu;
     }},
    {"seed", "be a whole number",
     [](std::string_view v, QuantizeLine& l) { return read_number(v, l.seed); }},
};
constexpr DType QuantizeLine::*kTypes[] = {&QuantizeLine::from, &QuantizeLine::to};
constexpr std::int64_t QuantizeLine::*kSizes[] = {&QuantizeLine::rows, &QuantizeLine::cols};

constexpr LineGrammar<QuantizeLine> kGrammar{
    .operation = "quantize",
    .fewest_words = 4,
    .parts = "words must be quantize, from:to types, scale=, options and RxC",
    .types = kTypes,
    .types_rule = "types must be two known names such as bf16:e4m3fn",
    .wrong_types = [](const QuantizeLine&) -> const char* { return nullptr; },
    .words = kWords,
    .sizes = kSizes,
    .sizes_rule = "the shape must be the last word and RxC, such as 4096x4096",
    .broken =
        [](const QuantizeLine& l) {
          return l.scale.kind == Granularity::Kind::automatic ? "scale must be declared" : nullptr;
        },
};

}  // namespace

QuantizeOptions QuantizeLine::options() const {
  return {.dtype = to,
          .granularity = scale,
          .side = scale.kind == Granularity::Kind::channel ? Side::b : Side::a,
          .azp = azp,
          .rounding = mx             ? ScaleRounding::mx_floor
                      : power_of_two ? ScaleRounding::power_of_two
                                     : ScaleRounding::none,
          .scale_dtype = scale_dtype};
}

LineHelp quantize_line_help() { return help_of(kGrammar); }

QuantizeLine parse_quantize_line(std::string_view text) { return parse_line(kGrammar, text); }

std::string to_string(const QuantizeLine& l) {
  std::string words = " scale=" + (l.mx ? "mx" : to_string(l.scale));
  if (l.azp) words += " azp";
  if (l.power_of_two) words += " power_of_two";
  if (!l.mx && l.scale_dtype != DType::float32) {
    words += " scale_dtype=" + std::string(info(l.scale_dtype).short_name);
  }
  return spell_line(kGrammar, l, words);
}

}  // namespace octavo::kit
