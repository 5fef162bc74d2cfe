// SPDX-License-Identifier: Apache-2.0
// The activation of gated layers, and weighted sums of rows. Included after lanes-inl.hpp inside an
// instruction-set region.
//
// With a = min(|x|, 128) and e^-a = 2^n p, p a polynomial in f = -a - n ln2:
//   x >= 0: x / (1 + e^-a)      x < 0: max(x, -128) * p / (1 + e^-a) * 2^n, rounded once at the end
// Every step is rounded by itself, so that all widths give the same bits. Whatever a NaN becomes on
// the way, it meets a NaN again in the quotient.

template <int lanes>
struct Experts {
  using Floats = Lanes<float, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
#define OCTAVO_SILU inline __attribute__((always_inline))

  static OCTAVO_SILU Words words(Floats x) { return reinterpret_cast<const Words&>(x); }
  static OCTAVO_SILU Floats floats(Words x) { return reinterpret_cast<const Floats&>(x); }
  static OCTAVO_SILU Ints ints(Words x) { return reinterpret_cast<const Ints&>(x); }
  static OCTAVO_SILU Floats all(float value) { return Floats{} + value; }
  // 2^n for n in [-126, 127].
  static OCTAVO_SILU Floats power(Words n) { return floats((n + 127U) << 23); }

  static OCTAVO_SILU Floats silu(Floats x) {
    constexpr float kBeyond = 128.0F;  // e^-128 * 128 is less than half of any number
    const Floats magnitude = floats(words(x) & 0x7FFFFFFFU);
    const Floats a = magnitude > kBeyond ? all(kBeyond) : magnitude;
    const Floats low = x < -kBeyond ? all(-kBeyond) : x;
    const Floats shifted = a * -0x1.715476p+0F + 0x1.8p+23F;  // an integer in the last bits
    const Floats whole = shifted - 0x1.8p+23F;
    const Words n = words(shifted) - 0x4B400000U;
    const Floats f = -a - whole * 0x1.62e4p-1F - whole * 0x1.7f7d1cp-20F;
    Floats q = f * 0x1.6a5056p-10F + 0x1.123974p-7F;
    q = q * f + 0x1.5558acp-5F;
    q = q * f + 0x1.555492p-3F;
    q = q * f + 0x1.fffffcp-2F;
    const Floats p = (q * (f * f) + f) + 1.0F;
    const Words least = Words{} + static_cast<std::uint32_t>(-126);
    const Floats e = p * power(ints(n) < -126 ? least : n);
    const Words half = reinterpret_cast<const Words&>(static_cast<const Ints&>(ints(n) >> 1));
    const Floats quotient = (x < 0.0F ? low * p : x) / (e + 1.0F);
    const Floats below = quotient * power(half) * power(n - half);
    return x < 0.0F ? below : quotient;
  }

  static void silu_and_mul(const float* gate, const float* up, std::int64_t count, float* out,
                           std::int64_t ahead) noexcept {
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      __builtin_prefetch(reinterpret_cast<const char*>(gate + i) + ahead);
      __builtin_prefetch(reinterpret_cast<const char*>(up + i) + ahead);
      *reinterpret_cast<Floats*>(out + i) = silu(*reinterpret_cast<const Floats*>(gate + i)) *
                                            *reinterpret_cast<const Floats*>(up + i);
    }
    if (i == count) return;
    const auto bytes = static_cast<std::size_t>(count - i) * sizeof(float);
    Floats g{};
    Floats u{};
    std::memcpy(&g, gate + i, bytes);
    std::memcpy(&u, up + i, bytes);
    const Floats last = silu(g) * u;
    std::memcpy(out + i, &last, bytes);
  }

  static void add_scaled(const float* x, float factor, std::int64_t count, float* sums,
                         const float* next) noexcept {
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      __builtin_prefetch(next + i);
      *reinterpret_cast<Floats*>(sums + i) += *reinterpret_cast<const Floats*>(x + i) * factor;
    }
    for (; i < count; ++i) sums[i] += x[i] * factor;
  }
#undef OCTAVO_SILU
};
