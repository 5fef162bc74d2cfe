// SPDX-License-Identifier: Apache-2.0
// Activations quantised on their way into a product, against the reference's.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "core/data/cells.hpp"
#include "cuda/passes/two_places.hpp"

namespace octavo::test::quantize_activations_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  const char* name;
  std::function<void(ActivationQuant&)> set;
  bool batch_invariant = false;
  std::vector<double> fixed = {};
};

// The member's A behind the quantiser, and the memory that it is in.
struct Made {
  Member member;
  Tensor memory;
};
Made made(const Passes& passes, const ActivationQuant& rule, const TensorView& x,
          const MatmulOptions& options) {
  Made m;
  m.member.a.data = x;
  m.member.a.quantize = &rule;
  const Member given = m.member;
  Arena counting(nullptr);
  EXPECT_TRUE(passes.quantize_activations(m.member, options, counting, {}).ok());
  m.memory =
      Tensor::empty(uint8, {static_cast<std::int64_t>(counting.used()) + 1}, {x.device, nullptr});
  m.member = given;
  Arena outline(m.memory.data(), Arena::Use::outline);
  EXPECT_TRUE(passes.quantize_activations(m.member, options, outline, {}).ok());
  const void* const codes = m.member.a.data.data;
  m.member = given;
  Arena arena(m.memory.data());
  const Status status = passes.quantize_activations(m.member, options, arena, {});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(arena.used(), counting.used());
  EXPECT_EQ(m.member.a.data.data, codes);
  return m;
}

Tensor host(MatrixView view, std::int64_t rows, std::int64_t columns) {
  view.shape = {rows, columns};
  return to_host(static_cast<TensorView>(view));
}

TensorView columns_of(const ColumnList& list, const Device& device) {
  TensorView view(list.data, int64, {list.count}, {list.stride});
  view.device = device;
  return view;
}

class PrologueRules : public testing::TestWithParam<Case> {};

TEST_P(PrologueRules, HasTheReferencesNumbers) {
  const Case& c = GetParam();
  const std::int64_t rows = 19, columns = 272;
  const Tensor x = gaussians(bfloat16, {rows, columns}, 11, 1.5);
  x.data_as<std::uint16_t>()[500] = 0x7FC0;
  for (const int at : {90, 1800, 3000}) x.data_as<std::uint16_t>()[at] = 0xC110;  // -9
  const Tensor there = to_device(x);
  ActivationQuant here_rule, there_rule;
  c.set(here_rule);
  c.set(there_rule);
  if (!c.fixed.empty()) {
    here_rule.outlier_columns = values(int64, {static_cast<std::int64_t>(c.fixed.size())}, c.fixed);
    there_rule.outlier_columns = to_device(here_rule.outlier_columns);
  }
  MatmulOptions options;
  options.batch_invariant = c.batch_invariant;
  const Made want = made(reference_passes(), here_rule, x, options);
  const Made got = made(*tested().passes, there_rule, there, options);
  const OperandView &a = want.member.a, &b = got.member.a;
  EXPECT_EQ(b.quantize, nullptr);
  expect_same_bits(host(b.data, rows, columns), host(a.data, rows, columns));
  ASSERT_EQ(b.scale[0].rows, a.scale[0].rows);
  ASSERT_EQ(b.scale[0].cols, a.scale[0].cols);
  const std::int64_t down = cells(rows, a.scale[0].rows), across = cells(columns, a.scale[0].cols);
  expect_same_numbers(host(MatrixView(b.scale[0].data, down, across), down, across),
                      host(MatrixView(a.scale[0].data, down, across), down, across));
  ASSERT_EQ(b.azp.defined(), a.azp.defined());
  if (a.azp.defined()) expect_same_bits(host(b.azp, rows, 1), host(a.azp, rows, 1));

  const Outliers &far = got.member.epilogue.outliers, &near = want.member.epilogue.outliers;
  EXPECT_EQ(far.threshold, near.threshold);
  EXPECT_EQ(far.whole.count, near.whole.count);
  if (!far.present()) {
    EXPECT_FALSE(near.present());
    return;
  }
  const Tensor list = to_host(columns_of(far.columns, there.device()));
  ASSERT_GE(far.columns.count, near.columns.count);
  for (std::int64_t i = 0; i < far.columns.count; ++i) {
    const std::int64_t column = i < near.columns.count ? near.columns[i] : -1;
    EXPECT_EQ(list.data_as<std::int64_t>()[i], column) << i;
  }
}

std::vector<Case> cases() {
  const auto fixed_scale = [](ActivationQuant& r, DType dtype) {
    r.spec.dtype = dtype;
    r.spec.granularity = per_tensor();
    r.static_scale = 0.02F;
  };
  const auto vectorwise = [](ActivationQuant& r) { r.vectorwise = true; };
  const auto outliers = [](ActivationQuant& r) {
    r.vectorwise = true;
    r.outlier_threshold = 6.0F;
  };
  return {
      {"token", [](ActivationQuant&) {}},
      {"token_azp", [](ActivationQuant& r) { r.spec.azp = true; }},
      {"tensor", [](ActivationQuant& r) { r.spec.granularity = per_tensor(); }},
      {"tensor_azp",
       [](ActivationQuant& r) {
         r.spec.granularity = per_tensor();
         r.spec.azp = true;
       }},
      {"groups",
       [](ActivationQuant& r) {
         r.spec.dtype = float8_e4m3fn;
         r.spec.granularity = group(128);
       }},
      {"mx",
       [](ActivationQuant& r) {
         r.spec.dtype = float8_e5m2;
         r.spec.granularity = group(32);
         r.spec.rounding = ScaleRounding::mx_floor;
         r.spec.scale_dtype = float8_e8m0fnu;
       }},
      {"static_fp8", [=](ActivationQuant& r) { fixed_scale(r, float8_e4m3fn); }},
      {"static_int8", [=](ActivationQuant& r) { fixed_scale(r, int8); }},
      {"static_ignore",
       [=](ActivationQuant& r) {
         fixed_scale(r, int8);
         r.spec.non_finite = NonFinite::ignore;
       }},
      {"static_azp",
       [=](ActivationQuant& r) {
         fixed_scale(r, uint8);
         r.spec.azp = true;
         r.static_azp = 131;
       }},
      {"static_far_azp",
       [=](ActivationQuant& r) {
         fixed_scale(r, int8);
         r.spec.azp = true;
         r.static_azp = (1 << 24) + 1;
       }},
      {"vectorwise", vectorwise},
      {"fixed_columns", vectorwise, false, {3, 77, 271}},
      {"outliers", outliers},
      {"outliers_and_fixed", outliers, false, {0, 90}},
      {"by_element", outliers, true, {7}},
      {"whole_columns",
       [=](ActivationQuant& r) {
         outliers(r);
         r.whole_columns = true;
       }},
  };
}
INSTANTIATE_TEST_SUITE_P(Every, PrologueRules, testing::ValuesIn(cases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Prologue, RefusesWhatIsNotFinite) {
  const Tensor x = gaussians(float32, {3, 40}, 11);
  x.data_as<float>()[50] = kNan;
  const Tensor there = to_device(x);
  ActivationQuant rule;
  rule.spec.non_finite = NonFinite::error;
  Member member;
  member.a.data = there;
  member.a.quantize = &rule;
  const Tensor memory = Tensor::empty(uint8, {4096}, {there.device(), nullptr});
  Arena arena(memory.data());
  const Status status = tested().passes->quantize_activations(member, {}, arena, {});
  EXPECT_EQ(std::string(status.message()), "linear: x[1, 10] must be finite; got nan");
}

// The caller's own memory.
TEST(Prologue, WritesWhereTheRuleSays) {
  const Tensor x = gaussians(float32, {9, 128}, 11);
  x.data_as<float>()[300] = 50.0F;
  const Tensor there = to_device(x);
  const Place place{there.device(), nullptr};
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = 6.0F;
  const Tensor codes = Tensor::empty(int8, {9, 128}, place);
  const Tensor found = Tensor::empty(int64, {128}, place), count = Tensor::empty(int64, {1}, place);
  rule.codes = codes;
  rule.found_columns = found;
  rule.found_count = count.data_as<std::int64_t>();
  Member member;
  member.a.data = there;
  member.a.quantize = &rule;
  const Tensor memory = Tensor::empty(uint8, {4096}, place);
  Arena arena(memory.data());
  ASSERT_TRUE(tested().passes->quantize_activations(member, {}, arena, {}).ok());
  EXPECT_EQ(member.a.data.data, codes.data());
  EXPECT_EQ(to_host(count).data_as<std::int64_t>()[0], 1);
  EXPECT_EQ(to_host(found).data_as<std::int64_t>()[0], 300 % 128);
}

}  // namespace
}  // namespace octavo::test::quantize_activations_test
