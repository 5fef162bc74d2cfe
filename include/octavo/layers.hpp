// SPDX-License-Identifier: Apache-2.0
// Linear layers whose weights come in 8 bits: loaded, fused and packed once, called many times.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "octavo/linear.hpp"
#include "octavo/weight.hpp"

namespace octavo {

class Checkpoint;

/// y = x @ W^T + bias for a weight W [out_features, in_features] of any scheme. Immutable,
/// shareable between threads, cheap to copy.
class OCTAVO_API QuantizedLinear {
 public:
  QuantizedLinear() = default;
  /// Packs a canonical weight, quantised or not. bias: a float type, [out_features]. Throws Error.
  explicit QuantizedLinear(const Weight& weight, const TensorView& bias = {},
                           const char* backend = nullptr);

  /// K.
  std::int64_t in_features() const noexcept { return weight_.k(); }
  /// N.
  std::int64_t out_features() const noexcept { return weight_.n(); }
  /// The packed weight [K, N].
  const PackedWeight& weight() const noexcept { return weight_; }
  /// The bias [N]; undefined: none.
  const Tensor& bias() const noexcept { return bias_; }
  /// "int8-dynamic", ..., "none".
  const std::string& scheme() const noexcept { return scheme_; }

  /// x [..., in_features] of bfloat16, float16 or float32, quantised on the fly as the weight's
  /// rule says. `options.bias`, where given, takes the place of the layer's. Throws Error.
  Tensor operator()(const TensorView& x, const LinearOptions& options = {},
                    const ExecContext& context = {}) const;
  /// x [M, in_features] quantised already: its codes, scales and zero points, whatever the rule.
  /// Default out_dtype: bfloat16 for fp8, float32 for int8. Throws Error.
  Tensor operator()(const Quantized& x, const LinearOptions& options = {},
                    const ExecContext& context = {}) const;

 private:
  PackedWeight weight_;
  Tensor bias_;
  std::string scheme_;
};

/// The tensors of one 8-bit layer, as checkpoints hold them; views that are copied.
struct LinearTensors {
  TensorView weight;         ///< codes [N, K]
  TensorView weight_scale;   ///< decode multipliers: one element, one for each shard, [N], [N, 1],
                             ///< or [ceil(N/r), ceil(K/c)] of blocks
  TensorView bias{};         ///< a float type, [N]
  TensorView input_scale{};  ///< static activations: one element, or one for each shard
  TensorView input_zero_point{};  ///< int8 activations: integers, the shape of input_scale
};

/// How those tensors are read, and how activations are quantised.
struct W8A8Options {
  /// Rows of the weight that each fused layer has (query, key and value; gate and up); empty: one
  /// layer. A width may be 0.
  std::span<const std::int64_t> logical_widths{};
  /// One scale for the whole weight: codes are made anew from the largest (2.9 % more error for a
  /// shard whose own was 1.3 times smaller). Without it each row keeps its shard's scale.
  bool requantize = false;
  Granularity activation = per_token();  ///< dynamic activations: per_token() or per_tensor()
  bool azp = false;                      ///< int8: dynamic activations with zero points
  float input_scale_ub = std::numeric_limits<float>::infinity();  ///< upper bound of |x|
  ScaleGrid block{128, 128};                                      ///< BlockFp8Linear: r x c
  const char* backend = nullptr;  ///< force a backend by name; null: the best that accepts
};

/// fp8 weights with a scale for the tensor, each shard or each output channel; activations in the
/// weight's type, static (input_scale) or dynamic, per token or per tensor.
class OCTAVO_API Fp8Linear : public QuantizedLinear {
 public:
  Fp8Linear() = default;
  explicit Fp8Linear(const LinearTensors& tensors, const W8A8Options& options = {});
  /// A weight of scheme fp8-dynamic, as Checkpoint::weight or fuse give it.
  explicit Fp8Linear(const Weight& weight, const TensorView& bias = {},
                     const char* backend = nullptr);
};

/// int8 weights with a scale for the tensor, each shard or each output channel; int8 activations,
/// static or dynamic, symmetric or with zero points.
class OCTAVO_API Int8Linear : public QuantizedLinear {
 public:
  Int8Linear() = default;
  explicit Int8Linear(const LinearTensors& tensors, const W8A8Options& options = {});
  /// A weight of scheme int8-dynamic.
  explicit Int8Linear(const Weight& weight, const TensorView& bias = {},
                      const char* backend = nullptr);
};

/// fp8 weights with a scale for each block (DeepSeek: 128 x 128), activations with a scale for each
/// token and as many of K as a block is wide. Shards are blocks of rows as they come: rows of one
/// block may belong to two.
class OCTAVO_API BlockFp8Linear : public QuantizedLinear {
 public:
  BlockFp8Linear() = default;
  explicit BlockFp8Linear(const LinearTensors& tensors, const W8A8Options& options = {});
  /// A weight of scheme fp8-block.
  explicit BlockFp8Linear(const Weight& weight, const TensorView& bias = {},
                          const char* backend = nullptr);
};

/// The canonical weight of tensors that no file declares: scheme "fp8-dynamic", "int8-dynamic" or
/// "fp8-block". What the three layers are made of. Throws Error (invalid_argument: shapes, types,
/// scales that are negative, NaN or not loaded).
OCTAVO_API Weight w8a8_weight(const char* scheme, const LinearTensors& tensors,
                              const W8A8Options& options = {});

/// The layer of `prefixes` in a file, fused along N where there are several, with their biases
/// (".bias"; all or none). Of octavo::models. Throws Error.
OCTAVO_API QuantizedLinear load_linear(const Checkpoint& file,
                                       std::span<const std::string> prefixes,
                                       const char* backend = nullptr);

}  // namespace octavo
