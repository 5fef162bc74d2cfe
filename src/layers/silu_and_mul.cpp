// SPDX-License-Identifier: Apache-2.0
// The activation function of gated layers.
#include "core/data/overlap.hpp"
#include "core/error.hpp"
#include "octavo/moe.hpp"
#include "ops/product/lower.hpp"
#include "ops/quantize/quantized_rows.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kSiluAndMul = "silu_and_mul";
constexpr const char* kSiluAndMulQuantize = "silu_and_mul_quantize";

// I of x [..., 2 I].
Result<std::int64_t> inner_of(const Site& site, const TensorView& x, const ExecContext& context) {
  OCTAVO_TRY(check_device(site.operation, context));
  OCTAVO_TRY(check_float(site, Arg::a, x));
  const std::int64_t last = x.rank > 0 ? x.shape[static_cast<std::size_t>(x.rank - 1)] : 1;
  if (last % 2 == 0) return last / 2;
  return fail(Code::invalid_argument, "{}: x.shape must be [..., 2 I] (gate, then up); got {}",
              site.operation, shape_string(x));
}

Result<Tensor> run_silu(const TensorView& x, const SiluAndMulOptions& o,
                        const ExecContext& context) {
  const Site site{kSiluAndMul, &kLinearNames};
  OCTAVO_TRY_ASSIGN(const std::int64_t inner, inner_of(site, x, context));
  const DType dtype = o.out_dtype == DType::undefined ? x.dtype : o.out_dtype;
  if (!is_floating(dtype)) {
    return fail(Code::invalid_argument,
                "silu_and_mul: out_dtype must be a float type of at most 32 bits; got {}",
                name(dtype));
  }
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kSiluAndMul, x, context));
  OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out(site, x, inner, dtype, o.out, context));
  if (o.out.defined() && overlap(o.out, x)) {
    return fail(Code::invalid_argument, "silu_and_mul: out must not overlap x; got shared memory");
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kSiluAndMul, x.device, o.backend));
  OCTAVO_TRY(backend->passes.silu_and_mul({.x = rows.view, .out = out.rows.view}, context));
  OCTAVO_TRY(out.finish(kSiluAndMul, context));
  return out.tensor;
}

Result<Quantized> run_silu_quantize(const TensorView& x, const SiluAndMulQuantizeOptions& o,
                                    const ExecContext& context) {
  const Site site{kSiluAndMulQuantize, &kQuantizeNames};
  OCTAVO_TRY_ASSIGN(const std::int64_t inner, inner_of(site, x, context));
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kSiluAndMulQuantize, x, context));
  QuantizeRowsProblem problem;
  problem.silu.x = rows.view;
  return quantized_rows(site, problem, rows.view, inner, o.quantize, o.backend, context);
}

}  // namespace

Tensor silu_and_mul(const TensorView& x, const SiluAndMulOptions& options,
                    const ExecContext& context) {
  return at_edge(kSiluAndMul, [&] { return run_silu(x, options, context); });
}

Quantized silu_and_mul_quantize(const TensorView& x, const SiluAndMulQuantizeOptions& options,
                                const ExecContext& context) {
  return at_edge(kSiluAndMulQuantize, [&] { return run_silu_quantize(x, options, context); });
}

}  // namespace octavo
