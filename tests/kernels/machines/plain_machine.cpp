// SPDX-License-Identifier: Apache-2.0
// A machine without instructions of its own, for any CPU: bytes of both sides signed, float32 by
// fused multiply-add. Sums are those of tile_contract.hpp:
//
//   sum[j] += a[0] b[0][j] + a[1] b[1][j] + a[2] b[2][j] + a[3] b[3][j]      signed bytes
//   sum[j]  = fma(a, b[j], sum[j])                                           float32
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::test {
namespace {

using cpu::DotTile;
using cpu::kPanelVectors;

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 4, 3, 2};

#include "backends/cpu/kernels/panels/decode_plain-inl.hpp"
#include "backends/cpu/kernels/vec/lanes-inl.hpp"
#include "backends/cpu/kernels/panels/pack_plain-inl.hpp"
#include "backends/cpu/kernels/vec/vec_plain-inl.hpp"
#include "transposed_plain-inl.hpp"

namespace bytes {
constexpr std::int64_t kWidth = kPanelVectors;
#include "backends/cpu/kernels/tile/integer_dot-inl.hpp"
struct Dot : IntegerDot {
  explicit Dot(const DotTile& t) : IntegerDot(t) {}
  // Byte i of every column.
  static Lanes<std::int32_t, 4> byte(const Lanes<std::uint32_t, 4>& bytes, int i) {
    return reinterpret_cast<const Lanes<std::int32_t, 4>&>(bytes) << (24 - 8 * i) >> 24;
  }
  static Sum add(const Sum& sum, const Vec::Ints& a, const Vec::Ints& b) {
    return Vec::each<Sum>([&](int part) {
      Lanes<std::int32_t, 4> products{};
      for (int i = 0; i < 4; ++i) products += byte(a.part[part], i) * byte(b.part[part], i);
      return sum.part[part] + reinterpret_cast<const Lanes<std::uint32_t, 4>&>(products);
    });
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Byte i of row k is byte 4 i + k of a step.
struct ByteLines {
  static constexpr int kRows = 4, kVectors = 1, kBytes = 16;
  static constexpr bool kOrdered = true;
  using Look = Unseen;
  static Vec::Ints load(const Dot&, const char* b, std::int64_t ldb) {
    char step[64];
    for (std::int64_t i = 0; i < 64; ++i) step[i] = b[i % 4 * ldb + i / 4];
    return Vec::load_ints(step);
  }
  template <int>
  static const Vec::Ints& step(const Dot&, const Vec::Ints& interleaved) {
    return interleaved;
  }
};

cpu::UnpackedKernel find_unpacked(const cpu::UnpackedWanted& wanted) noexcept {
  return wanted.order == cpu::UnpackedOrder::along_k
             ? find_unpacked_columns<WordSource>(wanted)
             : find_unpacked_rows<AnyRows<ByteLines, 6>>(wanted.rows);
}
}  // namespace bytes

namespace floats {
constexpr std::int64_t kWidth = 1;  // as where registers hold few sums
#include "backends/cpu/kernels/tile/float32_dot-inl.hpp"

#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Four numbers of 8 bits: four steps.
struct Int8Source {
  static constexpr int kSteps = 4;
  using Transposed = TransposedSteps<Int8Source>;
  static void put(const Dot&, std::int32_t word, std::int32_t* out) {
    for (int i = 0; i < kSteps; ++i, out += kSquareStep) {
      *out =
          std::bit_cast<std::int32_t>(static_cast<float>(static_cast<std::int8_t>(word >> 8 * i)));
    }
  }
};

#include "backends/cpu/kernels/unpacked/element_lines-inl.hpp"

cpu::UnpackedKernel find_unpacked(const cpu::UnpackedWanted& wanted) noexcept {
  const bool along_k = wanted.order == cpu::UnpackedOrder::along_k;
  if (wanted.weight == DType::int8 && along_k) return find_unpacked_columns<Int8Source>(wanted);
  if (wanted.weight != DType::float32) return nullptr;
  return along_k ? find_unpacked_columns<WordSource>(wanted)
                 : find_unpacked_rows<AnyRows<FloatLines<1>, 4>>(wanted.rows);
}
}  // namespace floats

constexpr cpu::IntegerKernels kBytes{
    .dot =
        {
            .how = "2x64 tile, plain C++, signed bytes, exact int32 sums",
            .how_unpacked = "few rows, plain C++, signed bytes, exact int32 sums",
            .form = cpu::kInt8Form,
            .max_rows = kMaxRows,
            .tile = &bytes::find_dot_tile,
            .pack = &pack_codes,
            .unpacked = &bytes::find_unpacked,
        },
    .rows = cpu::ARows::signed_bytes,
    .unpack = &unpack_piece,
};

constexpr cpu::DotKernels kFloats{
    .how = "2x64 tile, plain C++, FMA, float32 sums in ascending k",
    .how_unpacked = "few rows, plain C++, FMA, float32 sums in ascending k",
    .form = cpu::kFloat32Form,
    .max_rows = kMaxRows,
    .tile = &floats::find_dot_tile,
    .pack = &pack_floats,
    .pack_rows = &pack_rows,
    .decode_int8 = &decode_int8,
    .decode_float8 = &decode_float8,
    .unpacked = &floats::find_unpacked,
    .width = floats::kWidth,
    .from_pairs = &from_pairs,
};

}  // namespace

extern const cpu::DotMachine kPlainMachine{
    .name = "plain C++",
    .integers = &kBytes,
    .floats = &kFloats,
};

}  // namespace octavo::test
