// SPDX-License-Identifier: Apache-2.0
// Float64 products and their error bounds.
#include "kit/oracle/oracle.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <vector>

#include "kit/operands/element.hpp"
#include "kit/workers.hpp"
#include "octavo/backend.hpp"
#include "octavo/packed.hpp"
#include "octavo/rotate.hpp"

namespace octavo::kit {
namespace {

constexpr double kUnit = 0x1p-24;

double scale_of(const OperandView& operand, std::int64_t i, std::int64_t j) {
  double product = 1.0;
  for (const ScaleView& s : operand.scale) {
    if (s.kind == ScaleKind::number) product *= static_cast<double>(s.number);
    if (s.kind == ScaleKind::tensor) {
      product *= load(s.data, (s.row0 + i) / s.rows, (s.col0 + j) / s.cols);
    }
  }
  return product;
}

double factor_of(const Factor& f, std::int64_t n) {
  if (f.kind == Factor::Kind::tensor) return load(f.data, 0, n);
  return static_cast<double>(f.number);
}

using Indices = std::vector<std::int64_t>;

// At most `limit` of `count` indices, the first and the last among them; 0: all.
Indices spread(std::int64_t count, std::int64_t limit) {
  const std::int64_t taken = limit > 0 ? std::min(limit, count) : count;
  Indices indices(static_cast<std::size_t>(std::max<std::int64_t>(taken, 0)));
  for (std::int64_t i = 0; i < taken; ++i) {
    indices[static_cast<std::size_t>(i)] = taken > 1 ? i * (count - 1) / (taken - 1) : 0;
  }
  return indices;
}

// A's by row; B's by column, or one for each cell of its scale.
double zero_point(const OperandView& o, bool rows, std::int64_t i, std::int64_t j) {
  const MatrixView& v = o.azp;
  if (!v.defined()) return 0.0;
  if (rows) return load(v, i, 0);
  if (v.shape[0] == 1 && v.shape[1] >= o.data.shape[1]) return load(v, 0, j);
  const ScaleView& scale = o.scale[0];
  return load(v, (scale.row0 + i) / scale.rows, (scale.col0 + j) / scale.cols);
}

// Elements along K, dequantised: of rows of A, or of columns of B.
template <class T>
std::vector<T> dequantized(const OperandView& o, const Indices& lines, bool rows, double divisor) {
  const std::int64_t k = rows ? o.data.shape[1] : o.data.shape[0];
  const auto count = static_cast<std::int64_t>(lines.size());
  std::vector<T> values(static_cast<std::size_t>(k * count));
  const auto fill = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t line = lines[static_cast<std::size_t>(at)];
      for (std::int64_t x = 0; x < k; ++x) {
        const std::int64_t i = rows ? line : x;
        const std::int64_t j = rows ? x : line;
        values[static_cast<std::size_t>(at * k + x)] = static_cast<T>(
            (load(o.data, i, j) - zero_point(o, rows, i, j)) * scale_of(o, i, j) / divisor);
      }
    }
  };
  constexpr std::int64_t kGrain = std::int64_t{1} << 19;
  for_ranges(count, 1 + kGrain / std::max<std::int64_t>(k, 1), fill);
  return values;
}

std::int64_t shortest_group(const Member& m, std::int64_t k) {
  std::int64_t shortest = std::max<std::int64_t>(k, 1);
  for (const ScaleView& s : m.a.scale) {
    if (s.kind == ScaleKind::tensor) shortest = std::min(shortest, s.cols);
  }
  for (const ScaleView& s : m.b.scale) {
    if (s.kind == ScaleKind::tensor) shortest = std::min(shortest, s.rows);
  }
  return shortest;
}

struct Terms {
  double exact = 0;      // the exact result
  double magnitude = 0;  // |alpha| sum |A||B| + |beta C| + |bias|, before scale_result
  double factor = 1;     // |scale_result|
  double flushed = 0;    // what elements, products and sums below 2^-126 add up to, before that
};

bool holds(const ColumnList& columns, std::int64_t k) {
  for (std::int64_t i = 0; i < columns.count; ++i) {
    if (columns[i] == k) return true;
  }
  return false;
}

class MemberOracle {
 public:
  MemberOracle(const Member& m, bool by_element, std::int64_t k_chunks, std::int64_t rows,
               std::int64_t columns)
      : plain_(plain_member(m, by_element)) {
    const Member& p = plain_.member;
    k_ = p.a.data.shape[1];
    rows_ = spread(p.out.shape[0], rows);
    columns_ = spread(p.b.data.shape[1], columns);
    const bool statistics = plain_.vectorwise.codes.defined();
    a_ = dequantized<double>(p.a, rows_, true, statistics ? 127.0 : 1.0);
    b_ = dequantized<double>(p.b, columns_, false, 1.0);
    const std::int64_t group = shortest_group(p, k_);
    const std::int64_t outliers = p.epilogue.outliers.columns.count;
    const double steps =
        static_cast<double>(k_ + outliers + (k_ + group - 1) / group + 2 * k_chunks + 8);
    gamma_ = steps * kUnit / (1.0 - steps * kUnit);
  }

  void check(const MatmulOptions& options, std::int64_t g, Verdict& verdict) {
    const MatrixView& out = plain_.member.out;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      for (std::size_t column = 0; column < columns_.size(); ++column) {
        const std::int64_t i = rows_[row];
        const std::int64_t j = columns_[column];
        check_element(load(out, i, j), terms(options, row, column), g, i, j, verdict);
      }
    }
  }

 private:
  Terms terms(const MatmulOptions& options, std::size_t row, std::size_t column) const {
    Terms t;
    const std::int64_t i = rows_[row];
    const std::int64_t j = columns_[column];
    const double* a = a_.data() + static_cast<std::int64_t>(row) * k_;
    const double* b = b_.data() + static_cast<std::int64_t>(column) * k_;
    const Member& m = plain_.member;
    const bool flushes = !options.exact_subnormals &&
                         (m.a.data.dtype == DType::bfloat16 || m.b.data.dtype == DType::bfloat16);
    for (std::int64_t k = 0; k < k_; ++k) {
      t.exact += a[k] * b[k];
      t.magnitude += std::abs(a[k] * b[k]);
      if (!flushes) continue;
      const double sa = std::abs(scale_of(plain_.member.a, i, k));
      const double sb = std::abs(scale_of(plain_.member.b, k, j));
      t.flushed += 0x1p-126 * (sa * std::abs(b[k]) + sb * std::abs(a[k]) + 2.0 * sa * sb);
    }
    const Epilogue& e = plain_.member.epilogue;
    if (e.outliers.present()) add_outliers(e.outliers, i, j, t);
    const double alpha = k_ == 0 ? 0.0 : factor_of(e.alpha, 0);  // which an empty sum does not meet
    t.exact *= alpha;
    t.magnitude *= std::abs(alpha);
    t.flushed *= std::abs(alpha);
    if (e.c.defined()) add(t, factor_of(e.beta, 0) * load(e.c, i, j));
    if (e.bias.defined()) add(t, load(e.bias, i, j));
    t.factor = factor_of(e.scale_result, j);
    t.exact *= t.factor;
    t.factor = std::abs(t.factor);
    if (options.torch_compat && k_ == 0) t = {0.0, 0.0, 0.0, 0.0};
    return t;
  }

  static void add(Terms& t, double term) {
    t.exact += term;
    t.magnitude += std::abs(term);
  }

  void add_outliers(const Outliers& o, std::int64_t i, std::int64_t j, Terms& t) const {
    const OperandView& b = plain_.member.b;
    for (std::int64_t c = 0; c < o.columns.count; ++c) {
      const std::int64_t k = o.columns[c];
      const double value = load(o.a, i, k);
      if (o.threshold > 0.0F && !(std::abs(value) >= static_cast<double>(o.threshold)) &&
          !holds(o.whole, k)) {
        continue;
      }
      const double weight =
          o.weight.defined() ? load(o.weight, k, j) : load(b.data, k, j) * scale_of(b, k, j);
      add(t, value * weight);
    }
  }

  void check_element(double got, const Terms& t, std::int64_t g, std::int64_t i, std::int64_t j,
                     Verdict& verdict) const {
    const DType dtype = plain_.member.out.dtype;
    const double limit = static_cast<double>(info(dtype).max);
    const double low = dtype == DType::uint8 ? 0.0 : -limit;
    // Near or beyond the range the result saturates or overflows: another test's business.
    const bool covered = std::isfinite(t.exact) && std::isfinite(got) &&
                         std::isfinite(static_cast<double>(static_cast<float>(t.magnitude))) &&
                         t.exact <= limit * 0.999 && t.exact >= low * 0.999;
    if (!covered) {
      ++verdict.skipped;
      return;
    }
    const double underflow = (static_cast<double>(k_) + 8.0) * 0x1p-149 + t.factor * t.flushed;
    const double bound = t.factor * gamma_ * t.magnitude + underflow +
                         half_ulp(dtype, std::max(std::abs(got), std::abs(t.exact)));
    const double error = std::abs(got - t.exact);
    ++verdict.checked;
    verdict.max_error = std::max(verdict.max_error, error);
    if (error / bound <= verdict.max_ratio) return;
    verdict.max_ratio = error / bound;
    char text[200];
    std::snprintf(text, sizeof text,
                  "group %lld, row %lld, column %lld: got %.9g, exact %.9g, bound %.3g",
                  static_cast<long long>(g), static_cast<long long>(i), static_cast<long long>(j),
                  got, t.exact, bound);
    verdict.worst = text;
  }

  PlainMember plain_;
  std::int64_t k_ = 0;
  Indices rows_, columns_;     // that are checked
  std::vector<double> a_, b_;  // of those rows and columns
  double gamma_ = 0;
};

}  // namespace

PlainMember plain_member(Member m, bool by_element) {
  PlainMember p;
  if (m.b.packed != nullptr) {
    p.weight = unpack(*m.b.packed);
    m.b = p.weight;
  }
  if (m.a.quantize != nullptr) {
    const ActivationQuant& rule = *m.a.quantize;
    if (rule.vectorwise) {
      const MatrixView original = m.a.data;
      p.vectorwise = int8_vectorwise_quant(static_cast<TensorView>(original),
                                           {.threshold = rule.outlier_threshold,
                                            .whole_columns = rule.whole_columns,
                                            .by_element = by_element,
                                            .outlier_columns = rule.outlier_columns});
      m.a = p.vectorwise.codes;
      const Elements absmax = Elements(p.vectorwise.row_absmax).transposed();
      m.a.scale[0] = {ScaleKind::tensor, 1.0F, absmax, 1, kWholeExtent, 0, 0};
      if (p.vectorwise.outlier_cols.defined()) {
        Outliers& o = m.epilogue.outliers;
        o.a = original;
        o.columns = p.vectorwise.outlier_cols;
        if (by_element) o.threshold = rule.outlier_threshold;
        if (by_element) o.whole = rule.outlier_columns;
      }
    } else {
      QuantizeOptions o{
          .dtype = rule.spec.dtype, .granularity = rule.spec.granularity, .azp = rule.spec.azp};
      if (rule.static_scale > 0.0F) {
        o.scale = rule.static_scale;
        if (rule.spec.azp) o.azp_in = TensorView(&rule.static_azp, DType::int32, {1, 1});
      }
      auto x = static_cast<TensorView>(m.a.data);
      if (rule.rotation != 0) {
        p.rotated = rotate(x, {.block = rule.rotation, .out_dtype = DType::float32});
        x = p.rotated.view();
      }
      p.codes = quantize(x, o);
      m.a = p.codes;
      // One zero point for all rows.
      if (m.a.azp.defined() && p.codes.grid.rows == kWholeExtent) m.a.azp.strides[0] = 0;
    }
  }
  p.member = m;
  return p;
}

Verdict compare_exact(const MatmulProblem& problem, std::int64_t rows, std::int64_t columns) {
  Verdict verdict;
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    MemberOracle(member(problem, g), problem.options.batch_invariant, problem.options.k_chunks,
                 rows, columns)
        .check(problem.options, g, verdict);
  }
  return verdict;
}

FloatOperands float_operands(const Member& member) {
  const PlainMember plain = plain_member(member);
  const Member& p = plain.member;
  return {dequantized<float>(p.a, spread(p.a.data.shape[0], 0), true, 1.0),
          dequantized<float>(p.b, spread(p.b.data.shape[1], 0), false, 1.0)};
}

}  // namespace octavo::kit
