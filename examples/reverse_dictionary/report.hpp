// SPDX-License-Identifier: Apache-2.0
// An evaluation as a table for people and as JSON for programs.
#pragma once

#include <ostream>
#include <string>

#include "evaluate.hpp"

namespace reverse_dictionary {

/// The table, then the examples' answers by each model.
void print_table(const Evaluation& evaluation, std::ostream& out);
void print_answers(const Evaluation& evaluation, std::ostream& out);

/// An object with `glosses`, `queries` and `models`, one object per model.
std::string to_json(const Evaluation& evaluation);

}  // namespace reverse_dictionary
