// SPDX-License-Identifier: Apache-2.0
// The interpreter's lock, given back and taken, in threads that may outlive the interpreter.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <unistd.h>

namespace octavo::python {

/// Makes a call that takes the interpreter's lock, or runs Python.
///
/// An interpreter before 3.14 that exits ends other threads where they ask for its lock: by
/// pthread_exit, whose unwinding aborts the process in the first frame that must not throw. Here
/// such a thread sleeps, as it does from 3.14 on, until the process has ended.
template <class Call>
auto unless_exiting(const Call& call) {
  try {
    return call();
  } catch (const abi::__forced_unwind&) {
    for (;;) ::pause();
  }
}

/// While it lives, this thread does without the lock, which it has.
class Unlocked {
 public:
  Unlocked() noexcept : thread_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    unless_exiting([&] { PyEval_RestoreThread(thread_); });
  }

 private:
  PyThreadState* thread_;
};

/// While it lives, this thread has the lock, whichever thread it is.
class Locked {
 public:
  Locked() : state_(unless_exiting([] { return PyGILState_Ensure(); })) {}
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

}  // namespace octavo::python
