// SPDX-License-Identifier: Apache-2.0
// Tensors, types, outputs and overlap.
#include "ops/rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "backends/backend.hpp"
#include "core/data/cells.hpp"
#include "core/data/extents.hpp"
#include "core/data/overlap.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "octavo/backend.hpp"
#include "octavo/matmul.hpp"

namespace octavo {
namespace {

// The conversion a caller would write for a type that is not computed with.
std::string conversion(DType dtype) {
  const bool floating = dtype == DType::float64;
  return fmt::format("convert it first, for example to {}",
                     floating ? "float32" : "int8 or float32");
}

bool operand_type(DType dtype) noexcept { return is_floating(dtype) || is_integer8(dtype); }

bool output_type(DType dtype) noexcept { return operand_type(dtype) || dtype == DType::int32; }

}  // namespace

std::string Site::bare(Arg arg) const {
  const char* word = (*names)[arg];
  return index < 0 ? std::string(word) : fmt::format("{}[{}]", word, index);
}

std::string Site::operator()(Arg arg) const { return fmt::format("{}: {}", operation, bare(arg)); }

Status check_chunks(const char* operation, const MatmulOptions& options, Split split) {
  if (options.k_chunks < 0 || options.k_chunks > kMostChunks) {
    return fail(Code::invalid_argument, "{}: k_chunks must be in [0, {}]; got {}", operation,
                kMostChunks, options.k_chunks);
  }
  if (split != Split::inner || options.k_chunks < 2) return {};
  return fail(Code::unsupported, "{}: k_chunks must be 0 or 1 where offsets cut K; got {}",
              operation, options.k_chunks);
}

Status check_enumerator(const std::string& subject, const char* property, int value, int count) {
  if (value >= 0 && value < count) return {};
  return fail(Code::invalid_argument, "{}{} must be an enumerator, less than {}; got {}", subject,
              property, count, value);
}

Status check_tensor(const Site& site, Arg arg, const TensorView& view) {
  if (!view.defined()) {
    return fail(Code::invalid_argument, "{} must be a tensor; got an undefined one", site(arg));
  }
  if (!known(view.dtype)) return check_dtype(site(arg), ".dtype", view.dtype);
  if (view.rank < 0 || view.rank > kMaxRank) {
    return fail(Code::invalid_argument, "{}.rank must be in [0, {}]; got {}", site(arg), kMaxRank,
                view.rank);
  }
  for (const std::int64_t extent : view.dims()) {
    if (extent < 0) {
      return fail(Code::invalid_argument, "{}.shape must not be negative; got {}", site(arg),
                  shape_string(view));
    }
  }
  OCTAVO_TRY(check_padded(site, arg, view.dims()));
  if (const std::string why = device_refusal(view.device); !why.empty()) {
    return fail(Code::unavailable, "{}.device {}", site(arg), why);
  }
  if (!addressable(view)) {
    return fail(Code::invalid_argument,
                "{}.strides must keep elements less than 2^63 bytes apart; got [{}] for shape {}",
                site(arg), fmt::join(view.strides.begin(), view.strides.begin() + view.rank, ", "),
                shape_string(view));
  }
  if (view.data == nullptr && view.numel() > 0) {
    return fail(Code::invalid_argument, "{}.data must not be null; got null for shape {}",
                site(arg), shape_string(view));
  }
  return {};
}

Status check_padded(const Site& site, Arg arg, std::span<const std::int64_t> shape) {
  if (fits_padded(shape)) return {};
  return fail(Code::invalid_argument,
              "{}.shape must count less than 2^63 bytes, rows and columns padded to 64 and "
              "elements to 8 bytes; got [{}]",
              site(arg), fmt::join(shape, ", "));
}

Status check_float(const Site& site, Arg arg, const TensorView& view) {
  OCTAVO_TRY(check_tensor(site, arg, view));
  if (!is_wide(view.dtype)) {
    return fail(Code::invalid_argument, "{}.dtype must be float32, bfloat16 or float16; got {}",
                site(arg), name(view.dtype));
  }
  return {};
}

namespace {

Status check_kind(const std::string& subject, const Granularity& g) {
  return check_enumerator(subject, "granularity.kind", g.kind, kGranularities.back().kind);
}

bool has_sizes(const Granularity& g) noexcept {
  const int sizes = info(g).sizes;
  return (sizes < 1 || g.rows >= 1) && (sizes < 2 || g.cols >= 1);
}

// What would be right where a side has no such granularity, else null.
const char* instead_of(const Granularity& g, Side side) noexcept {
  return side == Side::a ? info(g).not_of_a : info(g).not_of_b;
}

}  // namespace

bool suits(const Granularity& g, Side side) noexcept {
  return known(g) && instead_of(g, side) == nullptr && has_sizes(g);
}

Status check_sizes(const std::string& subject, const Granularity& g) {
  OCTAVO_TRY(check_kind(subject, g));
  if (has_sizes(g)) return {};
  return fail(Code::invalid_argument, "{}granularity must have sizes of at least 1; got {}",
              subject, to_string(g));
}

Status check_granularity(const std::string& subject, const Granularity& g, Side side,
                         const std::string& hint) {
  OCTAVO_TRY(check_kind(subject, g));
  const char* instead = instead_of(g, side);
  if (instead == nullptr) return check_sizes(subject, g);
  return fail(Code::invalid_argument, "{}granularity must be {}{}; got {}", subject, instead, hint,
              to_string(g));
}

Status check_pair(const Site& site, DType a, DType b) {
  for (const auto& [arg, dtype] : {std::pair{Arg::a, a}, std::pair{Arg::b, b}}) {
    if (operand_type(dtype)) continue;
    return fail(Code::invalid_argument,
                "{}.dtype must be an 8-bit type or a 16- or 32-bit float type; got {} ({})",
                site(arg), name(dtype), conversion(dtype));
  }
  return {};
}

// One type with itself gives that type, or what holds its sums; beside 8 bits a type of 16 gives
// itself; whatever else widens into float32.
DType default_out_dtype(DType a, DType b) noexcept {
  if (is_float8(a) && is_float8(b)) return DType::bfloat16;
  if (is_wide(a) && a == b) return a;
  const auto eight = [](DType dtype) { return is_float8(dtype) || is_integer8(dtype); };
  if (is_wide(a) && eight(b)) return a;
  if (is_wide(b) && eight(a)) return b;
  return DType::float32;
}

Result<DType> resolve_out_dtype(const Site& site, DType a, DType b, DType requested) {
  if (requested == DType::undefined) return default_out_dtype(a, b);
  if (!known(requested)) return check_dtype(site(Arg::out_dtype), "", requested);
  if (!output_type(requested)) {
    return fail(Code::invalid_argument,
                "{} must be a float type of at most 32 bits, int8, uint8 or int32; got {}",
                site(Arg::out_dtype), name(requested));
  }
  if (requested == DType::int32 && !(is_integer8(a) && is_integer8(b))) {
    return fail(
        Code::invalid_argument,
        "{} must not be int32 for float operands (it is the exact sum of integers); got {} @ {}",
        site(Arg::out_dtype), name(a), name(b));
  }
  return requested;
}

Status check_int32_output(const Site& site, const Member& member) {
  const Epilogue& e = member.epilogue;
  const struct {
    bool present;
    Arg arg;
  } extras[] = {
      {member.a.scale[0].present() || member.a.scale[1].present(), Arg::scale_a},
      {member.b.scale[0].present() || member.b.scale[1].present(), Arg::scale_b},
      {e.bias.defined(), Arg::bias},
      {e.scale_result.present(), Arg::scale_result},
      {e.alpha.present(), Arg::alpha},
      {e.c.defined(), Arg::c},
  };
  for (const auto& extra : extras) {
    if (!extra.present) continue;
    return fail(
        Code::invalid_argument,
        "{} must not be int32 beside scales, bias, C, alpha or scale_result (it is the exact "
        "sum); got {}",
        site(Arg::out_dtype), site.bare(extra.arg));
  }
  return {};
}

Status check_out(const Site& site, const TensorView& out, DType dtype,
                 std::span<const std::int64_t> shape) {
  OCTAVO_TRY(check_tensor(site, Arg::out, out));
  if (out.dtype != dtype) {
    return fail(Code::invalid_argument, "{}.dtype must be {}; got {}", site(Arg::out), name(dtype),
                name(out.dtype));
  }
  const std::span<const std::int64_t> got = out.dims();
  if (!std::equal(got.begin(), got.end(), shape.begin(), shape.end())) {
    return fail(Code::invalid_argument, "{}.shape must be [{}]; got {}", site(Arg::out),
                fmt::join(shape, ", "), shape_string(out));
  }
  if (repeats_elements(out)) {
    return fail(Code::invalid_argument,
                "{}.strides must reach every element once; got [{}] for shape {}", site(Arg::out),
                fmt::join(out.strides.begin(), out.strides.begin() + out.rank, ", "),
                shape_string(out));
  }
  return {};
}

namespace {

struct Input {
  const Elements& elements;
  Arg arg;
};
// What lies somewhere of what a member reads.
std::array<Input, 15> inputs_of(const Member& p) noexcept {
  const Epilogue& e = p.epilogue;
  return {{{p.a.data, Arg::a},
           {p.b.data, Arg::b},
           {p.a.scale[0].data, Arg::scale_a},
           {p.a.scale[1].data, Arg::scale_a},
           {p.b.scale[0].data, Arg::scale_b},
           {p.b.scale[1].data, Arg::scale_b},
           {p.a.azp, Arg::azp},
           {p.b.azp, Arg::b},
           {e.bias, Arg::bias},
           {e.scale_result.data, Arg::scale_result},
           {e.alpha.data, Arg::alpha},
           {e.beta.data, Arg::beta},
           {e.c, Arg::c},
           {e.outliers.a, Arg::a},
           {e.outliers.weight, Arg::b}}};
}

}  // namespace

Status check_device_of(const std::string& argument, const Device& device, const char* whose,
                       const Device& other) {
  if (same_device(device, other)) return {};
  return fail(Code::invalid_argument, "{}.device must be that of {}, {}; got {}", argument, whose,
              device_string(other), device_string(device));
}

Status check_one_device(const Site& site, const Member& p) {
  const Device device = p.a.data.device;
  const auto check = [&](Arg arg, const Device& of) {
    if (same_device(of, device)) return Status();
    return check_device_of(site(arg), of, site.bare(Arg::a).c_str(), device);
  };
  for (const Input& input : inputs_of(p)) {
    if (!input.elements.defined() || same_device(input.elements.device, device)) continue;
    return check(input.arg, input.elements.device);
  }
  if (p.out.defined()) OCTAVO_TRY(check(Arg::out, p.out.device));
  if (p.b.packed == nullptr) return {};
  return check(Arg::b, p.b.packed->content()->device);
}

namespace {

MatrixView columns_view(const ColumnList& list) noexcept {
  MatrixView view;
  if (list.count == 0) return view;
  view.data = const_cast<std::int64_t*>(list.data);  // NOLINT: only compared
  view.dtype = DType::int64;
  view.shape = {1, list.count};
  view.strides = {0, list.stride};
  return view;
}

}  // namespace

Status check_no_overlap(const Site& site, const MatmulProblem& problem) {
  const Member& p = problem.single;
  const Epilogue& e = p.epilogue;
  const GroupSteps& steps = problem.groups.steps;
  const std::int64_t m = p.out.shape[0];
  const std::int64_t n = p.out.shape[1];
  const std::int64_t k = p.a.data.shape[1];
  const TensorView out = output(problem);
  const auto check = [&](Arg arg, const MatrixView& matrix, std::int64_t step) -> Status {
    if (!matrix.defined()) return {};
    const auto view =
        step != 0 ? stacked(matrix, problem.groups, step) : static_cast<TensorView>(matrix);
    if (!overlap(out, view)) return {};
    const bool same =
        arg == Arg::c && p.out.data == matrix.data && steps.out == step &&
        same_elements(static_cast<TensorView>(p.out), static_cast<TensorView>(matrix));
    if (same) return {};
    return fail(Code::invalid_argument,
                "{} must not overlap {} (out may be exactly C); got shared memory", site(Arg::out),
                site.bare(arg));
  };
  OCTAVO_TRY(check(Arg::a, p.a.data, steps.a));
  OCTAVO_TRY(check(Arg::b, p.b.data, steps.b));
  for (std::size_t i = 0; i < 2; ++i) {
    OCTAVO_TRY(check(Arg::scale_a, values_of(p.a.scale[i], m, k), steps.scale_a[i]));
  }
  for (std::size_t i = 0; i < 2; ++i) {
    OCTAVO_TRY(check(Arg::scale_b, values_of(p.b.scale[i], k, n), steps.scale_b[i]));
  }
  OCTAVO_TRY(check(Arg::azp, p.a.azp, 0));
  OCTAVO_TRY(check(Arg::b, p.b.azp, 0));
  OCTAVO_TRY(check(Arg::bias, {e.bias, m, n}, steps.bias));
  OCTAVO_TRY(check(Arg::scale_result, {e.scale_result.data, 1, n}, 0));
  OCTAVO_TRY(check(Arg::alpha, {e.alpha.data, 1, 1}, 0));
  OCTAVO_TRY(check(Arg::beta, {e.beta.data, 1, 1}, 0));
  OCTAVO_TRY(check(Arg::c, {e.c, m, n}, steps.c));
  OCTAVO_TRY(check(Arg::a, {e.outliers.a, m, k}, 0));
  OCTAVO_TRY(check(Arg::a, columns_view(e.outliers.columns), 0));
  return check(Arg::b, {e.outliers.weight, k, n}, 0);
}

}  // namespace octavo
