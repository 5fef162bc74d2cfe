// SPDX-License-Identifier: Apache-2.0
#include "ranks.hpp"

#include "errors.hpp"

#ifdef REVERSE_DICTIONARY_MPI
#include <exception>
#include <iostream>

#include "octavo/mpi.hpp"

namespace reverse_dictionary {

void on_ranks(const std::function<void(const Ranks&)>& body) {
  MPI_Init(nullptr, nullptr);
  try {
    body(octavo::mpi_communicator());
  } catch (const std::exception& error) {
    std::cerr << "reverse_dictionary: " << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
}

}  // namespace reverse_dictionary
#else
namespace reverse_dictionary {

void on_ranks(const std::function<void(const Ranks&)>&) {
  throw UsageError("--on-ranks: this program was built without MPI (OCTAVO_MPI=on asks for one)");
}

}  // namespace reverse_dictionary
#endif
