// SPDX-License-Identifier: Apache-2.0
// What becomes of each tensor of a checkpoint, decided before anything is read or written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors/writer.hpp"
#include "checkpoint/steps/recipe.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/checkpoint/linear_layers.hpp"

namespace octavo::checkpoint {

class SmoothFactors;
struct GptqHessian;

/// A tensor that goes over as it is.
struct CopyPlan {
  const TensorEntry* entry = nullptr;
  std::size_t output = 0;  ///< in FilePlan::outputs
};

/// A layer's weight where it is no float tensor's elements: quantised already.
struct StoredValues {
  std::function<Tensor()> make{};     ///< float32 [n, k]
  std::int64_t begin = 0, bytes = 0;  ///< of the entry: what is read, mostly
};

/// A weight that is quantised: all of a tensor, or a part of it, or what `values` makes.
struct LayerPlan {
  std::string name;
  const Recipe* recipe = nullptr;
  const TensorEntry* entry = nullptr;
  MatrixPlace at;                    ///< in the tensor; of `values` n and k
  std::size_t codes = 0, scale = 0;  ///< in FilePlan::outputs
  std::int32_t rotation = 0;         ///< the block that rows are rotated by; 0: none
  bool packed = false;               ///< codes + 128, four in an int32 (compressed-tensors)
  std::optional<StoredValues> values{};
  std::shared_ptr<const SmoothFactors> smooth{};  ///< null: none
  std::shared_ptr<const GptqHessian> hessian{};   ///< null: codes are rounded to nearest
};

/// Tensors that are made of a whole layer.
struct MadePlan {
  const TensorEntry* entry = nullptr;  ///< the largest that is read
  std::int64_t begin = 0, bytes = 0;   ///< of it
  std::vector<std::size_t> outputs{};  ///< in FilePlan::outputs
  std::int64_t output_begin = 0;       ///< the byte of the outputs at which it writes
  /// Fills the report where `reports`.
  std::function<std::vector<Tensor>(LayerReport&)> make{};
  bool reports = false;
};

/// A small tensor that is known beforehand.
struct ConstantPlan {
  std::size_t output = 0;
  std::vector<std::byte> bytes;
};

struct FilePlan {
  std::string name;  ///< without its folder; of input and output
  std::vector<TensorShape> outputs{};
  std::vector<CopyPlan> copies{};
  std::vector<LayerPlan> layers{};
  std::vector<MadePlan> made{};
  std::vector<ConstantPlan> constants{};

  std::size_t add(TensorShape output) {
    outputs.push_back(std::move(output));
    return outputs.size() - 1;
  }
  void copy(const TensorEntry& entry) {
    copies.push_back({&entry, add({entry.name, entry.dtype, entry.shape})});
  }
};

struct WritePlan {
  const char* operation;          ///< begins sentences
  std::vector<FilePlan> files{};  ///< one for each input file
  /// "quantization_config" of what is written; nothing: it is not quantised.
  std::optional<std::string> config{};
  /// The head has a tensor of its own, unlike the input's, which config.json has to say.
  bool unties = false;
  std::vector<std::string> warnings{};
  std::int64_t tensors_copied = 0;
  std::vector<std::string> smoothed_norms{}, unsmoothed_layers{};
  /// What else the bytes follow from: a run with another one is another job.
  std::string identity{};
};

/// How a plan is carried out.
struct RunOptions {
  int threads = 0;
  const std::function<void(std::int64_t, std::int64_t)>& progress;
  const std::function<void(std::string_view)>& at;
  const std::function<void(const std::string&)>& temporary;
};

}  // namespace octavo::checkpoint
