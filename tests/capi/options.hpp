// SPDX-License-Identifier: Apache-2.0
// Written by api/ from api/operations.toml; `python3 api` writes it again.
// clang-format off
// Every tensor among the options of C's operations: visit(name, field).
#pragma once

#include "octavo/octavo.h"

namespace octavo::test {

template <class Visit>
void each_tensor(const octavo_scaled_mm_options&, const Visit& visit) {
  visit("scale_a", &octavo_scaled_mm_options::scale_a);
  visit("scale_b", &octavo_scaled_mm_options::scale_b);
  visit("bias", &octavo_scaled_mm_options::bias);
  visit("scale_result", &octavo_scaled_mm_options::scale_result);
  visit("alpha", &octavo_scaled_mm_options::alpha);
  visit("beta", &octavo_scaled_mm_options::beta);
  visit("c", &octavo_scaled_mm_options::c);
  visit("azp", &octavo_scaled_mm_options::azp);
  visit("out", &octavo_scaled_mm_options::out);
}

template <class Visit>
void each_tensor(const octavo_linear_options&, const Visit& visit) {
  visit("bias", &octavo_linear_options::bias);
  visit("out", &octavo_linear_options::out);
  visit("outlier_columns", &octavo_linear_options::outlier_columns);
  visit("outlier_weight", &octavo_linear_options::outlier_weight);
}

template <class Visit>
void each_tensor(const octavo_grouped_mm_options&, const Visit& visit) {
  visit("offs", &octavo_grouped_mm_options::offs);
  visit("bias", &octavo_grouped_mm_options::bias);
  visit("scale_a", &octavo_grouped_mm_options::scale_a);
  visit("scale_b", &octavo_grouped_mm_options::scale_b);
  visit("alpha", &octavo_grouped_mm_options::alpha);
  visit("beta", &octavo_grouped_mm_options::beta);
  visit("c", &octavo_grouped_mm_options::c);
  visit("scale_result", &octavo_grouped_mm_options::scale_result);
  visit("out", &octavo_grouped_mm_options::out);
}

template <class Visit>
void each_tensor(const octavo_scaled_grouped_mm_options&, const Visit& visit) {
  visit("scale", &octavo_scaled_grouped_mm_options::scale);
  visit("out", &octavo_scaled_grouped_mm_options::out);
}

template <class Visit>
void each_tensor(const octavo_functional_options&, const Visit& visit) {
  visit("bias", &octavo_functional_options::bias);
  visit("offs", &octavo_functional_options::offs);
  visit("out", &octavo_functional_options::out);
}

template <class Visit>
void each_tensor(const octavo_quantize_options&, const Visit& visit) {
  visit("scale", &octavo_quantize_options::scale);
  visit("azp_in", &octavo_quantize_options::azp_in);
}

template <class Visit>
void each_tensor(const octavo_activation&, const Visit& visit) {
  visit("codes", &octavo_activation::codes);
  visit("scales", &octavo_activation::scales);
}

template <class Visit>
void each_tensor(const octavo_rotate_options&, const Visit& visit) {
  visit("out", &octavo_rotate_options::out);
}

template <class Visit>
void each_tensor(const octavo_pack_options&, const Visit& visit) {
  visit("scale", &octavo_pack_options::scale);
}

template <class Visit>
void each_tensor(const octavo_rms_norm_options&, const Visit& visit) {
  visit("weight", &octavo_rms_norm_options::weight);
  visit("residual", &octavo_rms_norm_options::residual);
  visit("out", &octavo_rms_norm_options::out);
}

template <class Visit>
void each_tensor(const octavo_rms_norm_quantize_options&, const Visit& visit) {
  visit("weight", &octavo_rms_norm_quantize_options::weight);
  visit("residual", &octavo_rms_norm_quantize_options::residual);
}

template <class Visit>
void each_tensor(const octavo_attention_options&, const Visit& visit) {
  visit("block_table", &octavo_attention_options::block_table);
  visit("lengths", &octavo_attention_options::lengths);
  visit("starts", &octavo_attention_options::starts);
  visit("out", &octavo_attention_options::out);
}

template <class Visit>
void each_tensor(const octavo_vectorwise_options&, const Visit& visit) {
  visit("outlier_columns", &octavo_vectorwise_options::outlier_columns);
}

template <class Visit>
void each_tensor(const octavo_mixed_scaled_mm_options&, const Visit& visit) {
  visit("outlier_cols", &octavo_mixed_scaled_mm_options::outlier_cols);
  visit("bias", &octavo_mixed_scaled_mm_options::bias);
  visit("original_weight", &octavo_mixed_scaled_mm_options::original_weight);
  visit("out", &octavo_mixed_scaled_mm_options::out);
}

}  // namespace octavo::test
