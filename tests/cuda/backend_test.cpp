// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend does on the host beside products: streams, memory, captured graphs, and
// sentences for what a driver may refuse.
#include <array>
#include <string>
#include <thread>
#include <vector>

#include "core/devices/cuda_devices.hpp"
#include "cuda/backend_kit.hpp"

namespace octavo::test::backend_test {
namespace {

TEST_F(CudaBackend, WorkWaitsForItsOwnStreamAndTheCallersContextStays) {
  auto* const context = reinterpret_cast<cuda::DriverContext*>(0x77);
  ASSERT_EQ(cuda::driver()->push_context(context), cuda::kSuccess);
  int one = 0, two = 0;
  const Tensor a = to_device(a_), b = to_device(b_);
  const Tensor first = multiply(a, b, {.stream = &one});
  const Tensor second = multiply(a, b, {.stream = &two});
  const Tensor near = copy(first, Place{{}, &one});
  expect_same_bits(near, want());
  expect_same_bits(copy(second, Place{{}, &two}), want());
  cuda::DriverContext* current = nullptr;
  ASSERT_EQ(cuda::driver()->pop_context(&current), cuda::kSuccess);
  EXPECT_EQ(current, context);
}

TEST_F(CudaBackend, ThreadsCallOnStreamsOfTheirOwn) {
  const Tensor a = to_device(a_), b = to_device(b_), expected = want();
  std::array<int, 4> streams{};
  std::array<Tensor, 4> results;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int turn = 0; turn < 5; ++turn)
        results[i] = copy(multiply(a, b, {.stream = &streams[i]}), Place{{}, &streams[i]});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tensor& result : results) expect_same_bits(result, expected);
}

TEST_F(CudaBackend, MemoryIsGivenBack) {
  {
    const Tensor a = to_device(a_), b = to_device(integers(int8, {kK, kN}, 3));
    const Tensor out = scaled_mm(a, b, {.out_dtype = float8_e4m3fnuz});  // copies, sums, finish
    (void)to_host(out);
    EXPECT_GT(allocated_bytes(), used_);
  }
  ASSERT_TRUE(find_kind(DeviceType::cuda)->memory->wait({kHopper, nullptr}).ok());
  EXPECT_EQ(allocated_bytes(), used_);
}

TEST_F(CudaBackend, AGraphRunsAgainOnNewValues) {
  int stream = 0;
  const Place place{kHopper, &stream};
  const Tensor a = to_device(a_), b = to_device(integers(int8, {kK, kN}, 3));
  const Tensor out = Tensor::empty(bfloat16, {kM, kN}, place);
  const auto call = [&] {
    (void)scaled_mm(a, b, {.scale_a = 0.5, .out_dtype = bfloat16, .out = out},
                    {.device = kHopper, .stream = &stream});
  };
  call();  // what is made once is made before
  begin_capture(&stream);
  call();
  const int graph = end_capture(&stream);
  for (unsigned seed = 5; seed < 8; ++seed) {
    const Tensor values = integers(int8, {kM, kK}, seed);
    ASSERT_TRUE(cuda::kCudaMemory.copy(values, a, kM * kK, &stream).ok());
    launch_graph(graph, &stream);
    expect_same_bits(
        copy(out, Place{{}, &stream}),
        scaled_mm(values, integers(int8, {kK, kN}, 3), {.scale_a = 0.5, .out_dtype = bfloat16}));
  }
}

TEST_F(CudaBackend, WhatWaitsIsRefusedInACapturedStream) {
  int stream = 0;
  const Tensor a = to_device(a_);
  begin_capture(&stream);
  const std::string sentence = failure([&] { (void)copy(a_, Place{kHopper, &stream}); });
  (void)end_capture(&stream);
  expect_part(sentence, "stream must not be captured");
}

TEST_F(CudaBackend, FailuresOfTheDriverSayWhereAndWhat) {
  const Tensor a = to_device(a_), b = to_device(b_);
  (void)multiply(a, b);
  fail_driver("cuLaunchKernel", 1);
  const std::string launch = failure([&] { (void)multiply(a, b); });
  expect_part(launch,
              "octavo_few_rows_s8_of32_32: launch must be accepted; got CUDA_ERROR_INVALID_VALUE");
  expect_part(launch, "blocks of 160 threads");
  fail_driver("cuMemAllocFromPoolAsync", 2);
  expect_part(failure([&] { (void)multiply(a, b); }), "must be available");
  fail_driver("cuMemcpyAsync", 719);
  expect_part(failure([&] { (void)to_host(a); }), "CUDA_ERROR_LAUNCH_FAILED");
  expect_same_bits(to_host(multiply(a, b)), want());  // none of them stays
}

TEST_F(CudaBackend, AKernelThatLeavesItsMemoryShowsWhenItIsWaitedFor) {
  const Tensor a = to_device(a_), b = to_device(b_);
  TensorView longer = a;
  longer.shape[0] = 2 * kM;
  const Tensor out = scaled_mm(longer, b.transposed());
  const std::string sentence = failure([&] { (void)to_host(out); });
  expect_part(sentence, "CUDA_ERROR_LAUNCH_FAILED");
  expect_part(sentence, "are in no allocation");
}

}  // namespace
}  // namespace octavo::test::backend_test
