// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/gguf_vocabulary.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "checkpoint/gguf/gguf_pretokenizers.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr JsonTree::Limits kTokenizerLimits{.bytes = std::size_t{1} << 28,
                                            .levels = 32,
                                            .values = 8'000'000,
                                            .key_bytes = std::size_t{64} << 10};

/// Kinds of tokens, by ggml's numbers.
enum TokenKind : std::int32_t {
  kTokenNormal = 1,
  kTokenSpecial = 3,
  kTokenOwn = 4,
  kTokenUnused = 5
};

JsonTree parsed_file(const char* operation, std::string_view name, const std::string& text) {
  JsonTree tree;
  if (tree.parse(text, kTokenizerLimits) != JsonTree::Problem::none || !tree.root().is_object()) {
    refuse(Code::corrupt_data, "{}: {} must be a JSON object; got {} bytes of another kind",
           operation, name, text.size());
  }
  return tree;
}

class Vocabulary {
 public:
  Vocabulary(const char* operation, const JsonValue& tokenizer, std::int64_t size)
      : operation_(operation) {
    tokens_.resize(static_cast<std::size_t>(size));
    kinds_.assign(tokens_.size(), kTokenUnused);
    for (const JsonValue token : tokenizer["model"]["vocab"].items()) {
      set(token.key(), token, kTokenNormal);
    }
    for (const JsonValue token : tokenizer["added_tokens"].items()) {
      set(token["content"].text(), token["id"],
          token["special"].is(true) ? kTokenSpecial : kTokenOwn);
    }
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (kinds_[i] == kTokenUnused) tokens_[i] = fmt::format("[PAD{}]", i);
    }
  }

  const std::vector<std::string>& tokens() const noexcept { return tokens_; }
  const std::vector<std::int32_t>& kinds() const noexcept { return kinds_; }
  std::optional<std::uint32_t> find(std::string_view token) const {
    const auto found = std::ranges::find(tokens_, token);
    if (token.empty() || found == tokens_.end()) return std::nullopt;
    return static_cast<std::uint32_t>(found - tokens_.begin());
  }

 private:
  void set(std::string_view token, const JsonValue& id, std::int32_t kind) {
    const std::int64_t number = id.integer();
    if (!id.is_integer() || number < 0 || number >= std::ssize(tokens_)) {
      refuse(Code::corrupt_data,
             "{}: tokenizer.json must have numbers of tokens below the {} rows of the embeddings; "
             "got {} of {}",
             operation_, tokens_.size(), id.spelled(), in_quotes(token));
    }
    tokens_[static_cast<std::size_t>(number)] = token;
    kinds_[static_cast<std::size_t>(number)] = kind;
  }

  const char* operation_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> kinds_;
};

// Halves without spaces, which are other characters in the vocabulary; a pair or a text.
std::vector<std::string> merges_of(const JsonValue& model) {
  std::vector<std::string> merges;
  for (const JsonValue merge : model["merges"].items()) {
    std::string text(merge.text());
    for (const JsonValue half : merge.items()) {
      text += text.empty() ? "" : " ";
      text += half.text();
    }
    merges.push_back(std::move(text));
  }
  return merges;
}

/// Whether every text begins with a special token.
bool begins_with_token(const JsonValue& processor) {
  for (const JsonValue step : processor["processors"].items()) {
    if (begins_with_token(step)) return true;
  }
  for (const JsonValue item : processor["single"].items()) {
    return item["SpecialToken"].is_object();
  }
  return false;
}

}  // namespace

std::string put_tokenizer(const char* operation, const FolderTexts& texts, std::int64_t vocabulary,
                          GgufLayout& layout) {
  const std::string text = texts("tokenizer.json").value_or("{}");
  const JsonTree tree = parsed_file(operation, "tokenizer.json", text);
  const JsonValue tokenizer = tree.root(), model = tokenizer["model"];
  const PreTokenizer* const cut =
      pre_tokenizer_of(tokenizer["pre_tokenizer"], model["ignore_merges"].is(true));
  if (model["type"].text() != "BPE" || cut == nullptr) {
    layout.put("tokenizer.ggml.model", std::string_view("none"));
    return fmt::format(
        "{}: tokenizer.json must have byte pairs and a pre-tokenizer that llama.cpp has a name "
        "for; got {}, so the file has no tokenizer",
        operation,
        text == "{}" ? "no such file"
                     : fmt::format("model {} and pre_tokenizer {}", model["type"].spelled(),
                                   tokenizer["pre_tokenizer"]["type"].spelled()));
  }
  const Vocabulary words(operation, tokenizer, vocabulary);
  layout.put("tokenizer.ggml.model", std::string_view("gpt2"));
  layout.put("tokenizer.ggml.pre", cut->name);
  layout.put("tokenizer.ggml.tokens", std::span(words.tokens()));
  layout.put("tokenizer.ggml.token_type", std::span(words.kinds()));
  layout.put("tokenizer.ggml.merges", std::span<const std::string>(merges_of(model)));
  layout.put("tokenizer.ggml.add_bos_token", begins_with_token(tokenizer["post_processor"]));

  const JsonTree beside = parsed_file(operation, "tokenizer_config.json",
                                      texts("tokenizer_config.json").value_or("{}"));
  constexpr std::array<std::pair<const char*, const char*>, 3> kTokens{
      {{"bos_token", "bos"}, {"eos_token", "eos"}, {"pad_token", "padding"}}};
  for (const auto& [field, key] : kTokens) {
    const JsonValue token = beside.root()[field];
    const auto id = words.find(token.is_object() ? token["content"].text() : token.text());
    if (id) layout.put(fmt::format("tokenizer.ggml.{}_token_id", key), *id);
  }
  const std::string chat =
      texts("chat_template.jinja").value_or(std::string(beside.root()["chat_template"].text()));
  if (!chat.empty()) layout.put("tokenizer.chat_template", std::string_view(chat));
  return {};
}

}  // namespace octavo::checkpoint
