// SPDX-License-Identifier: Apache-2.0
// From a file's vocabulary and merges to tokenizer.json: byte pair encoding alone.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/gguf/gguf_model.hpp"
#include "checkpoint/gguf/gguf_pretokenizers.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr const char* kTokenizer = "open_checkpoint";

/// Kinds of tokens, by ggml's numbers.
constexpr double kControlToken = 3, kUserToken = 4;

std::string_view text_of(const GgufHeader& header, std::string_view key) {
  const GgufValue* const value = header.find(key);
  return value == nullptr ? std::string_view() : value->text().value_or(std::string_view());
}

class TokenizerWriter {
 public:
  TokenizerWriter(const GgufHeader& header, const PreTokenizer& cut)
      : header_(header), cut_(cut), tokens_(list("tokenizer.ggml.tokens")) {
    if (const GgufValue* const kinds = header.find("tokenizer.ggml.token_type")) {
      kinds_ = kinds->numbers();
    }
    kinds_.resize(tokens_.size());
  }

  std::string tokenizer() const {
    std::string json = R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)";
    json += added() + R"(,"normalizer":)" + (cut_.composes ? R"({"type":"NFC"})" : "null");
    json += R"(,"pre_tokenizer":)" + std::string(cut_.cut);
    json += R"(,"post_processor":)" + post_processor();
    json += R"(,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,)"
            R"("use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,)"
            R"("continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,)"
            R"("byte_fallback":false,"ignore_merges":)";
    json += cut_.whole_words ? "true" : "false";
    return json + R"(,"vocab":)" + vocabulary() + R"(,"merges":)" + merges() + "}}\n";
  }

  std::string configuration() const {
    std::string json = R"({"tokenizer_class":"PreTrainedTokenizerFast")";
    json += R"(,"clean_up_tokenization_spaces":false)";
    constexpr std::array<std::pair<const char*, const char*>, 3> kTokens{
        {{"bos_token", "bos"}, {"eos_token", "eos"}, {"pad_token", "padding"}}};
    for (const auto& [field, key] : kTokens) {
      if (const auto id = token(key)) json += fmt::format(R"(,"{}":{})", field, quoted(*id));
    }
    const std::string_view chat = text_of(header_, "tokenizer.chat_template");
    if (!chat.empty()) json += R"(,"chat_template":)" + json_string(kTokenizer, chat);
    return indented_json(json + "}", 0) + "\n";
  }

  std::string generation() const {
    std::string json;
    for (const char* key : {"bos", "eos"}) {
      if (const auto id = token(key)) {
        json += fmt::format(R"({}"{}_token_id":{})", json.empty() ? "" : ",", key, *id);
      }
    }
    return indented_json("{" + json + "}", 0) + "\n";
  }

 private:
  std::vector<std::string_view> list(std::string_view key) const {
    const GgufValue* const value = header_.find(key);
    return value == nullptr ? std::vector<std::string_view>() : value->texts();
  }
  std::string quoted(std::size_t id) const { return json_string(kTokenizer, tokens_[id]); }
  std::optional<std::size_t> token(std::string_view kind) const {
    const GgufValue* const value = header_.find(fmt::format("tokenizer.ggml.{}_token_id", kind));
    const auto id = value == nullptr ? std::nullopt : value->integer();
    if (!id || *id < 0 || *id >= std::ssize(tokens_)) return std::nullopt;
    return static_cast<std::size_t>(*id);
  }

  std::string vocabulary() const {
    std::string json;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      json += fmt::format("{}{}:{}", i == 0 ? "" : ",", quoted(i), i);
    }
    return "{" + json + "}";
  }

  // Of two halves, neither of which has a space: a space is another character in the vocabulary.
  std::string merges() const {
    std::string json;
    for (const std::string_view merge : list("tokenizer.ggml.merges")) {
      const std::size_t space = std::min(merge.find(' ', 1), merge.size());
      const std::string_view second = merge.substr(std::min(space + 1, merge.size()));
      json += fmt::format("{}[{},{}]", json.empty() ? "" : ",",
                          json_string(kTokenizer, merge.substr(0, space)),
                          json_string(kTokenizer, second));
    }
    return "[" + json + "]";
  }

  std::string added() const {
    std::string json;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (kinds_[i] != kControlToken && kinds_[i] != kUserToken) continue;
      json += fmt::format(R"({}{{"id":{},"content":{},"single_word":false,"lstrip":false,)"
                          R"("rstrip":false,"normalized":false,"special":{}}})",
                          json.empty() ? "" : ",", i, quoted(i), kinds_[i] == kControlToken);
    }
    return "[" + json + "]";
  }

  std::string post_processor() const {
    constexpr std::string_view kTrim =
        R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true})";
    const GgufValue* const said = header_.find("tokenizer.ggml.add_bos_token");
    const auto first = token("bos");
    if (!first || !(said == nullptr ? cut_.begins : said->boolean().value_or(cut_.begins))) {
      return std::string(kTrim);
    }
    const std::string name = quoted(*first);
    const auto sequence = [](std::string_view id, int type) {
      return fmt::format(R"({{"Sequence":{{"id":"{}","type_id":{}}}}})", id, type);
    };
    const auto special = [&](int type) {
      return fmt::format(R"({{"SpecialToken":{{"id":{},"type_id":{}}}}})", name, type);
    };
    return fmt::format(
        R"({{"type":"Sequence","processors":[{},{{"type":"TemplateProcessing","single":[{},{}],)"
        R"("pair":[{},{},{},{}],"special_tokens":{{{}:{{"id":{},"ids":[{}],"tokens":[{}]}}}}}}]}})",
        kTrim, special(0), sequence("A", 0), special(0), sequence("A", 0), special(1),
        sequence("B", 1), name, name, *first, name);
  }

  const GgufHeader& header_;
  const PreTokenizer& cut_;
  std::vector<std::string_view> tokens_;
  std::vector<double> kinds_;
};

}  // namespace

void add_tokenizer(const char* operation, const GgufHeader& header, GgufModel& model) {
  const std::string_view kind = text_of(header, "tokenizer.ggml.model");
  const std::string_view pre = text_of(header, "tokenizer.ggml.pre");
  const PreTokenizer* const cut = find_pre_tokenizer(pre);
  if (kind != "gpt2" || cut == nullptr) {
    model.warnings.push_back(
        fmt::format("{}: tokenizer.ggml.model and tokenizer.ggml.pre must be 'gpt2' and a "
                    "pre-tokenizer that is "
                    "known for tokenizer.json to be written; got {} and {}, so the folder has none",
                    operation, in_quotes(kind), in_quotes(pre)));
    return;
  }
  const TokenizerWriter writer(header, *cut);
  model.texts["tokenizer.json"] = writer.tokenizer();
  model.texts["tokenizer_config.json"] = writer.configuration();
  model.texts["generation_config.json"] = writer.generation();
}

}  // namespace octavo::checkpoint
