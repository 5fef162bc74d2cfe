// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/layer_report.hpp"

#include <cmath>
#include <limits>
#include <string>

#include "checkpoint/text/sentence.hpp"
#include "octavo/quantize.hpp"

namespace octavo::checkpoint {

LayerReport report_of(std::string_view layer, std::int64_t n, std::int64_t k,
                      const CodeErrors& error) {
  return {.name = std::string(layer),
          .n = n,
          .k = k,
          .sqnr_db = error.noise == 0.0 ? std::numeric_limits<double>::infinity()
                                        : 10.0 * std::log10(error.signal / error.noise),
          .max_error = error.largest,
          .saturated = error.saturated};
}

LayerReport measure(const char* operation, std::string_view layer, const TensorView& weight,
                    const Quantized& quantized) {
  const bool rows = weight.rank == 2 && (weight.strides[1] == 1 || weight.shape[1] <= 1);
  const Tensor compact = rows ? Tensor::adopt(nullptr, weight) : copy(weight, weight.dtype);
  const CodeErrors error = code_errors(compact, quantized);
  if (!error.finite) {
    refuse(Code::corrupt_data, "{}: the weight of layer {} must be finite; got NaN or infinity",
           operation, in_quotes(layer));
  }
  LayerReport report = report_of(layer, weight.shape[0], weight.shape[1], error);
  report.bytes_before = weight.numel() * element_bytes(weight.dtype);
  report.bytes_after = quantized.data.numel() * element_bytes(quantized.data.dtype()) +
                       quantized.scale.numel() * element_bytes(quantized.scale.dtype());
  return report;
}

}  // namespace octavo::checkpoint
