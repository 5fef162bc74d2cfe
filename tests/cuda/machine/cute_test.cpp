// SPDX-License-Identifier: Apache-2.0
// An independent oracle: CuTe's layouts against machine/layout.hpp, and the simulated machine on
// data that lie as CuTe says.
#include <gtest/gtest.h>

#include <cute/atom/copy_traits_sm90.hpp>
#include <cute/atom/mma_traits_sm80.hpp>
#include <cute/atom/mma_traits_sm90_gmma.hpp>
#include <cute/tensor.hpp>

#include <bit>
#include <cstring>
#include <functional>

#include "backends/cuda/machine/layout.hpp"
#include "simulator_kit.hpp"

namespace octavo::test::cute_test {
namespace {

using cuda::MmaType;
using u32 = std::uint32_t;
namespace gmma = cute::SM90::GMMA;

// --- a warpgroup's sums ---

template <int n>
void expect_accumulators() {
  const gmma::CLayout_64xN<n> layout{};
  static_assert(cute::size(gmma::CLayout_64xN<n>{}) == 64 * n);
  for (int thread = 0; thread < 128; ++thread) {
    for (int index = 0; index < n / 2; ++index) {
      const int at = layout(thread, index);  // in columns of 64
      ASSERT_EQ(at % 64, cuda::accumulator_row(thread, index)) << n << " columns, " << thread;
      ASSERT_EQ(at / 64, cuda::accumulator_column(thread, index)) << n << " columns, " << thread;
    }
  }
}

TEST(CuTe, AgreesOnWhereSumsLieInEveryWidth) {
  expect_accumulators<8>();
  expect_accumulators<16>();
  expect_accumulators<24>();
  expect_accumulators<32>();
  expect_accumulators<40>();
  expect_accumulators<48>();
  expect_accumulators<56>();
  expect_accumulators<64>();
  expect_accumulators<80>();
  expect_accumulators<96>();
  expect_accumulators<112>();
  expect_accumulators<128>();
  expect_accumulators<160>();
  expect_accumulators<192>();
  expect_accumulators<224>();
  expect_accumulators<256>();
}

// The layouts above are those of the instructions.
template <class Atom, int n>
constexpr bool kHasSums =
    std::is_same_v<typename cute::MMA_Traits<Atom>::CLayout, gmma::CLayout_64xN<n>>;
static_assert(kHasSums<cute::SM90_64x256x32_S32S8S8_SS_TN, 256>);
static_assert(kHasSums<cute::SM90_64x128x32_S32U8S8_SS_TN, 128>);
static_assert(kHasSums<cute::SM90_64x256x32_F32E4M3E4M3_SS_TN<>, 256>);
static_assert(kHasSums<cute::SM90_64x128x32_F32E5M2E4M3_SS_TN<>, 128>);
static_assert(kHasSums<cute::SM90_64x64x16_F32BF16BF16_SS<gmma::Major::K, gmma::Major::K>, 64>);

// --- tiles in shared memory ---

template <class Element, int rows>
auto tile() {
  return cute::tile_to_shape(gmma::Layout_K_SW128_Atom<Element>{},
                             cute::Shape<cute::Int<rows>, cute::Int<128 / int{sizeof(Element)}>>{});
}

// Offset in bytes of element (row, k) of a tile of 128 bytes of K.
template <class Element, int rows>
u32 tile_offset(int row, int k) {
  const auto offsets = cute::as_position_independent_swizzle_layout(tile<Element, rows>());
  return static_cast<u32>(offsets(row, k)) * u32{sizeof(Element)};
}

template <class Element, int rows>
void expect_tile() {
  constexpr int kBytes = sizeof(Element);
  for (int row = 0; row < rows; ++row) {
    for (int k = 0; k < 128 / kBytes; ++k) {
      const auto plain = static_cast<u32>(row * 128 + k * kBytes);
      ASSERT_EQ((tile_offset<Element, rows>(row, k)), cuda::swizzle_128(plain)) << row << ", " << k;
    }
  }
}

TEST(CuTe, AgreesOnSwizzledTiles) {
  expect_tile<std::int8_t, 64>();
  expect_tile<std::int8_t, 256>();
  expect_tile<cute::float_e4m3_t, 128>();
  expect_tile<cute::bfloat16_t, 128>();
}

// All but the tile's address: a host has none in shared memory, of which CuTe complains on stdout.
template <class Element, int rows>
std::uint64_t descriptor() {
  const auto tensor =
      cute::make_tensor(cute::make_smem_ptr(static_cast<Element*>(nullptr)), tile<Element, rows>());
  const auto step =
      cute::local_tile(tensor, cute::Shape<cute::Int<rows>, cute::Int<32 / int{sizeof(Element)}>>{},
                       cute::make_coord(0, 0));
  testing::internal::CaptureStdout();
  const std::uint64_t bits = gmma::make_gmma_desc<gmma::Major::K>(step).desc_;
  testing::internal::GetCapturedStdout();
  return bits & ~std::uint64_t{0x3FFF};
}

TEST(CuTe, AgreesOnTheDescriptorsOfTiles) {
  EXPECT_EQ((descriptor<std::int8_t, 64>()), cuda::tile_descriptor(0));
  EXPECT_EQ((descriptor<std::int8_t, 256>()), cuda::tile_descriptor(0));
  EXPECT_EQ((descriptor<cute::float_e4m3_t, 128>()), cuda::tile_descriptor(0));
  EXPECT_EQ((descriptor<cute::bfloat16_t, 64>()), cuda::tile_descriptor(0));
}

TEST(CuTe, PlacesOperandsWhereTheSimulatedWgmmaReadsThem) {
  constexpr int kColumns = 48;
  constexpr u32 kB = 64 * 128;  // behind A
  const auto a = [](int row, int k) { return row * 5 % 23 - k * 3 % 17; };
  const auto b = [](int column, int k) { return column * 7 % 19 - k * 11 % 13; };
  const std::uint64_t tile_a = descriptor<std::int8_t, 64>();
  const std::uint64_t tile_b = descriptor<std::int8_t, kColumns>() | kB >> 4;
  expect_right(threads(128), [&](Machine m) {
    const auto fill = [&](u32 first, int rows, const auto& offset, const auto& value) {
      for (int at = static_cast<int>(m.tid()) * 4; at < rows * 128; at += 128 * 4) {
        std::int8_t word[4];
        for (int i = 0; i < 4; ++i)
          word[i] = static_cast<std::int8_t>(value(at / 128, at % 128 + i));
        u32 bits;
        std::memcpy(&bits, word, 4);
        m.store_shared(first + offset(at / 128, at % 128), bits);
      }
    };
    fill(0, 64, tile_offset<std::int8_t, 64>, a);
    fill(kB, kColumns, tile_offset<std::int8_t, kColumns>, b);
    m.fence_async();
    m.sync_named(1, 128);
    std::int32_t sums[kColumns / 2];
    m.wgmma_fence();
    for (u32 step = 0; step < 4; ++step) {
      m.wgmma<MmaType::s8_s8, kColumns>(sums, tile_a + step * cuda::kDescriptorStep,
                                        tile_b + step * cuda::kDescriptorStep, step > 0);
    }
    m.wgmma_commit();
    m.wgmma_wait<0>(sums);
    for (int index = 0; index < kColumns / 2; ++index) {
      const int at = gmma::CLayout_64xN<kColumns>{}(static_cast<int>(m.tid()), index);
      int want = 0;
      for (int k = 0; k < 128; ++k) want += a(at % 64, k) * b(at / 64, k);
      ASSERT_EQ(sums[index], want) << "thread " << m.tid() << ", sum " << index;
    }
  });
}

// --- matrices of 8 x 8 between registers and shared memory ---

// Of each 16 bits in a lane's four registers, by CuTe: the lane whose address they go to or come
// from, and the byte behind it.
struct Place {
  u32 lane, byte;
};
template <class Registers, class Memory>
Place place_of(Registers registers, Memory memory, u32 lane, u32 element) {
  const int bit = registers(static_cast<int>(lane), static_cast<int>(16 * element));
  for (int owner = 0; owner < 32; ++owner) {
    for (int at = 0; at < 128; at += 16) {
      if (memory(owner, at) == bit) return {static_cast<u32>(owner), static_cast<u32>(at / 8)};
    }
  }
  return {~0U, ~0U};
}

// A number of its own for each 16 bits of each lane.
u32 two_elements(u32 lane, u32 word) {
  const u32 first = lane * 8 + word * 2;
  return first | (first + 1) << 16;
}
// Where a lane's row of 16 bytes lies; not in order.
u32 row_address(u32 lane) { return (lane * 5 % 32) * 16; }

template <class Traits>
void expect_stmatrix(void (*store)(Machine&, u32, u32, u32, u32, u32)) {
  expect_right(threads(32), [&](Machine m) {
    const u32 lane = m.lane();
    store(m, row_address(lane), two_elements(lane, 0), two_elements(lane, 1), two_elements(lane, 2),
          two_elements(lane, 3));
    m.sync_warp();
    for (u32 element = 0; element < 8; ++element) {
      const Place place =
          place_of(typename Traits::SrcLayout{}, typename Traits::DstLayout{}, lane, element);
      ASSERT_LT(place.lane, 32U);
      const u32 word = m.load_shared<u32>(row_address(place.lane) + place.byte / 4 * 4);
      ASSERT_EQ(word >> place.byte % 4 * 8 & 0xFFFFU, lane * 8 + element);
    }
  });
}

TEST(CuTe, AgreesOnStmatrix) {
  expect_stmatrix<cute::Copy_Traits<cute::SM90_U32x4_STSM_N>>(
      [](Machine& m, u32 address, u32 a, u32 b, u32 c, u32 d) {
        m.stmatrix4(address, a, b, c, d);
      });
  expect_stmatrix<cute::Copy_Traits<cute::SM90_U16x8_STSM_T>>(
      [](Machine& m, u32 address, u32 a, u32 b, u32 c, u32 d) {
        m.stmatrix4_transposed(address, a, b, c, d);
      });
}

TEST(CuTe, AgreesOnLdmatrix) {
  using Traits = cute::Copy_Traits<cute::SM75_U32x4_LDSM_N>;
  expect_right(threads(32), [](Machine m) {
    for (u32 word = 0; word < 4; ++word) {
      m.store_shared(row_address(m.lane()) + word * 4, two_elements(m.lane(), word));
    }
    m.sync_warp();
    u32 r[4];
    m.ldmatrix4(row_address(m.lane()), r);
    for (u32 element = 0; element < 8; ++element) {
      const Place place = place_of(Traits::DstLayout{}, Traits::SrcLayout{}, m.lane(), element);
      ASSERT_LT(place.lane, 32U);
      ASSERT_EQ(r[element / 2] >> 16 * (element % 2) & 0xFFFFU, place.lane * 8 + place.byte / 2);
    }
  });
}

// --- mma.sync ---

// Each element of A and B in its lane's registers as the traits say, small integers; the sums as
// the traits say. `code` is a value's pattern.
template <class Traits, MmaType type>
void expect_fragments(const std::function<u32(int)>& code) {
  constexpr int kBytes = cuda::element_bytes(type), kInWord = 4 / kBytes;
  constexpr int kSteps = cuda::step_k(type);
  const auto a = [](int row, int k) { return (row * 5 + k * 3) % 11 - 5; };
  const auto b = [](int column, int k) { return (column * 7 + k * 2) % 9 - 4; };
  expect_right(threads(32), [&](Machine m) {
    const int lane = static_cast<int>(m.lane());
    u32 in_a[4] = {}, in_b[2] = {};
    for (int v = 0; v < 4 * kInWord; ++v) {
      const int at = typename Traits::ALayout{}(lane, v);
      const int byte = at / 16 * kBytes, index = v / kInWord;
      ASSERT_EQ(at % 16, cuda::fragment_a_row(lane, index));
      ASSERT_EQ(byte, cuda::fragment_a_byte(lane, index) + v % kInWord * kBytes);
      in_a[index] |= code(a(at % 16, at / 16)) << 8 * kBytes * (v % kInWord);
    }
    for (int v = 0; v < 2 * kInWord; ++v) {
      const int at = typename Traits::BLayout{}(lane, v);
      const int byte = at / 8 * kBytes, index = v / kInWord;
      ASSERT_EQ(at % 8, cuda::fragment_b_column(lane, index));
      ASSERT_EQ(byte, cuda::fragment_b_byte(lane, index) + v % kInWord * kBytes);
      in_b[index] |= code(b(at % 8, at / 8)) << 8 * kBytes * (v % kInWord);
    }
    cuda::Accumulator<type> sums[4] = {100, 200, 300, 400};
    m.mma_sync<type>(sums, in_a, in_b);
    for (int v = 0; v < 4; ++v) {
      const int at = typename Traits::CLayout{}(lane, v);
      ASSERT_EQ(at % 16, cuda::accumulator_row(lane, v));
      ASSERT_EQ(at / 16, cuda::accumulator_column(lane, v));
      int want = 100 * (v + 1);
      for (int k = 0; k < kSteps; ++k) want += a(at % 16, k) * b(at / 16, k);
      ASSERT_EQ(sums[v], static_cast<cuda::Accumulator<type>>(want)) << "lane " << lane;
    }
  });
}

TEST(CuTe, AgreesOnTheFragmentsOfMmaSync) {
  expect_fragments<cute::MMA_Traits<cute::SM80_16x8x32_S32S8S8S32_TN>, MmaType::s8_s8>(
      [](int value) { return static_cast<u32>(value) & 0xFFU; });
  expect_fragments<cute::MMA_Traits<cute::SM80_16x8x16_F32BF16BF16F32_TN>, MmaType::bf16_bf16>(
      [](int value) { return std::bit_cast<u32>(static_cast<float>(value)) >> 16; });
}

}  // namespace
}  // namespace octavo::test::cute_test
