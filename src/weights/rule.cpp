// SPDX-License-Identifier: Apache-2.0
#include "weights/rule.hpp"

namespace octavo {

bool same_rule(const ActivationQuant& a, const ActivationQuant& b) noexcept {
  return a.spec.dtype == b.spec.dtype && a.spec.granularity == b.spec.granularity &&
         a.spec.azp == b.spec.azp && a.spec.rounding == b.spec.rounding &&
         a.spec.scale_ub == b.spec.scale_ub && a.spec.min_scale == b.spec.min_scale &&
         a.vectorwise == b.vectorwise && a.outlier_threshold == b.outlier_threshold &&
         a.rotation == b.rotation && a.whole_columns == b.whole_columns &&
         (a.static_scale > 0.0F) == (b.static_scale > 0.0F);
}

}  // namespace octavo
