// SPDX-License-Identifier: Apache-2.0
// Contexts: what is refused, and threads that a caller lends.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "capi/sample.hpp"

namespace octavo::test::context_test {
namespace {

TEST(CApiContext, WhatCannotBeIsRefused) {
  Sample s;
  octavo_executor executor = octavo_executor_init();
  octavo_context context = octavo_context_init();
  const auto call = [&] { return octavo_scaled_mm(&s.a, &s.b, nullptr, &context, s.t); };
  context.workspace_bytes = 64;
  expect_refused(call(), OCTAVO_INVALID_ARGUMENT, "scaled_mm: context.workspace must not be null",
                 "workspace");
  context.workspace_bytes = 0;
  context.device = {OCTAVO_CUDA, 0};
  expect_refused(call(), OCTAVO_UNAVAILABLE, "scaled_mm: context.device must be cpu", "device");
  context.device = {OCTAVO_CPU, 0};
  context.executor = &executor;
  for (const std::int64_t threads : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40}) {
    executor.concurrency = threads;
    expect_refused(call(), OCTAVO_INVALID_ARGUMENT,
                   "scaled_mm: context.executor.concurrency must be in [1, 65536]; got", "threads");
  }
  executor.concurrency = 2;
  EXPECT_EQ(call(), OCTAVO_OK) << octavo_last_error();
}

TEST(CApiContext, LentThreadsDoTheWork) {
  const Described a(float32, {64, 256});
  const Described b(float32, {256, 512});
  const octavo_operand left = operand_of(a);
  const octavo_operand right = operand_of(b);
  std::int64_t calls = 0;
  octavo_executor executor = octavo_executor_init();
  executor.user = &calls;
  executor.concurrency = 4;
  executor.parallel = [](void* user, std::int64_t tasks, octavo_task task, void* context) {
    ++*static_cast<std::int64_t*>(user);
    for (std::int64_t i = tasks; i-- > 0;) task(context, i);
  };
  octavo_context context = octavo_context_init();
  context.executor = &executor;
  octavo_tensor* y = nullptr;
  ASSERT_EQ(octavo_scaled_mm(&left, &right, nullptr, &context, &y), OCTAVO_OK);
  octavo_view view{};
  ASSERT_EQ(octavo_tensor_view(y, &view), OCTAVO_OK);
  EXPECT_EQ(static_cast<const float*>(view.data)[64 * 512 - 1], 256.0F);
  EXPECT_GE(calls, 1);
  octavo_tensor_release(y);
}

TEST(CApiContext, ThreadsThatComeTogetherDoTheWork) {
  octavo_thread_team* team = nullptr;
  for (const std::int64_t threads : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40}) {
    expect_refused(octavo_thread_team_create(threads, &team), OCTAVO_INVALID_ARGUMENT,
                   "thread_team: threads must be in [1, 512]; got", "threads");
    EXPECT_EQ(team, nullptr);
  }
  ASSERT_EQ(octavo_thread_team_create(3, &team), OCTAVO_OK);
  const Described a(float32, {64, 256});
  const Described b(float32, {256, 512});
  const octavo_operand left = operand_of(a);
  const octavo_operand right = operand_of(b);
  std::vector<std::thread> others;
  for (std::int64_t i = 1; i < 3; ++i) {
    others.emplace_back([=] { EXPECT_EQ(octavo_thread_team_help(team, i), OCTAVO_OK); });
  }
  octavo_executor executor{};
  ASSERT_EQ(octavo_thread_team_executor(team, &executor), OCTAVO_OK);
  EXPECT_EQ(executor.concurrency, 3);
  octavo_context context = octavo_context_init();
  context.executor = &executor;
  octavo_tensor* y = nullptr;
  EXPECT_EQ(octavo_scaled_mm(&left, &right, nullptr, &context, &y), OCTAVO_OK);
  EXPECT_EQ(octavo_thread_team_end(team), OCTAVO_OK);
  for (std::thread& other : others) other.join();
  EXPECT_EQ(octavo_thread_team_help(team, 7), OCTAVO_OK);
  octavo_view view{};
  ASSERT_EQ(octavo_tensor_view(y, &view), OCTAVO_OK);
  EXPECT_EQ(static_cast<const float*>(view.data)[64 * 512 - 1], 256.0F);
  octavo_tensor_release(y);
  octavo_thread_team_release(team);
}

}  // namespace
}  // namespace octavo::test::context_test
