// SPDX-License-Identifier: Apache-2.0
// bitsandbytes' older files: codes in cuBLASLt's tiled orders come back row by row, bit for bit.
// The orders are written here as NVIDIA's documentation of cublasLtOrder_t has them.
#include <random>

#include "checkpoint/support.hpp"

namespace octavo::test::tiled_codes_test {
namespace {

using TiledCodes = Scratch;

struct Format {
  std::uint8_t number;
  const char* name;
  std::int64_t rows;  ///< of a tile
};
constexpr Format kFormats[] = {{1, "col32", 1}, {2, "col_turing", 8}, {3, "col_ampere", 32}};

std::int64_t padded(std::int64_t extent, std::int64_t to) { return (extent + to - 1) / to * to; }

// "Column-major ordered tiles of 32 columns"; "composite tiles with total 32 columns and 8 rows,
// tile composed of interleaved inner tiles of 4 columns within 4 even or odd rows in an alternating
// pattern"; "element offset within the tile is calculated as
// (((row%8)/2*4+row/8)*2+row%2)*32+col".
std::int64_t within_tile(int number, std::int64_t row, std::int64_t col) {
  if (number == 1) return col;
  if (number == 3) return (((row % 8) / 2 * 4 + row / 8) * 2 + row % 2) * 32 + col;
  const std::int64_t inner = (row % 2) * 8 + col / 4;  // 16 inner tiles: 8 of even rows, 8 of odd
  return inner * 16 + (row / 2) * 4 + col % 4;
}

std::vector<std::int8_t> tiled(const Format& format, const std::vector<std::int8_t>& codes,
                               std::int64_t n, std::int64_t k) {
  const std::int64_t rows = padded(n, format.rows), cols = padded(k, 32);
  std::vector<std::int8_t> out(static_cast<std::size_t>(rows * cols));
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t c = 0; c < k; ++c) {
      const std::int64_t tile = (c / 32) * (rows / format.rows) + r / format.rows;
      const std::int64_t at =
          tile * format.rows * 32 + within_tile(format.number, r % format.rows, c % 32);
      out.at(static_cast<std::size_t>(at)) = codes.at(static_cast<std::size_t>(r * k + c));
    }
  }
  return out;
}

std::vector<std::int8_t> random_codes(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> code(-127, 127);
  std::vector<std::int8_t> codes(static_cast<std::size_t>(count));
  for (auto& c : codes) c = static_cast<std::int8_t>(code(generator));
  return codes;
}

std::vector<TensorToWrite> layer(const Format& format, const std::vector<std::int8_t>& codes,
                                 std::vector<std::int64_t> shape, std::int64_t n) {
  return {stored("p.weight", "I8", std::move(shape), codes),
          stored("p.SCB", "F32", {n}, std::vector<float>(static_cast<std::size_t>(n), 127.0F)),
          stored<std::uint8_t>("p.weight_format", "U8", {}, {format.number})};
}

TEST_F(TiledCodes, ComeBackRowByRow) {
  const std::pair<std::int64_t, std::int64_t> sizes[] = {{32, 32}, {1, 32},  {7, 64},   {8, 96},
                                                         {33, 32}, {65, 64}, {96, 160}, {100, 128}};
  for (const Format& format : kFormats) {
    for (const auto& [n, k] : sizes) {
      SCOPED_TRACE(std::string(format.name) + " " + std::to_string(n) + "x" + std::to_string(k));
      std::vector<std::int8_t> codes = random_codes(n * k, 3);
      codes.back() = 5;  // the last column holds something
      write_safetensors(path("x"),
                        layer(format, tiled(format, codes, n, k), {padded(n, format.rows), k}, n));
      const Weight weight = open_checkpoint(path("x")).weight("p");
      ASSERT_EQ("llm-int8", weight.scheme);
      ASSERT_EQ(n, weight.codes.data.size(0));
      ASSERT_EQ(k, weight.codes.data.size(1));
      EXPECT_EQ(0, std::memcmp(codes.data(), weight.codes.data.data(), codes.size()));
      EXPECT_EQ(n, weight.codes.scale.numel());
      EXPECT_EQ(k, pack(weight).k());
    }
  }
}

// K = 45 is stored as 64 columns, and nothing in the file tells 45 from 64.
TEST_F(TiledCodes, AKThatWasPaddedIsRefused) {
  for (const Format& format : kFormats) {
    SCOPED_TRACE(format.name);
    std::vector<std::int8_t> codes = random_codes(9 * 45, 4);
    codes.back() = 5;
    write_safetensors(path("x"),
                      layer(format, tiled(format, codes, 9, 45), {padded(9, format.rows), 64}, 9));
    expect_error(Code::unsupported,
                 "must have a code other than 0 in its last column, since order " +
                     std::string(format.name) +
                     " pads K to a multiple of 32 and K is stored nowhere; got zeros from column "
                     "45 of 64 on: save the model again with bitsandbytes 0.45 or newer",
                 [&] { open_checkpoint(path("x")).weight("p"); });
  }
}

TEST_F(TiledCodes, ShapesThatDoNotFitAreRefused) {
  const std::vector<std::int64_t> shapes[] = {{8, 31},  {8, 1},   {7, 32},   {64, 32}, {0, 32},
                                              {32, 33}, {33, 32}, {1024, 1}, {40, 64}, {1, 8192}};
  for (const Format& format : kFormats) {
    for (const std::vector<std::int64_t>& shape : shapes) {
      const std::int64_t n = 9;  // stored as 9, 16 or 32 rows
      SCOPED_TRACE(format.name);
      write_safetensors(path("x"), layer(format, random_codes(shape[0] * shape[1], 5), shape, n));
      expect_error(Code::corrupt_data, "tensor 'p.weight'.shape must be [",
                   [&] { open_checkpoint(path("x")).weight("p"); });
    }
  }
}

TEST_F(TiledCodes, EmptyLayersAreNoTrouble) {
  for (const Format& format : kFormats) {
    write_safetensors(path("x"), layer(format, {}, {0, 64}, 0));
    expect_error(Code::unsupported, "got zeros from column 0 of 64 on",
                 [&] { open_checkpoint(path("x")).weight("p"); });
    write_safetensors(path("x"), layer(format, {}, {padded(3, format.rows), 0}, 3));
    EXPECT_EQ(3, open_checkpoint(path("x")).weight("p").codes.data.size(0));
  }
}

TEST_F(TiledCodes, AScaleThatIsNoVectorIsRefused) {
  for (const Format& format : kFormats) {
    std::vector<TensorToWrite> tensors = layer(format, random_codes(32 * 32, 6), {32, 32}, 32);
    tensors[1] = stored("p.SCB", "F32", {1, 32}, std::vector<float>(32, 1.0F));
    write_safetensors(path("x"), std::move(tensors));
    expect_error(Code::corrupt_data, "tensor 'p.SCB'.shape must be [32, 1]",
                 [&] { open_checkpoint(path("x")).weight("p"); });
  }
}

}  // namespace
}  // namespace octavo::test::tiled_codes_test
