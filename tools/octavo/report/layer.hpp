// SPDX-License-Identifier: Apache-2.0
// What a report says of one float weight.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"
#include "output.hpp"

namespace octavo::cli {

/// What a scheme would make of a weight.
struct SchemeResult {
  Scheme scheme;
  LayerReport error;
  Weight weight;
};

SchemeResult try_scheme(const std::string& layer, const Tensor& weight, Scheme scheme);
Json scheme_json(const SchemeResult& result);

/// How often |w| over the largest of its row falls into each of 32 equal bins of [0, 1].
Json histogram_json(const Tensor& float_weight);
/// The largest |w| of columns: the median column, the eight largest, and the largest ratio to the
/// median in each of at most 64 equal slices of the columns.
Json columns_json(const Tensor& float_weight);

/// How far values are from the right ones.
Json distance_json(const Tensor& right, const Tensor& values);
double sqnr_db(const Tensor& right, const Tensor& values);

}  // namespace octavo::cli
