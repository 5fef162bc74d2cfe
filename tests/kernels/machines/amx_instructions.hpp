// SPDX-License-Identifier: Apache-2.0
// AMX in plain C++: its registers, and what bfloat16 and codes of e4m3 add up to.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace octavo::test::amx {

/// Eight tile registers, as ldtilecfg shapes them. What hardware refuses is an exception.
class Tiles {
 public:
  static constexpr std::size_t kRows = 16, kBytes = 64;
  struct Tile {
    std::size_t rows = 0, bytes = 0;
    std::array<std::array<char, kBytes>, kRows> data{};
  };

  template <class Shapes>
  void configure(const Shapes& shapes) {
    for (std::size_t i = 0; i < shapes.rows.size(); ++i) {
      const std::size_t rows = shapes.rows[i], bytes = shapes.row_bytes[i];
      const bool there = i < tiles_.size();
      require((there || rows + bytes == 0) && rows <= kRows && bytes <= kBytes && bytes % 4 == 0 &&
              (rows == 0) == (bytes == 0));
      if (there) tiles_[i] = {rows, bytes, {}};
    }
  }
  void release() { tiles_ = {}; }

  void zero(std::size_t t) { tile(t).data = {}; }
  void load(std::size_t t, const void* from, std::int64_t stride) {
    Tile& to = tile(t);
    to.data = {};
    for (std::size_t r = 0; r < to.rows; ++r) {
      std::memcpy(to.data[r].data(), static_cast<const char*>(from) + place(r, stride), to.bytes);
    }
  }
  void store(std::size_t t, void* to, std::int64_t stride) {
    const Tile& from = tile(t);
    for (std::size_t r = 0; r < from.rows; ++r) {
      std::memcpy(static_cast<char*>(to) + place(r, stride), from.data[r].data(), from.bytes);
    }
  }

  /// Sums, rows and columns of a product: c += a * b.
  struct Operands {
    Tile& c;
    const Tile& a;
    const Tile& b;
  };
  Operands operands(std::size_t c, std::size_t a, std::size_t b) {
    const Operands o{tile(c), tile(a), tile(b)};
    require(c != a && c != b && a != b && o.c.rows == o.a.rows && o.c.bytes == o.b.bytes &&
            o.a.bytes == 4 * o.b.rows);
    return o;
  }

  /// Numbers below 2^-126 are zeros with their sign.
  static float flushed(float x) {
    return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x) : x;
  }
  static float half(std::uint16_t bits) {
    return flushed(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
  }

 private:
  static void require(bool holds) {
    if (!holds) throw std::logic_error("AMX: an instruction that its registers do not allow");
  }
  static std::ptrdiff_t place(std::size_t row, std::int64_t stride) {
    return static_cast<std::ptrdiff_t>(row) * stride;
  }
  Tile& tile(std::size_t t) {
    require(t < tiles_.size() && tiles_[t].rows > 0);
    return tiles_[t];
  }

  std::array<Tile, 8> tiles_{};
};

/// What tdpbf16ps adds to a sum: of blocks of 32 products, one after the other, those of even k and
/// those of odd k are added up from 0, fused, then to each other, then to the sum. a(k), b(k):
/// elements.
template <class A, class B>
float add_blocks(float sum, std::int64_t depth, const A& a, const B& b) {
  for (std::int64_t begin = 0; begin < depth; begin += 32) {
    float chains[2] = {0.0F, 0.0F};
    for (std::int64_t k = begin; k < begin + 32; ++k) {
      float& chain = chains[k % 2];
      chain = Tiles::flushed(k < depth ? std::fma(a(k), b(k), chain) : chain);
    }
    sum = Tiles::flushed(Tiles::flushed(sum) + Tiles::flushed(chains[0] + chains[1]));
  }
  return sum;
}

/// What tdphf8ps adds to a sum: of blocks of 64 products, one after the other, which are added up
/// exactly (they are multiples of 2^-18 below 2^18, so that double holds their sums) and rounded
/// once. a(k), b(k): numbers of e4m3.
template <class A, class B>
float add_code_blocks(float sum, std::int64_t depth, const A& a, const B& b) {
  for (std::int64_t begin = 0; begin < depth; begin += 64) {
    double block = 0.0;
    for (std::int64_t k = begin; k < begin + 64 && k < depth; ++k) block += a(k) * b(k);
    sum = Tiles::flushed(Tiles::flushed(sum) + static_cast<float>(block));
  }
  return sum;
}

}  // namespace octavo::test::amx
