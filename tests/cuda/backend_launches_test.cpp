// SPDX-License-Identifier: Apache-2.0
// Which launches and tensor maps a product on a CUDA device is, and what `explain` says of it.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "backends/cuda/products/wgmma_product.hpp"
#include "cuda/backend_kit.hpp"

namespace octavo::test::backend_launches_test {
namespace {

// Maps are kept by threads: a new one has none of another test's.
TEST_F(CudaBackend, AProductIsOneLaunchAndAWeightsMapIsKept) {
  const Tensor a = to_device(a_), b = to_device(b_);
  std::thread([&] {
    const Tensor first = multiply(a, b);
    EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_few_rows_s8_of32_32", 1}}));
    EXPECT_EQ(encoded_maps(), 3);
    const Tensor other = to_device(a_);
    const Tensor second = multiply(other, b);
    EXPECT_EQ(encoded_maps(), 5);  // of A and of the output
    EXPECT_EQ(first.device(), kHopper);
    expect_same_bits(to_host(first), want());
    expect_same_bits(to_host(second), want());
  }).join();
}

// Those that were the quickest of all on an H200, or within 5 % of it.
TEST(WgmmaKernels, AreChosenByTheTilesOfAProduct) {
  using cuda::KernelId;
  using cuda::MmaType;
  using cuda::Summing;
  struct Row {
    MmaType type;
    Summing summing;
    std::int64_t m, n, k;
    KernelId kernel;
  };
  constexpr auto kInt8 = MmaType::s8_s8, kFp8 = MmaType::e4m3_e4m3, kBf16 = MmaType::bf16_bf16;
  constexpr auto kPlain = Summing::plain, kPromoted = Summing::promoted;
  for (const Row& row : {
           Row{kInt8, kPlain, 8192, 8192, 8192, KernelId::dense_s8_16},
           {kInt8, kPlain, 1024, 28672, 4096, KernelId::dense_s8_16},
           {kInt8, kPlain, 512, 4096, 14336, KernelId::dense_s8_narrow_16},
           {kInt8, kPlain, 384, 4096, 14336, KernelId::dense_s8_low_16},
           {kInt8, kPlain, 256, 4096, 14336, KernelId::dense_s8_cut_16},
           {kInt8, kPlain, 96, 4096, 14336, KernelId::dense_s8_cut_16},
           {kInt8, kPlain, 96, 28672, 4096, KernelId::dense_s8_low_16},
           {kInt8, kPlain, 64, 28672, 4096, KernelId::few_rows_s8_of64_16},
           {kInt8, kPlain, 64, 4096, 14336, KernelId::few_rows_s8_cut_of64_16},
           {kInt8, kPlain, 64, 4096, 2048, KernelId::few_rows_s8_of64_16},
           {kFp8, kPromoted, 8192, 8192, 8192, KernelId::dense_e4m3_16},
           {kFp8, kPromoted, 2048, 8192, 8192, KernelId::dense_e4m3_16},
           {kFp8, kPromoted, 384, 28672, 4096, KernelId::dense_e4m3_low_16},
           {kFp8, kPromoted, 256, 4096, 14336, KernelId::dense_e4m3_cut_16},
           {kFp8, kPromoted, 96, 8192, 8192, KernelId::dense_e4m3_cut_16},
           {kFp8, kPlain, 256, 4096, 14336, KernelId::dense_e4m3_fast_narrow_16},
           {kBf16, kPlain, 96, 28672, 2048, KernelId::dense_bf16_low_16},
       }) {
    cuda::DensePath path;
    path.type = row.type;
    path.summing = row.summing;
    const std::int64_t k_bytes = row.k * cuda::element_bytes(row.type);
    const KernelId got = cuda::wgmma_kernel(path, {row.m, row.n, k_bytes, 2}, 132);
    EXPECT_EQ(got, row.kernel) << row.m << "x" << row.n << "x" << row.k << ": "
                               << cuda::kernel_name(got);
  }
}

TEST_F(CudaBackend, RowsDecideWhichKernelMultiplies) {
  const Tensor b = to_device(b_);
  for (const auto& [rows, kernel] : {std::pair{std::int64_t{16}, "octavo_few_rows_s8_of16_32"},
                                     {std::int64_t{64}, "octavo_few_rows_s8_of64_32"},
                                     {std::int64_t{65}, "octavo_dense_s8_low_32"}}) {
    const Tensor near = integers(int8, {rows, kK}, 1);
    const Tensor a = to_device(near);
    reset_simulated_driver();
    const Tensor out = multiply(a, b);
    EXPECT_EQ(launches(), (std::map<std::string, int>{{kernel, 1}}));
    expect_same_bits(to_host(out), scaled_mm(near, b_.transposed(), {.scale_a = 0.5}));
    const Explanation e = explain(scaled_mm_problem(a, b.transposed(), {}));
    expect_part(e.to_string(), rows <= 64 ? "few rows" : "tiles of 128x256");
  }
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

TEST_F(CudaBackend, OperandsThatTmaCannotTakeAreCopied) {
  const Tensor a = to_device(integers(int8, {kK, kM}, 1).transposed());  // rows lie together
  const Tensor b = to_device(b_);
  reset_simulated_driver();
  const Tensor out = multiply(a, b);
  EXPECT_EQ(launches(), (std::map<std::string, int>{{"octavo_convert_transposed", 1},
                                                    {"octavo_few_rows_s8_of32_32", 1}}));
  expect_same_bits(to_host(out), scaled_mm(to_host(a), b_.transposed(), {.scale_a = 0.5}));
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
}  // namespace octavo::test::backend_launches_test
