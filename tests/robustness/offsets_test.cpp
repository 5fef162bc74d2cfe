// SPDX-License-Identifier: Apache-2.0
// Offsets that somebody writes while a grouped call runs: they are read once, so that the result is
// the product by one of their states and no block is too small for what another state asks for.
#include "ops/helpers.hpp"

namespace octavo::test::offsets_test {
namespace {

constexpr std::int64_t kGroups = 4;
using Ends = std::array<std::int32_t, kGroups>;
constexpr Ends kEven{10, 20, 30, 40};
constexpr Ends kOne{0, 0, 40, 40};
constexpr Ends kWild{1 << 30, -5, 1 << 30, 7};

// A pool that writes the offsets whenever a call asks it something.
class Writer final : public Executor {
 public:
  Writer(Ends& ends, const Ends& other) : ends_(ends), other_(other) {}
  int concurrency() const noexcept override {
    write();
    return 2;
  }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    for (std::int64_t i = 0; i < tasks; ++i) {
      write();
      task(context, i);
    }
  }
  std::int64_t writes() const noexcept { return writes_; }

 private:
  void write() const noexcept { ends_ = ++writes_ % 2 != 0 ? other_ : kEven; }
  Ends& ends_;
  const Ends& other_;
  mutable std::int64_t writes_ = 0;
};

struct Form {
  const char* name;
  DType dtype;
  Shape a, b;
};

std::vector<Form> forms() {
  std::vector<Form> all;
  for (const DType dtype : {int8, float8_e4m3fn, float32}) {
    all.push_back({"rows", dtype, {40, 64}, {kGroups, 64, 70}});
    all.push_back({"columns", dtype, {kGroups, 30, 64}, {64, 40}});
    all.push_back({"inner", dtype, {30, 40}, {40, 70}});
  }
  return all;
}

TEST(ChangingOffsets, AreReadOnce) {
  for (const Form& form : forms()) {
    const Tensor a = integers(form.dtype, form.a, 1, -4, 4);
    const Tensor b = integers(form.dtype, form.b, 2, -4, 4);
    for (const char* backend : usable_backends()) {
      for (const Ends& other : {kOne, kWild}) {
        Ends ends = kEven;
        const TensorView offs(ends.data(), DType::int32, {kGroups});
        const GroupedOptions options{.offs = offs, .out_dtype = float32, .backend = backend};
        const Tensor want = grouped_mm(a, b, options);
        Writer writer(ends, other);
        expect_same_bits(grouped_mm(a, b, options, {.executor = &writer}), want);
        EXPECT_GT(writer.writes(), 0) << form.name;

        // A problem that was made before refers to the caller's offsets, whatever they have become.
        ends = kEven;
        MatmulProblem problem = grouped_mm_problem(a, b, options);
        const Tensor out = Tensor::empty(float32, want.view().dims());
        set_output(problem, out);
        run(problem, {.executor = &writer}, backend);
        expect_same_bits(out, want);
      }
    }
  }
}

TEST(ChangingOffsets, AreReadOnceForGradients) {
  for (const Form& form : forms()) {
    const Tensor a = integers(form.dtype, form.a, 1, -4, 4);
    const Tensor b = integers(form.dtype, form.b, 2, -4, 4);
    Ends ends = kEven;
    const TensorView offs(ends.data(), DType::int32, {kGroups});
    const GroupedOptions options{.offs = offs, .out_dtype = float32};
    const Tensor out = grouped_mm(a, b, options);
    const Tensor grad =
        integers(float32, Shape(out.view().dims().begin(), out.view().dims().end()), 3, -4, 4);
    const MatmulWanted wanted{.a = true, .b = true};
    const MatmulGradients want = grouped_mm_vjp(grad, a, b, options, wanted);
    Writer writer(ends, kOne);
    const MatmulGradients got =
        grouped_mm_vjp(grad, a, b, options, wanted, {}, {.executor = &writer});
    EXPECT_GT(writer.writes(), 0);
    expect_same_bits(got.a, want.a);
    expect_same_bits(got.b, want.b);
  }
}

}  // namespace
}  // namespace octavo::test::offsets_test
