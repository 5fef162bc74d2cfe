// SPDX-License-Identifier: Apache-2.0
// Ranks that talk through an object of Python.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "octavo/parallel.hpp"

namespace octavo::python {

namespace nb = nanobind;

/// A Communicator of an object with `rank` and `size` and the methods of octavo.torch's
/// ProcessGroupRanks, which get memory as memoryviews of bytes. An exception of theirs is an Error
/// (unavailable) with its text, and the end of the communicator. One with start_all_reduce and wait
/// overlaps.
class Ranks final : public Communicator {
 public:
  explicit Ranks(nb::object engine);
  ~Ranks() override;
  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }
  void all_reduce(Reduction reduction, void* data, std::int64_t count) override;
  void start_all_reduce(Reduction reduction, void* data, std::int64_t count) override;
  void wait() override;
  bool overlaps() const noexcept override { return overlaps_; }
  void all_gather(const void* part, std::int64_t bytes, void* all) override;
  void broadcast(int root, void* data, std::int64_t bytes) override;
  void send(int to, const void* data, std::int64_t bytes) override;
  void receive(int from, void* data, std::int64_t bytes) override;

 private:
  template <class... Arguments>
  void call(const char* method, const Arguments&... arguments);

  nb::object engine_;
  int rank_ = 0, size_ = 1;
  bool overlaps_ = false;
};

}  // namespace octavo::python
