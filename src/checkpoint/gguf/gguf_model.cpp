// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/gguf_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "checkpoint/gguf/gguf_names.hpp"
#include "checkpoint/gguf/rope_factors.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr double kRopeBase = 10000;  // where no key says another

/// Keys of models that config.json of these classes has no field for; 0 is none.
constexpr std::array<std::string_view, 13> kOtherRules{"expert_count",
                                                       "attention.sliding_window",
                                                       "attention.scale",
                                                       "logit_scale",
                                                       "embedding_scale",
                                                       "residual_scale",
                                                       "rope.scale_linear",
                                                       "rope.scaling.attn_factor",
                                                       "rope.scaling.yarn_log_multiplier",
                                                       "rope.scaling.yarn_ext_factor",
                                                       "rope.scaling.yarn_attn_factor",
                                                       "rope.scaling.yarn_beta_fast",
                                                       "rope.scaling.yarn_beta_slow"};

class ModelReader {
 public:
  ModelReader(const char* operation, const GgufHeader& header, const InputFile& file)
      : operation_(operation),
        header_(header),
        file_(file),
        path_(file.path()),
        architecture_(known()) {}

  GgufModel read() {
    for (const std::string_view rule : kOtherRules) refuse_rule(rule);
    heads_ = count("attention.head_count");
    const GgufValue* const keys = value("attention.head_count_kv");
    key_heads_ = keys == nullptr ? heads_ : count("attention.head_count_kv");
    head_rows_ = rows_of_head();
    GgufModel model;
    model.places = [architecture = architecture_, rows = head_rows_](
                       const GgufTensor& tensor) -> std::optional<GgufTensors::Place> {
      if (tensor.name == kRopeFactors) return std::nullopt;
      auto name = name_from_gguf(*architecture, tensor.name);
      const bool rotated = architecture->permuted && rotated_rows(tensor.name) != 0;
      return GgufTensors::Place{std::move(name).value_or(tensor.name), rotated ? rows : 0};
    };
    check_tensors();
    model.texts["config.json"] = indented_json(config(), 0) + "\n";
    add_tokenizer(operation_, header_, model);
    return model;
  }

 private:
  const GgufArchitecture* known() const {
    const GgufValue* const name = header_.find("general.architecture");
    const auto text = name == nullptr ? std::nullopt : name->text();
    const GgufArchitecture* const row = text ? find_gguf_architecture(*text) : nullptr;
    if (row == nullptr) {
      refuse(Code::unsupported, "{}: general.architecture must be {}; got {} (file {})", operation_,
             gguf_architectures(), text ? in_quotes(*text) : "none", in_quotes(path_));
    }
    return row;
  }
  std::string key_of(std::string_view name) const {
    return fmt::format("{}.{}", architecture_->name, name);
  }
  const GgufValue* value(std::string_view name) const { return header_.find(key_of(name)); }

  [[noreturn]] void refuse_key(std::string_view name, std::string_view rule, Code code) const {
    const GgufValue* const got = value(name);
    refuse(code, "{}: {} must {}; got {} (file {})", operation_, key_of(name), rule,
           got == nullptr ? "none" : in_quotes(got->spelled()), in_quotes(path_));
  }
  void refuse_rule(std::string_view name) const {
    const GgufValue* const got = value(name);
    if (got == nullptr || got->number() == 0.0) return;
    refuse_key(name,
               fmt::format("be 0 or absent, since config.json of {} has no word for it",
                           architecture_->model_class),
               Code::unsupported);
  }
  std::int64_t count(std::string_view name) const {
    const GgufValue* const got = value(name);
    const auto number = got == nullptr ? std::nullopt : got->integer();
    if (!number || *number <= 0) refuse_key(name, "be a positive integer", Code::corrupt_data);
    return *number;
  }

  /// A finite number with a fraction or an exponent, as the file has it: "1e-05".
  std::string fraction(std::string_view name) const {
    const GgufValue* const got = value(name);
    const auto number = got == nullptr ? std::nullopt : got->number();
    if (!number || !std::isfinite(*number)) {
      refuse_key(name, "be a finite number", Code::corrupt_data);
    }
    std::string text = got->spelled();
    const bool whole = text.find_first_not_of("-0123456789") == std::string::npos;
    return whole ? text + ".0" : text;
  }

  const GgufTensor* tensor(std::string_view name) const {
    const auto found = std::ranges::find(header_.tensors, name, &GgufTensor::name);
    return found == header_.tensors.end() ? nullptr : &*found;
  }
  std::int64_t rows(std::string_view name) const {
    const GgufTensor* const found = tensor(name);
    if (found == nullptr || found->shape.empty()) {
      refuse(Code::corrupt_data, "{}: tensor {} must be there; got none (file {})", operation_,
             in_quotes(name), in_quotes(path_));
    }
    return found->shape[0];
  }

  std::int64_t rows_of_head() const {
    const std::int64_t all = rows("blk.0.attn_q.weight");
    if (all % heads_ != 0 || all / heads_ % 2 != 0) {
      refuse_key("attention.head_count",
                 fmt::format("divide the {} rows of the query into heads of even size", all),
                 Code::corrupt_data);
    }
    const std::int64_t head = all / heads_;
    if (value("rope.dimension_count") != nullptr && count("rope.dimension_count") != head) {
      refuse_key("rope.dimension_count", fmt::format("be {}, all of a head", head),
                 Code::unsupported);
    }
    return head;
  }

  void check_tensors() const {
    for (const GgufTensor& each : header_.tensors) {
      if (each.name == kRopeFactors) continue;
      if (!name_from_gguf(*architecture_, each.name)) {
        refuse(Code::unsupported,
               "{}: tensor {} must be one of architecture {}; got no name for "
               "it in {} (file {})",
               operation_, in_quotes(each.name), architecture_->name, architecture_->model_class,
               in_quotes(path_));
      }
      const int kind = architecture_->permuted ? rotated_rows(each.name) : 0;
      const std::int64_t want = (kind == 1 ? heads_ : key_heads_) * head_rows_;
      if (kind != 0 && (each.shape.empty() || each.shape[0] != want)) {
        refuse(Code::corrupt_data, "{}: tensor {} must have {} rows; got {} (file {})", operation_,
               in_quotes(each.name), want, shape_text(each.shape), in_quotes(path_));
      }
    }
  }

  bool has(std::string_view name) const { return tensor(name) != nullptr; }

  /// The type of matrices; float32 where some are codes, whose values then stay exact.
  std::string_view dtype() const {
    std::string_view type;
    for (const GgufTensor& each : header_.tensors) {
      if (each.shape.size() < 2) continue;
      if (each.type->plain.empty() || (!type.empty() && type != each.type->plain)) return "float32";
      type = each.type->plain;
    }
    if (type == "BF16") return "bfloat16";
    return type == "F16" ? "float16" : "float32";
  }

  void put(std::string_view field, std::string_view value) {
    config_ += fmt::format("{}\"{}\":{}", config_.empty() ? "" : ",", field, value);
  }
  void put_flag(std::string_view field, bool value) { put(field, value ? "true" : "false"); }

  /// The rule of factors of rotary embeddings.
  std::string llama3(const GgufTensor& stored) const {
    const GgufValue* const base = value("rope.freq_base");
    const bool fits = stored.type->plain == "F32" && stored.shape.size() == 1 &&
                      stored.shape[0] == head_rows_ / 2;
    std::vector<float> factors(fits ? static_cast<std::size_t>(head_rows_ / 2) : 0);
    file_.read(header_.data_begin + stored.begin, std::as_writable_bytes(std::span(factors)));
    const auto rule =
        llama3_rope_of(factors, base == nullptr ? kRopeBase : base->number().value_or(0));
    if (!rule) {
      refuse(Code::unsupported,
             "{}: tensor {} must be the {} factors of Llama 3.1's rule; got {} of another (file "
             "{})",
             operation_, in_quotes(kRopeFactors), head_rows_ / 2, shape_text(stored.shape),
             in_quotes(path_));
    }
    return fmt::format(
        R"({{"rope_type":"llama3","factor":{},"low_freq_factor":{},"high_freq_factor":{},)"
        R"("original_max_position_embeddings":{:.0f}}})",
        json_number(rule->factor), json_number(rule->low_frequency),
        json_number(rule->high_frequency), rule->length);
  }

  void put_rope() {
    put("rope_theta", value("rope.freq_base") == nullptr ? "10000.0" : fraction("rope.freq_base"));
    const GgufValue* const type = value("rope.scaling.type");
    const std::string_view name = type == nullptr ? "none" : type->text().value_or("none");
    if (const GgufTensor* const factors = tensor(kRopeFactors)) {
      if (name != "none")
        refuse_key("rope.scaling.type", "be none beside factors", Code::unsupported);
      put("rope_scaling", llama3(*factors));
      return;
    }
    if (name == "none") return;
    if (name != "linear" && name != "yarn") {
      refuse_key("rope.scaling.type", "be none, linear or yarn", Code::unsupported);
    }
    std::string rule =
        fmt::format(R"({{"rope_type":"{}","factor":{})", name, fraction("rope.scaling.factor"));
    if (name == "yarn") {
      rule += fmt::format(R"(,"original_max_position_embeddings":{})",
                          count("rope.scaling.original_context_length"));
    }
    put("rope_scaling", rule + "}");
  }

  void put_token(std::string_view field, std::string_view key) {
    const GgufValue* const got = header_.find(key);
    if (got == nullptr || !got->integer()) return;
    put(field, std::to_string(*got->integer()));
  }

  std::string config() {
    put("architectures", fmt::format(R"(["{}"])", architecture_->model_class));
    put("model_type", fmt::format(R"("{}")", architecture_->model_type));
    for (const GgufConfigField& row : gguf_config_fields()) {
      put(row.field, row.integer ? std::to_string(count(row.key)) : fraction(row.key));
    }
    put("num_key_value_heads", std::to_string(key_heads_));
    put("head_dim", std::to_string(head_rows_));
    put("vocab_size", std::to_string(rows("token_embd.weight")));
    put("hidden_act", R"("silu")");
    put_flag("tie_word_embeddings", !has("output.weight"));
    if (architecture_->biases_named) put_flag("attention_bias", has("blk.0.attn_q.bias"));
    if (has("blk.0.ffn_down.bias")) put_flag("mlp_bias", true);
    put_rope();
    put_token("bos_token_id", "tokenizer.ggml.bos_token_id");
    put_token("eos_token_id", "tokenizer.ggml.eos_token_id");
    put_token("pad_token_id", "tokenizer.ggml.padding_token_id");
    put("dtype", fmt::format(R"("{}")", dtype()));
    return "{" + config_ + "}";
  }

  const char* operation_;
  const GgufHeader& header_;
  const InputFile& file_;
  std::string_view path_;
  const GgufArchitecture* architecture_;
  std::int64_t heads_ = 0, key_heads_ = 0, head_rows_ = 0;
  std::string config_;
};

}  // namespace

GgufModel gguf_model(const char* operation, const GgufHeader& header, const InputFile& file) {
  return ModelReader(operation, header, file).read();
}

}  // namespace octavo::checkpoint
