// SPDX-License-Identifier: Apache-2.0
// What the quantisers and the products of LLM.int8() share.
#pragma once

#include <cstdint>

#include "core/error.hpp"
#include "octavo/tensor.hpp"
#include "ops/rules.hpp"

namespace octavo {

inline std::int64_t last_extent(const TensorView& v) noexcept {
  return v.rank > 0 ? v.shape[static_cast<std::size_t>(v.rank - 1)] : 0;
}

inline Status check_activations(const char* operation, const TensorView& a) {
  const Site site{operation};
  OCTAVO_TRY(check_float(site, Arg::a, a));
  if (a.rank >= 1) return {};
  return fail(Code::invalid_argument, "{}.shape must have at least one dimension; got []",
              site(Arg::a));
}

inline TensorView as_column(const Tensor& vector) {
  TensorView v = vector.view();
  v.rank = 2;
  v.shape = {vector.numel(), 1};
  v.strides = {1, 1};
  return v;
}

}  // namespace octavo
