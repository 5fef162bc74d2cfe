// SPDX-License-Identifier: Apache-2.0
// Threads of an engine that come to a call together.
#include <algorithm>

#include "capi/convert.hpp"
#include "capi/handle.hpp"

using namespace octavo::capi;

octavo_code octavo_thread_team_create(int64_t threads, octavo_thread_team** result) {
  return guarded("thread_team", [&] {
    Slot slot({"thread_team", "result"}, result);
    const auto number = static_cast<int>(std::clamp<int64_t>(threads, -1, 1 << 20));
    slot.fill(std::make_unique<octavo::ThreadTeam>(number));
  });
}

octavo_code octavo_thread_team_executor(octavo_thread_team* team, octavo_executor* result) {
  return guarded("thread_team_executor", [&] {
    octavo::ThreadTeam& threads = *value_of({"thread_team_executor", "team"}, team);
    octavo_executor executor = octavo_executor_init();
    executor.user = &threads;
    executor.concurrency = threads.concurrency();
    executor.parallel = [](void* user, int64_t tasks, octavo_task task, void* task_context) {
      struct Call {
        octavo_task task;
        void* context;
        static void run(void* self, int64_t index) noexcept {
          const auto* call = static_cast<const Call*>(self);
          call->task(call->context, index);
        }
      } call{task, task_context};
      static_cast<octavo::ThreadTeam*>(user)->parallel(tasks, &Call::run, &call);
    };
    give("thread_team_executor", result, executor);
  });
}

octavo_code octavo_thread_team_help(octavo_thread_team* team, int64_t thread) {
  return guarded("thread_team_help", [&] {
    octavo::ThreadTeam& threads = *value_of({"thread_team_help", "team"}, team);
    if (thread > 0 && thread < threads.concurrency()) threads.help(static_cast<int>(thread));
  });
}

octavo_code octavo_thread_team_end(octavo_thread_team* team) {
  return guarded("thread_team_end", [&] { value_of({"thread_team_end", "team"}, team)->end(); });
}

octavo_thread_team* octavo_thread_team_retain(octavo_thread_team* team) { return retain(team); }
void octavo_thread_team_release(octavo_thread_team* team) { release(team); }
