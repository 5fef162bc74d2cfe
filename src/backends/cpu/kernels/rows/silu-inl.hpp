// SPDX-License-Identifier: Apache-2.0
// The activation of gated layers, and weighted sums of rows.
//
// With a = min(|x|, 128) and e^-a = 2^n p, p a polynomial in f = -a - n ln2:
//   x >= 0: x / (1 + e^-a)      x < 0: max(x, -128) * p / (1 + e^-a) * 2^n, rounded once at the end
// and its slope is s (1 + x t) with s = 1 / (1 + e^-x), t = 1 - s.
// Every step is rounded by itself, so that all widths give the same bits. Whatever a NaN becomes on
// the way, it meets a NaN again in the quotient.
//
// Needs: Lanes, put_vector, vector_at
// Gives: Experts

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
  static constexpr float kBeyond = 128.0F;  // e^-128 * 128 is less than half of any number
  // 2^n for n in [-126, 127].
  static OCTAVO_SILU Floats power(Words n) { return floats((n + 127U) << 23); }

  // e^-a = p 2^n of a = min(|x|, 128).
  struct Exponential {
    Floats p;
    Words n;
  };
  static OCTAVO_SILU Exponential exponential(Floats x) {
    const Floats magnitude = floats(words(x) & 0x7FFFFFFFU);
    const Floats a = magnitude > kBeyond ? all(kBeyond) : magnitude;
    const Floats shifted = a * -0x1.715476p+0F + 0x1.8p+23F;  // an integer in the last bits
    const Floats whole = shifted - 0x1.8p+23F;
    const Floats f = -a - whole * 0x1.62e4p-1F - whole * 0x1.7f7d1cp-20F;
    Floats q = f * 0x1.6a5056p-10F + 0x1.123974p-7F;
    q = q * f + 0x1.5558acp-5F;
    q = q * f + 0x1.555492p-3F;
    q = q * f + 0x1.fffffcp-2F;
    return {(q * (f * f) + f) + 1.0F, words(shifted) - 0x4B400000U};
  }
  // p 2^n, where it is beside 1; less than that is not told apart.
  static OCTAVO_SILU Floats beside_one(const Exponential& e) {
    const Words least = Words{} + static_cast<std::uint32_t>(-126);
    return e.p * power(ints(e.n) < -126 ? least : e.n);
  }
  // x 2^n, rounded once.
  static OCTAVO_SILU Floats scaled(Floats x, Words n) {
    const Words half = reinterpret_cast<const Words&>(static_cast<const Ints&>(ints(n) >> 1));
    return x * power(half) * power(n - half);
  }

  static OCTAVO_SILU Floats silu(Floats x) {
    const Exponential e = exponential(x);
    const Floats low = x < -kBeyond ? all(-kBeyond) : x;
    const Floats quotient = (x < 0.0F ? low * e.p : x) / (beside_one(e) + 1.0F);
    return x < 0.0F ? scaled(quotient, e.n) : quotient;
  }

  // s (1 + x t): below 0 with s = p 2^n / (1 + e^-a) and t = 1 / (1 + e^-a), else the other way.
  static OCTAVO_SILU Floats silu_slope(Floats x) {
    const Exponential e = exponential(x);
    const Floats power = beside_one(e);
    const Floats sum = power + 1.0F;
    const Floats low = x < -kBeyond ? all(-kBeyond) : x;
    const Floats near = low > kBeyond ? all(kBeyond) : low;
    const Floats s = (x < 0.0F ? e.p : all(1.0F)) / sum;
    const Floats t = (x < 0.0F ? all(1.0F) : power) / sum;
    const Floats slope = s * (near * t + 1.0F);
    return x == x ? (x < 0.0F ? scaled(slope, e.n) : slope) : x;
  }

  static OCTAVO_SILU Floats load(const float* from, std::int64_t count) {
    Floats x{};
    if (count == lanes) {
      std::memcpy(&x, from, sizeof(x));
    } else {
      std::memcpy(&x, from, static_cast<std::size_t>(count) * sizeof(float));
    }
    return x;
  }
  static OCTAVO_SILU void store(Floats x, std::int64_t count, float* to) {
    if (count == lanes) {
      std::memcpy(to, &x, sizeof(x));
    } else {
      std::memcpy(to, &x, static_cast<std::size_t>(count) * sizeof(float));
    }
  }

  static void silu_and_mul(const float* gate, const float* up, std::int64_t count, float* out,
                           std::int64_t ahead) noexcept {
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      __builtin_prefetch(reinterpret_cast<const char*>(gate + i) + ahead);
      __builtin_prefetch(reinterpret_cast<const char*>(up + i) + ahead);
      put_vector(silu(vector_at<Floats>(gate + i)) * vector_at<Floats>(up + i), out + i);
    }
    if (i == count) return;
    const std::int64_t rest = count - i;
    store(silu(load(gate + i, rest)) * load(up + i, rest), rest, out + i);
  }

  static void silu_and_mul_vjp(const float* grad, const float* gate, const float* up,
                               std::int64_t count, float* grad_gate, float* grad_up) noexcept {
    for (std::int64_t i = 0; i < count; i += lanes) {
      const std::int64_t width = count - i < lanes ? count - i : lanes;
      const Floats g = load(grad + i, width);
      const Floats x = load(gate + i, width);
      const Floats product = g * load(up + i, width);
      store(product * silu_slope(x), width, grad_gate + i);
      store(g * silu(x), width, grad_up + i);
    }
  }

  static void add_scaled(const float* x, float factor, std::int64_t count, float* sums,
                         const float* next) noexcept {
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      __builtin_prefetch(next + i);
      put_vector(vector_at<Floats>(sums + i) + vector_at<Floats>(x + i) * factor, sums + i);
    }
    for (; i < count; ++i) sums[i] += x[i] * factor;
  }
#undef OCTAVO_SILU
};
