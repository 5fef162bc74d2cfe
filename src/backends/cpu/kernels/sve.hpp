// SPDX-License-Identifier: Apache-2.0
// Whether SVE's kernels are built: where a compiler has registers of a fixed length in a region of
// a file that is for any CPU, which clang has not, and a system says how long they are.
#pragma once

#if defined(__aarch64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define OCTAVO_SVE 1
#else
#define OCTAVO_SVE 0
#endif
