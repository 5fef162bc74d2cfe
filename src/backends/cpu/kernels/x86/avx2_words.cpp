// SPDX-License-Identifier: Apache-2.0
// int8 on AVX2, of many rows: panels of words, widened once for all rows of a chunk. 12 registers
// of sums, two of B, one of A and a product are all sixteen.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/tile/words_dot-inl.hpp"

using Dot = PanelWordsDot;
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

#include "backends/cpu/kernels/panels/pack_words-inl.hpp"
#include "backends/cpu/kernels/panels/widen_rows-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvx2WordsDot{
    .dot =
        {
            .how = "6x16 tile, AVX2 (vpmaddwd), exact int32 sums",
            .form = kWordsForm,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_words,
            .decode_int8 = &decode_words,
            .width = kWidth,
        },
    .rows = ARows::words,
    .widen = &widen_rows,
};

}  // namespace octavo::cpu
#endif
