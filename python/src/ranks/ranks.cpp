// SPDX-License-Identifier: Apache-2.0
#include "ranks.hpp"

#include <array>
#include <string>
#include <utility>

#include "errors.hpp"
#include "interpreter_lock.hpp"

namespace octavo::python {
namespace {

// A memoryview, which the callee must not keep. Of what is sent, too, it says that it is writable:
// torch warns of memory that is not.
nb::object memory(const void* data, std::int64_t bytes) {
  constexpr int kWrite = 0x200;  // PyBUF_WRITE, which the stable ABI of 3.10 does not name
  auto* at = static_cast<char*>(const_cast<void*>(data));
  return nb::steal(PyMemoryView_FromMemory(at, static_cast<Py_ssize_t>(bytes), kWrite));
}

struct ReductionRow {
  const char* name;
  std::int64_t bytes;
};
constexpr std::array<ReductionRow, 4> kReductions{{
    {"max_int32", 4},
    {"sum_int32", 4},
    {"sum_int64", 8},
    {"sum_float32", 4},
}};

}  // namespace

Ranks::Ranks(nb::object engine)
    : engine_(std::move(engine)),
      rank_(nb::cast<int>(engine_.attr("rank"))),
      size_(nb::cast<int>(engine_.attr("size"))) {
  overlaps_ = nb::hasattr(engine_, "start_all_reduce") && nb::hasattr(engine_, "wait");
  if (size_ < 1 || rank_ < 0 || rank_ >= size_) {
    raise(Code::invalid_argument, "ranks: ranks.rank must lie in [0, ranks.size); got rank " +
                                      std::to_string(rank_) + " of " + std::to_string(size_));
  }
}

Ranks::~Ranks() {
  const Locked lock;
  engine_.reset();
}

template <class... Arguments>
void Ranks::call(const char* method, const Arguments&... arguments) {
  std::string failure;
  {
    const Locked lock;
    try {
      unless_exiting([&] { engine_.attr(method)(arguments()...); });
      return;
    } catch (const nb::python_error& error) {
      failure = nb::str(error.value()).c_str();
    }
  }
  raise(Code::unavailable, "ranks: every rank must answer; got on rank " + std::to_string(rank_) +
                               " in " + method + ": " + failure);
}

void Ranks::all_reduce(Reduction reduction, void* data, std::int64_t count) {
  const ReductionRow& row = kReductions[static_cast<std::size_t>(reduction)];
  call(
      "all_reduce", [&] { return nb::str(row.name); },
      [&] { return memory(data, count * row.bytes); });
}

void Ranks::start_all_reduce(Reduction reduction, void* data, std::int64_t count) {
  if (!overlaps_) return all_reduce(reduction, data, count);
  const ReductionRow& row = kReductions[static_cast<std::size_t>(reduction)];
  call(
      "start_all_reduce", [&] { return nb::str(row.name); },
      [&] { return memory(data, count * row.bytes); });
}

void Ranks::wait() {
  if (overlaps_) call("wait");
}

void Ranks::all_gather(const void* part, std::int64_t bytes, void* all) {
  call(
      "all_gather", [&] { return memory(part, bytes); },
      [&] { return memory(all, bytes * size_); });
}

void Ranks::broadcast(int root, void* data, std::int64_t bytes) {
  call(
      "broadcast", [&] { return nb::int_(root); }, [&] { return memory(data, bytes); });
}

void Ranks::send(int to, const void* data, std::int64_t bytes) {
  call(
      "send", [&] { return nb::int_(to); }, [&] { return memory(data, bytes); });
}

void Ranks::receive(int from, void* data, std::int64_t bytes) {
  call(
      "receive", [&] { return nb::int_(from); }, [&] { return memory(data, bytes); });
}

}  // namespace octavo::python
