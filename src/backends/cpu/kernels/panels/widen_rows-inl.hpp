// SPDX-License-Identifier: Apache-2.0
// Rows of bytes as 16-bit numbers, in plain C++ that compilers vectorise.
//
// Needs: nothing
// Gives: widen_rows
void widen_rows(const void* codes, bool is_signed, std::int64_t count, std::int16_t* out) noexcept {
  if (is_signed) {
    const auto* from = static_cast<const std::int8_t*>(codes);
    for (std::int64_t i = 0; i < count; ++i) out[i] = from[i];
  } else {
    const auto* from = static_cast<const std::uint8_t*>(codes);
    for (std::int64_t i = 0; i < count; ++i) out[i] = from[i];
  }
}
