// SPDX-License-Identifier: Apache-2.0
// What a call of a layer costs on the ranks that mpiexec starts: column-parallel, its output left
// in parts, and row-parallel, exact. Compare ranks of one thread with one rank of as many, whose
// layers are measured whole (QuantizedLinear), too:
//
//   OCTAVO_NUM_THREADS=2 mpiexec -n 1 mpi_layers;  OCTAVO_NUM_THREADS=1 mpiexec -n 2 mpi_layers
//
// Weights are packed; four of each layer take turns, so that they come from memory. Medians of
// rounds.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "octavo/mpi.hpp"
#include "octavo/octavo.hpp"

namespace {

using namespace octavo;
using Clock = std::chrono::steady_clock;

constexpr int kWeights = 4;
constexpr int kRounds = 15;

Weight weight_of(std::int64_t n, std::int64_t k, Scheme scheme) {
  const Tensor w = Tensor::empty(DType::float32, {n, k});
  for (std::int64_t i = 0; i < w.numel(); ++i) {
    w.data_as<float>()[i] = static_cast<float>(i % 251) / 125.0F - 1.0F;
  }
  return quantize_weight(w, scheme);
}

// The median time of a call, in ms; a round begins on all ranks together.
template <class Call>
double time_of(Communicator& ranks, const Call& call) {
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kWeights; ++i) {
      std::int32_t ready = 0;
      ranks.all_reduce(Reduction::sum_int32, &ready, 1);
      const auto begin = Clock::now();
      call(static_cast<std::size_t>(i));
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

template <class Layer>
Layer made(const Weight& weight, const std::shared_ptr<Communicator>& ranks) {
  return Layer(weight, {}, ranks);
}
template <>
QuantizedLinear made(const Weight& weight, const std::shared_ptr<Communicator>&) {
  return QuantizedLinear(weight);
}

template <class Layer>
void measure(const char* name, const std::shared_ptr<Communicator>& ranks, std::int64_t n,
             std::int64_t k, Scheme scheme) {
  const Weight weight = weight_of(n, k, scheme);
  std::vector<Layer> layers;
  for (int i = 0; i < kWeights; ++i) layers.push_back(made<Layer>(weight, ranks));
  for (const std::int64_t m : {1, 16, 256}) {
    const Tensor x = Tensor::empty(DType::bfloat16, {m, k});
    std::fill_n(x.data_as<std::uint16_t>(), x.numel(), std::uint16_t{0x3F80});
    const double ms = time_of(*ranks, [&](std::size_t i) { (void)layers[i](x); });
    if (ranks->rank() == 0) {
      std::printf("%s %s %ldx%ldx%ld ranks=%d %.3f ms\n", name, scheme_name(scheme).data(),
                  static_cast<long>(m), static_cast<long>(n), static_cast<long>(k), ranks->size(),
                  ms);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  {
    const auto ranks = mpi_communicator();
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_dynamic}) {
      measure<ColumnParallelLinear>("column", ranks, 14336, 4096, scheme);
      measure<RowParallelLinear>("row", ranks, 4096, 14336, scheme);
      if (ranks->size() > 1) continue;
      measure<QuantizedLinear>("whole", ranks, 14336, 4096, scheme);
      measure<QuantizedLinear>("whole", ranks, 4096, 14336, scheme);
    }
  }
  MPI_Finalize();
  return 0;
}
