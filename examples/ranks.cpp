// SPDX-License-Identifier: Apache-2.0
// Two layers on MPI's processes: `mpiexec -n 2 ranks` prints that they have the bits of one
// process.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <vector>

#include "octavo/mpi.hpp"
#include "octavo/octavo.hpp"

namespace {

std::vector<float> waves(std::int64_t count, float step) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(step * static_cast<float>(i));
  return values;
}

bool same_bits() {
  const auto w1 = waves(512 * 256, 0.7F), w2 = waves(256 * 512, 0.3F), input = waves(4 * 256, 1.1F);
  const octavo::TensorView x = octavo::view(input, {4, 256});
  const octavo::Weight up =
      octavo::quantize_weight(octavo::view(w1, {512, 256}), octavo::Scheme::int8_dynamic);
  const octavo::Weight down =
      octavo::quantize_weight(octavo::view(w2, {256, 512}), octavo::Scheme::int8_dynamic);

  // [RANKS]
  const auto ranks = octavo::mpi_communicator();  // after MPI_Init
  const auto first = octavo::ColumnParallelLinear::of_part(
      octavo::shard(up, octavo::ShardAxis::columns, ranks->rank(), ranks->size()), {}, ranks);
  const auto second = octavo::RowParallelLinear::of_part(
      octavo::shard(down, octavo::ShardAxis::rows, ranks->rank(), ranks->size()), {}, ranks);
  const octavo::Tensor y = second(first(x));  // x and y are whole on every rank
  // [/RANKS]

  const octavo::Tensor whole = octavo::QuantizedLinear(down)(octavo::QuantizedLinear(up)(x));
  const auto* got = y.data_as<float>();
  const auto* want = whole.data_as<float>();
  return std::equal(got, got + 4 * 256, want);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const bool same = same_bits();
  std::cout << (same ? "the same bits\n" : "other bits\n");
  MPI_Finalize();
  return same ? 0 : 1;
}
