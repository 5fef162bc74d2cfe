// SPDX-License-Identifier: Apache-2.0
// Strips of rows to partial sums, partial sums to cells:
//
//   for each window of strips                (what the scratch memory holds)
//     for each strip, in parallel
//       for each 512 columns
//         for each row: products, added to a sum for each column
//         the columns of a cell are added
//     for each strip, in order: its partial sums are added to the cells
#include <algorithm>
#include <cstdlib>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "core/scales/scale_rows.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kStripRows = 32;
constexpr std::int64_t kColumns = ScaleRows::kMostColumns;
constexpr std::int64_t kMostStrips = 1024;  // in a window

using Floats = std::array<float, static_cast<std::size_t>(kColumns)>;
using Doubles = std::array<double, static_cast<std::size_t>(kColumns)>;

ReduceProblem transposed(const ReduceProblem& p) noexcept {
  ReduceProblem t = p;
  for (MatrixView& factor : t.factors) factor = factor.transposed();
  t.weight = p.weight.transposed();
  t.sums = p.sums.transposed();
  return t;
}

// A fixed number of sums side by side, then one after the other.
double sum_of(const double* x, std::int64_t count) noexcept {
  constexpr std::int64_t kLanes = 8;
  std::array<double, static_cast<std::size_t>(kLanes)> lanes{};
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[static_cast<std::size_t>(l)] += x[j + l];
  }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  for (; j < count; ++j) sum += x[j];
  return sum;
}

class Reduce {
 public:
  explicit Reduce(const ReduceProblem& p) noexcept : p_(p) {
    rows_ = p.factors[0].shape[0];
    columns_ = p.factors[0].shape[1];
    const ScaleView& s = p.sums;
    first_cell_ = cell_of(0);
    across_ = columns_ == 0 ? 0 : cell_of(columns_ - 1) - first_cell_ + 1;
    const std::int64_t height = s.rows == kWholeExtent ? rows_ : s.rows;
    strip_rows_ = std::clamp<std::int64_t>(height, 1, kStripRows);
  }

  void run(const ExecContext& context) const noexcept {
    if (rows_ == 0 || columns_ == 0) return;
    const auto room = static_cast<std::int64_t>(p_.scratch.size()) / across_;
    const std::int64_t window = std::clamp<std::int64_t>(room, 1, kMostStrips);
    double* sums = p_.scratch.data();
    std::array<std::int64_t, static_cast<std::size_t>(kMostStrips + 1)> ends;
    std::int64_t* strips = ends.data();
    for (std::int64_t row = 0; row < rows_;) {
      std::int64_t count = 0;
      strips[0] = row;
      while (row < rows_ && count < window) strips[++count] = row = strip_end(row);
      const std::int64_t elements = (row - strips[0]) * columns_;
      for_each_band(context, bands_of(context, count, elements), count,
                    [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; ++i) {
                        sum_strip(strips[i], strips[i + 1], sums + i * across_);
                      }
                    });
      const FloatEnvironment environment;
      for (std::int64_t i = 0; i < count; ++i) add(strips[i], sums + i * across_);
    }
  }

 private:
  std::int64_t cell_of(std::int64_t column) const noexcept {
    return (p_.sums.col0 + column) / p_.sums.cols;
  }

  // A strip lies in one row of cells.
  std::int64_t strip_end(std::int64_t row) const noexcept {
    const ScaleView& s = p_.sums;
    std::int64_t end = std::min(rows_, row + strip_rows_);
    if (s.rows != kWholeExtent) {
      end = std::min(end, ((s.row0 + row) / s.rows + 1) * s.rows - s.row0);
    }
    return end;
  }

  void sum_strip(std::int64_t r0, std::int64_t r1, double* partial) const noexcept {
    std::fill(partial, partial + across_, 0.0);
    Doubles sums;
    for (std::int64_t c = 0; c < columns_; c += kColumns) {
      const std::int64_t count = std::min(kColumns, columns_ - c);
      std::fill_n(sums.data(), count, 0.0);
      add_rows(r0, r1, c, count, sums.data());
      if (p_.sums.cols == 1) {
        for (std::int64_t j = 0; j < count; ++j) {
          partial[c + j] += sums[static_cast<std::size_t>(j)];
        }
        continue;
      }
      for (std::int64_t j = 0; j < count;) {
        const std::int64_t cell = cell_of(c + j);
        const std::int64_t end =
            p_.sums.cols == kWholeExtent
                ? count
                : std::min(count, (cell + 1) * p_.sums.cols - p_.sums.col0 - c);
        partial[cell - first_cell_] += sum_of(sums.data() + j, end - j);
        j = end;
      }
    }
  }

  void add_rows(std::int64_t r0, std::int64_t r1, std::int64_t column, std::int64_t count,
                double* sums) const noexcept {
    const Kernels& kernels = best_kernels();
    std::array<Floats, 3> x;
    ScaleRows weight(p_.weight, column, count);
    for (std::int64_t i = r0; i < r1; ++i) {
      std::array<const float*, 4> factors{};
      std::size_t given = 0;
      for (std::size_t f = 0; f < p_.factors.size(); ++f) {
        const MatrixView& v = p_.factors[f];
        if (!v.defined()) continue;
        widen(kernels, v.dtype, v.at(i * v.strides[0] + column * v.strides[1]), v.strides[1], count,
              x[f].data());
        factors[given++] = x[f].data();
      }
      double factor = 1.0;
      if (weight.present() && weight.uniform()) {
        factor = static_cast<double>(weight.factor(i));
      } else if (weight.present()) {
        factors[given++] = weight.row(i);
      }
      const double zero = p_.azp.defined() ? static_cast<double>(load_int(p_.azp, i, 0)) : 0.0;
      if (given <= 2 && factor == 1.0 && zero == 0.0) {
        kernels.add_products(factors[0], factors[1], count, sums);
        continue;
      }
      for (std::int64_t j = 0; j < count; ++j) {
        double product = (static_cast<double>(factors[0][j]) - zero) * factor;
        for (std::size_t f = 1; f < given; ++f) product *= static_cast<double>(factors[f][j]);
        sums[j] += product;
      }
    }
  }

  void add(std::int64_t row, const double* partial) const noexcept {
    const ScaleView& s = p_.sums;
    const std::int64_t cell_row = (s.row0 + row) / s.rows;
    auto* cells = static_cast<double*>(s.data.at(cell_row * s.data.strides[0]));
    for (std::int64_t c = 0; c < across_; ++c) {
      cells[(first_cell_ + c) * s.data.strides[1]] += partial[c];
    }
  }

  const ReduceProblem& p_;
  std::int64_t rows_, columns_;
  std::int64_t first_cell_, across_;  // of the columns
  std::int64_t strip_rows_;
};

}  // namespace

Status reduce(const ReduceProblem& problem, const ExecContext& context) noexcept {
  const MatrixView& first = problem.factors[0];
  const bool columns_together =
      std::abs(first.strides[0]) < std::abs(first.strides[1]) && first.strides[0] != 0;
  if (columns_together && !problem.azp.defined()) {
    const ReduceProblem by_columns = transposed(problem);
    Reduce(by_columns).run(context);
  } else {
    Reduce(problem).run(context);
  }
  return {};
}

}  // namespace octavo::cpu
