// SPDX-License-Identifier: Apache-2.0
// LLM.int8's outlier term of one output:
//
//   sum over the listed columns k, ascending, of a[i, k] * w[k, j]
//
// in float32 from +0, each product and each addition rounded by itself; with chunks of K, over each
// chunk apart, and the chunks' sums are added in their order. With a threshold, columns
// that are not in `whole` have a term only in rows where a[i, k] reaches it. A list that a device
// has found ends at its first -1, before its room does; without a column there is no term at all.
#pragma once

#include "backends/cuda/kernels/common/chunk_at_hand.hpp"
#include "backends/cuda/kernels/common/finishing.hpp"

namespace octavo::cuda {

class OutlierTerms {
 public:
  /// `empty`: a product with K = 0, which has none.
  OCTAVO_DEVICE OutlierTerms(const Member& p, const ChunkSteps& chunks, bool empty)
      : OutlierTerms(p.epilogue.outliers, p.b.data, chunks, empty) {}
  /// `codes`: the weight's, [K, N].
  OCTAVO_DEVICE OutlierTerms(const Outliers& outliers, const Elements& codes,
                             const ChunkSteps& chunks = {}, bool empty = false)
      : o_(outliers),
        original_(o_.weight.dtype != DType::undefined),
        weight_(original_ ? o_.weight : codes),
        chunks_(chunks),
        count_(empty ? 0 : o_.columns.count) {}

  /// Where a sum over the columns begins.
  OCTAVO_DEVICE ChunkAtHand first_chunk() const { return ChunkAtHand(chunks_); }

  /// Whether the weight is the original one: the sum is added behind its scale.
  OCTAVO_DEVICE bool original() const { return original_; }

  /// The listed columns in their order; -1 behind the last.
  template <class Machine>
  OCTAVO_DEVICE std::int64_t column(Machine& m, std::int64_t index) const {
    return index < count_ ? m.load_global(o_.columns.data + index * o_.columns.stride) : -1;
  }
  /// Whether every row has a term in column k.
  template <class Machine>
  OCTAVO_DEVICE bool in_all_rows(Machine& m, std::int64_t k) const {
    return !(o_.threshold > 0.0F) || is_whole(m, k);
  }

  template <class Machine>
  OCTAVO_DEVICE float left(Machine& m, std::int64_t i, std::int64_t k) const {
    return read_float(m, o_.a, i, k);
  }
  template <class Machine>
  OCTAVO_DEVICE float right(Machine& m, std::int64_t k, std::int64_t j) const {
    return read_float(m, weight_, k, j);
  }
  OCTAVO_DEVICE void add(float left, bool all, float right, float& sum) const {
    const float magnitude = left < 0.0F ? -left : left;
    if (!all && !(magnitude >= o_.threshold)) return;
    sum += left * right;
  }

  /// The sum where section 3 adds it.
  OCTAVO_DEVICE OutlierSums sums(bool any, float sum) const {
    OutlierSums sums;
    if (any) (original_ ? sums.original : sums.codes) = sum;
    return sums;
  }

 private:
  template <class Machine>
  OCTAVO_DEVICE bool is_whole(Machine& m, std::int64_t k) const {
    for (std::int64_t i = 0; i < o_.whole.count; ++i)
      if (m.load_global(o_.whole.data + i * o_.whole.stride) == k) return true;
    return false;
  }

  const Outliers& o_;
  bool original_;
  const Elements& weight_;
  ChunkSteps chunks_;
  std::int64_t count_;
};

}  // namespace octavo::cuda
