// SPDX-License-Identifier: Apache-2.0
// What passes a public edge: values and Errors, whatever its body does.
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "core/error.hpp"

namespace octavo::test::edge_test {
namespace {

template <class Body>
Status caught(const Body& body) {
  try {
    at_edge("edge", body);
    return {};
  } catch (const Error& error) {
    return error.status();
  }
}

TEST(Edge, ReturnsWhatTheBodyHas) {
  EXPECT_EQ(at_edge("edge", [] { return Result<int>(7); }), 7);
  EXPECT_EQ(at_edge("edge", [] { return 7; }), 7);
  EXPECT_NO_THROW(at_edge("edge", [] { return Status(); }));
}

TEST(Edge, ThrowsErrorsAlone) {
  EXPECT_EQ(caught([] { return fail(Code::unsupported, "edge: x must y; got {}", 1); }).code(),
            Code::unsupported);
  EXPECT_EQ(caught([]() -> int { refuse(Code::io, "edge: x must y; got {}", 1); }).code(),
            Code::io);
  for (const Status& status : {caught([]() -> int { throw std::bad_alloc(); }),
                               caught([]() -> int { throw std::length_error("vector"); })}) {
    EXPECT_EQ(status.code(), Code::out_of_memory);
    EXPECT_EQ(status.message(), "edge: memory must be available; got none");
  }
}

}  // namespace
}  // namespace octavo::test::edge_test
