// SPDX-License-Identifier: Apache-2.0
// Layers whose weights lie on several ranks.
#include "octavo/parallel.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "operations/gradients.hpp"
#include "ranks.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {
namespace {

ParallelOptions options_of(const char* layer, const std::string& mode, std::int32_t k_chunks) {
  ParallelOptions options;
  options.k_chunks = k_chunks;
  if (mode == "fast") {
    options.mode = ParallelMode::fast;
  } else if (mode != "exact") {
    raise(Code::invalid_argument,
          std::string(layer) + ": mode must be \"exact\" or \"fast\"; got '" + mode + "'");
  }
  return options;
}

template <class Layer>
void make(Layer* self, const char* name, const Weight& weight, nb::handle bias, nb::object engine,
          const std::string& mode, std::int32_t k_chunks) {
  Call call(name);
  const TensorView view = call.tensor(bias, "bias");
  const ParallelOptions options = options_of(name, mode, k_chunks);
  std::shared_ptr<Communicator> ranks = std::make_shared<Ranks>(std::move(engine));
  unlocked([&] {
    new (self) Layer(weight, view, std::move(ranks), options);
    return true;
  });
}

template <class Layer>
nb::object forward(const char* name, const Layer& layer, nb::handle x, nb::handle bias) {
  Call call(name);
  const TensorView view = call.tensor(x, "x");
  const LinearOptions options{.bias = call.tensor(bias, "bias")};
  return call.give(unlocked([&] { return layer(view, options, call.context()); }));
}

// wanted: x, bias.
template <class Layer>
nb::list vjp(const char* name, const Layer& layer, nb::handle grad, const std::vector<bool>& wanted,
             nb::handle x, nb::handle bias) {
  Call call(name);
  const TensorView g = call.tensor(grad, "grad");
  const TensorView view = call.tensor(x, "x");
  const LinearOptions forward{.bias = call.tensor(bias, "bias")};
  const MatmulWanted asked{.a = !wanted.empty() && wanted[0],
                           .bias = wanted.size() > 1 && wanted[1]};
  return give(call, unlocked([&] { return layer.vjp(g, view, forward, asked, call.context()); }));
}

template <class Layer>
auto bind_layer(nb::module_& m, const char* name, const char* doc) {
  return nb::class_<Layer>(m, name, doc)
      .def(
          "__init__",
          [name](Layer* self, const Weight& weight, nb::handle bias, nb::object ranks,
                 const std::string& mode, std::int32_t k_chunks) {
            make(self, name, weight, bias, std::move(ranks), mode, k_chunks);
          },
          nb::arg("weight"), nb::arg("bias").none(), nb::arg("ranks"), nb::arg("mode") = "exact",
          nb::arg("k_chunks") = 24)
      .def_static(
          "of_part",
          [name](const Weight& part, nb::object engine, const std::string& mode,
                 std::int32_t k_chunks) {
            const ParallelOptions options = options_of(name, mode, k_chunks);
            std::shared_ptr<Communicator> ranks = std::make_shared<Ranks>(std::move(engine));
            return unlocked([&] { return Layer::of_part(part, {}, std::move(ranks), options); });
          },
          nb::arg("part"), nb::arg("ranks"), nb::arg("mode") = "exact", nb::arg("k_chunks") = 24,
          "The layer of a part that is there already.")
      .def(
          "forward",
          [name](const Layer& layer, nb::handle x, nb::handle bias) {
            return forward(name, layer, x, bias);
          },
          nb::arg("x"), nb::arg("bias").none() = nb::none(), "y of the rank.")
      .def(
          "vjp",
          [name](const Layer& layer, nb::handle grad, const std::vector<bool>& wanted, nb::handle x,
                 nb::handle bias) { return vjp(name, layer, grad, wanted, x, bias); },
          nb::arg("grad"), nb::arg("wanted"), nb::arg("x"), nb::arg("bias").none() = nb::none(),
          "The gradients of x and bias that are wanted.")
      .def(
          "part", [](const Layer& layer) { return unlocked([&] { return layer.part(); }); },
          "The rank's part of the weight: octavo.types.Weight.")
      .def_prop_ro("in_features", &Layer::in_features, "Of the whole layer.")
      .def_prop_ro("out_features", &Layer::out_features, "Of the whole layer.");
}

void make_experts(ExpertParallelMoE* self, const ExpertWeights& w13, const ExpertWeights& w2,
                  std::int64_t experts, nb::object engine, nb::handle bias13, nb::handle bias2) {
  Call call("ExpertParallelMoE");
  const TensorView first = call.tensor(bias13, "bias13");
  const TensorView second = call.tensor(bias2, "bias2");
  std::shared_ptr<Communicator> ranks = std::make_shared<Ranks>(std::move(engine));
  unlocked([&] {
    new (self) ExpertParallelMoE(w13, w2, experts, std::move(ranks), first, second);
    return true;
  });
}

nb::object run_experts(const ExpertParallelMoE& layer, nb::handle x, nb::handle topk_weights,
                       nb::handle topk_ids, bool apply_router_weight_on_input,
                       bool batch_invariant) {
  Call call("ExpertParallelMoE");
  const TensorView rows = call.tensor(x, "x");
  const TensorView weights = call.tensor(topk_weights, "topk_weights");
  const TensorView ids = call.tensor(topk_ids, "topk_ids");
  FusedExpertsOptions options;
  options.apply_router_weight_on_input = apply_router_weight_on_input;
  options.matmul.batch_invariant = batch_invariant;
  return call.give(unlocked([&] { return layer(rows, weights, ids, options, call.context()); }));
}

nb::list expert_gradients(const ExpertParallelMoE& layer, nb::handle grad,
                          const std::vector<bool>& asked, nb::handle x, nb::handle topk_weights,
                          nb::handle topk_ids, bool apply_router_weight_on_input) {
  Call call("ExpertParallelMoE");
  const TensorView g = call.tensor(grad, "grad");
  const TensorView rows = call.tensor(x, "x");
  const TensorView weights = call.tensor(topk_weights, "topk_weights");
  const TensorView ids = call.tensor(topk_ids, "topk_ids");
  FusedExpertsOptions options;
  options.apply_router_weight_on_input = apply_router_weight_on_input;
  const FusedExpertsWanted wanted = experts_wanted_of(call.operation(), asked);
  return give(call, unlocked([&] {
                return layer.vjp(g, rows, weights, ids, options, wanted, {}, call.context());
              }));
}

nb::tuple pair(const ShardRange& range) { return nb::make_tuple(range.begin, range.end); }

}  // namespace

void bind_parallel(nb::module_& m) {
  bind_layer<ColumnParallelLinear>(m, "ColumnParallelLinear",
                                   "A linear layer whose rows (of N) are shared out over ranks.")
      .def_prop_ro(
          "columns", [](const ColumnParallelLinear& layer) { return pair(layer.columns()); },
          "(begin, end) of the columns of y that this rank makes.")
      .def_prop_ro(
          "weight", [](const ColumnParallelLinear& layer) { return layer.local().weight(); },
          "The rank's weight, packed.")
      .def(
          "gather",
          [](const ColumnParallelLinear& layer, nb::handle y) {
            Call call("ColumnParallelLinear");
            const TensorView view = call.tensor(y, "y");
            return call.give(unlocked([&] { return layer.gather(view); }));
          },
          nb::arg("y"), "All of y on every rank.");
  bind_layer<RowParallelLinear>(m, "RowParallelLinear",
                                "A linear layer whose columns (of K) are shared out over ranks.")
      .def_prop_ro(
          "rows", [](const RowParallelLinear& layer) { return pair(layer.rows()); },
          "(begin, end) of the columns of x that this rank multiplies.");
  nb::class_<ExpertParallelMoE>(m, "ExpertParallelMoE", "Experts that are shared out over ranks.")
      .def("__init__", make_experts, nb::arg("w13"), nb::arg("w2"), nb::arg("experts"),
           nb::arg("ranks"), nb::arg("bias13").none() = nb::none(),
           nb::arg("bias2").none() = nb::none())
      .def_prop_ro("experts", &ExpertParallelMoE::experts, "Of all ranks.")
      .def_prop_ro(
          "local", [](const ExpertParallelMoE& layer) { return pair(layer.local()); },
          "(begin, end) of this rank's experts.")
      .def("forward", run_experts, nb::arg("x"), nb::arg("topk_weights"), nb::arg("topk_ids"),
           nb::arg("apply_router_weight_on_input") = false, nb::arg("batch_invariant") = false,
           "y of the rank's tokens.")
      .def("vjp", expert_gradients, nb::arg("grad"), nb::arg("wanted"), nb::arg("x"),
           nb::arg("topk_weights"), nb::arg("topk_ids"),
           nb::arg("apply_router_weight_on_input") = false,
           "The wanted gradients, in the order x, topk_weights, bias13, bias2.");
}

}  // namespace octavo::python
