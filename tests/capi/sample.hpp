// SPDX-License-Identifier: Apache-2.0
// Arguments that are good, for tests that spoil one of them at a time.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "octavo/octavo.h"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// A descriptor with a shape of its own, over memory of ones.
struct Described {
  Tensor memory;
  std::array<std::int64_t, kMaxRank> shape{};
  octavo_view view{};

  Described(DType dtype, std::initializer_list<std::int64_t> sizes)
      : memory(Tensor::empty(DType::float32, sizes)) {
    for (std::int64_t i = 0; i < memory.numel(); ++i) memory.data_as<float>()[i] = 1.0F;
    if (dtype != DType::int64) {
      memory = memory.to(dtype);
    } else {  // offsets and columns
      memory = Tensor::empty(dtype, sizes);
      for (std::int64_t i = 0; i < memory.numel(); ++i) memory.data_as<std::int64_t>()[i] = i;
    }
    std::copy(sizes.begin(), sizes.end(), shape.begin());
    const DTypeInfo& row = info(dtype);
    view =
        octavo_view_of(memory.data(), {row.dlpack_code, row.bits, 1}, memory.rank(), shape.data());
  }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;

  operator const octavo_view*() const noexcept { return &view; }  // NOLINT: as C takes it
};

/// An operand of a descriptor that outlives it.
inline octavo_operand operand_of(const octavo_view* view) {
  octavo_operand operand = octavo_operand_init();
  operand.data = view;
  return operand;
}

/// Good arguments for every operation.
struct Sample {
  Described x{float32, {2, 4}}, w{float32, {4, 2}}, codes{int8, {2, 4}}, weight{int8, {4, 2}},
      stored{int8, {2, 4}}, acc{int32, {2, 2}}, batch{int8, {2, 2, 4}}, stack{int8, {2, 4, 2}},
      two{float32, {2}}, one{float32, {1}}, rows{float32, {2, 1}}, azp{int32, {2, 1}},
      columns{int64, {1}}, square{float32, {2, 2}}, fp8{float8_e4m3fn, {2, 4}},
      fp8_weight{float8_e4m3fn, {4, 2}}, queries{float32, {2, 1, 2, 4}}, tokens{int8, {2, 3, 1, 4}},
      token_scales{float32, {2, 3, 1}}, blocks{float32, {1, 64}};
  octavo_operand a = operand_of(codes), b = operand_of(weight), batch_a = operand_of(batch),
                 batch_b = operand_of(stack);
  octavo_recipe_scale recipe{one, OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE};
  octavo_tensor* t[5] = {};
  octavo_quantized* q = nullptr;
  octavo_packed* packed = nullptr;
  octavo_explanation* explanation = nullptr;
  std::size_t bytes = 0;

  Sample() = default;
  ~Sample() { release(); }
  Sample(const Sample&) = delete;
  Sample& operator=(const Sample&) = delete;

  void release() {
    for (octavo_tensor*& tensor : t) octavo_tensor_release(std::exchange(tensor, nullptr));
    octavo_quantized_release(std::exchange(q, nullptr));
    octavo_packed_release(std::exchange(packed, nullptr));
    octavo_explanation_release(std::exchange(explanation, nullptr));
  }
};

/// A call failed with that code, and its sentence is of the house's form and contains `fragment`.
inline void expect_refused(octavo_code got, octavo_code code, std::string_view fragment,
                           std::string_view what) {
  const std::string_view sentence = octavo_last_error();
  EXPECT_STREQ(octavo_code_name(got), octavo_code_name(code)) << what << ": " << sentence;
  EXPECT_NE(sentence.find(fragment), std::string_view::npos)
      << what << ": " << sentence << "\nexpected: " << fragment;
  const std::size_t colon = sentence.find(": ");
  const std::size_t must = sentence.find(" must ");
  const std::size_t found = sentence.find("; got ");
  EXPECT_TRUE(colon < must && must < found && found != std::string_view::npos)
      << what << ": " << sentence;
}

}  // namespace octavo::test
