// SPDX-License-Identifier: Apache-2.0
// Which paths count numbers below 2^-126 as 0, on machines with and without vdpbf16ps.
#include <gtest/gtest.h>

#include "backends/cpu/dot/machines.hpp"
#include "backends/cpu/dot/path.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::subnormal_path_test {
namespace {

// A machine with these kernels for bfloat16; they are chosen, not run.
cpu::DotMachine machine_with(const cpu::DotKernels* pairs) {
  cpu::DotMachine machine = cpu::dot_machine();
  machine.pairs = pairs;
  return machine;
}

TEST(SubnormalPaths, OfBfloat16AreLeftOnRequest) {
  if (cpu::dot_machine().floats == nullptr) GTEST_SKIP() << "this CPU has no AVX-512 F and BW";
  const cpu::DotKernels& floats = *cpu::dot_machine().floats;
  const cpu::DotKernels stand_in = floats;  // an address of its own
  constexpr DType kTypes[] = {int8, float8_e4m3fn, bfloat16, float16, float32};
  for (const bool fast : {false, true}) {
    const cpu::DotMachine machine = machine_with(fast ? &stand_in : nullptr);
    for (const DType a : kTypes) {
      for (const DType b : kTypes) {
        if (a == int8 && b == int8) continue;  // integers
        const Tensor left = Tensor::empty(a, {4, 32});
        const Tensor right = Tensor::empty(b, {32, 4});
        for (const bool exact : {false, true}) {
          const MatmulProblem problem =
              scaled_mm_problem(left, right, {.matmul = {.exact_subnormals = exact}});
          cpu::DotPath path;
          ASSERT_EQ(cpu::find_path(problem.single, problem.options, machine, path), nullptr);
          const bool eight = (a == int8 || a == float8_e4m3fn) && (b == int8 || b == float8_e4m3fn);
          const bool narrow = a != float16 && a != float32 && b != float16 && b != float32;
          const bool pairs = fast && narrow && (eight || !exact);
          EXPECT_EQ(path.on_the_fly != machine.floats, pairs) << name(a) << " @ " << name(b);
          EXPECT_EQ(cpu::flushes(problem.single, machine, path), pairs && !eight)
              << name(a) << " @ " << name(b);
        }
      }
    }
  }
}

// What is asked for is what comes out: subnormal elements and products count.
TEST(SubnormalPaths, KeepWhatTheyAreAskedTo) {
  const Tensor tiny =
      tensor_of(bfloat16, {3, 64}, [](std::int64_t i) { return i % 2 == 0 ? 0x1p-130 : 0x1p-70; });
  const Tensor other = tensor_of(bfloat16, {64, 5},
                                 [](std::int64_t i) { return i / 5 % 2 == 0 ? 0x1p100 : 0x1p-60; });
  for (const char* backend : usable_backends()) {
    const Tensor y =
        scaled_mm(tiny, other,
                  {.out_dtype = float32, .matmul = {.exact_subnormals = true}, .backend = backend});
    for (std::int64_t i = 0; i < y.numel(); ++i) {
      EXPECT_EQ(y.data_as<float>()[i], 32 * 0x1p-30F) << backend;
    }
    const Tensor products =
        scaled_mm(tiny.view().slice(1, 1, 2), other.view().slice(0, 1, 2),
                  {.out_dtype = float32, .matmul = {.exact_subnormals = true}, .backend = backend});
    EXPECT_EQ(*products.data_as<float>(), 0x1p-130F) << backend;
  }
}

}  // namespace
}  // namespace octavo::test::subnormal_path_test
