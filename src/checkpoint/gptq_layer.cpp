// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gptq_layer.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "checkpoint/lapack.hpp"
#include "checkpoint/pieces.hpp"
#include "checkpoint/sentence.hpp"
#include "checkpoint/smooth.hpp"
#include "octavo/quantize.hpp"

namespace octavo::checkpoint {
namespace {

const LayerPlan* largest(const Plan& plan, int threads) noexcept {
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

GptqLayer quantise_gptq(const Checkpoint::Impl& in, const LayerPlan& layer,
                        const InputHessian& hessian, int threads) {
  const Tensor weight = copy(weight_rows(in, layer, 0, layer.at.n), DType::float32);
  GptqLayer made{quantise_rows(in, layer, 0, weight)};
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
      hessian.quantise(rows);
      after[i] = hessian.output_error(rows);
    }});
  }
  run_pieces(pieces, threads, {});
  made.rows.errors = code_errors(weight, written.codes);
  made.nearest_error = std::accumulate(nearest.begin(), nearest.end(), 0.0);
  made.error = std::accumulate(after.begin(), after.end(), 0.0);
  return made;
}

std::int64_t gptq_memory(const Plan& plan, int threads) noexcept {
  const LayerPlan* layer = largest(plan, threads);
  return layer == nullptr ? 0 : gptq_memory(layer->at.n, layer->at.k, threads);
}

void check_gptq(const Plan& plan, int threads) {
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
