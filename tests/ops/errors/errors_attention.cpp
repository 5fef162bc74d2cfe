// SPDX-License-Identifier: Apache-2.0
// What attention refuses.
#include <cstdint>
#include <limits>

#include "errors.hpp"

namespace octavo::test {
namespace {

/// An attention of two sequences over pages of 4 tokens, with one argument changed.
struct AttentionCall {
  TensorView q = ones(float32, {2, 1, 4, 8});
  TensorView keys = ones(int8, {2, 4, 2, 8}), values = keys;
  TensorView key_scales = ones(float32, {2, 4, 2}), value_scales = key_scales;
  AttentionOptions options;
};

template <class Change>
std::function<void()> attention_with(Change change) {
  return [change] {
    AttentionCall g;
    change(g);
    (void)attention(g.q, g.keys, g.key_scales, g.values, g.value_scales, g.options);
  };
}

TensorView two_numbers(std::int32_t first, std::int32_t second) {
  static std::int32_t values[3][2] = {{4, 5}, {-1, 0}, {0, 2}};
  for (auto& pair : values) {
    if (pair[0] == first && pair[1] == second) return {pair, int32, {2}};
  }
  return {};
}

}  // namespace

std::vector<ErrorRow> attention_errors() {
  return {
      {"AttentionRank", kInvalid, "attention: q.shape must be [B, T, H, D]; got [2, 4, 2]",
       attention_with([](AttentionCall& g) {
         g.q = ones(float32, {2, 4, 2});
       })},
      {"AttentionCodes", kInvalid,
       "attention: keys.dtype must be int8 or float8_e4m3fn; got float32",
       attention_with([](AttentionCall& g) {
         g.keys = ones(float32, {2, 4, 2, 8});
       })},
      {"AttentionTwoTypes", kInvalid,
       "attention: values.dtype must be that of keys, int8; got float8_e4m3fn",
       attention_with([](AttentionCall& g) {
         g.values = ones(float8_e4m3fn, {2, 4, 2, 8});
       })},
      {"AttentionScaleType", kInvalid, "attention: key_scales.dtype must be float32; got int8",
       attention_with([](AttentionCall& g) {
         g.key_scales = ones(int8, {2, 4, 2});
       })},
      {"AttentionDepth", kInvalid,
       "attention: keys.shape must be [pages, page_size, H_kv, 8] (q's D); got [2, 4, 2, 4]",
       attention_with([](AttentionCall& g) { g.keys = g.keys.slice(3, 0, 4); })},
      {"AttentionValues", kInvalid,
       "attention: values.shape must be that of keys, [2, 4, 2, 8]; got [2, 3, 2, 8]",
       attention_with([](AttentionCall& g) { g.values = g.values.slice(1, 0, 3); })},
      {"AttentionScales", kInvalid,
       "attention: value_scales.shape must be [2, 4, 2]; got [2, 3, 2]",
       attention_with([](AttentionCall& g) { g.value_scales = g.value_scales.slice(1, 0, 3); })},
      {"AttentionStrides", kInvalid, "attention: keys.strides must be 1 along D; got 2",
       attention_with([](AttentionCall& g) {
         g.keys = ones(int8, {2, 4, 2, 16});
         g.keys.shape[3] = 8;
         g.keys.strides[3] = 2;
       })},
      {"AttentionAligned", kInvalid,
       "attention: key_scales.data must be a multiple of 4 bytes; got 1 bytes beyond one",
       attention_with([](AttentionCall& g) {
         g.key_scales.data = static_cast<char*>(g.key_scales.data) + 1;
       })},
      {"AttentionHeads", kInvalid,
       "attention: q.shape[2] must be a multiple of keys.shape[2]; got 3 and 2",
       attention_with([](AttentionCall& g) { g.q = g.q.slice(2, 0, 3); })},
      {"AttentionPages", kInvalid,
       "attention: keys.shape must begin with 1, a page for each sequence, without a block_table; "
       "got [2, 4, 2, 8]",
       attention_with([](AttentionCall& g) { g.q = g.q.slice(0, 0, 1); })},
      {"AttentionWindow", kInvalid, "attention: window must be at least 0; got -1",
       attention_with([](AttentionCall& g) { g.options.window = -1; })},
      {"AttentionScale", kInvalid, "attention: scale must be finite; got inf",
       attention_with(
           [](AttentionCall& g) { g.options.scale = std::numeric_limits<float>::infinity(); })},
      {"AttentionLength", kInvalid, "attention: lengths[1] must be in [0, 4]; got 5",
       attention_with([](AttentionCall& g) { g.options.lengths = two_numbers(4, 5); })},
      {"AttentionStart", kInvalid, "attention: starts[0] must be at least 0; got -1",
       attention_with([](AttentionCall& g) { g.options.starts = two_numbers(-1, 0); })},
      {"AttentionPage", kInvalid, "attention: block_table[1, 0] must be in [0, 2); got 2",
       attention_with([](AttentionCall& g) {
         g.options.block_table = two_numbers(0, 2);
         g.options.block_table.rank = 2;
         g.options.block_table.shape[1] = g.options.block_table.strides[1] = 1;
       })},
      {"AttentionListShape", kInvalid, "attention: lengths.shape must be [2]; got [2, 1]",
       attention_with([](AttentionCall& g) {
         g.options.lengths = ones(int32, {2, 1});
       })},
      {"AttentionListType", kInvalid,
       "attention: lengths.dtype must be int32 or int64; got float32",
       attention_with([](AttentionCall& g) { g.options.lengths = ones(float32, {2}); })},
      {"AttentionDeep", Code::unsupported, "attention: q.shape[3] must be at most 1024; got 1025",
       attention_with([](AttentionCall& g) {
         g.q = ones(float32, {1, 1, 1, 1025});
         g.keys = g.values = ones(int8, {1, 1, 1, 1025});
         g.key_scales = g.value_scales = ones(float32, {1, 1, 1});
       })},
      {"AttentionOut", kInvalid, "attention: out must not overlap key_scales; got shared memory",
       attention_with([](AttentionCall& g) {
         g.options.out = ones(float32, {2, 1, 4, 8});
         g.key_scales = TensorView(g.options.out.data, float32, {2, 4, 2});
       })},
  };
}

}  // namespace octavo::test
