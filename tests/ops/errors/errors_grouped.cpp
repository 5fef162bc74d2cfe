// SPDX-License-Identifier: Apache-2.0
// What the grouped products and the products with PyTorch's argument order refuse.
#include "octavo/functional.hpp"
#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

using functional::RecipeScale;
using functional::ScalingType;
using functional::SwizzleType;

TensorView offsets(const std::vector<int>& ends, DType dtype = int32) {
  const TensorView v = ones(int32, {static_cast<std::int64_t>(ends.size())});
  std::copy(ends.begin(), ends.end(), static_cast<int*>(v.data));
  return dtype == int32 ? v : ones(dtype, {v.shape[0]});
}

void list(const Operand& x, const Operand& w, const GroupedListOptions& options = {}) {
  (void)grouped_mm(std::vector<Operand>{x}, std::vector<Operand>{w}, options);
}

void f_mm(const RecipeScale& sa, const RecipeScale& sb = {ones(float32, {1})}) {
  (void)functional::scaled_mm(ones(float8_e4m3fn, {2, 256}), ones(float8_e4m3fn, {256, 3}),
                              {&sa, 1}, {&sb, 1});
}

}  // namespace

std::vector<ErrorRow> grouped_errors() {
  const TensorView a2 = ones(int8, {6, 3});
  const TensorView a3 = ones(int8, {2, 6, 3});
  const TensorView b2 = ones(int8, {3, 4});
  const TensorView b3 = ones(int8, {2, 3, 4});
  const TensorView ends = offsets({2, 6});
  const TensorView scalar(ends.data, int8, {});
  const auto tensor_form = [](const Operand& a, const Operand& b, const GroupedOptions& o) {
    (void)grouped_mm(a, b, o);
  };
  return {
      {"ListLengths", kInvalid,
       "grouped_mm: weights.size must equal inputs.size = 1; got 2 (lists are not broadcast)",
       [=] {
         (void)grouped_mm(std::vector<Operand>{a2}, std::vector<Operand>{b2, b2});
       }},
      {"ScaleListLength", kInvalid,
       "grouped_mm: scales_a.size must equal inputs.size = 1; got 2 (lists are not broadcast)",
       [=] { list(a2, b2, {.biases = {}, .scales_a = std::vector<Scale>(2)}); }},
      {"ZeroPointsOfGroupedWeights", Code::unsupported,
       "grouped_mm: b.azp must be undefined in a grouped tensor form; got [4]",
       [=] {
         Operand weight(b3);
         weight.azp = ones(int32, {4});
         tensor_form(a3, weight, {});
       }},
      {"ChunksOfCutK", Code::unsupported,
       "grouped_mm: k_chunks must be 0 or 1 where offsets cut K; got 2",
       [=] {
         tensor_form(a2, ones(int8, {3, 4}), {.offs = offsets({1, 3}), .matmul = {.k_chunks = 2}});
       }},
      {"SliceOfScalesWhereKIsCut", Code::unsupported,
       "grouped_mm: scale_b carried by the operand must begin with a cell where offsets cut K; got "
       "element 1 of one",
       [=] {
         Operand weight(b2);
         weight.scale[0] = {ScaleKind::tensor, 1.0F, ones(float32, {2, 4}), 2, 1, 1, 0};
         tensor_form(ones(int8, {6, 3}), weight, {.offs = offsets({1, 3})});
       }},
      {"TooManyGroups", Code::unsupported,
       "grouped_mm: groups must be at most 16777216; got 16777217",
       [=] {
         TensorView many_a = a3, many_b = b3;
         many_a.shape[0] = many_b.shape[0] = (1 << 24) + 1;
         many_a.strides[0] = many_b.strides[0] = 0;
         tensor_form(many_a, many_b, {});
       }},
      {"ListInputWithoutDimensions", kInvalid,
       "grouped_mm: inputs[0].shape must have at least one dimension; got []",
       [=] { list(scalar, b2); }},
      {"ListWeightRank", kInvalid, "grouped_mm: weights[0].shape must be 2-D [K, N]; got [2, 3, 4]",
       [=] { list(a2, b3); }},
      {"ListInputType", kInvalid,
       "grouped_mm: inputs[0].dtype must be an 8-bit type or a 16- or 32-bit float type; got int64 "
       "(convert it first, for example to int8 or float32)",
       [=] {
         list(ones(int64, {6, 3}), b2);
       }},
      {"ListOutsOverlap", kInvalid,
       "grouped_mm: outs[0] must not overlap outs[1]; got shared memory",
       [=] {
         const TensorView out = ones(float32, {6, 4});
         (void)grouped_mm(std::vector<Operand>{a2, a2}, std::vector<Operand>{b2, b2},
                          {.biases = {}, .outs = std::vector<TensorView>{out, out}});
       }},
      {"ListOutOverlapsTheBiasOfAnotherEntry", kInvalid,
       "grouped_mm: outs[0] must not overlap biases[1]; got shared memory",
       [=] {
         const TensorView out = ones(float32, {6, 4});
         const TensorView bias(out.at(8), float32, {4});
         (void)grouped_mm(std::vector<Operand>{a2, a2}, std::vector<Operand>{b2, b2},
                          {.biases = std::vector<TensorView>{{}, bias},
                           .outs = std::vector<TensorView>{out, {}}});
       }},
      {"TensorFormRanks", kInvalid, "grouped_mm: a and b must be 2-D or 3-D; got [6] and [3, 4]",
       [=] { tensor_form(ones(int8, {6}), b2, {}); }},
      {"TensorFormInner", kInvalid, "grouped_mm: b.shape[1] must equal a.shape[1] = 3; got 5",
       [=] {
         tensor_form(a2, ones(int8, {2, 5, 4}), {.offs = ends});
       }},
      {"TensorFormBatch", kInvalid, "grouped_mm: b.shape[0] must equal a.shape[0] = 2; got 3",
       [=] {
         tensor_form(a3, ones(int8, {3, 3, 4}), {});
       }},
      {"OffsForABatch", kInvalid,
       "grouped_mm: offs must be undefined for two 3-D operands; got [2]",
       [=] { tensor_form(a3, b3, {.offs = ends}); }},
      {"OffsMissing", kInvalid,
       "grouped_mm: offs must be given when an operand is 2-D (it cuts the rows of a); got none",
       [=] { tensor_form(a2, b3, {}); }},
      {"OffsMissingForColumns", kInvalid,
       "grouped_mm: offs must be given when an operand is 2-D (it cuts the columns of b); got none",
       [=] { tensor_form(a3, b2, {}); }},
      {"OffsType", kInvalid, "grouped_mm: offs.dtype must be int32 or int64; got float32",
       [=] {
         tensor_form(a2, b3, {.offs = offsets({2, 6}, float32)});
       }},
      {"OffsShape", kInvalid, "grouped_mm: offs.shape must be [2] (one end per group); got [3]",
       [=] {
         tensor_form(a2, b3, {.offs = offsets({2, 6, 6})});
       }},
      {"OffsPrefixShape", kInvalid,
       "grouped_mm: offs.shape must be [3] (a prefix: one more than groups); got [2]",
       [=] { tensor_form(a2, b3, {.offs = ends, .offs_prefix = true}); }},
      {"OffsPrefixStart", kInvalid, "grouped_mm: offs[0] of a prefix must be 0; got 1",
       [=] {
         tensor_form(a2, b3, {.offs = offsets({1, 2, 6}), .offs_prefix = true});
       }},
      {"OffsDescend", kInvalid, "grouped_mm: offs[1] must be in [4, 6] (cumulative ends); got 3",
       [=] {
         tensor_form(a2, b3, {.offs = offsets({4, 3})});
       }},
      {"OffsBeyondTheEnd", kInvalid,
       "grouped_mm: offs[1] must be in [2, 6] (cumulative ends); got 7",
       [=] {
         tensor_form(a2, b3, {.offs = offsets({2, 7})});
       }},
      {"OffsNegative", kInvalid, "grouped_mm: offs[0] must be in [0, 6] (cumulative ends); got -1",
       [=] {
         tensor_form(a2, b3, {.offs = offsets({-1, 7})});
       }},
      {"PackedWeightInATensorForm", Code::unsupported,
       "grouped_mm: b must be a tensor in a grouped product; got a packed weight",
       [=] {
         const PackedWeight packed = pack(b2);
         tensor_form(a2, packed, {.offs = ends});
       }},
      {"FusedQuantiserInATensorForm", Code::unsupported,
       "grouped_mm: a must be quantised before a grouped tensor form; got a fused quantiser",
       [=] {
         const ActivationQuant rule;
         Operand a(ones(float32, {6, 3}));
         a.quantize = &rule;
         tensor_form(a, ones(float32, {2, 3, 4}), {.offs = ends});
       }},
      {"FusedQuantiserOfAWeight", Code::unsupported,
       "grouped_mm: b must be quantised before the product (on the fly a alone is); got a fused "
       "quantiser",
       [=] {
         const ActivationQuant rule;
         Operand b(ones(float32, {2, 3, 4}));
         b.quantize = &rule;
         tensor_form(a2, b, {.offs = ends});
       }},
      {"ZeroPointsOfABatch", Code::unsupported,
       "grouped_mm: azp must be undefined for a 3-D operand; got [1]",
       [=] {
         Operand a(a3);
         a.azp = ones(int32, {1});
         tensor_form(a, b3, {});
       }},
      {"GroupedBias", kInvalid,
       "grouped_mm: bias.shape must be [4], [1, 4], [2, 4] or one element; got [3, 4]",
       [=] {
         tensor_form(a2, b3, {.offs = ends, .bias = ones(float32, {3, 4})});
       }},
      {"RowwiseScale", kInvalid,
       "grouped_mm: scale_b.shape must be one element or [2, 4]; got [4] (declare the granularity "
       "for any other shape)",
       [=] { tensor_form(a2, b3, {.offs = ends, .scale_b = ones(float32, {4})}); }},
      {"RowwiseScaleOfAnInnerSplit", kInvalid,
       "grouped_mm: scale_a.shape must be one element or [2 * 6]; got [6] (declare the granularity "
       "for any other shape)",
       [=] {
         tensor_form(a2, b2, {.offs = offsets({1, 3}), .scale_a = ones(float32, {6})});
       }},
      {"PerTensorScalesOfGroups", kInvalid,
       "grouped_mm: scale_a.shape must be one element or [2], one per group; got [3]",
       [=] {
         tensor_form(a2, b3, {.offs = ends, .scale_a = {ones(float32, {3}), per_tensor()}});
       }},
      {"BlockScalesOfGroups", kInvalid,
       "grouped_mm: scale_b.shape must be [2, 1, 1] for granularity block128x128; got [1, 1, 2]",
       [=] {
         tensor_form(a2, b3,
                     {.offs = ends, .scale_b = {ones(float32, {1, 1, 2}), block(128, 128)}});
       }},
      {"BatchRank", kInvalid,
       "scaled_grouped_mm: input.shape must be 3-D [batch, m, k]; got [6, 3]",
       [=] { (void)scaled_grouped_mm(a2, b3); }},
      {"BatchInner", kInvalid,
       "scaled_grouped_mm: weight.shape[1] must equal input.shape[2] = 3; got 4 (for a weight "
       "given as [batch, n, k], as in Q @ K^T, say trans_b)",
       [=] { (void)scaled_grouped_mm(a3, b3, {.trans_b = true}); }},
      {"BatchScale", kInvalid, "scaled_grouped_mm: scale.shape must be one element; got [2]",
       [=] { (void)scaled_grouped_mm(a3, b3, {.scale = ones(float32, {2})}); }},
  };
}

std::vector<ErrorRow> functional_errors() {
  const TensorView one = ones(float32, {1});
  const TensorView a = ones(float8_e4m3fn, {2, 256});
  const TensorView b = ones(float8_e4m3fn, {256, 3});
  const RecipeScale plain{one};
  return {
      {"NoRecipes", kInvalid, "scaled_mm: scale_a must hold one or two scales; got 0",
       [=] {
         (void)functional::scaled_mm(a, b, {}, {&plain, 1});
       }},
      {"SecondLevelRecipe", kInvalid, "scaled_mm: scale_b[1] must be TensorWise; got RowWise",
       [=] {
         const RecipeScale two[] = {plain, {one, ScalingType::RowWise}};
         (void)functional::scaled_mm(a, b, {&plain, 1}, two);
       }},
      {"RecipeOutOfRange", kInvalid, "scaled_mm: scale_a.recipe must be a ScalingType; got 9",
       [=] {
         f_mm({one, static_cast<ScalingType>(9)});
       }},
      {"RecipeType", kInvalid,
       "scaled_mm: scale_a.dtype must be float8_e8m0fnu for BlockWise1x32; got float32",
       [=] {
         f_mm({ones(float32, {2, 8}), ScalingType::BlockWise1x32});
       }},
      {"SwizzleOfAWrongRecipe", kInvalid,
       "scaled_mm: scale_a.swizzle must be NO_SWIZZLE for RowWise; got SWIZZLE_32_4_4",
       [=] {
         f_mm({ones(float32, {2}), ScalingType::RowWise, SwizzleType::SWIZZLE_32_4_4});
       }},
      {"SwizzledSize", kInvalid,
       "scaled_mm: scale_a must have 1024 contiguous elements for SWIZZLE_32_4_4 (whole 128 x 4 "
       "tiles); got [2, 8]",
       [=] {
         f_mm({ones(float8_e8m0fnu, {2, 8}), ScalingType::BlockWise1x32,
               SwizzleType::SWIZZLE_32_4_4});
       }},
      {"SwizzledSizeOfAGroup", kInvalid,
       "scaled_grouped_mm: scale_a must have at least 1024 contiguous elements for SWIZZLE_32_4_4 "
       "(whole 128 x 4 tiles of each group); got [512]",
       [=] {
         const RecipeScale sa{ones(float8_e8m0fnu, {512}), ScalingType::BlockWise1x32,
                              SwizzleType::SWIZZLE_32_4_4};
         functional::Options o;
         o.offs = offsets({2});
         (void)functional::scaled_grouped_mm(a, ones(float8_e4m3fn, {1, 256, 3}), {&sa, 1},
                                             {&plain, 1}, o);
       }},
      {"SwizzledGroupsOfK", kInvalid,
       "scaled_grouped_mm: offs must begin at multiples of 32 for SWIZZLE_32_4_4 where K is cut "
       "(each group has scales of its own); got a group that begins at 40",
       [=] {
         const RecipeScale sa{ones(float8_e8m0fnu, {2048}), ScalingType::BlockWise1x32,
                              SwizzleType::SWIZZLE_32_4_4};
         functional::Options o;
         o.offs = offsets({40, 256});
         (void)functional::scaled_grouped_mm(a, ones(float8_e4m3fn, {256, 3}), {&sa, 1},
                                             {&plain, 1}, o);
       }},
      {"SquareOfBlocks", kInvalid,
       "scaled_mm: scale_a.strides must be [1, 4] for a square grid [4, 4] of BlockWise128x128, "
       "which is PyTorch's [K / 128, outer / 128] (scaled_mm's granularities take the other); got "
       "[4, 1]",
       [=] {
         const RecipeScale sa{ones(float32, {4, 4}), ScalingType::BlockWise128x128};
         (void)functional::scaled_mm(ones(float8_e4m3fn, {512, 512}), ones(float8_e4m3fn, {512, 3}),
                                     {&sa, 1}, {&plain, 1});
       }},
      {"SquareOfBlocksWithoutPadding", kInvalid,
       "scaled_mm: scale_a.shape must be padded [4, 2] for a square grid of BlockWise128x128, "
       "which is PyTorch's [K / 128, outer / 128] (scaled_mm's granularities take the other); got "
       "[2, 2]",
       [=] {
         const RecipeScale sa{ones(float32, {2, 2}), ScalingType::BlockWise128x128};
         (void)functional::scaled_mm(ones(float8_e4m3fn, {256, 256}), ones(float8_e4m3fn, {256, 3}),
                                     {&sa, 1}, {&plain, 1});
       }},
      {"BlockRecipeShape", kInvalid,
       "scaled_mm: scale_a.shape must be [1, 2] or padded [4, 1] for BlockWise128x128; got [2, 2]",
       [=] {
         f_mm({ones(float32, {2, 2}), ScalingType::BlockWise128x128});
       }},
      {"RowWiseShape", kInvalid,
       "scaled_mm: scale_a.shape must be [2, 1] for granularity token; got [3, 1]",
       [=] {
         f_mm({ones(float32, {3, 1}), ScalingType::RowWise});
       }},
      {"OutOverlapsTheSecondLevel", kInvalid,
       "scaled_mm: out must not overlap scale_a (out may be exactly C); got shared memory",
       [=] {
         functional::Options o;
         o.output_dtype = float32;
         o.out = ones(float32, {2, 3});
         const RecipeScale two[] = {plain, {TensorView(o.out.at(2), float32, {1})}};
         (void)functional::scaled_mm(a, b, two, {&plain, 1}, o);
       }},
      {"FunctionalInner", kInvalid,
       "scaled_mm: mat_b.shape[0] must equal mat_a.shape[1] = 256; got 3 (for a matrix given as "
       "[N, K] say trans_b)",
       [=] {
         (void)functional::scaled_mm(a, b.transposed(), {&plain, 1}, {&plain, 1});
       }},
  };
}

}  // namespace octavo::test
