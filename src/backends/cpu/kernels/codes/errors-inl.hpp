// SPDX-License-Identifier: Apache-2.0
// Errors of codes: sums of w^2 and (w - code * scale)^2, their largest, codes at the end of the
// range.
//
//   element i of a piece      into sum i % 16 of float32, whatever the width of vectors
//   a piece's 16 sums         into 16 of float64, each into its own
//   a row's 16 sums           one after the other into the caller's
//
// A sum of float32 has at most kPiece / 16 terms. Where float32 cannot hold their squares
// (magnitudes beyond [1e-12, 1e12], errors all below 1e-16) a piece is done over in float64.
//
// Needs: kPiece, Lanes, Statistics, vector_at, widen_row
// Gives: Errors

template <int lanes>
struct Errors : Statistics<lanes> {
  using Base = Statistics<lanes>;
  using Base::floats;
  using Base::ints;
  using Base::larger;
  using Base::words;
  using typename Base::Floats;
  using typename Base::Ints;
  using Doubles = Lanes<double, lanes / 2>;
  static constexpr std::int64_t kPieceElements = kPiece;
  static constexpr int kSums = 16;
  static constexpr int kParts = kSums / lanes;
#define OCTAVO_ERRORS inline __attribute__((always_inline))

  static OCTAVO_ERRORS Ints magnitude(Floats x) { return ints(words(x) & 0x7FFFFFFFU); }
  static OCTAVO_ERRORS std::int32_t largest(const Ints (&parts)[kParts]) {
    Ints most = parts[0];
    for (int i = 1; i < kParts; ++i) most = larger(most, parts[i]);
    return Base::template largest_lane<lanes / 2>(most)[0];
  }

  // Magnitudes compare as integers, so that a NaN is the largest.
  struct Piece {
    Floats signal[kParts] = {}, noise[kParts] = {};
    Ints most[kParts] = {}, error[kParts] = {}, saturated[kParts] = {};
    OCTAVO_ERRORS void add(int part, Floats w, Floats code, Floats scale, float end) {
      const Floats lost = w - code * scale;
      signal[part] += w * w;
      noise[part] += lost * lost;
      most[part] = larger(most[part], magnitude(w));
      error[part] = larger(error[part], magnitude(lost));
      const Ints at_end = floats(words(code) & 0x7FFFFFFFU) >= end;
      saturated[part] = at_end ? saturated[part] + 1 : saturated[part];
    }
    // Does float32 hold the squares?
    OCTAVO_ERRORS bool fits(float& error_most) const {
      constexpr auto kHuge = std::bit_cast<std::int32_t>(1e12F);
      constexpr auto kTiny = std::bit_cast<std::int32_t>(1e-12F);
      constexpr auto kTinyError = std::bit_cast<std::int32_t>(1e-16F);
      const std::int32_t value = largest(most), lost = largest(error);
      error_most = std::bit_cast<float>(lost);
      return value <= kHuge && (value >= kTiny || value == 0) && (lost >= kTinyError || lost == 0);
    }
  };

  class Row {
   public:
    explicit OCTAVO_ERRORS Row(octavo::CodeErrors& sums) : sums_(sums) {}
    Row(const Row&) = delete;
    Row& operator=(const Row&) = delete;
    OCTAVO_ERRORS ~Row() {
      sums_.signal += sum(signal_);
      sums_.noise += sum(noise_);
      for (const Ints& part : saturated_) {
        for (int i = 0; i < lanes; ++i) sums_.saturated += part[i];
      }
    }

    // False, and nothing is added, where float32 does not do.
    OCTAVO_ERRORS bool take(const Piece& piece) {
      float error = 0.0F;
      if (!piece.fits(error)) return false;
      for (int part = 0; part < kParts; ++part) {
        add(piece.signal[part], signal_ + 2 * part);
        add(piece.noise[part], noise_ + 2 * part);
        saturated_[part] += piece.saturated[part];
      }
      const auto wide = static_cast<double>(error);
      sums_.largest = wide > sums_.largest ? wide : sums_.largest;
      return true;
    }
    void exactly(const octavo::cpu::CodeRow& row, const float* values, const float* codes,
                 std::int64_t count) noexcept {
      for (std::int64_t i = 0; i < count; ++i) {
        const double w = static_cast<double>(values[i]);
        const double error = w - static_cast<double>(codes[i] * row.scale);
        const double size = error < 0.0 ? -error : error;
        sums_.signal += w * w;
        sums_.noise += error * error;
        sums_.largest = size > sums_.largest ? size : sums_.largest;
        sums_.saturated += codes[i] >= row.largest || codes[i] <= -row.largest ? 1 : 0;
        sums_.finite = sums_.finite && w - w == 0.0;
      }
    }
    // Codes that are in memory.
    __attribute__((noinline)) void read(const octavo::cpu::CodeRow& row) noexcept {
      alignas(64) float values[kPiece];
      alignas(64) float codes[kPiece];
      const std::int64_t value_bytes = octavo::element_bytes(row.from);
      for (std::int64_t begin = 0; begin < row.count; begin += kPiece) {
        const std::int64_t count = row.count - begin < kPiece ? row.count - begin : kPiece;
        widen_row(row.from, static_cast<const char*>(row.values) + begin * value_bytes, count,
                  values);
        widen_row(row.to, static_cast<const char*>(row.codes) + begin, count, codes);
        std::int64_t whole = count / kSums * kSums;
        Piece piece;
        for (std::int64_t i = 0; i < whole; i += lanes) {
          piece.add(static_cast<int>(i / lanes % kParts), vector_at<Floats>(values + i),
                    vector_at<Floats>(codes + i), Floats{} + row.scale, row.largest);
        }
        if (!take(piece)) whole = 0;
        exactly(row, values + whole, codes + whole, count - whole);
      }
    }

   private:
    template <std::size_t... i>
    static OCTAVO_ERRORS void add(Floats x, Doubles* sums, std::index_sequence<i...>) {
      constexpr int kHalf = lanes / 2;
      sums[0] +=
          __builtin_convertvector(__builtin_shufflevector(x, x, static_cast<int>(i)...), Doubles);
      sums[1] += __builtin_convertvector(
          __builtin_shufflevector(x, x, (kHalf + static_cast<int>(i))...), Doubles);
    }
    static OCTAVO_ERRORS void add(Floats x, Doubles* sums) {
      add(x, sums, std::make_index_sequence<lanes / 2>());
    }
    static OCTAVO_ERRORS double sum(const Doubles (&parts)[2 * kParts]) {
      double total = 0.0;
      for (const Doubles& part : parts) {
        for (int i = 0; i < lanes / 2; ++i) total += part[i];
      }
      return total;
    }

    octavo::CodeErrors& sums_;
    Doubles signal_[2 * kParts] = {}, noise_[2 * kParts] = {};
    Ints saturated_[kParts] = {};
  };

  static void add(const octavo::cpu::CodeRow& row, octavo::CodeErrors& sums) noexcept {
    Row(sums).read(row);
  }
#undef OCTAVO_ERRORS
};
