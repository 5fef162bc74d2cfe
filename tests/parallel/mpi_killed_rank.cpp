// SPDX-License-Identifier: Apache-2.0
// A rank that is killed while the others wait for it: mpiexec ends them, or their own timeout does.
// That it fails in time, and says why, killed_rank.cmake looks at.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "octavo/mpi.hpp"
#include "octavo/octavo.hpp"

int main(int argc, char** argv) {
  using namespace octavo;
  MPI_Init(&argc, &argv);
  const auto ranks = mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(10));
  const Tensor w = Tensor::empty(DType::float32, {32, 96});
  std::fill_n(w.data_as<float>(), w.numel(), 1.0F);
  const RowParallelLinear layer(quantize_weight(w, Scheme::int8_dynamic), {}, ranks);
  const Tensor x = Tensor::empty(DType::float32, {4, 96});
  std::fill_n(x.data_as<float>(), x.numel(), 1.0F);
  try {
    for (int call = 0;; ++call) {
      if (call == 100 && ranks->rank() == 1) std::raise(SIGKILL);
      (void)layer(x);
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "rank %d: %s: %s\n", ranks->rank(), code_name(error.code()), error.what());
  }
  std::_Exit(1);  // what was begun is not finished, so neither is MPI
}
