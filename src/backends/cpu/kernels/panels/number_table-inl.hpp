// SPDX-License-Identifier: Apache-2.0
// The magnitudes of int8 as bytes of bfloat16, for tables of bytes.
//
// For the outside of regions: its initialiser is a function.
//
// Needs: nothing
// Gives: kNumbers, NumberTable
struct alignas(64) NumberTable {
  std::array<std::uint8_t, 128> low, high;  // of 0 to 127
  std::array<std::uint8_t, 64> high_of_128;
  std::array<std::uint8_t, 64> order;  // in 128 bits the first two codes of columns, then the last
};
constexpr NumberTable kNumbers = [] {
  NumberTable table{};
  for (std::size_t i = 0; i < 128; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(i));
    table.low[i] = static_cast<std::uint8_t>(bits >> 16);
    table.high[i] = static_cast<std::uint8_t>(bits >> 24);
  }
  table.high_of_128.fill(0x43);
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t column = i % 8 / 2;
    table.order[i] = static_cast<std::uint8_t>(4 * column + i % 16 / 8 * 2 + i % 2);
  }
  return table;
}();
