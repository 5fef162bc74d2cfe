// SPDX-License-Identifier: Apache-2.0
// Sentences: each thread has its own, those of the C++ library pass unchanged, references count.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "capi/sample.hpp"

namespace octavo::test::errors_test {
namespace {

TEST(CApiErrors, EachThreadHasItsOwnSentence) {
  std::int64_t count = 0;
  ASSERT_EQ(octavo_strings_count(nullptr, &count), OCTAVO_INVALID_ARGUMENT);
  const std::string mine = octavo_last_error();
  std::string before;
  std::string after;
  std::thread([&] {
    before = octavo_last_error();
    (void)octavo_backend_count(nullptr);
    after = octavo_last_error();
  }).join();
  EXPECT_EQ(before, "no failure");
  EXPECT_EQ(after, "backend_count: result must not be null; got null");
  EXPECT_EQ(mine, "strings_count: strings must not be null; got null");
  EXPECT_EQ(octavo_last_error(), mine);
  ASSERT_EQ(octavo_backend_count(&count), OCTAVO_OK);
  EXPECT_EQ(octavo_last_error(), mine) << "a success must leave the sentence";
}

TEST(CApiErrors, TheLibrarysSentencesPassUnchanged) {
  Sample s;
  std::string sentence;
  try {
    (void)scaled_mm(s.codes.memory, s.codes.memory);
  } catch (const Error& error) {
    sentence = error.what();
  }
  octavo_tensor* y = s.t[0];
  EXPECT_EQ(octavo_scaled_mm(&s.a, &s.a, nullptr, nullptr, &y), OCTAVO_INVALID_ARGUMENT);
  EXPECT_EQ(octavo_last_error(), sentence);
  EXPECT_EQ(y, nullptr);

  octavo_checkpoint* file = nullptr;
  EXPECT_EQ(octavo_checkpoint_open("no/such/file.safetensors", &file), OCTAVO_UNAVAILABLE);
  EXPECT_EQ(file, nullptr);
  octavo_scaled_mm_options o = octavo_scaled_mm_options_init();
  o.backend = "abacus";
  EXPECT_EQ(octavo_scaled_mm(&s.a, &s.b, &o, nullptr, &y), OCTAVO_INVALID_ARGUMENT);
  EXPECT_NE(std::string(octavo_last_error()).find("got 'abacus'"), std::string::npos);
  EXPECT_EQ(octavo_line_explain("nonsense", nullptr, nullptr, &s.explanation),
            OCTAVO_INVALID_ARGUMENT);
  EXPECT_EQ(s.explanation, nullptr);
}

TEST(CApiErrors, AHandleLivesAsLongAsItsReferences) {
  octavo_tensor* tensor = nullptr;
  const std::int64_t shape[] = {3};
  ASSERT_EQ(octavo_tensor_create(OCTAVO_INT8, 1, shape, &tensor), OCTAVO_OK);
  std::thread([tensor] { octavo_tensor_release(octavo_tensor_retain(tensor)); }).join();
  octavo_view view{};
  ASSERT_EQ(octavo_tensor_view(octavo_tensor_retain(tensor), &view), OCTAVO_OK);
  octavo_tensor_release(tensor);
  static_cast<std::int8_t*>(view.data)[2] = 5;
  EXPECT_EQ(view.shape[0], 3);
  octavo_tensor_release(tensor);
}

}  // namespace
}  // namespace octavo::test::errors_test
