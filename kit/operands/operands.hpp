// SPDX-License-Identifier: Apache-2.0
// The tensors of a problem line: reproducible content, chosen layouts, chosen memory.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "octavo/problem_line.hpp"

namespace octavo::kit {

/// What the elements are.
enum class Content : std::uint8_t {
  gaussian,     ///< quantised Gaussians, Gaussian floats, scales around 2^-6
  uniform,      ///< uniform over the type's range or [-1, 1): made without the math library, so
                ///< that the bits are the same everywhere
  exact,        ///< small integers and powers of two: every sum and product is exact
  adversarial,  ///< NaN, infinities, largest and subnormal values, -0 among Gaussians
};

/// Memory of a given size, released when the last copy of the handle goes.
using Allocator = std::function<std::shared_ptr<void>(std::size_t bytes)>;
Allocator heap();

/// A source that fills its tensors. Outputs begin as poison (0xA5 in every byte).
class Operands final : public TensorSource {
 public:
  Operands(ProblemLine line, Content content, Allocator allocator = heap());

  TensorView make(Role role, std::int64_t entry, DType dtype,
                  std::span<const std::int64_t> shape) override;

  /// The block that an output lies in, to see what was written beside it.
  struct Block {
    std::shared_ptr<void> memory;
    std::size_t bytes;
    TensorView view;
    Role role;
  };
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  ProblemLine line_;
  Content content_;
  Allocator allocator_;
  std::vector<Block> blocks_;
};

/// The tensors of the same line once more, with weights of the same content in memory of their own
/// (unless `copy` is false), so that calls can take turns on them. `original` has made its tensors,
/// and stays.
class OtherWeights final : public TensorSource {
 public:
  OtherWeights(const Operands& original, bool copy, Allocator allocator = heap())
      : original_(original), copy_(copy), allocator_(std::move(allocator)) {}

  TensorView make(Role role, std::int64_t entry, DType dtype,
                  std::span<const std::int64_t> shape) override;

 private:
  const Operands& original_;
  bool copy_;
  Allocator allocator_;
  std::vector<std::shared_ptr<void>> memory_;
  std::size_t next_ = 0;
};

/// Fills every output block of a problem with poison again.
void poison_outputs(const Operands& operands);

}  // namespace octavo::kit
