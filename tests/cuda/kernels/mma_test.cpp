// SPDX-License-Identifier: Apache-2.0
// The kernel of mma.sync through the simulator: bit for bit section 3 on the tensor cores' sums,
// whatever the shape and the tile, in every schedule; how fp8 is widened; banks; planted bugs.
#include <set>
#include <type_traits>

#include "mma_kit.hpp"

namespace octavo::test::mma_test {
namespace {

using cuda::kLargeTile;
using cuda::kSmallTile;
using cuda::simulator::Where;
using u32 = std::uint32_t;

// One epilogue in every schedule.
template <class Problem>
void expect_product(int m, int n, int k, u32 blocks) {
  FullProblem<Problem> problem(m, n, k);
  for (const Options& options : schedules(1))
    problem.expect({DType::bfloat16, DType::float32}, blocks, options);
}

TEST(MmaSync, Int8OfEveryKindOfShape) {
  using Large = MmaProblem<MmaType::s8_s8, kLargeTile>;
  using Small = MmaProblem<MmaType::s8_s8, kSmallTile>;
  expect_product<Large>(128, 128, 512, 1);
  expect_product<Large>(150, 140, 400, 2);  // ragged: two rows and columns of tiles
  expect_product<Small>(32, 64, 256, 1);
  expect_product<Small>(40, 130, 1000, 2);  // more steps than stages
  expect_product<Small>(1, 1, 5, 1);
  expect_product<Small>(3, 70, 16, 4);  // a CTA without a tile
}

TEST(MmaSync, FloatsByTheirSums) {
  expect_product<MmaProblem<MmaType::bf16_bf16, kSmallTile>>(9, 70, 200, 1);
  expect_product<MmaProblem<MmaType::f16_f16, kLargeTile>>(70, 130, 136, 1);
  expect_product<MmaProblem<MmaType::e4m3_e4m3, kSmallTile>>(33, 65, 300, 2);
  expect_product<MmaProblem<MmaType::e5m2_e4m3, kLargeTile>>(129, 40, 272, 1);
}

// Cells of two steps by cells of three, so that they end everywhere.
TEST(MmaSync, ScalesAlongKTakeTheSumsOfTheirCells) {
  constexpr MmaTerms kScales = MmaTerms::k_scales;
  expect_product<MmaProblem<MmaType::s8_s8, kSmallTile, kScales>>(33, 70, 300, 2);
  expect_product<MmaProblem<MmaType::u8_u8, kLargeTile, kScales>>(70, 130, 129, 1);
  expect_product<MmaProblem<MmaType::e4m3_e4m3, kLargeTile, kScales>>(130, 40, 500, 1);
  expect_product<MmaProblem<MmaType::e5m2_e4m3, kSmallTile, kScales>>(1, 9, 31, 1);
  expect_product<MmaProblem<MmaType::e5m2_e5m2, kSmallTile, kScales>>(9, 65, 1000, 3);
}

// On tensor cores that add otherwise, and have no fp8.
template <MmaType type>
void expect_bits_of_8() {
  FullProblem<MmaProblem<type, kSmallTile>> problem(20, 40, 300), hopper(20, 40, 300);
  problem.unit = cuda::simulator::TensorUnit::mma_sync_of_8;
  Options options;
  options.ampere = true;
  problem.expect({DType::float32}, 1, options);
  int differing = 0;
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 40; ++j) differing += problem.sum_of(i, j) != hopper.sum_of(i, j) ? 1 : 0;
  EXPECT_GT(differing, 0);
}
TEST(MmaSync, DevicesOf8AddTheirOwnWay) {
  expect_bits_of_8<MmaType::f16_f16>();
  expect_bits_of_8<MmaType::e4m3_e4m3>();
}

template <MmaType type>
void expect_every_output() {
  expect_every_epilogue<MmaProblem<type, kSmallTile>>(35, 70, 112, 2);
}
TEST(MmaSync, EveryOutputAndEpilogue) {
  expect_every_output<MmaType::u8_s8>();
  expect_every_output<MmaType::e4m3_e5m2>();
  expect_every_epilogue<MmaProblem<MmaType::f16_f16, kLargeTile>>(70, 34, 40, 1);
}

// ---- bits
// ----------------------------------------------------------------------------------------

// A device without the instruction.
class Older : public Machine {
 public:
  using Machine::Machine;
  explicit Older(const Machine& m) : Machine(m) {}
  static constexpr bool has_fp8 = false;
};

// What is stored of a problem: sums as they are.
template <class M, MmaType type, MmaTile tile, MmaTerms terms>
std::vector<u32> stored_by(MmaProblem<type, tile, terms>& problem, int m, u32 blocks) {
  using Sum = typename MmaProblem<type, tile, terms>::Sum;
  auto params = problem.full_params();
  params.m = m;
  TypedArray out(std::is_same_v<Sum, float> ? DType::float32 : DType::int32, m * problem.n);
  params.full.out.dtype = out.dtype();
  params.full.out.data = out.data();
  params.full.out.strides = {problem.n, 1};
  EXPECT_EQ("", fault_of(problem.launch(blocks), Options{}, [&](Machine machine) {
              Mma<type, tile, terms>::run(M(machine), params);
            }));
  std::vector<u32> bits;
  for (std::int64_t i = 0; i < out.count(); ++i) bits.push_back(out.bits(i));
  return bits;
}

// Of the first rows.
template <MmaType type, MmaTile tile, MmaTerms terms>
std::vector<u32> stored(int m, u32 blocks) {
  MmaProblem<type, tile, terms> problem(70, 130, 300);  // the same operands, whatever the tile
  return stored_by<Machine>(problem, m, blocks);
}

// A row's bits depend on neither the batch nor the tile nor who takes it.
template <MmaType type, MmaTerms terms = MmaTerms::none>
void expect_bits_of_the_row() {
  const std::vector<u32> all = stored<type, kLargeTile, terms>(70, 1);
  EXPECT_EQ(all, (stored<type, kSmallTile, terms>(70, 3)));
  const std::vector<u32> first(all.begin(), all.begin() + 130);
  EXPECT_EQ(first, (stored<type, kSmallTile, terms>(1, 1)));
  EXPECT_EQ(first, (stored<type, kLargeTile, terms>(1, 2)));
}
TEST(MmaSync, ARowsBitsDependOnNothingElse) {
  expect_bits_of_the_row<MmaType::u8_u8>();
  expect_bits_of_the_row<MmaType::bf16_bf16>();
  expect_bits_of_the_row<MmaType::e4m3_e5m2>();
  expect_bits_of_the_row<MmaType::e4m3_e4m3, MmaTerms::k_scales>();
  expect_bits_of_the_row<MmaType::s8_s8, MmaTerms::k_scales>();
}

// Outliers of the large tile, whose two halves finish side by side, are those of the small one.
template <MmaTile tile>
std::vector<u32> stored_with_outliers(std::int64_t listed) {
  MmaProblem<MmaType::s8_s8, tile, MmaTerms::outliers> problem(140, 137, 64);
  const std::vector<std::int64_t> columns{0,  3,  4,  9,  10, 11, 20, 21, 22, 23,
                                          24, 25, 31, 40, 41, 42, 50, 51, 52, 60};
  TypedArray a(DType::float16, 140 * 64), out(DType::float32, 140 * 137);
  for (std::int64_t i = 0; i < a.count(); ++i) a.put(i, static_cast<float>(i * 37 % 101) / 8 - 6);
  auto params = problem.full_params();
  params.full.scale_a.number = 0.5F;
  params.full.out.dtype = out.dtype();
  params.full.out.data = out.data();
  params.full.out.strides = {137, 1};
  params.full.outliers.a.data = a.data();
  params.full.outliers.a.dtype = a.dtype();
  params.full.outliers.a.strides = {64, 1};
  params.full.outliers.columns = {columns.data(), listed};
  params.full.codes.data = problem.b.row(0);
  params.full.codes.dtype = DType::int8;
  params.full.codes.strides = {1, params.pitch_b};
  EXPECT_EQ("", fault_of(problem.launch(2), Options{}, [&](Machine machine) {
              Mma<MmaType::s8_s8, tile, MmaTerms::outliers>::run(machine, params);
            }));
  std::vector<u32> bits;
  for (std::int64_t i = 0; i < out.count(); ++i) bits.push_back(out.bits(i));
  return bits;
}
TEST(MmaSync, OutliersOfEveryTile) {
  const std::vector<u32> none = stored_with_outliers<kLargeTile>(0);
  const std::vector<u32> some = stored_with_outliers<kLargeTile>(20);
  EXPECT_NE(none, some);
  EXPECT_EQ(none, stored_with_outliers<kSmallTile>(0));
  EXPECT_EQ(some, stored_with_outliers<kSmallTile>(20));
}

// ---- shared memory
// -------------------------------------------------------------------------------

// Remembers where tiles are written and read in the source.
struct Watching : Machine {
  Watching(const Machine& m, std::set<std::string>& lines_) : Machine(m), lines(&lines_) {}
  void ldmatrix4(u32 address, u32 (&r)[4], Where where = Where::current()) {
    lines->insert(spelled(where));
    Machine::ldmatrix4(address, r, where);
  }
  void cp_async16(u32 address, const void* global, u32 bytes, Where where = Where::current()) {
    lines->insert(spelled(where));
    Machine::cp_async16(address, global, bytes, where);
  }
  std::set<std::string>* lines;
};

template <MmaType type, MmaTile tile>
void expect_no_conflict() {
  MmaProblem<type, tile> problem(200, 150, 300);
  auto params = problem.full_params();
  params.full.out.dtype = DType::float32;
  std::vector<float> out(200 * 150);
  params.full.out.data = out.data();
  params.full.out.strides = {150, 1};
  Options options;
  options.count_banks = true;
  std::set<std::string> lines;
  const Counters counters = cuda::simulator::simulate(problem.launch(1), options, [&](Machine m) {
    Mma<type, tile>::run(Watching(m, lines), params);
  });
  EXPECT_EQ(lines.size(), 3U);  // copies; A, B
  for (const std::string& line : lines) {
    const auto use = counters.banks.find(line);
    ASSERT_NE(use, counters.banks.end()) << line;
    EXPECT_EQ(use->second.wavefronts, use->second.ideal) << line;
  }
}
TEST(MmaSync, CopiesAndMatricesMeetInNoBank) {
  expect_no_conflict<MmaType::s8_s8, kLargeTile>();
  expect_no_conflict<MmaType::e5m2_e5m2, kSmallTile>();
}

// ---- planted bugs
// --------------------------------------------------------------------------------

enum class Bug {
  none,
  copies_not_waited_for,
  copies_not_committed,
  no_meetings,
  step_not_met,
  last_step_not_met,
  sums_not_met,
  panels_not_met,
  not_swizzled,
  tail_not_cut,
  count
};

struct Broken : Machine {
  Broken(const Machine& m, Bug bug_) : Machine(m), bug(bug_) {}
  template <u32 n>
  void cp_async_wait(Where where = Where::current()) {
    if (bug == Bug::copies_not_waited_for && n != 0) return Machine::cp_async_wait<n + 1>(where);
    Machine::cp_async_wait<n>(where);
  }
  void cp_async_commit() {
    if (bug != Bug::copies_not_committed || commits++ != 1) Machine::cp_async_commit();
  }
  void sync_named(u32 id, u32 threads, Where where = Where::current()) {
    const int meeting = meetings++;
    if (bug == Bug::no_meetings || (bug == Bug::step_not_met && meeting == 2) ||
        (bug == Bug::last_step_not_met && meeting == kSteps) ||
        (bug == Bug::sums_not_met && meeting == kSteps + 1) ||
        (bug == Bug::panels_not_met && meeting == kSteps + 2))
      return;
    Machine::sync_named(id, threads, where);
  }
  void ldmatrix4(u32 address, u32 (&r)[4], Where where = Where::current()) {
    Machine::ldmatrix4(bug == Bug::not_swizzled ? cuda::swizzle_128(address) : address, r, where);
  }
  void cp_async16(u32 address, const void* global, u32 bytes, Where where = Where::current()) {
    const bool whole = bug == Bug::tail_not_cut && bytes > 0;
    Machine::cp_async16(address, global, whole ? 16 : bytes, where);
  }
  static constexpr int kSteps = 4;  // of a tile, which then meets three times more
  Bug bug;
  int commits = 0, meetings = 0;
};

TEST(MmaSync, EveryScheduleFindsEveryPlantedBug) {
  using Problem = MmaProblem<MmaType::s8_s8, kLargeTile>;
  Problem problem(30, 150, 500);                 // two tiles of a CTA, four steps
  static_assert(Problem::Kernel::kStages == 3);  // sums overwrite the stages that are read last
  for (ByteMatrix* x : {&problem.a, &problem.b})
    for (int r = 0; r < (x == &problem.a ? problem.m : problem.n); ++r)
      for (int c = problem.k; c < 512; ++c) x->at(r, c) = 1;  // behind K
  std::vector<std::int32_t> want;
  for (int i = 0; i < problem.m; ++i)
    for (int j = 0; j < problem.n; ++j) want.push_back(problem.sum_of(i, j));
  for (int bug = 0; bug < static_cast<int>(Bug::count); ++bug) {
    for (const Options& options : schedules(2)) {
      std::vector<std::int32_t> out(want.size(), 7);
      auto params = problem.full_params();
      params.full.out.dtype = DType::int32;
      params.full.out.data = out.data();
      params.full.out.strides = {problem.n, 1};
      const std::string fault = fault_of(problem.launch(1), options, [&](Machine m) {
        Problem::Kernel::run(Broken(m, static_cast<Bug>(bug)), params);
      });
      EXPECT_EQ(bug == 0, fault.empty() && out == want) << bug << ": " << fault;
    }
  }
}

// ---- fp8 as fp16 -------------------------------------------------------------------------------

template <cuda::Fp8 format, class M>
void expect_values(M m, DType dtype) {
  for (u32 code = 0; code < 256; ++code) {
    for (u32 other : {0U, 0x7FU, 0x80U, 0xFFU, 0x3AU}) {
      // Each place of a word, between others.
      for (u32 place = 0; place < 4; ++place) {
        const u32 word = other * 0x01010101U ^ (other ^ code) << (8 * place);
        u32 largest = 0;
        const u32 halves = cuda::halves_of<format>(m, word, static_cast<int>(place / 2), largest);
        for (u32 half = 0; half < 2; ++half) {
          const u32 at = place / 2 * 2 + half;
          TypedArray one(dtype, 1);
          *static_cast<std::uint8_t*>(one.data()) = static_cast<std::uint8_t>(word >> (8 * at));
          float want = one.at(0);
          if (M::has_fp8 || format == cuda::Fp8::e5m2) {
            ASSERT_EQ(largest, 0U);
          } else {
            // NaN is noted, and is 480.
            const u32 noted = largest >> (16 * half) & 0xFFFFU;
            ASSERT_EQ(noted == 0x3F80U, std::isnan(want)) << noted;
            if (std::isnan(want)) want = std::copysign(480.0F, want);
          }
          const float got = decode<kFloat16>(static_cast<std::uint16_t>(halves >> (16 * half)));
          ASSERT_TRUE(std::isnan(want) ? std::isnan(got)
                                       : std::bit_cast<u32>(want) == std::bit_cast<u32>(got))
              << name(dtype) << ' ' << (word >> (8 * at) & 0xFFU) << ": " << want << ", " << got;
        }
      }
    }
  }
}

TEST(MmaSync, EveryCodeOfFp8IsItsValueInFp16) {
  expect_right(threads(32), [](Machine m) {
    if (m.lane() != 0) return;
    expect_values<cuda::Fp8::e4m3>(m, DType::float8_e4m3fn);
    expect_values<cuda::Fp8::e5m2>(m, DType::float8_e5m2);
    expect_values<cuda::Fp8::e4m3>(Older(m), DType::float8_e4m3fn);
    expect_values<cuda::Fp8::e5m2>(Older(m), DType::float8_e5m2);
  });
}

// Every code by every code, alone and among others, as the instruction has it.
template <MmaType type, MmaTile tile, MmaTerms terms = MmaTerms::none>
void expect_every_pair(int k) {
  MmaProblem<type, tile, terms> problem(256, 256, k);
  for (int i = 0; i < 256; ++i) {
    problem.a.at(i, i % k) = static_cast<std::uint8_t>(i);
    problem.b.at(i, i * 7 % k) = static_cast<std::uint8_t>(i);
  }
  const std::vector<u32> want = stored_by<Machine>(problem, 256, 1);
  EXPECT_EQ(want, (stored_by<Older>(problem, 256, 1)));
  if (k > 1) return;
  for (int i = 0; i < 256; ++i) {
    for (int j = 0; j < 256; ++j) {
      const auto got = std::bit_cast<float>(want[static_cast<std::size_t>(i * 256 + j)]);
      const auto value = [&](int code, bool e5m2) {
        return e5m2 ? decode<info(DType::float8_e5m2).format>(static_cast<std::uint8_t>(code))
                    : decode<info(DType::float8_e4m3fn).format>(static_cast<std::uint8_t>(code));
      };
      const float product =
          value(i, type == MmaType::e5m2_e4m3) * value(j, type == MmaType::e4m3_e5m2);
      ASSERT_TRUE(std::isnan(product) ? std::isnan(got) : product == got) << i << " by " << j;
    }
  }
}
TEST(MmaSync, EveryPairOfCodesByArithmetic) {
  expect_every_pair<MmaType::e4m3_e4m3, kLargeTile>(1);
  expect_every_pair<MmaType::e4m3_e5m2, kSmallTile>(1);
  expect_every_pair<MmaType::e5m2_e4m3, kLargeTile>(1);
  expect_every_pair<MmaType::e4m3_e4m3, kSmallTile>(300);
  expect_every_pair<MmaType::e4m3_e4m3, kSmallTile, MmaTerms::k_scales>(300);
}

}  // namespace
}  // namespace octavo::test::mma_test
