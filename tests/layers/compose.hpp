// SPDX-License-Identifier: Apache-2.0
// fused_experts by hand: public operations, one row of a product at a time.
#pragma once

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "ops/helpers.hpp"

namespace octavo::test {

/// The arguments of a call, and what its experts were packed from.
struct ExpertsCase {
  Tensor x, ids, weights;
  ExpertWeights w13, w2;
  FusedExpertsOptions options;
};

inline Tensor run(const ExpertsCase& c, const ExecContext& context = {}) {
  return fused_experts(c.x, c.w13, c.w2, c.weights, c.ids, c.options, context);
}

/// Rows of a matrix, quantised as a weight's rule says, one at a time.
class ComposedRows {
 public:
  ComposedRows(const ExpertWeights& w, const Tensor& x) : x_(x) {
    if (!w.activation()) return;
    const ActivationQuant& rule = *w.activation();
    if (rule.vectorwise) {
      const VectorwiseQuant v = int8_vectorwise_quant(x);
      const Tensor scale = tensor_of(DType::float32, {x.size(0), 1}, [&](std::int64_t i) {
        return static_cast<double>(v.row_absmax.data_as<float>()[i] / 127.0F);
      });
      q_ = {v.codes, scale, {1, kWholeExtent}, {}};
      return;
    }
    const QuantizeSpec& s = rule.spec;
    QuantizeOptions o{.dtype = s.dtype,
                      .granularity = s.granularity,
                      .azp = s.azp,
                      .scale_ub = s.scale_ub,
                      .min_scale = s.min_scale,
                      .rounding = s.rounding,
                      .scale_dtype = s.scale_dtype,
                      .overflow = s.overflow};
    if (rule.static_scale > 0.0F) {
      o.scale = rule.static_scale;
      if (s.azp) o.azp_in = TensorView(&rule.static_azp, DType::int32, {1, 1});
    }
    if (rule.rotation != 0) {
      q_ = quantize(rotate(x, {.block = rule.rotation, .out_dtype = DType::float32}), o);
      return;
    }
    q_ = quantize(x, o);
  }

  Operand row(std::int64_t r) const {
    if (!q_.data.defined()) return x_.view().slice(0, r, r + 1);
    Operand a(q_.data.view().slice(0, r, r + 1));
    a.scale[0] = {ScaleKind::tensor, 1.0F, q_.scale.view(), q_.grid.rows, q_.grid.cols, r, 0};
    if (q_.azp.defined()) {
      a.azp = q_.grid.rows == 1 ? q_.azp.view().slice(0, r, r + 1) : q_.azp.view();
    }
    return a;
  }

 private:
  Tensor x_;
  Quantized q_;
};

/// A route that an expert of the weights has.
struct Route {
  std::int64_t expert, token, slot;
};

inline std::vector<Route> routes_of(const ExpertsCase& c) {
  std::vector<Route> routes;
  const TensorView& map = c.options.expert_map;
  for (std::int64_t m = 0; m < c.ids.size(0); ++m) {
    for (std::int64_t t = 0; t < c.ids.size(1); ++t) {
      auto expert = static_cast<std::int64_t>(at(c.ids, m, t));
      if (expert >= 0 && map.defined()) expert = static_cast<std::int64_t>(at(map, expert));
      if (expert >= 0) routes.push_back({expert, m, t});
    }
  }
  std::stable_sort(routes.begin(), routes.end(),
                   [](const Route& a, const Route& b) { return a.expert < b.expert; });
  return routes;
}

inline Tensor rows_of_routes(const Tensor& x, const std::vector<Route>& routes) {
  const std::int64_t k = x.size(1);
  return tensor_of(x.dtype(), {static_cast<std::int64_t>(routes.size()), k}, [&](std::int64_t i) {
    return at(x, routes[static_cast<std::size_t>(i / k)].token, i % k);
  });
}

/// Product of a row with an expert, in float32.
inline void multiply(const ExpertsCase& c, const ExpertWeights& w, const TensorView& bias,
                     const Operand& row, std::int64_t expert, const TensorView& out) {
  ScaledMmOptions o;
  o.out_dtype = DType::float32;
  o.out = out;
  if (bias.defined()) o.bias = bias[expert];
  o.matmul = c.options.matmul;
  o.backend = c.options.backend;
  (void)scaled_mm(row, w[expert], o);
}

/// x is [M, K] here.
inline Tensor compose(const ExpertsCase& c) {
  const std::vector<Route> routes = routes_of(c);
  const auto rows = static_cast<std::int64_t>(routes.size());
  const bool on_input = c.options.apply_router_weight_on_input;
  const Tensor by_route = rows_of_routes(c.x, routes);
  if (on_input) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const Route& route = routes[static_cast<std::size_t>(r)];
      const float w = float_at(c.weights, route.token, route.slot);
      for (std::int64_t k = 0; k < c.x.size(1); ++k) {
        const float product = float_at(by_route, r, k) * w;
        kit::store(by_route, r * c.x.size(1) + k, static_cast<double>(product));
      }
    }
  }
  const ComposedRows first(c.w13, on_input ? by_route : c.x);
  const Tensor h = Tensor::empty(DType::float32, {rows, c.w13.n()});
  for (std::int64_t r = 0; r < rows; ++r) {
    const Route& route = routes[static_cast<std::size_t>(r)];
    multiply(c, c.w13, c.options.bias13, first.row(on_input ? r : route.token), route.expert,
             h.view().slice(0, r, r + 1));
  }
  const DType kept = c.w2.activation() ? DType::float32 : c.x.dtype();
  const ComposedRows second(c.w2, silu_and_mul(h, {.out_dtype = kept}));
  const Tensor sums =
      tensor_of(DType::float32, {c.x.size(0), c.w2.n()}, [](std::int64_t) { return 0.0; });
  const Tensor y = Tensor::empty(DType::float32, {rows, c.w2.n()});
  for (std::int64_t r = 0; r < rows; ++r) {
    multiply(c, c.w2, c.options.bias2, second.row(r), routes[static_cast<std::size_t>(r)].expert,
             y.view().slice(0, r, r + 1));
  }
  for (std::int64_t slot = 0; slot < c.ids.size(1); ++slot) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const Route& route = routes[static_cast<std::size_t>(r)];
      if (route.slot != slot) continue;
      float* sum = sums.data_as<float>() + route.token * c.w2.n();
      const float w = on_input ? 1.0F : float_at(c.weights, route.token, slot);
      for (std::int64_t j = 0; j < c.w2.n(); ++j) {
        const float term = w * y.data_as<float>()[r * c.w2.n() + j];
        sum[j] += term;
      }
    }
  }
  const DType out = c.options.out_dtype;
  return sums.to(out == DType::undefined ? c.x.dtype() : out);
}

/// Ids in [-1, ids), some experts without any, some twice in a row.
inline Tensor some_ids(std::int64_t rows, std::int64_t slots, int ids, unsigned seed,
                       DType dtype = DType::int32) {
  std::mt19937 bits(seed);
  return tensor_of(dtype, {rows, slots}, [&](std::int64_t) {
    const int id = static_cast<int>(bits() % static_cast<unsigned>(ids + 1)) - 1;
    return id == ids / 2 ? -1.0 : static_cast<double>(id);
  });
}

/// Stored experts [E, N, K] of small codes.
inline Tensor some_experts(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == DType::int8) return integers(dtype, shape, seed);
  return gaussians(dtype, shape, seed, is_wide(dtype) ? 0.1 : 2.0);
}

}  // namespace octavo::test
