// SPDX-License-Identifier: Apache-2.0
// Errors of codes: sums of w^2 and (w - code * scale)^2, their largest, codes at the end of the
// range. Included after lanes-inl.hpp and rows-inl.hpp inside an instruction-set region.
//
// A piece of elements goes into sixteen float32 sums, whatever the width of vectors, and these into
// float64: a sum has at most kPiece / 16 terms. Where float32 cannot hold their squares (magnitudes
// beyond [1e-12, 1e12], errors all below 1e-16) they are done over in float64.

template <int lanes>
struct Errors {
  using Floats = Lanes<float, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  static constexpr int kSums = 16;
  static constexpr int kParts = kSums / lanes;
  static constexpr float kTiny = 1e-12F, kHuge = 1e12F, kTinyError = 1e-16F;
#define OCTAVO_ERRORS inline __attribute__((always_inline))

  static OCTAVO_ERRORS Floats magnitude(Floats x) { return x < 0.0F ? -x : x; }
  static OCTAVO_ERRORS double sum(const Floats (&parts)[kParts]) {
    float all[kSums];
    std::memcpy(all, parts, sizeof(all));
    double total = 0.0;
    for (int i = 0; i < kSums; ++i) total += static_cast<double>(all[i]);
    return total;
  }
  static OCTAVO_ERRORS float largest(const Floats (&parts)[kParts]) {
    float all[kSums];
    std::memcpy(all, parts, sizeof(all));
    float most = 0.0F;
    for (int i = 0; i < kSums; ++i) most = all[i] > most ? all[i] : most;
    return most;
  }

  static void exactly(const octavo::cpu::CodeRow& row, const float* values, const float* codes,
                      std::int64_t count, octavo::CodeErrors& sums) noexcept {
    for (std::int64_t i = 0; i < count; ++i) {
      const double w = static_cast<double>(values[i]);
      const double error = w - static_cast<double>(codes[i] * row.scale);
      const double size = error < 0.0 ? -error : error;
      sums.signal += w * w;
      sums.noise += error * error;
      sums.largest = size > sums.largest ? size : sums.largest;
      sums.saturated += codes[i] >= row.largest || codes[i] <= -row.largest ? 1 : 0;
      sums.finite = sums.finite && w - w == 0.0;
    }
  }

  // A multiple of kSums elements; false where float32 does not do.
  static bool piece(const octavo::cpu::CodeRow& row, const float* values, const float* codes,
                    std::int64_t count, octavo::CodeErrors& sums) noexcept {
    Floats signal[kParts] = {}, noise[kParts] = {}, most[kParts] = {}, error_most[kParts] = {},
           zero[kParts] = {};
    Ints saturated[kParts] = {};
    for (std::int64_t i = 0; i < count; i += kSums) {
      for (int part = 0; part < kParts; ++part) {
        const auto w = vector_at<Floats>(values + i + part * lanes);
        const auto code = vector_at<Floats>(codes + i + part * lanes);
        const Floats error_of = w - code * row.scale;
        const Floats size = magnitude(w);
        const Floats error_size = magnitude(error_of);
        signal[part] += w * w;
        noise[part] += error_of * error_of;
        zero[part] += w - w;  // NaN once w is not finite
        most[part] = size > most[part] ? size : most[part];
        error_most[part] = error_size > error_most[part] ? error_size : error_most[part];
        saturated[part] -=
            reinterpret_cast<const Ints&>(static_cast<const Ints&>(magnitude(code) >= row.largest));
      }
    }
    const float magnitude_most = largest(most), error = largest(error_most);
    const bool finite = sum(zero) == 0.0;
    if (!finite || magnitude_most > kHuge || (magnitude_most < kTiny && magnitude_most > 0.0F) ||
        (error < kTinyError && error > 0.0F)) {
      return false;
    }
    sums.signal += sum(signal);
    sums.noise += sum(noise);
    const auto wide = static_cast<double>(error);
    sums.largest = wide > sums.largest ? wide : sums.largest;
    std::int32_t all[kSums];
    std::memcpy(all, saturated, sizeof(all));
    for (int i = 0; i < kSums; ++i) sums.saturated += all[i];
    return true;
  }

  static void add(const octavo::cpu::CodeRow& row, octavo::CodeErrors& sums) noexcept {
    alignas(64) float values[kPiece];
    alignas(64) float codes[kPiece];
    const std::int64_t value_bytes = octavo::element_bytes(row.from);
    for (std::int64_t begin = 0; begin < row.count; begin += kPiece) {
      const std::int64_t count = row.count - begin < kPiece ? row.count - begin : kPiece;
      widen_row(row.from, static_cast<const char*>(row.values) + begin * value_bytes, count,
                values);
      widen_row(row.to, static_cast<const char*>(row.codes) + begin, count, codes);
      std::int64_t whole = count / kSums * kSums;
      if (!piece(row, values, codes, whole, sums)) whole = 0;
      exactly(row, values + whole, codes + whole, count - whole, sums);
    }
  }
#undef OCTAVO_ERRORS
};
