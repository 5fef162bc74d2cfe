// SPDX-License-Identifier: Apache-2.0
// A BERT of one layer and few features, written to a directory: tests run without the real model.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace reverse_dictionary {

class TinyModel {
 public:
  static constexpr std::int64_t kWidth = 32;
  static constexpr std::int64_t kInner = 64;

  /// Writes model.safetensors, config.json and vocab.txt to a new directory. `change` may alter the
  /// tensors before that.
  explicit TinyModel(const std::function<void(std::vector<octavo::TensorToWrite>&)>& change = {}) {
    std::string name = (std::filesystem::temp_directory_path() / "tiny-bert-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    directory_ = name;
    add("embeddings.word_embeddings.weight", {kTokens, kWidth}, 0.0F);
    add("embeddings.position_embeddings.weight", {16, kWidth}, 0.0F);
    add("embeddings.token_type_embeddings.weight", {2, kWidth}, 0.0F);
    add_norm("embeddings.LayerNorm");
    const std::string layer = "encoder.layer.0.";
    for (const char* part : {"query", "key", "value"}) {
      add_linear(layer + "attention.self." + part, kWidth, kWidth);
    }
    add_linear(layer + "attention.output.dense", kWidth, kWidth);
    add_norm(layer + "attention.output.LayerNorm");
    add_linear(layer + "intermediate.dense", kInner, kWidth);
    add_linear(layer + "output.dense", kWidth, kInner);
    add_norm(layer + "output.LayerNorm");
    if (change) change(tensors_);
    octavo::write_safetensors(model().string(), std::move(tensors_));
    std::ofstream(directory_ / "config.json")
        << R"({"model_type": "bert", "hidden_act": "gelu", "num_attention_heads": 2,)"
        << R"( "layer_norm_eps": 1e-12, "max_position_embeddings": 16})";
    std::ofstream(vocabulary())
        << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfear\nof\nopen\nspaces\nbirds\n";
  }
  ~TinyModel() { std::filesystem::remove_all(directory_); }
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path model() const { return directory_ / "model.safetensors"; }
  std::filesystem::path vocabulary() const { return directory_ / "vocab.txt"; }

 private:
  static constexpr std::int64_t kTokens = 10;

  /// Fixed values within half of `centre`.
  void add(const std::string& name, std::vector<std::int64_t> shape, float centre) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) {
      seed_ = seed_ * 1664525U + 1013904223U;
      value = centre + static_cast<float>(seed_ >> 8) / 16777216.0F - 0.5F;
    }
    tensors_.push_back({name, "F32", std::move(shape), [values = std::move(values)] {
                          std::vector<std::byte> bytes(values.size() * sizeof(float));
                          std::memcpy(bytes.data(), values.data(), bytes.size());
                          return bytes;
                        }});
  }
  void add_linear(const std::string& prefix, std::int64_t outputs, std::int64_t inputs) {
    add(prefix + ".weight", {outputs, inputs}, 0.0F);
    add(prefix + ".bias", {outputs}, 0.0F);
  }
  void add_norm(const std::string& prefix) {
    add(prefix + ".weight", {kWidth}, 1.0F);
    add(prefix + ".bias", {kWidth}, 0.0F);
  }

  std::filesystem::path directory_;
  std::vector<octavo::TensorToWrite> tensors_;
  std::uint32_t seed_ = 1;
};

}  // namespace reverse_dictionary
