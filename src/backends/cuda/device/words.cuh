// SPDX-License-Identifier: Apache-2.0
// Loads and stores of 4, 8 or 16 bytes by an instruction whose name, up to its vector length, is a
// template argument: `ld.shared` and the like.
#pragma once

#include <cstddef>

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::device {

/// A value as the registers that hold it.
template <class T>
union Words {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16,
                "memory is read and written in 4, 8 or 16 bytes");
  T value;
  std::uint32_t word[sizeof(T) / 4];
  __device__ Words() {}
};

/// `address` says how an operand holds one: "r" in shared memory, "l" in global memory.
#define OCTAVO_WORDS(Address, address_constraint)                                              \
  template <const char* name, class T>                                                         \
  OCTAVO_DEVICE T load_words(Address from) {                                                   \
    Words<T> to;                                                                               \
    if constexpr (sizeof(T) == 4) {                                                            \
      asm volatile("%2.b32 %0, [%1];"                                                          \
                   : "=r"(to.word[0])                                                          \
                   : address_constraint(from), "C"(name)                                       \
                   : "memory");                                                                \
    } else if constexpr (sizeof(T) == 8) {                                                     \
      asm volatile("%3.v2.b32 {%0, %1}, [%2];"                                                 \
                   : "=r"(to.word[0]), "=r"(to.word[1])                                        \
                   : address_constraint(from), "C"(name)                                       \
                   : "memory");                                                                \
    } else {                                                                                   \
      asm volatile("%5.v4.b32 {%0, %1, %2, %3}, [%4];"                                         \
                   : "=r"(to.word[0]), "=r"(to.word[1]), "=r"(to.word[2]), "=r"(to.word[3])    \
                   : address_constraint(from), "C"(name)                                       \
                   : "memory");                                                                \
    }                                                                                          \
    return to.value;                                                                           \
  }                                                                                            \
  template <const char* name, class T>                                                         \
  OCTAVO_DEVICE void store_words(Address to, T value) {                                        \
    Words<T> from;                                                                             \
    from.value = value;                                                                        \
    if constexpr (sizeof(T) == 4) {                                                            \
      asm volatile("%2.b32 [%0], %1;" ::address_constraint(to), "r"(from.word[0]), "C"(name)   \
                   : "memory");                                                                \
    } else if constexpr (sizeof(T) == 8) {                                                     \
      asm volatile("%3.v2.b32 [%0], {%1, %2};" ::address_constraint(to), "r"(from.word[0]),    \
                   "r"(from.word[1]), "C"(name)                                                \
                   : "memory");                                                                \
    } else {                                                                                   \
      asm volatile("%5.v4.b32 [%0], {%1, %2, %3, %4};" ::address_constraint(to),               \
                   "r"(from.word[0]), "r"(from.word[1]), "r"(from.word[2]), "r"(from.word[3]), \
                   "C"(name)                                                                   \
                   : "memory");                                                                \
    }                                                                                          \
  }
OCTAVO_WORDS(std::uint32_t, "r")
OCTAVO_WORDS(std::size_t, "l")
#undef OCTAVO_WORDS

}  // namespace octavo::cuda::device
