// SPDX-License-Identifier: Apache-2.0
// Embeds, runs the layers and pools; tokens of a batch are rows of one matrix.
#include "bert.hpp"

#include <algorithm>
#include <cstddef>

#include "attention.hpp"
#include "errors.hpp"
#include "parallel.hpp"
#include "stopwatch.hpp"

namespace reverse_dictionary {
namespace {

/// Enough rows to feed a matrix product, few enough that the activations stay in the caches.
constexpr std::int64_t kBatchTokens = 512;
/// The smallest shares of a loop that are worth another thread.
constexpr std::int64_t kLeastRows = 16;
constexpr std::int64_t kLeastHeads = 8;
constexpr std::int64_t kLeastSentences = 2;

octavo::Tensor float_tensor(const octavo::Checkpoint& checkpoint, const std::string& name,
                            int rank) {
  octavo::Tensor tensor = checkpoint.tensor(name).to(octavo::float32);
  if (tensor.rank() != rank) {
    throw BadInput("model: " + name + " must have " + std::to_string(rank) + " dimensions");
  }
  return tensor;
}

std::span<const float> values(const octavo::Tensor& tensor) {
  return {tensor.data_as<float>(), static_cast<std::size_t>(tensor.numel())};
}

// Three layers of the file that read the same rows: one product here.
constexpr std::initializer_list<const char*> kQueryKeyValue{
    "attention.self.query", "attention.self.key", "attention.self.value"};

std::vector<std::string> named(const std::string& prefix,
                               std::initializer_list<const char*> parts) {
  std::vector<std::string> names;
  for (const char* part : parts) names.push_back(prefix + part);
  return names;
}

}  // namespace

/// The sentences that go through the layers together, and memory that serves batch after batch.
struct BertEncoder::Batch {
  Batch(std::int64_t width_, std::int64_t own_width_, std::int64_t inner_)
      : width(width_), own_width(own_width_), inner(inner_) {}

  /// Takes sentences from the front of `rest` until there are enough tokens.
  void take(std::span<const TokenIds>& rest) {
    std::size_t count = 0;
    starts.assign(1, 0);
    while (count < rest.size() && (count == 0 || tokens() < kBatchTokens)) {
      starts.push_back(tokens() + static_cast<std::int64_t>(rest[count++].size()));
    }
    sentences = rest.first(count);
    rest = rest.subspan(count);
    for (auto* buffer : {&hidden, &result}) grow(*buffer, width);
    grow(query_key_value, 3 * own_width);
    grow(context, own_width);
    grow(intermediate, inner);
  }
  void grow(std::vector<float>& buffer, std::int64_t features) const {
    const auto needed = static_cast<std::size_t>(tokens() * features);
    if (buffer.size() < needed) buffer.resize(needed);
  }
  std::int64_t tokens() const { return starts.back(); }

  const std::int64_t width, own_width, inner;
  std::span<const TokenIds> sentences;
  std::vector<std::int64_t> starts;  ///< a sentence's first row, and one past the last one's end
  std::vector<float> hidden, query_key_value, context, result, intermediate;
};

BertEncoder::TrainedNorm::TrainedNorm(const octavo::Checkpoint& checkpoint,
                                      const std::string& prefix, float epsilon)
    : gain(float_tensor(checkpoint, prefix + ".weight", 1)),
      bias(float_tensor(checkpoint, prefix + ".bias", 1)),
      norm{values(gain), values(bias), epsilon} {}

BertEncoder::Layer::Layer(const octavo::Checkpoint& checkpoint, const std::string& prefix,
                          float epsilon, const Ranks& ranks)
    : query_key_value(checkpoint, named(prefix, kQueryKeyValue), octavo::ShardAxis::columns, ranks),
      attention_output(checkpoint, named(prefix, {"attention.output.dense"}),
                       octavo::ShardAxis::rows, ranks),
      attention_norm(checkpoint, prefix + "attention.output.LayerNorm", epsilon),
      intermediate(checkpoint, named(prefix, {"intermediate.dense"}), octavo::ShardAxis::columns,
                   ranks),
      output(checkpoint, named(prefix, {"output.dense"}), octavo::ShardAxis::rows, ranks),
      output_norm(checkpoint, prefix + "output.LayerNorm", epsilon) {}

BertEncoder::BertEncoder(const octavo::Checkpoint& checkpoint, const BertConfig& config,
                         const Ranks& ranks)
    : config_(config),
      words_(float_tensor(checkpoint, "embeddings.word_embeddings.weight", 2)),
      positions_(float_tensor(checkpoint, "embeddings.position_embeddings.weight", 2)),
      types_(float_tensor(checkpoint, "embeddings.token_type_embeddings.weight", 2)),
      norm_(checkpoint, "embeddings.LayerNorm", config.layer_norm_epsilon),
      width_(words_.size(1)) {
  constexpr auto kBlock = static_cast<std::int64_t>(kLanes);
  if (positions_.size(1) != width_ || types_.size(1) != width_ || types_.size(0) < 1 ||
      norm_.gain.numel() != width_ || norm_.bias.numel() != width_ || width_ % config.heads != 0 ||
      width_ / config.heads % kBlock != 0) {
    throw BadInput("model: the embeddings' widths and the number of heads do not fit together");
  }
  const Ranks sharing = checkpoint.quantized_layers().empty() ? nullptr : ranks;
  const auto prefix = [this] { return "encoder.layer." + std::to_string(layers_.size()) + "."; };
  while (checkpoint.contains(prefix() + "attention.self.query.bias")) {
    const std::string name = prefix();
    check(layers_.emplace_back(checkpoint, name, config.layer_norm_epsilon, sharing));
    for (const char* part : {"attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense", "intermediate.dense", "output.dense"}) {
      linear_bytes_ += weight_bytes(checkpoint, name + part);
    }
  }
  if (layers_.empty()) throw BadInput("model: there is no encoder.layer.0");
  own_width_ = layers_.front().attention_output.inputs();
}

void BertEncoder::check(const Layer& layer) const {
  const std::int64_t inner = layer.intermediate.outputs();
  const std::int64_t own = layer.attention_output.inputs();
  const struct {
    const LinearLayer& layer;
    std::int64_t inputs, outputs;
  } shapes[] = {{layer.query_key_value, width_, 3 * own},
                {layer.attention_output, own, width_},
                {layer.intermediate, width_, inner},
                {layer.output, inner, width_}};
  bool fits = own == layers_.front().attention_output.inputs();
  for (const auto& row : shapes) {
    fits = fits && row.layer.inputs() == row.inputs && row.layer.outputs() == row.outputs;
  }
  for (const TrainedNorm* norm : {&layer.attention_norm, &layer.output_norm}) {
    fits = fits && norm->gain.numel() == width_ && norm->bias.numel() == width_;
  }
  if (own % (width_ / config_.heads) != 0) {
    throw BadInput("model: ranks must have whole heads; got " + std::to_string(own) +
                   " columns of heads of " + std::to_string(width_ / config_.heads) + " on one");
  }
  if (!fits || inner != layers_.front().intermediate.outputs()) {
    throw BadInput("model: the shapes of layer " + std::to_string(layers_.size() - 1) +
                   " do not fit the embeddings");
  }
}

void BertEncoder::check(const TokenIds& sentence) const {
  if (sentence.empty() || static_cast<std::int64_t>(sentence.size()) > positions_.size(0)) {
    throw BadInput("encode: a sentence must have 1 to " + std::to_string(positions_.size(0)) +
                   " tokens; got " + std::to_string(sentence.size()));
  }
  for (const std::int32_t id : sentence) {
    if (id < 0 || id >= words_.size(0)) {
      throw BadInput("encode: the model has no embedding of token " + std::to_string(id) +
                     "; do vocabulary and model belong together?");
    }
  }
}

std::vector<float> BertEncoder::encode(std::span<const TokenIds> sentences,
                                       EncodeTimes& times) const {
  const Stopwatch whole;
  double linear_seconds = 0;
  std::vector<float> embeddings(sentences.size() * static_cast<std::size_t>(width_));
  for (const TokenIds& sentence : sentences) check(sentence);
  Batch batch(width_, own_width_, layers_.front().intermediate.outputs());
  float* row = embeddings.data();
  while (!sentences.empty()) {
    batch.take(sentences);
    embed(batch);
    for (const Layer& layer : layers_) run_layer(layer, batch, linear_seconds);
    pool(batch, row);
    row += static_cast<std::int64_t>(batch.sentences.size()) * width_;
  }
  times.linear += linear_seconds;
  times.other += whole.seconds() - linear_seconds;
  return embeddings;
}

template <class Body>
void BertEncoder::for_each_sentence(const Batch& batch, const Body& body) {
  parallel_for(static_cast<std::int64_t>(batch.sentences.size()), kLeastSentences,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t s = begin; s < end; ++s) body(static_cast<std::size_t>(s));
               });
}

void BertEncoder::embed(Batch& batch) const {
  const float* type = types_.data_as<float>();
  for_each_sentence(batch, [&](std::size_t s) {
    float* row = batch.hidden.data() + batch.starts[s] * width_;
    const float* position = positions_.data_as<float>();
    for (const std::int32_t id : batch.sentences[s]) {
      const float* word = words_.data_as<float>() + id * width_;
      for (std::int64_t i = 0; i < width_; ++i) row[i] = word[i] + type[i];
      add_layer_norm(position, row, norm_.norm, row);
      row += width_;
      position += width_;
    }
  });
}

void BertEncoder::attend_all(Batch& batch) const {
  const std::int64_t head_width = width_ / config_.heads;
  const std::int64_t heads = own_width_ / head_width;  // this rank's
  const auto sentences = static_cast<std::int64_t>(batch.sentences.size());
  parallel_for(sentences * heads, kLeastHeads, [&](std::int64_t begin, std::int64_t end) {
    AttentionScratch scratch;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto sentence = static_cast<std::size_t>(i / heads);
      const std::int64_t row = batch.starts[sentence];
      const std::int64_t column = i % heads * head_width;
      const float* query = batch.query_key_value.data() + row * 3 * own_width_ + column;
      const HeadView head{
          query,      query + own_width_, query + 2 * own_width_, batch.starts[sentence + 1] - row,
          head_width, 3 * own_width_};
      attend(head, scratch, batch.context.data() + row * own_width_ + column, own_width_);
    }
  });
}

void BertEncoder::run_layer(const Layer& layer, Batch& batch, double& linear_seconds) const {
  const std::int64_t tokens = batch.tokens();
  const auto linear = [&](const LinearLayer& part, const std::vector<float>& in,
                          std::vector<float>& out) {
    const Stopwatch watch;
    part.apply(in.data(), tokens, out.data());
    linear_seconds += watch.seconds();
  };
  const auto add_norm = [&](const TrainedNorm& norm, const std::vector<float>& x) {
    parallel_for(tokens, kLeastRows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin * width_; at < end * width_; at += width_) {
        float* hidden = batch.hidden.data() + at;
        add_layer_norm(x.data() + at, hidden, norm.norm, hidden);
      }
    });
  };
  linear(layer.query_key_value, batch.hidden, batch.query_key_value);
  attend_all(batch);
  linear(layer.attention_output, batch.context, batch.result);
  add_norm(layer.attention_norm, batch.result);
  linear(layer.intermediate, batch.hidden, batch.intermediate);
  const std::int64_t inner = layer.intermediate.outputs();
  parallel_for(tokens, kLeastRows, [&](std::int64_t begin, std::int64_t end) {
    gelu({batch.intermediate.data() + begin * inner,
          static_cast<std::size_t>((end - begin) * inner)});
  });
  linear(layer.output, batch.intermediate, batch.result);
  add_norm(layer.output_norm, batch.result);
}

void BertEncoder::pool(const Batch& batch, float* embeddings) const {
  for_each_sentence(batch, [&](std::size_t s) {
    const std::span<float> mean(embeddings + static_cast<std::int64_t>(s) * width_,
                                static_cast<std::size_t>(width_));
    std::fill(mean.begin(), mean.end(), 0.0F);
    const float* row = batch.hidden.data() + batch.starts[s] * width_;
    for (std::int64_t t = batch.starts[s]; t < batch.starts[s + 1]; ++t, row += width_) {
      for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += row[i];
    }
    l2_normalize(mean);  // the mean's divisor cancels
  });
}

}  // namespace reverse_dictionary
