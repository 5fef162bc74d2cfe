// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in four registers of NEON:
//
//   column     0  ..  3      4  ..  7      8  ..  11     12  ..  15
//            [....] .. [....] ..   four bytes each
//
// The names are those of vec_avx512-inl.hpp.
//
// Included inside an instruction-set region of 64-bit Arm, after <arm_neon.h>; every including file
// gets its own copy.
struct Vec {
  struct Ints {
    int32x4_t part[4];
  };
  struct Floats {
    float32x4_t part[4];
  };

  static OCTAVO_INLINE Ints zero_ints() { return broadcast(0); }
  static OCTAVO_INLINE Ints load_unaligned_ints(const void* p) {
    const auto* at = static_cast<const std::uint8_t*>(p);  // at any address
    const auto load = [&](int i) { return vreinterpretq_s32_u8(vld1q_u8(at + 16 * i)); };
    return {{load(0), load(1), load(2), load(3)}};
  }
  static OCTAVO_INLINE Ints load_ints(const void* p) { return load_unaligned_ints(p); }
  static OCTAVO_INLINE Floats load_floats(const void* p) { return as_floats(load_ints(p)); }
  static OCTAVO_INLINE Floats load_unaligned_floats(const void* p) { return load_floats(p); }
  static OCTAVO_INLINE void store(void* p, const Ints& x) {
    auto* at = static_cast<std::uint8_t*>(p);
    const auto put = [&](int i) { vst1q_u8(at + 16 * i, vreinterpretq_u8_s32(x.part[i])); };
    put(0);
    put(1);
    put(2);
    put(3);
  }
  static OCTAVO_INLINE void store(void* p, const Floats& x) {
    const auto bits = [&](int i) { return vreinterpretq_s32_f32(x.part[i]); };
    store(p, Ints{{bits(0), bits(1), bits(2), bits(3)}});
  }
  static OCTAVO_INLINE void store_unaligned(void* p, const Ints& x) { store(p, x); }
  static OCTAVO_INLINE Ints load_part(const void* p, std::int64_t count) {
    if (count >= 64) return load_unaligned_ints(p);
    alignas(64) char bytes[64] = {};
    std::memcpy(bytes, p, static_cast<std::size_t>(count));
    return load_ints(bytes);
  }

  static OCTAVO_INLINE Ints broadcast(std::int32_t x) {
    const int32x4_t all = vdupq_n_s32(x);
    return {{all, all, all, all}};
  }
  static OCTAVO_INLINE Ints broadcast_byte(std::uint8_t x) {
    return broadcast(static_cast<std::int32_t>(x * 0x01010101U));
  }
  static OCTAVO_INLINE Floats broadcast(float x) {
    const float32x4_t all = vdupq_n_f32(x);
    return {{all, all, all, all}};
  }

  static OCTAVO_INLINE Ints add(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return vaddq_s32(a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Ints subtract(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return vsubq_s32(a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Ints exclusive_or(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return veorq_s32(a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Ints multiply(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return vmulq_s32(a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Floats add(const Floats& a, const Floats& b) {
    return each<Floats>([&](int i) { return vaddq_f32(a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Floats multiply(const Floats& a, const Floats& b) {
    return each<Floats>([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
  }

  // -0 becomes 0.
  static OCTAVO_INLINE Floats without_negative_zeros(const Floats& x) {
    return add(x, broadcast(0.0F));
  }
  static OCTAVO_INLINE Floats to_floats(const Ints& x) {
    return each<Floats>([&](int i) { return vcvtq_f32_s32(x.part[i]); });
  }
  static OCTAVO_INLINE Floats as_floats(const Ints& x) {
    return each<Floats>([&](int i) { return vreinterpretq_f32_s32(x.part[i]); });
  }

  template <class Vector, class Value>
  static OCTAVO_INLINE Vector each(const Value& value) {
    return {{value(0), value(1), value(2), value(3)}};
  }
};
