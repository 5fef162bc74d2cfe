// SPDX-License-Identifier: Apache-2.0
// Lent scratch memory: the announced size is enough at any alignment, one byte less is refused.
#include "kit/operands/operands.hpp"
#include "ops/helpers.hpp"
#include "support/guard.hpp"
#include "support/lines.hpp"

namespace octavo::test::workspace_test {
namespace {

std::vector<std::string> lines() {
  std::vector<std::string> all{
      "scaled_mm int8:int8:fp32 scale=token:channel 300x200x1000",
      "scaled_mm int8:int8:bf16 scale=token:channel bias 26x70x4100",
      "scaled_mm uint8:int8:bf16 scale=token:channel azp layout=strided 530x65x70",
      "scaled_mm int8:int8:int32 layout=reversed 7x65x70",
      "scaled_mm e4m3fn:e4m3fn:bf16 scale=group128:block128x128 130x200x300",
      "scaled_mm fp32:int8:fp32 quantize=int8 threshold=1 scale=token:channel 300x200x100",
      "grouped_mm int8:int8:fp32 split=list groups=5+300+0+7 312x70x40",
  };
  for (const char* file : {"fused", "grouped", "chunks"}) {
    for (const std::string& line : lines_of(file)) all.push_back(line);
  }
  return all;
}

class WorkspaceLines : public testing::TestWithParam<std::string> {};

TEST_P(WorkspaceLines, TheAnnouncedSizeIsEnoughBetweenGuardPages) {
  const ProblemLine line = parse_problem_line(GetParam());
  for (const char* backend : usable_backends()) {
    kit::Operands plain(line, kit::Content::gaussian);
    const LineProblem want = make_problem(line, plain);
    run(want.problem(), {}, backend);
    for (const int threads : {1, 3}) {
      ThreadExecutor executor(threads);
      ExecContext context{.executor = &executor};
      kit::Operands operands(line, kit::Content::gaussian);
      const LineProblem made = make_problem(line, operands);
      const std::size_t bytes = workspace_bytes(made.problem(), context, backend);
      for (const GuardedSide side : {GuardedSide::left, GuardedSide::right}) {
        const std::shared_ptr<void> memory = guarded(side)(bytes);
        const Workspace workspace{memory.get(), bytes};
        context.workspace = &workspace;
        kit::poison_outputs(operands);
        run(made.problem(), context, backend);
        EXPECT_TRUE(same_bits(made.problem(), want.problem())) << GetParam() << " on " << backend;
      }
    }
  }
}

// Memory that begins at an odd address.
std::shared_ptr<void> odd(std::size_t bytes) {
  const std::shared_ptr<void> block = kit::heap()(bytes + 1);
  return {block, static_cast<char*>(block.get()) + 1};
}

// Plans do not know addresses: what is enough for operands on whole lines is enough for others, to
// the byte.
TEST(WorkspaceSize, IsEnoughAtAnyAddress) {
  std::vector<std::string> all = lines();
  for (const char* file : {"types", "scales", "epilogue", "layouts"}) {
    for (const std::string& line : lines_of(file)) all.push_back(line);
  }
  for (const std::string& text : all) {
    const ProblemLine line = parse_problem_line(text);
    kit::Operands plain(line, kit::Content::gaussian);
    const LineProblem want = make_problem(line, plain);
    kit::Operands moved(line, kit::Content::gaussian, &odd);
    const LineProblem made = make_problem(line, moved);
    for (const char* backend : usable_backends()) {
      run(want.problem(), {}, backend);
      const std::size_t bytes = explain(want.problem(), {}, backend).workspace_bytes;
      const std::shared_ptr<void> memory = guarded(GuardedSide::right)(bytes);
      const Workspace workspace{memory.get(), bytes};
      run(made.problem(), {.workspace = &workspace}, backend);
      EXPECT_TRUE(same_bits(made.problem(), want.problem())) << text << " on " << backend;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Lines, WorkspaceLines, testing::ValuesIn(lines()),
                         [](const auto& test) { return "Line" + std::to_string(test.index); });

TEST(WorkspaceSize, OneByteLessThanAnnouncedIsRefusedWhereTheAlignmentNeedsIt) {
  const Tensor a = integers(int8, {50, 60}, 1);
  const Tensor b = integers(int8, {60, 70}, 2);
  const Tensor out = Tensor::empty(float32, {50, 70});
  const MatmulProblem problem = scaled_mm_problem(a, b, {.out = out});
  const ExecContext serial{.executor = &serial_executor()};
  const std::size_t bytes = workspace_bytes(problem, serial);
  ASSERT_GT(bytes, 0U);
  const Tensor memory = Tensor::empty(uint8, {static_cast<std::int64_t>(bytes) + 64});
  char* worst = memory.data_as<char>() + 1;  // 63 bytes before the next multiple of 64
  const auto run_in = [&](std::size_t size) {
    const Workspace workspace{worst, size};
    ExecContext context = serial;
    context.workspace = &workspace;
    run(problem, context);
  };
  run_in(bytes);
  expect_same_bits(out, scaled_mm(a, b));
  for (const std::size_t size : {bytes - 1, std::size_t{0}}) {
    fill_with_poison(out);
    expect_error([&] { run_in(size); }, Code::invalid_argument,
                 "scaled_mm: context.workspace.bytes must be at least " + std::to_string(bytes) +
                     " (workspace_bytes); got " + std::to_string(size),
                 true);
    for (const std::uint8_t byte : bytes_of(out)) ASSERT_EQ(byte, 0xA5);  // untouched
  }
  worst = nullptr;
  expect_error([&] { run_in(1 << 20); }, Code::invalid_argument,
               "scaled_mm: context.workspace.data must not be null; got null for 1048576 bytes",
               true);
}

TEST(WorkspaceSize, IsTheSameForAProblemAndItsExplanation) {
  const Tensor a = integers(int8, {50, 60}, 1);
  const Tensor b = integers(int8, {60, 70}, 2);
  const MatmulProblem problem = scaled_mm_problem(a, b);
  const std::size_t announced = explain(problem).workspace_bytes;
  EXPECT_EQ(workspace_bytes(problem), announced + 63);  // any alignment of the caller's memory
}

TEST(WorkspaceSize, IsZeroWhereTheReferenceNeedsNone) {
  const Tensor a = integers(int8, {5, 6}, 1);
  const Tensor b = integers(int8, {6, 7}, 2);
  EXPECT_EQ(workspace_bytes(scaled_mm_problem(a, b), {}, "reference"), 0U);
  const Workspace none;
  expect_same_bits(scaled_mm(a, b, {.backend = "reference"}, {.workspace = &none}),
                   scaled_mm(a, b));
}

}  // namespace
}  // namespace octavo::test::workspace_test
