// SPDX-License-Identifier: Apache-2.0
// Where and with what a call runs: device, stream, threads and memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "octavo/export.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// A lender of threads. A host program implements it to run Octavo on its own pool.
///
/// `parallel` calls `task(context, i)` once for every i in [0, tasks), in any order, on any
/// threads, and returns when all are done. Tasks never throw and never call back into `parallel`.
/// The work of task i depends on i alone, so no result depends on scheduling.
class OCTAVO_API Executor {
 public:
  using Task = void (*)(void* context, std::int64_t index) noexcept;
  virtual ~Executor() = default;
  /// How many tasks can run at once; operations split their work with this number in mind.
  virtual int concurrency() const noexcept = 0;
  /// Runs task(context, i) for every i in [0, tasks), and returns when all are done.
  virtual void parallel(std::int64_t tasks, Task task, void* context) noexcept = 0;
};

/// Runs everything on the calling thread.
OCTAVO_API Executor& serial_executor() noexcept;

/// Starts `threads - 1` std::threads per call. For sanitizers and for hosts that allow no pool.
class OCTAVO_API ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(int threads) noexcept : threads_(threads < 1 ? 1 : threads) {}
  int concurrency() const noexcept override { return threads_; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override;

 private:
  int threads_;
};

/// The executor of calls that name none: oneTBB in the caller's arena, limited by
/// OCTAVO_NUM_THREADS where that is set; serial in a forked child and in builds without oneTBB. Its
/// threads look for the next call for 20 us before they sleep; OCTAVO_SPIN=0: they do not.
OCTAVO_API Executor& default_executor() noexcept;

/// Says what default_executor() is and why, in one sentence.
OCTAVO_API const char* default_executor_reason() noexcept;

/// Scratch memory lent by the caller. A call that needs more than it finds here is refused with a
/// sentence; a call without a workspace allocates.
struct Workspace {
  void* data = nullptr;   ///< of any alignment
  std::size_t bytes = 0;  ///< of `data`
};

/// What a call runs on. Tensors say which device; the default context is the default stream there
/// and the default executor.
struct ExecContext {
  Device device{};                       ///< one that this build and this machine have
  void* stream = nullptr;                ///< CUDA: a cudaStream_t; CPU: unused
  Executor* executor = nullptr;          ///< null: default_executor()
  const Workspace* workspace = nullptr;  ///< on the tensors' device; null: allocate

  /// Where this call's own tensors lie: beside its operands, in its stream.
  Place place(const Device& operands) const noexcept { return {operands, stream}; }
};

}  // namespace octavo
