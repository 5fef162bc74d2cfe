// SPDX-License-Identifier: Apache-2.0
#include "parallel/message_checks.hpp"

#include <fmt/format.h>

#include <random>
#include <vector>

namespace octavo::test {
namespace {

using Bytes = std::vector<char>;

std::mt19937_64 dice(std::uint64_t seed, int from, int to) {
  return std::mt19937_64(seed * 4099 + static_cast<std::uint64_t>(from * 64 + to));
}

// What one rank says to another.
Bytes message(std::uint64_t seed, int from, int to, std::int64_t most_bytes) {
  auto engine = dice(seed, from, to);
  const std::uint64_t kind = engine() % 3;
  const auto most = static_cast<std::uint64_t>(most_bytes);
  Bytes bytes(kind == 0 ? 0 : engine() % (kind == 1 ? 100 : most + 1));
  for (char& byte : bytes) byte = static_cast<char>(engine());
  return bytes;
}

}  // namespace

std::string check_all_to_all(Communicator& ranks, std::uint64_t seed, std::int64_t most_bytes) {
  Bytes parts, want;
  std::vector<std::int64_t> to, from;
  for (int r = 0; r < ranks.size(); ++r) {
    const Bytes out = message(seed, ranks.rank(), r, most_bytes);
    const Bytes in = message(seed, r, ranks.rank(), most_bytes);
    parts.insert(parts.end(), out.begin(), out.end());
    want.insert(want.end(), in.begin(), in.end());
    to.push_back(static_cast<std::int64_t>(out.size()));
    from.push_back(static_cast<std::int64_t>(in.size()));
  }
  Bytes got(want.size());
  ranks.all_to_all(parts.data(), to, got.data(), from);
  if (got == want) return {};
  return fmt::format("all_to_all {} on rank {} of {}", seed, ranks.rank(), ranks.size());
}

}  // namespace octavo::test
