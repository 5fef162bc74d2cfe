// SPDX-License-Identifier: Apache-2.0
// The kernels on AMX's registers: a kind (amx_tile-inl.hpp) for every instruction and form of B.
//
//   Registers::add_bytes<c, a, b>()    tdpbssd
//   Registers::add_halves<c, a, b>()   tdpbf16ps
//   Registers::add_e4m3<c, a, b>()     tdphf8ps
//
//   shaped_for   thread_local: the rows that registers are shaped for, negative where these are
//                transposed (amx_unpacked-inl.hpp), 0: they are not in use
//
// For regions with AVX-512 BW and VBMI.
//
// Needs: kNumbers, NumberTable, Registers, shaped_for, Vec
// Gives: Bfloat16, E4m3Fours, Float8, Int8Pairs, kAmxKernels, kMaxRows
#include "backends/cpu/kernels/vec/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"

#include "backends/cpu/kernels/panels/bf16_panels_avx512-inl.hpp"
#include "backends/cpu/kernels/panels/float8_bytes_avx512-inl.hpp"
#include "backends/cpu/kernels/panels/fp8_panels_avx512-inl.hpp"
#include "backends/cpu/kernels/panels/int8_bytes_avx512-inl.hpp"

#include "backends/cpu/kernels/amx/amx_tile-inl.hpp"

struct Int8 {
  static constexpr bool kExact = true, kInPlace = true;
  static constexpr std::int64_t kSize = 1;
  static constexpr octavo::cpu::PanelForm kForm = octavo::cpu::kInt8Form;
  static constexpr octavo::DType kWeight = octavo::DType::int8;
  explicit Int8(const octavo::cpu::DotTile&) {}
  template <int c, int a, int b>
  static OCTAVO_INLINE void add() {
    Registers::template add_bytes<c, a, b>();
  }
};

struct Bfloat16 {
  static constexpr bool kExact = false, kInPlace = true;
  static constexpr std::int64_t kSize = 2;
  static constexpr octavo::cpu::PanelForm kForm = octavo::cpu::kBf16Form;
  static constexpr octavo::DType kWeight = octavo::DType::bfloat16;
  static void pack(const octavo::cpu::PackPiece& p) {
    pack_neighbours(p, SameElements<2, false>());
  }
  explicit Bfloat16(const octavo::cpu::DotTile&) {}
  template <int c, int a, int b>
  static OCTAVO_INLINE void add() {
    Registers::template add_halves<c, a, b>();
  }
};

struct Float8 : Bfloat16 {
  static constexpr bool kInPlace = false;
  static constexpr octavo::cpu::PanelForm kForm = octavo::cpu::kFloat8Form;
  static constexpr octavo::DType kWeight = octavo::DType::float8_e4m3fn;  // or what the table says
  static void pack(const octavo::cpu::PackPiece& p) {
    if (p.table->negative_zero_is_nan) {
      return pack_neighbours(p, CodePairs<true>(*p.table));
    }
    pack_neighbours(p, CodePairs<false>(*p.table));
  }
  explicit Float8(const octavo::cpu::DotTile& t) : Bfloat16(t), decoder(*t.table), nan(*t.table) {}
  void widen(const char* b, std::int64_t ldb, std::int64_t steps, std::int64_t vectors,
             char* out) const {
    for (; steps > 0; --steps, b += ldb, out += kStagedStep) {
      for (std::int64_t v = 0; v < vectors; v += 2) {
        const Bytes bytes = decoder.decode(_mm512_load_si512(b + v * kForm.vector_bytes));
        char* to = out + v * kRegisterBytes;
        _mm512_store_si512(to, _mm512_unpacklo_epi8(bytes.low, bytes.high));
        _mm512_store_si512(to + kRegisterBytes, _mm512_unpackhi_epi8(bytes.low, bytes.high));
      }
    }
  }
  NumberLines numbers(__m512i codes) const { return numbers_of(decoder, nan, codes); }
  Float8Bytes decoder;
  NanCodes nan;
};

struct Int8Pairs : Bfloat16 {
  static constexpr bool kInPlace = false;
  static constexpr octavo::cpu::PanelForm kForm = octavo::cpu::kInt8Form;
  static constexpr octavo::DType kWeight = octavo::DType::int8;
  static void pack(const octavo::cpu::PackPiece& p) { pack_neighbours(p, Int8Codes()); }
  explicit Int8Pairs(const octavo::cpu::DotTile& t) : Bfloat16(t) {}
  // Four codes of a column are two steps.
  void widen(const char* b, std::int64_t ldb, std::int64_t steps, std::int64_t vectors,
             char* out) const {
    for (; steps > 0; --steps, b += ldb, out += 2 * kStagedStep) {
      for (std::int64_t v = 0; v < vectors; ++v) {
        const Bytes bytes = decoder.decode(_mm512_load_si512(b + v * kForm.vector_bytes));
        char* to = out + v * kRegisterBytes;
        _mm512_store_si512(to, _mm512_unpacklo_epi8(bytes.low, bytes.high));
        _mm512_store_si512(to + kStagedStep, _mm512_unpackhi_epi8(bytes.low, bytes.high));
      }
    }
  }
  NumberLines numbers(__m512i codes) const {
    return interleaved(decoder.decode_each(eights_in_turns(codes)));
  }
  Int8Bytes decoder;
};

// e4m3 by e4m3, packed in fours.
struct E4m3Fours {
  static constexpr bool kExact = false, kInPlace = true;
  static constexpr std::int64_t kSize = 1;
  static constexpr octavo::cpu::PanelForm kForm = octavo::cpu::kInt8Form;
  static constexpr octavo::DType kWeight = octavo::DType::float8_e4m3fn;
  static void pack(const octavo::cpu::PackPiece& p) {
    pack_neighbours(p, SameElements<1, false>());
  }
  explicit E4m3Fours(const octavo::cpu::DotTile&) {}
  template <int c, int a, int b>
  static OCTAVO_INLINE void add() {
    Registers::template add_e4m3<c, a, b>();
  }
};

// The same, packed as fp8 is: two steps are one of fours.
struct E4m3 : E4m3Fours {
  static constexpr bool kInPlace = false;
  static constexpr octavo::cpu::PanelForm kForm = octavo::cpu::kFloat8Form;
  using E4m3Fours::E4m3Fours;
  void widen(const char* b, std::int64_t ldb, std::int64_t steps, std::int64_t vectors,
             char* out) const {
    for (; steps > 0; steps -= 2, b += 2 * ldb, out += kStagedStep) {
      for (std::int64_t v = 0; v < vectors; v += 2) {
        const char* from = b + v * kForm.vector_bytes;
        const __m512i first = _mm512_load_si512(from);
        const __m512i second = steps > 1 ? _mm512_load_si512(from + ldb) : _mm512_setzero_si512();
        char* to = out + v * kRegisterBytes;
        _mm512_store_si512(to, _mm512_unpacklo_epi16(first, second));
        _mm512_store_si512(to + kRegisterBytes, _mm512_unpackhi_epi16(first, second));
      }
    }
  }
};

#include "backends/cpu/kernels/amx/amx_unpacked-inl.hpp"
#include "backends/cpu/kernels/amx/amx_transposed-inl.hpp"

// A panel of codes as one of pairs.
void decode_fp8(const octavo::cpu::Float8Table& table, const void* codes, std::int64_t steps,
                std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  const Float8Bytes decoder(table);
  const NanCodes nan(table);
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps) {
    for (std::int64_t v = 0; v < code_vectors; v += 2, from += 64) {
      _mm_prefetch(from + kDecodeAhead, _MM_HINT_T0);
      const __m512i part = _mm512_load_si512(from);
      const Bytes bytes = with_nan(decoder.decode(part), nan.in(part));
      _mm512_store_si512(out, _mm512_unpacklo_epi8(bytes.low, bytes.high));
      out += kRegisterBytes;
      if (v + 1 == vectors) continue;
      _mm512_store_si512(out, _mm512_unpackhi_epi8(bytes.low, bytes.high));
      out += kRegisterBytes;
    }
  }
}

constexpr std::array<std::int64_t, octavo::cpu::kPanelVectors> kMaxRows{kMostRows, kMostRows,
                                                                        kMostRows, kMostRows};
constexpr std::array<std::int64_t, octavo::cpu::kPanelVectors> kMaxRowsOfCodes{0, kMostRows, 0,
                                                                               kMostRows};
constexpr std::int64_t kBlock = kRegisterBytes / 2;  // bfloat16 along K
constexpr std::int64_t kBlockOfCodes = kRegisterBytes;

constexpr octavo::cpu::TransposedUnpacked kTransposedInt8 =
    transposed_of<Int8>("columns in place by rows transposed once, AMX, exact int32 sums");
constexpr octavo::cpu::TransposedUnpacked kTransposedBfloat16 = transposed_of<Bfloat16>(
    "columns in place by rows transposed once, AMX BF16, float32 sums of 32 products at a time");
constexpr octavo::cpu::TransposedUnpacked kTransposedFloat8 = transposed_of<Float8>(
    "columns in place by rows transposed once, fp8 by table, AMX BF16, float32 sums of 32 "
    "products at a time");
constexpr octavo::cpu::TransposedUnpacked kTransposedInt8Pairs = transposed_of<Int8Pairs>(
    "columns in place by rows transposed once, int8 by table, AMX BF16, float32 sums of 32 "
    "products at a time");
constexpr octavo::cpu::TransposedUnpacked kTransposedE4m3 = transposed_of<E4m3Fours>(
    "columns in place by rows transposed once, AMX FP8, float32 sums of 64 products at a time");

const octavo::cpu::TransposedUnpacked* find_transposed_int8(octavo::DType) noexcept {
  return &kTransposedInt8;
}
const octavo::cpu::TransposedUnpacked* find_transposed_pairs(octavo::DType weight) noexcept {
  if (weight == octavo::DType::bfloat16) return &kTransposedBfloat16;
  if (weight == octavo::DType::int8) return &kTransposedInt8Pairs;
  return octavo::is_float8(weight) ? &kTransposedFloat8 : nullptr;
}
const octavo::cpu::TransposedUnpacked* find_transposed_e4m3(octavo::DType) noexcept {
  return &kTransposedE4m3;
}

constexpr octavo::cpu::AmxKernels kAmxKernels{
    .integers =
        {
            .dot =
                {
                    .how = "48x32 tile, AMX, exact int32 sums",
                    .form = octavo::cpu::kInt8Form,
                    .max_rows = kMaxRows,
                    .tile = &find_amx_tile<Int8>,
                    .pack = &pack_codes,
                    .block = kRegisterSteps,
                    .fetches_rows = true,
                    .transposed = &find_transposed_int8,
                    .register_rows = kRegisterRows,
                },
            .rows = octavo::cpu::ARows::signed_bytes,
            .unpack = &unpack_piece,
            .leave = &leave_tiles,
        },
    .float8 =
        {
            .dot =
                {
                    .how =
                        "48x32 tile, fp8 by table, AMX BF16, float32 sums of 32 products at a time",
                    .how_unpacked =
                        "few rows, fp8 by table, AMX BF16 or, of very few by [K, N], FMA with "
                        "its bits, float32 sums of 32 products at a time",
                    .form = octavo::cpu::kFloat8Form,
                    .max_rows = kMaxRowsOfCodes,
                    .tile = &find_amx_tile<Float8>,
                    .pack = &pack_fp8,
                    .unpacked = &find_amx_unpacked,
                    .block = kBlock / octavo::cpu::kFloat8Form.step,
                    .fetches_rows = true,
                    .register_rows = kRegisterRows,
                },
            .rows = octavo::DType::bfloat16,
            .decode = &decode_codes,
            .pack_pairs = &pack_fp8_pairs,
            .unpack = &unpack_fp8,
            .most_rows = kMostRows,
        },
    .pairs =
        {
            .how = "48x32 tile, AMX BF16, float32 sums of 32 products at a time",
            .how_unpacked = "few rows, AMX BF16 or, of very few by [K, N], FMA with its bits, "
                            "float32 sums of 32 products at a time",
            .form = octavo::cpu::kBf16Form,
            .max_rows = kMaxRows,
            .tile = &find_amx_tile<Bfloat16>,
            .pack = &pack_bf16,
            .pack_rows = &pack_rows,
            .decode_int8 = &decode_int8,
            .decode_float8 = &decode_fp8,
            .unpacked = &find_amx_unpacked,
            .block = kBlock / octavo::cpu::kBf16Form.step,
            .fetches_rows = true,
            .transposed = &find_transposed_pairs,
            .register_rows = kRegisterRows,
        },
    .beside_pairs =
        {
            .int8 =
                {
                    .dot =
                        {
                            .how =
                                "48x32 tile, int8 by table, AMX BF16, float32 sums of 32 products "
                                "at a time",
                            .form = octavo::cpu::kInt8Form,
                            .max_rows = kMaxRows,
                            .tile = &find_amx_tile<Int8Pairs>,
                            .block = kBlock / octavo::cpu::kInt8Form.step,
                            .fetches_rows = true,
                            .register_rows = kRegisterRows,
                        },
                    .most_rows = kMostRows,
                },
            .bfloat16 = {},
            .float16 = {},
        },
    .e4m3 =
        {
            .how = "48x32 tile, AMX FP8, float32 sums of 64 products at a time",
            .how_unpacked = "few rows, AMX FP8, float32 sums of 64 products at a time",
            .form = octavo::cpu::kFloat8Form,
            .max_rows = kMaxRowsOfCodes,
            .tile = &find_amx_tile<E4m3>,
            .pack = &pack_fp8,
            .unpacked = &find_amx_unpacked_e4m3,
            .block = kBlockOfCodes / octavo::cpu::kFloat8Form.step,
            .fetches_rows = true,
            .transposed = &find_transposed_e4m3,
            .register_rows = kRegisterRows,
        },
};
