// SPDX-License-Identifier: Apache-2.0
#include "octavo/checkpoint/calibrated_inputs.hpp"

#include <algorithm>
#include <utility>

#include "checkpoint/calibrated/calibration.hpp"
#include "checkpoint/calibrated/lapack.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

// Rows of a product: its two blocks in float64 stay small beside the Hessian.
constexpr std::int64_t kRows = 256;

}  // namespace

struct CalibratedInputs::Impl {
  Impl(const std::string& path, std::string_view name) : operation(name), file(path, operation) {}

  std::string operation;
  Calibration file;
  std::string tensor;         // of the Hessian that is held
  std::vector<double> lower;  // its lower triangle, with half the diagonal: e^T H e = 2 e^T L e
};

CalibratedInputs::CalibratedInputs(const std::string& path, std::string_view operation) {
  at_edge("CalibratedInputs", [&] { impl_ = std::make_shared<Impl>(path, operation); });
}

std::optional<CalibratedInput> CalibratedInputs::find(const std::string& layer,
                                                      std::int64_t k) const {
  return at_edge("CalibratedInputs", [&]() -> std::optional<CalibratedInput> {
    if (!impl_->file.contains(layer)) return std::nullopt;
    const CalibratedLayer& row = impl_->file.layer(layer, k);
    CalibratedInput input{.column_absmax = {}, .threshold = row.threshold, .hessian = row.hessian};
    for (std::int64_t column = 0; column < k; ++column) {
      input.column_absmax.push_back(row.absmax(column));
    }
    return input;
  });
}

double CalibratedInputs::output_power(const std::string& layer, const TensorView& matrix) const {
  return at_edge("CalibratedInputs", [&] {
    if (matrix.dtype != DType::float32 || matrix.rank != 2 || !matrix.contiguous()) {
      refuse(Code::invalid_argument,
             "output_power: matrix must be contiguous float32 [N, K]; got {} {}",
             name(matrix.dtype), shape_text(matrix.dims()));
    }
    const std::int64_t n = matrix.shape[0], k = matrix.shape[1];
    Impl& held = *impl_;
    const std::string& tensor = held.file.hessian(layer, k);
    if (held.tensor != tensor) {
      held.tensor.clear();
      held.lower = held.file.read_hessian(tensor, k);
      for (std::int64_t i = 0; i < k; ++i) held.lower[static_cast<std::size_t>(i * k + i)] /= 2;
      held.tensor = tensor;
    }
    // Row by row the lower triangle is what Fortran calls the upper one, of the transpose.
    const auto multiply = lapack(held.operation + ": calibration with Hessians").dtrmm;
    const auto* values = static_cast<const float*>(matrix.data);
    const double one = 1;
    double sum = 0;
    for (std::int64_t row = 0; row < n; row += kRows) {
      const std::int64_t rows = std::min(kRows, n - row);
      const std::vector<double> e(values + row * k, values + (row + rows) * k);
      std::vector<double> product = e;
      const int width = static_cast<int>(k), count = static_cast<int>(rows);
      multiply("L", "U", "N", "N", &width, &count, &one, held.lower.data(), &width, product.data(),
               &width, 1, 1, 1, 1);
      for (std::size_t i = 0; i < e.size(); ++i) sum += e[i] * product[i];
    }
    return std::max(0.0, sum);  // rounding alone can make it less
  });
}

}  // namespace octavo
