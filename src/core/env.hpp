// SPDX-License-Identifier: Apache-2.0
// The only place that reads environment variables.
#pragma once

#include <cstdlib>
#include <string_view>

namespace octavo::env {

inline std::string_view get(const char* variable) noexcept {
  const char* value = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
  return value != nullptr ? std::string_view(value) : std::string_view();
}

/// OCTAVO_BACKEND: the backend that every call is forced to, empty for none.
inline std::string_view backend() noexcept { return get("OCTAVO_BACKEND"); }

/// OCTAVO_ISA: the instruction set above which no extension is used, empty for all of the CPU's.
inline std::string_view isa() noexcept { return get("OCTAVO_ISA"); }

/// OCTAVO_VERBOSE=dispatch: each choice of a backend is written to stderr.
inline bool verbose_dispatch() noexcept { return get("OCTAVO_VERBOSE") == "dispatch"; }

/// OCTAVO_NUM_THREADS: the most threads of the default executor, 0 for no limit; -1 for what is no
/// such number. Read once.
inline int num_threads() noexcept {
  static const int read = [] {
    int threads = 0;
    for (const char digit : get("OCTAVO_NUM_THREADS")) {
      if (digit < '0' || digit > '9' || threads > 100000) return -1;
      threads = threads * 10 + (digit - '0');
    }
    return threads;
  }();
  return read;
}

/// OCTAVO_SPIN: whether threads stay awake for a moment after a call; 1 where it is not set. Read
/// once.
enum class Spin : unsigned char { off, on, wrong };
inline Spin spin() noexcept {
  static const Spin read = [] {
    const std::string_view value = get("OCTAVO_SPIN");
    if (value.empty() || value == "1") return Spin::on;
    return value == "0" ? Spin::off : Spin::wrong;
  }();
  return read;
}

/// OCTAVO_LAPACK: the library that GPTQ takes LAPACK from, empty for the system's.
inline std::string_view lapack() noexcept { return get("OCTAVO_LAPACK"); }

}  // namespace octavo::env
