// SPDX-License-Identifier: Apache-2.0
#include "threads.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>

#include "errors.hpp"

namespace octavo::python {
namespace {

std::atomic<int> limit{0};

int limited(int threads) noexcept {
  const int most = limit.load(std::memory_order_relaxed);
  return most > 0 ? std::min(most, threads) : threads;
}

// Every count-th task from `first` on: the share of one of `count` threads.
struct Tasks {
  Executor::Task task;
  void* context;
  std::int64_t tasks;
  std::int64_t count;
  void run(std::int64_t first, std::int64_t step) const noexcept {
    for (std::int64_t i = first; i < tasks; i += step) task(context, i);
  }
};

// The default executor, seen with fewer threads.
class LimitedExecutor final : public Executor {
 public:
  int concurrency() const noexcept override { return limited(default_executor().concurrency()); }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    Tasks all{task, context, tasks, std::min<std::int64_t>(tasks, concurrency())};
    default_executor().parallel(
        all.count,
        [](void* self, std::int64_t first) noexcept {
          const auto& shares = *static_cast<const Tasks*>(self);
          shares.run(first, shares.count);
        },
        &all);
  }
};

// The functions of an OpenMP runtime that are needed. GOMP_parallel is GNU's entry of a parallel
// region; LLVM's and Intel's runtimes have it as well.
struct OpenMp {
  void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*max_threads)() = nullptr;
  int (*in_parallel)() = nullptr;
  int (*thread_num)() = nullptr;
  int (*num_threads)() = nullptr;

  bool load(void* library) noexcept {
    const auto find = [library](const char* name, auto& function) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    return find("GOMP_parallel", parallel) && find("omp_get_max_threads", max_threads) &&
           find("omp_in_parallel", in_parallel) && find("omp_get_thread_num", thread_num) &&
           find("omp_get_num_threads", num_threads);
  }

  // "libgomp.so.1"
  std::string file() const {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(parallel), &info) == 0) return "unknown";
    const std::string path = info.dli_fname;
    return path.substr(path.rfind('/') + 1);
  }
};
OpenMp openmp;
std::atomic<bool> forked{false};  // the runtime's threads do not follow into a child

class OpenMpExecutor final : public Executor {
 public:
  int concurrency() const noexcept override {
    if (forked.load(std::memory_order_relaxed) || openmp.in_parallel() != 0) return 1;
    return limited(std::max(1, openmp.max_threads()));
  }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    Tasks all{task, context, tasks, concurrency()};
    if (all.count == 1) return all.run(0, 1);
    // Always the whole team: one of another size would be made anew.
    openmp.parallel(
        [](void* self) {
          static_cast<const Tasks*>(self)->run(openmp.thread_num(), openmp.num_threads());
        },
        &all, static_cast<unsigned>(all.count), 0);
  }
};

LimitedExecutor limited_executor;
OpenMpExecutor openmp_executor;
const ExecContext kDefault;
const ExecContext kLimited{.executor = &limited_executor};
const ExecContext kOpenMp{.executor = &openmp_executor};
std::atomic<bool> on_openmp{false};

// What the process takes by name, as PyTorch does: a preloaded runtime comes before PyTorch's own
// file, whose threads would be a second pool then.
bool load_openmp(const std::string& path) {
  if (!openmp.load(RTLD_DEFAULT)) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (library == nullptr || !openmp.load(library)) return false;  // the handle stays: so do they
  }
  pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
  return true;
}

}  // namespace

const ExecContext& context() noexcept {
  if (on_openmp.load(std::memory_order_acquire)) return kOpenMp;
  return limit.load(std::memory_order_relaxed) > 0 ? kLimited : kDefault;
}

void set_num_threads(int threads) {
  if (threads < 0) {
    raise(Code::invalid_argument,
          "set_num_threads: threads must be at least 1, or 0 for all; got " +
              std::to_string(threads));
  }
  limit.store(threads, std::memory_order_relaxed);
}

int num_threads() noexcept {
  return on_openmp.load(std::memory_order_acquire) ? openmp_executor.concurrency()
                                                   : limited_executor.concurrency();
}

bool use_openmp(const std::string& path) {
  if (on_openmp.load(std::memory_order_acquire)) return true;
  if (openmp.num_threads == nullptr && !load_openmp(path)) return false;
  on_openmp.store(true, std::memory_order_release);
  return true;
}

void use_own_threads() noexcept { on_openmp.store(false, std::memory_order_release); }

std::string threads_reason() {
  if (!on_openmp.load(std::memory_order_acquire)) return default_executor_reason();
  const int threads = num_threads();
  const std::string count = std::to_string(threads) + (threads == 1 ? " thread" : " threads");
  return count + (forked.load(std::memory_order_relaxed) ? ", serial in a forked child"
                                                         : " of PyTorch's OpenMP runtime, " + openmp.file());
}

}  // namespace octavo::python
