// SPDX-License-Identifier: Apache-2.0
// What attention does between its two products of codes (specification section 7): from sums of
// queries and keys to weights of 15 bits, and from sums of weights and values to a row. Of tokens
// that are floats the products with queries, too, and weights as they are.
//
// Positions j and j + 16 share a lane, and elements d and d + 16, so that every width adds in one
// order. Every step is rounded by itself. What a NaN becomes on the way does not matter: `total` is
// NaN in the end.
//
// Needs: Experts, Lanes, put_vector, vector_at
// Gives: Attention

template <int lanes>
struct Attention {
  using Math = Experts<lanes>;
  using Floats = Lanes<float, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  static constexpr int kParts = 16 / lanes;
  static constexpr std::uint32_t kInfinity = 0x7F800000U;

  // e^x for x <= 0, rounded once.
  static inline __attribute__((always_inline)) Floats exponential(Floats x) {
    const auto e = Math::exponential(x);
    return Math::scaled(e.p, e.n);
  }
  static inline Ints counted(int from) {
    Ints places{};
    for (int i = 0; i < lanes; ++i) places[i] = from + i;
    return places;
  }
  // Part 0's first lane: halves of sixteen lanes, one on the other.
  template <class Combine>
  static inline float folded(const Floats (&parts)[kParts], const Combine& combine) {
    float x[16];
    for (int i = 0; i < kParts; ++i) put_vector(parts[i], x + i * lanes);
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) x[i] = combine(x[i], x[i + half]);
    }
    return x[0];
  }
  static inline float greater(float a, float b) { return a > b ? a : b; }

  static inline float sum(float a, float b) { return a + b; }

  // What a chunk's scores become: weights by row, and what goes with them.
  struct Softmax {
    float most, total, widest;
  };
  // Of sums of codes, or of products of floats, whose scores have to be finite.
  template <bool floats>
  static inline Softmax softmax(const octavo::cpu::ChunkScores& c, float* row) {
    const int begin = static_cast<int>(c.first / 16 * 16);
    const int end = static_cast<int>((c.end + 15) / 16 * 16);
    const Ints first = Ints{} + static_cast<std::int32_t>(c.first);
    const Ints last = Ints{} + static_cast<std::int32_t>(c.end);
    const Ints places = counted(0);
    const Floats nothing = Math::all(-__builtin_inff());

    Floats most[kParts];
    for (Floats& part : most) part = nothing;
    Ints bad{};
    for (int j = begin; j < end; j += 16) {
      for (int i = 0; i < kParts; ++i) {
        const int at = j + i * lanes;
        const Ints seen = (places + at >= first) & (places + at < last);
        Floats product;
        if constexpr (floats) {
          product = vector_at<Floats>(c.products + at);
        } else {
          product = __builtin_convertvector(vector_at<Ints>(c.sums + at), Floats);
        }
        const Floats s = product * c.factor * vector_at<Floats>(c.key_scales + at);
        put_vector(s, row + at);
        const Words keys = vector_at<Words>(c.key_scales + at);
        const Words values = vector_at<Words>(c.value_scales + at);
        bad |= seen & ((keys >= kInfinity) | (values >= kInfinity));
        if constexpr (floats) bad |= seen & ((Math::words(s) & kInfinity) == kInfinity);
        const Floats counts = seen ? s : nothing;
        most[i] = counts > most[i] ? counts : most[i];
      }
    }
    const float m = folded(most, greater);

    Floats total[kParts]{};
    Floats widest[kParts]{};
    for (int j = begin; j < end; j += 16) {
      for (int i = 0; i < kParts; ++i) {
        const int at = j + i * lanes;
        const Ints seen = (places + at >= first) & (places + at < last);
        const Floats p = seen ? exponential(vector_at<Floats>(row + at) - m) : Floats{};
        total[i] = total[i] + p;
        const Floats w = seen ? p * vector_at<Floats>(c.value_scales + at) : Floats{};
        widest[i] = w > widest[i] ? w : widest[i];
        put_vector(w, row + at);
      }
    }
    bool finite = true;
    for (int i = 0; i < lanes; ++i) finite = finite && bad[i] == 0;
    return {m, finite ? folded(total, sum) : __builtin_nanf(""), folded(widest, greater)};
  }

  static octavo::cpu::ChunkTotals weights(const octavo::cpu::ChunkScores& c,
                                          std::int16_t* to) noexcept {
    constexpr std::int64_t kTokens = octavo::cpu::kChunkTokens;
    std::memset(to, 0, kTokens * sizeof(*to));
    if (c.first >= c.end) return {};
    alignas(64) float row[kTokens];
    const Softmax all = softmax<false>(c, row);
    const float largest = greater(all.widest, 0x1p-100F);
    const float inverse = 32767.0F / largest;
    for (std::int64_t j = c.first / 16 * 16; j < (c.end + 15) / 16 * 16; j += lanes) {
      const Floats rounded = vector_at<Floats>(row + j) * inverse + 0x1.8p+23F;
      const Words code = Math::words(rounded) & 0x7FFFU;
      put_vector(__builtin_convertvector(code, Lanes<std::uint16_t, lanes>), to + j);
    }
    return {all.most, all.total, largest / 32767.0F};
  }

  static octavo::cpu::ChunkTotals float_weights(const octavo::cpu::ChunkScores& c,
                                                float* to) noexcept {
    if (c.first >= c.end) return {};
    const Softmax all = softmax<true>(c, to);
    return {all.most, all.total, 1.0F};
  }

  static void products(const float* q, std::int64_t rows, std::int64_t depth, const float* key,
                       float* to) noexcept {
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* row = q + r * octavo::cpu::kHeadElements;
      Floats sums[kParts]{};
      for (std::int64_t d = 0; d < depth; d += 16) {
        for (int i = 0; i < kParts; ++i) {
          const std::int64_t at = d + i * lanes;
          sums[i] = sums[i] + vector_at<Floats>(row + at) * vector_at<Floats>(key + at);
        }
      }
      to[r * octavo::cpu::kChunkTokens] = folded(sums, sum);
    }
  }

  template <class Sum>
  static void add(const octavo::cpu::ChunkTotals& chunk, const Sum* sums, std::int64_t depth,
                  octavo::cpu::RowTotals& row, float* out) noexcept {
    const float most = chunk.most > row.most ? chunk.most : row.most;
    const Floats old = exponential(Math::all(row.most - most));
    const Floats fresh = exponential(Math::all(chunk.most - most));
    for (std::int64_t d = 0; d < depth; d += lanes) {
      const auto part = vector_at<Lanes<Sum, lanes>>(sums + d);
      const Floats o = __builtin_convertvector(part, Floats) * chunk.step;
      put_vector(vector_at<Floats>(out + d) * old + o * fresh, out + d);
    }
    row.total = row.total * old[0] + chunk.total * fresh[0];
    row.most = most;
  }
};
