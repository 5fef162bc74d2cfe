// SPDX-License-Identifier: Apache-2.0
// Functions compiled once per vector width, with the width chosen at start by the loader.
#pragma once

// The widths give equal bits: no operation is fused or reordered. Sanitizers instrument code that
// the loader would run too early, so their builds keep the baseline.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REVERSE_DICTIONARY_BASELINE
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define REVERSE_DICTIONARY_BASELINE
#endif
#endif

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(REVERSE_DICTIONARY_BASELINE)
#define REVERSE_DICTIONARY_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define REVERSE_DICTIONARY_MULTIVERSION
#endif
