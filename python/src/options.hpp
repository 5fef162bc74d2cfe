// SPDX-License-Identifier: Apache-2.0
// Written by api/ from api/operations.toml; `python3 api` writes it again.
// clang-format off
// The arguments of the operations' functions, and what C++'s options they are.
//
// define_<operation><Body, Head...>(m, name, doc, names...) defines a function with these arguments,
// after those of `Head`, called `names`: it calls Body(arguments), or Body({head...}, arguments).
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <limits>
#include <optional>
#include <string>

#include "tensors/arguments.hpp"
#include "octavo/attention.hpp"
#include "octavo/grouped.hpp"
#include "octavo/linear.hpp"
#include "octavo/matmul.hpp"
#include "octavo/moe.hpp"
#include "octavo/norm.hpp"
#include "octavo/packed.hpp"
#include "octavo/quantize.hpp"
#include "octavo/rotate.hpp"

namespace octavo::python {

using Name = std::optional<std::string>;
inline const char* text_of(const Name& name) noexcept { return name ? name->c_str() : nullptr; }

/// The rule among the arguments of a function that packs.
template <class Arguments>
std::optional<ActivationQuant> parse_activation(Call& call, const Arguments& a) {
  if (a.activation.is_none()) return std::nullopt;
  ActivationQuant o;
  o.spec.dtype = call.dtype(a.activation, "activation");
  o.spec.granularity = parse_granularity(a.activation_granularity, call.operation(), "activation_granularity");
  o.spec.azp = a.azp;
  o.spec.scale_ub = static_cast<float>(a.scale_ub);
  o.spec.min_scale = static_cast<float>(a.min_scale);
  o.spec.qmax = static_cast<float>(a.qmax);
  o.spec.rounding = parse_rounding(a.rounding, call.operation());
  o.spec.non_finite = parse_non_finite(a.non_finite, call.operation());
  o.spec.widen = a.widen;
  o.static_scale = static_cast<float>(a.static_scale);
  o.static_azp = a.static_azp;
  o.rotation = a.rotation;
  o.vectorwise = a.llm_int8;
  o.outlier_threshold = static_cast<float>(a.outlier_threshold);
  o.whole_columns = a.whole_columns;
  o.outlier_columns = parse_columns(a.outlier_columns, call.operation());
  return o;
}

/// The same as those arguments.
inline nb::dict arguments_of(const ActivationQuant& o) {
  nb::dict d;
  d["activation"] = std::string(name(o.spec.dtype));
  d["activation_granularity"] = to_string(o.spec.granularity);
  d["azp"] = o.spec.azp;
  d["scale_ub"] = o.spec.scale_ub;
  d["min_scale"] = o.spec.min_scale;
  d["qmax"] = o.spec.qmax;
  d["rounding"] = rounding_name(o.spec.rounding);
  d["non_finite"] = non_finite_name(o.spec.non_finite);
  d["widen"] = o.spec.widen;
  d["static_scale"] = o.static_scale;
  d["static_azp"] = o.static_azp;
  d["rotation"] = o.rotation;
  d["llm_int8"] = o.vectorwise;
  d["outlier_threshold"] = o.outlier_threshold;
  d["whole_columns"] = o.whole_columns;
  d["outlier_columns"] = columns_of(o.outlier_columns);
  return d;
}

struct ScaledMmArguments {
  nb::handle input;
  nb::handle mat2;
  nb::handle scale_a;
  nb::handle scale_b;
  nb::handle bias;
  nb::handle scale_result;
  nb::handle out_dtype;
  nb::handle granularity_a;
  nb::handle granularity_b;
  nb::handle alpha;
  nb::handle beta;
  nb::handle c;
  nb::handle azp;
  bool trans_a;
  bool trans_b;
  bool saturate;
  bool torch_compat;
  std::int32_t k_chunks;
  nb::handle subnormals;
  const Name& backend;
  nb::handle out;
};

inline ScaledMmOptions options_of(Call& call, const ScaledMmArguments& a) {
  ScaledMmOptions o;
  o.scale_a = call.scale(a.scale_a, a.granularity_a, "scale_a");
  o.scale_b = call.scale(a.scale_b, a.granularity_b, "scale_b");
  o.bias = call.tensor(a.bias, "bias");
  o.scale_result = call.scale(a.scale_result, nb::none(), "scale_result");
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.alpha = call.scale(a.alpha, nb::none(), "alpha");
  o.beta = call.scale(a.beta, nb::none(), "beta");
  o.c = call.tensor(a.c, "c");
  o.azp = call.tensor(a.azp, "azp");
  o.trans_a = a.trans_a;
  o.trans_b = a.trans_b;
  o.out = call.out(a.out);
  o.matmul.overflow = a.saturate ? Overflow::saturate : Overflow::ieee;
  o.matmul.torch_compat = a.torch_compat;
  o.matmul.k_chunks = a.k_chunks;
  o.matmul.exact_subnormals = parse_subnormals(a.subnormals, call.operation());
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_scaled_mm(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle input, nb::handle mat2, nb::handle scale_a, nb::handle scale_b, nb::handle bias, nb::handle scale_result, nb::handle out_dtype, nb::handle granularity_a, nb::handle granularity_b, nb::handle alpha, nb::handle beta, nb::handle c, nb::handle azp, bool trans_a, bool trans_b, bool saturate, bool torch_compat, std::int32_t k_chunks, nb::handle subnormals, const Name& backend, nb::handle out) {
    return apply<Body>(ScaledMmArguments{input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a, granularity_b, alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat, k_chunks, subnormals, backend, out}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("input"),
        nb::arg("mat2"),
        nb::arg("scale_a").none() = undefined,
        nb::arg("scale_b").none() = undefined,
        nb::arg("bias").none() = nb::none(),
        nb::arg("scale_result").none() = undefined,
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("granularity_a").none() = nb::none(),
        nb::arg("granularity_b").none() = nb::none(),
        nb::arg("alpha").none() = undefined,
        nb::arg("beta").none() = undefined,
        nb::arg("c").none() = nb::none(),
        nb::arg("azp").none() = nb::none(),
        nb::arg("trans_a") = false,
        nb::arg("trans_b") = false,
        nb::arg("saturate") = true,
        nb::arg("torch_compat") = false,
        nb::arg("k_chunks") = 0,
        nb::arg("subnormals").none() = nb::none(),
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct LinearArguments {
  nb::handle x;
  const PackedWeight& weight;
  nb::handle bias;
  nb::handle out_dtype;
  bool batch_invariant;
  const Name& backend;
  nb::handle outlier_columns;
  nb::handle outlier_weight;
  nb::handle out;
};

inline LinearOptions options_of(Call& call, const LinearArguments& a) {
  LinearOptions o;
  o.bias = call.tensor(a.bias, "bias");
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.out = call.out(a.out);
  o.matmul.batch_invariant = a.batch_invariant;
  o.backend = text_of(a.backend);
  o.outlier_columns = call.columns(a.outlier_columns);
  o.outlier_weight = call.tensor(a.outlier_weight, "outlier_weight");
  return o;
}

template <auto Body, class... Head, class... Names>
void define_linear(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, const PackedWeight& weight, nb::handle bias, nb::handle out_dtype, bool batch_invariant, const Name& backend, nb::handle outlier_columns, nb::handle outlier_weight, nb::handle out) {
    return apply<Body>(LinearArguments{x, weight, bias, out_dtype, batch_invariant, backend, outlier_columns, outlier_weight, out}, head...);
  };
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("weight"),
        nb::arg("bias").none() = nb::none(),
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("batch_invariant") = false,
        nb::arg("backend").none() = nb::none(),
        nb::arg("outlier_columns").none() = nb::none(),
        nb::arg("outlier_weight").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct GroupedMmListArguments {
  nb::handle inputs;
  nb::handle weights;
  nb::handle biases;
  nb::handle out_dtype;
  nb::handle scales_a;
  nb::handle scales_b;
  nb::handle granularity_a;
  nb::handle granularity_b;
  nb::handle outs;
  nb::handle subnormals;
  const Name& backend;
};

inline GroupedListOptions options_of(Call& call, const GroupedMmListArguments& a) {
  GroupedListOptions o;
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.matmul.exact_subnormals = parse_subnormals(a.subnormals, call.operation());
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_grouped_mm_list(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle inputs, nb::handle weights, nb::handle biases, nb::handle out_dtype, nb::handle scales_a, nb::handle scales_b, nb::handle granularity_a, nb::handle granularity_b, nb::handle outs, nb::handle subnormals, const Name& backend) {
    return apply<Body>(GroupedMmListArguments{inputs, weights, biases, out_dtype, scales_a, scales_b, granularity_a, granularity_b, outs, subnormals, backend}, head...);
  };
  m.def(name, call, names..., nb::arg("inputs"),
        nb::arg("weights"),
        nb::arg("biases").none() = nb::none(),
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("scales_a").none() = nb::none(),
        nb::arg("scales_b").none() = nb::none(),
        nb::arg("granularity_a").none() = nb::none(),
        nb::arg("granularity_b").none() = nb::none(),
        nb::arg("outs").none() = nb::none(),
        nb::arg("subnormals").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), doc);
}

struct GroupedMmArguments {
  nb::handle input;
  nb::handle mat2;
  nb::handle offs;
  bool offs_prefix;
  nb::handle bias;
  nb::handle out_dtype;
  nb::handle scale_a;
  nb::handle scale_b;
  nb::handle granularity_a;
  nb::handle granularity_b;
  nb::handle alpha;
  nb::handle beta;
  nb::handle c;
  nb::handle scale_result;
  nb::handle subnormals;
  const Name& backend;
  nb::handle out;
};

inline GroupedOptions options_of(Call& call, const GroupedMmArguments& a) {
  GroupedOptions o;
  o.offs = call.tensor(a.offs, "offs");
  o.offs_prefix = a.offs_prefix;
  o.bias = call.tensor(a.bias, "bias");
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.scale_a = call.scale(a.scale_a, a.granularity_a, "scale_a");
  o.scale_b = call.scale(a.scale_b, a.granularity_b, "scale_b");
  o.alpha = call.scale(a.alpha, nb::none(), "alpha");
  o.beta = call.scale(a.beta, nb::none(), "beta");
  o.c = call.tensor(a.c, "c");
  o.scale_result = call.scale(a.scale_result, nb::none(), "scale_result");
  o.out = call.out(a.out);
  o.matmul.exact_subnormals = parse_subnormals(a.subnormals, call.operation());
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_grouped_mm(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle input, nb::handle mat2, nb::handle offs, bool offs_prefix, nb::handle bias, nb::handle out_dtype, nb::handle scale_a, nb::handle scale_b, nb::handle granularity_a, nb::handle granularity_b, nb::handle alpha, nb::handle beta, nb::handle c, nb::handle scale_result, nb::handle subnormals, const Name& backend, nb::handle out) {
    return apply<Body>(GroupedMmArguments{input, mat2, offs, offs_prefix, bias, out_dtype, scale_a, scale_b, granularity_a, granularity_b, alpha, beta, c, scale_result, subnormals, backend, out}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("input"),
        nb::arg("mat2"),
        nb::arg("offs").none() = nb::none(),
        nb::arg("offs_prefix") = false,
        nb::arg("bias").none() = nb::none(),
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("scale_a").none() = undefined,
        nb::arg("scale_b").none() = undefined,
        nb::arg("granularity_a").none() = nb::none(),
        nb::arg("granularity_b").none() = nb::none(),
        nb::arg("alpha").none() = undefined,
        nb::arg("beta").none() = undefined,
        nb::arg("c").none() = nb::none(),
        nb::arg("scale_result").none() = undefined,
        nb::arg("subnormals").none() = nb::none(),
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct ScaledGroupedMmArguments {
  nb::handle input;
  nb::handle weight;
  nb::handle scale;
  nb::handle out_dtype;
  bool trans_b;
  const Name& backend;
  nb::handle out;
};

inline ScaledGroupedMmOptions options_of(Call& call, const ScaledGroupedMmArguments& a) {
  ScaledGroupedMmOptions o;
  o.scale = call.scale(a.scale, nb::none(), "scale");
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.trans_b = a.trans_b;
  o.out = call.out(a.out);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_scaled_grouped_mm(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle input, nb::handle weight, nb::handle scale, nb::handle out_dtype, bool trans_b, const Name& backend, nb::handle out) {
    return apply<Body>(ScaledGroupedMmArguments{input, weight, scale, out_dtype, trans_b, backend, out}, head...);
  };
  m.def(name, call, names..., nb::arg("input"),
        nb::arg("weight"),
        nb::arg("scale").none() = 1.0,
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("trans_b") = false,
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct QuantizeArguments {
  nb::handle x;
  nb::handle dtype;
  const std::string& granularity;
  const std::string& side;
  bool azp;
  double scale_ub;
  double min_scale;
  double qmax;
  const std::string& rounding;
  nb::handle scale_dtype;
  const std::string& non_finite;
  bool saturate;
  bool widen;
  nb::handle scale;
  nb::handle azp_in;
};

inline QuantizeOptions options_of(Call& call, const QuantizeArguments& a) {
  QuantizeOptions o;
  o.dtype = call.dtype(a.dtype, "dtype");
  o.granularity = parse_granularity(a.granularity, call.operation(), "granularity");
  o.side = parse_side(call, a.side);
  o.azp = a.azp;
  o.scale_ub = static_cast<float>(a.scale_ub);
  o.min_scale = static_cast<float>(a.min_scale);
  o.qmax = static_cast<float>(a.qmax);
  o.rounding = parse_rounding(a.rounding, call.operation());
  o.scale_dtype = call.dtype(a.scale_dtype, "scale_dtype");
  o.non_finite = parse_non_finite(a.non_finite, call.operation());
  o.overflow = a.saturate ? Overflow::saturate : Overflow::ieee;
  o.widen = a.widen;
  o.scale = call.scale(a.scale, nb::none(), "scale");
  o.azp_in = call.tensor(a.azp_in, "azp_in");
  return o;
}

template <auto Body, class... Head, class... Names>
void define_quantize(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, nb::handle dtype, const std::string& granularity, const std::string& side, bool azp, double scale_ub, double min_scale, double qmax, const std::string& rounding, nb::handle scale_dtype, const std::string& non_finite, bool saturate, bool widen, nb::handle scale, nb::handle azp_in) {
    return apply<Body>(QuantizeArguments{x, dtype, granularity, side, azp, scale_ub, min_scale, qmax, rounding, scale_dtype, non_finite, saturate, widen, scale, azp_in}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("dtype") = "int8",
        nb::arg("granularity") = "token",
        nb::arg("side") = "a",
        nb::arg("azp") = false,
        nb::arg("scale_ub") = std::numeric_limits<double>::infinity(),
        nb::arg("min_scale") = 0.0,
        nb::arg("qmax") = 0.0,
        nb::arg("rounding").none() = "none",
        nb::arg("scale_dtype") = "float32",
        nb::arg("non_finite") = "propagate",
        nb::arg("saturate") = true,
        nb::arg("widen") = false,
        nb::arg("scale").none() = undefined,
        nb::arg("azp_in").none() = nb::none(), doc);
}

struct RotateArguments {
  nb::handle x;
  std::int32_t block;
  nb::handle out_dtype;
  const Name& backend;
  nb::handle out;
};

inline RotateOptions options_of(Call& call, const RotateArguments& a) {
  RotateOptions o;
  o.block = a.block;
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.out = call.out(a.out);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_rotate(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, std::int32_t block, nb::handle out_dtype, const Name& backend, nb::handle out) {
    return apply<Body>(RotateArguments{x, block, out_dtype, backend, out}, head...);
  };
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("block") = 64,
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct PackArguments {
  nb::handle weight;
  nb::handle scale;
  nb::handle granularity;
  nb::handle activation;
  const std::string& activation_granularity;
  bool azp;
  double scale_ub;
  double min_scale;
  double qmax;
  const std::string& rounding;
  const std::string& non_finite;
  bool widen;
  double static_scale;
  std::int32_t static_azp;
  std::int32_t rotation;
  bool llm_int8;
  double outlier_threshold;
  bool whole_columns;
  nb::handle outlier_columns;
  const Name& backend;
};

inline PackOptions options_of(Call& call, const PackArguments& a) {
  PackOptions o;
  o.scale = call.scale(a.scale, a.granularity, "scale");
  o.activation = parse_activation(call, a);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_pack(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle weight, nb::handle scale, nb::handle granularity, nb::handle activation, const std::string& activation_granularity, bool azp, double scale_ub, double min_scale, double qmax, const std::string& rounding, const std::string& non_finite, bool widen, double static_scale, std::int32_t static_azp, std::int32_t rotation, bool llm_int8, double outlier_threshold, bool whole_columns, nb::handle outlier_columns, const Name& backend) {
    return apply<Body>(PackArguments{weight, scale, granularity, activation, activation_granularity, azp, scale_ub, min_scale, qmax, rounding, non_finite, widen, static_scale, static_azp, rotation, llm_int8, outlier_threshold, whole_columns, outlier_columns, backend}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("weight"),
        nb::arg("scale").none() = undefined,
        nb::arg("granularity").none() = nb::none(),
        nb::arg("activation").none() = nb::none(),
        nb::arg("activation_granularity") = "token",
        nb::arg("azp") = false,
        nb::arg("scale_ub") = std::numeric_limits<double>::infinity(),
        nb::arg("min_scale") = 0.0,
        nb::arg("qmax") = 0.0,
        nb::arg("rounding").none() = "none",
        nb::arg("non_finite") = "propagate",
        nb::arg("widen") = false,
        nb::arg("static_scale") = 0.0,
        nb::arg("static_azp") = 0,
        nb::arg("rotation") = 0,
        nb::arg("llm_int8") = false,
        nb::arg("outlier_threshold") = 0.0,
        nb::arg("whole_columns") = false,
        nb::arg("outlier_columns").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), doc);
}

struct PackExpertsArguments {
  nb::handle weight;
  nb::handle scale;
  nb::handle granularity;
  nb::handle activation;
  const std::string& activation_granularity;
  bool azp;
  double scale_ub;
  double min_scale;
  double qmax;
  const std::string& rounding;
  const std::string& non_finite;
  bool widen;
  double static_scale;
  std::int32_t static_azp;
  std::int32_t rotation;
  bool llm_int8;
  double outlier_threshold;
  bool whole_columns;
  nb::handle outlier_columns;
  const Name& backend;
};

inline PackExpertsOptions options_of(Call& call, const PackExpertsArguments& a) {
  PackExpertsOptions o;
  o.scale = call.scale(a.scale, a.granularity, "scale");
  o.activation = parse_activation(call, a);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_pack_experts(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle weight, nb::handle scale, nb::handle granularity, nb::handle activation, const std::string& activation_granularity, bool azp, double scale_ub, double min_scale, double qmax, const std::string& rounding, const std::string& non_finite, bool widen, double static_scale, std::int32_t static_azp, std::int32_t rotation, bool llm_int8, double outlier_threshold, bool whole_columns, nb::handle outlier_columns, const Name& backend) {
    return apply<Body>(PackExpertsArguments{weight, scale, granularity, activation, activation_granularity, azp, scale_ub, min_scale, qmax, rounding, non_finite, widen, static_scale, static_azp, rotation, llm_int8, outlier_threshold, whole_columns, outlier_columns, backend}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("weight"),
        nb::arg("scale").none() = undefined,
        nb::arg("granularity").none() = nb::none(),
        nb::arg("activation").none() = nb::none(),
        nb::arg("activation_granularity") = "token",
        nb::arg("azp") = false,
        nb::arg("scale_ub") = std::numeric_limits<double>::infinity(),
        nb::arg("min_scale") = 0.0,
        nb::arg("qmax") = 0.0,
        nb::arg("rounding").none() = "none",
        nb::arg("non_finite") = "propagate",
        nb::arg("widen") = false,
        nb::arg("static_scale") = 0.0,
        nb::arg("static_azp") = 0,
        nb::arg("rotation") = 0,
        nb::arg("llm_int8") = false,
        nb::arg("outlier_threshold") = 0.0,
        nb::arg("whole_columns") = false,
        nb::arg("outlier_columns").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), doc);
}

struct SiluAndMulArguments {
  nb::handle x;
  nb::handle out_dtype;
  const Name& backend;
  nb::handle out;
};

inline SiluAndMulOptions options_of(Call& call, const SiluAndMulArguments& a) {
  SiluAndMulOptions o;
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.out = call.out(a.out);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_silu_and_mul(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, nb::handle out_dtype, const Name& backend, nb::handle out) {
    return apply<Body>(SiluAndMulArguments{x, out_dtype, backend, out}, head...);
  };
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct SiluAndMulQuantizeArguments {
  nb::handle x;
  nb::handle dtype;
  const std::string& granularity;
  const std::string& side;
  bool azp;
  double scale_ub;
  double min_scale;
  double qmax;
  const std::string& rounding;
  nb::handle scale_dtype;
  const std::string& non_finite;
  bool saturate;
  bool widen;
  nb::handle scale;
  nb::handle azp_in;
  const Name& backend;
};

inline SiluAndMulQuantizeOptions options_of(Call& call, const SiluAndMulQuantizeArguments& a) {
  SiluAndMulQuantizeOptions o;
  o.quantize.dtype = call.dtype(a.dtype, "dtype");
  o.quantize.granularity = parse_granularity(a.granularity, call.operation(), "granularity");
  o.quantize.side = parse_side(call, a.side);
  o.quantize.azp = a.azp;
  o.quantize.scale_ub = static_cast<float>(a.scale_ub);
  o.quantize.min_scale = static_cast<float>(a.min_scale);
  o.quantize.qmax = static_cast<float>(a.qmax);
  o.quantize.rounding = parse_rounding(a.rounding, call.operation());
  o.quantize.scale_dtype = call.dtype(a.scale_dtype, "scale_dtype");
  o.quantize.non_finite = parse_non_finite(a.non_finite, call.operation());
  o.quantize.overflow = a.saturate ? Overflow::saturate : Overflow::ieee;
  o.quantize.widen = a.widen;
  o.quantize.scale = call.scale(a.scale, nb::none(), "scale");
  o.quantize.azp_in = call.tensor(a.azp_in, "azp_in");
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_silu_and_mul_quantize(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, nb::handle dtype, const std::string& granularity, const std::string& side, bool azp, double scale_ub, double min_scale, double qmax, const std::string& rounding, nb::handle scale_dtype, const std::string& non_finite, bool saturate, bool widen, nb::handle scale, nb::handle azp_in, const Name& backend) {
    return apply<Body>(SiluAndMulQuantizeArguments{x, dtype, granularity, side, azp, scale_ub, min_scale, qmax, rounding, scale_dtype, non_finite, saturate, widen, scale, azp_in, backend}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("dtype") = "int8",
        nb::arg("granularity") = "token",
        nb::arg("side") = "a",
        nb::arg("azp") = false,
        nb::arg("scale_ub") = std::numeric_limits<double>::infinity(),
        nb::arg("min_scale") = 0.0,
        nb::arg("qmax") = 0.0,
        nb::arg("rounding").none() = "none",
        nb::arg("scale_dtype") = "float32",
        nb::arg("non_finite") = "propagate",
        nb::arg("saturate") = true,
        nb::arg("widen") = false,
        nb::arg("scale").none() = undefined,
        nb::arg("azp_in").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), doc);
}

struct RmsNormArguments {
  nb::handle x;
  nb::handle weight;
  double epsilon;
  const Name& backend;
  nb::handle residual;
  nb::handle out;
};

inline RmsNormOptions options_of(Call& call, const RmsNormArguments& a) {
  RmsNormOptions o;
  o.weight = call.tensor(a.weight, "weight");
  o.epsilon = static_cast<float>(a.epsilon);
  o.residual = call.out(a.residual);
  o.out = call.out(a.out);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_rms_norm(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, nb::handle weight, double epsilon, const Name& backend, nb::handle residual, nb::handle out) {
    return apply<Body>(RmsNormArguments{x, weight, epsilon, backend, residual, out}, head...);
  };
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("weight").none() = nb::none(),
        nb::arg("epsilon") = 1e-6,
        nb::arg("backend").none() = nb::none(),
        nb::arg("residual").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct RmsNormQuantizeArguments {
  nb::handle x;
  nb::handle weight;
  double epsilon;
  nb::handle dtype;
  const std::string& granularity;
  const std::string& side;
  bool azp;
  double scale_ub;
  double min_scale;
  double qmax;
  const std::string& rounding;
  nb::handle scale_dtype;
  const std::string& non_finite;
  bool saturate;
  bool widen;
  nb::handle scale;
  nb::handle azp_in;
  const Name& backend;
  nb::handle residual;
};

inline RmsNormQuantizeOptions options_of(Call& call, const RmsNormQuantizeArguments& a) {
  RmsNormQuantizeOptions o;
  o.weight = call.tensor(a.weight, "weight");
  o.epsilon = static_cast<float>(a.epsilon);
  o.residual = call.out(a.residual);
  o.quantize.dtype = call.dtype(a.dtype, "dtype");
  o.quantize.granularity = parse_granularity(a.granularity, call.operation(), "granularity");
  o.quantize.side = parse_side(call, a.side);
  o.quantize.azp = a.azp;
  o.quantize.scale_ub = static_cast<float>(a.scale_ub);
  o.quantize.min_scale = static_cast<float>(a.min_scale);
  o.quantize.qmax = static_cast<float>(a.qmax);
  o.quantize.rounding = parse_rounding(a.rounding, call.operation());
  o.quantize.scale_dtype = call.dtype(a.scale_dtype, "scale_dtype");
  o.quantize.non_finite = parse_non_finite(a.non_finite, call.operation());
  o.quantize.overflow = a.saturate ? Overflow::saturate : Overflow::ieee;
  o.quantize.widen = a.widen;
  o.quantize.scale = call.scale(a.scale, nb::none(), "scale");
  o.quantize.azp_in = call.tensor(a.azp_in, "azp_in");
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_rms_norm_quantize(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, nb::handle weight, double epsilon, nb::handle dtype, const std::string& granularity, const std::string& side, bool azp, double scale_ub, double min_scale, double qmax, const std::string& rounding, nb::handle scale_dtype, const std::string& non_finite, bool saturate, bool widen, nb::handle scale, nb::handle azp_in, const Name& backend, nb::handle residual) {
    return apply<Body>(RmsNormQuantizeArguments{x, weight, epsilon, dtype, granularity, side, azp, scale_ub, min_scale, qmax, rounding, scale_dtype, non_finite, saturate, widen, scale, azp_in, backend, residual}, head...);
  };
  const nb::object undefined = nb::borrow(undefined_object);
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("weight").none() = nb::none(),
        nb::arg("epsilon") = 1e-6,
        nb::arg("dtype") = "int8",
        nb::arg("granularity") = "token",
        nb::arg("side") = "a",
        nb::arg("azp") = false,
        nb::arg("scale_ub") = std::numeric_limits<double>::infinity(),
        nb::arg("min_scale") = 0.0,
        nb::arg("qmax") = 0.0,
        nb::arg("rounding").none() = "none",
        nb::arg("scale_dtype") = "float32",
        nb::arg("non_finite") = "propagate",
        nb::arg("saturate") = true,
        nb::arg("widen") = false,
        nb::arg("scale").none() = undefined,
        nb::arg("azp_in").none() = nb::none(),
        nb::arg("backend").none() = nb::none(),
        nb::arg("residual").none() = nb::none(), doc);
}

struct AttentionArguments {
  nb::handle q;
  nb::handle keys;
  nb::handle key_scales;
  nb::handle values;
  nb::handle value_scales;
  nb::handle block_table;
  nb::handle lengths;
  nb::handle starts;
  double scale;
  std::int32_t window;
  bool bidirectional;
  const Name& backend;
  nb::handle out;
};

inline AttentionOptions options_of(Call& call, const AttentionArguments& a) {
  AttentionOptions o;
  o.block_table = call.tensor(a.block_table, "block_table");
  o.lengths = call.tensor(a.lengths, "lengths");
  o.starts = call.tensor(a.starts, "starts");
  o.scale = static_cast<float>(a.scale);
  o.window = a.window;
  o.bidirectional = a.bidirectional;
  o.out = call.out(a.out);
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_attention(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle q, nb::handle keys, nb::handle key_scales, nb::handle values, nb::handle value_scales, nb::handle block_table, nb::handle lengths, nb::handle starts, double scale, std::int32_t window, bool bidirectional, const Name& backend, nb::handle out) {
    return apply<Body>(AttentionArguments{q, keys, key_scales, values, value_scales, block_table, lengths, starts, scale, window, bidirectional, backend, out}, head...);
  };
  m.def(name, call, names..., nb::arg("q"),
        nb::arg("keys"),
        nb::arg("key_scales"),
        nb::arg("values"),
        nb::arg("value_scales"),
        nb::arg("block_table").none() = nb::none(),
        nb::arg("lengths").none() = nb::none(),
        nb::arg("starts").none() = nb::none(),
        nb::arg("scale") = 0.0,
        nb::arg("window") = 0,
        nb::arg("bidirectional") = false,
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

struct FusedExpertsArguments {
  nb::handle x;
  const ExpertWeights& w13;
  const ExpertWeights& w2;
  nb::handle topk_weights;
  nb::handle topk_ids;
  nb::handle bias13;
  nb::handle bias2;
  bool apply_router_weight_on_input;
  nb::handle expert_map;
  nb::handle out_dtype;
  bool batch_invariant;
  const Name& backend;
  nb::handle out;
};

inline FusedExpertsOptions options_of(Call& call, const FusedExpertsArguments& a) {
  FusedExpertsOptions o;
  o.bias13 = call.tensor(a.bias13, "bias13");
  o.bias2 = call.tensor(a.bias2, "bias2");
  o.apply_router_weight_on_input = a.apply_router_weight_on_input;
  o.expert_map = call.tensor(a.expert_map, "expert_map");
  o.out_dtype = call.dtype(a.out_dtype, "out_dtype");
  o.out = call.out(a.out);
  o.matmul.batch_invariant = a.batch_invariant;
  o.backend = text_of(a.backend);
  return o;
}

template <auto Body, class... Head, class... Names>
void define_fused_experts(nb::module_& m, const char* name, const char* doc, const Names&... names) {
  const auto call = [](Head... head, nb::handle x, const ExpertWeights& w13, const ExpertWeights& w2, nb::handle topk_weights, nb::handle topk_ids, nb::handle bias13, nb::handle bias2, bool apply_router_weight_on_input, nb::handle expert_map, nb::handle out_dtype, bool batch_invariant, const Name& backend, nb::handle out) {
    return apply<Body>(FusedExpertsArguments{x, w13, w2, topk_weights, topk_ids, bias13, bias2, apply_router_weight_on_input, expert_map, out_dtype, batch_invariant, backend, out}, head...);
  };
  m.def(name, call, names..., nb::arg("x"),
        nb::arg("w13"),
        nb::arg("w2"),
        nb::arg("topk_weights"),
        nb::arg("topk_ids"),
        nb::arg("bias13").none() = nb::none(),
        nb::arg("bias2").none() = nb::none(),
        nb::arg("apply_router_weight_on_input") = false,
        nb::arg("expert_map").none() = nb::none(),
        nb::arg("out_dtype").none() = nb::none(),
        nb::arg("batch_invariant") = false,
        nb::arg("backend").none() = nb::none(),
        nb::arg("out").none() = nb::none(), doc);
}

}  // namespace octavo::python
