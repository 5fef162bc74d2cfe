// SPDX-License-Identifier: Apache-2.0
// One row per error sentence: what is called, and what it has to say.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "octavo/octavo.hpp"

namespace octavo::test {

inline constexpr Code kInvalid = Code::invalid_argument;
/// What a cast may give, and no enumerator is.
inline constexpr DType kNoType{77};
inline constexpr Device kNoCuda{DeviceType::cuda, 64};

struct ErrorRow {
  const char* name;
  Code code;
  std::string sentence;  ///< the complete text
  std::function<void()> call;
};

std::vector<ErrorRow> product_errors();
std::vector<ErrorRow> scale_errors();
std::vector<ErrorRow> grouped_errors();
std::vector<ErrorRow> functional_errors();
std::vector<ErrorRow> quantize_errors();
std::vector<ErrorRow> weight_errors();
std::vector<ErrorRow> llm_int8_errors();
std::vector<ErrorRow> line_errors();
std::vector<ErrorRow> expert_errors();
std::vector<ErrorRow> norm_errors();
std::vector<ErrorRow> attention_errors();
std::vector<ErrorRow> gradient_errors();
std::vector<ErrorRow> w8a8_errors();
std::vector<ErrorRow> layer_errors();
std::vector<ErrorRow> parallel_errors();

/// Row-major tensors of ones that live as long as the program.
TensorView ones(DType dtype, std::initializer_list<std::int64_t> shape);
/// A float32 vector of these.
TensorView scales_of(std::initializer_list<float> list);
/// Activations to int8, with scales of this kind.
ActivationQuant int8_rule(const Granularity& granularity = per_token());

}  // namespace octavo::test
