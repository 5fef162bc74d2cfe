// SPDX-License-Identifier: Apache-2.0
// Operands and activation rules, between C and C++.
#pragma once

#include <optional>

#include "capi/convert.hpp"
#include "octavo/problem.hpp"

namespace octavo::capi {

/// How the flags, the types and the granularity of `given` quantise.
ActivationQuant activation_from(const ArgumentPath& place, const octavo_activation* given);

/// Fills the caller's struct with a rule that may be missing.
OCTAVO_INTERNAL_API void give_activation(const ArgumentPath& place,
                                         const std::optional<ActivationQuant>& rule,
                                         octavo_activation* result);

/// An operand of the caller for the length of a call.
class OperandArgument {
 public:
  OperandArgument(const ArgumentPath& place, const octavo_operand* given);
  OperandArgument(const OperandArgument&) = delete;
  OperandArgument& operator=(const OperandArgument&) = delete;
  operator const Operand&() const noexcept { return operand_; }  // NOLINT: implicit on purpose

 private:
  Operand operand_;
  ActivationQuant rule_;
};

}  // namespace octavo::capi
