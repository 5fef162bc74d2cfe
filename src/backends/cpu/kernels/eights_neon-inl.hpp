// SPDX-License-Identifier: Apache-2.0
// What the kernels share whose instructions multiply two rows by two columns of eight bytes each,
//
//   a   row 0 [0 .. 7]  row 1 [0 .. 7]        sums   r0 c0  r0 c1  r1 c0  r1 c1
//   b   col 0 [0 .. 7]  col 1 [0 .. 7]
//
// and the panels for them: two steps of four bytes of A are joined to one of eight.
//
// Included inside an instruction-set region after vec_neon-inl.hpp; every including file gets its
// own copy.
template <class Register, class Columns>
struct EightsDot {
  static constexpr int kTogether = 2;
  static constexpr int kLeftBytes = 8;
  static constexpr int kStep = 8;
  static constexpr int kLoads = 8;
  static constexpr int kSums = 8;
  static constexpr int kMostVectors = 1;
  using Sum = Register;
  using Row = Columns;
  static OCTAVO_INLINE uint8x16_t bytes(const char* p) {
    return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
  }
  template <bool both>
  static OCTAVO_INLINE uint8x16_t two_rows(const char* a, const char* other) {
    const auto eight = [](const char* p) OCTAVO_LAMBDA {
      return vld1_u8(reinterpret_cast<const std::uint8_t*>(p));
    };
    const uint8x8_t second = both ? eight(other) : vdup_n_u8(0);
    return vcombine_u8(eight(a), second);
  }
  static OCTAVO_INLINE Register lower(Register a, Register b) {
    return reinterpret_cast<Register>(
        vzip1q_s64(reinterpret_cast<int64x2_t>(a), reinterpret_cast<int64x2_t>(b)));
  }
  static OCTAVO_INLINE Register upper(Register a, Register b) {
    return reinterpret_cast<Register>(
        vzip2q_s64(reinterpret_cast<int64x2_t>(a), reinterpret_cast<int64x2_t>(b)));
  }
  template <bool both>
  static OCTAVO_INLINE void put(Sum* sums, const void* c, const void* other) {
    const auto* first = static_cast<const Register*>(c);
    const auto* second = static_cast<const Register*>(other);
    const auto blocks = [&](int i) OCTAVO_LAMBDA {
      const Register more = both ? second[i] : Register{};
      sums[2 * i] = lower(first[i], more);
      sums[2 * i + 1] = upper(first[i], more);
    };
    blocks(0);
    blocks(1);
    blocks(2);
    blocks(3);
  }
  template <std::size_t r>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::each<Row>([&](int i) {
      return r == 0 ? lower(sums[2 * i], sums[2 * i + 1]) : upper(sums[2 * i], sums[2 * i + 1]);
    });
  }
};

// Two steps of four columns.
OCTAVO_INLINE void join_steps(char* out, int32x4_t first, int32x4_t second) {
  auto* at = reinterpret_cast<std::int32_t*>(out);
  vst1q_s32(at, vzip1q_s32(first, second));
  vst1q_s32(at + 4, vzip2q_s32(first, second));
}

// Panels in steps of four bytes as panels in steps of eight; behind an odd number of steps are
// zeros.
void join_panel(const void* fours, std::int64_t steps, std::int64_t vectors, void* panel) noexcept {
  constexpr std::int64_t kAhead = 4096;  // few rows leave a weight waiting for memory
  const std::int64_t row_bytes = vectors * 64;
  const auto quad = [](const char* p) {
    return vld1q_s32(reinterpret_cast<const std::int32_t*>(p));
  };
  const char* from = static_cast<const char*>(fours);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; steps -= 2, from += row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64, out += 128) {
      fetch(from + kAhead);
      for (int i = 0; i < 4; ++i) {
        const char* first = from + 16 * i;
        join_steps(out + 32 * i, quad(first), steps > 1 ? quad(first + row_bytes) : vdupq_n_s32(0));
      }
    }
  }
}

// A few squares at a time, in steps of four bytes at first, which `pack` makes; `size`: bytes of an
// element in the panel.
template <std::int64_t size, class Pack>
OCTAVO_INLINE void pack_joined(const octavo::cpu::PackPiece& p, const Pack& pack) {
  constexpr std::int64_t kDepth = 256 / size;
  const std::int64_t vectors = (p.columns + 15) / 16;
  alignas(64) char fours[kDepth * size / 4 * octavo::cpu::kPanelVectors * 64];
  octavo::cpu::PackPiece part = p;
  part.panel = fours;
  for (std::int64_t k = 0; k < p.depth; k += kDepth) {
    const auto at = [&](std::int64_t row) {
      return static_cast<const char*>(p.b) + row * p.stride_k * octavo::element_bytes(p.dtype);
    };
    const bool last = p.depth - k <= kDepth;
    part.b = at(k);
    part.depth = last ? p.depth - k : kDepth;
    part.next = last ? p.next : at(k + kDepth);
    pack(part);
    join_panel(fours, (part.depth * size + 3) / 4, vectors,
               static_cast<char*>(p.panel) + k * size / 8 * vectors * 128);
  }
}
