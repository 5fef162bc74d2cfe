// SPDX-License-Identifier: Apache-2.0
// Panels for instructions that multiply eight bytes of a column: two steps of four are joined.
//
//   [k / 4][j][4]  ->  [k / 8][j][8]
//
// Needs: fetch
// Gives: interleave_panel, interleave_steps, pack_interleaved

// Two steps of four columns.
OCTAVO_INLINE void interleave_steps(char* out, int32x4_t first, int32x4_t second) {
  auto* at = reinterpret_cast<std::int32_t*>(out);
  vst1q_s32(at, vzip1q_s32(first, second));
  vst1q_s32(at + 4, vzip2q_s32(first, second));
}

// Panels in steps of four bytes as panels in steps of eight; behind an odd number of steps are
// zeros.
void interleave_panel(const void* fours, std::int64_t steps, std::int64_t vectors,
                      void* panel) noexcept {
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
        interleave_steps(out + 32 * i, quad(first),
                         steps > 1 ? quad(first + row_bytes) : vdupq_n_s32(0));
      }
    }
  }
}

// A few squares at a time, in steps of four bytes at first, which `pack` makes; `size`: bytes of an
// element in the panel.
template <std::int64_t size, class Pack>
OCTAVO_INLINE void pack_interleaved(const octavo::cpu::PackPiece& p, const Pack& pack) {
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
    interleave_panel(fours, (part.depth * size + 3) / 4, vectors,
                     static_cast<char*>(p.panel) + k * size / 8 * vectors * 128);
  }
}
