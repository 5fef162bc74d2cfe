// SPDX-License-Identifier: Apache-2.0
// Failing every allocation of every entry point in turn: an Error, no leak, and usable afterwards.
#include "robustness/allocation.hpp"

#include <array>

#include "octavo/functional.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::allocation_test {
namespace {

using functional::RecipeScale;
using functional::ScalingType;
using functional::SwizzleType;

// The arguments of all calls.
struct Arguments {
  Tensor a = integers(int8, {5, 20}, 1);
  Tensor b = integers(int8, {20, 7}, 2);
  Tensor x = gaussians(float32, {2, 3, 20}, 3, 3.0);
  TensorView rows{x.data(), float32, {6, 20}};
  TensorView apart{x.data(), float32, {3, 2, 20}, {20, 60, 1}};  // does not merge into rows
  Tensor a3 = integers(int8, {2, 5, 20}, 4);
  Tensor b3 = integers(int8, {2, 20, 7}, 5);
  Tensor e4 = integers(float8_e4m3fn, {5, 64}, 6, -8, 8);
  Tensor e4b = integers(float8_e4m3fn, {64, 7}, 7, -8, 8);
  Tensor scale_a = uniforms(float32, {5, 1}, 8);
  Tensor scale_b = uniforms(float32, {7}, 9);
  Tensor row_absmax = uniforms(float32, {5}, 10);
  Tensor bias = gaussians(float32, {7}, 11);
  Tensor offs = values(int32, {2}, {2, 5});
  Tensor mx = tensor_of(float8_e8m0fnu, {512}, [](std::int64_t) { return 0.5; });
  Tensor w = integers(int8, {7, 20}, 12);
  Tensor acc = integers(int32, {5, 7}, 13, -1000, 1000);
  Tensor columns = values(int64, {2}, {3, 9});
  Tensor experts = integers(int8, {3, 16, 20}, 14);
  Tensor expert_scales = uniforms(float32, {3, 16}, 15);
  Tensor tokens = gaussians(float32, {5, 20}, 16);
  Tensor factors = uniforms(float32, {5, 2}, 17);
  Tensor ids = integers(int32, {5, 2}, 18, -1, 2);
  ExpertWeights w13, w2;
  Quantized quantized = quantize(rows, {.granularity = group(8), .azp = true});
  PackedWeight packed;
  MatmulProblem problem;
  Tensor out = Tensor::empty(float32, {5, 7});
  ProblemLine line = parse_problem_line("grouped_mm int8:int8:fp32 groups=2+3 5x7x20");
  std::vector<Operand> inputs{a, a};
  std::vector<Operand> weights{b, b};
  std::vector<TensorView> biases{bias, {}};
  std::vector<Scale> scales{scale_b, {}};

  Arguments() {
    Operand weight(b);
    weight.scale[0] = {ScaleKind::tensor, 1.0F, scale_b.view(), kWholeExtent, 1, 0, 0};
    weight.scale[0].data.rank = 2;
    weight.scale[0].data.shape = {1, 7};
    weight.scale[0].data.strides = {7, 1};
    ActivationQuant rule;
    rule.vectorwise = true;
    rule.outlier_threshold = 4.0F;
    packed = pack(weight, {.activation = rule});
    w13 = pack_experts(experts, {.scale = expert_scales, .activation = ActivationQuant{}});
    w2 = pack_experts(integers(int8, {3, 4, 8}, 19), {.activation = ActivationQuant{}});
    problem = scaled_mm_problem(a, b, {.scale_a = scale_a, .out = out});
  }
};

const Arguments& args() {
  static const Arguments all;
  return all;
}

const RecipeScale& one_scale() {
  static const Tensor one = values(float32, {1}, {1});
  static const RecipeScale scale{one};
  return scale;
}

std::vector<EntryPoint> entry_points() {
  using C = const ExecContext&;
  const Arguments& v = args();
  return {
      {"ScaledMm",
       [&](C c) {
         (void)scaled_mm(v.a, v.b, {.scale_a = v.scale_a, .scale_b = v.scale_b, .bias = v.bias}, c);
       }},
      {"ScaledMmPacked", [&](C c) { (void)scaled_mm(v.a, v.packed, {}, c); }},
      {"ScaledMmOnTheReference",
       [&](C c) { (void)scaled_mm(v.a, v.packed, {.backend = "reference"}, c); }},
      {"GroupedList",
       [&](C c) {
         (void)grouped_mm(v.inputs, v.weights, {.biases = v.biases, .scales_b = v.scales}, c);
       }},
      {"GroupedRows", [&](C c) { (void)grouped_mm(v.a, v.b3, {.offs = v.offs}, c); }},
      {"ScaledGroupedMm", [&](C c) { (void)scaled_grouped_mm(v.a3, v.b3, {.scale = 0.5}, c); }},
      {"FunctionalSwizzled",
       [&](C c) {
         const RecipeScale swizzled{v.mx, ScalingType::BlockWise1x32, SwizzleType::SWIZZLE_32_4_4};
         (void)functional::scaled_mm(v.e4, v.e4b, {&swizzled, 1}, {&one_scale(), 1}, {}, c);
       }},
      {"FunctionalGrouped",
       [&](C c) {
         functional::Options o;
         o.offs = v.offs;
         (void)functional::scaled_grouped_mm(v.a, v.b3, {&one_scale(), 1}, {&one_scale(), 1}, o, c);
       }},
      {"PackExperts",
       [&](C c) {
         (void)unpack_experts(pack_experts(v.experts, {.scale = v.expert_scales}, c), c);
       }},
      {"FusedExperts",
       [&](C c) { (void)fused_experts(v.tokens, v.w13, v.w2, v.factors, v.ids, {}, c); }},
      {"ExpertParallelMoE",
       [&](C c) {
         const ExpertParallelMoE layer(v.w13, v.w2, 3, self_communicator());
         (void)layer(v.tokens, v.factors, v.ids, {}, c);
       }},
      {"SiluAndMul", [&](C c) { (void)silu_and_mul(v.tokens, {}, c); }},
      {"LayerOfShards",
       [&](C c) {
         constexpr std::array<std::int64_t, 3> kWidths{2, 0, 5};
         const Int8Linear layer({v.w, v.scale_b, v.bias}, {.logical_widths = kWidths});
         (void)layer(v.x, {}, c);
       }},
      {"Fp8LinearOp",
       [&](C c) {
         const w8a8_utils::Fp8LinearOp op(false, w8a8_utils::GroupShape::PER_TOKEN);
         const Tensor x = copy(v.e4, float16);
         (void)op.apply(x, v.e4b, v.scale_b, {}, {}, {}, v.bias, c);
       }},
      {"Requantize",
       [&](C c) {
         constexpr std::array<std::int64_t, 2> kWidths{30, 34};
         const TensorView two = v.scale_b.view().slice(0, 0, 2);
         (void)w8a8_utils::requantize_with_max_scale(v.e4b, two, kWidths, false, c);
       }},
      {"ScaledMmGradients",
       [&](C c) {
         const TensorView grad(v.out.data(), float32, {5, 7});
         (void)scaled_mm_vjp(
             grad, v.a, v.b, {.scale_a = v.scale_a, .bias = v.bias, .out_dtype = int8, .alpha = 2},
             {.a = true, .b = true, .bias = true, .scale_a = true, .alpha = true}, {}, c);
       }},
      {"GroupedGradients",
       [&](C c) {
         const TensorView grad(v.out.data(), float32, {5, 7});
         (void)grouped_mm_vjp(grad, v.a, v.b3, {.offs = v.offs}, {.a = true, .b = true}, {}, c);
       }},
      {"ListGradients",
       [&](C c) {
         const TensorView grad(v.out.data(), float32, {5, 7});
         const std::array<TensorView, 2> grads{grad, grad};
         (void)grouped_mm_vjp(grads, v.inputs, v.weights,
                              {.biases = v.biases, .scales_b = v.scales},
                              {.a = true, .bias = true, .scale_b = true}, {}, c);
       }},
      {"LinearGradients",
       [&](C c) {
         const TensorView grad(v.out.data(), float32, {1, 5, 7});
         (void)linear_vjp(grad, TensorView(v.x.data(), float32, {1, 5, 20}), v.packed, {},
                          {.a = true}, {}, c);
       }},
      {"FunctionalGradients",
       [&](C c) {
         const TensorView grad(v.out.data(), float32, {5, 7});
         (void)functional::scaled_mm_vjp(grad, v.a, v.b, {&one_scale(), 1}, {&one_scale(), 1}, {},
                                         {.a = true, .scale_a = true}, {}, c);
       }},
      {"QuantizeGradients",
       [&](C c) {
         (void)quantize_vjp(v.rows, v.rows, {.granularity = per_tensor(), .scale = 0.5},
                            {.x = true, .scale = true}, 1.0F, c);
       }},
      {"DequantizeGradients",
       [&](C c) {
         (void)dequantize_vjp(v.rows, v.quantized, {.data = true, .scale = true, .azp = true}, c);
       }},
      {"Pack", [&](C c) { (void)pack(v.b, {}, c); }},
      {"Unpack", [&](C c) { (void)unpack(v.packed, c); }},
      {"Linear", [&](C c) { (void)linear(v.x, v.packed, {.bias = v.bias}, c); }},
      {"LinearApart", [&](C c) { (void)linear(v.apart, v.packed, {}, c); }},
      {"Quantize", [&](C c) { (void)quantize(v.rows, {.azp = true}, c); }},
      {"QuantizeStatic",
       [&](C c) { (void)quantize(v.rows, {.scale = v.quantized.scale.view().slice(1, 0, 1)}, c); }},
      {"QuantizeMx", [&](C c) { (void)quantize_mxfp8(v.rows, float8_e4m3fn, Side::a, c); }},
      {"ComputeScale", [&](C c) { (void)compute_scale(v.rows, {.granularity = group(8)}, c); }},
      {"Dequantize", [&](C c) { (void)dequantize(v.quantized, bfloat16, c); }},
      {"VectorwiseQuant",
       [&](C c) { (void)int8_vectorwise_quant(v.apart, {.threshold = 4.0F}, c); }},
      {"DoubleQuant", [&](C c) { (void)int8_double_quant(v.x, {.threshold = 4.0F}, c); }},
      {"LinearMatmul", [&](C c) { (void)int8_linear_matmul(v.a, v.w, {}, c); }},
      {"MmDequant",
       [&](C c) { (void)int8_mm_dequant(v.acc, v.row_absmax, v.scale_b, v.bias, float16, c); }},
      {"Int8ScaledMm",
       [&](C c) { (void)int8_scaled_mm(v.a, v.w, v.row_absmax, v.scale_b, v.bias, float16, c); }},
      {"Int8MixedScaledMm",
       [&](C c) {
         const TensorView originals(v.x.data(), float32, {5, 20});
         (void)int8_mixed_scaled_mm(originals, v.a, v.w, v.row_absmax, v.scale_b,
                                    {.outlier_cols = v.columns}, c);
       }},
      {"VectorwiseDequant", [&](C c) { (void)int8_vectorwise_dequant(v.a, v.row_absmax, c); }},
      {"ExplainAProblem", [&](C c) { (void)explain(v.problem, c); }},
      {"ExplainALine", [&](C c) { (void)explain(v.line, c); }},
      {"ParseALine",
       [&](C) { (void)parse_problem_line("grouped_mm int8:int8:fp32 bias groups=1+2 5x7x20"); }},
      {"Copy", [&](C) { (void)copy(v.apart, bfloat16); }},
      {"TensorTo", [&](C) { (void)v.x.to(float16); }},
      {"TensorEmpty",
       [&](C) {
         (void)Tensor::empty(float32, {3, 4});
       }},
  };
}

// Refusals build sentences: they too run out of memory in order.
std::vector<EntryPoint> refusals() {
  using C = const ExecContext&;
  const Arguments& v = args();
  return {
      {"UnknownBackend",
       [&](C c) { (void)scaled_mm(v.a, v.b, {.backend = "a backend of a long name"}, c); }},
      {"WrongShape", [&](C c) { (void)scaled_mm(v.b, v.b, {}, c); }},
      {"WrongScale", [&](C c) { (void)scaled_mm(v.a, v.b, {.scale_a = v.bias}, c); }},
      {"WrongLine",
       [&](C) { (void)parse_problem_line("scaled_mm int8:int8:fp32 nonsense 1x1x1"); }},
      {"WrongOffsets", [&](C c) { (void)grouped_mm(v.a, v.b3, {.offs = v.columns}, c); }},
      {"SmallWorkspace",
       [&](C c) {
         char byte = 0;
         const Workspace small{&byte, 1};
         ExecContext context = c;
         context.workspace = &small;
         (void)scaled_mm(v.a, v.b, {}, context);
       }},
  };
}

class Allocation : public testing::TestWithParam<EntryPoint> {};

TEST_P(Allocation, FailingTheNthIsAnOutOfMemoryErrorWithoutALeak) {
  expect_out_of_memory(GetParam());
}

INSTANTIATE_TEST_SUITE_P(EntryPoints, Allocation, testing::ValuesIn(entry_points()),
                         [](const auto& test) { return std::string(test.param.name); });

class Refusal : public testing::TestWithParam<EntryPoint> {};

TEST_P(Refusal, KeepsItsCodeOrRunsOutOfMemory) {
  const EntryPoint& entry = GetParam();
  const Outcome normal = failing_from(0, entry);
  ASSERT_TRUE(normal.threw);
  ASSERT_NE(normal.code, Code::out_of_memory);
  for (std::int64_t n = 1; n <= 40; ++n) {
    const std::int64_t before = live_allocations();
    const Outcome outcome = failing_from(n, entry);
    EXPECT_TRUE(outcome.threw && !outcome.escaped) << "allocation " << n;
    EXPECT_TRUE(outcome.code == normal.code || outcome.code == Code::out_of_memory);
    EXPECT_EQ(live_allocations(), before) << "allocation " << n;
  }
}

INSTANTIATE_TEST_SUITE_P(Refusals, Refusal, testing::ValuesIn(refusals()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(AllocationFailure, LeavesASuppliedOutputUntouchedAndTheCallRepeatable) {
  const Arguments& v = args();
  const Tensor want = linear(v.x, v.packed);
  const Tensor out = Tensor::empty(float32, {2, 3, 7});
  const EntryPoint entry{
      "linear", [&](const ExecContext& c) { (void)linear(v.x, v.packed, {.out = out}, c); }};
  const std::vector<std::uint8_t> poison(2 * 3 * 7 * 4, 0xA5);
  const std::int64_t count = failing_from(0, entry).count;
  for (std::int64_t n = 1; n <= count; ++n) {
    fill_with_poison(out);
    ASSERT_TRUE(failing_from(n, entry).threw);
    EXPECT_TRUE(bytes_of(out) == poison) << "allocation " << n;
  }
  (void)failing_from(0, entry);
  expect_same_bits(out, want);
}

// The scratch that a thread keeps grows; a failed growth must leave it usable.
TEST(AllocationFailure, OfTheKeptScratchIsNotRemembered) {
  const Tensor a = integers(int8, {40, 300}, 1);
  const Tensor b = integers(int8, {300, 200}, 2);
  const Tensor out = Tensor::empty(float32, {40, 200});
  const MatmulProblem big = scaled_mm_problem(a, b, {.out = out});
  const EntryPoint entry{"run", [&](const ExecContext& c) { run(big, c); }};
  for (std::int64_t n = 1; n <= 3; ++n) (void)failing_from(n, entry);
  EXPECT_FALSE(failing_from(0, entry).threw);
  expect_same_bits(out, scaled_mm(a, b, {.backend = "reference"}));
}

}  // namespace
}  // namespace octavo::test::allocation_test
