// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in four registers of NEON:
//
//   column     0  ..  3      4  ..  7      8  ..  11     12  ..  15
//            [....] .. [....] ..   four bytes each
//
// The names are those of vec_avx512-inl.hpp; a `Part` is what instructions take of a vector.
//
// Needs: nothing
// Gives: Part, Vec

// One register, which is one quad of 16 bytes; vec_sve-inl.hpp has several in one.
struct Part {
  static constexpr int kBytes = 16;
  using Bytes = uint8x16_t;
  using Ints = int32x4_t;
  using Floats = float32x4_t;

  static OCTAVO_INLINE Bytes load(const char* p) {
    return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
  }
  // 16 bytes in every quad.
  static OCTAVO_INLINE Bytes repeated(const char* p) { return load(p); }
  // Eight bytes of a row, then eight of another or zeros, in every quad.
  template <bool both>
  static OCTAVO_INLINE Bytes two_rows(const char* a, const char* other) {
    const auto eight = [](const char* p) OCTAVO_LAMBDA {
      return vld1_u8(reinterpret_cast<const std::uint8_t*>(p));
    };
    const uint8x8_t second = both ? eight(other) : vdup_n_u8(0);
    return vcombine_u8(eight(a), second);
  }
  template <bool flips>
  static OCTAVO_INLINE Bytes flipped(Bytes x) {
    return flips ? veorq_u8(x, vdupq_n_u8(0x80)) : x;
  }
  static OCTAVO_INLINE Bytes ones() { return vdupq_n_u8(1); }
  static OCTAVO_INLINE int8x16_t as_signed(Bytes x) { return vreinterpretq_s8_u8(x); }
  static OCTAVO_INLINE Floats as_floats(Bytes x) { return vreinterpretq_f32_u8(x); }

  static OCTAVO_INLINE Ints zero_ints() { return vdupq_n_s32(0); }
  static OCTAVO_INLINE Floats zero_floats() { return vdupq_n_f32(0.0F); }
  static OCTAVO_INLINE Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
  static OCTAVO_INLINE void store(std::int32_t* p, Ints x) { vst1q_s32(p, x); }
  static OCTAVO_INLINE std::int32_t total(const std::int32_t* p) {
    return vaddvq_s32(vld1q_s32(p));
  }

  // Pairs of 4-byte lanes: those of the front, or the back, of a and of b in turn; every first, or
  // every second, pair of a, then of b.
  template <bool back, class Register>
  static OCTAVO_INLINE Register zipped(Register a, Register b) {
    const auto x = reinterpret_cast<int64x2_t>(a), y = reinterpret_cast<int64x2_t>(b);
    return reinterpret_cast<Register>(back ? vzip2q_s64(x, y) : vzip1q_s64(x, y));
  }
  template <bool second, class Register>
  static OCTAVO_INLINE Register unzipped(Register a, Register b) {
    return zipped<second>(a, b);
  }
};

struct Vec {
  static constexpr int kParts = 4;
  struct Ints {
    int32x4_t part[kParts];
  };
  struct Floats {
    float32x4_t part[kParts];
  };

  static OCTAVO_INLINE Ints zero_ints() { return broadcast(0); }
  static OCTAVO_INLINE Floats zero_floats() { return broadcast(0.0F); }
  static OCTAVO_INLINE Ints load_unaligned_ints(const void* p) {
    const auto* at = static_cast<const std::uint8_t*>(p);  // at any address
    const auto load = [&](int i) { return vreinterpretq_s32_u8(vld1q_u8(at + 16 * i)); };
    return {{load(0), load(1), load(2), load(3)}};
  }
  static OCTAVO_INLINE Ints load_ints(const void* p) { return load_unaligned_ints(p); }
  static OCTAVO_INLINE Floats load_floats(const void* p) { return as_floats(load_ints(p)); }
  static OCTAVO_INLINE Floats load_unaligned_floats(const void* p) { return load_floats(p); }
  template <class Vector>
  static OCTAVO_INLINE Vector load(const void* p) {
    if constexpr (std::is_same_v<Vector, Ints>) {
      return load_ints(p);
    } else {
      return load_floats(p);
    }
  }
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

  // Columns are in their order always.
  template <int>
  static OCTAVO_INLINE void order(void*) {}

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

  static OCTAVO_INLINE Floats fused(const Floats& a, const Floats& b, const Floats& c) {
    return each<Floats>([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
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
  static OCTAVO_INLINE Ints as_ints(const Floats& x) {
    return each<Ints>([&](int i) { return vreinterpretq_s32_f32(x.part[i]); });
  }

  template <class Vector, class Value>
  static OCTAVO_INLINE Vector each(const Value& value) {
    return {{value(0), value(1), value(2), value(3)}};
  }
};
