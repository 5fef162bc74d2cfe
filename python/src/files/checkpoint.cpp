// SPDX-License-Identifier: Apache-2.0
// Checkpoints, schemes, and weights in canonical form.
#include "octavo/checkpoint.hpp"

#include <nanobind/stl/array.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <limits>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "files.hpp"
#include "octavo/checkpoint/unapplied.hpp"
#include "octavo/layers.hpp"
#include "octavo/moe.hpp"
#include "tensors/activation.hpp"

namespace octavo::python {
namespace {

constexpr const char* kFramework = "framework";  // an attribute: "np" or "pt"

nb::object tensor_of(nb::handle self, const std::string& name) {
  const auto& file = nb::cast<const Checkpoint&>(self);
  const Tensor tensor = unlocked([&] { return file.tensor(name); });
  const bool torch = nb::cast<std::string>(nb::object(self.attr(kFramework))) == "pt";
  return give(tensor, torch ? Framework::torch : Framework::numpy);
}

nb::object item_of(nb::handle self, const std::string& name) {
  if (!nb::cast<const Checkpoint&>(self).contains(name)) {
    const std::string sentence = "Checkpoint: name must be that of a tensor; got '" + name + "'";
    throw nb::key_error(sentence.c_str());
  }
  return tensor_of(self, name);
}

nb::list names_of(const Checkpoint& file) {
  nb::list names;
  for (const TensorEntry& e : file.entries()) names.append(e.name);
  return names;
}

nb::object open_with(const std::string& path, const std::string& framework) {
  if (framework != "np" && framework != "pt") {
    raise(Code::invalid_argument,
          "open_checkpoint: framework must be \"np\" (NumPy) or \"pt\" (PyTorch); got '" +
              framework + "'");
  }
  nb::object file = nb::cast(with_file([&] { return open_checkpoint(path); }));
  file.attr(kFramework) = framework;
  return file;
}

std::string counted(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string shown(const Checkpoint& file) {
  return "Checkpoint('" + file.path() + "', " + counted(file.entries().size(), "tensor") + " in " +
         counted(file.files().size(), "file") + ", " + std::to_string(file.file_bytes()) +
         " bytes)";
}

std::string shown(const Weight& w) {
  const TensorView codes = w.codes.data;
  return "Weight(" + w.scheme + ", " + std::string(name(codes.dtype)) + " [" +
         std::to_string(codes.shape[0]) + ", " + std::to_string(codes.shape[1]) + "])";
}

// Tensors that others own live as long as the call; each is copied when its turn comes.
std::vector<TensorToWrite> tensors_to_write(Call& call, const nb::dict& tensors) {
  std::vector<TensorToWrite> all;
  for (const auto& [key, value] : tensors) {
    const auto name = nb::cast<std::string>(key);
    const TensorView view = call.host_tensor(value, ("tensors['" + name + "']").c_str());
    all.push_back({name,
                   std::string(info(view.dtype).safetensors),
                   {view.dims().begin(), view.dims().end()},
                   [view] {
                     const Tensor row_major = copy(view, view.dtype);
                     const auto* bytes = static_cast<const std::byte*>(row_major.data());
                     return std::vector<std::byte>(
                         bytes, bytes + row_major.numel() * element_bytes(view.dtype));
                   }});
  }
  return all;
}

std::vector<std::string> write_checkpoint_with(const std::string& path,
                                               const std::map<std::string, Weight>& layers,
                                               const nb::dict& tensors,
                                               const std::map<std::string, std::string>& metadata) {
  Call call("write_checkpoint");
  std::vector<LayerToWrite> quantized;
  for (const auto& [name, weight] : layers) quantized.push_back({name, weight});
  std::vector<TensorToWrite> others = tensors_to_write(call, tensors);
  return with_file([&] { return write_checkpoint(path, quantized, std::move(others), metadata); });
}

void write_tensors(const std::string& path, const nb::dict& tensors,
                   const std::map<std::string, std::string>& metadata) {
  Call call("write_tensors");
  std::vector<TensorToWrite> all = tensors_to_write(call, tensors);
  with_file([&] {
    write_safetensors(path, std::move(all), metadata);
    return true;
  });
}

struct TensorArguments {
  nb::handle weight, weight_scale, input_scale, input_zero_point;
  const std::vector<std::int64_t>& logical_widths;
  bool requantize;
  const std::string& activation;
  bool azp;
  double input_scale_ub;
  const std::array<std::int64_t, 2>& block;
};

Weight weight_of_tensors(const std::string& scheme, const TensorArguments& a) {
  Call call("w8a8_weight");
  LinearTensors t;
  t.weight = call.host_tensor(a.weight, "weight");
  t.weight_scale = call.host_tensor(a.weight_scale, "weight_scale");
  t.input_scale = call.host_tensor(a.input_scale, "input_scale");
  t.input_zero_point = call.host_tensor(a.input_zero_point, "input_zero_point");
  W8A8Options o;
  o.logical_widths = a.logical_widths;
  o.requantize = a.requantize;
  o.activation = parse_granularity(a.activation, call.operation(), "activation");
  o.azp = a.azp;
  o.input_scale_ub = static_cast<float>(a.input_scale_ub);
  o.block = {a.block[0], a.block[1]};
  return unlocked([&] { return w8a8_weight(scheme.c_str(), t, o); });
}

void bind_weights(nb::module_& m) {
  using H = nb::handle;
  m.def(
      "w8a8_weight",
      [](const std::string& scheme, H weight, H weight_scale, H input_scale, H input_zero_point,
         const std::vector<std::int64_t>& logical_widths, bool requantize,
         const std::string& activation, bool azp, double input_scale_ub,
         const std::array<std::int64_t, 2>& block) {
        return weight_of_tensors(
            scheme, {weight, weight_scale, input_scale, input_zero_point, logical_widths,
                     requantize, activation, azp, input_scale_ub, block});
      },
      nb::arg("scheme"), nb::arg("weight"), nb::arg("weight_scale"), nb::kw_only(),
      nb::arg("input_scale").none() = nb::none(), nb::arg("input_zero_point").none() = nb::none(),
      nb::arg("logical_widths") = std::vector<std::int64_t>{}, nb::arg("requantize") = false,
      nb::arg("activation") = "token", nb::arg("azp") = false,
      nb::arg("input_scale_ub") = std::numeric_limits<double>::infinity(),
      nb::arg("block") = std::array<std::int64_t, 2>{128, 128},
      "See octavo.checkpoints.w8a8_weight.");
  m.def(
      "fuse",
      [](const std::vector<Weight>& weights) { return unlocked([&] { return fuse(weights); }); },
      nb::arg("weights"), "See octavo.checkpoints.fuse.");
}

void bind_weight(nb::module_& m) {
  nb::class_<Weight>(m, "Weight",
                     "A linear layer's weight [N, K] in canonical form, whatever the dialect.")
      .def_ro("scheme", &Weight::scheme, "\"int8-dynamic\", ..., or \"none\".")
      .def("__repr__", [](const Weight& w) { return shown(w); })
      .def_prop_ro(
          "quantized", [](const Weight& w) { return give(w.codes, Framework::numpy); },
          "Codes [N, K] and scales as an octavo.Quantized.")
      .def_prop_ro(
          "activation", [](const Weight& w) { return activation_of(w.activation); },
          "How activations are quantised, as octavo.pack's arguments, or None.")
      .def_prop_ro(
          "columns",
          [](const Weight& w) -> nb::object {
            return w.columns.defined() ? give(w.columns, Framework::numpy) : nb::none();
          },
          "int64 [K]: column j of the codes multiplies column columns[j] of the activations; None: "
          "in order.")
      .def(
          "pack",
          [](const Weight& w, const std::optional<std::string>& backend, bool gathered) {
            return handed(
                unlocked([&] { return pack(w, backend ? backend->c_str() : nullptr, gathered); }));
          },
          nb::arg("backend").none() = nb::none(), nb::kw_only(), nb::arg("gathered") = false,
          "The octavo.types.PackedWeight [K, N] for octavo.linear; its activation rule travels "
          "with it. "
          "gathered: activations will come as x[..., columns], which a weight with columns needs.");
}

void bind_parts(nb::module_& m) {
  nb::class_<CheckpointFile>(m, "CheckpointFile", "A file that tensors of a checkpoint lie in.")
      .def_ro("name", &CheckpointFile::name, "Without its folder.")
      .def_ro("nbytes", &CheckpointFile::bytes, "Size in bytes.")
      .def_ro("metadata", &CheckpointFile::metadata)
      .def("__repr__", [](const CheckpointFile& f) {
        return "CheckpointFile('" + f.name + "', " + std::to_string(f.bytes) + " bytes)";
      });
  nb::class_<Declaration>(m, "Declaration", "Where a checkpoint says how it is quantised.")
      .def_ro("where", &Declaration::where, "\"config.json\", \"metadata of ...\", ...")
      .def_ro("text", &Declaration::text, "JSON: what config.json has as \"quantization_config\".")
      .def("__repr__", [](const Declaration& d) { return "Declaration(" + d.where + ")"; });
}

void bind_file(nb::module_& m) {
  nb::class_<Checkpoint>(m, "Checkpoint",
                         "A safetensors or GGUF file, or a model's folder, opened. It may "
                         "be used as safetensors' safe_open is: in a with block, by name, as an "
                         "iterable of names.",
                         nb::dynamic_attr())
      .def("keys", names_of, "Names of the tensors, in file order.")
      .def("__iter__", [](const Checkpoint& file) { return nb::iter(names_of(file)); })
      .def("__len__", [](const Checkpoint& file) { return file.entries().size(); })
      .def("__getitem__", item_of, nb::arg("name"), "The tensor; KeyError: there is none.")
      .def("__enter__", [](nb::object self) { return self; })
      .def(
          "__exit__", [](nb::handle, const nb::args&) {}, "The files close with their last reader.")
      .def("__repr__", [](const Checkpoint& file) { return shown(file); })
      .def_prop_ro("metadata", &Checkpoint::metadata)
      .def_prop_ro("nbytes", &Checkpoint::file_bytes, "Size of all files, in bytes.")
      .def_prop_ro("files", &Checkpoint::files,
                   "The files with tensors: octavo.types.CheckpointFile.")
      .def_prop_ro("folder", &Checkpoint::folder, "Empty where a file was opened.")
      .def_prop_ro("declarations", &Checkpoint::declarations,
                   "What says how the checkpoint is quantised, the one that counts first.")
      .def(
          "__contains__",
          [](const Checkpoint& file, const std::string& name) { return file.contains(name); },
          nb::arg("name"))
      .def("tensor", tensor_of, nb::arg("name"),
           "A tensor of the framework that open_checkpoint was asked for.")
      .def("get_tensor", tensor_of, nb::arg("name"), "tensor, as safe_open calls it.")
      .def(
          "weight",
          [](const Checkpoint& file, const std::string& prefix) {
            return unlocked([&] { return file.weight(prefix); });
          },
          nb::arg("prefix"), "The weight of a layer (its name without \".weight\").")
      .def("quantized_layers", &Checkpoint::quantized_layers,
           "Names of all layers whose weight is quantised.")
      .def("unapplied_rules", &unapplied_rules,
           "Rules for layers' outputs that the files declare and nothing applies: a sentence for "
           "each kind, with the number of layers and the first.")
      .def(
          "experts",
          [](const Checkpoint& file, const std::string& prefix) {
            return handed(unlocked([&] {
              const ExpertStack stack = file.experts(prefix);
              return pack_experts(stack.codes, {.scale = Scale(stack.scale, stack.granularity),
                                                .activation = stack.activation});
            }));
          },
          nb::arg("prefix"),
          "The octavo.types.ExpertWeights of quantised experts that lie in one tensor, such as "
          "\"x.experts.gate_up_proj\"; their activation rule travels with them.")
      .def("quantized_experts", &Checkpoint::quantized_experts,
           "Names of all tensors of quantised experts.")
      .def(
          "layers_of_experts",
          [](const Checkpoint& file, const std::string& prefix) {
            return file.layers_of_experts(prefix);
          },
          nb::arg("prefix"),
          "The layers that quantised experts in one tensor are, expert by expert, gate before up. "
          "They are among quantized_layers().");
}

}  // namespace

void bind_checkpoint(nb::module_& m) {
  bind_weight(m);
  bind_weights(m);
  bind_parts(m);
  bind_file(m);
  m.def("open_checkpoint", open_with, nb::arg("path"), nb::arg("framework") = "np",
        "See octavo.open_checkpoint.");
  m.def("write_checkpoint", write_checkpoint_with, nb::arg("path"), nb::arg("layers"),
        nb::arg("tensors"), nb::arg("metadata"), "See octavo.checkpoints.write_checkpoint.");
  m.def("write_tensors", write_tensors, nb::arg("path"), nb::arg("tensors"), nb::arg("metadata"),
        "Writes a safetensors file of tensors by name, in one step.");
  m.def(
      "quantize_weight",
      [](nb::handle weight, const std::string& scheme, std::int32_t rotation) {
        Call call("quantize_weight");
        const TensorView view = call.host_tensor(weight, "weight");
        const Scheme parsed = parse_scheme("quantize_weight", scheme);
        return unlocked([&] { return quantize_weight(view, parsed, rotation); });
      },
      nb::arg("weight"), nb::arg("scheme") = "int8-dynamic", nb::arg("rotation") = 0,
      "See octavo.checkpoints.quantize_weight.");
  m.def(
      "canonical_scheme",
      [](const std::string& name) {
        return std::string(scheme_name(parse_scheme("quantize_", name)));
      },
      nb::arg("name"), "The scheme's own name, whatever the ecosystem calls it.");
  m.def(
      "compare_weight",
      [](const std::string& layer, nb::handle weight, const Weight& quantized) {
        Call call("compare_weight");
        const TensorView view = call.host_tensor(weight, "weight");
        return unlocked([&] { return compare_weight(layer, view, quantized); });
      },
      nb::arg("layer"), nb::arg("weight"), nb::arg("quantized"),
      "See octavo.checkpoints.compare_weight.");
}

}  // namespace octavo::python
