// SPDX-License-Identifier: Apache-2.0
// Which launches grouped products and scales along K are on a CUDA device, and what `explain` says
// of them.
#include <map>
#include <string>
#include <vector>

#include "core/devices/cuda_devices.hpp"
#include "cuda/backend_kit.hpp"

namespace octavo::test::backend_groups_test {
namespace {

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
  expect_part(said, "one launch for all groups: dense tiles of 128x256: exact integer sums");
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
  expect_part(said(grouped_mm_problem(a, b.transposed(), options)),
              "one launch for all groups: dense tiles of 128x128: fp8 sums of every 128 "
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
              "64 of them, dense tiles of 128x256 or 128x128 for more: exact integer sums; a pass "
              "finishes");
  reset_simulated_driver();
  const Tensor out = product(a, b, offs);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert", 1},  // the offsets
                                                    {"octavo_few_rows_s8_of32_32", 1},
                                                    {"octavo_dense_s8_low_32", 1},
                                                    {"octavo_finish", 2}}));
  expect_same_bits(to_host(out), product(near, weights, ends));
  // Of so few rows in all no group has more.
  const MatmulProblem small = grouped_mm_problem(to_device(a_), b.transposed(),
                                                 {.offs = offs, .out_dtype = float8_e4m3fnuz});
  expect_part(explain(small).to_string(), "come to the host: few rows, 64 columns a tile");
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
    // Memory that is taken next lies in the holes between these.
    std::vector<Tensor> between;
    for (int count = 0; count < 8; ++count) between.push_back(where(uniforms(float32, {1}, 7)));
    for (const std::size_t gap : {1U, 2U, 5U}) between[gap] = Tensor();
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

}  // namespace
}  // namespace octavo::test::backend_groups_test
