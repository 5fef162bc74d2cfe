// SPDX-License-Identifier: Apache-2.0
// The names of the schemes.
#include <algorithm>
#include <array>

#include "octavo/checkpoint.hpp"

namespace octavo {
namespace {

struct SchemeName {
  std::string_view name;
  Scheme scheme;
};

// The first name of a scheme is its own; the others are those of llm-compressor's presets and of
// bitsandbytes, and torchao's word for fp8. "FP8" is absent: that preset means a scheme that is not
// written here.
constexpr std::array<SchemeName, 15> kNames{{
    {"int8-dynamic", Scheme::int8_dynamic},
    {"int8", Scheme::int8_dynamic},
    {"w8a8", Scheme::int8_dynamic},
    {"w8a8-int8", Scheme::int8_dynamic},
    {"fp8-dynamic", Scheme::fp8_dynamic},
    {"w8a8-fp8", Scheme::fp8_dynamic},
    {"fp8-block", Scheme::fp8_block},
    {"llm-int8", Scheme::llm_int8},
    {"llm.int8", Scheme::llm_int8},
    {"bitsandbytes", Scheme::llm_int8},
    {"int8-weight-only", Scheme::int8_weight_only},
    {"w8a16", Scheme::int8_weight_only},
    {"fp8-weight-only", Scheme::fp8_weight_only},
    {"float8-weight-only", Scheme::fp8_weight_only},
    {"mxfp8", Scheme::mxfp8},
}};

// FP8_DYNAMIC and fp8-dynamic are the same name.
constexpr char folded(char c) noexcept {
  if (c == '_') return '-';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::string_view scheme_name(Scheme scheme) noexcept {
  return std::ranges::find(kNames, scheme, &SchemeName::scheme)->name;
}

std::optional<Scheme> scheme_from_name(std::string_view name) noexcept {
  for (const SchemeName& row : kNames) {
    if (std::ranges::equal(name, row.name, {}, folded)) return row.scheme;
  }
  return std::nullopt;
}

}  // namespace octavo
