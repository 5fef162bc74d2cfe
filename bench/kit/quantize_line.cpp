// SPDX-License-Identifier: Apache-2.0
// Reading and writing the lines of quantisers.
#include "kit/quantize_line.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

#include "kit/line_words.hpp"
#include "octavo/problem_line.hpp"
#include "octavo/status.hpp"

namespace octavo::kit {
namespace {

constexpr std::string_view kOperation = "quantize";

[[noreturn]] void refuse(const std::string& rule, std::string_view got) {
  throw Error(Status(Code::invalid_argument,
                     "quantize line: " + rule + "; got '" + std::string(got) + "'"));
}

bool granularity(std::string_view text, Granularity& value) {
  value = granularity_from_name(text);
  return value.kind != Granularity::Kind::automatic;
}

constexpr LineWord<QuantizeLine> kWords[] = {
    {"scale", "be tensor, token, channel, group<g>, block<r>x<c>, per_k, element or mx",
     [](std::string_view v, QuantizeLine& l) {
       l.mx = v == "mx";
       if (l.mx) l.scale_dtype = DType::float8_e8m0fnu;
       return granularity(v, l.scale);
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

bool is_quantize_line(std::string_view line) { return names_operation(line, kOperation); }

QuantizeLine parse_quantize_line(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() < 4 || words.front() != kOperation) {
    refuse("words must be quantize, from:to types, scale=, options and RxC", text);
  }
  QuantizeLine line;
  const std::string& types = words[1];
  const std::size_t colon = std::min(types.find(':'), types.size());
  line.from = dtype_from_name(types.substr(0, colon));
  line.to = dtype_from_name(types.substr(std::min(colon + 1, types.size())));
  if (line.from == DType::undefined || line.to == DType::undefined) {
    refuse("types must be two known names such as bf16:e4m3fn", types);
  }
  for (std::size_t i = 2; i + 1 < words.size(); ++i) read_word(kWords, words[i], line, refuse);
  if (line.scale.kind == Granularity::Kind::automatic) refuse("scale must be declared", text);
  const std::string_view shape = words.back();
  const std::size_t by = std::min(shape.find('x'), shape.size());
  if (!read_number(shape.substr(0, by), line.rows) ||
      !read_number(shape.substr(std::min(by + 1, shape.size())), line.cols) || line.rows < 1 ||
      line.cols < 1) {
    refuse("the shape must be the last word and RxC, such as 4096x4096", shape);
  }
  return line;
}

std::string to_string(const QuantizeLine& l) {
  std::string text = std::string(kOperation) + " " + std::string(info(l.from).short_name) + ":" +
                     std::string(info(l.to).short_name) +
                     " scale=" + (l.mx ? "mx" : to_string(l.scale));
  if (l.azp) text += " azp";
  if (l.power_of_two) text += " power_of_two";
  if (!l.mx && l.scale_dtype != DType::float32) {
    text += " scale_dtype=" + std::string(info(l.scale_dtype).short_name);
  }
  if (l.seed != 1) text += " seed=" + std::to_string(l.seed);
  return text + " " + std::to_string(l.rows) + "x" + std::to_string(l.cols);
}

}  // namespace octavo::kit
