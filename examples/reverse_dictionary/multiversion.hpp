// SPDX-License-Identifier: Apache-2.0
// Functions compiled once per vector width, with the width chosen at start by the loader.
#pragma once

// The widths give equal bits: no operation is fused or reordered. Sanitizers intercept calls
// before the loader's choice is possible, so their builds keep the baseline.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && !defined(REVERSE_DICTIONARY_BASELINE)
#define REVERSE_DICTIONARY_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define REVERSE_DICTIONARY_MULTIVERSION
#endif
