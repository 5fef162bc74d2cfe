// SPDX-License-Identifier: Apache-2.0
// explain and the choice of a backend: forced by argument, forced by environment, unknown.
#include <algorithm>
#include <map>
#include <sstream>
#include <string>

#include "kit/operands/operands.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::explain_test {
namespace {

class Explain : public testing::Test {
 protected:
  void TearDown() override { ::unsetenv("OCTAVO_BACKEND"); }
  Tensor a_ = integers(int8, {20, 30}, 1);
  Tensor b_ = integers(int8, {30, 40}, 2);
  MatmulProblem problem_ = scaled_mm_problem(a_, b_, {.scale_a = 0.5});
};

const Candidate& chosen(const Explanation& e) {
  static const Candidate none;
  for (const Candidate& c : e.candidates) {
    if (c.chosen) return c;
  }
  return none;
}

std::string names_of_backends() {
  std::string names;
  for (const BackendInfo& b : backends()) names += (names.empty() ? "" : ", ") + b.name;
  return names;
}

TEST_F(Explain, ListsEveryBackendOnceWithAReasonAndChoosesOne) {
  const Explanation e = explain(problem_);
  const std::vector<BackendInfo> all = backends();
  ASSERT_EQ(e.candidates.size(), all.size());
  int choices = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(e.candidates[i].backend, all[i].name);
    EXPECT_FALSE(e.candidates[i].reason.empty());
    EXPECT_FALSE(all[i].summary.empty());
    choices += e.candidates[i].chosen ? 1 : 0;
  }
  EXPECT_EQ(choices, 1);
  EXPECT_EQ(all.back().name, "reference");  // last, and always right
  EXPECT_TRUE(e.candidates.back().accepts);
  EXPECT_EQ(e.candidates.back().reason, chosen(e).backend + " comes first");
}

TEST_F(Explain, AForcedBackendIsChosenAndTheOthersSayWhy) {
  for (const Candidate& candidate : explain(problem_).candidates) {
    if (!candidate.accepts) continue;
    const char* backend = candidate.backend.c_str();
    const Explanation e = explain(problem_, {}, backend);
    EXPECT_EQ(chosen(e).backend, backend);
    EXPECT_NE(chosen(e).reason.find(" (forced)"), std::string::npos);
    for (const Candidate& c : e.candidates) {
      if (c.chosen || !c.accepts) continue;
      EXPECT_EQ(c.reason, std::string(backend) + " is forced");
    }
    ::setenv("OCTAVO_BACKEND", backend, 1);
    EXPECT_EQ(chosen(explain(problem_)).backend, backend);
    EXPECT_EQ(explain(problem_).to_string(), e.to_string());
    ::unsetenv("OCTAVO_BACKEND");
  }
}

TEST_F(Explain, TheArgumentPrevailsOverTheEnvironment) {
  ::setenv("OCTAVO_BACKEND", "reference", 1);
  EXPECT_EQ(chosen(explain(problem_, {}, "generic")).backend, "generic");
  ::setenv("OCTAVO_BACKEND", "", 1);
  EXPECT_EQ(chosen(explain(problem_)).backend, chosen(explain(problem_, {}, nullptr)).backend);
}

TEST_F(Explain, AnUnknownBackendIsRefusedByNameWhereverItWasNamed) {
  const std::string names = names_of_backends();
  expect_error([&] { explain(problem_, {}, "cuda13"); }, Code::invalid_argument,
               "explain: backend must be one of " + names + "; got 'cuda13'", true);
  ::setenv("OCTAVO_BACKEND", "no-such", 1);
  const struct {
    const char* operation;
    std::function<void()> call;
  } rows[] = {
      {"explain", [&] { explain(problem_); }},
      {"scaled_mm", [&] { scaled_mm(a_, b_); }},
      {"quantize",
       [&] {
         quantize(gaussians(float32, {2, 2}, 1));
       }},
      {"pack", [&] { pack(b_); }},
      {"scaled_mm", [&] { workspace_bytes(problem_); }},
      {"int8_vectorwise_quant",
       [&] {
         int8_vectorwise_quant(gaussians(float32, {2, 2}, 1));
       }},
  };
  for (const auto& row : rows) {
    expect_error(
        row.call, Code::invalid_argument,
        std::string(row.operation) + ": OCTAVO_BACKEND must be one of " + names + "; got 'no-such'",
        true);
  }
}

// The plan cache must not remember a choice that was forced, or the forced one an earlier choice.
TEST_F(Explain, AForcedCallDoesNotChangeTheNextOne) {
  const Tensor x = gaussians(float32, {5, 300}, 1);
  const Tensor y = gaussians(float32, {300, 7}, 2);
  const ExecContext serial{.executor = &serial_executor()};
  const Tensor free = scaled_mm(x, y, {}, serial);
  const std::size_t before = workspace_bytes(scaled_mm_problem(x, y), serial);
  (void)scaled_mm(x, y, {.backend = "reference"}, serial);
  EXPECT_EQ(workspace_bytes(scaled_mm_problem(x, y), serial, "reference"), 0U);
  EXPECT_EQ(workspace_bytes(scaled_mm_problem(x, y), serial), before);
  expect_same_bits(scaled_mm(x, y, {}, serial), free);
}

TEST_F(Explain, SaysWhoseThreadsRun) {
  ThreadExecutor five(5);
  EXPECT_EQ(explain(problem_, {.executor = &five}).executor, "5 threads of the caller's executor");
  EXPECT_EQ(explain(problem_).executor, std::to_string(default_executor().concurrency()) +
                                            " threads, " + default_executor_reason());
}

// Every backend stands behind its verdict, once, beside others of the same reason.
TEST_F(Explain, TheTextNamesEveryBackendThenErrorWorkspaceAndThreads) {
  const Explanation e = explain(problem_);
  const std::string text = e.to_string();
  EXPECT_TRUE(text.starts_with("runs       " + chosen(e).backend + ": ")) << text;
  std::map<std::string, int> named;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::string verdict = line.substr(0, line.find(' '));
    if (verdict != "runs" && verdict != "could" && verdict != "no") continue;
    const std::size_t colon = line.find(": ");
    ASSERT_NE(colon, std::string::npos) << line;
    const std::string names = line.substr(11, colon - 11);
    for (const Candidate& c : e.candidates) {
      if ((", " + names + ", ").find(", " + c.backend + ", ") == std::string::npos) continue;
      ++named[c.backend];
      EXPECT_EQ(line.substr(colon + 2), c.reason);
      EXPECT_EQ(verdict, c.chosen ? "runs" : c.accepts ? "could" : "no");
    }
  }
  for (const BackendInfo& b : backends()) EXPECT_EQ(1, named[b.name]) << b.name << '\n' << text;
  EXPECT_NE(text.find("error      the sum is exact"), std::string::npos);
  EXPECT_NE(text.find("workspace  " + std::to_string(e.workspace_bytes) + " bytes\n"),
            std::string::npos);
  EXPECT_NE(text.find("threads    "), std::string::npos);
}

// What a call does to a weight depends on its packing and on how many rows there are for it.
TEST_F(Explain, SaysHowAWeightIsRead) {
  const auto weight_of = [](const std::string& words) {
    const ProblemLine line = parse_problem_line("scaled_mm int8:int8:fp32 " + words);
    kit::Operands operands(line, kit::Content::gaussian);
    const LineProblem made = make_problem(line, operands);
    const Explanation e = explain(made.problem());
    EXPECT_EQ(e.to_string().find("\nweight ") != std::string::npos, !e.weight.empty()) << words;
    return e.weight;
  };
  EXPECT_EQ(weight_of("prepacked 1x100x100"), "");
  const auto runs = [](const BackendInfo& b) { return b.name == "avx512" && b.usable; };
  if (std::ranges::none_of(backends(), runs)) GTEST_SKIP() << "no AVX-512";
  EXPECT_NE(weight_of("1x100x100").find("in place"), std::string::npos);
  EXPECT_NE(weight_of("layout=row 4x100x100").find("in place"), std::string::npos);
  EXPECT_NE(weight_of("1000x100x100").find("packed by every call"), std::string::npos);
  EXPECT_NE(weight_of("layout=strided 1x100x100").find("packed by every call"), std::string::npos);
  // Also where AMX reads so many rows' weight in place, but not one of a short K.
  EXPECT_NE(weight_of("64x100x64").find("packed by every call"), std::string::npos);
}

// Section 9: gamma = n u / (1 - n u), n = K + ceil(K / g) + 8; integer sums are exact.
// A problem made by hand, which no lowering has checked.
TEST_F(Explain, NoBackendTakesTheMemoryOfAnotherDevice) {
  const Tensor out = Tensor::empty(float32, {20, 40});
  problem_.single.out = out;
  run(problem_);  // so that a plan is there
  for (MatrixView* v : {&problem_.single.a.data, &problem_.single.b.data, &problem_.single.out}) {
    v->device = {DeviceType::cuda, 64};  // one more than the driver counts to
  }
  for (const Candidate& c : explain(problem_).candidates) {
    EXPECT_FALSE(c.accepts);
    EXPECT_FALSE(c.reason.empty());
  }
  expect_error([&] { run(problem_); }, Code::unavailable,
               "scaled_mm: operands.device " + device_refusal("cuda", 64), true);
}

TEST(Devices, AreRefusedByTheirNames) {
  EXPECT_EQ(device_refusal("cpu", 0), "");
  EXPECT_EQ(device_refusal(Device{}), "");
  const std::string cuda = device_refusal("cuda", 64);
  EXPECT_EQ(cuda.find("must be cpu"), 0U) << cuda;
  EXPECT_NE(cuda.find("; got cuda:64"), std::string::npos) << cuda;
  EXPECT_EQ(device_refusal("xpu", 0), "must be cpu (no xpu backend is built); got xpu:0");
  EXPECT_EQ(device_refusal(Device{static_cast<DeviceType>(77), 0}),
            "must be cpu (no type 77 backend is built); got type 77:0");
}

TEST(ErrorBound, IsGammaOfTheFloatingSteps) {
  const auto gamma = [](double n) { return n * 0x1p-24 / (1.0 - n * 0x1p-24); };
  const auto bound = [](const char* line) { return explain(parse_problem_line(line)).error_bound; };
  EXPECT_EQ(bound("scaled_mm int8:int8:fp32 scale=token:channel 1x2x300"), 0.0);
  EXPECT_EQ(bound("scaled_mm fp32:fp32:fp32 1x2x300"), gamma(300 + 1 + 8));
  EXPECT_EQ(bound("scaled_mm e4m3fn:e4m3fn:bf16 scale=group128:block128x128 1x2x300"),
            gamma(300 + 3 + 8));
  EXPECT_EQ(bound("scaled_mm int8:int8:fp32 scale=group128:channel 1x2x300"), gamma(3 + 8));
  EXPECT_EQ(bound("grouped_mm fp32:fp32:fp32 split=inner groups=10+290 1x2x300"),
            gamma(290 + 1 + 8));
}

// Without operands as with them, however they lie.
TEST(Explanations, OfLinesAreThoseOfTheirProblems) {
  for (const char* types : {"int8:int8:bf16 scale=token:channel", "bf16:bf16:bf16",
                            "e4m3fn:e4m3fn:bf16 scale=token:channel", "fp32:fp32:fp32"}) {
    for (const char* layout : {"natural", "row", "strided", "reversed", "broadcast"}) {
      for (const char* shape : {"1x70x256", "16x70x256", "64x70x256", "300x70x256"}) {
        const ProblemLine line = parse_problem_line(std::string("scaled_mm ") + types +
                                                    " layout=" + layout + " " + shape);
        kit::Operands operands(line, kit::Content::gaussian);
        const LineProblem made = make_problem(line, operands);
        for (const char* backend : {"", "generic", "reference"}) {
          const char* name = *backend == 0 ? nullptr : backend;
          EXPECT_EQ(explain(line, {}, name).to_string(),
                    explain(made.problem(), {}, name).to_string())
              << to_string(line);
        }
      }
    }
  }
}

TEST(Machine, IsNamed) {
  EXPECT_FALSE(cpu_name().empty());
  for (const CpuFeature& feature : cpu_features()) EXPECT_FALSE(feature.name.empty());
}

}  // namespace
}  // namespace octavo::test::explain_test
