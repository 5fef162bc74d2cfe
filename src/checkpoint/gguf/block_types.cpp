// SPDX-License-Identifier: Apache-2.0
// How each block lies in memory: ggml-common.h, and dequantize_row_* of ggml-quants.c.
#include "checkpoint/gguf/block_types.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "octavo/numeric.hpp"

namespace octavo::checkpoint {
namespace {

using Byte = std::uint8_t;

constexpr std::size_t kLong = 256;  // elements of a "K" block

/// The two's complement byte of a code.
constexpr Byte code(int value) noexcept { return static_cast<Byte>(value); }

/// A scale of two bytes.
template <std::size_t at>
void half_scale(const Byte* block, Byte* out) noexcept {
  std::memcpy(out, block + at, 2);
}

float half_at(const Byte* block) noexcept {
  std::uint16_t bits = 0;
  std::memcpy(&bits, block, sizeof bits);
  return decode<kFloat16>(bits);
}

void put_float(Byte* out, std::size_t i, float value) noexcept {
  std::memcpy(out + i * sizeof value, &value, sizeof value);
}

void q8_0(const Byte* block, Byte* out) noexcept { std::memcpy(out, block + 2, 32); }

void q4_0(const Byte* block, Byte* out) noexcept {
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = code((block[2 + i] & 15) - 8);
    out[i + 16] = code((block[2 + i] >> 4) - 8);
  }
}

void q5_0(const Byte* block, Byte* out) noexcept {
  std::uint32_t high = 0;
  std::memcpy(&high, block + 2, sizeof high);
  for (std::size_t i = 0; i < 16; ++i) {
    const int low = static_cast<int>(high >> i & 1U), up = static_cast<int>(high >> (i + 16) & 1U);
    out[i] = code(((block[6 + i] & 15) | low << 4) - 16);
    out[i + 16] = code(((block[6 + i] >> 4) | up << 4) - 16);
  }
}

/// 16 bytes are 32 codes of a table, the low halves first.
void looked_up(const std::array<std::int8_t, 16>& table, const Byte* nibbles, Byte* out) noexcept {
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = code(table[nibbles[i] & 15]);
    out[i + 16] = code(table[nibbles[i] >> 4]);
  }
}

constexpr std::array<std::int8_t, 16> kNonLinear{-127, -104, -83, -65, -49, -35, -22, -10,
                                                 1,    13,   25,  38,  53,  69,  89,  113};
/// e2m1, doubled.
constexpr std::array<std::int8_t, 16> kE2m1{0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

void iq4_nl(const Byte* block, Byte* out) noexcept { looked_up(kNonLinear, block + 2, out); }

void mxfp4(const Byte* block, Byte* out) noexcept { looked_up(kE2m1, block + 1, out); }

// Half of 2^(e - 127), since codes are doubled, by its bits: the first two are subnormal. 255 is
// not a number.
void mxfp4_scale(const Byte* block, Byte* out) noexcept {
  const std::uint32_t e = block[0];
  const std::uint32_t bits = e < 2 ? 0x00200000U << e : (e - 1) << 23U;
  put_float(out, 0, e == 255 ? decode_e8m0(e) : std::bit_cast<float>(bits));
}

void iq4_xs(const Byte* block, Byte* out) noexcept {
  for (std::size_t i = 0; i < 8; ++i) looked_up(kNonLinear, block + 8 + 16 * i, out + 32 * i);
}

void iq4_xs_scales(const Byte* block, Byte* out) noexcept {
  std::uint16_t high = 0;
  std::memcpy(&high, block + 2, sizeof high);
  for (std::size_t i = 0; i < 8; ++i) {
    const int low = block[4 + i / 2] >> (4 * (i % 2)) & 15;
    const int scale = low | (high >> (2 * i) & 3) << 4;
    put_float(out, i, half_at(block) * static_cast<float>(scale - 32));
  }
}

void q3_k(const Byte* block, Byte* out) noexcept {
  for (std::size_t i = 0; i < kLong; ++i) {
    const std::size_t part = i / 32;  // a bit of each of 32 bytes
    const int low = block[32 + i / 128 * 32 + i % 32] >> (2 * (part % 4)) & 3;
    out[i] = code(low - ((block[i % 32] >> part & 1) != 0 ? 0 : 4));
  }
}

void q3_k_scales(const Byte* block, Byte* out) noexcept {
  const Byte* const packed = block + 96;
  for (std::size_t i = 0; i < 16; ++i) {
    const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
    const int scale = low | (packed[8 + i % 4] >> (2 * (i / 4)) & 3) << 4;
    put_float(out, i, half_at(block + 108) * static_cast<float>(scale - 32));
  }
}

void q6_k(const Byte* block, Byte* out) noexcept {
  for (std::size_t i = 0; i < kLong; ++i) {
    const std::size_t half = i / 128, part = i % 128 / 32, at = i % 32;
    const int low = block[64 * half + 32 * (part % 2) + at] >> (4 * (part / 2)) & 15;
    const int high = block[128 + 32 * half + at] >> (2 * part) & 3;
    out[i] = code((low | high << 4) - 32);
  }
}

void q6_k_scales(const Byte* block, Byte* out) noexcept {
  for (std::size_t i = 0; i < 16; ++i) {
    const auto scale = static_cast<std::int8_t>(block[192 + i]);
    put_float(out, i, half_at(block + 208) * static_cast<float>(scale));
  }
}

/// Codes of 16 bytes, the low halves first, and a bit of `high` for each.
void put_values(float d, float m, const Byte* nibbles, std::uint32_t high, Byte* out) noexcept {
  for (std::size_t i = 0; i < 16; ++i) {
    const std::uint32_t low = (nibbles[i] & 15U) | (high >> i & 1U) << 4U;
    const std::uint32_t up = (nibbles[i] >> 4U) | (high >> (i + 16) & 1U) << 4U;
    put_float(out, i, d * static_cast<float>(low) + m);
    put_float(out, i + 16, d * static_cast<float>(up) + m);
  }
}

void q4_1(const Byte* block, Byte* out) noexcept {
  put_values(half_at(block), half_at(block + 2), block + 4, 0, out);
}

void q5_1(const Byte* block, Byte* out) noexcept {
  std::uint32_t high = 0;
  std::memcpy(&high, block + 4, sizeof high);
  put_values(half_at(block), half_at(block + 2), block + 8, high, out);
}

void q2_k(const Byte* block, Byte* out) noexcept {
  const float d = half_at(block + 80), least = half_at(block + 82);
  for (std::size_t i = 0; i < kLong; ++i) {
    const std::size_t half = i / 128, part = i % 128 / 32;
    const int scale = block[half * 8 + part * 2 + i % 32 / 16];
    const int low = block[16 + 32 * half + i % 32] >> (2 * part) & 3;
    put_float(out, i,
              d * static_cast<float>(scale & 15) * static_cast<float>(low) -
                  least * static_cast<float>(scale >> 4));
  }
}

/// The scale and the minimum of a group of 32, of 6 bits each in 12 bytes.
struct ScaleAndMinimum {
  int scale, minimum;
};
ScaleAndMinimum unpacked(const Byte* packed, std::size_t group) noexcept {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | packed[group - 4] >> 6 << 4,
          packed[group + 4] >> 4 | packed[group] >> 6 << 4};
}

/// `high`: a bit of each of 32 bytes for a group; null: none.
void put_long_values(const Byte* block, const Byte* nibbles, const Byte* high, Byte* out) noexcept {
  const float d = half_at(block), least = half_at(block + 2);
  for (std::size_t i = 0; i < kLong; ++i) {
    const std::size_t group = i / 32;
    const ScaleAndMinimum of = unpacked(block + 4, group);
    int value = nibbles[group / 2 * 32 + i % 32] >> (4 * (group % 2)) & 15;
    if (high != nullptr) value |= (high[i % 32] >> group & 1) << 4;
    put_float(out, i,
              d * static_cast<float>(of.scale) * static_cast<float>(value) -
                  least * static_cast<float>(of.minimum));
  }
}

void q4_k(const Byte* block, Byte* out) noexcept {
  put_long_values(block, block + 16, nullptr, out);
}

void q5_k(const Byte* block, Byte* out) noexcept {
  put_long_values(block, block + 48, block + 16, out);
}

/// A type whose blocks have minima.
constexpr BlockType with_minima(std::uint32_t id, std::string_view name, std::int64_t elements,
                                std::int64_t bytes, BlockReader values) {
  return {.id = id, .name = name, .elements = elements, .bytes = bytes, .values = values};
}

/// By number. Types that lie in no file (Q8_1, Q8_K) and those that ggml gave up are not there.
constexpr std::array kBlockTypes{
    BlockType{0, "F32", 1, 4, "F32"},
    BlockType{1, "F16", 1, 2, "F16"},
    BlockType{2, "Q4_0", 32, 18, "", 32, "F16", q4_0, half_scale<0>},
    with_minima(3, "Q4_1", 32, 20, q4_1),
    BlockType{6, "Q5_0", 32, 22, "", 32, "F16", q5_0, half_scale<0>},
    with_minima(7, "Q5_1", 32, 24, q5_1),
    BlockType{8, "Q8_0", 32, 34, "", 32, "F16", q8_0, half_scale<0>},
    with_minima(10, "Q2_K", 256, 84, q2_k),
    BlockType{11, "Q3_K", 256, 110, "", 16, "F32", q3_k, q3_k_scales},
    with_minima(12, "Q4_K", 256, 144, q4_k),
    with_minima(13, "Q5_K", 256, 176, q5_k),
    BlockType{14, "Q6_K", 256, 210, "", 16, "F32", q6_k, q6_k_scales},
    BlockType{16, "IQ2_XXS", 256, 66, ""},
    BlockType{17, "IQ2_XS", 256, 74, ""},
    BlockType{18, "IQ3_XXS", 256, 98, ""},
    BlockType{19, "IQ1_S", 256, 50, ""},
    BlockType{20, "IQ4_NL", 32, 18, "", 32, "F16", iq4_nl, half_scale<0>},
    BlockType{21, "IQ3_S", 256, 110, ""},
    BlockType{22, "IQ2_S", 256, 82, ""},
    BlockType{23, "IQ4_XS", 256, 136, "", 32, "F32", iq4_xs, iq4_xs_scales},
    BlockType{24, "I8", 1, 1, "I8"},
    BlockType{25, "I16", 1, 2, "I16"},
    BlockType{26, "I32", 1, 4, "I32"},
    BlockType{27, "I64", 1, 8, "I64"},
    BlockType{28, "F64", 1, 8, "F64"},
    BlockType{29, "IQ1_M", 256, 56, ""},
    BlockType{30, "BF16", 1, 2, "BF16"},
    BlockType{34, "TQ1_0", 256, 54, ""},
    BlockType{35, "TQ2_0", 256, 66, ""},
    BlockType{39, "MXFP4", 32, 17, "", 32, "F32", mxfp4, mxfp4_scale},
    BlockType{40, "NVFP4", 64, 36, ""},
    BlockType{41, "Q1_0", 128, 18, ""},
};

}  // namespace

const BlockType* find_block_type(std::uint32_t id) noexcept {
  const auto* found = std::ranges::lower_bound(kBlockTypes, id, {}, &BlockType::id);
  return found != kBlockTypes.end() && found->id == id ? found : nullptr;
}

}  // namespace octavo::checkpoint
