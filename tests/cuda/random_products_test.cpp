// SPDX-License-Identifier: Apache-2.0
// Random problem lines on a device, by every backend that takes them.
#include <gtest/gtest.h>

#include <string>

#include "cuda/device_kit.hpp"
#include "cuda/product_kit.hpp"
#include "support/draw.hpp"
#include "support/draw_line.hpp"

namespace octavo::test::random_products_test {
namespace {

using kit::Content;

bool taken(const char* backend, const ProblemLine& line, Content content) {
  kit::Operands operands(line, content);
  DeviceSource source(operands, kHopper);
  return takes(backend, make_problem(line, source).problem());
}

TEST(RandomProducts, AreTheTensorCoresSumsFinishedByTheReference) {
  configure(40);
  EXPECT_TRUE(rc::check("backends of devices against the reference", [] {
    ProblemLine line = draw_line({.m = 150, .n = 300, .k = 600});
    line.rotation = 0;  // which no device takes
    const Content content =
        one_of<Content>({Content::gaussian, Content::exact, Content::adversarial});
    for (const char* backend : {"sm90", "sm80", "cuda"}) {
      if (!taken(backend, line, content)) continue;
      const std::string text = std::string(backend) + ' ' + to_string(line);
      RC_LOG() << text << '\n';
      const std::string failure = failures([&] { expect_product(backend, line, content); });
      if (!failure.empty()) RC_FAIL(failure + text);
    }
  }));
}

}  // namespace
}  // namespace octavo::test::random_products_test
