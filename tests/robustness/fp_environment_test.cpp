// SPDX-License-Identifier: Apache-2.0
// Rounding mode, flushing of subnormals and exception flags: left as found, and without effect.
#include <cfenv>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "octavo/functional.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::fp_environment_test {
namespace {

struct Environment {
  const char* name;
  int rounding;
  unsigned control;  // x86: bits of MXCSR beside the rounding mode
};
constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040, kAllFlags = 0x003F,
                   kUnmaskNothing = 0x1F80;
const Environment kEnvironments[] = {
    {"ToNearest", FE_TONEAREST, kUnmaskNothing},
    {"Upward", FE_UPWARD, kUnmaskNothing},
    {"Downward", FE_DOWNWARD, kUnmaskNothing},
    {"TowardZero", FE_TOWARDZERO, kUnmaskNothing},
    {"Flushing", FE_TONEAREST, kUnmaskNothing | kFlushToZero | kDenormalsAreZero},
    {"FlushingUpwardWithFlags", FE_UPWARD,
     kUnmaskNothing | kFlushToZero | kDenormalsAreZero | kAllFlags},
};

// The state a caller can see.
struct Seen {
  int rounding = std::fegetround();
  int flags = std::fetestexcept(FE_ALL_EXCEPT);
#if defined(__x86_64__)
  unsigned control = _mm_getcsr();
#else
  unsigned control = 0;
#endif
  bool operator==(const Seen&) const = default;
};

// Sets an environment and puts back the one it found.
class Guard {
 public:
  explicit Guard(const Environment& e) {
    std::fegetenv(&saved_);
#if defined(__x86_64__)
    _mm_setcsr(e.control);
#endif
    std::fesetround(e.rounding);
  }
  ~Guard() { std::fesetenv(&saved_); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  std::fenv_t saved_;
};

// Operations whose results would show a wrong rounding or a flushed subnormal.
struct Operations {
  Tensor a = integers(int8, {9, 300}, 1);
  Tensor b = integers(int8, {300, 70}, 2);
  Tensor scale = uniforms(float32, {300}, 3);
  Tensor bias = gaussians(float32, {70}, 4);
  Tensor x = gaussians(float32, {9, 300}, 5, 2.0);
  Tensor y = gaussians(float32, {300, 70}, 6);
  Tensor tiny = gaussians(float32, {9, 300}, 7, 0x1p-80);
  Tensor tiny_b = gaussians(float32, {300, 70}, 8, 0x1p-58);  // products below 2^-126
  Tensor subnormal = gaussians(float32, {4, 40}, 9, 0x1p-140);
  Tensor offs = values(int32, {2}, {4, 9});
  Tensor y3 = gaussians(float32, {2, 300, 70}, 10);
  Tensor absmax = uniforms(float32, {9}, 11);
  Tensor col_absmax = uniforms(float32, {70}, 12);
  Tensor wt = integers(int8, {70, 300}, 13);
  Tensor one = values(float32, {1}, {1});
  PackedWeight packed, packed_llm;

  Operations() {
    Operand weight(b);
    weight.scale[0].kind = ScaleKind::number;
    weight.scale[0].number = 0.01F;
    ActivationQuant rule;
    packed = pack(weight, {.activation = rule});
    rule.vectorwise = true;
    rule.outlier_threshold = 4.0F;
    packed_llm = pack(weight, {.activation = rule});
  }

  std::vector<Tensor> run(const ExecContext& c, const char* backend) const {
    const functional::RecipeScale recipe{one};
    const Quantized q = quantize(x, {.granularity = group(16), .azp = true}, c);
    const Quantized mx = quantize_mxfp8(subnormal, float8_e4m3fn, Side::a, c);
    const Quantized token = quantize(subnormal, {.dtype = float8_e5m2}, c);
    const VectorwiseQuant v = int8_vectorwise_quant(x, {.threshold = 4.0F}, c);
    const Tensor acc = int8_linear_matmul(a, wt, {}, c);
    return {
        scaled_mm(a, b, {.scale_a = scale, .bias = bias, .backend = backend}, c),
        scaled_mm(x, y, {.bias = bias, .out_dtype = bfloat16, .backend = backend}, c),
        scaled_mm(tiny, tiny_b, {.backend = backend}, c),
        scaled_mm(tiny, tiny_b, {.out_dtype = float16, .backend = backend}, c),
        grouped_mm(x, y3, {.offs = offs, .backend = backend}, c),
        functional::scaled_mm(x, y, {&recipe, 1}, {&recipe, 1}, {.bias = {}, .backend = backend},
                              c),
        linear(x, packed, {.bias = bias, .backend = backend}, c),
        linear(x, packed_llm, {.bias = bias, .backend = backend}, c),
        q.data,
        q.scale,
        q.azp,
        mx.data,
        mx.scale,
        token.data,
        dequantize(q, bfloat16, c),
        dequantize(mx, float32, c),
        v.codes,
        v.row_absmax,
        int8_mm_dequant(acc, absmax, col_absmax, bias, float16, c),
        int8_mixed_scaled_mm(x, v.codes, wt, v.row_absmax, col_absmax,
                             {.outlier_cols = v.outlier_cols}, c),
        int8_vectorwise_dequant(v.codes, v.row_absmax, c),
        copy(x, bfloat16),
        copy(subnormal, float8_e4m3fn),
    };
  }
};

class FpEnvironment : public testing::TestWithParam<const char*> {};

TEST_P(FpEnvironment, IsLeftAsFoundAndWithoutEffectOnResults) {
  const Operations operations;
  ThreadExecutor threads(3);
  const std::vector<Tensor> want = operations.run({.executor = &serial_executor()}, GetParam());
  for (const Environment& environment : kEnvironments) {
    for (Executor* executor :
         {&serial_executor(), static_cast<Executor*>(&threads), static_cast<Executor*>(nullptr)}) {
      std::vector<Tensor> got;
      Seen before, after;
      {
        const Guard guard(environment);
        before = Seen();
        got = operations.run({.executor = executor}, GetParam());
        after = Seen();
      }
      EXPECT_EQ(before.rounding, after.rounding) << environment.name;
      EXPECT_EQ(before.flags, after.flags) << environment.name;
      EXPECT_EQ(before.control, after.control) << environment.name;
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t i = 0; i < want.size(); ++i) {
        SCOPED_TRACE(std::string(environment.name) + ", result " + std::to_string(i));
        expect_same_bits(got[i], want[i]);
      }
    }
  }
}

TEST(FpEnvironment, SubnormalResultsAreKept) {
  const Tensor a = values(float32, {1, 1}, {0x1p-100});
  const Tensor b = values(float32, {1, 1}, {0x1p-45});
  for (const char* backend : usable_backends()) {
    const Guard guard(kEnvironments[4]);
    const Tensor out = scaled_mm(a, b, {.backend = backend});
    std::uint32_t bits = 0;
    std::memcpy(&bits, out.data(), 4);
    EXPECT_EQ(bits, 1U << 4);  // 2^-145 is 16 times the smallest subnormal
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, FpEnvironment, testing::ValuesIn(usable_backends()),
                         backend_name);

}  // namespace
}  // namespace octavo::test::fp_environment_test
