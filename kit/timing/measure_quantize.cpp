// SPDX-License-Identifier: Apache-2.0
// Lines of quantisers, against the reference's bits and the machine's read bandwidth.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kit/lines/quantize_line.hpp"
#include "kit/operands/element.hpp"
#include "kit/operands/random.hpp"
#include "kit/operands/rotation.hpp"
#include "kit/oracle/check.hpp"
#include "kit/timing/measure_call.hpp"
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
Quantized like(const Quantized& q) { return {like(q.data), like(q.scale), q.grid, like(q.azp)}; }

bool same(const Quantized& a, const Quantized& b) {
  return same_bytes(a.data, b.data) && same_bytes(a.scale, b.scale) && same_bytes(a.azp, b.azp);
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
      outputs_.push_back(like(outputs_.front()));
    }
    // The first calls touch the memory.
    for (std::size_t i = 0; i < inputs_.size(); ++i) next({});
  }
  void next(const ExecContext& context) {
    const std::size_t i = turn_++ % inputs_.size();
    quantize_into(inputs_[i], options_, outputs_[i], context, backend_);
  }
  // Input once, codes, scales and zero points, whatever the number of passes.
  double each() const {
    const Quantized& q = outputs_.front();
    return tensor_bytes(inputs_.front()) + tensor_bytes(q.data) + tensor_bytes(q.scale) +
           tensor_bytes(q.azp);
  }
  // Of every instance: the last one has been written by this backend as well as the first.
  bool matches_reference() const {
    const Quantized want = like(outputs_.front());
    quantize_into(inputs_.front(), options_, want, {}, "reference");
    return std::ranges::all_of(outputs_, [&](const Quantized& got) { return same(got, want); });
  }

 private:
  QuantizeOptions options_;
  const char* backend_;
  std::vector<Tensor> inputs_;
  std::vector<Quantized> outputs_;
  std::size_t turn_ = 0;
};

class QuantizeCall : public CallLine {
 public:
  explicit QuantizeCall(std::string_view line) : line_(parse_quantize_line(line)) {}

  std::string text() const override { return to_string(line_); }
  std::string backend(const std::string& forced) const override {
    if (!forced.empty()) return forced;
    if (const char* named = std::getenv("OCTAVO_BACKEND"); named != nullptr) return named;
    for (const BackendInfo& backend : backends()) {
      if (backend.usable) return backend.name;
    }
    return {};
  }
  bool right(const std::string& forced) const override {
    const Tensor x = make_input(line_);
    const Quantized want = quantize(x, line_.options());
    const Quantized got = like(want);
    quantize_into(x, line_.options(), got, {}, backend(forced).c_str());
    quantize_into(x, line_.options(), want, {}, "reference");
    return same(got, want);
  }
  CallFigure measure(const MeasureOptions& o) const override {
    CallFigure f;
    f.backend = backend(o.backend);
    QuantizeRotation rotation(line_, f.backend.c_str());
    const double bytes = rotation.each();
    static_cast<Timing&>(f) =
        time_calls([&](const ExecContext& context) { rotation.next(context); },
                   {.bytes = bytes, .members = {{.bytes = bytes}}}, std::nullopt, o);
    f.right = rotation.matches_reference();
    return f;
  }

 private:
  QuantizeLine line_;
};

}  // namespace

std::unique_ptr<CallLine> read_quantize_call(std::string_view line) {
  return std::make_unique<QuantizeCall>(line);
}

}  // namespace octavo::kit
