// SPDX-License-Identifier: Apache-2.0
// Null pointers: every function that returns a code has a row, and refuses with a sentence.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "capi/sample.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::null_test {
namespace {

using Call = std::function<octavo_code()>;

// Each function with nothing at all.
std::map<std::string, Call> with_nulls() {
  const octavo_dtype none{};
  return {
      {"octavo_backend_count", [] { return octavo_backend_count(nullptr); }},
      {"octavo_backend_describe", [] { return octavo_backend_describe(0, nullptr); }},
      {"octavo_checkpoint_bytes",
       [] { return octavo_checkpoint_bytes(nullptr, nullptr, nullptr); }},
      {"octavo_checkpoint_contains",
       [] { return octavo_checkpoint_contains(nullptr, nullptr, nullptr); }},
      {"octavo_checkpoint_describe", [] { return octavo_checkpoint_describe(nullptr, nullptr); }},
      {"octavo_checkpoint_entry", [] { return octavo_checkpoint_entry(nullptr, 0, nullptr); }},
      {"octavo_checkpoint_metadata",
       [] { return octavo_checkpoint_metadata(nullptr, 0, nullptr, nullptr); }},
      {"octavo_checkpoint_open", [] { return octavo_checkpoint_open(nullptr, nullptr); }},
      {"octavo_checkpoint_quantized_layers",
       [] { return octavo_checkpoint_quantized_layers(nullptr, nullptr); }},
      {"octavo_checkpoint_tensor",
       [] { return octavo_checkpoint_tensor(nullptr, nullptr, nullptr); }},
      {"octavo_checkpoint_shard",
       [] { return octavo_checkpoint_shard(nullptr, nullptr, 0, 0, 1, nullptr); }},
      {"octavo_checkpoint_weight",
       [] { return octavo_checkpoint_weight(nullptr, nullptr, nullptr); }},
      {"octavo_compute_scale",
       [] { return octavo_compute_scale(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_cpu_feature_count", [] { return octavo_cpu_feature_count(nullptr); }},
      {"octavo_cpu_feature_describe", [] { return octavo_cpu_feature_describe(0, nullptr); }},
      {"octavo_cpu_name", [] { return octavo_cpu_name(nullptr); }},
      {"octavo_dequantize", [=] { return octavo_dequantize(nullptr, none, nullptr, nullptr); }},
      {"octavo_dtype_from_name", [] { return octavo_dtype_from_name(nullptr, nullptr); }},
      {"octavo_explanation_candidate",
       [] { return octavo_explanation_candidate(nullptr, 0, nullptr); }},
      {"octavo_explanation_describe", [] { return octavo_explanation_describe(nullptr, nullptr); }},
      {"octavo_functional_scaled_grouped_mm",
       [] {
         return octavo_functional_scaled_grouped_mm(nullptr, nullptr, nullptr, 1, nullptr, 1,
                                                    nullptr, nullptr, nullptr);
       }},
      {"octavo_functional_scaled_mm",
       [] {
         return octavo_functional_scaled_mm(nullptr, nullptr, nullptr, 1, nullptr, 1, nullptr,
                                            nullptr, nullptr);
       }},
      {"octavo_grouped_mm",
       [] { return octavo_grouped_mm(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_grouped_mm_explain",
       [] { return octavo_grouped_mm_explain(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_grouped_mm_list",
       [] { return octavo_grouped_mm_list(nullptr, nullptr, 1, nullptr, nullptr, nullptr); }},
      {"octavo_grouped_mm_workspace_bytes",
       [] {
         return octavo_grouped_mm_workspace_bytes(nullptr, nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_int8_double_quant",
       [] {
         return octavo_int8_double_quant(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                         nullptr, nullptr);
       }},
      {"octavo_int8_linear_matmul",
       [] { return octavo_int8_linear_matmul(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_int8_mixed_scaled_mm",
       [] {
         return octavo_int8_mixed_scaled_mm(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                            nullptr, nullptr);
       }},
      {"octavo_int8_mm_dequant",
       [=] {
         return octavo_int8_mm_dequant(nullptr, nullptr, nullptr, nullptr, none, nullptr, nullptr);
       }},
      {"octavo_int8_scaled_mm",
       [=] {
         return octavo_int8_scaled_mm(nullptr, nullptr, nullptr, nullptr, nullptr, none, nullptr,
                                      nullptr);
       }},
      {"octavo_int8_vectorwise_dequant",
       [] { return octavo_int8_vectorwise_dequant(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_int8_vectorwise_quant",
       [] {
         return octavo_int8_vectorwise_quant(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_line_explain",
       [] { return octavo_line_explain(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_linear", [] { return octavo_linear(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_pack", [] { return octavo_pack(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_packed_activation", [] { return octavo_packed_activation(nullptr, nullptr); }},
      {"octavo_packed_describe", [] { return octavo_packed_describe(nullptr, nullptr); }},
      {"octavo_quantize", [] { return octavo_quantize(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_quantize_file",
       [] { return octavo_quantize_file(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_quantize_into",
       [] { return octavo_quantize_into(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_quantize_mxfp8",
       [=] { return octavo_quantize_mxfp8(nullptr, none, 0, nullptr, nullptr); }},
      {"octavo_quantized_create",
       [] { return octavo_quantized_create(nullptr, nullptr, nullptr, 1, 1, nullptr); }},
      {"octavo_quantized_create_slice",
       [] {
         return octavo_quantized_create_slice(nullptr, nullptr, nullptr, 1, 1, 0, 0, nullptr);
       }},
      {"octavo_quantized_describe", [] { return octavo_quantized_describe(nullptr, nullptr); }},
      {"octavo_report_describe", [] { return octavo_report_describe(nullptr, nullptr); }},
      {"octavo_report_layer", [] { return octavo_report_layer(nullptr, 0, nullptr); }},
      {"octavo_report_warnings", [] { return octavo_report_warnings(nullptr, nullptr); }},
      {"octavo_scaled_grouped_mm",
       [] { return octavo_scaled_grouped_mm(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_scaled_mm",
       [] { return octavo_scaled_mm(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_scaled_mm_explain",
       [] { return octavo_scaled_mm_explain(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_scaled_mm_workspace_bytes",
       [] {
         return octavo_scaled_mm_workspace_bytes(nullptr, nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_quantize_weight", [] { return octavo_quantize_weight(nullptr, 0, nullptr); }},
      {"octavo_scheme_activation", [] { return octavo_scheme_activation(0, nullptr); }},
      {"octavo_weight_compare",
       [] { return octavo_weight_compare(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_scheme_from_name", [] { return octavo_scheme_from_name(nullptr, nullptr); }},
      {"octavo_strings_at", [] { return octavo_strings_at(nullptr, 0, nullptr); }},
      {"octavo_attention",
       [] {
         return octavo_attention(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                 nullptr);
       }},
      {"octavo_rms_norm", [] { return octavo_rms_norm(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_rms_norm_quantize",
       [] { return octavo_rms_norm_quantize(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_silu_and_mul_quantize",
       [] { return octavo_silu_and_mul_quantize(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_rotate", [] { return octavo_rotate(nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_thread_team_create", [] { return octavo_thread_team_create(2, nullptr); }},
      {"octavo_thread_team_end", [] { return octavo_thread_team_end(nullptr); }},
      {"octavo_thread_team_executor", [] { return octavo_thread_team_executor(nullptr, nullptr); }},
      {"octavo_thread_team_help", [] { return octavo_thread_team_help(nullptr, 1); }},
      {"octavo_strings_count", [] { return octavo_strings_count(nullptr, nullptr); }},
      {"octavo_tensor_copy", [=] { return octavo_tensor_copy(nullptr, none, nullptr); }},
      {"octavo_tensor_create", [=] { return octavo_tensor_create(none, 1, nullptr, nullptr); }},
      {"octavo_tensor_view", [] { return octavo_tensor_view(nullptr, nullptr); }},
      {"octavo_unpack", [] { return octavo_unpack(nullptr, nullptr, nullptr); }},
      {"octavo_weight_activation", [] { return octavo_weight_activation(nullptr, nullptr); }},
      {"octavo_weight_codes", [] { return octavo_weight_codes(nullptr, nullptr); }},
      {"octavo_weight_describe", [] { return octavo_weight_describe(nullptr, nullptr); }},
      {"octavo_weight_pack", [] { return octavo_weight_pack(nullptr, nullptr, nullptr); }},
      {"octavo_weight_shard", [] { return octavo_weight_shard(nullptr, 0, 0, 1, nullptr); }},
      {"octavo_weight_unshard", [] { return octavo_weight_unshard(nullptr, 1, 0, nullptr); }},
      {"octavo_dequantize_vjp",
       [] { return octavo_dequantize_vjp(nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_functional_scaled_grouped_mm_vjp",
       [] {
         return octavo_functional_scaled_grouped_mm_vjp(
             nullptr, nullptr, nullptr, nullptr, 1, nullptr, 1, nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_functional_scaled_mm_vjp",
       [] {
         return octavo_functional_scaled_mm_vjp(nullptr, nullptr, nullptr, nullptr, 1, nullptr, 1,
                                                nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_grouped_mm_list_vjp",
       [] {
         return octavo_grouped_mm_list_vjp(nullptr, nullptr, nullptr, 1, nullptr, nullptr, nullptr,
                                           nullptr);
       }},
      {"octavo_grouped_mm_vjp",
       [] {
         return octavo_grouped_mm_vjp(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                      nullptr);
       }},
      {"octavo_linear_vjp",
       [] {
         return octavo_linear_vjp(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_quantize_vjp",
       [] { return octavo_quantize_vjp(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr); }},
      {"octavo_scaled_grouped_mm_vjp",
       [] {
         return octavo_scaled_grouped_mm_vjp(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                             nullptr);
       }},
      {"octavo_scaled_mm_vjp",
       [] {
         return octavo_scaled_mm_vjp(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
       }},
      {"octavo_write_safetensors",
       [] { return octavo_write_safetensors(nullptr, nullptr, 0, nullptr, nullptr, 0); }},
  };
}

// What answers with something else than a code.
const std::set<std::string> kAnswers{
    "octavo_code_name", "octavo_dtype_name",  "octavo_executor_reason", "octavo_last_error",
    "octavo_qmax",      "octavo_scheme_name", "octavo_version"};

bool counts_references(const std::string& name) {
  const auto ends = [&](const std::string& word) {
    return name.size() > word.size() && name.substr(name.size() - word.size()) == word;
  };
  return ends("_retain") || ends("_release");
}

TEST(CApiNull, EveryFunctionRefusesNothingAtAll) {
  const auto rows = with_nulls();
  for (const auto& [name, call] : rows) {
    expect_refused(call(), OCTAVO_INVALID_ARGUMENT, "must not be null; got null", name);
  }
  std::size_t listed = 0;
  for (const char* file : {"tests/capi/exports.txt", "tests/capi/exports_models.txt"}) {
    std::ifstream list(in_checkout(file));
    for (std::string name; list >> name; ++listed) {
      EXPECT_TRUE(rows.count(name) + kAnswers.count(name) == 1 || counts_references(name))
          << name << " must have a row";
    }
  }
  EXPECT_GT(listed, 80U);
}

TEST(CApiNull, ReferencesOfNothing) {
  EXPECT_EQ(octavo_tensor_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_quantized_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_packed_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_checkpoint_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_weight_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_explanation_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_report_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_strings_retain(nullptr), nullptr);
  EXPECT_EQ(octavo_thread_team_retain(nullptr), nullptr);
  octavo_tensor_release(nullptr);
  octavo_quantized_release(nullptr);
  octavo_packed_release(nullptr);
  octavo_checkpoint_release(nullptr);
  octavo_weight_release(nullptr);
  octavo_explanation_release(nullptr);
  octavo_report_release(nullptr);
  octavo_strings_release(nullptr);
  octavo_thread_team_release(nullptr);
}

TEST(CApiNull, OneNullAmongGoodArguments) {
  Sample s;
  const octavo_operand* ops[] = {&s.a};
  const octavo_operand* hole[] = {nullptr};
  const octavo_dtype none{};
  octavo_tensor* nothing[5] = {};
  const octavo_view* grads[] = {s.square};
  octavo_matmul_gradients d = octavo_matmul_gradients_init();
  const struct {
    const char* sentence;
    Call call;
  } rows[] = {
      {"scaled_mm: a must not",
       [&] { return octavo_scaled_mm(nullptr, &s.b, nullptr, nullptr, s.t); }},
      {"scaled_mm: b must not",
       [&] { return octavo_scaled_mm(&s.a, nullptr, nullptr, nullptr, s.t); }},
      {"scaled_mm: result must not",
       [&] { return octavo_scaled_mm(&s.a, &s.b, nullptr, nullptr, nullptr); }},
      {"scaled_mm: a must not",
       [&] { return octavo_scaled_mm_explain(nullptr, &s.b, nullptr, nullptr, &s.explanation); }},
      {"scaled_mm: b must not",
       [&] { return octavo_scaled_mm_workspace_bytes(&s.a, nullptr, nullptr, nullptr, &s.bytes); }},
      {"grouped_mm: inputs must not",
       [&] { return octavo_grouped_mm_list(nullptr, ops, 1, nullptr, nullptr, nothing); }},
      {"grouped_mm: inputs[0] must not",
       [&] { return octavo_grouped_mm_list(hole, ops, 1, nullptr, nullptr, nothing); }},
      {"grouped_mm: weights[0] must not",
       [&] { return octavo_grouped_mm_list(ops, hole, 1, nullptr, nullptr, nothing); }},
      {"grouped_mm: b must not",
       [&] { return octavo_grouped_mm(&s.batch_a, nullptr, nullptr, nullptr, s.t); }},
      {"scaled_grouped_mm: weight must not",
       [&] { return octavo_scaled_grouped_mm(&s.batch_a, nullptr, nullptr, nullptr, s.t); }},
      {"scaled_mm: scale_b must not",
       [&] {
         return octavo_functional_scaled_mm(s.fp8, s.fp8_weight, &s.recipe, 1, nullptr, 1, nullptr,
                                            nullptr, s.t);
       }},
      {"linear: weight must not",
       [&] { return octavo_linear(s.x, nullptr, nullptr, nullptr, s.t); }},
      {"quantize: x must not", [&] { return octavo_quantize(nullptr, nullptr, nullptr, &s.q); }},
      {"quantize: out must not",
       [&] { return octavo_quantize_into(s.x, nullptr, nullptr, nullptr, nullptr); }},
      {"dequantize: q must not", [&] { return octavo_dequantize(nullptr, none, nullptr, s.t); }},
      {"pack: weight must not", [&] { return octavo_pack(nullptr, nullptr, nullptr, &s.packed); }},
      {"int8_vectorwise_quant: row_absmax must not",
       [&] {
         return octavo_int8_vectorwise_quant(s.x, nullptr, nullptr, &nothing[0], nullptr,
                                             &nothing[2]);
       }},
      {"int8_linear_matmul: w must not",
       [&] { return octavo_int8_linear_matmul(s.codes, nullptr, nullptr, nullptr, s.t); }},
      {"int8_linear_matmul: result must not",
       [&] { return octavo_int8_linear_matmul(s.codes, s.stored, nullptr, nullptr, nullptr); }},
      {"int8_mm_dequant: row_absmax must not",
       [&] { return octavo_int8_mm_dequant(s.acc, nullptr, s.two, nullptr, none, nullptr, s.t); }},
      {"write_safetensors: tensors must not",
       [&] { return octavo_write_safetensors("x", nullptr, 1, nullptr, nullptr, 0); }},
      {"write_safetensors: metadata_values must not",
       [&] {
         const char* keys[] = {"k"};
         return octavo_write_safetensors("x", nullptr, 0, keys, nullptr, 1);
       }},
      {"scaled_mm_vjp: result must not",
       [&] {
         return octavo_scaled_mm_vjp(s.square, &s.a, &s.b, nullptr, nullptr, nullptr, nullptr);
       }},
      {"scaled_mm_vjp: grad must not",
       [&] { return octavo_scaled_mm_vjp(nullptr, &s.a, &s.b, nullptr, nullptr, nullptr, &d); }},
      {"scaled_mm_vjp: b must not",
       [&] {
         return octavo_scaled_mm_vjp(s.square, &s.a, nullptr, nullptr, nullptr, nullptr, &d);
       }},
      {"linear_vjp: weight must not",
       [&] { return octavo_linear_vjp(s.square, s.x, nullptr, nullptr, nullptr, nullptr, &d); }},
      {"grouped_mm_vjp: results[0] must not",
       [&] {
         octavo_matmul_gradients* results[] = {nullptr};
         return octavo_grouped_mm_list_vjp(grads, ops, ops, 1, nullptr, nullptr, nullptr, results);
       }},
      {"grouped_mm_vjp: grads must not",
       [&] {
         octavo_matmul_gradients* results[] = {&d};
         return octavo_grouped_mm_list_vjp(nullptr, ops, ops, 1, nullptr, nullptr, nullptr,
                                           results);
       }},
      {"grouped_mm_vjp: grads[0] must not",
       [&] {
         octavo_matmul_gradients* results[] = {&d};
         const octavo_view* none_at_all[] = {nullptr};
         return octavo_grouped_mm_list_vjp(none_at_all, ops, ops, 1, nullptr, nullptr, nullptr,
                                           results);
       }},
      {"dequantize_vjp: q must not",
       [&] {
         octavo_dequantize_gradients to = octavo_dequantize_gradients_init();
         return octavo_dequantize_vjp(s.x, nullptr, nullptr, nullptr, &to);
       }},
      {"quantize_file: out must not",
       [&] { return octavo_quantize_file("x", nullptr, nullptr, nullptr); }},
  };
  for (const auto& row : rows) {
    expect_refused(row.call(), OCTAVO_INVALID_ARGUMENT, row.sentence, row.sentence);
    for (const octavo_tensor* tensor : nothing) EXPECT_EQ(tensor, nullptr);
  }
}

}  // namespace
}  // namespace octavo::test::null_test
