// SPDX-License-Identifier: Apache-2.0
// A plan from the cache is the plan that a thread without a cache would make, for problems that
// differ in any one field: the fields come from core/problem/fields.hpp, which no field can be left
// out of.
#include <gtest/gtest.h>

#include <thread>

#include "core/problem/fields.hpp"
#include "kit/operands/operands.hpp"
#include "ops/run.hpp"
#include "ops/signature.hpp"
#include "support/lines.hpp"

namespace octavo::test::plan_cache_test {
namespace {

constexpr int kThreads = 2;

struct Made {
  const Backend* backend = nullptr;
  std::size_t bytes = 0;
  std::string how;
  bool flushes = false;
  bool operator==(const Made&) const = default;
};

Made plan_of(const MatmulProblem& problem) {
  ThreadExecutor executor(kThreads);
  const Result<Plan> plan = make_plan(problem, {.executor = &executor}, nullptr);
  if (!plan.ok()) return {};
  const Plan& p = plan.value();
  return {p.backend, p.workspace_bytes, p.how, p.flushes};
}

Made plan_of_a_fresh_thread(const MatmulProblem& problem) {
  Made made;
  std::thread([&] { made = plan_of(problem); }).join();
  return made;
}

// Types that every backend knows how to refuse or to run, whatever stands beside them.
constexpr std::array kTypes{DType::int8, DType::float8_e4m3fn, DType::bfloat16, DType::float32,
                            DType::float8_e8m0fnu};

// Changes the fields of a problem one at a time, calls `check` with each change in place, and takes
// it back. What an undefined view or an absent factor leaves unread is not changed.
class OneFieldAtATime {
 public:
  using Check = std::function<void(const std::string&)>;
  /// `moved` is called for addresses, `check` for everything else.
  OneFieldAtATime(Check check, Check moved) : check_(std::move(check)), moved_(std::move(moved)) {}

  template <HasFields T>
  void walk(const std::string& path, T& value) {
    if constexpr (std::is_same_v<T, TensorView> || std::is_base_of_v<Elements, T>) {
      if (!value.defined()) return;
    } else if constexpr (std::is_same_v<T, ScaleView>) {
      if (value.kind == ScaleKind::none) return with(path + ".kind", value.kind, ScaleKind::number);
    } else if constexpr (std::is_same_v<T, Factor>) {
      if (value.kind == Factor::Kind::absent)
        return with(path + ".kind", value.kind, Factor::Kind::number);
    }
    for_each_field(value, [&](const char* name, auto& field) {
      if constexpr (std::is_same_v<T, TensorView>) {
        if constexpr (std::is_same_v<decltype(field), decltype(value.shape)&>) {
          for (int d = 0; d < value.rank; ++d)
            walk(path + '.' + name, field[static_cast<std::size_t>(d)]);
          return;
        } else if constexpr (std::is_same_v<decltype(field), decltype(value.rank)&>) {
          return;  // two dimensions are what a lowered problem has
        }
      }
      walk(path + '.' + name, field);
    });
  }
  template <class T, std::size_t n>
  void walk(const std::string& path, std::array<T, n>& values) {
    for (std::size_t i = 0; i < n; ++i) walk(path + '[' + std::to_string(i) + ']', values[i]);
  }
  void walk(const std::string& path, DType& dtype) {
    for (const DType other : kTypes) with(path, dtype, other);
  }
  template <class T>
  requires std::is_enum_v<T>
  void walk(const std::string& path, T& value) {
    for (const int other : {0, 1}) with(path, value, static_cast<T>(other));
  }
  template <std::integral T>
  void walk(const std::string& path, T& value) {
    if constexpr (std::is_same_v<T, bool>) return with(path, value, !value);
    if (value == std::numeric_limits<T>::max()) return with(path, value, static_cast<T>(64));
    for (const auto other : {value + 1, value + 16, 2 * value + 1})
      with(path, value, static_cast<T>(other));
  }
  void walk(const std::string& path, float& value) {
    for (const float other : {0.0F, 1.0F, -1.0F}) with(path, value, other);
  }
  void walk(const std::string& path, Tensor& tensor) {
    if (!tensor.defined()) return;
    with(path, tensor, Tensor{});
  }
  // A quantiser is changed in a copy; other pointers (data, packed weights) are what they are.
  void walk(const std::string& path, const ActivationQuant*& rule) {
    if (rule == nullptr) return;
    const ActivationQuant* const given = rule;
    ActivationQuant own = *rule;
    rule = &own;
    walk(path, own);
    rule = given;
  }
  template <class T>
  void walk(const std::string&, T*&) {}
  // An address is no part of a signature, so no plan may depend on one.
  void walk(const std::string& path, void*& data) {
    if (data == nullptr) return;
    void* const given = data;
    for (const int bytes : {1, 2, 4, 8, 32}) {
      data = static_cast<char*>(given) + bytes;
      moved_(path + " + " + std::to_string(bytes));
    }
    data = given;
  }

 private:
  template <class T>
  void with(const std::string& path, T& place, T other) {
    if constexpr (std::equality_comparable<T>) {
      if (place == other) return;
    }
    if constexpr (std::is_same_v<T, float>) {  // numbers count as zero, positive, neither
      if ((place == 0) == (other == 0) && (place > 0) == (other > 0)) return;
    }
    const T before = place;
    place = other;
    check_(path);
    place = before;
  }

  Check check_, moved_;
};

// Every product among the parity lines but lists, which have no signature.
std::vector<std::string> lines() {
  std::vector<std::string> all;
  for (const char* file :
       {"types", "scales", "epilogue", "shapes", "layouts", "fused", "grouped", "chunks"}) {
    for (const std::string& line : lines_of(file)) {
      if (parse_problem_line(line).split != Split::list) all.push_back(line);
    }
  }
  return all;
}

class PlanCache : public testing::TestWithParam<std::string> {};

TEST_P(PlanCache, TellsProblemsApartThatDifferInOneField) {
  kit::Operands operands(parse_problem_line(GetParam()), kit::Content::gaussian);
  const LineProblem made = make_problem(parse_problem_line(GetParam()), operands);
  MatmulProblem problem = made.problem();
  const auto base = signature(problem, kThreads, -1);
  ASSERT_TRUE(base) << "a problem that the cache has no room for";
  const Made plan = plan_of(problem);
  EXPECT_EQ(plan, plan_of_a_fresh_thread(problem));
  int changes = 0;
  int addresses = 0;
  const auto changed = [&](const std::string& path) {
    ++changes;
    const auto other = signature(problem, kThreads, -1);
    EXPECT_FALSE(other && *other == *base) << path << " is no part of the signature";
    EXPECT_EQ(plan_of(problem), plan_of_a_fresh_thread(problem)) << path;
  };
  const auto moved = [&](const std::string& path) {
    ++addresses;
    EXPECT_EQ(plan_of_a_fresh_thread(problem), plan) << path;
  };
  OneFieldAtATime fields(changed, moved);
  fields.walk("single", problem.single);
  fields.walk("steps", problem.groups.steps);
  fields.walk("options", problem.options);
  EXPECT_GT(changes, 50);
  EXPECT_GE(addresses, 10);  // five of each view
  EXPECT_EQ(plan_of(problem), plan);
}

// B has no use for a quantiser, but a problem may have one there.
TEST(Outline, KeepsTheRulesOfBothOperandsApart) {
  const ProblemLine line = parse_problem_line(
      "scaled_mm bf16:e4m3fn:fp32 quantize=e4m3fn scale=group32:block32x32 9x70x96");
  kit::Operands operands(line, kit::Content::gaussian);
  const LineProblem made = make_problem(line, operands);
  MatmulProblem problem = made.problem();
  const Made plan = plan_of(problem);
  ActivationQuant unused;
  unused.spec.granularity = block(0, 0);
  problem.single.b.quantize = &unused;
  EXPECT_EQ(plan_of(problem), plan);
}

// for_each_field leaves no byte of a struct out but what aligns the next field.
template <HasFields T>
void expect_whole(const char* name) {
  T value{};
  const char* end = reinterpret_cast<const char*>(&value);
  const auto gap_to = [&](const void* place, std::size_t alignment) {
    const auto at = reinterpret_cast<std::uintptr_t>(end);
    const std::size_t padding = (alignment - at % alignment) % alignment;
    EXPECT_EQ(static_cast<const char*>(place) - end, static_cast<std::ptrdiff_t>(padding))
        << "a field of " << name << " is missing in core/problem/fields.hpp";
  };
  for_each_field(value, [&](const char*, auto& field) {
    gap_to(&field, alignof(std::remove_reference_t<decltype(field)>));
    end = reinterpret_cast<const char*>(&field) + sizeof(field);
  });
  gap_to(&value + 1, alignof(T));
}

TEST(Fields, AreAllOfThem) {
  expect_whole<Device>("Device");
  expect_whole<TensorView>("TensorView");
  expect_whole<Elements>("Elements");
  expect_whole<MatrixView>("MatrixView");
  expect_whole<ScaleView>("ScaleView");
  expect_whole<Granularity>("Granularity");
  expect_whole<QuantizeSpec>("QuantizeSpec");
  expect_whole<ActivationQuant>("ActivationQuant");
  expect_whole<OperandView>("OperandView");
  expect_whole<Factor>("Factor");
  expect_whole<ColumnList>("ColumnList");
  expect_whole<Outliers>("Outliers");
  expect_whole<Epilogue>("Epilogue");
  expect_whole<Member>("Member");
  expect_whole<GroupSteps>("GroupSteps");
  expect_whole<Groups>("Groups");
  expect_whole<MatmulOptions>("MatmulOptions");
}

INSTANTIATE_TEST_SUITE_P(Lines, PlanCache, testing::ValuesIn(lines()),
                         [](const auto& test) { return "Line" + std::to_string(test.index); });

}  // namespace
}  // namespace octavo::test::plan_cache_test
