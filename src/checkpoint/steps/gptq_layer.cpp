// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/gptq_layer.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/calibrated/lapack.hpp"
#include "checkpoint/safetensors/pieces.hpp"
#include "checkpoint/steps/smooth.hpp"
#include "checkpoint/text/sentence.hpp"
#include "octavo/quantize.hpp"

namespace octavo::checkpoint {
namespace {

const LayerPlan* largest(const WritePlan& plan, int threads) noexcept {
  const LayerPlan* most = nullptr;
  for (const FilePlan& file : plan.files) {
    for (const LayerPlan& layer : file.layers) {
      if (layer.hessian == nullptr) continue;
      if (most == nullptr || gptq_memory(layer.at.n, layer.at.k, threads) >
                                 gptq_memory(most->at.n, most->at.k, threads)) {
        most = &layer;
      }
    }
  }
  return most;
}

/// Operations of Cholesky's factor (twice) and of the inverse.
double factoring(double k) noexcept { return 4.0 / 3.0 * k * k * k; }

/// Bytes that Linux can give without swapping (MemAvailable); nothing where it does not say.
std::optional<std::int64_t> free_memory() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  for (std::int64_t kib = 0; file >> word;) {
    if (word == "MemAvailable:" && file >> kib) return kib * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

}  // namespace

InputHessian input_hessian(const LayerPlan& layer) {
  std::vector<double> lower =
      layer.hessian->calibration->read_hessian(layer.hessian->tensor, layer.at.k);
  if (layer.smooth != nullptr) {
    const auto factors = layer.smooth->values();
    const auto k = static_cast<std::size_t>(layer.at.k);
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        lower[i * k + j] /= static_cast<double>(factors[i]) * static_cast<double>(factors[j]);
      }
    }
  }
  return {std::move(lower), layer.at.k, layer.hessian->damp, layer.hessian->tensor};
}

GptqLayer quantize_gptq(const Checkpoint::Impl& in, const LayerPlan& layer,
                        const InputHessian& hessian, int threads) {
  const Tensor weight = copy(weight_rows(in, layer, 0, layer.at.n), DType::float32);
  GptqLayer made{quantize_rows(in, layer, 0, weight)};
  Written& written = made.rows.written;
  const auto count = static_cast<std::size_t>((layer.at.n + kGptqRows - 1) / kGptqRows);
  std::vector<double> nearest(count), after(count);
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < count; ++i) {
    pieces.push_back({.run = [&, i] {
      const auto first = static_cast<std::int64_t>(i) * kGptqRows;
      const GptqRows rows{.weight = weight.data_as<float>() + first * layer.at.k,
                          .scale = written.codes.scale.data_as<float>() + first,
                          .stored = written.scale.data_as<float>() + first,
                          .codes = written.codes.data.data_as<std::int8_t>() + first * layer.at.k,
                          .rows = std::min(kGptqRows, layer.at.n - first),
                          .code = layer.recipe->code};
      nearest[i] = hessian.output_error(rows);
      hessian.quantize(rows);
      after[i] = hessian.output_error(rows);
    }});
  }
  run_pieces(pieces, threads, {});
  made.rows.errors = code_errors(weight, written.codes);
  made.nearest_error = std::accumulate(nearest.begin(), nearest.end(), 0.0);
  made.error = std::accumulate(after.begin(), after.end(), 0.0);
  return made;
}

std::int64_t gptq_memory(const WritePlan& plan, int threads) noexcept {
  const LayerPlan* layer = largest(plan, threads);
  return layer == nullptr ? 0 : gptq_memory(layer->at.n, layer->at.k, threads);
}

double gptq_seconds(const WritePlan& plan) {
  double operations = 0;
  std::set<std::pair<const FilePlan*, std::string_view>> factored;
  for (const FilePlan& file : plan.files) {
    for (const LayerPlan& layer : file.layers) {
      if (layer.hessian == nullptr) continue;
      const auto n = static_cast<double>(layer.at.n), k = static_cast<double>(layer.at.k);
      // An update of the columns behind each block, and two products with the Hessian.
      operations += 3 * n * k * k;
      if (factored.emplace(&file, layer.hessian->tensor).second) operations += factoring(k);
    }
  }
  if (operations == 0) return 0;
  constexpr std::int64_t kSmall = 1024;
  const auto unit = [] {
    std::vector<double> identity(kSmall * kSmall);
    for (std::size_t i = 0; i < identity.size(); i += kSmall + 1) identity[i] = 1;
    return identity;
  };
  using Clock = std::chrono::steady_clock;
  lapack();
  double seconds = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 3; ++i) {  // the first one wakes LAPACK's threads
    std::vector<double> lower = unit();
    const Clock::time_point begin = Clock::now();
    const InputHessian small(std::move(lower), kSmall, 1, "");
    seconds = std::min(seconds, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return operations * seconds / factoring(kSmall);
}

void check_gptq(const WritePlan& plan, int threads) {
  const LayerPlan* layer = largest(plan, threads);
  if (layer == nullptr) return;
  lapack();
  const std::int64_t need = gptq_memory(layer->at.n, layer->at.k, threads);
  const std::optional<std::int64_t> there = free_memory();
  if (!there || *there >= need) return;
  refuse(Code::out_of_memory,
         "quantize_file: gptq of layer {} [{}, {}] must have {} bytes of memory; got {} that are "
         "free (or --ignore it)",
         in_quotes(layer->name), layer->at.n, layer->at.k, need, *there);
}

}  // namespace octavo::checkpoint
