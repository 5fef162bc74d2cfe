// SPDX-License-Identifier: Apache-2.0
// On x86-64 a switch saves the six registers that a call preserves and the stack pointer; elsewhere
// ucontext does it. Sanitizers are told of every switch.
#include "simulator/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OCTAVO_FIBER_ASAN
#endif
#if __has_feature(thread_sanitizer)
#define OCTAVO_FIBER_TSAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define OCTAVO_FIBER_ASAN
#endif

#if defined(OCTAVO_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(OCTAVO_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace octavo::cuda::simulator {
namespace {

/// A stack with a page below it that faults.
class Stack {
 public:
  Stack() : memory_(pool().take()) {}
  ~Stack() { pool().give(memory_); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  char* base() const { return static_cast<char*>(memory_) + kGuardBytes; }
  static constexpr std::size_t bytes() { return Fiber::kStackBytes - kGuardBytes; }

 private:
  static constexpr std::size_t kGuardBytes = 4096;

  // Stacks of fibers that ended serve those to come: the system's part of a launch is as long as
  // the rest of it.
  class Pool {
   public:
    ~Pool() {
      for (void* memory : free_) munmap(memory, Fiber::kStackBytes);
    }
    void* take() {
      if (!free_.empty()) {
        void* memory = free_.back();
        free_.pop_back();
        return memory;
      }
      void* memory = mmap(nullptr, Fiber::kStackBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
      if (memory == MAP_FAILED) throw std::bad_alloc();
      mprotect(memory, kGuardBytes, PROT_NONE);
      return memory;
    }
    void give(void* memory) {
#if defined(OCTAVO_FIBER_ASAN)
      __asan_unpoison_memory_region(memory, Fiber::kStackBytes);
#endif
      free_.push_back(memory);
    }

   private:
    std::vector<void*> free_;
  };
  static Pool& pool() {
    thread_local Pool pool;
    return pool;
  }

  void* memory_;
};

}  // namespace

struct Fiber::State {
  explicit State(std::function<void()> f) : body(std::move(f)) {}
  ~State() {
#if defined(OCTAVO_FIBER_TSAN)
    __tsan_destroy_fiber(tsan);
#endif
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Stack stack;
  std::function<void()> body;
  State* outer = nullptr;  // who was running when this one was resumed
  bool done = false;
#if defined(__x86_64__)
  void* pointer = nullptr;  // of this fiber's stack while it is suspended
  void* caller = nullptr;   // of the stack that resumed it
#else
  ucontext_t context{}, caller{};
#endif
#if defined(OCTAVO_FIBER_ASAN)
  void* fake_stack = nullptr;
  void* caller_fake_stack = nullptr;
  const void* caller_base = nullptr;
  std::size_t caller_bytes = 0;
#endif
#if defined(OCTAVO_FIBER_TSAN)
  void* tsan = __tsan_create_fiber(0);
  void* caller_tsan = nullptr;
#endif
};

}  // namespace octavo::cuda::simulator

#if defined(__x86_64__)
// void octavo_switch_stack(void** saved, void* next)
extern "C" void octavo_switch_stack(void** saved, void* next);
asm(R"(
.text
.globl octavo_switch_stack
.hidden octavo_switch_stack
.type octavo_switch_stack, @function
octavo_switch_stack:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size octavo_switch_stack, . - octavo_switch_stack
)");
#endif

namespace octavo::cuda::simulator {
namespace {

thread_local void* running = nullptr;  // the Fiber::State that runs

}  // namespace

bool Fiber::done() const noexcept { return state_->done; }

void Fiber::suspend() {
  auto& self = *static_cast<State*>(running);
  running = self.outer;
#if defined(OCTAVO_FIBER_ASAN)
  __sanitizer_start_switch_fiber(self.done ? nullptr : &self.fake_stack, self.caller_base,
                                 self.caller_bytes);
#endif
#if defined(OCTAVO_FIBER_TSAN)
  __tsan_switch_to_fiber(self.caller_tsan, 0);
#endif
#if defined(__x86_64__)
  octavo_switch_stack(&self.pointer, self.caller);
#else
  swapcontext(&self.context, &self.caller);
#endif
#if defined(OCTAVO_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(self.fake_stack, &self.caller_base, &self.caller_bytes);
#endif
}

void Fiber::resume() {
  State& next = *state_;
  next.outer = static_cast<State*>(running);
  running = &next;
#if defined(OCTAVO_FIBER_TSAN)
  next.caller_tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(next.tsan, 0);
#endif
#if defined(OCTAVO_FIBER_ASAN)
  __sanitizer_start_switch_fiber(&next.caller_fake_stack, next.stack.base(), Stack::bytes());
#endif
#if defined(__x86_64__)
  octavo_switch_stack(&next.caller, next.pointer);
#else
  swapcontext(&next.caller, &next.context);
#endif
#if defined(OCTAVO_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(next.caller_fake_stack, nullptr, nullptr);
#endif
}

namespace {

[[noreturn]] void never_resumed() {
  for (;;) Fiber::suspend();
}

}  // namespace

Fiber::Fiber(std::function<void()> body) : state_(std::make_unique<State>(std::move(body))) {
  void (*const entry)() = [] {
    auto& self = *static_cast<State*>(running);
#if defined(OCTAVO_FIBER_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, &self.caller_base, &self.caller_bytes);
#endif
    self.body();
    self.done = true;
    never_resumed();
  };
#if defined(__x86_64__)
  // As octavo_switch_stack leaves a stack: six registers, then the address to return to. A function
  // expects its stack 8 bytes past a multiple of 16.
  auto* top = reinterpret_cast<std::uintptr_t*>(state_->stack.base() + Stack::bytes());
  *--top = 0;  // where a caller's address would lie
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  top -= 6;
  state_->pointer = top;
#else
  getcontext(&state_->context);
  state_->context.uc_stack.ss_sp = state_->stack.base();
  state_->context.uc_stack.ss_size = Stack::bytes();
  makecontext(&state_->context, entry, 0);
#endif
}

Fiber::Fiber(Fiber&&) noexcept = default;
Fiber::~Fiber() = default;

}  // namespace octavo::cuda::simulator
