// SPDX-License-Identifier: Apache-2.0
// scales.txt: what shapes of scales mean, in C++ as in Python
// (tests/python/w8a8/test_w8a8_scales.py).
#include <fstream>
#include <regex>
#include <sstream>

#include "octavo/matmul.hpp"
#include "octavo/w8a8_utils.hpp"
#include "ops/helpers.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::scales_test {
namespace {

struct Case {
  std::string line, group_size, said;
  DType dtype = DType::undefined;
  std::int64_t m = 0, padded = 0, n = 0, k = 0;
  Shape scale_a, scale_b;
};

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? ""
                                    : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

Shape shape_of(const std::string& text) {
  Shape shape;
  static const std::regex number("[0-9]+");
  for (std::sregex_iterator it(text.begin(), text.end(), number), end; it != end; ++it) {
    shape.push_back(std::stoll(it->str()));
  }
  return shape;
}

std::vector<Case> cases() {
  std::ifstream file(in_checkout("tests/layers/w8a8/scales.txt"));
  std::vector<Case> list;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    Case c;
    c.line = line;
    std::istringstream fields(line);
    std::string field[5];
    for (std::string& f : field) std::getline(fields, f, '|');
    std::istringstream sizes(field[0]);
    std::string dtype;
    sizes >> dtype >> c.m >> c.padded >> c.n >> c.k;
    c.dtype = dtype_from_name(dtype);
    c.group_size = trimmed(field[1]);
    c.scale_a = shape_of(field[2]);
    c.scale_b = shape_of(field[3]);
    c.said = trimmed(field[4]);
    list.push_back(c);
  }
  return list;
}

Scale read_as(const std::string& name, const TensorView& scale, std::int64_t rows, Side side) {
  const TensorView v =
      side == Side::a && scale.rank > 0 && scale.shape[0] > rows && name != "tensor"
          ? scale.slice(0, 0, rows)
          : scale;
  if (name == "tensor") return {v, per_tensor()};
  if (name == "token") return {v, per_token()};
  if (name == "channel") return {v, per_channel()};
  if (name == "block128x128") return {v.transposed(), block(128, 128)};
  return {v, group(std::stoll(name.substr(5)))};
}

TEST(W8a8Scales, MeanWhatTheTableSays) {
  const std::vector<Case> list = cases();
  ASSERT_GT(list.size(), 20U);
  for (const Case& c : list) {
    SCOPED_TRACE(c.line);
    ASSERT_NE(c.dtype, DType::undefined);
    const Tensor x = integers(c.dtype, {c.padded, c.k}, 1, -8, 8);
    const Tensor w = integers(c.dtype, {c.n, c.k}, 2, -8, 8);
    const Tensor sa = uniforms(float32, c.scale_a, 3), sb = uniforms(float32, c.scale_b, 4);
    const std::array<std::int64_t, 2> out{c.m, c.n};
    w8a8_utils::W8a8Arguments arguments{.qinput = x,
                                        .weight = Operand(w.transposed()),
                                        .out_dtype = float32,
                                        .scale_a = sa,
                                        .scale_b = sb};
    arguments.output_shape = out;
    arguments.group_size = c.group_size == "-" ? 0 : std::stoll(c.group_size);
    std::istringstream words(c.said);
    std::string a, b;
    words >> a >> b;
    if (b.empty() || b == "must") {
      try {
        (void)w8a8_utils::cutlass_w8a8_scaled_mm(arguments);
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        const std::string sentence = error.what();
        EXPECT_NE(sentence.find(c.said), std::string::npos) << sentence;
      }
      continue;
    }
    const Tensor want = scaled_mm(x.view().slice(0, 0, c.m), Operand(w.transposed()),
                                  {.scale_a = read_as(a, sa, c.m, Side::a),
                                   .scale_b = read_as(b, sb, c.n, Side::b),
                                   .out_dtype = float32});
    expect_same_bits(w8a8_utils::cutlass_w8a8_scaled_mm(arguments), want);
  }
}

}  // namespace
}  // namespace octavo::test::scales_test
