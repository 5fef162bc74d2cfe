// SPDX-License-Identifier: Apache-2.0
// Problem lines from files, and running one on a chosen backend.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kit/operands/operands.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// The lines of tests/parity/lines/<name>.txt, without comments and blanks.
std::vector<std::string> lines_of(const std::string& name);

/// The backends that run this problem on this machine, best first.
std::vector<std::string> accepting_backends(const MatmulProblem& problem);

/// True where the two outputs agree bit for bit; NaNs of any payload are equal.
testing::AssertionResult same_bits(const MatmulProblem& got, const MatmulProblem& want);

/// The command that repeats a failure.
std::string repro(const std::string& line, const std::string& backend);

}  // namespace octavo::test
