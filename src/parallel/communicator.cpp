// SPDX-License-Identifier: Apache-2.0
// What ranks say without an engine of their own: pairs, and one rank alone.
#include <cstddef>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/error.hpp"
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

void Communicator::start_all_reduce(Reduction reduction, void* data, std::int64_t count) {
  all_reduce(reduction, data, count);
}
void Communicator::wait() {}
bool Communicator::overlaps() const noexcept { return false; }

// In round i ranks a and b with a + b = i modulo their number meet, the lower one sends first: of
// the meetings that are left the earliest always finds both there.
void Communicator::all_to_all(const void* parts, std::span<const std::int64_t> bytes_to, void* all,
                              std::span<const std::int64_t> bytes_from) {
  std::vector<std::int64_t> out(bytes_to.size()), in(bytes_from.size());
  std::exclusive_scan(bytes_to.begin(), bytes_to.end(), out.begin(), std::int64_t{0});
  std::exclusive_scan(bytes_from.begin(), bytes_from.end(), in.begin(), std::int64_t{0});
  const int own = rank();
  for (int round = 0; round < size(); ++round) {
    const int other = (round - own + size()) % size();
    const auto r = static_cast<std::size_t>(other);
    const char* part = static_cast<const char*>(parts) + out[r];
    char* to = static_cast<char*>(all) + in[r];
    if (other == own) {
      if (bytes_to[r] > 0) std::memcpy(to, part, static_cast<std::size_t>(bytes_to[r]));
      continue;
    }
    if (own < other) send(other, part, bytes_to[r]);
    receive(other, to, bytes_from[r]);
    if (own > other) send(other, part, bytes_to[r]);
  }
}

std::shared_ptr<Communicator> self_communicator() {
  return at_edge("self_communicator",
                 []() -> std::shared_ptr<Communicator> { return std::make_shared<Self>(); });
}

}  // namespace octavo
