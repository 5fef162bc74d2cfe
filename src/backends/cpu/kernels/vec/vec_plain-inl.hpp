// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in plain C++, four 4-wide vectors of the compiler:
//
//   column     0    1    2    3       4   ..   7       8   ..  11      12   ..  15
//            [....][....][....][....] [....] .. [....] [....] .. [....] [....] .. [....]
//
// four bytes each: int32, float32, or a step of B, whose bytes count from the low end. For any CPU;
// the names are those of vec_avx512-inl.hpp.
//
// Needs: Lanes, vector_at
// Gives: Vec
struct Vec {
  struct Ints {
    Lanes<std::uint32_t, 4> part[4];
  };
  struct Floats {
    Lanes<float, 4> part[4];
  };
  static constexpr int kRegisters = 4;
  static constexpr int kSpareSums = 4;

  static Ints zero_ints() { return {}; }
  static Floats zero_floats() { return {}; }
  static Ints load_ints(const void* p) { return vector_at<Ints>(p); }
  static Floats load_floats(const void* p) { return vector_at<Floats>(p); }
  static Ints load_unaligned_ints(const void* p) { return vector_at<Ints>(p); }
  static Floats load_unaligned_floats(const void* p) { return vector_at<Floats>(p); }
  static void store(void* p, const Ints& x) { std::memcpy(p, &x, sizeof(x)); }
  static void store(void* p, const Floats& x) { std::memcpy(p, &x, sizeof(x)); }

  static Ints load_part(const void* p, std::int64_t count) {
    Ints x{};
    std::memcpy(&x, p, static_cast<std::size_t>(count < 64 ? count : 64));
    return x;
  }

  // Columns are in their order always.
  template <int>
  static void order(void*) {}

  static Ints broadcast(std::int32_t x) {
    const auto all = Lanes<std::uint32_t, 4>{} + static_cast<std::uint32_t>(x);
    return {{all, all, all, all}};
  }
  static Floats broadcast(float x) {
    const Lanes<float, 4> all{x, x, x, x};
    return {{all, all, all, all}};
  }
  static Ints broadcast_byte(std::uint8_t x) {
    return broadcast(static_cast<std::int32_t>(x * 0x01010101U));
  }

  static Ints add(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return a.part[i] + b.part[i]; });
  }
  static Ints subtract(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return a.part[i] - b.part[i]; });
  }
  static Ints multiply(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return a.part[i] * b.part[i]; });
  }
  static Ints exclusive_or(const Ints& a, const Ints& b) {
    return each<Ints>([&](int i) { return a.part[i] ^ b.part[i]; });
  }
  static Floats add(const Floats& a, const Floats& b) {
    return each<Floats>([&](int i) { return a.part[i] + b.part[i]; });
  }
  static Floats multiply(const Floats& a, const Floats& b) {
    return each<Floats>([&](int i) { return a.part[i] * b.part[i]; });
  }
  // Never inlined: sixteen calls of a function where the CPU has no instruction for it.
  static __attribute__((noinline)) Floats fused(const Floats& a, const Floats& b, const Floats& c) {
    Floats sum;
    for (int j = 0; j < 16; ++j) {
      sum.part[j / 4][j % 4] =
          std::fma(a.part[j / 4][j % 4], b.part[j / 4][j % 4], c.part[j / 4][j % 4]);
    }
    return sum;
  }

  static Floats to_floats(const Ints& x) {
    return each<Floats>([&](int i) {
      return __builtin_convertvector(reinterpret_cast<const Lanes<std::int32_t, 4>&>(x.part[i]),
                                     Lanes<float, 4>);
    });
  }
  static Floats as_floats(const Ints& x) { return vector_at<Floats>(&x); }

  static void keep(Ints&) {}

  template <class Vector, class Value>
  static Vector each(const Value& value) {
    return {{value(0), value(1), value(2), value(3)}};
  }
};
