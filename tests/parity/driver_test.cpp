// SPDX-License-Identifier: Apache-2.0
// What problem lines cannot say: extreme operands, two scales per operand, a pool that nests calls.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "kit/oracle/oracle.hpp"
#include "octavo/octavo.hpp"
#include "support/guard.hpp"
#include "support/lines.hpp"

namespace octavo::test::driver_test {
namespace {

// Those that run every problem, and the one that is chosen by itself.
constexpr std::array<const char*, 3> kBackends{"", "generic", "reference"};

// Odd products near 255 * 127: float32 loses the last bit after 519 of them.
TEST(Driver, LargestOddProductsAddUpExactly) {
  for (const std::int64_t k : {519, 520, 1024, 1025, 4096, 33000}) {
    std::vector<std::uint8_t> a(static_cast<std::size_t>(k));
    std::vector<std::int8_t> b(a.size());
    std::int64_t want = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<std::uint8_t>(255 - 2 * (i % 3));
      b[i] = static_cast<std::int8_t>(127 - 2 * (i % 5));
      want += std::int64_t{a[i]} * b[i];
    }
    for (const char* backend : kBackends) {
      const auto product = [&](DType out) {
        return scaled_mm(view(a, {1, k}), view(b, {k, 1}), {.out_dtype = out, .backend = backend});
      };
      EXPECT_EQ(*product(int32).data_as<std::int32_t>(), want) << backend << ", K = " << k;
      EXPECT_EQ(*product(float32).data_as<float>(), static_cast<float>(want))
          << backend << ", K = " << k;
    }
  }
}

TEST(Driver, BothScalesOfEachOperandCount) {
  const float whole_a = 3.0F;
  const float whole_b = 0.3F;
  const TensorView one_a(&whole_a, DType::float32, {1, 1});
  const TensorView one_b(&whole_b, DType::float32, {1, 1});
  for (const char* text : {"scaled_mm e4m3fn:e4m3fn:fp32 scale=group16:block16x4 bias 9x70x50",
                           "scaled_mm int8:int8:fp32 scale=token:channel bias 9x70x50"}) {
    const ProblemLine line = parse_problem_line(text);
    kit::Operands operands(line, kit::Content::gaussian, guarded(GuardedSide::right));
    const LineProblem made = make_problem(line, operands);
    MatmulProblem problem = made.problem();
    problem.single.a.scale[1] = {ScaleKind::tensor, 1.0F, one_a, kWholeExtent, kWholeExtent};
    problem.single.b.scale[1] = {ScaleKind::tensor, 1.0F, one_b, kWholeExtent, kWholeExtent};
    for (const char* backend : kBackends) {
      run(problem, {}, backend);
      const kit::Verdict verdict = kit::compare_exact(problem);
      EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst << '\n' << repro(text, backend);
    }
  }
}

// A pool whose threads, before they do a task, begin another product on themselves.
class NestingExecutor final : public Executor {
 public:
  NestingExecutor(const MatmulProblem& inner, const char* backend) noexcept
      : inner_(inner), backend_(backend) {}
  int concurrency() const noexcept override { return 4; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    for (std::int64_t i = 0; i < tasks; ++i) {
      if (!nested_) {
        nested_ = true;
        run(inner_, {.executor = this}, backend_);
        nested_ = false;
        ever_ = true;
      }
      task(context, i);
    }
  }

  /// Whether a call was ever begun inside another.
  bool nested() const { return ever_; }

 private:
  const MatmulProblem& inner_;
  const char* backend_;
  bool nested_ = false;
  bool ever_ = false;
};

TEST(Driver, ACallInsideACallHasItsOwnScratchMemory) {
  // Enough work for several threads; zero points lie in the workspace while the tasks run.
  const char* text = "scaled_mm uint8:int8:fp32 scale=token:channel azp bias 70x260x200";
  const ProblemLine line = parse_problem_line(text);
  ProblemLine other = line;
  other.seed = 2;
  for (const char* backend : kBackends) {
    kit::Operands first(line, kit::Content::gaussian, guarded(GuardedSide::right));
    kit::Operands second(line, kit::Content::gaussian, guarded(GuardedSide::right));
    kit::Operands inner(other, kit::Content::gaussian, guarded(GuardedSide::right));
    const LineProblem plain = make_problem(line, first);
    const LineProblem nesting = make_problem(line, second);
    const LineProblem nested = make_problem(other, inner);
    run(plain.problem(), {}, backend);
    NestingExecutor executor(nested.problem(), backend);
    run(nesting.problem(), {.executor = &executor}, backend);  // now the thread keeps a block
    run(nesting.problem(), {.executor = &executor}, backend);
    EXPECT_TRUE(same_bits(nesting.problem(), plain.problem())) << repro(text, backend);
    EXPECT_TRUE(executor.nested() || std::string(backend) == "reference");
  }
}

}  // namespace
}  // namespace octavo::test::driver_test
