// SPDX-License-Identifier: Apache-2.0
// The one problem description that every operation lowers to: plain data, fully resolved.
//
// Before it: types, defaults, arguments and their errors. After it: no templates on data types
// outside kernels, no exceptions, no allocation but the workspace that was asked for.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <type_traits>

#include "octavo/matrix.hpp"
#include "octavo/numeric.hpp"
#include "octavo/quantize.hpp"
#include "octavo/scale.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

class PackedWeight;

/// Quantise a float operand A on its way into the product.
struct ActivationQuant {
  QuantizeSpec spec;        ///< type, granularity and rounding of the codes
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
  /// Rotate blocks of 16, 64 or 256 neighbours along K first (section 6); 0: none. K is a multiple,
  /// and the weight's rows along K are rotated, too (octavo/rotate.hpp).
  std::int32_t rotation = 0;
  TensorView codes;          ///< where the codes go; undefined: the workspace
  TensorView scales;         ///< where the scales go; undefined: the workspace
  TensorView found_columns;  ///< LLM.int8: int64 [K], where all outlier columns of this call are
                             ///< listed; undefined: the workspace
  std::int64_t* found_count = nullptr;  ///< how many they are
};

/// One side of a product: elements, and how to read them.
template <class View, class Values>
struct OperandOf {
  View data;  ///< A [M, K] or B [K, N]
  std::array<ScaleOf<Values>, 2>
      scale;  ///< applied one after the other; the second is NVIDIA's tensor scale
  View azp;   ///< zero points. A: one element or [M, 1]. B: one element, [N], [1, N], or one
              ///< for each cell of its scale, inside the range of the codes
  const PackedWeight* packed = nullptr;  ///< B only: codes live here, `data` is undefined
  const ActivationQuant* quantize =
      nullptr;  ///< A only: `data` is float, codes are made on the fly
};

/// As operations are given it: tensors of any rank, 3-D ones in tensor-form groups.
struct OCTAVO_API Operand : OperandOf<TensorView, TensorView> {
  Operand() = default;
  Operand(const TensorView& view) { data = view; }           // NOLINT: implicit on purpose
  Operand(const Tensor& tensor) : Operand(tensor.view()) {}  // NOLINT: implicit on purpose
  Operand(const Quantized& quantized);                       // NOLINT: implicit on purpose
  Operand(const PackedWeight& weight) { packed = &weight; }  // NOLINT: implicit on purpose

  /// The same operand with rows and columns exchanged, scales included. Not for packed weights.
  Operand transposed() const noexcept;
};

/// As members hold it: matrices.
struct OCTAVO_API OperandView : OperandOf<MatrixView, Elements> {
  OperandView() = default;
  OperandView(const MatrixView& view) { data = view; }  // NOLINT: implicit on purpose
  OperandView(const Operand& operand) noexcept;         // NOLINT: implicit on purpose
  template <class Given>
  requires(std::convertible_to<const Given&, Operand>) OperandView(const Given& given)
      : OperandView(Operand(given)) {}  // NOLINT: implicit on purpose

  /// The same operand with rows and columns exchanged, scales included.
  OperandView transposed() const noexcept;
};

/// A number, or an element or vector that lives where the tensors live (never read on the host when
/// that is a device).
struct Factor {
  /// What a factor is.
  enum class Kind : std::uint8_t { absent, number, tensor };
  Kind kind = Kind::absent;  ///< which of the two below counts
  float number = 1.0F;       ///< on the host
  Elements data;             ///< one row: [N], or one element (strides 0)

  /// Whether there is a factor.
  bool present() const noexcept { return kind != Kind::absent; }
};

/// A list of columns, ascending; empty: none.
struct ColumnList {
  const std::int64_t* data = nullptr;  ///< the first column
  std::int64_t count = 0;              ///< of the columns
  std::int64_t stride = 1;             ///< between two, in elements

  ColumnList() = default;
  ColumnList(const std::int64_t* list, std::int64_t length) noexcept : data(list), count(length) {}
  /// Of a vector of int64.
  ColumnList(const TensorView& list) noexcept  // NOLINT: implicit on purpose
      : data(static_cast<const std::int64_t*>(list.data)),
        count(list.shape[0]),
        stride(list.strides[0]) {}
  ColumnList(const Tensor& list) noexcept : ColumnList(list.view()) {}  // NOLINT: the same

  std::int64_t operator[](std::int64_t i) const noexcept { return data[i * stride]; }
};

/// LLM.int8: columns of A that are multiplied in float and enter before or after scale_b.
struct Outliers {
  Elements a;          ///< the original activations [M, K]
  ColumnList columns;  ///< which columns of A
  Elements weight;     ///< original weight [K, N]; undefined: the weight's codes
  /// Above 0: only elements of this magnitude and more, and all of the columns in `whole`, are
  /// multiplied, row by row; A's codes hold the others.
  float threshold = 0.0F;
  ColumnList whole;  ///< among `columns`

  /// Whether there are any.
  bool present() const noexcept { return columns.count > 0; }
};

/// What happens between the sum and the store; the order is the specification's section 3.
struct Epilogue {
  Factor alpha, beta, scale_result;  ///< factors of the sum, of C, of the result
  Elements c;                        ///< [M, N]
  Elements bias;                     ///< [M, N]; stride 0 where rows or columns share it
  Outliers outliers;                 ///< columns in float
};

/// One product: out[M,N] = epilogue(A[M,K] @ B[K,N]). Small enough to be an argument of a kernel.
struct Member {
  OperandView a, b;   ///< the matrices
  Epilogue epilogue;  ///< what happens to the sum
  MatrixView out;     ///< where the result goes
};
static_assert(sizeof(Member) < 900 && std::is_trivially_copyable_v<Member>);

/// How a tensor-form grouped product is cut into members.
enum class Split : std::uint8_t {
  none,     ///< one product
  list,     ///< independent members
  rows,     ///< A 2-D, B 3-D: offsets cut the rows of A and of the output
  columns,  ///< A 3-D, B 2-D: offsets cut the columns of B and of the output
  inner,    ///< A 2-D, B 2-D: offsets cut K; the output is 3-D
  batch,    ///< A 3-D, B 3-D
};

/// How far apart in elements two groups lie in the tensors of a tensor form; 0: they share one.
struct GroupSteps {
  std::int64_t a = 0, b = 0;                         ///< of the operands
  std::array<std::int64_t, 2> scale_a{}, scale_b{};  ///< of their levels of scales
  std::int64_t c = 0, bias = 0, out = 0;             ///< of the epilogue's tensors and the output
};

/// The members of a grouped product.
struct Groups {
  Split split = Split::none;     ///< how the tensors are cut
  std::span<const Member> list;  ///< Split::list
  std::int64_t count = 0;        ///< of a tensor form
  GroupSteps steps;              ///< the same
  TensorView offs;               ///< int32 or int64: cumulative ends [G], or a prefix [G + 1]
  bool prefix = false;           ///< `offs` begins with 0
  /// All that a plan knows of offsets: a power of two, at most 64, that divides the start of every
  /// group. Operations look it up.
  std::int64_t start_alignment = 1;
};

/// What every product takes.
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
  /// floating sums, those under scales along K and LLM.int8's outlier sums are taken over so many
  /// parts of K, by shard_range, and added in order: what a row-parallel layer on that many ranks,
  /// or on a divisor of it, gives. 0 or 1: one
  std::int32_t k_chunks = 0;
  /// exact: no path that counts bfloat16 elements, products and sums below 2^-126 as 0 (`explain`
  /// says where one does)
  bool exact_subnormals = false;
  // api: end
};

/// A product, single or grouped, ready to run.
///
/// A tensor form is the matrices of its first group, before offsets cut them, and the steps from
/// each group to the next: member g is an addition to every address, and a cut.
struct MatmulProblem {
  const char* operation = "scaled_mm";  ///< which begins the sentence of a failure
  Member single;                        ///< the product, or the first group of a tensor form
  Groups groups;                        ///< Split::none: a single product
  MatmulOptions options;                ///< of all members
};

/// The number of members; 1 for a single product.
OCTAVO_API std::int64_t group_count(const MatmulProblem& problem) noexcept;

/// Member g of a problem: a list entry, or the slice that the offsets cut. Offsets are clamped to
/// the extent that they cut, so no value can reach outside an operand.
OCTAVO_API Member member(const MatmulProblem& problem, std::int64_t g) noexcept;

/// The part of the output past the last offset (it is zero), undefined where there is none.
OCTAVO_API MatrixView tail(const MatmulProblem& problem) noexcept;

/// The output of anything but a list as a tensor: 3-D where every group has its own.
OCTAVO_API TensorView output(const MatmulProblem& problem) noexcept;
/// Puts a tensor of the output's shape there.
OCTAVO_API void set_output(MatmulProblem& problem, const TensorView& out) noexcept;

}  // namespace octavo
