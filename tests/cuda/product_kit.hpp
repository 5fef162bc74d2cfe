// SPDX-License-Identifier: Apache-2.0
// What a product on a device must give: the sums of its tensor cores, finished by the reference.
#pragma once

#include "kit/operands/operands.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// Does the backend run it?
bool takes(const char* backend, const MatmulProblem& problem);

/// The line's product on a device by "sm90", "sm80" or "cuda", which must take it, bit for bit.
void expect_product(const char* backend, const ProblemLine& line,
                    kit::Content content = kit::Content::gaussian);

}  // namespace octavo::test
