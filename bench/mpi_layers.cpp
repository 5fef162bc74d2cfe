// SPDX-License-Identifier: Apache-2.0
// What a call of a layer costs on the ranks that mpiexec starts: column-parallel, its output left
// in parts, row-parallel, exact, and experts, M tokens shared out like them. Compare ranks of one
// thread with one rank of as many, whose layers are measured whole (QuantizedLinear,
// fused_experts), too:
//
//   OCTAVO_NUM_THREADS=2 mpiexec -n 1 mpi_layers;  OCTAVO_NUM_THREADS=1 mpiexec -n 2 mpi_layers
//
// An argument, linear or experts, leaves the others out. Weights are packed; four of each layer
// take turns, so that they come from memory. Medians of rounds.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
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

constexpr std::int64_t kExperts = 8, kSlots = 2, kHidden = 2048, kInner = 1408;

// The experts of a range, each [N, K]; all of them have one scale for a row.
ExpertWeights packed(const Weight& all, std::int64_t n, const ShardRange& range) {
  const std::int64_t k = all.codes.data.size(1);
  const auto part = [&](const Tensor& t, std::int64_t columns) {
    TensorView view = t.view().slice(0, range.begin * n, range.end * n);
    view.rank = 3;
    view.shape = {range.size(), n, columns};
    view.strides = {n * columns, columns, 1};
    return view;
  };
  return pack_experts(part(all.codes.data, k),
                      {.scale = Scale(part(all.codes.scale, 1)), .activation = all.activation});
}

// `whole`: of one rank, without a communicator.
void measure_experts(const std::shared_ptr<Communicator>& ranks, Scheme scheme, bool whole) {
  const Weight all13 = weight_of(kExperts * 2 * kInner, kHidden, scheme);
  const Weight all2 = weight_of(kExperts * kHidden, kInner, scheme);
  const ShardRange own = expert_range(kExperts, ranks->rank(), ranks->size());
  std::vector<ExpertWeights> w13, w2;
  std::vector<ExpertParallelMoE> layers;
  for (int i = 0; i < kWeights; ++i) {
    w13.push_back(packed(all13, 2 * kInner, own));
    w2.push_back(packed(all2, kHidden, own));
    layers.emplace_back(w13.back(), w2.back(), kExperts, ranks);
  }
  for (const std::int64_t m : {1, 16, 256}) {
    // The first ranks have one more, where there are not as many for all.
    const std::int64_t first = (m * ranks->rank() + ranks->size() - 1) / ranks->size();
    const std::int64_t end = (m * (ranks->rank() + 1) + ranks->size() - 1) / ranks->size();
    const Tensor x = Tensor::empty(DType::bfloat16, {end - first, kHidden});
    std::fill_n(x.data_as<std::uint16_t>(), x.numel(), std::uint16_t{0x3F80});
    const Tensor weights = Tensor::empty(DType::float32, {end - first, kSlots});
    std::fill_n(weights.data_as<float>(), weights.numel(), 0.5F);
    const Tensor ids = Tensor::empty(DType::int32, {end - first, kSlots});
    for (std::int64_t t = first; t < end; ++t) {
      // Two experts, which for most tokens, the first one among them, are not on one rank of two.
      std::int32_t* to = ids.data_as<std::int32_t>() + (t - first) * kSlots;
      to[0] = static_cast<std::int32_t>(t * 3 % kExperts);
      to[1] = static_cast<std::int32_t>((t * 3 + 1 + (t * 5 + 3) % 7) % kExperts);
    }
    const double ms = time_of(*ranks, [&](std::size_t i) {
      if (whole) {
        (void)fused_experts(x, w13[i], w2[i], weights, ids);
      } else {
        (void)layers[i](x, weights, ids);
      }
    });
    if (ranks->rank() == 0) {
      std::printf("%s %s %ld tokens, %ld of %ld experts %ldx%ld ranks=%d %.3f ms\n",
                  whole ? "whole-experts" : "experts", scheme_name(scheme).data(),
                  static_cast<long>(m), static_cast<long>(kSlots), static_cast<long>(kExperts),
                  static_cast<long>(kHidden), static_cast<long>(kInner), ranks->size(), ms);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  {
    const auto ranks = mpi_communicator();
    const std::string only = argc > 1 ? argv[1] : "";
    const bool alone = ranks->size() == 1;
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_dynamic}) {
      if (only != "experts") {
        measure<ColumnParallelLinear>("column", ranks, 14336, 4096, scheme);
        measure<RowParallelLinear>("row", ranks, 4096, 14336, scheme);
        if (alone) measure<QuantizedLinear>("whole", ranks, 14336, 4096, scheme);
        if (alone) measure<QuantizedLinear>("whole", ranks, 4096, 14336, scheme);
      }
      if (only != "linear") {
        measure_experts(ranks, scheme, false);
        if (alone) measure_experts(ranks, scheme, true);
      }
    }
  }
  MPI_Finalize();
  return 0;
}
