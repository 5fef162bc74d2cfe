// SPDX-License-Identifier: Apache-2.0
// Functions compiled for an instruction set, and functions whose registers must not be tampered
// with.
#pragma once

// Between the two, functions may use the named extensions. Flags on whole files would leak them
// into inline functions of other headers, which therefore come before the region.
#define OCTAVO_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define OCTAVO_ISA_BEGIN(isa) \
  OCTAVO_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define OCTAVO_ISA_END OCTAVO_PRAGMA(clang attribute pop)
#else
#define OCTAVO_ISA_BEGIN(isa) OCTAVO_PRAGMA(GCC push_options) OCTAVO_PRAGMA(GCC target(isa))
#define OCTAVO_ISA_END OCTAVO_PRAGMA(GCC pop_options)
#endif

// What is never a call.
#define OCTAVO_INLINE inline __attribute__((always_inline))

// A lambda that is never a call, between its parameters and its body.
#define OCTAVO_LAMBDA __attribute__((always_inline))

// A loop whose body fills the registers already.
#if defined(__clang__)
#define OCTAVO_FLAT_LOOP OCTAVO_PRAGMA(clang loop unroll(disable))
#else
#define OCTAVO_FLAT_LOOP OCTAVO_PRAGMA(GCC unroll 1)
#endif

// g++ 12 takes the undefined values that its own intrinsics start from for mistakes of ours.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

// g++ 12's constant-propagated clones of a kernel spill its accumulators; noipa forbids them.
#if defined(__clang__)
#define OCTAVO_KERNEL __attribute__((noinline))
#elif defined(__aarch64__)
// Its first scheduler moves loads of B so far ahead of what they meet that accumulators are
// spilled.
#define OCTAVO_KERNEL __attribute__((noipa, optimize("no-schedule-insns")))
#else
#define OCTAVO_KERNEL __attribute__((noipa))
#endif
