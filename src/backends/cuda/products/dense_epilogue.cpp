// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/dense_epilogue.hpp"

#include <cstdint>
#include <limits>

#include "backends/cuda/products/tiled.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {
namespace {

// Values `step` apart.
bool to_factors(const Elements& values, std::int64_t first, std::int64_t step,
                Factors& out) noexcept {
  if (!is_wide(values.dtype) || step < 0 || step > std::numeric_limits<std::int32_t>::max())
    return false;
  out.values = values.at(first);
  out.step = static_cast<std::int32_t>(step);
  out.dtype = values.dtype;
  return true;
}

// A scale of one value, or one for each row (of A; of B's transpose: column).
bool to_factors(const ScaleView& scale, Factors& out) noexcept {
  if (scale.kind != ScaleKind::tensor) {
    if (scale.kind == ScaleKind::number) out.number = scale.number;
    return true;
  }
  const bool one = scale.rows == kWholeExtent;
  if (!one && scale.rows != 1) return false;
  const std::int64_t step = one ? 0 : scale.data.strides[0];
  return to_factors(scale.data, one ? 0 : scale.row0 * step, step, out);
}

bool to_factors(const Factor& factor, Factors& out) noexcept {
  if (factor.kind != Factor::Kind::tensor) {
    out.number = factor.number;
    return true;
  }
  return to_factors(factor.data, 0, factor.data.strides[1], out);
}

// One for each column, -0 where there is none.
bool to_bias(const Elements& bias, Factors& out) noexcept {
  if (!bias.defined()) return true;
  return bias.strides[0] == 0 && to_factors(bias, 0, bias.strides[1], out);
}

// Whether FullPanel finds four columns of a row, from a multiple of four on, as a word or two.
bool has_words_of_four(const Elements& x) noexcept {
  const std::int64_t bytes = 4 * element_bytes(x.dtype);
  return x.strides[1] == 1 && x.strides[0] % 4 == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % static_cast<std::uintptr_t>(bytes) == 0;
}

// One scale an operand, of rows and of columns; a bias of columns.
bool to_vectors(const Member& p, EpilogueParams& out) noexcept {
  return !p.a.scale[1].present() && !p.b.scale[1].present() &&
         to_factors(p.a.scale[0], out.scale_a) &&
         to_factors(p.b.scale[0].transposed(), out.scale_b) && to_bias(p.epilogue.bias, out.bias);
}

// One zero point, or one for each row (of A; of B's transpose: column). Without the sums.
void to_zero_points(const MatrixView& azp, std::int64_t step, ZeroPointVector& out) noexcept {
  out.values = azp.data;
  out.step = step;
  out.dtype = azp.dtype;
}

bool to_full(const Member& p, const MatmulOptions& options, const EpilogueParams& quick,
             FullEpilogue& full) noexcept {
  const Epilogue& e = p.epilogue;
  const MatrixView& out = p.out;
  if (!is_full_output(out.dtype) || (out.strides[1] != 1 && out.shape[1] > 1)) return false;
  if (is_float8(out.dtype) && options.overflow != Overflow::saturate) return false;
  if (e.c.defined() && !is_wide(e.c.dtype)) return false;
  full.scale_a = quick.scale_a;
  full.scale_b = quick.scale_b;
  full.bias = quick.bias;
  full.c = e.c;
  full.c_words = e.c.defined() && has_words_of_four(e.c);
  full.out = out;
  full.out_words = has_words_of_four(out);
  ZeroPoints& zero_points = full.zero_points;
  zero_points.any = has_zero_points(p);
  zero_points.k = static_cast<std::int32_t>(p.a.data.shape[1]);
  if (p.a.azp.defined()) to_zero_points(p.a.azp, p.a.azp.strides[0], zero_points.of_rows);
  if (p.b.azp.defined()) to_zero_points(p.b.azp, p.b.azp.strides[1], zero_points.of_columns);
  return to_factors(e.alpha, full.alpha) && to_factors(e.beta, full.beta) &&
         to_factors(e.scale_result, full.result);
}

}  // namespace

bool has_zero_points(const Member& p) noexcept { return p.a.azp.defined() || p.b.azp.defined(); }

bool fuses(const Member& p, const MatmulOptions& options, FullEpilogue& full) noexcept {
  EpilogueParams vectors;  // none of the exact sums
  if (p.out.dtype != DType::int32 && !to_vectors(p, vectors)) return false;
  return to_full(p, options, vectors, full);
}

bool fuses(const Member& p, const MatmulOptions& options, DenseEpilogue& epilogue) noexcept {
  const Epilogue& e = p.epilogue;
  const DType out = p.out.dtype;
  const bool tiled = is_tiled(p.out);
  const bool more = e.alpha.present() || e.beta.present() || e.scale_result.present() ||
                    e.c.defined() || has_zero_points(p) || e.outliers.present();
  if (tiled && !more && out == DType::int32) {
    epilogue.kind = DenseOut::sums;
    return true;
  }
  if (tiled && !more && is_wide(out)) {
    epilogue.kind = out == DType::bfloat16  ? DenseOut::bf16
                    : out == DType::float16 ? DenseOut::f16
                                            : DenseOut::f32;
    return to_vectors(p, epilogue.quick);
  }
  epilogue.kind = DenseOut::full;
  return fuses(p, options, epilogue.full);
}

}  // namespace octavo::cuda
