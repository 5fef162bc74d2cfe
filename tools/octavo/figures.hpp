// SPDX-License-Identifier: Apache-2.0
// Figures of the bench, as JSON and as text.
#pragma once

#include "kit/measure.hpp"
#include "octavo/problem_line.hpp"
#include "output.hpp"

namespace octavo::cli {

/// The object of type `figure` that docs/cli.md describes.
Json figure_json(const ProblemLine& line, int threads, const kit::Figure& figure);

/// The same for people.
void print_figure(const ProblemLine& line, int threads, const kit::Figure& figure);

}  // namespace octavo::cli
