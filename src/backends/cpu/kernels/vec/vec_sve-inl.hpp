// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in registers of SVE of a fixed length, two of 256 bits
//
//   column     0  ..  3   4  ..  7      8  ..  11  12  ..  15
//            [  quad 0     quad 1  ] [  quad 0      quad 1   ]    four bytes each column
//
// or one of 512. The names are those of vec_neon-inl.hpp.
//
// A file is compiled for one length (-msve-vector-bits, which means nothing outside SVE's regions):
// registers are ordinary types then, of which there are arrays and members.
//
// Needs: nothing
// Gives: Part, Vec

// One register: quads of 16 bytes, in each of which instructions do what NEON's do.
struct Part {
  static constexpr int kBytes = OCTAVO_SVE_BITS / 8;
#define OCTAVO_FIXED __attribute__((arm_sve_vector_bits(OCTAVO_SVE_BITS)))
  typedef svuint8_t Bytes OCTAVO_FIXED;
  typedef svint8_t SignedBytes OCTAVO_FIXED;
  typedef svint32_t Ints OCTAVO_FIXED;
  typedef svfloat32_t Floats OCTAVO_FIXED;
#undef OCTAVO_FIXED

  static OCTAVO_INLINE svbool_t all() { return svptrue_b8(); }
  static OCTAVO_INLINE Bytes load(const char* p) {
    return svld1_u8(all(), reinterpret_cast<const std::uint8_t*>(p));
  }
  // 16 bytes in every quad.
  static OCTAVO_INLINE Bytes repeated(const char* p) {
    return svld1rq_u8(all(), reinterpret_cast<const std::uint8_t*>(p));
  }
  // Eight bytes of a row, then eight of another or zeros, in every quad.
  template <bool both>
  static OCTAVO_INLINE Bytes two_rows(const char* a, const char* other) {
    const auto eight = [](const char* p) OCTAVO_LAMBDA {
      std::int64_t bytes;
      std::memcpy(&bytes, p, sizeof(bytes));
      return bytes;
    };
    return svreinterpret_u8_s64(
        svzip1_s64(svdup_n_s64(eight(a)), svdup_n_s64(both ? eight(other) : 0)));
  }
  template <bool flips>
  static OCTAVO_INLINE Bytes flipped(Bytes x) {
    if constexpr (flips) return sveor_n_u8_x(all(), x, 0x80);
    return x;
  }
  static OCTAVO_INLINE Bytes ones() { return svdup_n_u8(1); }
  static OCTAVO_INLINE SignedBytes as_signed(Bytes x) { return svreinterpret_s8_u8(x); }
  static OCTAVO_INLINE Floats as_floats(Bytes x) { return svreinterpret_f32_u8(x); }

  static OCTAVO_INLINE Ints zero_ints() { return svdup_n_s32(0); }
  static OCTAVO_INLINE Floats zero_floats() { return svdup_n_f32(0.0F); }
  static OCTAVO_INLINE Ints add(Ints a, Ints b) { return svadd_s32_x(all(), a, b); }
  static OCTAVO_INLINE void store(std::int32_t* p, Ints x) { svst1_s32(all(), p, x); }
  static OCTAVO_INLINE std::int32_t total(const std::int32_t* p) {
    return static_cast<std::int32_t>(svaddv_s32(all(), svld1_s32(all(), p)));
  }

  // Pairs of 4-byte lanes: those of the front, or the back, of a and of b in turn; every first, or
  // every second, pair of a, then of b.
  template <bool back>
  static OCTAVO_INLINE Ints zipped(Ints a, Ints b) {
    const svint64_t x = svreinterpret_s64_s32(a), y = svreinterpret_s64_s32(b);
    return svreinterpret_s32_s64(back ? svzip2_s64(x, y) : svzip1_s64(x, y));
  }
  template <bool back>
  static OCTAVO_INLINE Floats zipped(Floats a, Floats b) {
    return as_floats(zipped<back>(as_ints(a), as_ints(b)));
  }
  template <bool second>
  static OCTAVO_INLINE Ints unzipped(Ints a, Ints b) {
    const svint64_t x = svreinterpret_s64_s32(a), y = svreinterpret_s64_s32(b);
    return svreinterpret_s32_s64(second ? svuzp2_s64(x, y) : svuzp1_s64(x, y));
  }
  template <bool second>
  static OCTAVO_INLINE Floats unzipped(Floats a, Floats b) {
    return as_floats(unzipped<second>(as_ints(a), as_ints(b)));
  }
  static OCTAVO_INLINE Ints as_ints(Floats x) { return svreinterpret_s32_f32(x); }
  static OCTAVO_INLINE Floats as_floats(Ints x) { return svreinterpret_f32_s32(x); }
};

struct Vec {
  static constexpr int kParts = 64 / Part::kBytes;
  struct Ints {
    Part::Ints part[kParts];
  };
  struct Floats {
    Part::Floats part[kParts];
  };

  static OCTAVO_INLINE Ints zero_ints() { return broadcast(0); }
  static OCTAVO_INLINE Ints load_unaligned_ints(const void* p) {
    const auto* at = static_cast<const std::uint8_t*>(p);  // at any address
    return each<Ints>(
        [&](int i) { return svreinterpret_s32_u8(svld1_u8(Part::all(), at + Part::kBytes * i)); });
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
    const auto put = [&](std::size_t i) OCTAVO_LAMBDA {
      svst1_u8(Part::all(), at + Part::kBytes * i, svreinterpret_u8_s32(x.part[i]));
    };
    [&]<std::size_t... i>(std::index_sequence<i...>) OCTAVO_LAMBDA { (put(i), ...); }
    (kEach);
  }
  static OCTAVO_INLINE void store(void* p, const Floats& x) {
    store(p, each<Ints>([&](int i) { return Part::as_ints(x.part[i]); }));
  }
  static OCTAVO_INLINE Ints load_part(const void* p, std::int64_t count) {
    if (count >= 64) return load_unaligned_ints(p);
    alignas(64) char bytes[64] = {};
    std::memcpy(bytes, p, static_cast<std::size_t>(count));
    return load_ints(bytes);
  }

  static OCTAVO_INLINE Ints broadcast(std::int32_t x) {
    return each<Ints>([&](int) { return svdup_n_s32(x); });
  }
  static OCTAVO_INLINE Ints broadcast_byte(std::uint8_t x) {
    return broadcast(static_cast<std::int32_t>(x * 0x01010101U));
  }
  static OCTAVO_INLINE Floats broadcast(float x) {
    return each<Floats>([&](int) { return svdup_n_f32(x); });
  }

  static OCTAVO_INLINE Ints subtract(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return svsub_s32_x(Part::all(), a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Ints exclusive_or(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return sveor_s32_x(Part::all(), a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Ints multiply(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return svmul_s32_x(Part::all(), a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Floats add(const Floats& a, const Floats& b) {
    return each<Floats>([&](int i) { return svadd_f32_x(Part::all(), a.part[i], b.part[i]); });
  }
  static OCTAVO_INLINE Floats multiply(const Floats& a, const Floats& b) {
    return each<Floats>([&](int i) { return svmul_f32_x(Part::all(), a.part[i], b.part[i]); });
  }

  // -0 becomes 0.
  static OCTAVO_INLINE Floats without_negative_zeros(const Floats& x) {
    return add(x, broadcast(0.0F));
  }
  static OCTAVO_INLINE Floats to_floats(const Ints& x) {
    return each<Floats>([&](int i) { return svcvt_f32_s32_x(Part::all(), x.part[i]); });
  }
  static OCTAVO_INLINE Floats as_floats(const Ints& x) {
    return each<Floats>([&](int i) { return Part::as_floats(x.part[i]); });
  }

  static constexpr std::make_index_sequence<kParts> kEach{};
  template <class Vector, class Value>
  static OCTAVO_INLINE Vector each(const Value& value) {
    return [&]<std::size_t... i>(std::index_sequence<i...>) OCTAVO_LAMBDA {
      return Vector{{value(static_cast<int>(i))...}};
    }
    (kEach);
  }
};
