// SPDX-License-Identifier: Apache-2.0
// What a quantiser may be asked for, alone or fused into a product.
#include <cmath>

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/operand.hpp"
#include "ops/rules.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

using Kind = Granularity::Kind;

// A place that the caller lends for codes or scales.
Status check_place(const Site& site, const char* word, const TensorView& v, DType dtype,
                   std::int64_t rows, std::int64_t cols) {
  if (!v.defined()) return {};
  const bool shaped = v.rank == 2 && v.shape[0] == rows && v.shape[1] == cols;
  if (shaped && v.dtype == dtype && (v.data != nullptr || v.numel() == 0)) return {};
  return fail(Code::invalid_argument, "{}.quantize.{} must be {} [{}, {}]; got {} {}", site(Arg::a),
              word, name(dtype), rows, cols, name(v.dtype), shape_string(v));
}

// Every row's codes must follow from that row alone.
Status check_batch_invariant(const Site& site, const ActivationQuant& rule) {
  const bool shared = scale_grid(rule.spec.granularity, Side::a).rows != 1;
  if (rule.vectorwise || !shared || rule.static_scale > 0.0F) return {};
  return fail(Code::invalid_argument,
              "{}: options.batch_invariant must be false where rows of the batch share a computed "
              "scale (quantise per token, in groups of K, or by a static scale); got true",
              site.operation);
}

// What LLM.int8's rule alone has.
Status check_not_vectorwise(const std::string& subject, const ActivationQuant& rule) {
  const auto invalid = [&](const char* field, const auto& value) {
    return fail(Code::invalid_argument, "{}{} must come with vectorwise (LLM.int8); got {} without",
                subject, field, value);
  };
  if (rule.outlier_threshold != 0.0F) return invalid("outlier_threshold", rule.outlier_threshold);
  if (rule.whole_columns) return invalid("whole_columns", "true");
  if (rule.outlier_columns.defined()) {
    return invalid("outlier_columns", shape_string(rule.outlier_columns));
  }
  if (!rule.found_columns.defined()) return {};
  return invalid("found_columns", shape_string(rule.found_columns));
}

// Where the call's outlier columns are listed, if the caller lends a place.
Status check_found_columns(const Site& site, const TensorView& v, std::int64_t k) {
  if (!v.defined()) return {};
  const bool shaped = v.dtype == DType::int64 && v.rank == 1 && v.shape[0] == k;
  if (shaped && (v.strides[0] == 1 || k <= 1) && (v.data != nullptr || k == 0)) return {};
  return fail(Code::invalid_argument,
              "{}.quantize.found_columns must be int64 [{}] in a row; got {} {}", site(Arg::a), k,
              name(v.dtype), shape_string(v));
}

}  // namespace

Status check_spec(const std::string& subject, const QuantizeSpec& spec, Side side) {
  const auto invalid = [&](const char* sentence, auto value) {
    return fail(Code::invalid_argument, "{}{}; got {}", subject, sentence, value);
  };
  OCTAVO_TRY(check_dtype(subject, "dtype", spec.dtype));
  OCTAVO_TRY(check_dtype(subject, "scale_dtype", spec.scale_dtype));
  OCTAVO_TRY(check_enumerator(subject, "rounding", spec.rounding, ScaleRounding::mx_floor));
  OCTAVO_TRY(check_enumerator(subject, "non_finite", spec.non_finite, NonFinite::ignore));
  OCTAVO_TRY(check_enumerator(subject, "overflow", spec.overflow, Overflow::ieee));
  if (!is_float8(spec.dtype) && !is_integer8(spec.dtype)) {
    return invalid("dtype must be a float8 type, int8 or uint8", name(spec.dtype));
  }
  if (spec.azp && !is_integer8(spec.dtype)) {
    return invalid("azp must come with int8 or uint8", name(spec.dtype));
  }
  if (spec.dtype == DType::uint8 && !spec.azp) {
    return invalid("dtype uint8 must come with azp (its codes are not symmetric)", "none");
  }
  if (spec.widen && !spec.azp) return invalid("widen must come with azp", "widen without");
  if (!(spec.scale_ub > 0.0F)) return invalid("scale_ub must be positive", spec.scale_ub);
  if (!(spec.min_scale >= 0.0F)) return invalid("min_scale must be at least 0", spec.min_scale);
  if (!(spec.qmax >= 0.0F && spec.qmax <= qmax(spec.dtype))) {
    return fail(Code::invalid_argument, "{}qmax must be in [0, {}]; got {}", subject,
                qmax(spec.dtype), spec.qmax);
  }
  if (spec.qmax != 0.0F && (spec.azp || spec.rounding == ScaleRounding::mx_floor)) {
    return invalid("qmax must come without azp and mx_floor", spec.qmax);
  }
  const bool powers = spec.rounding != ScaleRounding::none;
  if (spec.rounding == ScaleRounding::mx_floor && !is_float8(spec.dtype)) {
    return invalid("rounding mx_floor must come with a float8 type", name(spec.dtype));
  }
  if (powers && spec.azp) return invalid("rounding must be none with azp", "a power of two");
  if (spec.scale_dtype != DType::float32 &&
      !(spec.scale_dtype == DType::float8_e8m0fnu && powers)) {
    return invalid(
        "scale_dtype must be float32, or float8_e8m0fnu with power-of-two scales (rounding)",
        name(spec.scale_dtype));
  }
  const char* hint = side == Side::a ? " (channel needs side b)" : " (token needs side a)";
  return check_granularity(subject, spec.granularity, side, hint);
}

Status check_static(const std::string& subject, const ActivationQuant& rule) {
  const auto invalid = [&](const char* sentence, auto value) {
    return fail(Code::invalid_argument, "{}{}; got {}", subject, sentence, value);
  };
  const float scale = rule.static_scale;
  if (!(scale >= 0.0F) || std::isinf(scale)) {
    return invalid("static_scale must be finite and not below 0 (0: computed from the activations)",
                   scale);
  }
  if (rule.static_azp != 0 && (scale == 0.0F || !rule.spec.azp)) {
    return invalid("static_azp must come with static_scale and azp", rule.static_azp);
  }
  if (scale == 0.0F) return {};
  if (rule.vectorwise || rule.spec.granularity.kind != Kind::tensor) {
    return invalid("granularity must be tensor with static_scale",
                   rule.vectorwise ? "LLM.int8's" : to_string(rule.spec.granularity));
  }
  if (rule.spec.scale_dtype == DType::float32) return {};
  return invalid("scale_dtype must be float32 with static_scale", name(rule.spec.scale_dtype));
}

Status check_activation(const std::string& subject, const ActivationQuant& rule, std::int64_t k) {
  OCTAVO_TRY(check_static(subject, rule));
  if (rule.rotation != 0) {
    if (rule.vectorwise) {
      return fail(Code::unsupported,
                  "{}rotation must be 0 with vectorwise (LLM.int8's outlier columns are those of "
                  "x); got {}",
                  subject, rule.rotation);
    }
    OCTAVO_TRY(check_rotation(subject, "rotation", rule.rotation, "K", k));
  }
  if (rule.vectorwise) {
    if (rule.outlier_threshold >= 0.0F) return {};
    return fail(Code::invalid_argument, "{}outlier_threshold must be at least 0; got {}", subject,
                rule.outlier_threshold);
  }
  OCTAVO_TRY(check_not_vectorwise(subject, rule));
  const Granularity& g = rule.spec.granularity;
  if (g.kind == Kind::automatic) {
    return fail(Code::invalid_argument, "{}granularity must be declared; got automatic", subject);
  }
  OCTAVO_TRY(check_spec(subject, rule.spec, Side::a));
  if (!rule.spec.azp || g.kind == Kind::token || g.kind == Kind::tensor) return {};
  return fail(Code::unsupported,
              "{}granularity must be token or tensor with azp in a product; got {}", subject,
              to_string(g));
}

Status check_activation_rule(const Site& site, const Operand& a, std::int64_t m, std::int64_t k,
                             bool batch_invariant) {
  const ActivationQuant& rule = *a.quantize;
  OCTAVO_TRY(check_float(site, Arg::a, a.data));
  OCTAVO_TRY(check_activation(site(Arg::a) + ".quantize.", rule, k));
  if (rule.rotation != 0 && !on_host(a.data)) {
    return fail(Code::unavailable, "{}.quantize.rotation must be 0 but on the CPU; got {} on {}",
                site(Arg::a), rule.rotation, device_string(a.data.device));
  }
  OCTAVO_TRY(check_place(site, "codes", rule.codes, product_dtype(a), m, k));
  if (batch_invariant) OCTAVO_TRY(check_batch_invariant(site, rule));
  if (rule.vectorwise) {
    if (rule.outlier_columns.defined()) {
      const std::string argument = site.bare(Arg::a) + ".quantize.outlier_columns";
      OCTAVO_TRY(
          check_columns(site.operation, argument, rule.outlier_columns, k, site.bare(Arg::a)));
      OCTAVO_TRY(check_device_of(fmt::format("{}: {}", site.operation, argument),
                                 rule.outlier_columns.device(), site.bare(Arg::a).c_str(),
                                 a.data.device));
    }
    return check_found_columns(site, rule.found_columns, k);
  }
  const ScaleGrid grid = scale_grid(rule.spec.granularity, Side::a);
  return check_place(site, "scales", rule.scales, rule.spec.scale_dtype, cells(m, grid.rows),
                     cells(k, grid.cols));
}

Status check_columns(const char* operation, const std::string& argument, const TensorView& columns,
                     std::int64_t k, const std::string& of) {
  const ArgNames names = named(argument.c_str());
  OCTAVO_TRY(check_tensor({operation, &names}, Arg::a, columns));
  if (columns.dtype != DType::int64 || columns.rank != 1) {
    return fail(Code::invalid_argument, "{}: {} must be int64 1-D; got {} {}", operation, argument,
                name(columns.dtype), shape_string(columns));
  }
  if (!on_host(columns)) return {};
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> list, integers_of(operation, columns, nullptr));
  std::int64_t previous = -1;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::int64_t c = list[i];
    if (c <= previous || c >= k) {
      return fail(Code::invalid_argument,
                  "{}: {}[{}] must be in ({}, {}) (ascending columns of {}); got {}", operation,
                  argument, i, previous, k, of, c);
    }
    previous = c;
  }
  return {};
}

Status check_no_quantizer(const Site& site, const Operand& b) {
  if (b.quantize == nullptr) return {};
  return fail(Code::unsupported,
              "{} must be quantised before the product (on the fly {} alone is); got a fused "
              "quantiser",
              site(Arg::b), site.bare(Arg::a));
}

Status check_zero_points(const Site& site, const Operand& b) {
  if (!b.azp.defined()) return {};
  return fail(Code::unsupported, "{}.azp must be undefined in a grouped tensor form; got {}",
              site(Arg::b), shape_string(b.azp));
}

}  // namespace octavo
