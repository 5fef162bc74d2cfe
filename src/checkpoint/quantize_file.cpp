// SPDX-License-Identifier: Apache-2.0
// quantize_file: reads one tensor, quantises it or not, writes it, and goes on.
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "checkpoint/file.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/layer_report.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/recipe.hpp"
#include "checkpoint/sentence.hpp"
#include "core/cells.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype())));
  if (!bytes.empty()) std::memcpy(bytes.data(), tensor.data(), bytes.size());
  return bytes;
}

std::vector<std::int64_t> scale_shape(const Recipe& recipe, std::int64_t n, std::int64_t k) {
  if (recipe.bitsandbytes) return {n};
  return {cells(n, recipe.grid.rows), cells(k, recipe.grid.cols)};
}

/// One run over one file. Tensors are made when the writer asks for them, in the order of the
/// input; a layer's scales wait in memory for the moment between the codes and themselves.
class FileQuantizer {
 public:
  FileQuantizer(const std::string& in, const QuantizeFileOptions& options)
      : in_(open_checkpoint(in)),
        recipe_(recipe_of("quantize_file", options.scheme)),
        options_(options),
        ignore_("quantize_file", options.ignore) {
    const std::vector<std::string> quantized = in_.quantized_layers();
    if (!quantized.empty()) {
      refuse(Code::invalid_argument,
             "quantize_file: file {} must hold float weights; got {} quantised layers, the first "
             "{}",
             in_quotes(in), quantized.size(), in_quotes(quantized[0]));
    }
    for (const TensorEntry& entry : in_.entries()) {
      total_ += entry.end - entry.begin;
      plan(entry);
    }
  }

  QuantizeReport run(const std::string& out) {
    std::map<std::string, std::string> metadata = in_.metadata();
    metadata[kConfigKey] = config_text(options_.scheme, kept_);
    report_.file_bytes_before = in_.file_bytes();
    write_safetensors(out, std::move(tensors_), metadata);
    report_.file_bytes_after = file_bytes(out.c_str());  // the file is in place: nothing may fail
    return std::move(report_);
  }

 private:
  void plan(const TensorEntry& entry) {
    const Treatment treated = treatment(entry, ignore_);
    if (treated == Treatment::quantise) return plan_layer(entry);
    if (treated == Treatment::keep_layer) kept_.emplace_back(*layer_of(entry.name));
    ++report_.tensors_copied;
    tensors_.push_back({entry.name, entry.dtype, entry.shape, [this, &entry] {
                          std::vector<std::byte> bytes = in_.bytes(entry.name);
                          advance(entry);
                          return bytes;
                        }});
  }

  void plan_layer(const TensorEntry& entry) {
    const std::string layer(*layer_of(entry.name));
    const auto scale = std::make_shared<Tensor>();
    tensors_.push_back({entry.name, recipe_.code_type, entry.shape, [this, &entry, layer, scale] {
                          const Tensor weight = in_.tensor(entry.name);
                          const Written written = recipe_.quantise(weight);
                          report_.layers.push_back(
                              measure("quantize_file", layer, weight, written.codes));
                          *scale = written.scale;
                          advance(entry);
                          return bytes_of(written.codes.data);
                        }});
    tensors_.push_back({layer + "." + recipe_.scale, "F32",
                        scale_shape(recipe_, entry.shape[0], entry.shape[1]),
                        [scale] { return bytes_of(*scale); }});
    if (recipe_.bitsandbytes) {
      tensors_.push_back({layer + ".weight_format", "U8", {}, [] {
                            return std::vector<std::byte>(1, std::byte{0});
                          }});
    }
  }

  void advance(const TensorEntry& entry) {
    done_ += entry.end - entry.begin;
    if (options_.progress) options_.progress(done_, total_);
  }

  Checkpoint in_;
  const Recipe& recipe_;
  const QuantizeFileOptions& options_;
  NamePatterns ignore_;
  std::vector<TensorToWrite> tensors_;
  std::vector<std::string> kept_;  ///< layers left alone
  QuantizeReport report_;
  std::int64_t done_ = 0, total_ = 0;
};

}  // namespace

QuantizeReport quantize_file(const std::string& in, const std::string& out,
                             const QuantizeFileOptions& options) {
  return checkpoint_edge("quantize_file", [&] { return FileQuantizer(in, options).run(out); });
}

}  // namespace octavo
