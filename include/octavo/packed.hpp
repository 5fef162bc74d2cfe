// SPDX-License-Identifier: Apache-2.0
// Prepacked weights: an operand B packed once for the kernels of this machine.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "octavo/context.hpp"
#include "octavo/problem.hpp"

namespace octavo {

/// The opaque content of a packed weight.
struct PackedWeightData;

/// A weight in the private layout of one backend: immutable, shareable between threads, cheap to
/// copy, and unpackable bit for bit. It owns its codes, scales and column sums.
class OCTAVO_API PackedWeight {
 public:
  PackedWeight() = default;
  explicit PackedWeight(std::shared_ptr<const PackedWeightData> content) noexcept
      : content_(std::move(content)) {}

  /// Whether it holds a weight.
  bool defined() const noexcept { return content_ != nullptr; }
  /// K of the weight [K, N].
  std::int64_t k() const noexcept;
  /// N of the weight [K, N].
  std::int64_t n() const noexcept;
  /// Of the codes.
  DType dtype() const noexcept;
  /// The name of the layout that the codes are in: "i8x4", "f8x2", "bf16x2", ...; "none".
  const char* layout() const noexcept;
  /// Of codes, scales and column sums.
  std::size_t bytes() const noexcept;
  /// Where codes and scales lie; of an empty one the host.
  Device device() const noexcept;
  /// How activations meet this weight in `linear`: quantised so, or as they are.
  const std::optional<ActivationQuant>& activation() const noexcept;
  /// What backends read.
  const PackedWeightData* content() const noexcept { return content_.get(); }

 private:
  std::shared_ptr<const PackedWeightData> content_;
};

/// The arguments of pack beside the weight.
struct PackOptions {
  // api: PackOptions, of api/operations.toml
  /// the weight's scale, as scale_b of scaled_mm; default: the one that it carries
  Scale scale{};
  /// the rule by which linear will quantise activations; default: none, they are multiplied as they
  /// are
  std::optional<ActivationQuant> activation{};
  /// whose layout; default, or where that one has none: the first that has
  const char* backend = nullptr;
  // api: end
};

/// Packs a weight B [K, N] (any strides, any type, any scale). Throws Error.
OCTAVO_API PackedWeight pack(const Operand& weight, const PackOptions& options = {},
                             const ExecContext& context = {});

/// The same codes and scales under another activation rule; nothing is copied, but outlier columns
/// that lie on another device than the weight, on `context.stream`. Throws Error.
OCTAVO_API PackedWeight with_activation(const PackedWeight& weight,
                                        const std::optional<ActivationQuant>& activation,
                                        const ExecContext& context = {});

/// The codes and scales that were packed, bit for bit; `data` is [K, N] with K contiguous.
OCTAVO_API Quantized unpack(const PackedWeight& weight, const ExecContext& context = {});

/// The weight on another device, packed for its kernels: it unpacks to the same bits and has the
/// same activation rule, outlier columns included. Where it is there already, the weight itself.
///
/// From the host to a device or back; `context.stream` is the device's, whichever side that is, and
/// what comes to the host has arrived. Throws Error (an empty weight; a device that cannot be used;
/// another device than the one that the weight lies on, which it reaches by way of the host).
OCTAVO_API PackedWeight to_device(const PackedWeight& weight, const Device& device,
                                  const ExecContext& context = {});

}  // namespace octavo
