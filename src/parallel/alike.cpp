// SPDX-License-Identifier: Apache-2.0
#include "parallel/alike.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "core/error.hpp"

namespace octavo {
namespace {

using Words = std::array<char, 128>;

Words cut(const std::string& text) {
  Words words{};
  std::copy_n(text.begin(), std::min(text.size(), words.size() - 1), words.begin());
  return words;
}

}  // namespace

void check_alike(const char* operation, Communicator& ranks, std::span<const Trait> traits) {
  std::vector<const char*> names{"version"};
  std::vector<Words> own{cut(OCTAVO_VERSION)};
  for (const Trait& trait : traits) {
    names.push_back(trait.name);
    own.push_back(cut(trait.words));
  }
  const std::size_t count = own.size();
  std::vector<Words> all(count * static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(own.data(), static_cast<std::int64_t>(count * sizeof(Words)), all.data());
  for (std::size_t i = count; i < all.size(); ++i) {
    const Words& first = all[i % count];
    if (all[i] == first) continue;
    refuse(Code::invalid_argument,
           "{}: {} must be the same on all ranks; got {} on rank 0 and {} on rank {}", operation,
           names[i % count], first.data(), all[i].data(), i / count);
  }
}

std::string rule_words(const std::optional<ActivationQuant>& rule) {
  if (!rule) return "none";
  if (rule->vectorwise) return fmt::format("llm-int8, threshold {}", rule->outlier_threshold);
  const QuantizeSpec& spec = rule->spec;
  return fmt::format("{} by {}{}, scales {}, rounding {}, static {}:{}", name(spec.dtype),
                     to_string(spec.granularity), spec.azp ? " with zero points" : "",
                     name(spec.scale_dtype), static_cast<int>(spec.rounding), rule->static_scale,
                     rule->static_azp);
}

}  // namespace octavo
