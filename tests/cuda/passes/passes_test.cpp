// SPDX-License-Identifier: Apache-2.0
// Conversions against the reference's: the same bits.
#include <gtest/gtest.h>

#include "backends/backend.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/tested_passes.hpp"

namespace octavo::test::passes_test {
namespace {

const Passes& reference() { return find_backend("reference")->passes; }

TEST(ConvertPass, ConvertEveryTypeToEveryOther) {
  for (const DTypeInfo& from : kDTypes) {
    if (!is_floating(from.dtype) && !is_integer8(from.dtype)) continue;
    Tensor codes = Tensor::empty(from.dtype, {7, 40});
    for (std::int64_t i = 0; i < codes.numel() * element_bytes(from.dtype); ++i)
      codes.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 37);
    const Tensor there = to_device(codes.transposed());
    for (const DTypeInfo& to : kDTypes) {
      if (!is_floating(to.dtype) && !is_integer8(to.dtype)) continue;
      const Tensor want = Tensor::empty(to.dtype, {40, 7}), got = Tensor::empty(to.dtype, {40, 7});
      ASSERT_TRUE(reference().convert({codes.transposed(), want}, {}).ok());
      const Tensor out = to_device(got);
      const Status status = tested().passes->convert({there, out}, {});
      ASSERT_TRUE(status.ok()) << status.message();
      expect_same_bits(to_host(out), want);
    }
  }
}

}  // namespace
}  // namespace octavo::test::passes_test
