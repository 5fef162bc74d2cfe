// SPDX-License-Identifier: Apache-2.0
// Reading and writing the lines of fused experts.
#include "kit/lines/experts_line.hpp"

#include <array>

#include "kit/lines/line_words.hpp"

namespace octavo::kit {
namespace {

// "token:channel", either of them "none".
bool granularities(std::string_view text, ExpertsLine& line) {
  const std::array places{&line.scale_a, &line.scale_b};
  return read_parts(text, ':', places, [](std::string_view name, Granularity* value) {
    *value = granularity_from_name(name);
    return name == "none" || value->kind != Granularity::Kind::automatic;
  });
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
constexpr DType ExpertsLine::*kTypes[] = {&ExpertsLine::a, &ExpertsLine::weight, &ExpertsLine::out};
constexpr std::int64_t ExpertsLine::*kSizes[] = {&ExpertsLine::tokens, &ExpertsLine::inner,
                                                 &ExpertsLine::hidden};

constexpr LineGrammar<ExpertsLine> kGrammar{
    .operation = "fused_experts",
    .fewest_words = 3,
    .parts = "words must be fused_experts, three types, experts=, topk=, scale= and MxIxH",
    .types = kTypes,
    .types_rule = "types must be three names such as int8:int8:bf16",
    .wrong_types =
        [](const ExpertsLine& l) {
          return is_wide(l.out) ? nullptr : "the third type must be bf16, fp16 or fp32";
        },
    .words = kWords,
    .sizes = kSizes,
    .sizes_rule = "the shape must be the last word and MxIxH, such as 16x768x2048",
    .broken = [](const ExpertsLine& l) -> const char* {
      if (l.experts == 0 || l.topk == 0) return "experts and topk must be given";
      if (l.topk > l.experts) return "topk must be at most experts";
      if (l.scale_a.kind == Granularity::Kind::automatic && !is_wide(l.a)) {
        return "scale must be declared for 8-bit activations";
      }
      return nullptr;
    },
};

}  // namespace

std::optional<QuantizeOptions> ExpertsLine::quantizer() const {
  if (is_wide(a)) return std::nullopt;
  return QuantizeOptions{.dtype = a, .granularity = scale_a};
}

LineHelp experts_line_help() { return help_of(kGrammar); }

ExpertsLine parse_experts_line(std::string_view text) { return parse_line(kGrammar, text); }

std::string to_string(const ExpertsLine& l) {
  const auto spelled = [](const Granularity& g) {
    return g.kind == Granularity::Kind::automatic ? std::string("none") : to_string(g);
  };
  return spell_line(kGrammar, l,
                    " experts=" + std::to_string(l.experts) + " topk=" + std::to_string(l.topk) +
                        " scale=" + spelled(l.scale_a) + ":" + spelled(l.scale_b));
}

}  // namespace octavo::kit
