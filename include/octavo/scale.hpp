// SPDX-License-Identifier: Apache-2.0
// Scales: how a scale is given, which elements share one, and the resolved view kernels read.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "octavo/matrix.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// Which operand of A[M,K] @ B[K,N] a matrix is.
enum class Side : std::uint8_t { a, b };

/// Which elements of an operand share one scale.
///
/// | name        | scale of A [M,K]      | scale of B [K,N]       |
/// |-------------|-----------------------|------------------------|
/// | per_tensor  | one element           | one element            |
/// | per_token   | [M, 1] (or [M])       | -                      |
/// | per_channel | -                     | [1, N] (or [N], [N,1]) |
/// | group(g)    | [M, ceil(K/g)]        | [ceil(K/g), N]         |
/// | block(r, c) | [ceil(M/r),ceil(K/c)] | [ceil(K/r),ceil(N/c)]  |
/// | per_k       | [1, K] (or [K])       | [K, 1] (or [K])        |
/// | per_element | [M, K]                | [K, N]                 |
///
/// `automatic` follows broadcasting of the scale's own shape against the operand and never guesses
/// between two readings: group and block scales have to be declared.
struct Granularity {
  /// The rows of the table above.
  enum class Kind : std::uint8_t {
    automatic,
    tensor,
    token,
    channel,
    group,
    block,
    per_k,
    element,
  };
  Kind kind = Kind::automatic;  ///< which row
  std::int64_t rows = 0;  ///< block: rows of the operand under one scale; group: the group length
  std::int64_t cols = 0;  ///< block: columns of the operand under one scale

  friend bool operator==(const Granularity&, const Granularity&) = default;
};

/// One scale for all elements.
constexpr Granularity per_tensor() noexcept { return {Granularity::Kind::tensor, 0, 0}; }
/// One scale for each row of A.
constexpr Granularity per_token() noexcept { return {Granularity::Kind::token, 0, 0}; }
/// One scale for each column of B.
constexpr Granularity per_channel() noexcept { return {Granularity::Kind::channel, 0, 0}; }
/// One scale for each `g` elements along K.
constexpr Granularity group(std::int64_t g) noexcept { return {Granularity::Kind::group, g, 0}; }
/// One scale for each block of `rows` x `cols` elements of the operand.
constexpr Granularity block(std::int64_t rows, std::int64_t cols) noexcept {
  return {Granularity::Kind::block, rows, cols};
}
/// One scale for each k: each column of A, each row of B.
constexpr Granularity per_k() noexcept { return {Granularity::Kind::per_k, 0, 0}; }
/// One scale for each element.
constexpr Granularity per_element() noexcept { return {Granularity::Kind::element, 0, 0}; }

/// One scale covers the whole extent of that dimension, whatever it is.
inline constexpr std::int64_t kWholeExtent = std::numeric_limits<std::int64_t>::max();

/// A granularity as numbers: rows x cols of the operand under one scale.
struct ScaleGrid {
  std::int64_t rows = kWholeExtent;  ///< of a cell
  std::int64_t cols = kWholeExtent;  ///< of a cell
  friend bool operator==(const ScaleGrid&, const ScaleGrid&) = default;
};

/// One row of the table of granularities, from which names, grids, shapes and rules are made.
struct GranularityInfo {
  Granularity::Kind kind;  ///< the row's kind
  std::string_view name;   ///< its sizes follow it: "token", "group128", "block128x128"
  int sizes;               ///< how many: the first is Granularity::rows, the second cols
  ScaleGrid a, b;          ///< on either side; 0: the size, of two that of the dimension
  bool vector;             ///< scales may be 1-D
  const char* not_of_a;    ///< what would be right on a side that has none, null where it has
  const char* not_of_b;    ///< the same of B
};
/// The table of granularities, one row for each kind, in its order.
inline constexpr auto kGranularities = std::to_array<GranularityInfo>({
    {Granularity::Kind::automatic, "automatic", 0, {}, {}, false, nullptr, nullptr},
    {Granularity::Kind::tensor, "tensor", 0, {}, {}, false, nullptr, nullptr},
    {Granularity::Kind::token,
     "token",
     0,
     {1, kWholeExtent},
     {1, kWholeExtent},
     true,
     nullptr,
     "channel for one scale per column"},
    {Granularity::Kind::channel,
     "channel",
     0,
     {kWholeExtent, 1},
     {kWholeExtent, 1},
     true,
     "token for one scale per row",
     nullptr},
    {Granularity::Kind::group, "group", 1, {1, 0}, {0, 1}, false, nullptr, nullptr},
    {Granularity::Kind::block, "block", 2, {0, 0}, {0, 0}, false, nullptr, nullptr},
    {Granularity::Kind::per_k,
     "per_k",
     0,
     {kWholeExtent, 1},
     {1, kWholeExtent},
     true,
     nullptr,
     nullptr},
    {Granularity::Kind::element, "element", 0, {1, 1}, {1, 1}, false, nullptr, nullptr},
});

namespace detail {
constexpr bool granularity_rows_in_order() {
  for (std::size_t i = 0; i < kGranularities.size(); ++i) {
    if (static_cast<std::size_t>(kGranularities[i].kind) != i) return false;
  }
  return true;
}
static_assert(granularity_rows_in_order(), "kGranularities must have one row per Kind, in order");
}  // namespace detail

/// The row of the table of granularities.
constexpr const GranularityInfo& info(const Granularity& granularity) noexcept {
  return kGranularities[static_cast<std::size_t>(granularity.kind)];
}

/// "token", "group128", "block128x128": the spelling of problem lines, Python and files.
OCTAVO_API std::string to_string(const Granularity& granularity);

/// The granularity of that spelling, sizes of at least 1; "mx" is group(32). `automatic` for any
/// other text.
OCTAVO_API Granularity granularity_from_name(std::string_view name) noexcept;

/// The grid of a declared granularity on that side. `automatic` has none: it depends on a shape.
OCTAVO_API ScaleGrid scale_grid(const Granularity& granularity, Side side) noexcept;

/// A scale argument: undefined (use the scale that the operand carries, else none), null
/// (explicitly none, overrides a carried one), a host number, or a tensor.
///
/// A scale is a decode multiplier: dequantised = stored * scale. Tensors may be float32, bfloat16,
/// float16 or float8_e8m0fnu, with any strides; they are widened exactly.
class OCTAVO_API Scale {
 public:
  /// What a scale argument is.
  enum class Kind : std::uint8_t { undefined, null, number, tensor };

  Scale() = default;
  Scale(std::nullptr_t) : kind_(Kind::null) {}  // NOLINT: implicit on purpose
  template <class T>
  requires std::integral<T> || std::floating_point<T> Scale(
      T number)  // NOLINT: implicit on purpose
      : kind_(Kind::number), number_(static_cast<float>(number)) {}
  Scale(const TensorView& values, Granularity granularity = {})  // NOLINT: implicit on purpose
      : kind_(values.defined() ? Kind::tensor : Kind::undefined),
        values_(values),
        granularity_(granularity) {}
  Scale(const Tensor& values, Granularity granularity = {})  // NOLINT: implicit on purpose
      : Scale(values.view(), granularity) {}

  /// What it is.
  Kind kind() const noexcept { return kind_; }
  /// Of a number.
  float number() const noexcept { return number_; }
  /// Of a tensor.
  const TensorView& values() const noexcept { return values_; }
  /// Of a tensor.
  const Granularity& granularity() const noexcept { return granularity_; }

 private:
  Kind kind_ = Kind::undefined;
  float number_ = 1.0F;
  TensorView values_;
  Granularity granularity_;
};

/// What a resolved scale is.
enum class ScaleKind : std::uint8_t { none, number, tensor };

/// A resolved scale. Element (i, j) of the operand is multiplied by
/// `data[(row0 + i) / rows, (col0 + j) / cols]`, or by `number` when there is no tensor.
template <class Values>
struct ScaleOf {
  using Kind = ScaleKind;
  Kind kind = Kind::none;            ///< which of the two below counts
  float number = 1.0F;               ///< one for all
  Values data;                       ///< one for each cell
  std::int64_t rows = kWholeExtent;  ///< of the operand under one scale
  std::int64_t cols = kWholeExtent;  ///< of the operand under one scale
  std::int64_t row0 = 0;  ///< first row of a slice, counted in the operand the scales were made for
  std::int64_t col0 = 0;  ///< first column of a slice

  /// Whether there is a scale.
  bool present() const noexcept { return kind != Kind::none; }
  /// The scales of the transposed operand.
  ScaleOf transposed() const noexcept {
    return {kind, number, data.transposed(), cols, rows, col0, row0};
  }
  /// The scales of rows [row, ...) and columns [col, ...) of the operand.
  ScaleOf shifted(std::int64_t row, std::int64_t col) const noexcept {
    return {kind, number, data, rows, cols, row0 + row, col0 + col};
  }
  template <class Other>
  requires(std::convertible_to<Values, Other> && !std::same_as<Values, Other>)
  operator ScaleOf<Other>() const noexcept {  // NOLINT: implicit on purpose
    return {kind, number, data, rows, cols, row0, col0};
  }
};

/// As an operand carries it: 2-D, or 3-D [G, ., .] where the groups of a tensor form have their
/// own.
using CarriedScale = ScaleOf<TensorView>;
/// What kernels read: of one member, or of all where offsets cut one matrix.
using ScaleView = ScaleOf<Elements>;

}  // namespace octavo
