// SPDX-License-Identifier: Apache-2.0
// int8 on AVX2, of few rows: a step of four bytes of B becomes two of words inside the tile, so
// that a weight passes once, as it is packed.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 1, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/words_dot-inl.hpp"

struct Dot : WordsDot {
  static constexpr int kSteps = 2;
  explicit Dot(const DotTile&) {}
  // g++ 12 would add the products of both words first, and keep all of them for it.
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    Sum more = WordsDot::add(sum, a, b);
    Vec::keep(more);
    return more;
  }
  using Part = Vec::Ints;
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& bytes) {
    return widened_pairs<step>(bytes);
  }
  template <int>
  static OCTAVO_INLINE const Right& right(const Part& words) {
    return words;
  }
};
#include "backends/cpu/kernels/dot_tile-inl.hpp"
#include "backends/cpu/kernels/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/pack_codes-inl.hpp"
#include "backends/cpu/kernels/widen_rows-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvx2BytesDot{
    {"1x64 tile, AVX2 (vpmaddwd), exact int32 sums", nullptr, kInt8Form, kMaxRows, &find_dot_tile,
     &pack_codes, nullptr, nullptr, nullptr, nullptr, kWidth},
    ARows::words,
    &unpack_piece,
    &widen_rows,
};

}  // namespace octavo::cpu
#endif
