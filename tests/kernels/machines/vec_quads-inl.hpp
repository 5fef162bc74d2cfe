// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in two registers of two quads of 16 bytes, in plain C++: SVE's of 256
// bits, for any CPU. The names are those of vec_sve-inl.hpp.
//
// Needs: nothing
// Gives: Part, Vec
struct Part {
  static constexpr int kBytes = 32;
  static constexpr std::size_t kQuads = kBytes / 16;
  using Bytes = std::array<arm::Bytes, kQuads>;
  using Ints = std::array<arm::Sums, kQuads>;
  using Floats = std::array<arm::Floats, kQuads>;

  static Bytes load(const char* p) {
    Bytes x;
    std::memcpy(x.data(), p, sizeof(x));
    return x;
  }
  template <bool both>
  static Bytes two_rows(const char* a, const char* other) {
    arm::Bytes rows{};
    std::memcpy(rows.data(), a, 8);
    if (both) std::memcpy(rows.data() + 8, other, 8);
    Bytes x;
    x.fill(rows);
    return x;
  }
  template <bool flips>
  static Bytes flipped(Bytes x) {
    for (arm::Bytes& quad : x) {
      for (std::int8_t& byte : quad) byte = static_cast<std::int8_t>(byte ^ (flips ? 0x80 : 0));
    }
    return x;
  }
  static Ints zero_ints() { return {}; }
  static Floats zero_floats() { return {}; }

  // Pair i of 4-byte lanes of a, then of b.
  static const std::int32_t* pair(const Ints& a, const Ints& b, std::size_t i) {
    const Ints& x = i < 2 * kQuads ? a : b;
    return x[i / 2 % kQuads].data() + i % 2 * 2;
  }
  template <class Place>
  static Ints pairs(const Ints& a, const Ints& b, const Place& place) {
    Ints x;
    for (std::size_t i = 0; i < 2 * kQuads; ++i) {
      std::memcpy(x[i / 2].data() + i % 2 * 2, pair(a, b, place(i)), 8);
    }
    return x;
  }
  template <bool back>
  static Ints zipped(const Ints& a, const Ints& b) {
    return pairs(a, b, [](std::size_t i) {
      return i / 2 + (back ? kQuads : 0) + (i % 2 == 0 ? 0 : 2 * kQuads);
    });
  }
  template <bool second>
  static Ints unzipped(const Ints& a, const Ints& b) {
    return pairs(a, b, [](std::size_t i) { return 2 * i + (second ? 1 : 0); });
  }
};

struct Vec {
  static constexpr int kParts = 64 / Part::kBytes;
  struct Ints {
    Part::Ints part[kParts];
  };
  struct Floats {
    Part::Floats part[kParts];
  };

  template <class Vector>
  static Vector load(const void* p) {
    Vector x;
    std::memcpy(&x, p, sizeof(x));
    return x;
  }
  static Ints load_unaligned_ints(const void* p) { return load<Ints>(p); }
  static Floats load_floats(const void* p) { return load<Floats>(p); }
  static Floats load_unaligned_floats(const void* p) { return load<Floats>(p); }
  static void store(void* p, const Ints& x) { std::memcpy(p, &x, sizeof(x)); }
  static void store(void* p, const Floats& x) { std::memcpy(p, &x, sizeof(x)); }

  template <class Vector, class Value>
  static Vector of(const Value& value) {
    Vector x;
    for (std::size_t j = 0; j < 16; ++j) x.part[j / 8][j / 4 % 2][j % 4] = value(j);
    return x;
  }
  template <class Vector>
  static auto column(const Vector& x, std::size_t j) {
    return x.part[j / 8][j / 4 % 2][j % 4];
  }
  static Ints broadcast(std::int32_t x) {
    return of<Ints>([&](std::size_t) { return x; });
  }
  static Floats broadcast(float x) {
    return of<Floats>([&](std::size_t) { return x; });
  }
  static std::uint32_t bits(const Ints& x, std::size_t j) {
    return static_cast<std::uint32_t>(column(x, j));
  }
  static Ints subtract(const Ints& a, const Ints& b) {
    return of<Ints>(
        [&](std::size_t j) { return static_cast<std::int32_t>(bits(a, j) - bits(b, j)); });
  }
  static Ints multiply(const Ints& a, const Ints& b) {
    return of<Ints>(
        [&](std::size_t j) { return static_cast<std::int32_t>(bits(a, j) * bits(b, j)); });
  }
  static Floats add(const Floats& a, const Floats& b) {
    return of<Floats>([&](std::size_t j) { return column(a, j) + column(b, j); });
  }
  static Floats multiply(const Floats& a, const Floats& b) {
    return of<Floats>([&](std::size_t j) { return column(a, j) * column(b, j); });
  }
  static Floats to_floats(const Ints& x) {
    return of<Floats>([&](std::size_t j) { return static_cast<float>(column(x, j)); });
  }
  template <class Vector, class Value>
  static Vector each(const Value& value) {
    return {{value(0), value(1)}};
  }
};
