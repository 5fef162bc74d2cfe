// SPDX-License-Identifier: Apache-2.0
// Small kernels as lambdas: under every landing and several seeds, with the faults that they meet.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "simulator/machine.hpp"

namespace octavo::test {

using cuda::Swizzle;
using cuda::TensorMap;
using cuda::simulator::Counters;
using cuda::simulator::Fault;
using cuda::simulator::Landing;
using cuda::simulator::Launch;
using cuda::simulator::Machine;
using cuda::simulator::Options;

/// The schedules that every test of the simulator runs: three landings, `seeds` seeds of each.
inline std::vector<Options> schedules(std::uint64_t seeds = 3) {
  std::vector<Options> all;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    for (const Landing landing : {Landing::eager, Landing::random, Landing::late}) {
      Options options;
      options.seed = seed;
      options.landing = landing;
      all.push_back(options);
    }
  }
  return all;
}

/// The fault that a schedule meets, empty if none.
template <class Kernel>
std::string fault_of(const Launch& launch, const Options& options, const Kernel& kernel) {
  try {
    cuda::simulator::simulate(launch, options, kernel);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "";
}

/// Runs in all schedules without a fault.
template <class Kernel>
void expect_right(const Launch& launch, const Kernel& kernel) {
  for (const Options& options : schedules()) EXPECT_EQ("", fault_of(launch, options, kernel));
}

/// Every schedule meets a fault whose sentence has `words`.
template <class Kernel>
void expect_fault(const Launch& launch, const std::string& words, const Kernel& kernel) {
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(launch, options, kernel);
    EXPECT_NE(std::string::npos, fault.find(words))
        << "expected: ... " << words << " ...\n     got: " << (fault.empty() ? "no fault" : fault);
  }
}

inline Launch threads(std::uint32_t count, std::uint32_t shared_bytes = 65536) {
  Launch launch;
  launch.threads = count;
  launch.shared_bytes = shared_bytes;
  launch.registers = 128;
  return launch;
}
inline Launch cluster(std::uint32_t ctas, std::uint32_t count, std::uint32_t shared_bytes = 65536) {
  Launch launch = threads(count, shared_bytes);
  launch.blocks = launch.cluster = ctas;
  return launch;
}

/// A matrix of bytes in global memory, at a multiple of 16, rows at a pitch that is one.
class ByteMatrix {
 public:
  ByteMatrix(std::int64_t rows, std::int64_t columns)
      : rows_(rows),
        columns_(columns),
        pitch_((columns + 15) / 16 * 16),
        storage_(static_cast<std::size_t>(rows * pitch_ + 16)) {}
  std::uint8_t* row(std::int64_t r) { return base() + r * pitch_; }
  std::uint8_t& at(std::int64_t r, std::int64_t c) { return row(r)[c]; }
  /// 128 bytes of K by `box_rows` rows, swizzled.
  TensorMap map(int box_rows, Swizzle swizzle = Swizzle::bytes_128, int box_columns = 128) {
    TensorMap map;
    map.base = base();
    map.extent[0] = columns_;
    map.extent[1] = rows_;
    map.pitch[1] = pitch_;
    map.box[0] = box_columns;
    map.box[1] = box_rows;
    map.swizzle = swizzle;
    return map;
  }

 private:
  std::uint8_t* base() {
    return reinterpret_cast<std::uint8_t*>(
        (reinterpret_cast<std::uintptr_t>(storage_.data()) + 15) / 16 * 16);
  }
  std::int64_t rows_, columns_, pitch_;
  std::vector<std::uint8_t> storage_;
};

}  // namespace octavo::test
