// SPDX-License-Identifier: Apache-2.0
// A BERT sentence encoder: token ids to mean-pooled embeddings of length 1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bert_config.hpp"
#include "linear_layer.hpp"
#include "octavo/checkpoint.hpp"
#include "vector_math.hpp"

namespace reverse_dictionary {

using TokenIds = std::vector<std::int32_t>;

/// Seconds spent in Octavo's linear layers and in everything else.
struct EncodeTimes {
  double linear = 0;
  double other = 0;
};

class BertEncoder {
 public:
  /// Loads every layer; a quantised weight brings its own arithmetic along.
  /// Ranks share the linear layers and the heads of a quantised model; one of floats every rank
  /// has. Throws octavo::Error, or BadInput for shapes that do not fit together.
  BertEncoder(const octavo::Checkpoint& checkpoint, const BertConfig& config,
              const Ranks& ranks = nullptr);

  std::int64_t width() const { return width_; }

  /// The embeddings [sentences, width]. Sentences of a batch share the linear layers' calls with
  /// their tokens laid end to end; nothing is padded. Adds to `times`.
  /// Throws BadInput for a sentence that is empty, too long or has an id without embedding.
  std::vector<float> encode(std::span<const TokenIds> sentences, EncodeTimes& times) const;

  /// What the file spends on the weights of the linear layers.
  std::int64_t linear_bytes() const { return linear_bytes_; }

 private:
  /// A LayerNorm and the tensors it looks into.
  struct TrainedNorm {
    TrainedNorm(const octavo::Checkpoint& checkpoint, const std::string& prefix, float epsilon);
    octavo::Tensor gain, bias;
    LayerNorm norm;
  };
  struct Layer {
    Layer(const octavo::Checkpoint& checkpoint, const std::string& prefix, float epsilon,
          const Ranks& ranks);
    LinearLayer query_key_value, attention_output;
    TrainedNorm attention_norm;
    LinearLayer intermediate, output;
    TrainedNorm output_norm;
  };
  struct Batch;

  void check(const Layer& layer) const;
  void check(const TokenIds& sentence) const;
  template <class Body>
  static void for_each_sentence(const Batch& batch, const Body& body);
  void embed(Batch& batch) const;
  void attend_all(Batch& batch) const;
  void run_layer(const Layer& layer, Batch& batch, double& linear_seconds) const;
  void pool(const Batch& batch, float* embeddings) const;

  BertConfig config_;
  octavo::Tensor words_, positions_, types_;
  TrainedNorm norm_;
  std::vector<Layer> layers_;
  std::int64_t width_ = 0;
  std::int64_t own_width_ = 0;  ///< of this rank's heads
  std::int64_t linear_bytes_ = 0;
};

}  // namespace reverse_dictionary
