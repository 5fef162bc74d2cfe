// SPDX-License-Identifier: Apache-2.0
// Packed experts, the layer over them, and its activation function.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "gradients.hpp"
#include "octavo/moe.hpp"
#include "options.hpp"
#include "tensors/activation.hpp"

namespace octavo::python {
namespace {

nb::typed<nb::object, ExpertWeights> packed(const PackExpertsArguments& given) {
  Call call("pack_experts");
  const TensorView weight = call.tensor(given.weight, "weight");
  const PackExpertsOptions options = options_of(call, given);
  return handed(unlocked([&] { return pack_experts(weight, options, call.context()); }));
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
  const ExpertWeights shown = readable(call, weights);
  const ExecContext context = call.context_on(shown.device());
  const UnpackedExperts u = unlocked([&] { return unpack_experts(shown, context); });
  return nb::make_tuple(call.give(u.data), call.give(u.scale), granularity_of(weights));
}

struct Prepared {
  TensorView x, topk_weights, topk_ids;
  FusedExpertsOptions options;

  Prepared(Call& call, const FusedExpertsArguments& given)
      : x(call.tensor(given.x, "x")),
        topk_weights(call.tensor(given.topk_weights, "topk_weights")),
        topk_ids(call.tensor(given.topk_ids, "topk_ids")),
        options(options_of(call, given)) {}
};

nb::object run(const FusedExpertsArguments& given) {
  Call call("fused_experts");
  Prepared p(call, given);
  nb::object result = nb::borrow(given.out);
  if (result.is_none()) {
    result = call.make_small_rows(p.x, given.w2.n(), p.options.out_dtype, p.options.out);
  }
  const Tensor tensor = unlocked([&] {
    return fused_experts(p.x, given.w13, given.w2, p.topk_weights, p.topk_ids, p.options,
                         call.context());
  });
  return result.is_none() ? call.give(tensor) : result;
}

FusedExpertsExplanation explained(const FusedExpertsArguments& given) {
  Call call("fused_experts");
  const Prepared p(call, given);
  return explain_fused_experts(p.x, given.w13, given.w2, p.topk_weights, p.topk_ids, p.options,
                               call.context());
}

nb::object silu(const SiluAndMulArguments& given) {
  Call call("silu_and_mul");
  const TensorView x = call.tensor(given.x, "x");
  const SiluAndMulOptions o = options_of(call, given);
  const Tensor tensor = unlocked([&] { return silu_and_mul(x, o, call.context()); });
  return given.out.is_none() ? call.give(tensor) : nb::object(nb::borrow(given.out));
}

nb::list gradients(nb::handle grad, const std::vector<bool>& asked, const ExpertWeights& w13,
                   const ExpertWeights& w2, nb::handle x, nb::handle topk_weights,
                   nb::handle topk_ids, nb::handle bias13, nb::handle bias2, nb::handle expert_map,
                   bool on_input, bool batch_invariant, const std::optional<std::string>& backend) {
  Call call("fused_experts_vjp");
  const TensorView g = call.tensor(grad, "grad");
  const TensorView rows = call.tensor(x, "x");
  const TensorView weights = call.tensor(topk_weights, "topk_weights");
  const TensorView ids = call.tensor(topk_ids, "topk_ids");
  FusedExpertsOptions o;
  o.bias13 = call.tensor(bias13, "bias13");
  o.bias2 = call.tensor(bias2, "bias2");
  o.expert_map = call.tensor(expert_map, "expert_map");
  o.apply_router_weight_on_input = on_input;
  o.matmul.batch_invariant = batch_invariant;
  if (backend) o.backend = backend->c_str();
  const FusedExpertsWanted wanted = experts_wanted_of(call.operation(), asked);
  return give(call, unlocked([&] {
                return fused_experts_vjp(g, rows, w13, w2, weights, ids, o, wanted, {},
                                         call.context());
              }));
}

nb::object silu_gradient(nb::handle grad, nb::handle x, const std::optional<std::string>& backend) {
  Call call("silu_and_mul_vjp");
  const TensorView g = call.tensor(grad, "grad");
  const TensorView rows = call.tensor(x, "x");
  const char* name = backend ? backend->c_str() : nullptr;
  return call.give(unlocked([&] { return silu_and_mul_vjp(g, rows, name, call.context()); }));
}

nb::typed<nb::object, PackedWeight> expert_of(const ExpertWeights& w, std::int64_t expert) {
  if (expert < 0) expert += w.experts();
  if (expert < 0 || expert >= w.experts()) throw nb::index_error("expert");
  return handed(w[expert]);
}

void bind_class(nb::module_& m) {
  nb::class_<ExpertWeights>(
      m, "ExpertWeights",
      "Weights [K, N] of E experts, packed in one block: immutable, thread-shareable, and "
      "unpackable bit for bit. weights[g] is an expert's octavo.types.PackedWeight.",
      nb::is_weak_referenceable(), nb::dynamic_attr())
      .def_prop_ro("experts", &ExpertWeights::experts, "How many there are.")
      .def_prop_ro("k", &ExpertWeights::k, "Input features.")
      .def_prop_ro("n", &ExpertWeights::n, "Output features.")
      .def_prop_ro(
          "dtype", [](const ExpertWeights& w) { return std::string(name(w.dtype())); },
          "The codes' data type, by name.")
      .def_prop_ro("granularity", granularity_of, "What one scale covers, by name, or None.")
      .def_prop_ro(
          "shape", [](const ExpertWeights& w) { return nb::make_tuple(w.experts(), w.n(), w.k()); },
          nb::sig("def shape(self) -> tuple[int, int, int]"), "(experts, n, k).")
      .def_prop_ro("nbytes", &ExpertWeights::bytes, "Bytes of the packed codes.")
      .def_prop_ro("layout", &ExpertWeights::layout, "Whose layout it is.")
      .def_prop_ro(
          "device", [](const ExpertWeights& w) { return device_name(w.device()); },
          "Where codes and scales lie, as PyTorch writes it: \"cpu\", \"cuda:0\".")
      .def_prop_ro(
          "activation", [](const ExpertWeights& w) { return activation_of(w.activation()); },
          "The activation rule as pack_experts's arguments, or None.")
      .def("unpack", unpacked, nb::arg("like").none() = nb::none(),
           "(codes [E, N, K], scales, granularity), bit for bit, as NumPy arrays; where `like` is "
           "PyTorch's, as its tensors on the experts' device.")
      .def("to", moved<ExpertWeights>, nb::arg("like").none(),
           "The experts on the device of the tensor `like`, or on that device (None: the CPU), as "
           "octavo.types.PackedWeight.to. "
           "The object itself where they are there already.")
      .def("__len__", &ExpertWeights::experts)
      .def("__getitem__", expert_of, nb::arg("expert"))
      .def("__copy__", [](nb::object self) { return self; })
      .def(
          "__deepcopy__", [](nb::object self, nb::handle) { return self; }, nb::arg("memo"))
      .def("__reduce__",
           [](const ExpertWeights& w) {
             const nb::object restore = nb::module_::import_("octavo").attr("_restore_experts");
             return nb::make_tuple(
                 restore, unpacked(w, nb::none()) +
                              nb::make_tuple(activation_of(w.activation()), empty_on(w.device())));
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
  define_pack_experts<packed>(m, "pack_experts", "See octavo.moe.pack_experts.");
  define_fused_experts<run>(m, "fused_experts", "See octavo.moe.fused_experts.");
  define_fused_experts<explained>(m, "explain_fused_experts",
                                  "See octavo.moe.explain_fused_experts.");
  m.def("fused_experts_vjp", gradients, nb::arg("grad"), nb::arg("wanted"), nb::arg("w13"),
        nb::arg("w2"), nb::arg("x"), nb::arg("topk_weights"), nb::arg("topk_ids"),
        nb::arg("bias13").none() = nb::none(), nb::arg("bias2").none() = nb::none(),
        nb::arg("expert_map").none() = nb::none(), nb::arg("apply_router_weight_on_input") = false,
        nb::arg("batch_invariant") = false, nb::arg("backend").none() = nb::none(),
        "The wanted gradients of octavo.moe.fused_experts, in the order x, topk_weights, bias13, "
        "bias2.");
  m.def("silu_and_mul_vjp", silu_gradient, nb::arg("grad"), nb::arg("x"),
        nb::arg("backend").none() = nb::none(), "The gradient of octavo.moe.silu_and_mul.");
  define_silu_and_mul<silu>(m, "silu_and_mul", "See octavo.moe.silu_and_mul.");
}

}  // namespace octavo::python
