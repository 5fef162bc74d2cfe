// SPDX-License-Identifier: Apache-2.0
// Quantisers: from float tensors to 8-bit codes and scales, and back.
#pragma once

#include <cstdint>
#include <limits>

#include "octavo/code_errors.hpp"
#include "octavo/context.hpp"
#include "octavo/numeric.hpp"
#include "octavo/scale.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// Which float32 numbers a scale may be.
enum class ScaleRounding : std::uint8_t {
  none,          ///< absmax / qmax
  power_of_two,  ///< 2^ceil(log2(absmax / qmax)), before quantising (DeepSeek)
  mx_floor,      ///< 2^(floor(log2(absmax)) - emax) (OCP MX 1.0 section 6.3)
};

/// What non-finite input does (specification section 6).
///
/// - `propagate`, fp8 codes: NaN; infinities stay in e5m2, and are NaN in the types without them.
///   Integer codes: a computed scale of a cell with one is NaN, codes and zero point are 0. A given
///   scale cannot tell, so `linear` and layers take the row's scale as NaN; `quantize` itself
///   converts: NaN to 0, infinities saturate.
/// - `error`: refused, and the element named.
/// - `ignore`, fp8 codes: NaN stays, infinities saturate where there are none. Integer codes: NaN
///   to 0, infinities saturate.
///
/// Computed scales of fp8, and those of `ignore`, come from the finite elements of a cell. With one
/// integer scale for a tensor, one NaN is the whole tensor's: quantise per token to keep it in its
/// row.
enum class NonFinite : std::uint8_t { propagate, error, ignore };

/// How to quantise; plain data that a product can carry.
///
/// Source: specification section 6. scale = absmax / qmax, at least 2^-126; absmax 0 gives scale 1,
/// or min_scale where that is not 0; code = cast(x / scale) with the correctly rounded float32
/// quotient. With `azp` (int8, uint8): s = (max - min) / 255 over the cell's own range, at least
/// 2^-30 max |x|, azp = RNE(qmin - min / s), code = saturate(RNE(x / s) + azp); a cell of one value
/// is exact. Zero points may lie far outside the codes: `widen` includes 0 in the range, as ONNX
/// and files that hold zero points in 8 bits want it.
struct QuantizeSpec {
  // api: QuantizeSpec, of api/operations.toml
  /// of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ...
  DType dtype = DType::int8;
  /// tensor, token, channel, group128, block128x128
  Granularity granularity = per_token();
  /// with zero points, over the cell's own range; they may lie far outside the codes
  bool azp = false;
  /// upper bound of absmax
  float scale_ub = std::numeric_limits<float>::infinity();
  /// lower bound of the scale, and the scale of zeros
  float min_scale = 0.0F;
  /// the magnitude that scales aim at; 0: the type's largest
  float qmax = 0.0F;
  /// none, power_of_two (up, before quantising: DeepSeek) or mx_floor (OCP MX)
  ScaleRounding rounding = ScaleRounding::none;
  /// float32, or float8_e8m0fnu for power-of-two scales
  DType scale_dtype = DType::float32;
  /// propagate: NaN and infinity show. fp8 codes become NaN (infinity stays in e5m2); integer cells
  /// with one get the scale NaN, codes and zero point 0. With a given scale integer codes cannot
  /// show them: NaN is 0, infinities saturate. ignore: scales come from the finite elements,
  /// infinities saturate where the type has none, NaN is 0 in integers. error: refused
  NonFinite non_finite = NonFinite::propagate;
  /// fp8 codes beyond the range become its end (else infinity or NaN)
  Overflow overflow = Overflow::saturate;
  /// with azp, ranges include 0, so that zero points fit 8 bits (ONNX, compressed-tensors)
  bool widen = false;
  // api: end
};

/// A quantised matrix: codes, scales and, where asked for, zero points.
/// Dequantised element (i, j) = (codes[i,j] - azp) * scale of the cell of (row0 + i, col0 + j).
///
/// A slice of a matrix keeps the cells that it touches, and where in the first of them it begins:
/// scales are neither repeated nor cut, so that sums over K are taken in the steps of the whole.
struct Quantized {
  Tensor data;     ///< [R, C] codes, in the stride order of the input
  Tensor scale;    ///< 2-D, one element per cell of `grid`, of which there are row0 + R by col0 + C
  ScaleGrid grid;  ///< How many rows and columns of `data` one scale covers.
  Tensor azp;      ///< int32, shape of `scale`; undefined when symmetric
  /// The first row and column of `data`, counted from the first of the first cell.
  std::int64_t row0 = 0, col0 = 0;
};

/// How quantize makes codes and scales.
struct QuantizeOptions {
  // api: QuantizeOptions, of api/operations.toml
  /// of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ...
  DType dtype = DType::int8;
  /// tensor, token, channel, group128, block128x128
  Granularity granularity = per_token();
  /// how granularities read the matrix: a as [M, K], b as [K, N]
  Side side = Side::a;
  /// with zero points, over the cell's own range; they may lie far outside the codes
  bool azp = false;
  /// upper bound of absmax
  float scale_ub = std::numeric_limits<float>::infinity();
  /// lower bound of the scale, and the scale of zeros
  float min_scale = 0.0F;
  /// the magnitude that scales aim at; 0: the type's largest
  float qmax = 0.0F;
  /// none, power_of_two (up, before quantising: DeepSeek) or mx_floor (OCP MX)
  ScaleRounding rounding = ScaleRounding::none;
  /// float32, or float8_e8m0fnu for power-of-two scales
  DType scale_dtype = DType::float32;
  /// propagate: NaN and infinity show. fp8 codes become NaN (infinity stays in e5m2); integer cells
  /// with one get the scale NaN, codes and zero point 0. With a given scale integer codes cannot
  /// show them: NaN is 0, infinities saturate. ignore: scales come from the finite elements,
  /// infinities saturate where the type has none, NaN is 0 in integers. error: refused
  NonFinite non_finite = NonFinite::propagate;
  /// fp8 codes beyond the range become its end (else infinity or NaN)
  Overflow overflow = Overflow::saturate;
  /// with azp, ranges include 0, so that zero points fit 8 bits (ONNX, compressed-tensors)
  bool widen = false;
  /// static quantisation: this scale instead of a computed one
  Scale scale{};
  /// static quantisation with azp: the zero points, int32
  TensorView azp_in{};
  // api: end
};

/// Quantises a matrix x [R, C] of bfloat16, float16 or float32, with any strides.
///
/// Codes and scales are the same bits on every backend. A weight stored as [N, K] is quantised per
/// output channel with `quantize(w.transposed(), {.granularity = per_channel(), .side = Side::b})`.
/// Throws Error: invalid_argument (rank, dtype, granularity, non-finite input under
/// NonFinite::error), out_of_memory.
OCTAVO_API Quantized quantize(const TensorView& x, const QuantizeOptions& options = {},
                              const ExecContext& context = {});

/// The same, and what the codes lose of x is added to `errors` in the same reading, as code_errors
/// below says of it. Throws Error (invalid_argument), too, where code_errors does.
OCTAVO_API Quantized quantize(const TensorView& x, const QuantizeOptions& options,
                              CodeErrors& errors, const ExecContext& context = {});

/// The same into memory of the caller: `out` has codes [R, C] and scales (and zero points) in the
/// shapes and types that `quantize` gives, with any strides. `backend` forces one by name. Throws
/// Error: invalid_argument, too, where `out` does not fit or a static scale is given.
OCTAVO_API void quantize_into(const TensorView& x, const QuantizeOptions& options,
                              const Quantized& out, const ExecContext& context = {},
                              const char* backend = nullptr);

/// The MX fp8 quantiser: groups of 32 along K with e8m0 scales (OCP MX 1.0).
OCTAVO_API Quantized quantize_mxfp8(const TensorView& x, DType dtype = DType::float8_e4m3fn,
                                    Side side = Side::a, const ExecContext& context = {});

/// The scales (and zero points) that `quantize` would use, without the codes.
OCTAVO_API Quantized compute_scale(const TensorView& x, const QuantizeOptions& options = {},
                                   const ExecContext& context = {});

/// (codes - azp) * scale, computed in float32 and converted once.
OCTAVO_API Tensor dequantize(const Quantized& q, DType out_dtype = DType::float32,
                             const ExecContext& context = {});

/// What codes lose of the values [R, C] that they stand for, in one thread: sums over all elements,
/// right to a relative error of 18 x 2^-24. Throws Error (invalid_argument: rows that are not
/// neighbours in memory, another shape, zero points, scales that are not float32).
OCTAVO_API CodeErrors code_errors(const TensorView& values, const Quantized& quantized,
                                  const ExecContext& context = {});

/// The largest code magnitude, which scales aim at by default: 448, 240, 57344, 57344, 127, 255.
OCTAVO_API float qmax(DType dtype) noexcept;

}  // namespace octavo
