// SPDX-License-Identifier: Apache-2.0
// Members to exact gradients.
#include "gradients/oracle.hpp"

#include <algorithm>
#include <cmath>

namespace octavo::test {
namespace {

// What is added to one element.
struct Nudge {
  const void* element = nullptr;
  double delta = 0.0;
};

double value(const Elements& v, std::int64_t i, std::int64_t j, const Nudge& nudge) {
  const double extra = nudge.delta != 0.0 && v.at(i, j) == nudge.element ? nudge.delta : 0.0;
  return kit::load(v, i, j) + extra;
}

double scale(const ScaleView& s, std::int64_t i, std::int64_t j, const Nudge& nudge) {
  if (s.kind != ScaleKind::tensor) return static_cast<double>(s.number);
  return value(s.data, (s.row0 + i) / s.rows, (s.col0 + j) / s.cols, nudge);
}
const void* address(const ScaleView& s, std::int64_t i, std::int64_t j) {
  if (s.kind != ScaleKind::tensor) return nullptr;
  return s.data.at((s.row0 + i) / s.rows, (s.col0 + j) / s.cols);
}

double factor(const Factor& f, std::int64_t n, const Nudge& nudge) {
  if (f.kind != Factor::Kind::tensor) return static_cast<double>(f.number);
  return value(f.data, 0, n, nudge);
}
const void* address(const Factor& f, std::int64_t n) {
  return f.kind == Factor::Kind::tensor ? f.data.at(0, n) : nullptr;
}

// A member in float64.
struct Plain {
  const Member& p;
  Nudge nudge;
  std::int64_t m = p.a.data.shape[0];
  std::int64_t n = p.b.data.shape[1];
  std::int64_t k = p.a.data.shape[1];

  double shifted(std::int64_t i, std::int64_t x) const {
    const double azp = p.a.azp.defined() ? value(p.a.azp, i, 0, nudge) : 0.0;
    return value(p.a.data, i, x, nudge) - azp;
  }
  double sa(std::int64_t i, std::int64_t x) const {
    return scale(p.a.scale[0], i, x, nudge) * scale(p.a.scale[1], i, x, nudge);
  }
  double sb(std::int64_t x, std::int64_t j) const {
    return scale(p.b.scale[0], x, j, nudge) * scale(p.b.scale[1], x, j, nudge);
  }
  double a(std::int64_t i, std::int64_t x) const { return shifted(i, x) * sa(i, x); }
  double b(std::int64_t x, std::int64_t j) const {
    return (value(p.b.data, x, j, nudge) - b_azp(j)) * sb(x, j);
  }
  double b_azp(std::int64_t j) const {
    return p.b.azp.defined() ? value(p.b.azp, 0, j, nudge) : 0.0;
  }
  double alpha() const { return factor(p.epilogue.alpha, 0, nudge); }
  double beta() const { return factor(p.epilogue.beta, 0, nudge); }
  double result(std::int64_t j) const { return factor(p.epilogue.scale_result, j, nudge); }
  double c(std::int64_t i, std::int64_t j) const {
    return p.epilogue.c.defined() ? value(p.epilogue.c, i, j, nudge) : 0.0;
  }
  double bias(std::int64_t i, std::int64_t j) const {
    const Elements& v = p.epilogue.bias;
    return v.defined() ? value(v, i, j, nudge) : 0.0;
  }
  Sum acc(std::int64_t i, std::int64_t j) const {
    Sum sum;
    for (std::int64_t x = 0; x < k; ++x) sum.add(a(i, x) * b(x, j));
    return sum;
  }
  Sum before_result(const Sum& sum, std::int64_t i, std::int64_t j) const {
    Sum y = sum;
    y.times(alpha());
    y.add(beta() * c(i, j));
    y.add(bias(i, j));
    return y;
  }
};

// Does a result lie in its type's range? No test's data comes near its ends.
bool inside(DType dtype, double y) {
  if (dtype == DType::undefined || is_wide(dtype)) return true;
  const double high = static_cast<double>(info(dtype).max);
  const double low = dtype == DType::uint8 ? 0.0 : dtype == DType::int8 ? -128.0 : -high;
  EXPECT_GT(std::abs(y - high), 1e-5 * high);
  EXPECT_GT(std::abs(y - low), 1e-5 * high);
  return y >= low && y <= high;
}

void add(Terms& terms, const void* element, double term, double magnitude, double steps,
         bool rounded) {
  Term& t = terms[element];
  t.value += term;
  t.magnitude += magnitude;
  t.steps = std::max(t.steps, steps);
  t.rounded = t.rounded || rounded;
}

class MemberGradients {
 public:
  MemberGradients(const Member& member, const OracleOptions& options, ExactGradients& all)
      : x_{member, {}}, options_(options), all_(all) {
    g_.assign(static_cast<std::size_t>(x_.m * x_.n), 0.0);
  }

  void run() {
    for_elements();
    for_a();
    for_b();
  }

 private:
  double& g(std::int64_t i, std::int64_t j) { return g_[static_cast<std::size_t>(i * x_.n + j)]; }

  // Specification section 9: terms, partial sums of groups, and 8 more.
  static double steps(std::int64_t count, std::int64_t group) {
    const std::int64_t shortest = std::max<std::int64_t>(std::min(group, count), 1);
    return static_cast<double>(count + (count + shortest - 1) / shortest + 8);
  }
  bool rounds(DType other) const {
    return !options_.float32 && other != DType::float32 && other != DType::float16;
  }

  void for_elements() {
    const Epilogue& e = x_.p.epilogue;
    const MatrixView& grad = x_.p.out;
    const auto& sa = x_.p.a.scale;
    const auto& sb = x_.p.b.scale;
    const double n = steps(x_.k, std::min({sa[0].cols, sa[1].cols, sb[0].rows, sb[1].rows}));
    for (std::int64_t i = 0; i < x_.m; ++i) {
      for (std::int64_t j = 0; j < x_.n; ++j) {
        const Sum acc = x_.acc(i, j);
        const Sum before = x_.before_result(acc, i, j);
        const double result = x_.result(j);
        if (!inside(options_.out_dtype, before.value * result)) continue;
        const double dy = kit::load(grad, i, j);
        const double gij = g(i, j) = dy * result;
        const double size = std::abs(gij);
        if (e.bias.defined()) {
          add(all_.bias, e.bias.at(i, j), gij, size, 8, false);
        }
        add(all_.alpha, address(e.alpha, 0), gij * acc.value, size * acc.magnitude, n, false);
        add(all_.beta, address(e.beta, 0), gij * x_.c(i, j), size * std::abs(x_.c(i, j)), 8, false);
        if (e.c.defined()) {
          const void* element = e.c.at(i * e.c.strides[0] + j * e.c.strides[1]);
          add(all_.c, element, x_.beta() * gij, std::abs(x_.beta() * gij), 8, false);
        }
        add(all_.scale_result, address(e.scale_result, j), dy * before.value,
            std::abs(dy) * before.magnitude, n, false);
      }
    }
  }

  void for_a() {
    const OperandView& a = x_.p.a;
    const auto& sb = x_.p.b.scale;
    const double n = steps(x_.n, std::min(sb[0].cols, sb[1].cols));
    const bool rounded = rounds(x_.p.b.data.dtype);
    for (std::int64_t i = 0; i < x_.m; ++i) {
      for (std::int64_t k = 0; k < x_.k; ++k) {
        Sum p;
        for (std::int64_t j = 0; j < x_.n; ++j) p.add(g(i, j) * x_.b(k, j));
        p.times(x_.alpha());
        Sum s = p;
        s.times(x_.shifted(i, k) * scale(a.scale[1], i, k, {}));
        add(all_.scale_a, address(a.scale[0], i, k), s.value, s.magnitude, n, false);
        if (!options_.dequantized) p.times(x_.sa(i, k));
        const void* element = a.data.at(i * a.data.strides[0] + k * a.data.strides[1]);
        add(all_.a, element, p.value, p.magnitude, n, rounded);
      }
    }
  }

  void for_b() {
    const OperandView& b = x_.p.b;
    const double n = steps(x_.m, std::min(x_.p.a.scale[0].rows, x_.p.a.scale[1].rows));
    const bool rounded = rounds(x_.p.a.data.dtype);
    for (std::int64_t k = 0; k < x_.k; ++k) {
      for (std::int64_t j = 0; j < x_.n; ++j) {
        Sum p;
        for (std::int64_t i = 0; i < x_.m; ++i) p.add(g(i, j) * x_.a(i, k));
        p.times(x_.alpha());
        Sum s = p;
        s.times((value(b.data, k, j, {}) - x_.b_azp(j)) * scale(b.scale[1], k, j, {}));
        add(all_.scale_b, address(b.scale[0], k, j), s.value, s.magnitude, n, false);
        if (!options_.dequantized) p.times(x_.sb(k, j));
        const void* element = b.data.at(k * b.data.strides[0] + j * b.data.strides[1]);
        add(all_.b, element, p.value, p.magnitude, n, rounded);
      }
    }
  }

  Plain x_;
  OracleOptions options_;
  ExactGradients& all_;
  std::vector<double> g_;
};

}  // namespace

ExactGradients exact_gradients(MatmulProblem problem, const TensorView& grad,
                               const OracleOptions& options) {
  if (grad.defined()) set_output(problem, grad);
  ExactGradients all;
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    const Member part = member(problem, g);
    MemberGradients(part, options, all).run();
  }
  return all;
}

double exact_loss(MatmulProblem problem, const TensorView& grad, const void* element,
                  double delta) {
  if (grad.defined()) set_output(problem, grad);
  double loss = 0.0;
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    const Member part = member(problem, g);
    const Plain x{part, {element, delta}};
    for (std::int64_t i = 0; i < x.m; ++i) {
      for (std::int64_t j = 0; j < x.n; ++j) {
        loss += kit::load(part.out, i, j) * x.before_result(x.acc(i, j), i, j).value * x.result(j);
      }
    }
  }
  return loss;
}

void expect_gradient(const char* what, const TensorView& gradient, const TensorView& argument,
                     const Terms& exact) {
  SCOPED_TRACE(what);
  ASSERT_TRUE(gradient.defined());
  ASSERT_EQ(shape_string(gradient), shape_string(argument));
  for (std::int64_t i = 0; i < gradient.numel(); ++i) {
    std::int64_t rest = i;
    std::int64_t own = 0;
    std::int64_t theirs = 0;
    for (auto d = static_cast<std::size_t>(gradient.rank); d-- > 0;) {
      const std::int64_t index = rest % gradient.shape[d];
      own += index * gradient.strides[d];
      theirs += index * argument.strides[d];
      rest /= gradient.shape[d];
    }
    const auto found = exact.find(argument.defined() ? argument.at(theirs) : nullptr);
    const Term term = found != exact.end() ? found->second : Term{};
    const double gamma = term.steps * 0x1p-24 / (1.0 - term.steps * 0x1p-24);
    const double relative = gamma + (term.rounded ? 0x1p-8 : 0.0);
    const double got = kit::load(gradient, own);
    const double size = std::max(std::abs(term.value), std::abs(got));
    const double bound = relative * term.magnitude + kit::half_ulp(gradient.dtype, size) +
                         (term.magnitude > 0.0 ? term.steps * 0x1p-126 : 0.0);
    ASSERT_LE(std::abs(got - term.value), bound)
        << "element " << i << ": " << got << " against " << term.value;
  }
}

}  // namespace octavo::test
