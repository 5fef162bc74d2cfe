// SPDX-License-Identifier: Apache-2.0
// Types and scales to kernels.
#include "backends/cpu/dot/path.hpp"

#include <algorithm>
#include <cstdint>

#include "backends/cpu/dot/float_layout.hpp"
#include "backends/cpu/dot/int8_layout.hpp"
#include "backends/cpu/dot/tuning.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cpu {
namespace {

// Scales that change more often cost more than the products between them.
constexpr std::int64_t kShortestGroup = 8;

// Do tiles decode an fp8 weight that is packed on the fly? Of more rows they would too often; where
// strips of [K, N] are packed beside tiles that fetch A's rows, none do.
bool decodes_in_tiles(const Member& p, const DotKernels& kernels) noexcept {
  const bool in_strips = kernels.fetches_rows && lies_in_rows(p.b);
  return p.a.data.shape[0] <= cache_tuning().decoding_rows && !in_strips &&
         !float8_table(p.b.data.dtype).negative_zero_is_nan;
}

bool fits_bfloat16(DType dtype) noexcept {
  return is_float8(dtype) || dtype == DType::int8 || dtype == DType::bfloat16;
}

// K-varying scales: where they change, a step of the kernels ends.
const char* check_group(std::int64_t length, std::int64_t origin, std::int64_t step) noexcept {
  if (length == kWholeExtent) return nullptr;
  if (length < kShortestGroup) return "scales change more often than every 8 elements along K";
  if (length % step == 0 && origin % step == 0) return nullptr;
  return "a group of scales ends inside a step of the kernels (4 of int8, 2 of fp8 and bfloat16)";
}

const char* check_operand(const OperandView& operand, Side side, std::int64_t step) noexcept {
  int varying = 0;
  for (const ScaleView& scale : operand.scale) {
    if (!varies_along_k(scale, side)) continue;
    const std::int64_t length = side == Side::a ? scale.cols : scale.rows;
    const std::int64_t origin = side == Side::a ? scale.col0 : scale.row0;
    if (const char* why = check_group(length, origin, step); why != nullptr) return why;
    ++varying;
  }
  return varying > 1 ? "two scales of one operand vary along K" : nullptr;
}

// Chunks of K begin at multiples of this, or of groups of scales, which are looked at anyway; those
// of integers, some of whose steps are longer, of groups alone.
static_assert(kLeastShardUnit % kInt8Form.step == 0);

const char* check_scales(const Member& p, std::int64_t step) noexcept {
  const char* why = check_operand(p.b, Side::b, step);
  if (why == nullptr) why = check_operand(p.a, Side::a, step);
  if (why == nullptr && p.a.quantize != nullptr && !p.a.quantize->vectorwise) {
    why = check_group(scale_grid(p.a.quantize->spec.granularity, Side::a).cols, 0, step);
  }
  return why;
}

const TransposedUnpacked* transposed_of(const DotKernels& kernels, DType weight) noexcept {
  return kernels.transposed != nullptr ? kernels.transposed(weight) : nullptr;
}

const char* integer_path(const Member& p, const DotMachine& machine, DType a,
                         DotPath& path) noexcept {
  const bool fits = check_scales(p, machine.integers->dot.form.step) == nullptr;
  // Also of any number where groups of scales end inside the steps of the others: integers' sums
  // are exact, whatever adds them, and those of pairs the same.
  const std::int64_t read_bound = cache_tuning().read_bound_rows;
  const std::int64_t most =
      lies_in_rows(p.b) ? std::max(read_bound, machine.few_rows_of_unpacked) : read_bound;
  const bool few = machine.few_rows != nullptr && (p.a.data.shape[0] <= most || !fits);
  path.integers = few ? machine.few_rows : machine.integers;
  path.on_the_fly = &path.integers->dot;
  path.rows = path.integers->rows == ARows::words ? DType::int16 : a;
  path.of_rows = machine.few_rows != nullptr;
  if (weight_dtype(p.b) != DType::int8) return "the dot products take signed weights only";
  if (p.a.data.shape[1] > kMostIntegerDepth) return "sums of more than 65536 products leave int32";
  if (p.b.packed == nullptr) {
    path.unpacked = &path.integers->dot;
    path.transposed = a == DType::int8 ? transposed_of(path.integers->dot, DType::int8) : nullptr;
    path.pack = path.on_the_fly->pack;
    return nullptr;
  }
  if (p.b.packed->content()->layout != &kInt8Layout)
    return "the weight is packed for another backend";
  if (path.on_the_fly->form.step == kInt8Form.step) path.direct = path.on_the_fly;
  return nullptr;
}

bool holds_bfloat16(DType a, DType b) noexcept {
  return a == DType::bfloat16 || b == DType::bfloat16;
}

// Tiles that widen a packed weight; null: none.
const WideningKernels::Weight* widening(const WideningKernels* kernels, DType b) noexcept {
  if (kernels == nullptr) return nullptr;
  const WideningKernels::Weight* weight = b == DType::int8       ? &kernels->int8
                                          : b == DType::bfloat16 ? &kernels->bfloat16
                                          : b == DType::float16  ? &kernels->float16
                                                                 : nullptr;
  return weight != nullptr && weight->most_rows > 0 ? weight : nullptr;
}

const char* e4m3_path(const Member& p, const DotKernels& kernels, DotPath& path) noexcept {
  path.on_the_fly = &kernels;
  path.rows = DType::float8_e4m3fn;
  if (p.b.packed == nullptr) {
    path.pack = kernels.pack;
    path.unpacked = &kernels;
    path.transposed = transposed_of(kernels, path.rows);
    return nullptr;
  }
  if (p.b.packed->content()->layout != float_layout(path.rows))
    return "the weight is packed for another backend";
  path.direct = &kernels;
  return nullptr;
}

const char* float_path(const Member& p, const MatmulOptions& options, const DotMachine& machine,
                       DType a, DType b, DotPath& path) noexcept {
  if (machine.e4m3 != nullptr && a == DType::float8_e4m3fn && b == a)
    return e4m3_path(p, *machine.e4m3, path);
  const bool kept = options.exact_subnormals && holds_bfloat16(a, b);
  const bool pairs = machine.pairs != nullptr && fits_bfloat16(a) && fits_bfloat16(b) && !kept;
  path.on_the_fly = pairs ? machine.pairs : machine.floats;
  if (pairs && machine.few_pairs != nullptr) {
    path.of_rows = true;
    const bool few = p.a.data.shape[0] <= cache_tuning().read_bound_rows;
    if (few || check_scales(p, machine.pairs->form.step) != nullptr) {
      path.on_the_fly = machine.few_pairs;
    }
  }
  path.rows = pairs ? DType::bfloat16 : DType::float32;
  const bool beside = machine.float8 != nullptr && machine.float8->rows == path.rows;
  if (is_float8(a) && pairs && beside) path.float8 = machine.float8;
  if (p.b.packed == nullptr) {
    if (holds(path.on_the_fly->form, b)) path.pack = path.on_the_fly->pack;
    path.unpacked = path.on_the_fly;
    path.transposed = transposed_of(*path.on_the_fly, b);
    if (!is_float8(b) || !beside) return nullptr;
    path.unpacked = &machine.float8->dot;
    if (!pairs) return nullptr;
    path.pack = machine.float8->pack_pairs;
    if (decodes_in_tiles(p, machine.float8->dot)) {
      path.on_the_fly = &machine.float8->dot;
      path.pack = path.on_the_fly->pack;
    }
    return nullptr;
  }
  const WeightLayout* layout = p.b.packed->content()->layout;
  if (layout->widen == nullptr) return "the weight is packed for a device";
  if (layout != (b == DType::int8 ? &kInt8Layout : float_layout(b))) return nullptr;
  if (b == path.rows && *float_form(b) == path.on_the_fly->form) path.direct = path.on_the_fly;
  if (const auto* w = widening(pairs ? machine.beside_pairs : machine.beside_floats, b); w) {
    if (p.a.data.shape[0] <= w->most_rows) path.direct = &w->dot;
    path.of_rows = true;
  }
  if (!is_float8(b) || !beside) return nullptr;
  const std::int64_t most = machine.float8->most_rows;
  path.of_rows = path.of_rows || most > 0;
  if (most > 0 && p.a.data.shape[0] > most) return nullptr;
  const bool codes = is_float8(a) && machine.float8->of_codes != nullptr;
  path.direct = codes ? machine.float8->of_codes : &machine.float8->dot;
  path.finite_only = machine.float8->finite_only;
  return nullptr;
}

}  // namespace

bool flushes(const Member& p, const DotMachine& machine, const DotPath& path) noexcept {
  return path.on_the_fly != nullptr && path.on_the_fly != machine.floats &&
         holds_bfloat16(product_dtype(p.a), weight_dtype(p.b));
}

const char* find_path(const Member& p, const MatmulOptions& options, const DotMachine& machine,
                      DotPath& path) noexcept {
  const DType a = product_dtype(p.a);
  const DType b = weight_dtype(p.b);
  const bool integers = is_integer8(a) && is_integer8(b);
  if (p.b.azp.defined()) return "the weight has zero points";
  path = {};
  const char* why =
      integers ? integer_path(p, machine, a, path) : float_path(p, options, machine, a, b, path);
  if (why != nullptr) return why;
  const std::int64_t step = integers ? kInt8Form.step : path.on_the_fly->form.step;
  why = check_scales(p, step);
  // Kernels of a longer step leave it to those that read panels made on the fly.
  if (path.direct != nullptr && check_scales(p, path.direct->form.step) != why) {
    path.direct = nullptr;
  }
  const bool zero_points = p.a.azp.defined() || (p.a.quantize != nullptr && p.a.quantize->spec.azp);
  if (why != nullptr || !integers || !zero_points) return why;
  return varies_along_k(p.b, Side::b) || varies_along_k(p.a, Side::a)
             ? "zero points with scales that vary along K"
             : nullptr;
}

}  // namespace octavo::cpu
