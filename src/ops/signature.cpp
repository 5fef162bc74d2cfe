// SPDX-License-Identifier: Apache-2.0
// Collecting a problem's dtypes, shapes, strides, granularities and options into words.
#include "ops/signature.hpp"

#include <algorithm>
#include <bit>

#include "backends/backend.hpp"

namespace octavo {
namespace {

class Words {
 public:
  explicit Words(Signature& s) noexcept : s_(s) {}

  void add(std::int64_t word) noexcept {
    if (s_.count < s_.words.size()) s_.words[s_.count] = word;
    ++s_.count;
    s_.hash = std::rotl(s_.hash ^ static_cast<std::uint64_t>(word), 27) * 0x9E3779B97F4A7C15U;
  }
  void add(const TensorView& v) noexcept {
    add(static_cast<std::int64_t>(v.dtype) * 16 + v.rank);
    if (!v.defined()) return;
    for (std::size_t d = 0; d < static_cast<std::size_t>(v.rank); ++d) {
      add(v.shape[d]);
      add(v.strides[d]);
    }
  }
  void add(const ScaleView& s) noexcept {
    add(static_cast<std::int64_t>(s.kind));
    if (s.kind != ScaleView::Kind::tensor) return;
    add(s.data);
    add(s.rows);
    add(s.cols);
  }
  void add(const Factor& f) noexcept {
    add(static_cast<std::int64_t>(f.kind));
    add(f.data);
  }
  void add(const ActivationQuant& q) noexcept {
    const QuantizeSpec& spec = q.spec;
    add(static_cast<std::int64_t>(spec.dtype) * 4 + (spec.azp ? 2 : 0) + (q.vectorwise ? 1 : 0));
    add(static_cast<std::int64_t>(spec.granularity.kind));
    add(spec.granularity.rows);
    add(spec.granularity.cols);
    add((q.outlier_threshold > 0.0F ? 2 : 0) + (q.static_scale > 0.0F ? 1 : 0));
    add(q.outlier_columns.view());
    add(q.found_columns);
    add(q.codes);
    add(q.scales);
  }
  void add(const Operand& o) noexcept {
    add(o.data);
    add(o.scale[0]);
    add(o.scale[1]);
    add(o.azp);
    add(o.quantise != nullptr ? 1 : 0);
    if (o.quantise != nullptr) add(*o.quantise);
    if (o.packed == nullptr) return add(std::int64_t{-1});
    const PackedWeightData& w = *o.packed->content();
    add(static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(w.layout)));
    add(static_cast<std::int64_t>(w.dtype));
    add(w.k);
    add(w.n);
  }

 private:
  Signature& s_;
};

}  // namespace

bool operator==(const Signature& a, const Signature& b) noexcept {
  return a.hash == b.hash && a.count == b.count &&
         std::equal(a.words.begin(), a.words.begin() + static_cast<std::ptrdiff_t>(a.count),
                    b.words.begin());
}

std::optional<Signature> signature(const MatmulProblem& p, int threads,
                                   std::int64_t forced) noexcept {
  if (p.groups.split != Split::none) return std::nullopt;
  Signature s;
  Words words(s);
  words.add(threads);
  words.add(forced);
  words.add(p.single.a);
  words.add(p.single.b);
  const Epilogue& e = p.single.epilogue;
  words.add(e.alpha);
  words.add(e.beta);
  words.add(e.scale_result);
  words.add(e.c);
  words.add(e.bias);
  words.add(e.outliers.columns);
  words.add(e.outliers.weight);
  words.add(e.outliers.threshold > 0.0F ? 1 : 0);
  words.add(p.single.out);
  words.add(static_cast<std::int64_t>(p.options.overflow) * 8 +
            (p.options.fast_accumulation ? 4 : 0) + (p.options.batch_invariant ? 2 : 0) +
            (p.options.torch_compat ? 1 : 0));
  if (s.count > s.words.size()) return std::nullopt;
  return s;
}

}  // namespace octavo
