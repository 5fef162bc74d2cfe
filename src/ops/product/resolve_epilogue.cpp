// SPDX-License-Identifier: Apache-2.0
// Factors, bias and zero points.
#include <fmt/format.h>

#include <algorithm>

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/quantize_rules.hpp"
#include "ops/rules.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

TensorView as_vector(const TensorView& v, std::int64_t count, std::int64_t step) noexcept {
  TensorView view = v;
  view.rank = 1;
  view.shape = {count};
  view.strides = {count == 1 ? 0 : step};
  return view;
}

// The stride of the only dimension longer than 1.
std::int64_t vector_step(const TensorView& v) noexcept {
  for (std::size_t d = 0; d < static_cast<std::size_t>(v.rank); ++d) {
    if (v.shape[d] != 1) return v.strides[d];
  }
  return 0;
}

// [n], [1, n], or one element.
bool row_like(const TensorView& v, std::int64_t n) noexcept {
  if (v.rank == 1) return v.shape[0] == n;
  return v.rank == 2 && v.shape[0] == 1 && v.shape[1] == n;
}

// Zero points of a weight on the host lie in the range of its codes.
Status check_range_of_azp(const Site& site, const TensorView& azp, std::int64_t low) {
  if (!on_host(azp)) return {};
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> values,
                    integers_of(site.operation, azp, nullptr));
  for (std::size_t at = 0; at < values.size(); ++at) {
    if (values[at] >= low && values[at] <= low + 255) continue;
    const auto place = static_cast<std::int64_t>(at);
    return fail(Code::invalid_argument,
                "{}.azp[{}, {}] must be in the range of the codes, [{}, {}] (quantise with "
                "widen); got {}",
                site(Arg::b), place / azp.shape[1], place % azp.shape[1], low, low + 255,
                values[at]);
  }
  return {};
}

}  // namespace

Result<Factor> resolve_factor(const Site& site, Arg arg, const Scale& value, std::int64_t n) {
  Factor factor;
  if (value.kind() == Scale::Kind::number) {
    factor.kind = Factor::Kind::number;
    factor.number = value.number();
    return factor;
  }
  if (value.kind() != Scale::Kind::tensor) return factor;
  const TensorView& v = value.values();
  OCTAVO_TRY(check_float(site, arg, v));
  const bool one = v.numel() == 1;
  if (!one && (n < 0 || !row_like(v, n))) {
    return fail(Code::invalid_argument, "{}.shape must be one element{}; got {}", site(arg),
                n >= 0 ? fmt::format(" or [{}]", n) : "", shape_string(v));
  }
  factor.kind = Factor::Kind::tensor;
  factor.data = as_vector(v, one ? 1 : n, one ? 0 : vector_step(v));
  return factor;
}

Status resolve_addend(const Site& site, const Scale& beta, const TensorView& c,
                      std::span<const std::int64_t> shape, Epilogue& epilogue) {
  OCTAVO_TRY_ASSIGN(epilogue.beta, resolve_factor(site, Arg::beta, beta, -1));
  if (!c.defined()) {
    if (!epilogue.beta.present()) return {};
    return fail(Code::invalid_argument, "{} must come with c; got no c", site(Arg::beta));
  }
  OCTAVO_TRY(check_float(site, Arg::c, c));
  const std::span<const std::int64_t> got = c.dims();
  if (!std::equal(got.begin(), got.end(), shape.begin(), shape.end())) {
    return fail(Code::invalid_argument, "{}.shape must be [{}]; got {}", site(Arg::c),
                fmt::join(shape, ", "), shape_string(c));
  }
  const bool zero = epilogue.beta.kind == Factor::Kind::number && epilogue.beta.number == 0.0F;
  if (!zero) epilogue.c = c;
  return {};
}

Result<TensorView> resolve_bias(const Site& site, const TensorView& bias, const Extents& e) {
  if (!bias.defined()) return TensorView{};
  OCTAVO_TRY(check_float(site, Arg::bias, bias));
  if (bias.numel() == 1 || row_like(bias, e.n)) {
    TensorView view = as_vector(bias, e.n, bias.numel() == 1 ? 0 : vector_step(bias));
    if (bias.numel() == 1) view.strides[0] = 0;
    return view;
  }
  const std::int64_t rows = e.g >= 0 ? e.g : e.m;
  const bool whole = bias.rank == 2 && bias.shape[0] == rows && bias.shape[1] == e.n;
  if (whole) return bias;
  if (e.g < 0 && bias.rank == 2 && bias.shape[0] == rows && bias.shape[1] == 1) {
    TensorView view = bias;
    view.shape[1] = e.n;
    view.strides[1] = 0;
    return view;
  }
  return fail(Code::invalid_argument,
              "{}.shape must be [{}], [1, {}], {}[{}, {}] or one element; got {}", site(Arg::bias),
              e.n, e.n, e.g < 0 ? fmt::format("[{}, 1], ", rows) : "", rows, e.n,
              shape_string(bias));
}

Result<TensorView> resolve_weight_azp(const Site& site, const TensorView& azp, const Operand& b,
                                      DType dtype, std::int64_t n) {
  if (!azp.defined()) return TensorView{};
  OCTAVO_TRY(check_tensor(site, Arg::b, azp));
  if (!is_integer8(dtype) || !(is_integer8(azp.dtype) || azp.dtype == DType::int32)) {
    return fail(Code::invalid_argument,
                "{}.azp must be int32, int8 or uint8 beside int8 or uint8 codes; got {} beside {}",
                site(Arg::b), name(azp.dtype), name(dtype));
  }
  const CarriedScale& scale = b.scale[0];
  const TensorView& of_cells = scale.data;
  TensorView view = azp;
  if (azp.numel() == 1 || row_like(azp, n)) {
    view.rank = 2;
    view.shape = {1, n};
    view.strides = {0, azp.numel() == 1 ? 0 : vector_step(azp)};
  } else if (azp.rank != 2 || of_cells.rank != 2 || azp.shape[0] != of_cells.shape[0] ||
             azp.shape[1] != of_cells.shape[1]) {
    return fail(Code::invalid_argument,
                "{}.azp.shape must be one element, [{}], [1, {}] or that of the scale; got {}",
                site(Arg::b), n, n, shape_string(azp));
  } else if (scale.row0 >= scale.rows || scale.col0 >= scale.cols) {
    return fail(Code::invalid_argument,
                "{}.scale must begin in the cell of the first element where zero points are one "
                "for each; got [{}, {}] of cells of {} x {}",
                site(Arg::b), scale.row0, scale.col0, scale.rows, scale.cols);
  } else {  // as many as there are cells: a row of more would be read as [1, N]
    view = azp.slice(0, 0, cells(scale.row0 + weight_rows(b), scale.rows))
               .slice(1, 0, cells(scale.col0 + n, scale.cols));
  }
  if (b.packed == nullptr) OCTAVO_TRY(check_range_of_azp(site, view, lowest_code(dtype)));
  return view;
}

Result<TensorView> resolve_azp(const Site& site, const TensorView& azp, const Operand& a,
                               DType a_dtype, DType b_dtype, std::int64_t m) {
  const TensorView& v = azp.defined() ? azp : a.azp;
  const bool fused = a.quantize != nullptr && a.quantize->spec.azp;
  if (fused && !is_integer8(b_dtype)) {
    return fail(Code::invalid_argument, "{} must come with integers @ integers; got {} @ {}",
                site(Arg::azp), name(a_dtype), name(b_dtype));
  }
  if (!v.defined()) return TensorView{};
  OCTAVO_TRY(check_tensor(site, Arg::azp, v));
  if (!is_integer8(a_dtype) || !is_integer8(b_dtype)) {
    return fail(Code::invalid_argument, "{} must come with integers @ integers; got {} @ {}",
                site(Arg::azp), name(a_dtype), name(b_dtype));
  }
  if (!is_integer8(v.dtype) && v.dtype != DType::int32) {
    return fail(Code::invalid_argument, "{}.dtype must be int32, int8 or uint8; got {}",
                site(Arg::azp), name(v.dtype));
  }
  const bool column = v.rank == 2 && v.shape[0] == m && v.shape[1] == 1;
  const bool vector = v.rank == 1 && v.shape[0] == m;
  if (v.numel() != 1 && !column && !vector) {
    return fail(Code::invalid_argument,
                "{}.shape must be one element, [{}] or [{}, 1] (one per tensor or per token); got "
                "{}",
                site(Arg::azp), m, m, shape_string(v));
  }
  TensorView view = v;
  view.rank = 2;
  view.shape = {m, 1};
  view.strides = {v.numel() == 1 ? 0 : v.strides[0], 0};
  return view;
}

}  // namespace octavo
