// SPDX-License-Identifier: Apache-2.0
// Weights in parts.
#include "octavo/checkpoint/sharding.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "bindings.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {
namespace {

ShardAxis parse_axis(const char* operation, const std::string& axis) {
  if (axis == "columns") return ShardAxis::columns;
  if (axis == "rows") return ShardAxis::rows;
  raise(Code::invalid_argument, std::string(operation) +
                                    ": axis must be \"columns\" (N) or \"rows\" (K); got '" + axis +
                                    "'");
}

Weight weight_of(const PackedWeight& packed, const std::string& scheme) {
  const PackedWeight here = readable(Call("_weight_of"), packed);
  return unlocked([&] {
    const Quantized b = unpack(here);
    const auto transposed = [](const Tensor& t) { return t.defined() ? t.transposed() : t; };
    Weight weight;
    weight.scheme = scheme;
    weight.codes = {.data = transposed(b.data),
                    .scale = transposed(b.scale),
                    .grid = {b.grid.cols, b.grid.rows},
                    .azp = transposed(b.azp),
                    .row0 = b.col0,
                    .col0 = b.row0};
    weight.activation = here.activation();
    return weight;
  });
}

}  // namespace

void bind_sharding(nb::module_& m) {
  m.def("_weight_of", weight_of, nb::arg("packed"), nb::arg("scheme"),
        "What was packed, in canonical form.");
  m.def(
      "shard",
      [](const Weight& weight, const std::string& axis, std::int64_t rank, std::int64_t world) {
        const ShardAxis parsed = parse_axis("shard", axis);
        return unlocked([&] { return shard(weight, parsed, rank, world); });
      },
      nb::arg("weight"), nb::arg("axis"), nb::arg("rank"), nb::arg("world"),
      "See octavo.sharding.shard.");
  m.def(
      "shard_range",
      [](const Weight& weight, const std::string& axis, std::int64_t rank, std::int64_t world) {
        const ShardRange range = shard_range(weight, parse_axis("shard_range", axis), rank, world);
        return nb::make_tuple(range.begin, range.end);
      },
      nb::arg("weight"), nb::arg("axis"), nb::arg("rank"), nb::arg("world"),
      "See octavo.sharding.shard_range.");
  m.def(
      "unshard",
      [](const std::vector<Weight>& parts, const std::string& axis) {
        const ShardAxis parsed = parse_axis("unshard", axis);
        return unlocked([&] { return unshard(parts, parsed); });
      },
      nb::arg("parts"), nb::arg("axis"), "See octavo.sharding.unshard.");
  m.def(
      "read_shard",
      [](const Checkpoint& checkpoint, const std::vector<std::string>& prefixes,
         const std::string& axis, std::int64_t rank, std::int64_t world) {
        const ShardAxis parsed = parse_axis("read_shard", axis);
        return unlocked([&] { return read_shard(checkpoint, prefixes, parsed, rank, world); });
      },
      nb::arg("checkpoint"), nb::arg("prefixes"), nb::arg("axis"), nb::arg("rank"),
      nb::arg("world"), "See octavo.sharding.read_shard.");
}

}  // namespace octavo::python
