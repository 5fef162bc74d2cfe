// SPDX-License-Identifier: Apache-2.0
// What tensor cores compute in one step of 32 bytes of K, to the bit: Hopper's, and mma_sync's of
// devices of 8.x.
//
// Integers: exact products, a sum that wraps. Floating types: all products of a step and the
// accumulator are added at once, in fixed point,
//
//     E    the largest of: exponent of c; exponent(a[k]) + exponent(b[k]) of every product
//     sum  c and the products, each cut toward zero to a multiple of 2^(E - F), added exactly
//     d    the sum cut toward zero to M bits behind its leading one, as float32
//
// where a zero has the exponent -126 and a subnormal its format's smallest one, its significand
// without a leading one. A product's two factors keep their exponents: 1.5 * 1.5 has exponent 0.
//
//     unit, operands       products a sum     F     M
//     wgmma, fp8                 32          13    13
//     wgmma, 16 bits             16          25    23
//     mma_sync, 16 bits          16          25    23
//     mma_sync, fp8          two of 16, below
//     mma_sync of 8.x,
//     16 bits                two of 8        24    23
//
// Sources. F, M and the cut of the sum: Xie et al., "MMA-Sim", arXiv 2511.10909, whose authors ran
// it bit for bit against an H100, an A100 and others; Khattak and Mikaitis, arXiv 2512.07004, agree
// on 13 and 25 bits. mma_sync of fp8: MMA-Sim has no Hopper row for it. sm_90 has no such
// instruction; ptxas 13.0 converts the operands to fp16 (F2FP.F16.*.UNPACK_B) and issues two
// HMMA.16816.F32, the first on elements 0 and 1 of every four along K with an accumulator of zero,
// the second on elements 2 and 3 with the first's sum, then adds c by FADD, to nearest even.
// tests/cuda/machine/primitives.txt holds that.
//
// Not verified on hardware by this project: all of the above; that a sum of 2^128 or more becomes
// infinity; that -0 is never a result.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::simulator {

/// The instruction: they add floating products differently.
enum class TensorUnit : std::uint8_t {
  wgmma,
  mma_sync,       ///< of Hopper
  mma_sync_of_8,  ///< of devices of 8.x; not of fp8, which these have or do not
};

/// The NaN that every floating instruction gives.
inline constexpr std::uint32_t kNan = 0x7FFFFFFFU;

/// One step: d[i][j] += sum over k of a[i][k] b[j][k], with the rounding of the unit.
/// a: [rows] rows of 32 bytes, b: [columns] rows of 32 bytes, d: [rows][columns] patterns of int32
/// (sums wrap) or of float32. A NaN, an infinity times zero and infinities of both signs among the
/// terms give kNan.
void multiply_step(TensorUnit unit, MmaType type, const std::uint8_t* a, int rows,
                   const std::uint8_t* b, int columns, std::uint32_t* d) noexcept;

/// The most by which one element's step differs from the exact c + a b where |c| <= `accumulator`
/// and nothing overflows: a and b are the 32 bytes of its row and its column. 0 for integers. Over
/// several steps of which only the exact sums are known, the bounds add up, and `accumulator` is
/// the exact sum's magnitude plus the bound so far.
double step_error_bound(TensorUnit unit, MmaType type, const std::uint8_t* a, const std::uint8_t* b,
                        double accumulator) noexcept;

}  // namespace octavo::cuda::simulator
