// SPDX-License-Identifier: Apache-2.0
#include "support/draw_line.hpp"

#include <vector>

#include "support/draw.hpp"

namespace octavo::test {
namespace {

const std::vector<DType>& float8s() {
  static const std::vector<DType> all{float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz};
  return all;
}
const std::vector<DType>& wides() {
  static const std::vector<DType> all{float32, bfloat16, float16};
  return all;
}

// One scale for all activations, known before them; now and then too small for some.
void draw_static(ProblemLine& line) {
  line.static_scale = one_of<float>({0.03F, 0.25F, 0.001F});
  if (line.azp) line.static_azp = static_cast<std::int32_t>(between(-140, 300));
}

// Of whole blocks along K, the nearest to what was drawn.
void draw_rotation(ProblemLine& line) {
  line.rotation = one_of<std::int32_t>({16, 64, 256});
  line.k = (line.k + line.rotation / 2) / line.rotation * line.rotation;
}

bool llm_int8(const ProblemLine& line) {
  return line.threshold > 0.0F || !line.outlier_columns.empty();
}

void draw_outliers(ProblemLine& line) {
  if (between(0, 3) != 0) line.threshold = one_of<float>({1.5F, 0.5F, 3.0F});
  for (std::int64_t c = between(0, 9); line.threshold == 0.0F ? c < line.k : sometimes();
       c += between(1, 40)) {
    if (c < line.k) line.outlier_columns.push_back(c);
  }
  if (!llm_int8(line)) return;
  line.outliers =
      one_of<LineOutliers>({LineOutliers::columns, LineOutliers::whole, LineOutliers::elements});
}

void draw_types(ProblemLine& line) {
  switch (between(0, 4)) {
    case 0:
      line.a = one_of<DType>({int8, uint8});
      line.b = int8;
      break;
    case 1:
      line.a = one_of(float8s());
      line.b = one_of(float8s());
      break;
    case 2:
      line.a = line.b = one_of(wides());
      break;
    case 3:  // W8A16
      line.a = one_of(wides());
      line.b = sometimes() ? one_of(float8s()) : int8;
      break;
    default:  // activations quantised on the fly
      line.a = one_of(wides());
      line.b = sometimes() ? one_of(float8s()) : int8;
      line.quantize = line.b == int8 ? one_of<DType>({int8, uint8}) : one_of(float8s());
      line.azp = line.quantize == uint8 || (line.b == int8 && sometimes());
      if (line.quantize == int8 && !line.azp && sometimes()) draw_outliers(line);
      if (!llm_int8(line) && sometimes()) draw_static(line);
      if (!llm_int8(line) && sometimes()) draw_rotation(line);
  }
  line.out = one_of<DType>(
      {float32, bfloat16, float16, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, int8, uint8});
}

Granularity draw_granularity(Side side) {
  switch (between(0, 6)) {
    case 0:
      return per_tensor();
    case 1:
    case 2:
      return side == Side::a ? per_token() : per_channel();
    case 3:
      return group(one_of<std::int64_t>({128, 32 * between(1, 4), between(1, 48)}));
    case 4: {
      const std::int64_t rows = one_of<std::int64_t>({128, between(1, 20)});
      return block(rows, one_of<std::int64_t>({128, 32 * between(1, 4), between(1, 48)}));
    }
    case 5:
      return per_k();
    default:
      return per_element();
  }
}

void draw_groups(ProblemLine& line) {
  line.operation = "grouped_mm";
  line.split =
      one_of<Split>({Split::rows, Split::list, Split::columns, Split::inner, Split::batch});
  const std::int64_t count = between(0, 4);
  const bool batch = line.split == Split::batch;
  std::int64_t total = 0;
  for (std::int64_t g = 0; g < count; ++g) {
    line.groups.push_back(batch || sometimes() ? 0 : between(0, 40));
    total += line.groups.back();
  }
  if (batch) line.operation = "scaled_grouped_mm";
  std::int64_t& cut = line.split == Split::columns ? line.n
                      : line.split == Split::inner ? line.k
                                                   : line.m;
  if (!batch) cut = total + between(0, 3);
}

void draw_epilogue(ProblemLine& line) {
  const bool members = line.split == Split::none || line.split == Split::list;
  if (sometimes()) line.bias = one_of(wides());
  if (sometimes()) line.alpha = -0.75F;
  if (sometimes() && members) line.beta = 0.5F;
  if (sometimes()) {
    line.has_scale_result = true;
    line.scale_result_vector = sometimes();
    line.scale_result = line.scale_result_vector ? 1.0F : 0.375F;
  }
  line.prepacked = members && sometimes();
  const bool a_3d = line.split == Split::columns || line.split == Split::batch;
  if (is_integer8(line.a) && !a_3d && sometimes()) {  // codes that bring zero points along
    line.azp = true;
    line.azp_per_tensor = sometimes();
  }
}

// int32 output: the exact sum, and nothing beside it.
void strip_for_int32(ProblemLine& line) {
  line.out = int32;
  line.has_scale_a = line.has_scale_b = line.has_scale_result = line.scale_result_vector = false;
  line.bias = DType::undefined;
  line.alpha = 1.0F;
  line.beta = 0.0F;
  line.scale_result = 1.0F;
}

}  // namespace

ProblemLine draw_line(const LineExtents& extents) {
  ProblemLine line;
  line.m = between(0, sometimes() ? extents.m : 17);
  line.n = between(0, sometimes() ? extents.n : 90);
  line.k = between(0, sometimes() ? extents.k : 150);
  draw_types(line);
  if (line.quantize == DType::undefined && sometimes()) draw_groups(line);
  line.has_scale_a = between(0, 2) != 0;
  line.has_scale_b = between(0, 2) != 0;
  line.scale_a = line.has_scale_a ? draw_granularity(Side::a) : Granularity{};
  line.scale_b = line.has_scale_b ? draw_granularity(Side::b) : Granularity{};
  if (llm_int8(line)) {  // LLM.int8 has one scale per row and one per column
    line.scale_a = line.has_scale_a ? per_token() : Granularity{};
    line.scale_b = line.has_scale_b ? per_channel() : Granularity{};
  }
  if (line.quantize != DType::undefined && (line.azp || line.static_scale > 0.0F)) {
    line.has_scale_a = true;  // what a product with zero points, or one scale, can have
    line.scale_a = line.static_scale > 0.0F || sometimes() ? per_tensor() : per_token();
  }
  line.scale_dtype = one_of<DType>({float32, float32, bfloat16, float16, float8_e8m0fnu});
  draw_epilogue(line);
  if (is_integer8(line.a) && is_integer8(line.b) && sometimes()) strip_for_int32(line);
  line.layout = one_of<LineLayout>({LineLayout::natural, LineLayout::row_major, LineLayout::strided,
                                    LineLayout::reversed, LineLayout::broadcast});
  if (line.split != Split::inner && sometimes())
    line.k_chunks = static_cast<std::int32_t>(between(2, 24));
  line.seed = static_cast<std::uint64_t>(between(1, 1000));
  return line;
}

}  // namespace octavo::test
