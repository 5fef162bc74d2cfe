// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend does on the host: launches, tensor maps, streams, memory, captured graphs,
// and sentences for what a driver may refuse.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/cuda/devices.hpp"
#include "cuda/device_kit.hpp"
#include "kit/element.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/simulated_driver.hpp"

namespace octavo::test {
namespace {

class CudaBackend : public testing::Test {
 protected:
  void SetUp() override {
    reset_simulated_driver();
    used_ = allocated_bytes();
  }
  void TearDown() override { reset_simulated_driver(); }

  static constexpr std::int64_t kM = 20, kN = 48, kK = 64;
  Tensor a_ = integers(int8, {kM, kK}, 1);
  Tensor b_ = integers(int8, {kN, kK}, 2);  // rows of K: what TMA takes
  std::size_t used_ = 0;

  Tensor want() const { return scaled_mm(a_, b_.transposed(), {.scale_a = 0.5}); }
  // One call on a device, with the weight there as rows of K.
  static Tensor multiply(const Tensor& a, const Tensor& b, const ExecContext& context = {}) {
    return scaled_mm(a, b.transposed(), {.scale_a = 0.5}, context);
  }
};

// The sentence that a call fails with; empty where it does not.
template <class Call>
std::string failure(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
void expect_part(const std::string& sentence, const std::string& part) {
  EXPECT_NE(sentence.find(part), std::string::npos) << sentence << "\nhas no: " << part;
}

TEST_F(CudaBackend, AProductIsOneLaunchAndAWeightsMapIsKept) {
  const Tensor a = to_device(a_), b = to_device(b_);
  const Tensor first = multiply(a, b);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_few_rows_s8_of32_32", 1}}));
  EXPECT_EQ(encoded_maps(), 3);
  const Tensor other = to_device(a_);
  const Tensor second = multiply(other, b);
  EXPECT_EQ(encoded_maps(), 5);  // of A and of the output
  EXPECT_EQ(first.device(), kHopper);
  expect_same_bits(to_host(first), want());
  expect_same_bits(to_host(second), want());
}

TEST_F(CudaBackend, RowsDecideWhichKernelMultiplies) {
  const Tensor b = to_device(b_);
  for (const auto& [rows, kernel] : {std::pair{std::int64_t{16}, "octavo_few_rows_s8_of16_32"},
                                     {std::int64_t{64}, "octavo_few_rows_s8_of64_32"},
                                     {std::int64_t{65}, "octavo_dense_s8_32"}}) {
    const Tensor near = integers(int8, {rows, kK}, 1);
    const Tensor a = to_device(near);
    reset_simulated_driver();
    const Tensor out = multiply(a, b);
    EXPECT_EQ(launches(), (std::map<std::string, int>{{kernel, 1}}));
    expect_same_bits(to_host(out), scaled_mm(near, b_.transposed(), {.scale_a = 0.5}));
    const Explanation e = explain(scaled_mm_problem(a, b.transposed(), {}));
    expect_part(e.to_string(), rows <= 64 ? "few rows" : "128x256 tiles");
  }
}

// Nothing is brought over, so that the call can be captured: who replays it has its offsets then.
TEST_F(CudaBackend, GroupsOfRowsAreOneLaunch) {
  const Tensor near = integers(int8, {90, kK}, 1), weights = integers(int8, {3, kN, kK}, 2);
  const Tensor first = values(int32, {3}, {20, 20, 90}), second = values(int32, {3}, {1, 64, 80});
  const Tensor a = to_device(near), b = to_device(weights), offs = to_device(first);
  const auto want = [&](const Tensor& ends) {
    return grouped_mm(near, weights.transposed(), {.offs = ends});
  };
  int stream = 0;
  const Tensor out = Tensor::empty(float32, {90, kN}, {kHopper, &stream});
  const std::string said =
      explain(grouped_mm_problem(a, b.transposed(), {.offs = offs, .out = out})).to_string();
  expect_part(said,
              "one launch for all groups: dense 128x256 tiles, clusters of 2: exact integer sums");
  const auto call = [&] {
    (void)grouped_mm(a, b.transposed(), {.offs = offs, .out = out},
                     {.device = kHopper, .stream = &stream});
  };
  reset_simulated_driver();
  call();
  expect_same_bits(copy(out, Place{{}, &stream}), want(first));
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert", 1},  // offsets, to int64
                                                    {"octavo_cut_rows", 1},
                                                    {"octavo_dense_s8_32", 1}}));
  begin_capture(&stream);
  call();
  const int graph = end_capture(&stream);
  for (const Tensor& ends : {second, first}) {
    ASSERT_TRUE(cuda::kCudaMemory.copy(ends, offs, 3 * sizeof(std::int32_t), &stream).ok());
    launch_graph(graph, &stream);
    expect_same_bits(copy(out, Place{{}, &stream}), want(ends));
  }
}

// Of 1x128 by 128x128 blocks, as DeepSeek's: one launch, whatever the scales' type, of groups too.
TEST_F(CudaBackend, ScalesOfEvery128OfKAreTakenByTheTensorCores) {
  constexpr std::int64_t kDeep = 304, kCells = 3;
  const auto said = [](const MatmulProblem& problem) { return explain(problem).to_string(); };
  const Tensor a = to_device(gaussians(float8_e4m3fn, {kM, kDeep}, 1)),
               b = to_device(gaussians(float8_e4m3fn, {3, kN, kDeep}, 2));
  const Tensor far_scale = to_device(uniforms(float32, {kM, kCells}, 3));
  const auto weight = [&](DType dtype, const Shape& shape) {
    return to_device(uniforms(dtype, shape, 4));
  };
  const Tensor blocks = weight(float32, {kCells, 1}), powers = weight(float8_e8m0fnu, {kCells, 1}),
               small = weight(float32, {10, kN}), of_groups = weight(float32, {3, kCells, 1});
  const auto launched = [&](const Scale& scale_b) {
    reset_simulated_driver();
    (void)scaled_mm(
        a, b.view()[0].transposed(),
        {.scale_a = {far_scale, group(128)}, .scale_b = scale_b, .out_dtype = bfloat16});
    return launches();
  };
  EXPECT_EQ(launched({blocks, block(128, 128)}),
            (std::map<std::string, int>{{"octavo_few_rows_e4m3_scaled_of32_16", 1}}));
  EXPECT_EQ(launched({powers, block(128, 128)}),
            (std::map<std::string, int>{{"octavo_convert", 1},
                                        {"octavo_few_rows_e4m3_scaled_of32_16", 1}}));
  // What wgmma's kernels do not take is for mma.sync's, on Hopper, too.
  EXPECT_EQ(launched({small, group(32)}),
            (std::map<std::string, int>{{"octavo_mma_e4m3_scaled_small", 1}}));
  const std::string by_mma =
      said(scaled_mm_problem(a, b.view()[0].transposed(),
                             {.scale_a = {far_scale, group(128)}, .scale_b = {small, group(32)}}));
  expect_part(by_mma, "scales that vary along K otherwise than by multiples of 128");
  expect_part(by_mma, "fp8 widened to fp16, sums of cells of K, each by its scales");
  const Tensor odd = weight(float32, {7, kN});
  EXPECT_EQ(launched({odd, group(48)}), (std::map<std::string, int>{{"octavo_product", 1}}));
  const Tensor ends = to_device(values(int32, {3}, {5, 5, 18}));
  const GroupedOptions options{.offs = ends,
                               .out_dtype = bfloat16,
                               .scale_a = {far_scale, group(128)},
                               .scale_b = {of_groups, block(128, 128)}};
  reset_simulated_driver();
  (void)grouped_mm(a, b.transposed(), options);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert", 1},  // offsets, to int64
                                                    {"octavo_cut_rows", 1},
                                                    {"octavo_dense_e4m3_scaled_32", 1}}));
  expect_part(
      said(grouped_mm_problem(a, b.transposed(), options)),
      "one launch for all groups: dense 128x128 tiles, clusters of 2: fp8 sums of every 128 "
      "of K, each by its scales");
}

// Of MX and of integers on groups: one launch of mma.sync's kernel, whose plan says so.
TEST_F(CudaBackend, ScalesOfEvery32OfKAreTakenByMmaSync) {
  constexpr std::int64_t kDeep = 304, kCells = 10;
  const Tensor ends = to_device(values(int32, {3}, {5, 5, 18}));
  for (const DType dtype : {float8_e5m2, int8}) {
    const Tensor a = to_device(dtype == int8 ? integers(int8, {kM, kDeep}, 1)
                                             : gaussians(dtype, {kM, kDeep}, 1)),
                 b = to_device(dtype == int8 ? integers(int8, {3, kN, kDeep}, 2)
                                             : gaussians(dtype, {3, kN, kDeep}, 2));
    const Tensor scale_a = to_device(uniforms(float32, {kM, kCells}, 3)),
                 scale_b = to_device(uniforms(float32, {3, kCells, kN}, 4));
    const GroupedOptions options{.offs = ends,
                                 .out_dtype = bfloat16,
                                 .scale_a = {scale_a, group(32)},
                                 .scale_b = {scale_b, group(32)}};
    reset_simulated_driver();
    (void)grouped_mm(a, b.transposed(), options);
    const std::string kernel =
        dtype == int8 ? "octavo_mma_s8_scaled_small" : "octavo_mma_e5m2_scaled_small";
    EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert", 1},  // offsets, to int64
                                                      {"octavo_cut_rows", 1},
                                                      {kernel, 1}}));
    expect_part(explain(grouped_mm_problem(a, b.transposed(), options)).to_string(),
                dtype == int8 ? "one launch for all groups: mma.sync, tiles of 128x128 or 32x64: "
                                "exact integer sums of cells of K, each by its scales"
                              : "fp8 widened to fp16, sums of cells of K, each by its scales");
  }
}

// Of groups' scales that are not float32, too: those of all are converted at once.
TEST_F(CudaBackend, ScalesOfAllGroupsAreConvertedTogether) {
  constexpr std::int64_t kDeep = 128, kCells = 4;
  const Tensor a = to_device(gaussians(float8_e4m3fn, {kM, kDeep}, 1)),
               b = to_device(gaussians(float8_e4m3fn, {3, kN, kDeep}, 2)),
               scale_a = to_device(uniforms(float8_e8m0fnu, {kM, kCells}, 3)),
               scale_b = to_device(uniforms(float8_e8m0fnu, {3, kCells, kN}, 4));
  reset_simulated_driver();
  (void)grouped_mm(a, b.transposed(),
                   {.offs = to_device(values(int32, {3}, {5, 5, 18})),
                    .out_dtype = bfloat16,
                    .scale_a = {scale_a, group(32)},
                    .scale_b = {scale_b, group(32)}});
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert", 3},
                                                    {"octavo_cut_rows", 1},
                                                    {"octavo_mma_e4m3_scaled_small", 1}}));
}

// A plan knows no offsets: it says what decides, and the launches agree.
TEST_F(CudaBackend, ExplainSaysThatGroupsAreLaunchedOneByOne) {
  const Tensor near = integers(int8, {90, kK}, 1), weights = integers(int8, {3, kN, kK}, 2);
  const Tensor ends = values(int32, {3}, {20, 20, 90});
  const Tensor a = to_device(near), b = to_device(weights), offs = to_device(ends);
  const auto product = [](const Tensor& x, const Tensor& w, const Tensor& offsets) {
    return grouped_mm(x, w.transposed(), {.offs = offsets, .out_dtype = float8_e4m3fnuz});
  };
  const std::string said =
      explain(grouped_mm_problem(a, b.transposed(), {.offs = offs, .out_dtype = float8_e4m3fnuz}))
          .to_string();
  expect_part(said,
              "a launch for each group, a device's offsets come to the host: few rows up to "
              "64 of them, dense 128x256 tiles for more: exact integer sums; a pass finishes");
  reset_simulated_driver();
  const Tensor out = product(a, b, offs);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert", 1},  // the offsets
                                                    {"octavo_few_rows_s8_of32_32", 1},
                                                    {"octavo_dense_s8_32", 1},
                                                    {"octavo_finish", 2}}));
  expect_same_bits(to_host(out), product(near, weights, ends));
  // Of so few rows in all no group has more.
  const MatmulProblem small = grouped_mm_problem(to_device(a_), b.transposed(),
                                                 {.offs = offs, .out_dtype = float8_e4m3fnuz});
  expect_part(explain(small).to_string(), "come to the host: few rows, 64 columns a tile");
}

// LLM.int8's are added by the kernels of int8, and by a pass beside those of uint8.
TEST_F(CudaBackend, OutliersAreOneLaunch) {
  const Tensor a = to_device(a_), b = to_device(b_),
               original = to_device(gaussians(float16, {kM, kK}, 5)),
               columns = to_device(values(int64, {2}, {3, 9})),
               out = to_device(Tensor::empty(float32, {kM, kN}));
  MatmulProblem problem = scaled_mm_problem(a, b.transposed(), {.out = out});
  problem.single.epilogue.outliers.a = original.view();
  problem.single.epilogue.outliers.columns = ColumnList(columns);
  reset_simulated_driver();
  run(problem, {}, "sm80");
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_mma_s8_outliers_small", 1}}));
  reset_simulated_driver();
  run(problem, {}, "sm90");
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_few_rows_s8_outliers_of32_32", 1}}));
  const Tensor unsigned_a = to_device(integers(uint8, {kM, kK}, 6));
  problem.single.a.data = unsigned_a.view();
  reset_simulated_driver();
  run(problem, {}, "sm90");
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_few_rows_u8_s8_of32_32", 1},
                                                    {"octavo_finish_sums", 1}}));
}

// Two of six experts have no route; each of the two products is one launch all the same.
TEST_F(CudaBackend, ExpertsAreALaunchForEachOfTheTwoProducts) {
  constexpr std::int64_t kExperts = 6, kSlots = 2, kInner = 32;
  const Tensor ids = Tensor::empty(int32, {kM, kSlots});
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    constexpr std::int32_t kRouted[] = {5, 0, 1, 3, 0, 5};
    ids.data_as<std::int32_t>()[i] = kRouted[i % 6];
  }
  PackExpertsOptions options;
  options.activation.emplace();
  const Tensor w13 = integers(int8, {kExperts, 2 * kInner, kK}, 3, -128, 127),
               w2 = integers(int8, {kExperts, kN, kInner}, 4, -128, 127),
               x = gaussians(bfloat16, {kM, kK}, 8),
               factors = uniforms(float32, {kM, kSlots}, 2, 0.1, 0.9);
  const auto experts = [&](const auto& where) {
    const Tensor scales = where(uniforms(float32, {kExperts, 2 * kInner}, 5)),
                 scales2 = where(uniforms(float32, {kExperts, kN}, 6));
    options.scale = {scales, per_channel()};
    const ExpertWeights first = pack_experts(where(w13), options);
    options.scale = {scales2, per_channel()};
    const ExpertWeights second = pack_experts(where(w2), options);
    reset_simulated_driver();
    return fused_experts(where(x), first, second, where(factors), where(ids));
  };
  const Tensor got = experts([](const Tensor& near) { return to_device(near); });
  EXPECT_EQ(launches().at("octavo_dense_s8_32"), 2);
  EXPECT_EQ(launches().at("octavo_cut_rows"), 2);
  EXPECT_EQ(launches().count("octavo_few_rows_s8_of32_32"), 0U);
  expect_same_bits(to_host(got), experts([](const Tensor& near) { return near; }));
}

TEST_F(CudaBackend, ExplainSaysThatProductsOfAListDiffer) {
  const Tensor few = to_device(a_), many = to_device(integers(int8, {70, kK}, 1)),
               b = to_device(b_);
  const auto said = [&](const Tensor& first, const Tensor& second, DType out) {
    const std::vector<Tensor> outs{Tensor::empty(float32, {first.size(0), kN}, {kHopper, nullptr}),
                                   Tensor::empty(out, {second.size(0), kN}, {kHopper, nullptr})};
    std::vector<Member> list(2);
    for (std::size_t i = 0; i < 2; ++i) {
      list[i] = scaled_mm_problem(i == 0 ? first : second, b.transposed(), {}).single;
      list[i].out = outs[i].view();
    }
    MatmulProblem problem;
    problem.groups.split = Split::list;
    problem.groups.list = list;
    return explain(problem).to_string();
  };
  expect_part(said(few, many, bfloat16), "by kernels that differ with its rows or types");
  expect_part(said(few, many, float32), "one launch where the list lies as groups do");
}

TEST_F(CudaBackend, OperandsThatTmaCannotTakeAreCopied) {
  const Tensor a = to_device(integers(int8, {kK, kM}, 1).transposed());  // rows lie together
  const Tensor b = to_device(b_);
  reset_simulated_driver();
  const Tensor out = multiply(a, b);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert_turned", 1},
                                                    {"octavo_few_rows_s8_of32_32", 1}}));
  expect_same_bits(to_host(out), scaled_mm(to_host(a), b_.transposed(), {.scale_a = 0.5}));
}

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

TEST_F(CudaBackend, AnOlderDeviceMultipliesByMmaSync) {
  const Tensor a = to_device(a_, kOlder), b = to_device(b_, kOlder);
  const MatmulProblem problem = scaled_mm_problem(a, b.transposed(), {.scale_a = 0.5});
  const Explanation e = explain(problem);
  EXPECT_EQ(e.candidates[0].backend, "sm90");
  EXPECT_FALSE(e.candidates[0].accepts);
  EXPECT_EQ(e.candidates[0].reason, "the device's compute capability is not 9.0");
  EXPECT_EQ(e.candidates[1].backend, "sm80");
  EXPECT_TRUE(e.candidates[1].chosen);
  EXPECT_EQ(e.candidates[2].backend, "cuda");
  expect_part(e.to_string(), "mma.sync, tiles of 128x128 or 32x64: exact integer sums");
  reset_simulated_driver();
  expect_same_bits(to_host(multiply(a, b)), want());
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_mma_s8_small", 1}}));
  // Tiles that fill half of four multiprocessors.
  const Tensor many = integers(int8, {129, kK}, 4), there = to_device(many, kOlder);
  reset_simulated_driver();
  expect_same_bits(to_host(multiply(there, b)), scaled_mm(many, b_.transposed(), {.scale_a = 0.5}));
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_mma_s8_large", 1}}));
}

// What the tensor cores do not take, and what takes it.
TEST_F(CudaBackend, AnOlderDeviceRunsTheGeneralKernelElsewhere) {
  const Tensor a = to_device(gaussians(float32, {kM, kK}, 1), kOlder),
               b = to_device(gaussians(float32, {kK, kN}, 2), kOlder);
  const MatmulProblem floats = scaled_mm_problem(a, b, {});
  const Explanation e = explain(floats);
  EXPECT_FALSE(e.candidates[1].accepts);
  EXPECT_TRUE(e.candidates[2].chosen);
  // Whether tensor cores keep e5m2's subnormal values as fp16 is not written down; e4m3's are none.
  for (const DType dtype : {float8_e4m3fn, float8_e5m2}) {
    const Tensor x = to_device(gaussians(float32, {kM, kK}, 1).to(dtype), kOlder),
                 y = to_device(gaussians(float32, {kN, kK}, 2).to(dtype), kOlder);
    ScaledMmOptions options;
    options.matmul.exact_subnormals = true;
    const Explanation fp8 = explain(scaled_mm_problem(x, y.transposed(), options));
    EXPECT_EQ(fp8.candidates[1].accepts, dtype == float8_e4m3fn) << name(dtype);
  }
}

// Of positive operands, whose sums lose the most: what explain says bounds what comes out.
TEST_F(CudaBackend, Fp8SumsStayWithinWhatExplainSays) {
  constexpr std::int64_t kDepth = 4500;  // two chunks
  const Tensor a = uniforms(float32, {3, kDepth}, 1).to(float8_e4m3fn);
  const Tensor b = uniforms(float32, {9, kDepth}, 2).to(float8_e4m3fn);
  struct Way {
    Device device;
    bool fast;
  };
  for (const auto& [device, fast] : {Way{kHopper, false}, Way{kHopper, true}, Way{kOlder, false}}) {
    const Tensor there_a = to_device(a, device), there_b = to_device(b, device);
    MatmulProblem problem =
        scaled_mm_problem(there_a, there_b.transposed(), {.out_dtype = float32});
    problem.options.fast_accumulation = fast;
    const Tensor out = Tensor::empty(float32, {3, 9}, {device, nullptr});
    set_output(problem, out);
    const Explanation e = explain(problem);
    EXPECT_GT(e.error_bound, error_bound(problem));
    run(problem);
    const Tensor got = to_host(out);
    double worst = 0;
    for (std::int64_t m = 0; m < 3; ++m) {
      for (std::int64_t n = 0; n < 9; ++n) {
        double exact = 0, all = 0;
        for (std::int64_t k = 0; k < kDepth; ++k) {
          const double term = kit::load(a, m * kDepth + k) * kit::load(b, n * kDepth + k);
          exact += term;
          all += std::abs(term);
        }
        worst = std::max(worst, std::abs(kit::load(got, m * 9 + n) - exact) / all);
      }
    }
    EXPECT_LE(worst, e.error_bound);
    EXPECT_TRUE(!fast || worst > error_bound(problem)) << "then float32's bound would do";
  }
}

TEST_F(CudaBackend, APackedWeightIsReadAsItLies) {
  const PackedWeight packed = pack(to_device(integers(int8, {kK, kN}, 3)));
  const Tensor a = to_device(a_);
  reset_simulated_driver();
  const Tensor out = scaled_mm(a, packed);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_few_rows_s8_of32_32", 1}}));
  expect_same_bits(to_host(out), scaled_mm(a_, integers(int8, {kK, kN}, 3)));
  expect_same_bits(to_host(unpack(packed).data), integers(int8, {kK, kN}, 3));
}

// Section 3 from sums to outputs is the product's own; what is not is the pass's, and explain says
// so.
TEST_F(CudaBackend, AProductFinishesItsOwnSums) {
  const Tensor c = gaussians(bfloat16, {kM, kN}, 5), c_there = to_device(c);
  const Tensor bias = gaussians(bfloat16, {kN}, 6), bias_there = to_device(bias);
  const Tensor result = uniforms(float32, {kN}, 7), result_there = to_device(result);
  const Tensor rows = gaussians(float32, {kM, 1}, 8), rows_there = to_device(rows);
  const Tensor a = to_device(a_), b = to_device(b_);
  struct Row {
    DType out;
    bool more, fused;
    bool down = false, by_rows = false;
    Overflow overflow = Overflow::saturate;
  };
  for (const Row& row : {Row{float32, false, true},
                         {bfloat16, false, true},
                         {float32, true, true},
                         {bfloat16, true, true},
                         {float16, true, true},
                         {int8, true, true},
                         {uint8, true, true},
                         {float8_e4m3fn, true, true},
                         {float8_e5m2, false, true},
                         {int32, false, true},
                         {float8_e4m3fnuz, true, false},
                         {bfloat16, true, false, true},
                         {bfloat16, false, false, false, true},
                         {float8_e4m3fn, false, false, false, false, Overflow::ieee}}) {
    const Tensor near =
        row.down ? Tensor::empty(row.out, {kN, kM}).transposed() : Tensor::empty(row.out, {kM, kN});
    const Tensor far = to_device(near);
    const auto options = [&](bool there) {
      ScaledMmOptions o;
      o.out_dtype = row.out;
      o.matmul.overflow = row.overflow;
      o.out = there ? far.view() : near.view();
      if (row.out == int32) return o;
      o.scale_a = 0.01F;
      o.bias = row.by_rows ? (there ? rows_there : rows) : (there ? bias_there : bias);
      if (!row.more) return o;
      o.alpha = 0.5F;
      o.beta = -0.75F;
      o.c = there ? c_there : c;
      o.scale_result = there ? result_there : result;
      return o;
    };
    reset_simulated_driver();
    (void)scaled_mm(a, b.transposed(), options(true));
    const std::string kernel = row.fused && row.out == bfloat16 && !row.more
                                   ? "octavo_few_rows_s8_of32_16"
                                   : "octavo_few_rows_s8_of32_32";
    std::map<std::string, int> expected{{kernel, 1}};
    if (!row.fused) expected["octavo_finish"] = 1;
    EXPECT_EQ(launches(), expected) << name(row.out);
    (void)scaled_mm(a_, b_.transposed(), options(false));
    expect_same_bits(to_host(far), near);
    const std::string said =
        explain(scaled_mm_problem(a, b.transposed(), options(true))).to_string();
    EXPECT_EQ(row.fused, said.find("a pass finishes") == std::string::npos) << said;
  }
}

// uint8 by uint8 to the last sum that int32 holds.
TEST_F(CudaBackend, UnsignedSumsOfInt32AreExact) {
  for (const std::int64_t k : {33025, 33026}) {
    const Tensor left = integers(uint8, {2, k}, 1, 255, 255),
                 right = integers(uint8, {3, k}, 2, 255, 255);
    const Tensor a = to_device(left), b = to_device(right);
    ScaledMmOptions options;
    options.out_dtype = int32;
    expect_same_bits(to_host(scaled_mm(a, b.transposed(), options)),
                     scaled_mm(left, right.transposed(), options));
    const std::string said = explain(scaled_mm_problem(a, b.transposed(), options)).to_string();
    expect_part(said, k == 33025 ? "exact integer sums"
                                 : "sums of more than 33025 products of uint8 by uint8");
  }
}

TEST_F(CudaBackend, SumsOfLinesAreMadeOnlyWhereZeroPointsNeedThem) {
  using Launches = std::map<std::string, int>;
  const Tensor a = to_device(a_), b = to_device(b_);
  const Tensor azp = to_device(integers(int32, {kM}, 5)),
               azp_b = to_device(integers(int8, {kN}, 6));
  const Operand weight(b.transposed());
  Operand asymmetric = weight;
  asymmetric.azp = azp_b;
  ScaledMmOptions with;
  with.azp = azp;
  const auto launched = [&](const Operand& right, const ScaledMmOptions& options) {
    reset_simulated_driver();
    (void)scaled_mm(a, right, options);
    return launches();
  };
  const PackedWeight packed = pack(weight), packed_asymmetric = pack(asymmetric);
  const Launches plain{{"octavo_few_rows_s8_of32_32", 1}};  // which subtracts them by itself
  Launches one = plain, two = plain;
  one["octavo_line_sums"] = 1;
  two["octavo_line_sums"] = 2;
  EXPECT_EQ(launched(packed, with), plain);  // the columns' sums lie behind the codes
  EXPECT_EQ(launched(weight, with), one);
  EXPECT_EQ(launched(asymmetric, {}), one);  // of A's rows
  EXPECT_EQ(launched(packed_asymmetric, with), one);
  EXPECT_EQ(launched(asymmetric, with), two);
}

}  // namespace
}  // namespace octavo::test
