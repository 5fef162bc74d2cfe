// SPDX-License-Identifier: Apache-2.0
// Static quantisers, piece by piece of their rows: straight through, and learned step sizes.
#include <algorithm>
#include <array>

#include "backends/host/passes.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/error.hpp"
#include "core/scales/learned_step.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/scales/scale_rows.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::host {
namespace {

constexpr std::int64_t kPiece = ScaleRows::kMostColumns;

// Pieces of rows of a static quantiser: where an element was inside the range, and the slope of its
// dequantised value by the scale.
class StaticQuantizer {
 public:
  struct Piece {
    std::array<bool, static_cast<std::size_t>(kPiece)> inside;
    std::array<float, static_cast<std::size_t>(kPiece)> slope;
  };

  explicit StaticQuantizer(const LearnedStepProblem& p) noexcept
      : x_(p.x), dtype_(p.dtype), overflow_(p.overflow), azp_(p.azp), scale_(p.scale) {}

  // Calls visit(row, column, count, piece) for all pieces, in parallel.
  template <class Visit>
  void each_piece(const ExecContext& context, const Visit& visit) const noexcept {
    const std::int64_t rows = x_.shape[0];
    const std::int64_t columns = x_.shape[1];
    for_each_band(context, bands_of(context, rows, rows * columns), rows,
                  [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                    Piece piece;
                    for (std::int64_t c = 0; c < columns; c += kPiece) {
                      const std::int64_t count = std::min(kPiece, columns - c);
                      ScaleRows scales(scale_, c, count);
                      for (std::int64_t i = begin; i < end; ++i) {
                        quantize(i, c, count, scales, piece);
                        visit(i, c, count, piece);
                      }
                    }
                  });
  }

 private:
  using Floats = std::array<float, static_cast<std::size_t>(kPiece)>;

  void quantize(std::int64_t i, std::int64_t c, std::int64_t count, ScaleRows& scales,
                Piece& piece) const noexcept {
    Floats quotient;
    load_row(x_.dtype, x_.at(i * x_.strides[0] + c * x_.strides[1]), x_.strides[1], count,
             quotient.data());
    const float* factors = scales.uniform() ? nullptr : scales.row(i);
    const float one = factors != nullptr ? 0.0F : scales.factor(i);
    const auto n = static_cast<std::size_t>(count);
    for (std::size_t j = 0; j < n; ++j) quotient[j] /= factors != nullptr ? factors[j] : one;
    is_float8(dtype_) ? floats(quotient, count, piece) : integers(quotient, i, c, count, piece);
  }

  void floats(const Floats& quotient, std::int64_t count, Piece& piece) const noexcept {
    std::array<std::uint8_t, static_cast<std::size_t>(kPiece)> codes;
    store_row(dtype_, quotient.data(), count, codes.data(), 1, overflow_);
    load_row(dtype_, codes.data(), 1, count, piece.slope.data());
    const float most = info(dtype_).max;
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      piece.inside[j] = float_step(quotient[j], piece.slope[j], most, piece.slope[j]);
    }
  }

  void integers(const Floats& quotient, std::int64_t i, std::int64_t c, std::int64_t count,
                Piece& piece) const noexcept {
    if (!azp_.defined())
      return integers(
          quotient, count, [](std::size_t) { return 0.0; }, piece);
    const auto azp = [&](std::size_t j) {
      const std::int64_t column = (c + static_cast<std::int64_t>(j)) / scale_.cols;
      return static_cast<double>(load_int(azp_, i / scale_.rows, column));
    };
    integers(quotient, count, azp, piece);
  }

  template <class ZeroPoint>
  void integers(const Floats& quotient, std::int64_t count, const ZeroPoint& azp_of,
                Piece& piece) const noexcept {
    const double low = lowest_code(dtype_);
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      piece.inside[j] = integer_step(quotient[j], azp_of(j), low, piece.slope[j]);
    }
  }

  MatrixView x_;
  DType dtype_;
  Overflow overflow_;
  MatrixView azp_;
  ScaleView scale_;
};

}  // namespace

Status learned_step(const LearnedStepProblem& p, const ExecContext& context) noexcept {
  StaticQuantizer(p).each_piece(context, [&](std::int64_t i, std::int64_t c, std::int64_t count,
                                             const StaticQuantizer::Piece& piece) {
    if (p.slopes.defined()) {
      std::copy_n(piece.slope.data(), count,
                  static_cast<float*>(p.slopes.at(i * p.slopes.strides[0] + c)));
    }
    const MatrixView& to = p.grad_x;
    if (!to.defined()) return;
    std::array<float, static_cast<std::size_t>(kPiece)> g;
    load_row(p.grad.dtype, p.grad.at(i * p.grad.strides[0] + c * p.grad.strides[1]),
             p.grad.strides[1], count, g.data());
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      g[j] = piece.inside[j] ? g[j] : 0.0F;
    }
    store_row(to.dtype, g.data(), count, to.at(i * to.strides[0] + c * to.strides[1]),
              to.strides[1], Overflow::saturate);
  });
  return {};
}

}  // namespace octavo::host
