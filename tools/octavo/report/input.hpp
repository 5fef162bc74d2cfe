// SPDX-License-Identifier: Apache-2.0
// What a report says of a layer's inputs on real data, by a calibration file.
#pragma once

#include <string>

#include "octavo/checkpoint.hpp"
#include "octavo/checkpoint/calibrated_inputs.hpp"
#include "output.hpp"

namespace octavo::cli {

/// How far the columns of an input [..., K] are apart: the largest magnitude, the median column's,
/// how many columns reach the threshold, and for each code of 8 bits how many columns one static
/// scale of all inputs (the largest magnitude over the code's largest) turns into zeros.
Json input_json(const CalibratedInput& input);

/// What the codes of weights do to a layer's outputs on a calibration's inputs, which are not
/// quantised themselves.
class OutputErrors {
 public:
  /// right: the float32 weight [N, K] of a layer whose input has a Hessian. What is passed lives
  /// as long as this. Throws Error, as CalibratedInputs::output_power.
  OutputErrors(const CalibratedInputs& inputs, const CalibratedInput& input, std::string layer,
               const Tensor& right);

  /// 10 log10(tr(W H W^T) / tr((W - V) H (W - V)^T)) for values V [N, K]; infinite without error.
  /// LLM.int8() keeps the threshold's columns in float: they have no error.
  double sqnr_db(const Tensor& values, bool keeps_outliers) const;

 private:
  const CalibratedInputs& inputs_;
  const CalibratedInput& input_;
  std::string layer_;
  const Tensor& right_;
  double signal_;
};

}  // namespace octavo::cli
