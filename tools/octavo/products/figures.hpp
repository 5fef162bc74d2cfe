// SPDX-License-Identifier: Apache-2.0
// Figures of the bench, as JSON and as text.
#pragma once

#include "kit/peers/peers.hpp"
#include "kit/timing/cliffs.hpp"
#include "kit/timing/measure_call.hpp"
#include "octavo/problem_line.hpp"
#include "output.hpp"

namespace octavo::cli {

/// The object of type `figure` (octavo help json).
Json figure_json(const ProblemLine& line, int threads, const kit::Figure& figure);

/// The same for people.
void print_figure(const ProblemLine& line, int threads, const kit::Figure& figure);

/// What every figure says of its rounds: A/A noise, scaling over one thread, how many there were.
void add_rounds(Json& figure, const kit::Median& noise, const kit::Median& scaling, int rounds);
/// A line and what would run it: an object of type `line`, or the same for people.
void print_listed(const std::string& line, const std::string& backend, bool json);

/// The scaling for people; nothing on one thread.
void print_scaling(int threads, const kit::Median& scaling);

/// The object of type `cliffs`, and the same for people.
Json cliffs_json(const ProblemLine& line, int threads, const kit::Cliffs& cliffs);
void print_cliffs(const ProblemLine& line, int threads, const kit::Cliffs& cliffs);

/// Measures what this machine can do at most on that many threads: an object of type `peaks`.
Json peaks_json(int threads);
/// A peer, or why it is not there: an object of type `peer`.
Json peer_json(const kit::PeerEntry& peer);

/// What is wanted of a line.
enum class CallVerb : std::uint8_t { time, check, list };

/// Times, checks or lists it and prints the result; returns an exit code.
int bench_call(const kit::CallKind& kind, const std::string& line, CallVerb verb,
               const kit::MeasureOptions& options, bool json);

}  // namespace octavo::cli
