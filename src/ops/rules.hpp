// SPDX-License-Identifier: Apache-2.0
// The rules that arguments of products are held to. Every caller error is made here or in the
// operation's own file.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/data/enumerators.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"
#include "ops/site.hpp"

namespace octavo {

/// Extents of a product; g is -1 where there are no groups.
struct Extents {
  std::int64_t g = -1, m = 0, n = 0, k = 0;
};

/// An enumeration's value in [0, count). `subject` is the sentence up to the property.
Status check_enumerator(const std::string& subject, const char* property, int value, int count);
/// The same of any enumeration, by its last enumerator.
template <class Enum>
Status check_enumerator(const std::string& subject, const char* property, Enum value, Enum last) {
  return check_enumerator(subject, property, static_cast<int>(value), static_cast<int>(last) + 1);
}
inline Status check_dtype(const std::string& subject, const char* property, DType dtype) {
  return check_enumerator(subject, property, dtype, kDTypes.back().dtype);
}

/// A tensor argument: defined, on a device that is built, with memory behind its elements.
Status check_tensor(const Site& site, Arg arg, const TensorView& view);

/// As many parts as shard_range cuts.
inline constexpr std::int32_t kMostChunks = 1 << 20;
/// A number of chunks of a K that no offsets cut.
Status check_chunks(const char* operation, const MatmulOptions& options, Split split);

/// No product of these extents leaves 64 bits, however an operation pads and widens them.
Status check_padded(const Site& site, Arg arg, std::span<const std::int64_t> shape);

/// A float argument (bias, C, scale_result): a type that widens to float32.
Status check_float(const Site& site, Arg arg, const TensorView& view);

/// The type pair of a product.
Status check_pair(const Site& site, DType a, DType b);

/// The output type: the default where it is undefined, else one that is allowed.
Result<DType> resolve_out_dtype(const Site& site, DType a, DType b, DType requested);

/// int32 output is the exact sum: nothing may scale or shift it.
Status check_int32_output(const Site& site, const Member& member);

/// A supplied output: shape, type, every element once, no overlap with what is read.
Status check_out(const Site& site, const TensorView& out, DType dtype,
                 std::span<const std::int64_t> shape);
Status check_no_overlap(const Site& site, const MatmulProblem& problem);

/// Everything that a member reads and writes is on the device of its A.
Status check_one_device(const Site& site, const Member& member);
Status check_device_of(const std::string& argument, const Device& device, const char* whose,
                       const Device& other);

/// Which 1-D scales an entry point accepts without a declared granularity.
enum class ScaleReading : std::uint8_t {
  broadcast,  ///< the seed entry: a 1-D scale_a has K elements
  rowwise,    ///< PyTorch's grouped entry: a 1-D scale_a has M elements
};

/// The operand that a scale argument belongs to: rows x cols, in `groups` groups when it is 3-D or
/// cut by offsets.
struct ScaleContext {
  Side side;
  std::int64_t rows, cols;
  std::int64_t groups = -1;  ///< of a grouped tensor form
  bool operand_3d = false;   ///< each group has its own operand
  bool inner_split = false;  ///< the groups cut K
  ScaleReading reading = ScaleReading::broadcast;
};
Result<CarriedScale> resolve_scale(const Site& site, const Scale& scale,
                                   const ScaleContext& context);

/// Both levels: an undefined argument leaves what the operand carries, any other replaces it.
Status resolve_scales(const Site& site, Operand& operand, const Scale& scale,
                      const ScaleContext& context);

/// A declared granularity: sizes of at least 1, and one that this side has.
bool suits(const Granularity& granularity, Side side) noexcept;
/// The same as sentences, which `subject` begins; `hint` may follow the rule.
Status check_sizes(const std::string& subject, const Granularity& granularity);
Status check_granularity(const std::string& subject, const Granularity& granularity, Side side,
                         const std::string& hint = {});

/// How a float operand is quantised on its way; `subject` begins each sentence ("quantize: ").
Status check_spec(const std::string& subject, const QuantizeSpec& spec, Side side);

/// An activation rule of a weight with k rows, and where it puts codes and scales of an operand of
/// m x k.
Status check_activation(const std::string& subject, const ActivationQuant& rule, std::int64_t k);
/// A block that rotations have, and columns of whole ones.
Status check_rotation(const std::string& subject, const char* name, std::int32_t block,
                      const char* extent, std::int64_t columns);
Status check_activation_rule(const Site& site, const Operand& a, std::int64_t m, std::int64_t k,
                             bool batch_invariant);

/// A list of columns of `of`: int64 [count], and on the host ascending, each in [0, k). Sentences
/// begin "operation: argument".
Status check_columns(const char* operation, const std::string& argument, const TensorView& columns,
                     std::int64_t k, const std::string& of);

/// Zero points of a weight [K, N] with its scales: one element, [N] or [1, N], which become [1, N],
/// or one for each cell of the first scale; on the host inside the range of its codes.
Result<TensorView> resolve_weight_azp(const Site& site, const TensorView& azp, const Operand& b,
                                      DType dtype, std::int64_t n);

/// B's codes are made before the product.
Status check_no_quantizer(const Site& site, const Operand& b);

/// The weights of tensor forms have no zero points.
Status check_zero_points(const Site& site, const Operand& b);

/// A number or tensor with one element, or with `n` (-1: only one is allowed).
Result<Factor> resolve_factor(const Site& site, Arg arg, const Scale& value, std::int64_t n);

/// beta and C for an output of that shape. beta = 0 given as a number means that C is never read.
Status resolve_addend(const Site& site, const Scale& beta, const TensorView& c,
                      std::span<const std::int64_t> shape, Epilogue& epilogue);

/// Bias as [N], or [M, N]; [G, N] when there are groups.
Result<TensorView> resolve_bias(const Site& site, const TensorView& bias, const Extents& extents);

/// Zero points as [M, 1] (stride 0 for one element), for integer operands.
Result<TensorView> resolve_azp(const Site& site, const TensorView& azp, const Operand& a,
                               DType a_dtype, DType b_dtype, std::int64_t m);

}  // namespace octavo
