// SPDX-License-Identifier: Apache-2.0
// Products on every set of dot-product kernels that a CPU may have: within the bound, and the same
// bits however B is packed and however many threads there are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/dot/path.hpp"
#include "core/problem/operand.hpp"
#include "dot_runs.hpp"
#include "kit/oracle/oracle.hpp"
#include "kernels/machines/machines.hpp"
#include "support/lines.hpp"

namespace octavo::test::machine_test {
namespace {

using kit::Content;
using kit::Operands;

// A problem line, packed or not, and its operands.
class Made {
 public:
  Made(const std::string& line, const char* packer, Content content = Content::uniform)
      : operands_(lined(line, packer), content, guarded(GuardedSide::right)),
        made_(make_problem(lined(line, packer), operands_, packer)) {}
  const MatmulProblem& problem() const { return made_.problem(); }
  void poison() const { kit::poison_outputs(operands_); }

 private:
  static ProblemLine lined(const std::string& text, const char* packer) {
    ProblemLine line = parse_problem_line(text);
    line.prepacked = packer != nullptr;
    return line;
  }
  Operands operands_;
  LineProblem made_;
};

// Nobody, and the backends that pack.
std::vector<const char*> packers() {
  std::vector<const char*> names{nullptr, "generic"};
  if (dot_packer() != nullptr) names.push_back(dot_packer());
  return names;
}

bool integers(const MatmulProblem& problem) { return is_integer8(problem.single.a.data.dtype); }

// Packed for another backend, int8 goes there, and e4m3 that an instruction takes as it is.
bool runs(const MatmulProblem& problem, const cpu::DotMachine& machine, const char* packer) {
  if (packer == nullptr || std::string(packer) != "generic") return true;
  cpu::DotPath path;
  cpu::find_path(problem.single, problem.options, machine, path);
  return !integers(problem) && path.rows != DType::float8_e4m3fn;
}

// A line's operands for all machines, since making them takes as long as products: those of what
// is wanted, and of each way to pack them.
struct Ways {
  struct Way {
    const char* packer;
    std::unique_ptr<Made> made;
  };
  std::string line;
  Made want;
  std::unique_ptr<Made> generic;  // null: floats
  std::vector<Way> packed;

  Ways(const std::string& text, bool packable) : line(text), want(text, nullptr) {
    if (integers(want.problem())) {
      generic = std::make_unique<Made>(line, nullptr);
      run(generic->problem(), {}, "generic");
    }
    for (const char* packer : packers()) {
      if (packer == nullptr || packable) {
        packed.push_back({packer, std::make_unique<Made>(line, packer)});
      }
    }
  }
};

void expect_answer_of(const cpu::DotMachine& m, const Ways& ways, const std::vector<int>& threads) {
  const MatmulProblem& want = ways.want.problem();
  ASSERT_STREQ(refusal(want, m), nullptr) << ways.line << ", " << m.name;
  ways.want.poison();
  Pretender one(1);
  run_alone(m, want, {.executor = &one});
  const kit::Verdict verdict = kit::compare_exact(want, 8, 30);
  EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst << '\n' << ways.line << ", " << m.name;
  if (ways.generic != nullptr) {
    EXPECT_TRUE(same_bits(want, ways.generic->problem())) << ways.line << ", " << m.name;
  }
  for (const Ways::Way& way : ways.packed) {
    if (!runs(want, m, way.packer)) continue;
    const MatmulProblem& got = way.made->problem();
    for (const int count : threads) {
      way.made->poison();
      Pretender executor(count);
      run_alone(m, got, {.executor = &executor});
      EXPECT_TRUE(same_bits(got, want))
          << ways.line << ", " << m.name << ", " << count << " threads, packed for "
          << (way.packer != nullptr ? way.packer : "nobody");
      EXPECT_TRUE(threads.size() == 1 || executor.most_tasks() == count)
          << ways.line << ": too little work to be shared out";
    }
  }
}

bool any_machine(const cpu::DotMachine&) { return true; }
bool fetches_rows(const cpu::DotMachine& m) {
  return m.integers != nullptr && m.integers->dot.fetches_rows;
}

void expect_one_answer(const std::string& line, const std::vector<int>& threads,
                       bool packable = true,
                       bool (*runs_on)(const cpu::DotMachine&) = any_machine) {
  const Ways ways(line, packable);
  for (const cpu::DotMachine& m : tested_machines()) {
    if (runs_on(m)) expect_answer_of(m, ways, threads);
  }
}

// Shapes of more work than one thread's.
TEST(DotMachines, GiveOneAnswerHoweverBIsPackedAndWorkIsShared) {
  for (const char* line : {"scaled_mm e4m3fn:e4m3fn:fp32 scale=token:channel bias 30x202x601",
                           "scaled_mm e5m2:e4m3fnuz:fp32 scale=token:channel 7x513x500",
                           "scaled_mm e4m3fnuz:e5m2fnuz:bf16 scale=tensor:channel 60x97x333",
                           "scaled_mm e4m3fn:e4m3fn:fp32 scale=group128:block128x128 13x331x512",
                           "scaled_mm e4m3fn:e5m2:fp32 scale=mx:mx scale_dtype=e8m0fnu 26x161x500",
                           "scaled_mm bf16:bf16:fp32 30x202x301",
                           "scaled_mm bf16:bf16:fp32 1x1030x601",
                           "scaled_mm bf16:bf16:fp32 scale=group32:group48 9x750x333",
                           "scaled_mm bf16:bf16:fp32 scale=group10:group30 13x300x333",
                           "scaled_mm bf16:bf16:fp32 scale=group40:none 33x130x1700",
                           "scaled_mm e4m3fn:e4m3fn:fp32 scale=none:group14 13x600x333",
                           "scaled_mm fp16:fp16:fp32 30x202x201",
                           "scaled_mm fp32:fp32:fp32 scale=none:group16 8x400x303",
                           "scaled_mm fp32:fp32:fp32 bias 25x130x301",
                           "scaled_mm bf16:int8:fp32 scale=none:channel 30x202x301",
                           "scaled_mm bf16:e4m3fnuz:fp32 scale=none:block128x128 30x202x301",
                           "scaled_mm fp16:e5m2:fp32 scale=none:group32 30x202x301",
                           "scaled_mm fp16:int8:fp32 scale=none:channel 5x602x401",
                           "scaled_mm int8:int8:fp32 scale=group32:group128 30x202x601",
                           "scaled_mm int8:int8:fp32 scale=group12:group36 30x202x601",
                           "scaled_mm uint8:int8:fp32 scale=group128:block128x128 31x202x601",
                           "scaled_mm uint8:int8:fp32 scale=token:channel azp 31x202x601"}) {
    expect_one_answer(line, {1, 2, 3, 4, 5, 16});
  }
}

// More rows of A than a second-level cache keeps, where kernels fetch them: some panels share
// chunks of them, in blocks of rows.
TEST(DotMachines, ShareRowsThatACacheDoesNotKeep) {
  if (std::ranges::none_of(tested_machines(), fetches_rows)) GTEST_SKIP() << "no AMX";
  for (const char* line :
       {"scaled_mm bf16:bf16:fp32 bias 140x257x3900",
        "scaled_mm e5m2:e4m3fnuz:fp32 scale=token:channel 280x257x2100",
        "scaled_mm uint8:int8:fp32 scale=token:channel azp 300x321x3600",
        // Three blocks, the last of them lower, two chunks.
        "scaled_mm uint8:int8:fp32 scale=token:channel azp 386x321x4200",
        // More than are read beside an unpacked weight: several parts, chunks and strips, the last
        // of them short; a member each side of that number.
        "scaled_mm bf16:bf16:fp32 bias 290x330x2100",
        "scaled_mm e4m3fn:e4m3fn:fp32 layout=row 270x270x2100",
        "scaled_mm uint8:int8:fp32 scale=token:channel azp 330x270x4200",
        "grouped_mm int8:int8:fp32 scale=token:channel groups=257+3+256 516x130x600",
        "scaled_mm bf16:bf16:fp32 layout=strided 270x130x600",
        "scaled_mm bf16:bf16:fp32 1090x130x40"}) {
    expect_one_answer(line, {3}, true, fetches_rows);
  }
  // Some members, neither of few rows nor of many, in workspaces for any offsets.
  expect_one_answer("grouped_mm bf16:bf16:fp32 groups=10+140+3+130 283x260x4100", {3}, false,
                    fetches_rows);
}

TEST(DotMachines, ApplyTheCommonRefinementOfGroups) {
  for (const char* types :
       {"e4m3fn:e4m3fn", "bf16:bf16", "fp16:fp16", "bf16:e5m2", "int8:int8", "uint8:int8"}) {
    for (const int a : {8, 10, 32, 48, 128}) {
      for (const int b : {8, 10, 32, 48, 128}) {
        if (types[0] != 'e' && types[0] != 'b' && types[0] != 'f' && (a == 10 || b == 10)) continue;
        const std::string line = std::string("scaled_mm ") + types + ":fp32 scale=group" +
                                 std::to_string(a) + ":group" + std::to_string(b) + " 7x33x391";
        expect_one_answer(line, {1});
      }
    }
  }
}

// A weight that is packed for these kernels is read as it lies, or decoded by vectors: one that
// went through rows of floats would be slower than one that is not packed.
TEST(DotMachines, ReadOrDecodeWhatIsPackedForThem) {
  if (dot_packer() == nullptr) GTEST_SKIP() << "no backend packs for dot products here";
  const auto decodes = [](const cpu::DotKernels& kernels, DType weight) {
    if (weight == DType::int8) return kernels.decode_int8 != nullptr;
    if (is_float8(weight)) return kernels.decode_float8 != nullptr;
    return element_bytes(weight) == 2 && kernels.from_pairs != nullptr;
  };
  for (const char* types :
       {"int8:int8", "uint8:int8", "e4m3fn:e4m3fn", "e5m2:e4m3fnuz", "bf16:bf16", "fp16:fp16",
        "fp32:fp32", "bf16:int8", "fp16:int8", "bf16:e5m2", "fp16:e4m3fn", "fp32:bf16", "bf16:fp16",
        "fp16:bf16", "e4m3fn:bf16", "int8:fp16"}) {
    for (const char* extents : {"1x70x40", "100x70x40"}) {
      const std::string line = std::string("scaled_mm ") + types + ":fp32 " + extents;
      const Made made(line, dot_packer());
      for (const cpu::DotMachine& m : tested_machines()) {
        const Member& member = made.problem().single;
        cpu::DotPath path;
        ASSERT_STREQ(cpu::find_path(member, made.problem().options, m, path), nullptr)
            << line << ", " << m.name;
        EXPECT_TRUE(path.direct != nullptr || decodes(path.kernels(), weight_dtype(member.b)))
            << line << ", " << m.name;
      }
    }
  }
}

// Chunks of K, and groups that are longer than one.
TEST(DotMachines, AddUpChunksAndGroupsThatSpanThem) {
  for (const char* line :
       {"scaled_mm e4m3fn:e4m3fn:fp32 scale=group10000:group10000 3x70x40000",
        "scaled_mm e4m3fn:e4m3fn:fp32 scale=token:channel 26x35x9001",
        "scaled_mm e4m3fn:e5m2:fp32 scale=group48:group128 5x70x9001",
        "scaled_mm e4m3fn:e5m2:fp32 scale=group5000:group128 13x70x9001",
        "scaled_mm bf16:bf16:fp32 scale=none:group10000 3x70x40000",
        "scaled_mm bf16:bf16:fp32 7x97x5001",
        "scaled_mm bf16:bf16:fp32 scale=group100:none 7x34x5001",
        "scaled_mm bf16:bf16:fp32 scale=group100:group30 70x34x5001",
        "scaled_mm bf16:int8:fp32 scale=none:group100 35x70x9001",
        "scaled_mm e4m3fn:e4m3fn:fp32 scale=group5002:none k_chunks=5 40x70x9001",
        "scaled_mm bf16:bf16:fp32 k_chunks=24 33x70x777",
        "scaled_mm fp16:fp16:fp32 scale=group1500:group1000 3x70x5000",
        "scaled_mm fp32:fp32:fp32 26x35x3001",
        "scaled_mm int8:int8:fp32 scale=group10000:group10000 3x70x40000",
        "scaled_mm int8:int8:fp32 scale=group48:group128 13x70x9001",
        "scaled_mm int8:int8:fp32 scale=none:group5000 525x20x9001",
        "scaled_mm uint8:int8:fp32 scale=group5000:group128 13x70x9001"}) {
    expect_one_answer(line, {1});
  }
}

// Slices along K keep the scales of the operand that they are cut from: their groups begin inside.
TEST(DotMachines, TakeScalesOfSlices) {
  for (const char* types : {"e4m3fn:e4m3fn", "bf16:bf16", "fp32:fp32", "int8:int8"}) {
    for (const char* rest : {"scale=group16:group48 split=inner groups=40+0+96+12+131 7x70x279",
                             "scale=group32:none split=inner groups=8+60+64+31 13x70x163",
                             "scale=none:group128 split=inner groups=100+300+7 25x70x407"}) {
      expect_one_answer(std::string("grouped_mm ") + types + ":fp32 " + rest, {1}, false);
    }
    for (const char* rest : {"scale=block4x16:block16x24 split=columns groups=4+0+67+70 7x141x60",
                             "scale=block4x16:block16x24 groups=3+0+26+1 30x70x60",
                             "scale=group16:block48x100 split=columns groups=70+99+1 7x170x90"}) {
      expect_one_answer(std::string("grouped_mm ") + types + ":fp32 " + rest, {1}, false);
    }
  }
}

// What a step of the kernels cannot follow is refused with its reason.
TEST(DotMachines, RefuseScalesThatTheirStepsCannotFollow) {
  const auto expect = [](const char* line, const char* why) {
    for (const cpu::DotMachine& m : tested_machines()) {
      const Made made(line, nullptr);
      if (m.pairs == nullptr && std::string(line).find("int8") == std::string::npos) {
        continue;  // steps of one element follow any
      }
      EXPECT_STREQ(refusal(made.problem(), m), why) << line << ", " << m.name;
    }
  };
  const char* const inside =
      "a group of scales ends inside a step of the kernels (4 of int8, 2 of fp8 and bfloat16)";
  const char* const often = "scales change more often than every 8 elements along K";
  expect("scaled_mm e4m3fn:e4m3fn:fp32 scale=group9:none 3x5x40", inside);
  expect("scaled_mm bf16:bf16:fp32 scale=none:group33 3x5x40", inside);
  expect("scaled_mm int8:int8:fp32 scale=group10:none 3x5x40", inside);
  expect("scaled_mm bf16:e4m3fn:fp32 scale=none:group6 3x5x40", often);
  expect("scaled_mm int8:int8:fp32 scale=element:none 3x5x40", often);
  expect("scaled_mm int8:int8:fp32 scale=none:per_k 3x5x40", often);
  expect("grouped_mm e4m3fn:e4m3fn:fp32 scale=group16:none split=inner groups=11+29 7x11x40",
         inside);
  expect("grouped_mm int8:int8:fp32 scale=none:group16 split=inner groups=10+30 7x11x40", inside);
  expect("scaled_mm uint8:int8:fp32 scale=group16:none azp 3x5x40",
         "zero points with scales that vary along K");
  expect("scaled_mm bf16:e4m3fn:fp32 quantize=e4m3fn scale=group9:none 3x5x40", inside);
  // Seven elements are too few, eight are not; groups of odd length follow steps of one.
  for (const cpu::DotMachine& m : tested_machines()) {
    for (const char* line : {"scaled_mm int8:int8:fp32 scale=group8:group8 3x5x40",
                             "scaled_mm fp16:fp16:fp32 scale=group9:group11 3x5x40"}) {
      EXPECT_STREQ(refusal(Made(line, nullptr).problem(), m), nullptr) << line;
    }
    EXPECT_STREQ(
        refusal(Made("scaled_mm fp16:fp16:fp32 scale=group7:none 3x5x40", nullptr).problem(), m),
        often);
  }
}

// Random fp8 codes that are numbers.
Tensor float8_codes(DType dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed) {
  const Tensor t = Tensor::empty(dtype, shape);
  const kit::Random random(seed);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    t.data_as<std::uint8_t>()[i] =
        static_cast<std::uint8_t>(random.bits(static_cast<std::uint64_t>(i)) & 0xB7U) | 0x20U;
  }
  return t;
}

// In the fnuz types 0x80 is NaN, which only panels without any may be decoded by a table for.
TEST(DotMachines, FindTheNanOfFnuzWeights) {
  constexpr std::int64_t kM = 14, kK = 77, kN = 300;
  struct Place {
    std::int64_t k, n;
  };
  for (const DType b_type : {float8_e4m3fnuz, float8_e5m2fnuz}) {
    for (const DType a_type : {float8_e4m3fnuz, float8_e4m3fn, bfloat16, float16}) {
      const Tensor codes = float8_codes(float8_e4m3fn, {kM, kK}, 1);
      const Tensor a = a_type == float8_e4m3fnuz ? float8_codes(a_type, {kM, kK}, 1)
                       : a_type == float8_e4m3fn ? codes
                                                 : codes.to(a_type);
      const Tensor b = float8_codes(b_type, {kK, kN}, 2);
      // Not in the panels of columns 0 and 192.
      for (const Place& at : {Place{3, 70}, Place{kK - 1, 150}, Place{0, kN - 1}}) {
        b.data_as<std::uint8_t>()[at.k * kN + at.n] = 0x80;
      }
      for (const cpu::DotMachine& m : tested_machines()) {
        std::vector<Tensor> results;
        for (const char* packer : packers()) {
          PackedWeight packed;
          if (packer != nullptr) packed = pack(b, {.activation = {}, .backend = packer});
          results.push_back(Tensor::empty(float32, {kM, kN}));
          run_alone(m,
                    scaled_mm_problem(a, packer != nullptr ? Operand(packed) : Operand(b),
                                      {.out_dtype = float32, .out = results.back()}),
                    {});
        }
        for (std::size_t r = 0; r < results.size(); ++r) {
          for (std::int64_t i = 0; i < kM * kN; ++i) {
            const float got = results[r].data_as<float>()[i];
            const std::int64_t n = i % kN;
            const bool nan = n == 70 || n == 150 || n == kN - 1;
            ASSERT_EQ(std::isnan(got), nan)
                << m.name << ", " << name(a_type) << " by " << name(b_type) << ", packing " << r
                << ", row " << i / kN << ", column " << n;
            ASSERT_TRUE(nan || got == results[0].data_as<float>()[i]);
          }
        }
      }
    }
  }
}

// Explanations name the kernels that run: a few rows decode codes of a weight in place if they
// do where it is packed, whatever packs it for more rows.
TEST(DotMachines, SayHowFewRowsReadCodesInPlace) {
  if (dot_packer() == nullptr) GTEST_SKIP() << "no machine of this CPU has kernels";
  const auto plan_of = [](const cpu::DotMachine& m, const std::string& line, const char* packer) {
    const Made made(line, packer);
    Plan plan;
    EXPECT_STREQ(cpu::plan_dot(kAvx512Backend, made.problem(), m, 1, plan), nullptr);
    return plan;
  };
  const auto says = [](const char* text, const char* word) {
    return std::string(text).find(word) != std::string::npos;
  };
  int decoded = 0;
  for (const cpu::DotMachine& m : tested_machines()) {
    for (const char* layout : {"natural", "row"}) {
      for (const DType b : kFloat8Types) {
        for (const char* a : {"bf16", "e4m3fn", "e5m2fnuz"}) {
          for (const int rows : {1, 3, 8, 13, 16}) {
            const std::string line =
                fmt::format("scaled_mm {}:{}:fp32 scale=tensor:channel layout={} {}x64x128", a,
                            name(b), layout, rows);
            const Plan packed = plan_of(m, line, dot_packer()),
                       unpacked = plan_of(m, line, nullptr);
            if (!says(unpacked.weight, "in place")) continue;
            if (!says(packed.how, "fp8")) continue;
            EXPECT_TRUE(says(unpacked.how, "fp8"))
                << m.name << ", " << line << ": " << unpacked.how << " | " << packed.how;
            ++decoded;
          }
        }
      }
    }
  }
  EXPECT_GT(decoded, 0);
}

}  // namespace
}  // namespace octavo::test::machine_test
