// SPDX-License-Identifier: Apache-2.0
// One rank alone: nothing is said to anybody.
#include <cstring>

#include "octavo/parallel.hpp"

namespace octavo {
namespace {

class Self final : public Communicator {
 public:
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 1; }
  void all_reduce(Reduction, void*, std::int64_t) override {}
  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    if (bytes > 0) std::memcpy(all, part, static_cast<std::size_t>(bytes));
  }
  void broadcast(int, void*, std::int64_t) override {}
  void send(int, const void*, std::int64_t) override {}
  void receive(int, void*, std::int64_t) override {}
};

}  // namespace

Communicator::~Communicator() = default;

std::shared_ptr<Communicator> self_communicator() { return std::make_shared<Self>(); }

}  // namespace octavo
