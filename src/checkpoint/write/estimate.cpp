// SPDX-License-Identifier: Apache-2.0
// estimate_quantization: the plan's sizes, and the time of one piece.
#include <algorithm>
#include <chrono>

#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/plan/quantize_plan.hpp"
#include "checkpoint/steps/gptq_layer.hpp"
#include "checkpoint/steps/rows.hpp"
#include "checkpoint/write/plan_writer.hpp"
#include "core/error.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

const LayerPlan* largest(const WritePlan& plan) {
  const LayerPlan* most = nullptr;
  for (const FilePlan& file : plan.files) {
    for (const LayerPlan& layer : file.layers) {
      if (most == nullptr || layer.at.n * layer.at.k > most->at.n * most->at.k) most = &layer;
    }
  }
  return most;
}

/// Of input, in memory.
std::int64_t piece_bytes(const LayerPlan& layer) {
  const std::int64_t element = element_bytes(dtype_before(layer));
  const MatrixPlace piece = rows_of(layer.at, 0, rows_of_piece(layer));
  return piece.n * piece.k * element + extra_bytes(piece, element);
}

/// Seconds for a byte of input in one thread: the least of several pieces, so that the first one's
/// page faults do not count for all.
double seconds_of_byte(const Checkpoint::Impl& in, const LayerPlan& layer) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPieces = 4;
  double least = 0;
  for (int i = 0; i < kPieces; ++i) {
    const Clock::time_point begin = Clock::now();
    const std::int64_t bytes = quantize_rows(in, layer, 0, rows_of_piece(layer)).bytes;
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const double each = seconds / static_cast<double>(std::max<std::int64_t>(bytes, 1));
    least = i == 0 ? each : std::min(least, each);
  }
  return least;
}

QuantizeEstimate estimate(const Checkpoint& in, const QuantizeFileOptions& options) {
  const WritePlan plan = plan_quantization(in, options);
  const int threads = most_threads(options.threads);
  QuantizeEstimate result{.bytes_before = in.file_bytes(), .warnings = plan.warnings};
  for (const FilePlan& file : plan.files) {
    result.layers += std::ssize(file.layers) + std::ssize(file.made);
    result.bytes_after += lay_out(file.outputs, {}).bytes;
  }
  // A piece's input, its codes, their scales; and the headers.
  constexpr std::int64_t kHeaderShare = 64;
  std::int64_t piece = kPieceBytes;
  if (const LayerPlan* layer = largest(plan)) {
    piece = std::max(piece, piece_bytes(*layer));
    result.seconds =
        seconds_of_byte(in.impl(), *layer) * static_cast<double>(in.file_bytes()) / threads;
  }
  result.seconds += gptq_seconds(plan);
  result.memory_bytes = 2 * piece * threads + kHeaderShare * 16 * std::ssize(in.entries()) +
                        gptq_memory(plan, threads);
  return result;
}

}  // namespace

QuantizeEstimate estimate_quantization(const std::string& in, const QuantizeFileOptions& options) {
  return at_edge("quantize_file", [&] {
    return estimate(open_whole("quantize_file", in, "", options.layout, others_of(options)),
                    options);
  });
}

}  // namespace octavo
