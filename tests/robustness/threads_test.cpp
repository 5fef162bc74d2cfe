// SPDX-License-Identifier: Apache-2.0
// The same bits for any number of threads, any executor, any caller, and every time.
#include <atomic>
#include <thread>

#include "kit/operands/operands.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test::threads_test {
namespace {

const char* const kLines[] = {
    "scaled_mm int8:int8:fp32 scale=token:channel bias 37x300x530",
    "scaled_mm int8:int8:int32 3x1000x100",
    "scaled_mm uint8:int8:bf16 scale=token:group16 azp 130x65x200",
    "scaled_mm uint8:int8:bf16 scale=token:channel azp prepacked 200x129x200",
    "scaled_mm int8:int8:bf16 scale=token:channel bias beta=0.5 29x257x450",
    "scaled_mm e4m3fn:e4m3fn:bf16 scale=group128:block128x128 61x200x400",
    "scaled_mm fp32:fp32:fp32 beta=0.5 scale_result=vector 129x131x257",
    "scaled_mm bf16:int8:bf16 scale=none:channel prepacked 5x700x90",
    "scaled_mm fp32:int8:fp32 quantize=int8 threshold=2 scale=token:channel 70x200x300",
    "grouped_mm bf16:bf16:bf16 groups=50+0+3+77 140x90x100",
    "grouped_mm fp32:fp32:fp32 split=inner groups=100+0+56 60x90x160",
    "scaled_grouped_mm fp32:fp32:fp32 batch=3 64x60x40",
};

// Runs tasks backwards and says it has more threads than it has.
class Backwards final : public Executor {
 public:
  int concurrency() const noexcept override { return 13; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    calls_.fetch_add(1);
    for (std::int64_t i = tasks; i-- > 0;) task(context, i);
  }
  int calls() const { return calls_.load(); }

 private:
  std::atomic<int> calls_{0};
};

// Says another number every time it is asked.
class Fickle final : public Executor {
 public:
  int concurrency() const noexcept override { return 1 + asked_.fetch_add(1) % 5; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
  }

 private:
  mutable std::atomic<int> asked_{0};
};

class Threads : public testing::TestWithParam<const char*> {};

TEST_P(Threads, AnyExecutorGivesTheSameBits) {
  const ProblemLine line = parse_problem_line(GetParam());
  for (const char* backend : usable_backends()) {
    kit::Operands serial_operands(line, kit::Content::gaussian);
    const LineProblem want = make_problem(line, serial_operands);
    run(want.problem(), {.executor = &serial_executor()}, backend);
    ThreadExecutor one(1), two(2), three(3), seven(7);
    Backwards backwards;
    Fickle fickle;
    Executor* const executors[] = {&one,    &two,       &three,  &seven,
                                   nullptr, &backwards, &fickle, &serial_executor()};
    for (Executor* executor : executors) {
      for (int repeat = 0; repeat < 2; ++repeat) {
        kit::Operands operands(line, kit::Content::gaussian);
        const LineProblem made = make_problem(line, operands);
        run(made.problem(), {.executor = executor}, backend);
        EXPECT_TRUE(same_bits(made.problem(), want.problem())) << repro(GetParam(), backend);
      }
    }
    if (std::string(backend) == "generic") {
      EXPECT_GT(backwards.calls(), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Lines, Threads, testing::ValuesIn(kLines),
                         [](const auto& test) { return "Line" + std::to_string(test.index); });

TEST(ThreadedQuantizers, GiveTheSameBits) {
  const Tensor x = gaussians(float32, {70, 300}, 1, 3.0);
  ThreadExecutor seven(7);
  Backwards backwards;
  for (Executor* executor : {static_cast<Executor*>(&seven), static_cast<Executor*>(&backwards)}) {
    const ExecContext context{.executor = executor};
    for (const Granularity& g : {per_token(), group(32), block(16, 64), per_k()}) {
      const Quantized want = quantize(x, {.granularity = g}, {.executor = &serial_executor()});
      const Quantized got = quantize(x, {.granularity = g}, context);
      expect_same_bits(got.data, want.data);
      expect_same_bits(got.scale, want.scale);
      expect_same_bits(dequantize(got, bfloat16, context), dequantize(want, bfloat16));
    }
    const VectorwiseQuant want = int8_vectorwise_quant(x, {.threshold = 6});
    const VectorwiseQuant got = int8_vectorwise_quant(x, {.threshold = 6}, context);
    expect_same_bits(got.codes, want.codes);
    expect_same_bits(got.outlier_cols, want.outlier_cols);
  }
}

// Callers on threads of their own share a weight, the plan caches and the default executor.
TEST(ConcurrentCalls, DoNotDisturbEachOther) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = 6.0F;
  const PackedWeight weight = pack(integers(int8, {200, 150}, 1), {.activation = rule});
  struct Caller {
    Tensor x, want, got;
    bool equal = true;
  };
  std::vector<Caller> callers(4);
  for (unsigned i = 0; i < 4; ++i) {
    callers[i].x = gaussians(float32, {1 + 20 * static_cast<std::int64_t>(i), 200}, 10 + i, 3.0);
    callers[i].want = linear(callers[i].x, weight, {}, {.executor = &serial_executor()});
  }
  std::vector<std::thread> threads;
  for (Caller& caller : callers) {
    threads.emplace_back([&caller, &weight] {
      for (int repeat = 0; repeat < 25; ++repeat) {
        caller.got = linear(caller.x, weight);
        caller.equal =
            caller.equal && std::memcmp(caller.got.data(), caller.want.data(),
                                        static_cast<std::size_t>(caller.got.numel() * 4)) == 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Caller& caller : callers) EXPECT_TRUE(caller.equal);
}

}  // namespace
}  // namespace octavo::test::threads_test
