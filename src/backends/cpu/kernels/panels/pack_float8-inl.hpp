// SPDX-License-Identifier: Apache-2.0
// fp8 weights in their own form, packed and unpacked as int8 is, by squares, with their codes put
// in the order of a step of 32 columns (kFloat8Form):
//
//   even, odd   four codes of 16 columns each      first, second   the two steps that they are
//
// An `Order` is made from the table of codes and says
//   look(even, odd)          notes codes that are no finite numbers; found(): whether there were
//   any first(), second()        (even, odd) -> a step columns<v>(first, second)  back to four
//   codes of 16 columns
//
// Needs: pack_piece, SameElements, turn, Vec
// Gives: pack_float8, unpack_float8

// A few squares at a time.
template <class Order>
OCTAVO_INLINE void pack_float8(const octavo::cpu::PackPiece& p) {
  constexpr std::int64_t kDepth = 256;
  const std::int64_t vectors = (p.columns + 31) / 32 * 2;
  alignas(64) char quads[kDepth / 4 * octavo::cpu::kPanelVectors * 64];
  octavo::cpu::PackPiece part = p;
  part.panel = quads;
  char* out = static_cast<char*>(p.panel);
  Order order(*p.table);
  for (std::int64_t k = 0; k < p.depth; k += kDepth) {
    const auto at = [&](std::int64_t row) {
      return static_cast<const char*>(p.b) + row * p.stride_k;
    };
    const bool last = p.depth - k <= kDepth;
    part.b = at(k);
    part.depth = last ? p.depth - k : kDepth;
    part.next = last ? p.next : at(k + kDepth);
    pack_piece(part, SameElements<1, false>());
    const std::int64_t given = (p.columns + 15) / 16;
    const char* from = quads;
    for (std::int64_t step = 0; step < (part.depth + 1) / 2; step += 2) {
      const bool whole = step + 1 < (part.depth + 1) / 2;
      for (std::int64_t v = 0; v < vectors; v += 2, out += 64) {
        const Vec::Ints even = Vec::load_ints(from + v * 64);
        const Vec::Ints odd =
            v + 1 < given ? Vec::load_ints(from + (v + 1) * 64) : Vec::zero_ints();
        order.look(even, odd);
        Vec::store(out, order.first(even, odd));
        if (whole) Vec::store(out + vectors * 32, order.second(even, odd));
      }
      from += given * 64;
      if (whole) out += vectors * 32;
    }
  }
  if (p.not_finite != nullptr && order.found()) *p.not_finite = true;
}

template <class Order, int v>
OCTAVO_INLINE void unpack_vector(const octavo::cpu::UnpackPiece& p, std::int64_t square) {
  const char* from = static_cast<const char*>(p.panel) + square * 32 * p.step_bytes;
  Vec::Ints m[16];
  for (Vec::Ints& codes : m) {
    codes = Order::template columns<v>(Vec::load_ints(from), Vec::load_ints(from + p.step_bytes));
    from += 2 * p.step_bytes;
  }
  turn(m);
  for (std::int64_t j = 0; j < 16; ++j) {
    Vec::store_unaligned(p.b + square * 64 + (v * 16 + j) * p.stride_n, m[j]);
  }
}

template <class Order>
OCTAVO_INLINE void unpack_float8(const octavo::cpu::UnpackPiece& p) {
  for (std::int64_t square = 0; square < p.squares; ++square) {
    unpack_vector<Order, 0>(p, square);
    unpack_vector<Order, 1>(p, square);
  }
}
