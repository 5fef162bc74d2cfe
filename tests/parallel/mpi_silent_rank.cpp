// SPDX-License-Identifier: Apache-2.0
// A rank that does not answer is an error on the others, after a bounded time: rank 1 sleeps, and
// the others say what they got.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>

#include "octavo/mpi.hpp"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  {
    const auto ranks = octavo::mpi_communicator(MPI_COMM_WORLD, std::chrono::milliseconds(300));
    if (ranks->rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(3));
    for (int call = 0; call < 2 && ranks->rank() != 1; ++call) {
      std::int32_t value = 1;
      try {
        ranks->all_reduce(octavo::Reduction::sum_int32, &value, 1);
      } catch (const octavo::Error& error) {
        std::printf("%s: %s\n", octavo::code_name(error.code()), error.what());
      }
    }
  }
  std::fflush(stdout);
  std::_Exit(0);  // what was begun is not finished, so neither is MPI
}
