// SPDX-License-Identifier: Apache-2.0
// Operands of fused experts.
#include "kit/operands/experts.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kit/operands/element.hpp"
#include "kit/operands/random.hpp"
#include "octavo/matmul.hpp"

namespace octavo::kit {
namespace {

enum Stream : std::uint64_t { of_x, of_experts, of_tokens, of_codes, of_scales };

Random random_of(const ExpertsLine& line, Stream stream) { return Random(line.seed * 16 + stream); }

Tensor make_x(const ExpertsLine& line) {
  const Tensor x = Tensor::empty(line.out, {line.tokens, line.hidden});
  const Random random = random_of(line, of_x);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    store(x.view(), i, random.gauss(static_cast<std::uint64_t>(i)));
  }
  return x;
}

// The shape of the scales of stored experts.
std::vector<std::int64_t> scale_shape(const ExpertsLine& line, std::int64_t n, std::int64_t k) {
  const Granularity& g = line.scale_b;
  const auto cells = [](std::int64_t extent, std::int64_t cell) {
    return (extent + cell - 1) / cell;
  };
  switch (g.kind) {
    case Granularity::Kind::tensor:
      return {line.experts};
    case Granularity::Kind::channel:
      return {line.experts, n};
    case Granularity::Kind::group:
      return {line.experts, n, cells(k, g.rows)};
    default:
      return {line.experts, cells(n, g.rows), cells(k, g.cols)};
  }
}

// Rows of the result of a product over an expert's rows.
struct ExpertRows {
  std::int64_t expert, begin, end;
};

// Rows of each expert one after the other, by token and slot.
struct Order {
  std::vector<ExpertRows> parts;
  std::vector<std::int64_t> tokens, places;  // of rows; of routes
};

Order order_of(const ExpertOperands& o) {
  Order order;
  const auto* ids = o.routing.ids.data_as<std::int32_t>();
  const std::int64_t routes = o.routing.ids.numel();
  order.places.resize(static_cast<std::size_t>(routes));
  for (std::int64_t e = 0; e < o.line.experts; ++e) {
    const auto begin = static_cast<std::int64_t>(order.tokens.size());
    for (std::int64_t r = 0; r < routes; ++r) {
      if (ids[r] != e) continue;
      order.places[static_cast<std::size_t>(r)] = static_cast<std::int64_t>(order.tokens.size());
      order.tokens.push_back(r / o.line.topk);
    }
    const auto end = static_cast<std::int64_t>(order.tokens.size());
    if (end > begin) order.parts.push_back({e, begin, end});
  }
  return order;
}

// Activations, quantised as the line says.
struct Codes {
  Codes(const ExpertsLine& line, const TensorView& x) : data(x) {
    const auto quantizer = line.quantizer();
    if (!quantizer) return;
    q = quantize(x, *quantizer);
    data = q.data;
    granularity = quantizer->granularity;
  }
  Scale scale(std::int64_t begin, std::int64_t end) const {
    if (!q.scale.defined()) return {};
    const TensorView& s = q.scale;
    return {s.shape[0] == 1 ? s : s.slice(0, begin, end), granularity};
  }
  Quantized q;
  TensorView data;
  Granularity granularity;
};

Tensor product(const ExpertsLine& line, const TensorView& rows, const ExpertWeights& w,
               const Order& order, const char* backend) {
  const Codes codes(line, rows);
  const Tensor sums = Tensor::empty(DType::float32, {rows.shape[0], w.n()});
  for (const ExpertRows& p : order.parts) {
    ScaledMmOptions options;
    options.scale_a = codes.scale(p.begin, p.end);
    options.out_dtype = DType::float32;
    options.out = sums.view().slice(0, p.begin, p.end);
    options.backend = backend;
    (void)scaled_mm(codes.data.slice(0, p.begin, p.end), w[p.expert], options);
  }
  return sums;
}

constexpr std::int64_t kStretch = (1 << 18) + 7;

Tensor make_stretch(const ExpertsLine& line) {
  const Tensor stretch = Tensor::empty(line.weight, {kStretch});
  const Random codes = random_of(line, of_codes);
  const double spread = line.weight == DType::int8 ? 32.0 : is_wide(line.weight) ? 0.02 : 1.0;
  for (std::int64_t i = 0; i < kStretch; ++i) {
    store(stretch.view(), i, codes.gauss(static_cast<std::uint64_t>(i)) * spread);
  }
  return stretch;
}

}  // namespace

std::vector<std::int64_t> ExpertRouting::rows(std::int64_t experts) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(experts), 0);
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    ++counts[static_cast<std::size_t>(ids.data_as<std::int32_t>()[i])];
  }
  return counts;
}

ExpertRouting make_routing(const ExpertsLine& line) {
  ExpertRouting r{Tensor::empty(DType::int32, {line.tokens, line.topk}),
                  Tensor::empty(DType::float32, {line.tokens, line.topk})};
  const Random popular = random_of(line, of_experts);
  const Random own = random_of(line, of_tokens);
  std::vector<double> logits(static_cast<std::size_t>(line.experts));
  std::vector<std::int32_t> best(logits.size());
  for (std::int64_t m = 0; m < line.tokens; ++m) {
    for (std::size_t e = 0; e < logits.size(); ++e) {
      const auto index = static_cast<std::uint64_t>(m) * logits.size() + e;
      logits[e] = popular.gauss(e) + own.gauss(index);
    }
    std::iota(best.begin(), best.end(), 0);
    std::partial_sort(best.begin(), best.begin() + line.topk, best.end(), [&](auto a, auto b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    double sum = 0.0;
    for (std::int64_t t = 0; t < line.topk; ++t) {
      sum += std::exp(logits[static_cast<std::size_t>(best[static_cast<std::size_t>(t)])]);
    }
    for (std::int64_t t = 0; t < line.topk; ++t) {
      const std::int32_t e = best[static_cast<std::size_t>(t)];
      r.ids.data_as<std::int32_t>()[m * line.topk + t] = e;
      r.weights.data_as<float>()[m * line.topk + t] =
          static_cast<float>(std::exp(logits[static_cast<std::size_t>(e)]) / sum);
    }
  }
  return r;
}

ExpertOperands::ExpertOperands(const ExpertsLine& l)
    : line(l), x(make_x(l)), routing(make_routing(l)), stretch(make_stretch(l)) {}

ExpertWeights ExpertOperands::pack(std::int64_t n, std::int64_t k, std::uint64_t set,
                                   const char* backend) const {
  const Tensor weight = Tensor::empty(line.weight, {line.experts, n, k});
  const std::int64_t bytes = element_bytes(line.weight);
  std::int64_t from =
      static_cast<std::int64_t>(set * 7919 + static_cast<std::uint64_t>(n)) % kStretch;
  for (std::int64_t i = 0; i < weight.numel();) {
    const std::int64_t count = std::min(weight.numel() - i, kStretch - from);
    std::memcpy(weight.view().at(i), stretch.view().at(from),
                static_cast<std::size_t>(count * bytes));
    i += count;
    from = (from + count + 1) % kStretch;
  }
  PackExpertsOptions options;
  Tensor scales;
  if (line.scale_b.kind != Granularity::Kind::automatic) {
    const std::vector<std::int64_t> shape = scale_shape(line, n, k);
    scales = Tensor::empty(DType::float32, shape);
    const Random random = random_of(line, of_scales);
    for (std::int64_t i = 0; i < scales.numel(); ++i) {
      scales.data_as<float>()[i] =
          static_cast<float>(std::exp2(-7.0 + random.uniform(static_cast<std::uint64_t>(i))));
    }
    options.scale = {scales, line.scale_b};
  }
  if (line.quantizer()) {
    options.activation.emplace();
    options.activation->spec.dtype = line.a;
    options.activation->spec.granularity = line.scale_a;
  }
  options.backend = backend;
  return pack_experts(weight, options);
}

Tensor compose_experts(const ExpertOperands& o, const ExpertWeights& w13, const ExpertWeights& w2,
                       const char* backend) {
  const ExpertsLine& line = o.line;
  const Order order = order_of(o);
  const auto routed = static_cast<std::int64_t>(order.tokens.size());
  // A scale of all of x is made of x, not of its routed rows.
  const Codes codes(line, o.x);
  const Tensor rows = Tensor::empty(codes.data.dtype, {routed, line.hidden});
  const std::int64_t bytes = line.hidden * element_bytes(codes.data.dtype);
  const bool scaled = codes.q.scale.defined();
  const std::int64_t across = scaled ? codes.q.scale.size(1) : 0;
  const bool shared = scaled && codes.q.scale.size(0) == 1 && line.tokens > 1;
  const Tensor scales = Tensor::empty(DType::float32, {routed, across});
  for (std::int64_t r = 0; r < routed; ++r) {
    const std::int64_t token = order.tokens[static_cast<std::size_t>(r)];
    std::memcpy(rows.view().at(r * line.hidden), codes.data.at(token * line.hidden),
                static_cast<std::size_t>(bytes));
    for (std::int64_t c = 0; c < across; ++c) {
      scales.data_as<float>()[r * across + c] =
          codes.q.scale.data_as<float>()[(shared ? 0 : token) * across + c];
    }
  }
  const Tensor h = Tensor::empty(DType::float32, {routed, w13.n()});
  for (const ExpertRows& p : order.parts) {
    ScaledMmOptions options;
    if (scaled) {
      const bool groups = line.scale_a.kind == Granularity::Kind::group;
      options.scale_a = {scales.view().slice(0, p.begin, p.end),
                         groups ? line.scale_a : per_token()};
    }
    options.out_dtype = DType::float32;
    options.out = h.view().slice(0, p.begin, p.end);
    options.backend = backend;
    (void)scaled_mm(rows.view().slice(0, p.begin, p.end), w13[p.expert], options);
  }
  const DType inner = line.quantizer() ? DType::float32 : line.out;
  const Tensor act = silu_and_mul(h, {.out_dtype = inner});
  const Tensor y = product(line, act, w2, order, backend);
  const Tensor out = Tensor::empty(line.out, {line.tokens, w2.n()});
  for (std::int64_t m = 0; m < line.tokens; ++m) {
    for (std::int64_t j = 0; j < w2.n(); ++j) {
      float sum = 0.0F;
      for (std::int64_t t = 0; t < line.topk; ++t) {
        const std::int64_t route = m * line.topk + t;
        const float term =
            o.routing.weights.data_as<float>()[route] *
            y.data_as<float>()[order.places[static_cast<std::size_t>(route)] * w2.n() + j];
        sum += term;
      }
      store(out.view(), m * w2.n() + j, static_cast<double>(sum));
    }
  }
  return out;
}

ExpertProducts::ExpertProducts(const ExpertOperands& o, const ExpertWeights& w13,
                               const ExpertWeights& w2) {
  const std::vector<std::int64_t> rows = o.routing.rows(o.line.experts);
  for (const ExpertWeights* w : {&w13, &w2}) {
    for (std::int64_t e = 0; e < o.line.experts; ++e) {
      const std::int64_t count = rows[static_cast<std::size_t>(e)];
      if (count == 0) continue;
      Member& m = members.emplace_back();
      m.a.data = TensorView(nullptr, o.line.a, {count, w->k()});
      m.b.packed = &(*w)[e];
      m.out = TensorView(nullptr, o.line.out, {count, w->n()});
    }
  }
}

MatmulProblem ExpertProducts::problem() const {
  MatmulProblem p;
  p.operation = "fused_experts";
  p.groups.split = Split::list;
  p.groups.list = members;
  return p;
}

}  // namespace octavo::kit
