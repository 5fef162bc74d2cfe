// SPDX-License-Identifier: Apache-2.0
// fp8 weights by vdpbf16ps, looked up in tables on their way into the tile: two registers for the
// high bytes of bfloat16, one and a place in memory for the low ones, one for the sign. With them
// 24 accumulators and what is being decoded fit 32 registers in 12 rows by 2 vectors.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{0, 12, 0, 5};
constexpr std::int64_t kWidth = kPanelVectors;

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,avx512bf16")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

#include "backends/cpu/kernels/panels/float8_bytes_avx512-inl.hpp"

struct Dot : FloatDot {
  static constexpr int kLoadVectors = 2;
  using Loaded = Bytes;
  explicit Dot(const DotTile& t) : FloatDot(t), decoder(*t.table) {}
  Loaded load(__m512i codes) const { return decoder.decode(codes); }
  template <int half>
  static Right right(const Loaded& b) {
    return half == 0 ? _mm512_unpacklo_epi8(b.low, b.high) : _mm512_unpackhi_epi8(b.low, b.high);
  }
  static Sum add(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  Float8Bytes decoder;
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"

#include "backends/cpu/kernels/vec/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

#include "backends/cpu/kernels/panels/fp8_panels_avx512-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

struct CodeSource : WordSource {
  static constexpr int kPairedRows = 4;
  static constexpr std::int64_t kMostInParts = 64;
};
// Of codes 0x80 that are NaN.
struct NanSource : CodeSource {
  static Bytes load(const Dot& dot, __m512i codes) {
    return with_nan(dot.load(codes), _mm512_cmpeq_epi8_mask(codes, dot.decoder.sign));
  }
};

// Two rows of 64 codes.
template <class Codes>
struct CodeLines {
  static constexpr int kRows = 2, kVectors = 4, kBytes = 64;
  static constexpr bool kOrdered = false;
  struct Interleaved {
    Bytes low, high;
  };
  static OCTAVO_INLINE Interleaved load(const Dot& dot, const char* b, std::int64_t ldb) {
    const __m512i row0 = Vec::load_unaligned_ints(b);
    const __m512i row1 = Vec::load_unaligned_ints(b + ldb);
    return {Codes::load(dot, _mm512_unpacklo_epi8(row0, row1)),
            Codes::load(dot, _mm512_unpackhi_epi8(row0, row1))};
  }
  template <int v>
  static OCTAVO_INLINE __m512i step(const Dot&, const Interleaved& x) {
    return Dot::right<v % 2>(v < 2 ? x.low : x.high);
  }
};

template <class Codes>
UnpackedKernel find_codes(const UnpackedWanted& wanted) noexcept {
  return wanted.order == UnpackedOrder::along_k
             ? find_unpacked_columns<Codes>(wanted)
             : find_unpacked_rows<AnyRows<CodeLines<Codes>, 16>>(wanted.rows);
}

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  if (!is_float8(wanted.weight)) return nullptr;
  return float8_table(wanted.weight).negative_zero_is_nan ? find_codes<NanSource>(wanted)
                                                          : find_codes<CodeSource>(wanted);
}
OCTAVO_ISA_END

}  // namespace

extern const Float8Kernels kAvx512Float8Dot{
    .dot =
        {
            .how = "5x64 tile, fp8 by table, AVX-512 BF16, float32 sums in ascending k",
            .how_unpacked =
                "parts of up to 16 rows, fp8 by table, AVX-512 BF16, float32 sums in ascending k",
            .form = kFloat8Form,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_fp8,
            .unpacked = &find_unpacked,
        },
    .rows = DType::bfloat16,
    .decode = &decode_codes,
    .pack_pairs = &pack_fp8_pairs,
    .unpack = &unpack_fp8,
};

}  // namespace octavo::cpu
#endif
