// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/write_gguf.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>
#include <limits>
#include <span>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/gguf/gguf_names.hpp"
#include "checkpoint/gguf/gguf_vocabulary.hpp"
#include "checkpoint/gguf/q8_blocks.hpp"
#include "checkpoint/gguf/rope_factors.hpp"
#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/safetensors/pieces.hpp"
#include "checkpoint/steps/layer_report.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"
#include "checkpoint/write/plan_writer.hpp"
#include "core/fp_env.hpp"

namespace octavo::checkpoint {
namespace {

constexpr const char* kQuantizeFile = "quantize_file";
constexpr std::uint32_t kGgufF32 = 0, kGgufQ8 = 8;
constexpr std::uint32_t kMostlyQ8 = 7, kQuantizationVersion = 2;  // of llama.cpp and ggml
constexpr std::size_t kTokenizerBytes = std::size_t{1} << 28;
constexpr std::int64_t kPieceOfFloats = std::int64_t{1} << 20;

/// Refuses what only other files have.
void check_gguf_options(const QuantizeFileOptions& options) {
  const std::array<std::pair<const char*, bool>, 11> kSet{
      {{"ignore", !options.ignore.empty()},
       {"layout", !options.layout.empty()},
       {"head", options.head},
       {"rotation", options.rotation != 0},
       {"experts", options.experts != Experts::as_loaded},
       {"calibration", !options.calibration.empty()},
       {"outlier_columns", !options.outlier_columns.empty()},
       {"outlier_threshold", options.outlier_threshold.has_value()},
       {"whole_columns", options.whole_columns},
       {"static_scales", options.static_scales},
       {"requantize", options.requantize}}};
  const auto* const found = std::ranges::find_if(kSet, [](const auto& row) { return row.second; });
  if (found != kSet.end()) {
    refuse(Code::invalid_argument,
           "{}: options.{} must be unset where out is a GGUF file; got a value", kQuantizeFile,
           found->first);
  }
  if (options.scheme != Scheme::int8_dynamic && options.scheme != Scheme::int8_weight_only) {
    refuse(Code::invalid_argument,
           "{}: options.scheme must be int8-dynamic or int8-weight-only where out is a GGUF file, "
           "whose blocks are Q8_0; got {}",
           kQuantizeFile, scheme_name(options.scheme));
  }
}

/// A tensor, and how it is written.
struct GgufTensorPlan {
  const TensorEntry* entry = nullptr;
  std::size_t number = 0;
  bool blocks = false;
  std::int64_t rows = 0, row_elements = 0;
  std::int64_t head_rows = 0;  ///< whose halves are brought together row by row; 0: none
  CodeErrors errors{};
};

class GgufFileWriter {
 public:
  GgufFileWriter(const Checkpoint& in, const QuantizeFileOptions& options)
      : in_(in), options_(options), config_text_(in.impl().text(kConfigFile).value_or("{}")) {
    if (config_.parse(config_text_, QuantizationConfig::kLimits) != JsonTree::Problem::none) {
      refuse(Code::corrupt_data, "{}: {} must be JSON; got {} bytes of another kind", kQuantizeFile,
             kConfigFile, config_text_.size());
    }
    architecture_ = gguf_architecture_of(field("model_type").text());
    if (architecture_ == nullptr) {
      refuse(Code::unsupported, "{}: model_type of {} must be {}; got {}", kQuantizeFile,
             kConfigFile, gguf_architectures(), in_quotes(field("model_type").spelled()));
    }
  }

  QuantizeReport write(const std::string& out) {
    check_model();
    put_config();
    for (const TensorEntry& entry : in_.entries()) add(entry);
    const std::string header = layout_.header();
    AtomicFile file(out, std::ssize(header) + layout_.data_bytes(), Space::reserved,
                    options_.temporary);
    file.write(0, std::as_bytes(std::span(header)));
    data_begin_ = std::ssize(header);
    if (!factors_.empty()) {  // the first tensor
      file.write(data_begin_ + layout_.begin(0), std::as_bytes(std::span(factors_)));
    }
    std::vector<Piece> pieces;
    std::deque<CodeErrors> parts;
    std::vector<std::pair<GgufTensorPlan*, CodeErrors*>> owners;
    for (GgufTensorPlan& plan : plans_) {
      for (std::int64_t row = 0; row < plan.rows; row += rows_of_piece(plan)) {
        owners.emplace_back(&plan, &parts.emplace_back());
        pieces.push_back(piece(plan, row, file, parts.back()));
      }
    }
    std::int64_t total = 0;
    for (const TensorEntry& entry : in_.entries()) total += entry.end - entry.begin;
    run_pieces(pieces, most_threads(options_.threads),
               [&](std::string_view name, std::int64_t bytes) {
                 if (options_.at && !name.empty()) options_.at(name);
                 if (options_.progress) options_.progress(bytes, total);
               });
    for (const auto& [plan, errors] : owners) plan->errors += *errors;
    QuantizeReport report = reported();
    file.commit();
    report.file_bytes_after = file_bytes(out.c_str());
    return report;
  }

 private:
  JsonValue field(std::string_view name) const { return config_.root()[name]; }
  /// A rule of rotary embeddings, where config.json has it.
  JsonValue rope(std::string_view name) const {
    const JsonValue rule = field("rope_parameters")[name];
    return rule.is_null() ? field("rope_scaling")[name] : rule;
  }
  std::int64_t count(std::string_view name) const {
    const JsonValue value = field(name);
    if (!value.is_integer() || value.integer() <= 0 ||
        value.integer() > std::numeric_limits<std::int32_t>::max()) {
      refuse(Code::corrupt_data, "{}: {} of {} must be a positive integer below 2^31; got {}",
             kQuantizeFile, name, kConfigFile, value.spelled());
    }
    return value.integer();
  }

  void check_model() const {
    const std::vector<std::string> layers = in_.quantized_layers();
    if (!layers.empty()) {
      refuse(Code::invalid_argument,
             "{}: {} must hold float weights where out is a GGUF file; got {} quantised layers, "
             "the first {} (octavo dequantize writes floats)",
             kQuantizeFile, in_quotes(in_.path()), layers.size(), in_quotes(layers[0]));
    }
    const std::string_view act = field("hidden_act").text();
    const bool windows = field("use_sliding_window").is(true);
    const std::string_view type = rope("rope_type").text();
    const bool known = type.empty() || type == "default" || type == "linear" || type == "yarn" ||
                       (type == "llama3" && architecture_->permuted);
    if (act != "silu" || windows || !known) {
      refuse(Code::unsupported,
             "{}: {} must have hidden_act silu, no sliding window and rope_type default, linear, "
             "yarn or, of Llama, llama3 where out is a GGUF file; got {}, {} and {}",
             kQuantizeFile, kConfigFile, field("hidden_act").spelled(),
             windows ? "a window" : "none", in_quotes(type));
    }
  }

  void put(std::string_view key, auto value) {
    layout_.put(fmt::format("{}.{}", architecture_->name, key), value);
  }
  void put_count(std::string_view key, std::int64_t value) {
    put(key, static_cast<std::uint32_t>(value));
  }

  void put_config() {
    layout_.put("general.architecture", architecture_->name);
    layout_.put("general.type", std::string_view("model"));
    layout_.put("general.file_type", kMostlyQ8);
    layout_.put("general.quantization_version", kQuantizationVersion);
    for (const GgufConfigField& row : gguf_config_fields()) {
      if (row.integer) {
        put_count(row.key, count(row.field));
      } else {
        put(row.key, static_cast<float>(field(row.field).number()));
      }
    }
    heads_ = count("num_attention_heads");
    key_heads_ = field("num_key_value_heads").is_null() ? heads_ : count("num_key_value_heads");
    const bool own = !field("head_dim").is_null();
    head_rows_ = own ? count("head_dim") : count("hidden_size") / heads_;
    put_count("attention.head_count_kv", key_heads_);
    put_count("rope.dimension_count", head_rows_);
    put_count("attention.key_length", head_rows_);
    put_count("attention.value_length", head_rows_);
    put_count("vocab_size", count("vocab_size"));
    put_rope();
    std::string warning = put_tokenizer(
        kQuantizeFile,
        [this](std::string_view name) -> std::optional<std::string> {
          if (in_.impl().gguf) return in_.impl().text(name);
          return small_text((std::filesystem::path(in_.impl().beside) / name).string(),
                            kTokenizerBytes);
        },
        count("vocab_size"), layout_);
    if (!warning.empty()) warnings_.push_back(std::move(warning));
  }

  void put_rope() {
    const JsonValue base = rope("rope_theta");
    const JsonValue theta = base.is_null() ? field("rope_theta") : base;
    put("rope.freq_base", theta.is_null() ? 10000.0F : static_cast<float>(theta.number()));
    const std::string_view type = rope("rope_type").text();
    if (type.empty() || type == "default") return;
    if (type == "llama3") return add_factors(theta.is_null() ? 10000 : theta.number());
    put("rope.scaling.type", type);
    put("rope.scaling.factor", static_cast<float>(rope("factor").number()));
    if (type == "yarn") {
      put_count("rope.scaling.original_context_length",
                rope("original_max_position_embeddings").integer());
    }
  }

  void add_factors(double base) {
    const Llama3Rope rule{.factor = rope("factor").number(),
                          .low_frequency = rope("low_freq_factor").number(),
                          .high_frequency = rope("high_freq_factor").number(),
                          .length = rope("original_max_position_embeddings").number()};
    factors_ = llama3_factors(rule, base, head_rows_);
    const std::array<std::int64_t, 1> shape{std::ssize(factors_)};
    layout_.add(kRopeFactors, shape, *find_block_type(kGgufF32));
  }

  void add(const TensorEntry& entry) {
    if (entry.name.ends_with(".rotary_emb.inv_freq")) return;
    if (entry.name == "lm_head.weight" && field("tie_word_embeddings").is(true)) return;
    const auto name = name_to_gguf(*architecture_, entry.name);
    const bool floats = is_wide(dtype_of_name(entry.dtype));
    if (!name || !floats || entry.shape.empty() || entry.shape.size() > 2 || entry.shape[0] == 0) {
      refuse(Code::unsupported,
             "{}: tensor {} must be a float vector or matrix of {} where out is a GGUF file; got "
             "{} of {}",
             kQuantizeFile, in_quotes(entry.name), architecture_->model_class,
             shape_text(entry.shape), entry.dtype);
    }
    GgufTensorPlan& plan = plans_.emplace_back();
    plan.entry = &entry;
    plan.rows = entry.shape[0];
    plan.row_elements = entry.shape.size() == 2 ? entry.shape[1] : 1;
    plan.blocks = entry.shape.size() == 2 && plan.row_elements > 0 &&
                  plan.row_elements % static_cast<std::int64_t>(kQ8Elements) == 0;
    const int rotated = architecture_->permuted ? rotated_rows(*name) : 0;
    if (rotated != 0) plan.head_rows = head_rows_;
    if (rotated != 0 &&
        (plan.rows != (rotated == 1 ? heads_ : key_heads_) * head_rows_ || head_rows_ % 2 != 0)) {
      refuse(Code::corrupt_data, "{}: tensor {} must have {} heads of {} rows; got {}",
             kQuantizeFile, in_quotes(entry.name), rotated == 1 ? heads_ : key_heads_, head_rows_,
             shape_text(entry.shape));
    }
    plan.number =
        layout_.add(*name, entry.shape, *find_block_type(plan.blocks ? kGgufQ8 : kGgufF32));
  }

  static std::int64_t rows_of_piece(const GgufTensorPlan& plan) {
    const std::int64_t unit = std::max<std::int64_t>(1, plan.head_rows);
    const std::int64_t rows = kPieceOfFloats / std::max<std::int64_t>(1, plan.row_elements);
    return std::max(unit, rows / unit * unit);
  }

  /// Rows of a tensor as float32, in llama.cpp's order.
  Tensor read_rows(const GgufTensorPlan& plan, std::int64_t first, std::int64_t rows) const {
    const DType dtype = dtype_of_name(plan.entry->dtype);
    const std::int64_t bytes = plan.row_elements * element_bytes(dtype);
    const Tensor stored = Tensor::empty(dtype, {rows, plan.row_elements});
    in_.impl().read(*plan.entry, first * bytes,
                    {stored.data_as<std::byte>(), static_cast<std::size_t>(rows * bytes)});
    const Tensor wide = copy(stored, DType::float32);
    if (plan.head_rows == 0) return wide;
    const Tensor ordered = Tensor::empty(DType::float32, {rows, plan.row_elements});
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t of_head = row % plan.head_rows;
      const std::int64_t from = row - of_head + of_head % 2 * (plan.head_rows / 2) + of_head / 2;
      std::copy_n(wide.data_as<float>() + from * plan.row_elements, plan.row_elements,
                  ordered.data_as<float>() + row * plan.row_elements);
    }
    return ordered;
  }

  Piece piece(const GgufTensorPlan& plan, std::int64_t first, AtomicFile& file,
              CodeErrors& errors) const {
    const TensorEntry& entry = *plan.entry;
    const std::int64_t rows = std::min(rows_of_piece(plan), plan.rows - first);
    const std::int64_t bytes = rows * plan.row_elements * element_bytes(dtype_of_name(entry.dtype));
    const std::int64_t begin = bytes / rows * first;
    return {entry.name, &in_.impl().inputs[entry.file],
            in_.impl().data_begin[entry.file] + entry.begin + begin, bytes,
            [this, &plan, first, rows, &file, &errors] {
              const FloatEnvironment environment;
              const Tensor values = read_rows(plan, first, rows);
              const std::span<const float> floats(values.data_as<float>(),
                                                  static_cast<std::size_t>(values.numel()));
              const std::int64_t at = data_begin_ + layout_.begin(plan.number);
              if (!plan.blocks) {
                return file.write(at + first * plan.row_elements * std::int64_t{sizeof(float)},
                                  std::as_bytes(floats));
              }
              std::vector<std::byte> blocks(floats.size() / kQ8Elements * kQ8Bytes);
              quantize_q8_blocks(floats, blocks, errors);
              check_finite(plan, errors);
              file.write(at + first * plan.row_elements / std::int64_t{kQ8Elements} *
                                  std::int64_t{kQ8Bytes},
                         blocks);
            }};
  }

  static void check_finite(const GgufTensorPlan& plan, const CodeErrors& errors) {
    if (errors.finite) return;
    refuse(Code::corrupt_data,
           "{}: tensor {} must be finite, with magnitudes of at most 127 x 65504; got another "
           "element",
           kQuantizeFile, in_quotes(plan.entry->name));
  }

  QuantizeReport reported() const {
    QuantizeReport report;
    report.file_bytes_before = in_.file_bytes();
    report.warnings = in_.impl().findings;
    report.warnings.insert(report.warnings.end(), warnings_.begin(), warnings_.end());
    for (const GgufTensorPlan& plan : plans_) {
      if (!plan.blocks) {
        ++report.tensors_copied;
        continue;
      }
      const std::string_view name = plan.entry->name;
      LayerReport& layer = report.layers.emplace_back(
          report_of(name.substr(0, name.rfind('.')), plan.rows, plan.row_elements, plan.errors));
      layer.bytes_before = plan.entry->end - plan.entry->begin;
      layer.bytes_after =
          plan.rows * plan.row_elements / std::int64_t{kQ8Elements} * std::int64_t{kQ8Bytes};
    }
    return report;
  }

  const Checkpoint& in_;
  const QuantizeFileOptions& options_;
  std::string config_text_;
  JsonTree config_;
  const GgufArchitecture* architecture_ = nullptr;
  std::int64_t heads_ = 0, key_heads_ = 0, head_rows_ = 0;
  GgufLayout layout_;
  std::deque<GgufTensorPlan> plans_;
  std::vector<std::string> warnings_;
  std::vector<float> factors_;  ///< of rotary embeddings; empty: none
  std::int64_t data_begin_ = 0;
};

}  // namespace

QuantizeReport write_gguf(const std::string& in, const std::string& out,
                          const QuantizeFileOptions& options) {
  check_gguf_options(options);
  const Checkpoint opened = open_whole(kQuantizeFile, in, out, {});
  return GgufFileWriter(opened, options).write(out);
}

}  // namespace octavo::checkpoint
