// SPDX-License-Identifier: Apache-2.0
// A problem twice: for the reference's pass, and where the tested one finds its memory.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/pass_operands.hpp"
#include "support/same_numbers.hpp"
#include "support/tested_passes.hpp"

namespace octavo::test {

/// Tensors of one problem in one place, which lie there as long as this does.
class TensorsOf {
 public:
  explicit TensorsOf(bool on_device) : on_device_(on_device) {}

  TensorView operator()(const Tensor& given) {
    kept_.push_back(given);
    return on_device_ ? kept_.emplace_back(to_device(given)).view() : given.view();
  }
  /// The same, to be compared when the pass has run.
  TensorView out(const Tensor& given) { return outs_.emplace_back((*this)(given)); }
  const std::vector<TensorView>& outs() const { return outs_; }
  bool on_device() const { return on_device_; }

 private:
  bool on_device_;
  std::vector<Tensor> kept_;
  std::vector<TensorView> outs_;
};

/// Both passes on what make(place) gives for either place: the same in all of its outputs, by
/// numbers or by bits.
template <class Problem, class Make>
void expect_same_pass(Status (*Passes::*pass)(const Problem&, const ExecContext&) noexcept,
                      const Make& make,
                      void (*expect_same)(const TensorView&,
                                          const TensorView&) = &expect_same_numbers) {
  TensorsOf here(false), there(true);
  const Problem want = make(here);
  const Problem got = make(there);
  ASSERT_TRUE((reference_passes().*pass)(want, {}).ok());
  const Status status = (tested().passes->*pass)(got, {});
  ASSERT_TRUE(status.ok()) << status.message();
  for (std::size_t i = 0; i < here.outs().size(); ++i)
    expect_same(to_host(there.outs()[i]), here.outs()[i]);
}

}  // namespace octavo::test
