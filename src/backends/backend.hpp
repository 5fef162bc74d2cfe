// SPDX-License-Identifier: Apache-2.0
// The contract of a backend: plain data and function pointers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "octavo/context.hpp"
#include "octavo/packed.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// Section 6: codes, scales and zero points of a matrix, cell by cell of a grid.
struct QuantizeProblem {
  const char* operation = "quantize";
  TensorView x;  ///< [R, C], bfloat16, float16 or float32
  QuantizeSpec spec;
  ScaleGrid grid;
  TensorView scales;  ///< [cells down, cells across]; read when `static_scales`, else written
  TensorView azp;     ///< int32, the same shape; undefined when symmetric; as `scales`
  bool static_scales = false;
  /// With static scales: float32 of their shape, written: a cell's scale, or NaN where the cell has
  /// a NaN or an infinity. Undefined: not wanted.
  TensorView shown_scales;
  TensorView codes;  ///< [R, C]; undefined: only scales are wanted
};

/// Section 8: LLM.int8's statistics and codes by row. By column: the transposed views of x and of
/// codes. A row with a NaN, or with an infinity that is no outlier, has the statistic NaN and codes
/// of 0.
struct VectorwiseProblem {
  TensorView x;                ///< [R, C], bfloat16, float16 or float32
  float threshold = 0.0F;      ///< 0: no outliers are looked for
  bool whole_columns = false;  ///< outlier columns stay out of the statistics altogether
  bool by_element = false;   ///< codes are 0 at outlier elements (and in fixed columns), not in all
                             ///< of a column that has one; whole_columns has no effect
  TensorView fixed_columns;  ///< int64 [count], ascending: columns of code 0 that stay out of the
                             ///< statistics; undefined: none
  const std::uint8_t* zero_rows = nullptr;  ///< [R]: rows whose codes are 0 where not 0; null: none
  TensorView codes;   ///< int8 [R, C]; undefined: only statistics and columns are wanted
  TensorView absmax;  ///< float32 [R, 1]
  std::uint8_t* column_flags = nullptr;  ///< C bytes of scratch; null: columns are not wanted, none
                                         ///< are fixed, outliers are elements
  std::int64_t* columns = nullptr;       ///< room for C indices: fixed and found ones, ascending
  std::int64_t* column_count = nullptr;  ///< how many were written
};

/// Elements times scales, what gradients need around their products:
///
///   out[i, j] = cast((source[i, j] - azp[i]) * scales[0](i, j) * scales[1](i, j) * ...)
///
/// in float32, each step rounded by itself, by the scales in their order. Those of no kind are
/// skipped.
struct RescaleProblem {
  TensorView source;  ///< [R, C], an operand type
  TensorView azp;     ///< [R, 1] of integers; undefined: none. The difference is rounded once
  std::array<ScaleView, 5> scales;
  TensorView out;  ///< [R, C], any strides, apart from the source
};

/// Sums of products over the cells of a scale grid, what the gradients of scales and bias are:
///
///   sums(i, j) += (factors[0][i, j] - azp[i]) * factors[1][i, j] * factors[2][i, j] * weight(i, j)
///
/// in float64, in an order that depends on shapes and strides alone.
struct ReduceProblem {
  std::array<TensorView, 3> factors;  ///< [R, C], any strides, 0 repeats; the first is defined
  TensorView azp;                     ///< [R, 1] of integers; undefined: none
  ScaleView weight;                   ///< one more factor
  ScaleView sums;                     ///< float64: the cell that element (i, j) is added to
  std::span<double> scratch;          ///< at least one for each column of cells; more: more threads
};

/// Section 7: out[r, i] = cast(silu(x[r, i]) * x[r, I + i]).
struct SiluProblem {
  TensorView x;    ///< [R, 2 I], bfloat16, float16 or float32
  TensorView out;  ///< [R, I], a float type; apart from x
  Overflow overflow = Overflow::saturate;
};

/// Section 7: out[m] = cast(the sum over slots t of factors[m, t] * rows[places[m, t]]), from +0 in
/// ascending t, in float32, each step rounded by itself.
struct CombineProblem {
  TensorView rows;  ///< float32 [R, N], neighbours along N
  std::int64_t slots = 0;
  const std::int64_t* places = nullptr;  ///< [M][slots]; -1: no term
  const float* factors = nullptr;        ///< [M][slots]; null: all 1
  TensorView out;                        ///< [M, N], a float type
  Overflow overflow = Overflow::saturate;
};

struct PackedWeightData;

/// How a packed weight lies in memory.
struct WeightLayout {
  const char* name;  ///< of the backend that it is made for
  int version;
  std::size_t (*bytes)(DType dtype, std::int64_t k, std::int64_t n) noexcept;
  Status (*pack)(const TensorView& weight, void* packed, const ExecContext& context) noexcept;
  Status (*unpack)(const PackedWeightData& packed, const TensorView& weight,
                   const ExecContext& context) noexcept;
  /// Rows [k0, k1) of the columns from n0 on, a multiple of 16, as [k1 - k0][16] floats; columns
  /// past the end are zero. Null where the host cannot read the layout.
  void (*widen)(const PackedWeightData& packed, std::int64_t k0, std::int64_t k1, std::int64_t n0,
                float* out) noexcept;
};

/// What a backend does beside products. All are there.
struct Passes {
  Status (*quantize)(const QuantizeProblem& problem, const ExecContext& context) noexcept;
  Status (*vectorwise)(const VectorwiseProblem& problem, const ExecContext& context) noexcept;
  Status (*rescale)(const RescaleProblem& problem, const ExecContext& context) noexcept;
  Status (*reduce)(const ReduceProblem& problem, const ExecContext& context) noexcept;
  Status (*silu_and_mul)(const SiluProblem& problem, const ExecContext& context) noexcept;
  Status (*combine)(const CombineProblem& problem, const ExecContext& context) noexcept;
};

struct Backend;

/// What is decided once for all problems of a signature: who runs them, and how.
struct Plan {
  const Backend* backend = nullptr;
  std::size_t workspace_bytes = 0;  ///< that `run` needs, 64-byte aligned
  const char* how = "";             ///< for explain
  bool flushes = false;  ///< elements, products or sums below 2^-126 count as 0 in this problem

  /// What the backend itself keeps: the kernels, tiles or descriptors that it chose.
  template <class T>
  void keep(const T& choice) noexcept {
    static_assert(sizeof(T) <= kChoiceBytes && std::is_trivially_copyable_v<T>);
    std::memcpy(choice_.data(), &choice, sizeof(T));
  }
  template <class T>
  T kept() const noexcept {
    static_assert(sizeof(T) <= kChoiceBytes && std::is_trivially_copyable_v<T>);
    T choice;
    std::memcpy(&choice, choice_.data(), sizeof(T));
    return choice;
  }

 private:
  static constexpr std::size_t kChoiceBytes = 96;
  alignas(8) std::array<std::byte, kChoiceBytes> choice_{};
};

/// One way to run problems. The registry holds them best first.
struct Backend {
  const char* name;
  const char* summary;
  DeviceType device;  ///< where the memory lies that it reads and writes

  /// Null where the backend can run on this machine, else one static sentence.
  const char* (*unavailable)() noexcept;
  /// Null and the plan (all but `backend`) where the backend runs this problem on that many
  /// threads, else one static sentence. The problem has no memory: a plan holds for every problem
  /// of its signature, and for any offsets.
  const char* (*plan)(const MatmulProblem& problem, int threads, Plan& plan) noexcept;
  /// Runs a problem by its plan, with as many threads. `workspace` is the plan's.
  Status (*run)(const MatmulProblem& problem, const Plan& plan, const ExecContext& context,
                void* workspace) noexcept;

  Passes passes;

  /// The layout of weights of a type, null where the backend packs none.
  const WeightLayout* (*layout)(DType dtype) noexcept;
};

/// What a PackedWeight owns.
struct PackedWeightData {
  const WeightLayout* layout = nullptr;
  DType dtype = DType::undefined;
  std::int64_t k = 0, n = 0;
  Tensor codes;                    ///< in that layout, bytes
  std::array<Tensor, 2> scales;    ///< own copies that `scale` looks at
  std::array<ScaleView, 2> scale;  ///< of B [K, N]
  Tensor azp;                      ///< zero points of B, as Operand has them
  std::optional<ActivationQuant> activation;
};

/// Every backend that was built, best first, `reference` last.
std::span<const Backend* const> registry() noexcept;

/// The backend of that name, null if there is none.
const Backend* find_backend(std::string_view name) noexcept;

}  // namespace octavo
