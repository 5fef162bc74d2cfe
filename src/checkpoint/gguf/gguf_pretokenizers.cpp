// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/gguf_pretokenizers.hpp"

#include <algorithm>
#include <array>

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kCutBytes =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
constexpr std::string_view kCutDigitsThenBytes =
    R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})";
constexpr std::string_view kCutLlama3 =
    R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
    R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|)"
    R"( ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
constexpr std::string_view kCutQwen2 =
    R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
    R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|)"
    R"( ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]})";

constexpr std::array kPreTokenizers{
    PreTokenizer{"gpt-2", kCutBytes},
    PreTokenizer{"smollm", kCutDigitsThenBytes},
    PreTokenizer{"llama-bpe", kCutLlama3, false, true, true},
    PreTokenizer{"llama3", kCutLlama3, false, true, true},
    PreTokenizer{"llama-v3", kCutLlama3, false, true, true},
    PreTokenizer{"qwen2", kCutQwen2, true},
};

/// What a pre-tokenizer does, without what bears on offsets alone.
void add_cut_steps(const JsonValue& cut, std::string& steps) {
  if (cut["type"].text() == "Sequence") {
    for (const JsonValue step : cut["pretokenizers"].items()) add_cut_steps(step, steps);
    return;
  }
  steps += cut["type"].text();
  for (const char* field : {"add_prefix_space", "use_regex", "individual_digits", "invert"}) {
    steps += cut[field].is(true) ? '1' : '0';
  }
  steps += cut["behavior"].text();
  steps += cut["pattern"]["Regex"].text();
  steps += '\n';
}

std::string cut_steps(std::string_view json) {
  constexpr JsonTree::Limits kLimits{.bytes = 4096, .levels = 8, .values = 64, .key_bytes = 64};
  JsonTree tree;
  std::string steps;
  if (tree.parse(std::string(json), kLimits) == JsonTree::Problem::none) {
    add_cut_steps(tree.root(), steps);
  }
  return steps;
}

}  // namespace

const PreTokenizer* find_pre_tokenizer(std::string_view name) {
  const auto* found = std::ranges::find(kPreTokenizers, name, &PreTokenizer::name);
  return found == kPreTokenizers.end() ? nullptr : found;
}

const PreTokenizer* pre_tokenizer_of(const JsonValue& cut, bool whole_words) {
  std::string steps;
  add_cut_steps(cut, steps);
  const auto* found = std::ranges::find_if(kPreTokenizers, [&](const PreTokenizer& row) {
    return row.whole_words == whole_words && cut_steps(row.cut) == steps;
  });
  return found == kPreTokenizers.end() ? nullptr : found;
}

}  // namespace octavo::checkpoint
