// SPDX-License-Identifier: Apache-2.0
// Interleaved rounds of a quantiser and the machine's read bandwidth.
#include "kit/measure_quantize.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "kit/check.hpp"
#include "kit/element.hpp"
#include "kit/peak.hpp"
#include "kit/random.hpp"
#include "kit/rotation.hpp"
#include "kit/workers.hpp"
#include "octavo/backend.hpp"

namespace octavo::kit {
namespace {

// Gaussians, and a column of some size in every 64.
Tensor make_input(const QuantizeLine& line) {
  constexpr std::int64_t kGrain = 1 << 16;
  const Tensor x = Tensor::empty(line.from, {line.rows, line.cols});
  const Random random(line.seed);
  for_ranges(line.rows * line.cols, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const double spread = i % line.cols % 64 == 5 ? 8.0 : 1.0;
      store(x.view(), i, random.gauss(static_cast<std::uint64_t>(i)) * spread);
    }
  });
  return x;
}

double tensor_bytes(const Tensor& t) {
  return t.defined() ? static_cast<double>(t.numel() * element_bytes(t.dtype())) : 0.0;
}

Tensor like(const Tensor& t) {
  return t.defined() ? Tensor::empty(t.dtype(), t.view().dims()) : Tensor();
}

// Instances of a quantiser with buffers of their own.
class QuantizeRotation {
 public:
  QuantizeRotation(const QuantizeLine& line, const char* backend)
      : options_(line.options()), backend_(backend) {
    inputs_.push_back(make_input(line));
    outputs_.push_back(quantize(inputs_.front(), options_));
    for (double bytes = each(); !enough_sets(inputs_.size(), bytes); bytes += each()) {
      inputs_.push_back(copy(inputs_.front(), line.from));
      const Quantized& first = outputs_.front();
      outputs_.push_back({like(first.data), like(first.scale), first.grid, like(first.azp)});
    }
    // The first calls touch the memory.
    for (std::size_t i = 0; i < inputs_.size(); ++i) next({});
  }
  void next(const ExecContext& context) {
    const std::size_t i = turn_++ % inputs_.size();
    quantize_into(inputs_[i], options_, outputs_[i], context, backend_);
  }
  double each() const {
    const Quantized& q = outputs_.front();
    return tensor_bytes(inputs_.front()) + tensor_bytes(q.data) + tensor_bytes(q.scale) +
           tensor_bytes(q.azp);
  }
  // Of every instance: the last one has been written by this backend as well as the first.
  bool matches_reference() const {
    const Quantized& q = outputs_.front();
    const Quantized want{like(q.data), like(q.scale), q.grid, like(q.azp)};
    quantize_into(inputs_.front(), options_, want, {}, "reference");
    return std::all_of(outputs_.begin(), outputs_.end(), [&](const Quantized& got) {
      return same_bytes(got.data, want.data) && same_bytes(got.scale, want.scale) &&
             same_bytes(got.azp, want.azp);
    });
  }

 private:
  QuantizeOptions options_;
  const char* backend_;
  std::vector<Tensor> inputs_;
  std::vector<Quantized> outputs_;
  std::size_t turn_ = 0;
};

}  // namespace

std::string quantize_backend(const std::string& forced) {
  if (!forced.empty()) return forced;
  if (const char* named = std::getenv("OCTAVO_BACKEND"); named != nullptr) return named;
  for (const BackendInfo& backend : backends()) {
    if (backend.usable) return backend.name;
  }
  return {};
}

bool quantize_matches_reference(const QuantizeLine& line, const std::string& backend) {
  const Tensor x = make_input(line);
  const Quantized want = quantize(x, line.options());
  const Quantized got{like(want.data), like(want.scale), want.grid, like(want.azp)};
  quantize_into(x, line.options(), got, {}, backend.c_str());
  quantize_into(x, line.options(), want, {}, "reference");
  return same_bytes(got.data, want.data) && same_bytes(got.scale, want.scale) &&
         same_bytes(got.azp, want.azp);
}

QuantizeFigure measure_quantize(const QuantizeLine& line, const MeasureOptions& o) {
  QuantizeFigure f;
  f.backend = quantize_backend(o.backend);
  const ExecContext context{.executor = o.executor};
  QuantizeRotation rotation(line, f.backend.c_str());
  const auto ours = [&] { rotation.next(context); };
  const auto alone = [&] { rotation.next({.executor = &serial_executor()}); };
  f.bytes = rotation.each();
  std::vector<double> times, again, scaling, reads, fractions;
  for (f.rounds = 0; f.rounds < o.rounds; ++f.rounds) {
    times.push_back(seconds_per_call(ours, o.sample_seconds));
    again.push_back(seconds_per_call(ours, o.sample_seconds) / times.back());
    if (o.threads > 1) scaling.push_back(seconds_per_call(alone, o.sample_seconds) / times.back());
    reads.push_back(measure_read_bandwidth(o.threads, o.sample_seconds));
    fractions.push_back(f.bytes * 1e-9 / reads.back() / times.back());
  }
  const double median = median_of(times).value;
  f.median_us = median * 1e6;
  f.best_us = *std::min_element(times.begin(), times.end()) * 1e6;
  f.gbps = f.bytes / median * 1e-9;
  f.read_gbps = median_of(reads).value;
  f.roofline = median_of(fractions);
  f.noise = median_of(again);
  f.scaling = median_of(scaling);
  f.matches_reference = rotation.matches_reference();
  return f;
}

}  // namespace octavo::kit
