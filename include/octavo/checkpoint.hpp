// SPDX-License-Identifier: Apache-2.0
// Checkpoints: safetensors files, the quantisation schemes written into them, and one canonical
// form of a weight whatever the dialect.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/quantize.hpp"
#include "octavo/tensor.hpp"
#include "octavo/weight.hpp"

namespace octavo {

/// One entry of a safetensors header.
struct TensorEntry {
  std::string name;   ///< of the tensor
  std::string dtype;  ///< safetensors spelling; all 22 types are known by name and size
  std::vector<std::int64_t> shape;  ///< sizes of its dimensions
  std::int64_t begin = 0, end = 0;  ///< byte offsets in the data section of its file
  std::size_t file = 0;             ///< index in Checkpoint::files()
};

/// One of the files that a checkpoint's tensors lie in.
struct CheckpointFile {
  std::string name;                             ///< without its folder
  std::int64_t bytes = 0;                       ///< of the file
  std::map<std::string, std::string> metadata;  ///< "__metadata__" of its header
};

/// Where a checkpoint says how it is quantised.
struct Declaration {
  std::string where;  ///< "config.json", "metadata of model.safetensors", ...
  std::string text;   ///< JSON: what config.json has as "quantization_config"
};

/// A safetensors or GGUF file, or all those of a model's folder, opened and validated. Reading
/// copies into owned, aligned memory.
class OCTAVO_API Checkpoint {
 public:
  struct Impl;
  explicit Checkpoint(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

  const std::vector<TensorEntry>& entries() const noexcept;  ///< file by file, in file order
  /// Of a folder: that of the first file that has the key.
  const std::map<std::string, std::string>& metadata() const noexcept;
  /// The files that its tensors lie in.
  const std::vector<CheckpointFile>& files() const noexcept;
  std::int64_t file_bytes() const noexcept;    ///< of all files
  const std::string& path() const noexcept;    ///< as opened
  const std::string& folder() const noexcept;  ///< empty where a file was opened
  /// What says how the checkpoint is quantised, the one that counts first: config.json,
  /// hf_quant_config.json, quantize_config.json, the files' metadata "quantization_config".
  const std::vector<Declaration>& declarations() const noexcept;
  /// Whether there is a tensor of that name.
  bool contains(std::string_view name) const noexcept;
  /// A tensor by name. Throws Error (invalid_argument: no such tensor, with the nearest name;
  /// unsupported: a type Octavo does not carry; io).
  Tensor tensor(std::string_view name) const;
  /// The raw bytes of a tensor of any type.
  std::vector<std::byte> bytes(std::string_view name) const;
  /// The weight of layer `prefix` (without ".weight") in canonical form, whatever its dialect.
  Weight weight(std::string_view prefix) const;
  /// The prefixes of all layers whose weight is quantised.
  std::vector<std::string> quantized_layers() const;
  /// Experts stored in one tensor, such as "x.experts.gate_up_proj" with its "_scale_inv". Experts
  /// with a tensor each are layers.
  ExpertStack experts(std::string_view prefix) const;
  /// The prefixes of all tensors of quantised experts.
  std::vector<std::string> quantized_experts() const;
  /// The layers that quantised experts in one tensor are, expert by expert:
  /// "x.experts.0.gate_proj", "x.experts.0.up_proj", "x.experts.1.gate_proj", ... They are among
  /// quantized_layers().
  std::vector<std::string> layers_of_experts(std::string_view prefix) const;
  const Impl& impl() const noexcept { return *impl_; }  ///< for the library itself

 private:
  std::shared_ptr<const Impl> impl_;
};

/// Opens and validates a safetensors or GGUF file, or a model's folder in Hugging Face's layout:
/// model.safetensors, or the files that *.safetensors.index.json names, beside config.json. A file
/// without "quantization_config" in its metadata takes that of the config.json in its folder; of
/// GGUF, whose blocks are int8 codes "x.weight" and "x.weight_block_scale", none. Throws Error:
/// unavailable (no such file), io, corrupt_data (what is malformed, in which file and tensor, at
/// which offset), unsupported (big-endian GGUF).
/// `layout`: a file that says what the modules of a model of one's own are (docs/checkpoints.md);
/// empty: the table of transformers' classes says it, by config.json.
OCTAVO_API Checkpoint open_checkpoint(const std::string& path, const std::string& layout = {});

/// What a model's folder lacks that opens all the same, a sentence each: the other files of a shard
/// whose index is not there ("model-00001-of-00002.safetensors" alone), the end of a run that wrote
/// the folder. quantize_file, convert_file and dequantize_file refuse such a folder.
OCTAVO_API std::vector<std::string> missing_parts(const Checkpoint& model);

/// Where an index and its files disagree, a sentence each. The index is the authority, as in
/// transformers: what it gives to a file counts. quantize_file, convert_file and dequantize_file
/// warn of it.
OCTAVO_API std::vector<std::string> index_findings(const Checkpoint& model);

/// A tensor to be written.
struct TensorToWrite {
  std::string name;                 ///< of the tensor
  std::string dtype;                ///< safetensors spelling
  std::vector<std::int64_t> shape;  ///< sizes of its dimensions
  /// Writes the tensor's bytes when its turn comes; one tensor is in memory at a time.
  std::function<std::vector<std::byte>()> bytes;
};

/// Writes a safetensors file atomically: a temporary file beside the target, fsync, rename. On any
/// failure the target is untouched and the temporary file is gone; one of a process that was killed
/// is removed by the next that writes into the folder. A replaced file's owner, group and
/// permissions are kept. Throws Error (invalid_argument; io).
OCTAVO_API void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                                  const std::map<std::string, std::string>& metadata = {});

/// A quantised layer to be written.
struct LayerToWrite {
  std::string name;  ///< without ".weight"
  Weight weight;     ///< codes, scales, rule of the activations
};

/// Writes quantised layers and other tensors (biases, embeddings, norms) to a file, in the form
/// that `quantize_file` gives the layers' scheme: a layer that was read from such a file is written
/// and read again without a bit changed. The configuration goes to metadata "quantization_config".
/// Where a layer of int8-dynamic is rotated (octavo/rotate.hpp), all are written as ComfyUI's
/// `int8_tensorwise`, with `convrot`, and say so by themselves.
/// Throws Error (invalid_argument: no layers, layers of several schemes, LLM.int8 thresholds that
/// differ, what the scheme's files cannot say, such as static scales; io).
///
/// Returns warnings, as QuantizeReport's.
OCTAVO_API std::vector<std::string> write_checkpoint(
    const std::string& path, std::span<const LayerToWrite> layers,
    std::vector<TensorToWrite> others = {},
    const std::map<std::string, std::string>& metadata = {});

/// How a checkpoint is quantised.
enum class Scheme : std::uint8_t {
  int8_dynamic,  ///< int8 weights per channel, int8 activations per token (compressed-tensors)
  fp8_dynamic,   ///< e4m3fn weights per channel, e4m3fn activations per token (compressed-tensors)
  fp8_block,     ///< e4m3fn weights per 128x128 block, activations per 1x128 group (DeepSeek)
  llm_int8,      ///< LLM.int8: int8 rows, float outlier columns, threshold 6 (bitsandbytes)
  int8_weight_only,  ///< int8 weights per channel, activations as they are (compressed-tensors)
  fp8_weight_only,   ///< e4m3fn weights per channel, activations as they are (compressed-tensors)
  mxfp8,             ///< e4m3fn and powers of two for 32 of K, both sides (compressed-tensors)
};
/// All of them, in their order.
inline constexpr std::array kAllSchemes{
    Scheme::int8_dynamic,     Scheme::fp8_dynamic,     Scheme::fp8_block, Scheme::llm_int8,
    Scheme::int8_weight_only, Scheme::fp8_weight_only, Scheme::mxfp8};
/// "int8-dynamic", ...
OCTAVO_API std::string_view scheme_name(Scheme scheme) noexcept;
/// The scheme of that name, PyTorch-ecosystem spellings (FP8_DYNAMIC, W8A8, ...) included.
OCTAVO_API std::optional<Scheme> scheme_from_name(std::string_view name) noexcept;

/// How activations meet a weight of that scheme; nullopt: as they are.
OCTAVO_API std::optional<ActivationQuant> activation_rule(Scheme scheme);

/// Quantises a float weight [N, K], as layers store it, by that scheme; rotated before, for
/// activations that are, where `rotation` is a block (octavo/rotate.hpp). Throws Error.
OCTAVO_API Weight quantize_weight(const TensorView& weight, Scheme scheme,
                                  std::int32_t rotation = 0);

/// What became of one layer.
struct LayerReport {
  std::string name;                                ///< without ".weight"
  std::int64_t n = 0, k = 0;                       ///< of the weight [n, k]
  std::int64_t bytes_before = 0, bytes_after = 0;  ///< weight and scales
  double sqnr_db = 0;                              ///< 10 log10(sum w^2 / sum (w - w')^2)
  double max_error = 0;                            ///< largest |w - w'|
  std::int64_t saturated = 0;                      ///< codes at the type's largest magnitude
  /// GPTQ: the mean of |(w - w') x|^2 over the calibration's inputs x, of codes rounded to nearest
  /// and of those that are written; nullopt: not GPTQ.
  std::optional<double> nearest_output_error{}, output_error{};
};
/// Measures a weight [N, K] against its quantised form. Throws Error (corrupt_data) for a weight
/// that is not finite.
OCTAVO_API LayerReport compare_weight(std::string_view layer, const TensorView& weight,
                                      const Weight& quantized);

/// What became of a file and of each of its layers.
struct QuantizeReport {
  std::vector<LayerReport> layers;                           ///< that were quantised, in file order
  std::int64_t file_bytes_before = 0, file_bytes_after = 0;  ///< of all files
  std::int64_t tensors_copied = 0;                           ///< that were written as they are
  /// Sentences about what other programs will not understand (a config.json in the file's folder
  /// that does not declare its quantisation, with what to add to it), and about tensors that may be
  /// linear layers and stay in float.
  std::vector<std::string> warnings{};
  /// Norms that took SmoothQuant's factors, in the calibration's order.
  std::vector<std::string> smoothed_norms{};
  /// With SmoothQuant: quantised layers behind no such norm.
  std::vector<std::string> unsmoothed_layers{};
};

/// Experts that a model's class keeps in one tensor, of which transformers loads no 8-bit form.
enum class Experts : std::uint8_t {
  as_loaded,  ///< refuse them; others are written as their class loads them
  in_float,   ///< they stay in float: every loader reads the folder
  separate,   ///< a layer for each expert: Octavo and vLLM read the folder, transformers does not
};

/// How quantize_file quantises, and what it leaves alone.
struct QuantizeFileOptions {
  Scheme scheme = Scheme::int8_dynamic;  ///< of every layer
  /// Layers to leave alone: exact names, or regular expressions as "re:..." matched at the start.
  /// Each has to match one.
  std::vector<std::string> ignore{};
  /// As open_checkpoint takes it.
  std::string layout{};
  /// Take tensors of a model whose class is not known by their names where these leave open what
  /// they are. Without it such a model is refused.
  bool guess = false;
  Experts experts = Experts::as_loaded;
  /// Quantise the output head, too: of a class in the table of architectures (or a layout file)
  /// that names it, in int8-dynamic, fp8-dynamic, int8-weight-only, fp8-weight-only or mxfp8. A
  /// head that shares the embeddings' weight becomes a tensor of its own, and config.json says so.
  bool head = false;
  /// A calibration file (docs/calibration.md), which `octavo.torch.calibrate` writes; empty: none.
  /// LLM.int8's outlier columns come from it; the four options below need it.
  std::string calibration{};
  /// Divides norms by SmoothQuant's factors and multiplies the columns of the weights behind them
  /// (Xiao et al., arXiv 2211.10438) before they are quantised.
  bool smoothquant = false;
  /// Factors max|x|^alpha / max|w|^(1 - alpha) anew, 0..1; nullopt: those of the file.
  std::optional<double> smooth_alpha{};
  /// int8: codes by GPTQ (Frantar et al., arXiv 2210.17323) from the file's Hessians, with LAPACK.
  bool gptq = false;
  /// GPTQ: what is added to the Hessian's diagonal, in units of its mean; above 0. nullopt: 0.01.
  std::optional<double> damp{};
  /// int8-dynamic, fp8-dynamic: one static scale for a layer's activations instead of one a token.
  bool static_scales = false;
  /// int8-dynamic, of a single file, which becomes one of ComfyUI's (`int8_tensorwise` with
  /// `convrot`): layers are rotated in blocks of 16, 64 or 256 columns, as their activations will
  /// be. Layers whose columns the block does not divide are not. 0: none.
  std::int32_t rotation = 0;
  /// LLM.int8, by layer (without ".weight"): columns of its activations that stay in float whatever
  /// they hold, ascending; not beside a calibration. A fixed list makes a row's result independent
  /// of other rows.
  std::map<std::string, std::vector<std::int64_t>> outlier_columns{};
  /// LLM.int8: columns with an element of that magnitude stay in float, too; 0: only those listed.
  /// nullopt: bitsandbytes' 6.
  std::optional<float> outlier_threshold{};
  /// LLM.int8: all of an outlier column stays out of row statistics.
  bool whole_columns = false;
  /// Quantise layers that are quantised already, too, by the values that they stand for. Without it
  /// such a checkpoint is refused.
  bool requantize = false;
  int threads = 0;  ///< 0: as many as default_executor() has
  /// Called in the caller's thread, now and then, with (done, total) bytes of input.
  std::function<void(std::int64_t, std::int64_t)> progress{};
  /// Called before `progress` with the tensor at hand.
  std::function<void(std::string_view)> at{};
  /// Called with the path of the temporary file before it is there, and with "" once it is gone or
  /// in place: what a program's signal handlers have to remove. Must not throw.
  std::function<void(const std::string&)> temporary{};
};

/// Quantises every linear layer's weight (2-D floating "*.weight" that is no embedding, norm,
/// router or output head; experts stacked as [E, N, K], each of which becomes a layer) of a file or
/// a model's folder, and copies the rest. An `out` that ends in ".gguf" is a file of llama.cpp's,
/// of a model of Llama, Qwen2 or Qwen3 whose matrices become blocks of type Q8_0.
/// A folder goes into a new or empty one: the same files with the quantised tensors, the index, all
/// else that is no weight, and config.json with "quantization_config". A run that was ended is
/// taken up by the next one with the same arguments. Bytes do not depend on threads. A few MiB for
/// each thread are in memory at a time; with GPTQ a layer's Hessian in float64 and its weight in
/// float32, too, one layer after the other. Throws Error (unsupported, too: no LAPACK;
/// out_of_memory, too: not enough memory for GPTQ).
OCTAVO_API QuantizeReport quantize_file(const std::string& in, const std::string& out,
                                        const QuantizeFileOptions& options);

/// What quantize_file would do.
struct QuantizeEstimate {
  std::int64_t layers = 0;                         ///< that would be quantised
  std::int64_t bytes_before = 0, bytes_after = 0;  ///< of all files with tensors
  std::int64_t memory_bytes = 0;  ///< what it holds at once beyond what the process does
  /// By the time that a piece of the largest layer takes here, reading included, writing left out.
  double seconds = 0;
  std::vector<std::string> warnings{};
};

/// Plans quantize_file, and writes nothing. Throws what it would throw before it writes.
OCTAVO_API QuantizeEstimate estimate_quantization(const std::string& in,
                                                  const QuantizeFileOptions& options);

/// What dequantize_file writes, and whom it tells.
struct DequantizeFileOptions {
  /// float32, bfloat16 or float16; undefined: what config.json says that the model had, else
  /// bfloat16.
  DType dtype = DType::undefined;
  std::string layout{};  ///< as open_checkpoint takes it
  int threads = 0;       ///< this and the others as QuantizeFileOptions'
  std::function<void(std::int64_t, std::int64_t)> progress{};  ///< bytes done, bytes in all
  std::function<void(std::string_view)> at{};                  ///< the tensor that it works on
  std::function<void(const std::string&)> temporary{};  ///< a file that it writes until the end
};

/// Writes every quantised layer of a file or folder, of any dialect, as the float matrix that it
/// stands for, and copies the rest. Throws Error (invalid_argument: no quantised layer).
OCTAVO_API QuantizeReport dequantize_file(const std::string& in, const std::string& out,
                                          const DequantizeFileOptions& options = {});

/// How quantised layers are written.
enum class Format : std::uint8_t {
  compressed_tensors,  ///< int8 and fp8 of every granularity, zero points, static activations
  fp8,                 ///< vLLM's and AutoFP8's: e4m3fn, one scale for each layer
  fp8_block,           ///< transformers' and DeepSeek's: e4m3fn in blocks of 128 x 128
  bitsandbytes,        ///< int8 rows, activations by LLM.int8()
};
/// "compressed-tensors", "fp8", "fp8-block", "bitsandbytes"
OCTAVO_API std::string_view format_name(Format format) noexcept;
/// The format of that name; nothing for any other text.
OCTAVO_API std::optional<Format> format_from_name(std::string_view name) noexcept;

/// What convert_file writes, and whom it tells.
struct ConvertFileOptions {
  Format format = Format::compressed_tensors;  ///< of the layers
  std::string layout{};                        ///< as open_checkpoint takes it
  int threads = 0;                             ///< this and the others as QuantizeFileOptions'
  std::function<void(std::int64_t, std::int64_t)> progress{};  ///< bytes done, bytes in all
  std::function<void(std::string_view)> at{};                  ///< the tensor that it works on
  std::function<void(const std::string&)> temporary{};  ///< a file that it writes until the end
};

/// Writes the quantised layers of a file or folder, of any dialect, in the terms of a format. Codes
/// and scales that the format can say stay, bit for bit; others are made anew of the values, and
/// the report's warnings say of how many layers and what is lost. Of a GGUF file it makes a folder,
/// unless `out` ends in ".safetensors". Throws Error (invalid_argument: no quantised layer).
OCTAVO_API QuantizeReport convert_file(const std::string& in, const std::string& out,
                                       const ConvertFileOptions& options);

}  // namespace octavo
