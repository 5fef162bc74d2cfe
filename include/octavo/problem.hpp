// SPDX-License-Identifier: Apache-2.0
// The one problem description that every operation lowers to: plain data, fully resolved.
//
// Before it: types, defaults, arguments and their errors. After it: no templates on data types
// outside kernels, no exceptions, no allocation but the workspace that was asked for.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "octavo/numeric.hpp"
#include "octavo/quantize.hpp"
#include "octavo/scale.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

class PackedWeight;

/// A fused prologue: quantise a float operand A on its way into the product.
struct ActivationQuant {
  QuantizeSpec spec;
  bool vectorwise = false;  ///< LLM.int8's statistics and codes (section 8) instead of section 6's
  float outlier_threshold =
      0.0F;                    ///< LLM.int8: columns with |a| >= threshold stay in float; 0: off
  bool whole_columns = false;  ///< LLM.int8: all of an outlier column stays out of row statistics
  /// LLM.int8: int64 [count], ascending: columns that stay in float whatever they hold, and out of
  /// row statistics (a calibrated list, a pool's). Undefined: none.
  Tensor outlier_columns;
  /// Static quantisation: this one scale (granularity per_tensor()) instead of a computed one, and
  /// with `spec.azp` this zero point. 0: computed.
  float static_scale = 0.0F;
  std::int32_t static_azp = 0;
  TensorView codes;          ///< where the codes go; undefined: the workspace
  TensorView scales;         ///< where the scales go; undefined: the workspace
  TensorView found_columns;  ///< LLM.int8: int64 [K], where all outlier columns of this call are
                             ///< listed; undefined: the workspace
  std::int64_t* found_count = nullptr;  ///< how many they are
};

/// One side of a product: elements, and how to read them.
struct OCTAVO_API Operand {
  TensorView data;  ///< A [M,K] or B [K,N]; 3-D in tensor-form groups
  std::array<ScaleView, 2>
      scale;       ///< applied one after the other; the second is NVIDIA's tensor scale
  TensorView azp;  ///< zero points. A: one element or [M, 1]. B: one element, [N], [1, N], or one
                   ///< for each cell of its scale, inside the range of the codes
  const PackedWeight* packed = nullptr;  ///< B only: codes live here, `data` is undefined
  const ActivationQuant* quantise =
      nullptr;  ///< A only: `data` is float, codes are made on the way

  Operand() = default;
  Operand(const TensorView& view) : data(view) {}         // NOLINT: implicit on purpose
  Operand(const Tensor& tensor) : data(tensor.view()) {}  // NOLINT: implicit on purpose
  Operand(const Quantized& quantized);                    // NOLINT: implicit on purpose
  Operand(const PackedWeight& weight);                    // NOLINT: implicit on purpose

  /// The same operand with rows and columns exchanged, scales included. Not for packed weights.
  Operand transposed() const noexcept;
};

/// A number, or an element or vector that lives where the tensors live (never read on the host when
/// that is a device).
struct Factor {
  enum class Kind : std::uint8_t { absent, number, tensor };
  Kind kind = Kind::absent;
  float number = 1.0F;
  TensorView data;  ///< [N] (stride 0 for one element)

  bool present() const noexcept { return kind != Kind::absent; }
};

/// LLM.int8: columns of A that are multiplied in float and enter before or after scale_b.
struct Outliers {
  TensorView a;        ///< the original activations [M, K]
  TensorView columns;  ///< int64, ascending
  TensorView weight;   ///< original weight [K, N]; undefined: the weight's codes
  /// Above 0: only elements of this magnitude and more, and all of the columns in `whole`, are
  /// multiplied, row by row; A's codes hold the others.
  float threshold = 0.0F;
  TensorView whole{};  ///< int64, ascending, among `columns`; undefined: none

  bool present() const noexcept { return columns.defined(); }
};

/// What happens between the sum and the store; the order is the specification's section 3.
struct Epilogue {
  Factor alpha, beta, scale_result;
  TensorView c;     ///< [M, N]
  TensorView bias;  ///< [N] (stride 0 for one element), or [M, N]
  Outliers outliers;
};

/// One product: out[M,N] = epilogue(A[M,K] @ B[K,N]).
struct Member {
  Operand a, b;
  Epilogue epilogue;
  TensorView out;
};

/// How a tensor-form grouped product is cut into members.
enum class Split : std::uint8_t {
  none,     ///< one product
  list,     ///< independent members
  rows,     ///< A 2-D, B 3-D: offsets cut the rows of A and of the output
  columns,  ///< A 3-D, B 2-D: offsets cut the columns of B and of the output
  inner,    ///< A 2-D, B 2-D: offsets cut K; the output is 3-D
  batch,    ///< A 3-D, B 3-D
};

struct Groups {
  Split split = Split::none;
  std::span<const Member> list;  ///< Split::list
  TensorView offs;               ///< int32 or int64: cumulative ends [G], or a prefix [G + 1]
  bool prefix = false;
  /// All that a plan knows of offsets: a power of two, at most 64, that divides the start of every
  /// group. Operations look it up.
  std::int64_t start_alignment = 1;
};

struct MatmulOptions {
  // api: MatmulOptions, of api/operations.toml
  /// fp8 output beyond the largest finite value becomes that (else infinity or NaN)
  Overflow overflow = Overflow::saturate;
  /// GPU: leave partial sums in the tensor core; no effect on a CPU
  bool fast_accumulation = false;
  /// a row's bits never depend on other rows: rules are refused under which they do (a computed
  /// scale that rows share), and LLM.int8's outliers become elements instead of columns. Products
  /// on a CPU are always so
  bool batch_invariant = false;
  /// K = 0 gives zeros, as PyTorch does
  bool torch_compat = false;
  /// exact: no path that counts bfloat16 elements, products and sums below 2^-126 as 0 (`explain`
  /// says where one does)
  bool exact_subnormals = false;
  // api: end
};

/// A product, single or grouped, ready to run.
struct MatmulProblem {
  const char* operation = "scaled_mm";
  Member single;  ///< for tensor-form groups: the uncut operands
  Groups groups;
  MatmulOptions options;
};

/// The number of members; 1 for a single product.
OCTAVO_API std::int64_t group_count(const MatmulProblem& problem) noexcept;

/// Member g of a problem: a list entry, or the slice that the offsets cut. Offsets are clamped to
/// the extent that they cut, so no value can reach outside an operand.
OCTAVO_API Member member(const MatmulProblem& problem, std::int64_t g) noexcept;

/// The part of the output past the last offset (it is zero), undefined where there is none.
OCTAVO_API TensorView tail(const MatmulProblem& problem) noexcept;

}  // namespace octavo
