// SPDX-License-Identifier: Apache-2.0
// Packed experts, the layer over them, and its activation function.
#include <nanobind/stl/optional.h>

#include <array>
#include <string>

#include "activation.hpp"
#include "bindings.hpp"
#include "octavo/moe.hpp"
#include "options.hpp"

namespace octavo::python {
namespace {

ExpertWeights packed(nb::handle weight, nb::handle scale, nb::handle granularity,
                     const ActivationArguments& activation, const Name& backend) {
  Call call("pack_experts");
  const TensorView view = call.tensor(weight, "weight");
  PackExpertsOptions options;
  options.scale = call.scale(scale, granularity, "scale");
  options.activation = parse_activation(call, activation);
  options.backend = text_of(backend);
  return unlocked([&] { return pack_experts(view, options, context()); });
}

nb::object granularity_of(const ExpertWeights& w) {
  const Granularity g = w.granularity();
  if (g.kind == Granularity::Kind::automatic) return nb::none();
  return nb::str(to_string(g).c_str());
}

// Codes [E, N, K], scales and the granularity's name.
nb::tuple unpacked(const ExpertWeights& weights, nb::handle like) {
  Call call("unpack_experts");
  call.tensor(like, "like");
  const UnpackedExperts u = unlocked([&] { return unpack_experts(weights, context()); });
  return nb::make_tuple(call.give(u.data), call.give(u.scale), granularity_of(weights));
}

// A result of few bytes in the framework's own memory.
nb::object small_result(const Call& call, const TensorView& x, std::int64_t n, DType dtype,
                        TensorView& out) {
  if (x.rank == 0) return nb::none();
  std::array<std::int64_t, kMaxRank> shape = x.shape;
  shape[static_cast<std::size_t>(x.rank - 1)] = n;
  return call.make_small(dtype != DType::undefined ? dtype : x.dtype,
                         std::span(shape.data(), static_cast<std::size_t>(x.rank)), out);
}

// The arguments of fused_experts as C++ takes them.
struct Arguments {
  Arguments(nb::handle x_, nb::handle weights_, nb::handle ids_, nb::handle bias13,
            nb::handle bias2, nb::handle map, nb::handle out_dtype, bool on_input,
            bool batch_invariant, const Name& backend)
      : call("fused_experts"),
        x(call.tensor(x_, "x")),
        weights(call.tensor(weights_, "topk_weights")),
        ids(call.tensor(ids_, "topk_ids")) {
    options.bias13 = call.tensor(bias13, "bias13");
    options.bias2 = call.tensor(bias2, "bias2");
    options.expert_map = call.tensor(map, "expert_map");
    options.out_dtype = call.dtype(out_dtype, "out_dtype");
    options.apply_router_weight_on_input = on_input;
    options.matmul.batch_invariant = batch_invariant;
    options.backend = text_of(backend);
  }
  Call call;
  TensorView x, weights, ids;
  FusedExpertsOptions options;
};

nb::object run(nb::handle x, const ExpertWeights& w13, const ExpertWeights& w2,
               nb::handle topk_weights, nb::handle topk_ids, nb::handle bias13, nb::handle bias2,
               bool on_input, nb::handle expert_map, nb::handle out_dtype, bool batch_invariant,
               nb::handle out, const Name& backend) {
  Arguments a(x, topk_weights, topk_ids, bias13, bias2, expert_map, out_dtype, on_input,
              batch_invariant, backend);
  a.options.out = a.call.out(out);
  nb::object result = nb::borrow(out);
  if (result.is_none()) {
    result = small_result(a.call, a.x, w2.n(), a.options.out_dtype, a.options.out);
  }
  const Tensor tensor =
      unlocked([&] { return fused_experts(a.x, w13, w2, a.weights, a.ids, a.options, context()); });
  return result.is_none() ? a.call.give(tensor) : result;
}

FusedExpertsExplanation explained(nb::handle x, const ExpertWeights& w13, const ExpertWeights& w2,
                                  nb::handle topk_weights, nb::handle topk_ids,
                                  nb::handle expert_map, const Name& backend) {
  const Arguments a(x, topk_weights, topk_ids, nb::none(), nb::none(), expert_map, nb::none(),
                    false, false, backend);
  return explain_fused_experts(a.x, w13, w2, a.weights, a.ids, a.options, context());
}

nb::object silu(nb::handle x, nb::handle out_dtype, nb::handle out, const Name& backend) {
  Call call("silu_and_mul");
  const TensorView view = call.tensor(x, "x");
  SiluAndMulOptions o;
  o.out_dtype = call.dtype(out_dtype, "out_dtype");
  o.out = call.out(out);
  o.backend = text_of(backend);
  const Tensor tensor = unlocked([&] { return silu_and_mul(view, o, context()); });
  return out.is_none() ? call.give(tensor) : nb::object(nb::borrow(out));
}

PackedWeight expert_of(const ExpertWeights& w, std::int64_t expert) {
  if (expert < 0) expert += w.experts();
  if (expert < 0 || expert >= w.experts()) throw nb::index_error("expert");
  return w[expert];
}

void bind_class(nb::module_& m) {
  nb::class_<ExpertWeights>(
      m, "ExpertWeights",
      "Weights [K, N] of E experts, packed in one block: immutable, thread-shareable, and "
      "unpackable bit for bit. weights[g] is an expert's octavo.PackedWeight.",
      nb::is_weak_referenceable())
      .def_prop_ro("experts", &ExpertWeights::experts, "How many there are.")
      .def_prop_ro("k", &ExpertWeights::k, "Input features.")
      .def_prop_ro("n", &ExpertWeights::n, "Output features.")
      .def_prop_ro(
          "dtype", [](const ExpertWeights& w) { return std::string(name(w.dtype())); },
          "The codes' data type, by name.")
      .def_prop_ro("granularity", granularity_of, "What one scale covers, by name, or None.")
      .def_prop_ro("nbytes", &ExpertWeights::bytes, "Bytes of the packed codes.")
      .def_prop_ro("layout", &ExpertWeights::layout, "Whose layout it is.")
      .def_prop_ro(
          "activation", [](const ExpertWeights& w) { return activation_of(w.activation()); },
          "The activation rule as pack_experts's arguments, or None.")
      .def("unpack", unpacked, nb::arg("like").none() = nb::none(),
           "(codes [E, N, K], scales, granularity), bit for bit, as NumPy arrays, or as tensors "
           "like `like`.")
      .def("__len__", &ExpertWeights::experts)
      .def("__getitem__", expert_of, nb::arg("expert"))
      .def("__copy__", [](nb::object self) { return self; })
      .def(
          "__deepcopy__", [](nb::object self, nb::handle) { return self; }, nb::arg("memo"))
      .def("__reduce__",
           [](const ExpertWeights& w) {
             const nb::object restore = nb::module_::import_("octavo").attr("_restore_experts");
             return nb::make_tuple(
                 restore, unpacked(w, nb::none()) + nb::make_tuple(activation_of(w.activation())));
           })
      .def("__repr__", [](const ExpertWeights& w) {
        return "ExpertWeights(" + std::string(name(w.dtype())) + " [" +
               std::to_string(w.experts()) + ", " + std::to_string(w.n()) + ", " +
               std::to_string(w.k()) + "], " + w.layout() + ")";
      });
  nb::class_<FusedExpertsExplanation>(m, "FusedExpertsExplanation",
                                      "What runs both products of fused_experts, and why.")
      .def_ro("routes", &FusedExpertsExplanation::routes, "Rows of each product.")
      .def_ro("touched", &FusedExpertsExplanation::touched, "Experts that have rows.")
      .def_ro("workspace_bytes", &FusedExpertsExplanation::workspace_bytes)
      .def_prop_ro(
          "by_w13", [](const FusedExpertsExplanation& e) { return e.products[0]; },
          "The first product.")
      .def_prop_ro(
          "by_w2", [](const FusedExpertsExplanation& e) { return e.products[1]; },
          "The second product.")
      .def("__str__", &FusedExpertsExplanation::to_string)
      .def("__repr__", &FusedExpertsExplanation::to_string);
}

}  // namespace

void bind_experts(nb::module_& m) {
  bind_class(m);
  define_pack<packed>(m, "pack_experts", "See octavo.pack_experts.");
  m.def("fused_experts", run, nb::arg("x"), nb::arg("w13"), nb::arg("w2"), nb::arg("topk_weights"),
        nb::arg("topk_ids"), nb::kw_only(), nb::arg("bias13").none() = nb::none(),
        nb::arg("bias2").none() = nb::none(), nb::arg("apply_router_weight_on_input") = false,
        nb::arg("expert_map").none() = nb::none(), nb::arg("out_dtype").none() = nb::none(),
        nb::arg("batch_invariant") = false, nb::arg("out").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), "See octavo.fused_experts.");
  m.def("explain_fused_experts", explained, nb::arg("x"), nb::arg("w13"), nb::arg("w2"),
        nb::arg("topk_weights"), nb::arg("topk_ids"), nb::arg("expert_map").none() = nb::none(),
        nb::arg("backend").none() = nb::none(), "See octavo.explain_fused_experts.");
  m.def("silu_and_mul", silu, nb::arg("x"), nb::arg("out_dtype").none() = nb::none(), nb::kw_only(),
        nb::arg("out").none() = nb::none(), nb::arg("backend").none() = nb::none(),
        "See octavo.silu_and_mul.");
}

}  // namespace octavo::python
