// SPDX-License-Identifier: Apache-2.0
#include "parallel/alike.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/error.hpp"
#include "core/problem/fields.hpp"

namespace octavo {
namespace {

using Words = std::array<char, 192>;
// Version, what is called, a failure, traits.
using Message = std::array<Words, 3 + kMostTraits>;
constexpr std::size_t kVersion = 0, kCall = 1, kFailure = 2, kTraits = 3;

Words cut(const std::string& text) {
  Words words{};
  std::copy_n(text.begin(), std::min(text.size(), words.size() - 1), words.begin());
  return words;
}

constexpr std::int64_t kSampledRows = 64;

class Checksum {
 public:
  void add(const TensorView& view) {
    if (view.numel() == 0) return;
    const Tensor row = copy(view, view.dtype);
    const auto bytes = static_cast<std::size_t>(row.numel() * element_bytes(row.dtype()));
    const char* from = row.data_as<const char>();
    for (std::size_t i = 0; i < bytes; i += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, from + i, std::min(sizeof word, bytes - i));
      add(word);
    }
  }
  void add(std::uint64_t word) {
    sum_ = (sum_ ^ word) * 0x9E3779B97F4A7C15U;
    sum_ ^= sum_ >> 32U;
  }
  // Of all rows where they are few, else of some, evenly spread.
  void add_rows(const TensorView& matrix) {
    const std::int64_t rows = matrix.shape[0];
    const std::int64_t count = std::min(rows, kSampledRows);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = i * rows / count;
      add(matrix.slice(0, row, row + 1));
    }
  }
  // All that a rule says; not where a call's codes go.
  template <class T>
  void add_fields(const T& value) {
    if constexpr (std::is_same_v<T, Tensor>) {
      add(static_cast<std::uint64_t>(value.defined() ? value.numel() : -1));
      if (value.defined()) add(value.view());
    } else if constexpr (std::is_floating_point_v<T>) {
      add(std::bit_cast<std::uint64_t>(static_cast<double>(value)));
    } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      add(static_cast<std::uint64_t>(value));
    } else if constexpr (!std::is_same_v<T, TensorView> && !std::is_pointer_v<T>) {
      for_each_field(value, [this](const char*, const auto& field) { this->add_fields(field); });
    }
  }
  std::string words() const { return fmt::format("checksum {:016x}", sum_); }

 private:
  std::uint64_t sum_ = 1;
};

std::string values_words(const Weight& weight, Shared shared) {
  if (shared == Shared::nothing) return "its own";
  Checksum sum;
  if (shared == Shared::whole) sum.add_rows(weight.codes.data);
  const bool constant = weight.codes.grid.cols == kWholeExtent;
  for (const Tensor* t : {&weight.codes.scale, &weight.codes.azp}) {
    if (t->defined() && (constant || shared == Shared::whole)) sum.add(*t);
  }
  if (weight.absmax.defined()) sum.add(weight.absmax);
  return sum.words();
}

std::string bias_words(const TensorView& bias) {
  if (!bias.defined()) return "none";
  Checksum sum;
  sum.add(bias);
  return fmt::format("{} {}, {}", name(bias.dtype), shape_string(bias), sum.words());
}

}  // namespace

void check_alike(const char* operation, const char* call, Communicator& ranks, const Status& own,
                 std::span<const Trait> traits) {
  Message said{cut(OCTAVO_VERSION), cut(fmt::format("{} of {}", call, operation)),
               own.ok() ? Words{} : cut(std::string(own.message()))};
  std::array<const char*, said.size()> names{"version", "what is called", "failure"};
  for (std::size_t i = 0; i < traits.size(); ++i) {
    names.at(kTraits + i) = traits[i].name;
    said.at(kTraits + i) = cut(traits[i].words);
  }
  std::vector<Message> heard(static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(said.data(), sizeof said, heard.data());
  const auto compare = [&](std::size_t i) {
    for (std::size_t r = 1; r < heard.size(); ++r) {
      if (heard[r][i] == heard[0][i]) continue;
      refuse(Code::invalid_argument,
             "{}: {} must be the same on all ranks; got {} on rank 0 and {} on rank {}", operation,
             names.at(i), heard[0][i].data(), heard[r][i].data(), r);
    }
  };
  compare(kVersion);
  throw_if_failed(own);
  for (std::size_t r = 0; r < heard.size(); ++r) {
    if (heard[r][kFailure] == Words{}) continue;
    refuse(Code::invalid_argument, "{}: arguments must be valid on all ranks; got on rank {}: {}",
           operation, r, heard[r][kFailure].data());
  }
  compare(kCall);
  for (std::size_t i = 0; i < traits.size(); ++i) compare(kTraits + i);
}

std::string leading_words(const TensorView& view) {
  const std::span<const std::int64_t> dims = view.dims();
  return fmt::format("[{}]", fmt::join(dims.first(dims.empty() ? 0 : dims.size() - 1), ", "));
}

std::string type_words(const TensorView& view) {
  return view.defined() ? std::string(name(view.dtype)) : "none";
}

std::string options_words(const MatmulOptions& options) {
  std::string words;
  for_each_field(options, [&words](const char* field, const auto& value) {
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", field, static_cast<int>(value));
  });
  return words;
}

std::string rule_words(const std::optional<ActivationQuant>& rule) {
  if (!rule) return "none";
  Checksum sum;
  sum.add_fields(*rule);
  if (rule->vectorwise) {
    return fmt::format("llm-int8, threshold {}, {}", rule->outlier_threshold, sum.words());
  }
  const QuantizeSpec& spec = rule->spec;
  return fmt::format("{} by {}{}, static {}:{}, {}", name(spec.dtype), to_string(spec.granularity),
                     spec.azp ? " with zero points" : "", rule->static_scale, rule->static_azp,
                     sum.words());
}

void check_weights_alike(const char* operation, Communicator& ranks, const Status& own,
                         const Weight& weight, Shared shared, const TensorView& bias,
                         const ParallelOptions& o) {
  const Quantized& codes = weight.codes;
  const std::int64_t n = codes.data.size(0), k = codes.data.size(1);
  const std::array traits{
      Trait{"weight.shape", shared == Shared::whole    ? fmt::format("[{}, {}]", n, k)
                            : shared == Shared::scales ? fmt::format("[{}, ...]", n)
                                                       : fmt::format("[..., {}]", k)},
      Trait{"weight.dtype", std::string(name(codes.data.dtype()))},
      Trait{"weight.scheme", weight.scheme},
      Trait{"weight.activation", rule_words(weight.activation)},
      Trait{"weight.values", values_words(weight, shared)},
      Trait{"bias", bias_words(bias)},
      Trait{"options", fmt::format("{}, k_chunks {}, overlap_rows {}",
                                   o.mode == ParallelMode::fast ? "fast" : "exact", o.k_chunks,
                                   o.overlap_rows)}};
  check_alike(operation, shared == Shared::whole ? "a layer" : "a layer of parts", ranks, own,
              traits);
}

}  // namespace octavo
