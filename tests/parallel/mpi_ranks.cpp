// SPDX-License-Identifier: Apache-2.0
// Messages, layers and experts on MPI's processes: as many random ones as the arguments say.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "octavo/mpi.hpp"
#include "parallel/disagreement_checks.hpp"
#include "parallel/expert_checks.hpp"
#include "parallel/layer_checks.hpp"
#include "parallel/message_checks.hpp"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int failures = 0;
  try {
    const auto ranks = octavo::mpi_communicator();
    const auto overlapping =
        octavo::mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(60), true);
    const int kinds = octavo::test::layer_kinds();
    const int layers = argc > 1 ? std::atoi(argv[1]) : 4 * kinds;
    const int experts = argc > 2 ? std::atoi(argv[2]) : 4 * octavo::test::expert_kinds();
    const auto see = [&](const std::string& wrong, int seed) {
      if (wrong.empty()) return;
      ++failures;
      std::fprintf(stderr, "rank %d, seed %d: %s\n", ranks->rank(), seed, wrong.c_str());
    };
    for (int seed = 0; seed < 20; ++seed) {
      const auto s = static_cast<std::uint64_t>(seed);
      see(octavo::test::check_all_to_all(*ranks, s, 100000), seed);
    }
    // More than one block: of ranks that are few, since they all share this machine.
    if (ranks->size() <= 3) see(octavo::test::check_all_to_all(*ranks, 20, 40 << 20), 20);
    for (const int other : {0, ranks->size() - 1}) {
      if (ranks->size() == 1) break;
      see(octavo::test::check_disagreements(ranks, other), other);
    }
    for (int seed = 0; seed < layers; ++seed) {
      see(octavo::test::check_random_layer(seed % 2 == 0 ? ranks : overlapping,
                                           static_cast<std::uint64_t>(seed)),
          seed);
    }
    for (int seed = 0; seed < experts; ++seed) {
      see(octavo::test::check_random_experts(ranks, static_cast<std::uint64_t>(seed)), seed);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpi_ranks: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return failures == 0 ? 0 : 1;
}
