// SPDX-License-Identifier: Apache-2.0
// Layers on MPI's processes: as many random ones as the first argument says.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "octavo/mpi.hpp"
#include "parallel/layer_checks.hpp"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int failures = 0;
  try {
    const auto ranks = octavo::mpi_communicator();
    const int kinds = octavo::test::layer_kinds();
    const int count = argc > 1 ? std::atoi(argv[1]) : 4 * kinds;
    for (int seed = 0; seed < count; ++seed) {
      const std::string wrong =
          octavo::test::check_random_layer(ranks, static_cast<std::uint64_t>(seed));
      if (wrong.empty()) continue;
      ++failures;
      std::fprintf(stderr, "rank %d, seed %d: %s\n", ranks->rank(), seed, wrong.c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpi_ranks: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return failures == 0 ? 0 : 1;
}
