// SPDX-License-Identifier: Apache-2.0
// Extents near the ends of 64 bits: every operation refuses what would wrap, with a sentence, and
// explaining what is merely large takes no time that grows with it.
#include <array>
#include <functional>

#include "octavo/bnb.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test::extents_test {
namespace {

constexpr std::int64_t kMany = (std::int64_t{1} << 61) - 1;

const std::array<std::int8_t, 16> kElements{};  // zeros of any type

// One element, repeated.
TensorView repeated(DType dtype, std::initializer_list<std::int64_t> shape) {
  TensorView view;                                         // whose constructor would refuse
  view.data = const_cast<std::int8_t*>(kElements.data());  // NOLINT: inputs are never written
  view.dtype = dtype;
  view.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), view.shape.begin());
  return view;
}

struct Extents2 {
  std::int64_t rows, cols;
};

void PrintTo(const Extents2& e, std::ostream* out) { *out << e.rows << " x " << e.cols; }

class Wrapping : public testing::TestWithParam<Extents2> {
 protected:
  static void refused(const char* what, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << what << " accepted its operands";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::invalid_argument) << what << ": " << e.what();
    }
  }
  TensorView x(DType dtype) const { return repeated(dtype, {GetParam().rows, GetParam().cols}); }
  TensorView turned(DType dtype) const { return x(dtype).transposed(); }
};

TEST_P(Wrapping, ExtentsAreRefusedByEveryOperation) {
  const TensorView codes = x(int8), other = turned(int8), floats = x(float32);
  const TensorView one = repeated(float32, {1, 1});
  const Operand batch(repeated(int8, {1, GetParam().rows, GetParam().cols}));
  const Operand batch_of = Operand(repeated(int8, {1, GetParam().cols, GetParam().rows}));
  const std::array<Operand, 1> inputs{codes}, weights{other};
  refused("scaled_mm", [&] { (void)scaled_mm(codes, other); });
  refused("scaled_mm_problem", [&] { (void)scaled_mm_problem(codes, other); });
  refused("scaled_mm, fp8", [&] { (void)scaled_mm(x(float8_e4m3fn), turned(float8_e4m3fn)); });
  refused("scaled_grouped_mm", [&] { (void)scaled_grouped_mm(batch, batch_of); });
  refused("grouped_mm", [&] { (void)grouped_mm(inputs, weights); });
  refused("grouped_mm of tensors", [&] { (void)grouped_mm(batch, batch_of); });
  refused("pack", [&] { (void)pack(codes); });
  refused("quantize", [&] { (void)quantize(floats); });
  refused("compute_scale", [&] { (void)compute_scale(floats, {.granularity = per_tensor()}); });
  refused("quantize_mxfp8", [&] { (void)quantize_mxfp8(floats); });
  refused("linear", [&] { (void)linear(floats, Operand(other), {}); });
  refused("scaled_mm_vjp", [&] { (void)scaled_mm_vjp(one, codes, other, {}, {.a = true}); });
  refused("int8_vectorwise_quant", [&] { (void)int8_vectorwise_quant(floats); });
  refused("int8_double_quant", [&] { (void)int8_double_quant(floats); });
  refused("int8_linear_matmul", [&] { (void)int8_linear_matmul(codes, codes); });
  refused("silu_and_mul", [&] { (void)silu_and_mul(floats); });
}

INSTANTIATE_TEST_SUITE_P(Extents, Wrapping,
                         testing::Values(Extents2{1, kMany}, Extents2{kMany, 1},
                                         Extents2{kMany, kMany},
                                         Extents2{std::int64_t{1} << 31, std::int64_t{1} << 31},
                                         Extents2{std::int64_t{1} << 62, 1},
                                         Extents2{0, std::int64_t{1} << 62}));

// The time of an explanation must not depend on extents: of the largest ones, a loop over any of
// them would not end.
TEST(Large, ProblemsAreExplainedAtOnce) {
  const std::array<std::int64_t, 7> extents{
      1, 65, (std::int64_t{1} << 31) + 1, 1 << 24, 1L << 40, 900000000000000000, kMany};
  const char* const products[] = {
      "scaled_mm int8:int8:fp32 scale=token:channel",
      "scaled_mm uint8:int8:bf16 azp",
      "scaled_mm int8:int8:fp32 scale=group32:block128x128 prepacked",
      "scaled_mm e4m3fn:e4m3fn:bf16 scale=group48:group32",
      "scaled_mm e4m3fn:e4m3fn:bf16 scale=per_k:element",
      "scaled_mm fp32:e4m3fn:bf16 quantize=e4m3fn scale=group128:block128x128",
      "scaled_mm fp32:int8:fp32 quantize=int8 threshold=6 scale=token:channel",
      "scaled_mm bf16:bf16:bf16 layout=strided",
  };
  int explained = 0;
  for (const char* product : products) {
    for (const std::int64_t m : extents) {
      for (const std::int64_t n : extents) {
        for (const std::int64_t k : extents) {
          const std::string line = std::string(product) + ' ' + std::to_string(m) + 'x' +
                                   std::to_string(n) + 'x' + std::to_string(k);
          try {
            const Explanation e = explain(parse_problem_line(line));
            ++explained;
            const bool integers = line.find(":int8:") != std::string::npos;
            EXPECT_TRUE(integers || k < 1 << 24 || std::isinf(e.error_bound)) << line;
            EXPECT_FALSE(e.to_string().empty());
          } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::invalid_argument) << line << ": " << e.what();
          }
        }
      }
    }
  }
  EXPECT_GT(explained, 500);
}

// The same of groups, whose sizes add up to such an extent, or beyond 64 bits where nothing is cut.
TEST(Large, GroupedProblemsAreExplainedAtOnce) {
  const std::array<std::int64_t, 6> extents{
      1, 65, (std::int64_t{1} << 31) + 1, 1L << 40, 900000000000000000, kMany};
  struct Form {
    const char* split;
    std::size_t cut;  // of m, n, k; 3: none
  };
  constexpr Form kForms[] = {{"rows", 0}, {"columns", 1}, {"inner", 2}, {"batch", 3}};
  int explained = 0;
  for (const char* product : {"grouped_mm int8:int8:fp32 scale=token:channel",
                              "grouped_mm e4m3fn:e4m3fn:bf16 scale=group32:none"}) {
    for (const Form& form : kForms) {
      for (const std::int64_t large : extents) {
        for (std::size_t place = 0; place < 3; ++place) {
          std::array<std::int64_t, 3> shape{3, 4, 64};
          shape[place] = large;
          const std::int64_t cut = form.cut < 3 ? shape[form.cut] : large;
          const std::int64_t first = form.cut < 3 ? cut / 2 : cut;
          const std::string line = std::string(product) + " split=" + form.split +
                                   " groups=" + std::to_string(first) + "+0+" +
                                   std::to_string(cut - cut / 2) + ' ' + std::to_string(shape[0]) +
                                   'x' + std::to_string(shape[1]) + 'x' + std::to_string(shape[2]);
          try {
            EXPECT_FALSE(explain(parse_problem_line(line)).to_string().empty());
            ++explained;
          } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::invalid_argument) << line << ": " << e.what();
            EXPECT_EQ(std::string(e.what()).find("offs"), std::string::npos) << e.what();
          }
        }
      }
    }
  }
  EXPECT_GT(explained, 60);
}

TEST(Large, SumsOfFloatsAreNoMoreExactThanTheyAre) {
  const auto bound = [](std::int64_t k) {
    return explain(parse_problem_line("scaled_mm e4m3fn:e4m3fn:bf16 1x1x" + std::to_string(k)));
  };
  EXPECT_LT(bound((1 << 24) - 32).error_bound, std::numeric_limits<double>::infinity());
  EXPECT_GT(bound((1 << 24) - 32).error_bound, 1.0);
  EXPECT_TRUE(std::isinf(bound(1 << 24).error_bound));
  EXPECT_NE(bound(1 << 24).to_string().find("error      unbounded"), std::string::npos);
}

// A workspace that cannot be counted is refused, not cut to what is left of its bits.
TEST(Large, WorkspacesThatCannotBeCountedAreRefused) {
  // Legal operands: two rows and columns of 2^53 elements, in a scratch block for each of many
  // threads.
  const std::int64_t k = std::int64_t{1} << 53;
  const MatmulProblem problem =
      scaled_mm_problem(repeated(float32, {2, k}), repeated(float32, {k, 2}));
  class Crowd final : public Executor {
   public:
    int concurrency() const noexcept override { return std::numeric_limits<int>::max(); }
    void parallel(std::int64_t, Task, void*) noexcept override { std::abort(); }
  } crowd;
  for (const char* backend : usable_backends()) {
    if (std::string_view(backend) == "reference") continue;
    MatmulProblem with_out = problem;
    std::array<float, 4> out{};
    with_out.single.out = view(out, {2, 2});
    try {
      run(with_out, {.executor = &crowd}, backend);
      ADD_FAILURE() << backend;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::out_of_memory) << backend << ": " << e.what();
    }
  }
}

}  // namespace
}  // namespace octavo::test::extents_test
