// SPDX-License-Identifier: Apache-2.0
// Rotations by themselves: of weights, and of what gradients are made of.
#include "octavo/rotate.hpp"

#include "core/data/overlap.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "ops/product/lower.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kRotate = "rotate";

Result<Tensor> run_rotate(const TensorView& x, const RotateOptions& o, const ExecContext& context) {
  const Site site{kRotate, &kLinearNames};
  OCTAVO_TRY(check_device(kRotate, context));
  OCTAVO_TRY(check_float(site, Arg::a, x));
  if (x.rank < 1) {
    return fail(Code::invalid_argument, "rotate: x.shape must be [..., C]; got []");
  }
  const std::int64_t last = x.shape[static_cast<std::size_t>(x.rank - 1)];
  OCTAVO_TRY(check_rotation("rotate: ", "block", o.block, "x.shape[-1]", last));
  const DType dtype = o.out_dtype == DType::undefined ? x.dtype : o.out_dtype;
  if (!is_wide(dtype)) {
    return fail(Code::invalid_argument,
                "rotate: out_dtype must be bfloat16, float16 or float32; got {}", name(dtype));
  }
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kRotate, x, context));
  OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out(site, x, last, dtype, o.out, context));
  if (o.out.defined() && overlap(o.out, x)) {
    return fail(Code::invalid_argument, "rotate: out must not overlap x; got shared memory");
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kRotate, x.device, o.backend));
  if (backend->passes.rotate == nullptr) {
    return fail(Code::unavailable, "rotate: x.device must be the CPU; got {}",
                device_string(x.device));
  }
  OCTAVO_TRY(backend->passes.rotate({rows.view, o.block, out.rows.view}, context));
  OCTAVO_TRY(out.finish(kRotate, context));
  return out.tensor;
}

}  // namespace

Status check_rotation(const std::string& subject, const char* name, std::int32_t block,
                      const char* extent, std::int64_t columns) {
  if (block != 16 && block != 64 && block != 256) {
    return fail(Code::invalid_argument, "{}{} must be 16, 64 or 256; got {}", subject, name, block);
  }
  if (columns % block == 0) return {};
  return fail(Code::invalid_argument, "{}{} must divide {} = {}; got {}", subject, name, extent,
              columns, block);
}

Tensor rotate(const TensorView& x, const RotateOptions& options, const ExecContext& context) {
  return at_edge(kRotate, [&] { return run_rotate(x, options, context); });
}

}  // namespace octavo
