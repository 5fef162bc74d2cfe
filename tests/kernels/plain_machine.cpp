// SPDX-License-Identifier: Apache-2.0
// A machine without instructions of its own, for any CPU: bytes of both sides signed, float32 by
// fused multiply-add. Sums are those of dot.hpp:
//
//   sum[j] += a[0] b[0][j] + a[1] b[1][j] + a[2] b[2][j] + a[3] b[3][j]      signed bytes
//   sum[j]  = fma(a, b[j], sum[j])                                           float32
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

namespace octavo::test {
namespace {

using cpu::DotTile;
using cpu::kPanelVectors;

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 4, 3, 2};

#include "backends/cpu/kernels/decode_plain-inl.hpp"
#include "backends/cpu/kernels/lanes-inl.hpp"
#include "backends/cpu/kernels/pack_plain-inl.hpp"
#include "backends/cpu/kernels/vec_plain-inl.hpp"

namespace bytes {
constexpr std::int64_t kWidth = kPanelVectors;
#include "backends/cpu/kernels/integer_dot-inl.hpp"
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
#include "backends/cpu/kernels/dot_tile-inl.hpp"
}  // namespace bytes

namespace floats {
constexpr std::int64_t kWidth = 1;  // as where registers hold few sums
#include "backends/cpu/kernels/float32_dot-inl.hpp"

#include "backends/cpu/kernels/dot_tile-inl.hpp"
}  // namespace floats

constexpr cpu::IntegerKernels kBytes{
    {"2x64 tile, plain C++, signed bytes, exact int32 sums", nullptr, cpu::kInt8Form, kMaxRows,
     &bytes::find_dot_tile, &pack_codes, nullptr, nullptr, nullptr},
    cpu::ARows::signed_bytes,
    &unpack_piece,
};

constexpr cpu::DotKernels kFloats{
    "2x64 tile, plain C++, FMA, float32 sums in ascending k",
    nullptr,
    cpu::kFloat32Form,
    kMaxRows,
    &floats::find_dot_tile,
    &pack_floats,
    &pack_rows,
    &decode_int8,
    &decode_float8,
    nullptr,
    floats::kWidth,
    &from_pairs,
};

}  // namespace

extern const cpu::DotMachine kPlainMachine{"plain C++", &kBytes, nullptr, nullptr, &kFloats};

}  // namespace octavo::test
