// SPDX-License-Identifier: Apache-2.0
// Reading and writing the lines of fused experts.
#include "kit/experts_line.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <sstream>
#include <vector>

#include "kit/line_words.hpp"
#include "octavo/problem_line.hpp"
#include "octavo/status.hpp"

namespace octavo::kit {
namespace {

constexpr std::string_view kOperation = "fused_experts";

[[noreturn]] void refuse(const std::string& rule, std::string_view got) {
  throw Error(Status(Code::invalid_argument,
                     "fused_experts line: " + rule + "; got '" + std::string(got) + "'"));
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream{std::string(text)};
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

// "token:channel", either of them "none".
bool granularities(std::string_view text, ExpertsLine& line) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const auto read = [](std::string_view name, Granularity& value) {
    value = granularity_from_name(name);
    return name == "none" || value.kind != Granularity::Kind::automatic;
  };
  return read(text.substr(0, colon), line.scale_a) && read(text.substr(colon + 1), line.scale_b);
}

constexpr LineWord<ExpertsLine> kWords[] = {
    {"experts", "be a whole number of at least 1",
     [](std::string_view v, ExpertsLine& l) { return read_number(v, l.experts) && l.experts > 0; }},
    {"topk", "be a whole number of at least 1",
     [](std::string_view v, ExpertsLine& l) { return read_number(v, l.topk) && l.topk > 0; }},
    {"scale", "be two granularities such as token:channel",
     [](std::string_view v, ExpertsLine& l) { return granularities(v, l); }},
    {"seed", "be a whole number",
     [](std::string_view v, ExpertsLine& l) { return read_number(v, l.seed); }},
};

void read_types(const std::string& text, ExpertsLine& line) {
  const std::vector<std::string> types = split(text, ':');
  const std::array places{&line.a, &line.weight, &line.out};
  for (std::size_t i = 0; i < places.size() && types.size() == places.size(); ++i) {
    *places[i] = dtype_from_name(types[i]);
  }
  for (const DType* place : places) {
    if (*place == DType::undefined)
      refuse("types must be three names such as int8:int8:bf16", text);
  }
  if (!is_wide(line.out)) refuse("the third type must be bf16, fp16 or fp32", text);
}

}  // namespace

std::optional<QuantizeOptions> ExpertsLine::quantiser() const {
  if (is_wide(a)) return std::nullopt;
  return QuantizeOptions{.dtype = a, .granularity = scale_a};
}

bool is_experts_line(std::string_view line) { return names_operation(line, kOperation); }

ExpertsLine parse_experts_line(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() < 3 || words.front() != kOperation) {
    refuse("words must be fused_experts, three types, experts=, topk=, scale= and MxIxH", text);
  }
  ExpertsLine line;
  read_types(words[1], line);
  for (std::size_t i = 2; i + 1 < words.size(); ++i) read_word(kWords, words[i], line, refuse);
  if (line.experts == 0 || line.topk == 0) refuse("experts and topk must be given", text);
  if (line.topk > line.experts) refuse("topk must be at most experts", text);
  if (line.scale_a.kind == Granularity::Kind::automatic && !is_wide(line.a)) {
    refuse("scale must be declared for 8-bit activations", text);
  }
  const std::vector<std::string> sizes = split(words.back(), 'x');
  const bool read = sizes.size() == 3 && read_number(sizes[0], line.tokens) &&
                    read_number(sizes[1], line.inner) && read_number(sizes[2], line.hidden);
  if (!read || line.tokens < 1 || line.inner < 1 || line.hidden < 1) {
    refuse("the shape must be the last word and MxIxH, such as 16x768x2048", words.back());
  }
  return line;
}

std::string to_string(const ExpertsLine& l) {
  const auto spelled = [](const Granularity& g) {
    return g.kind == Granularity::Kind::automatic ? std::string("none") : to_string(g);
  };
  std::string text = std::string(kOperation) + " " + std::string(info(l.a).short_name) + ":" +
                     std::string(info(l.weight).short_name) + ":" +
                     std::string(info(l.out).short_name) + " experts=" + std::to_string(l.experts) +
                     " topk=" + std::to_string(l.topk) + " scale=" + spelled(l.scale_a) + ":" +
                     spelled(l.scale_b);
  if (l.seed != 1) text += " seed=" + std::to_string(l.seed);
  return text + " " + std::to_string(l.tokens) + "x" + std::to_string(l.inner) + "x" +
         std::to_string(l.hidden);
}

}  // namespace octavo::kit
