// SPDX-License-Identifier: Apache-2.0
// Packing B into panels, and back. From whatever type and strides B has, the
// packer makes vectors of what 16 columns have in four bytes along K,
//
//   lane j   b[k][j] b[k + 1][j] b[k + 2][j] b[k + 3][j]  |  b[k][j] b[k + 1][j]  |  b[k][j]
//            of one byte each                                of two                  of four
//
// and a `Target` makes of such a vector what the panel holds of these elements:
//   kSize          bytes of an element of B
//   kRows          vectors of the panel that one of B becomes
//   kSums          whether sums of columns are wanted
//   put(out, row_bytes, x)   stores them, one to a step of the panel
//
// Columns whose elements are contiguous along k are transposed as squares of 16 columns x 64 bytes,
// contiguous rows along j are interleaved; of other strides squares are copied first.
//
// Needs: interleave, step_sums, turn, Vec
// Gives: fetch, pack_neighbours, pack_piece, SameElements

// What the panel holds is what B holds.
template <int size, bool sums>
struct SameElements {
  static constexpr std::int64_t kSize = size, kRows = 1;
  static constexpr bool kSums = sums;
  OCTAVO_INLINE void put(char* out, std::int64_t, const Vec::Ints& x) const { Vec::store(out, x); }
};

OCTAVO_INLINE void add_sums(std::int32_t* sums, const Vec::Ints& more) {
  Vec::store_unaligned(sums, Vec::add(Vec::load_unaligned_ints(sums), more));
}

// The extents of a piece in bytes.
template <class Target>
struct PieceBytes {
  explicit PieceBytes(const octavo::cpu::PackPiece& p)
      : vectors((p.columns + 15) / 16),
        row(vectors * 64),
        stride_k(p.stride_k * Target::kSize),
        stride_n(p.stride_n * Target::kSize),
        depth(p.depth * Target::kSize),
        b(static_cast<const char*>(p.b)),
        next(static_cast<const char*>(p.next)),
        panel(static_cast<char*>(p.panel)) {}
  std::int64_t vectors, row, stride_k, stride_n, depth;
  const char *b, *next;
  char* panel;
};

// What lies ahead of the packer is fetched into the second-level cache: more of it can be on its
// way there, and rows a power of two apart would drive each other out of the first.
OCTAVO_INLINE void fetch(const char* at) {
#if defined(__aarch64__)
  __asm__ volatile("prfm pldl2keep, [%0]" : : "r"(at));
#else
  _mm_prefetch(at, _MM_HINT_T1);
#endif
}

// Pairs of lines of 16 columns, so many ahead of the packer, in its order and then in that of the
// next piece: no hardware follows 16 columns from one piece into the next.
constexpr std::int64_t kPairsAhead = 16;
constexpr std::int64_t kPairBytes = 128;
class ColumnsAhead {
 public:
  template <class Target>
  ColumnsAhead(const PieceBytes<Target>& p, bool fetched)
      : at_(fetched ? nullptr : p.b),
        next_(p.next),
        depth_(p.depth),
        stride_(p.stride_n),
        vectors_(p.vectors),
        left_(p.vectors) {
    for (std::int64_t i = 0; i < kPairsAhead && at_ != nullptr; ++i) advance();
  }
  OCTAVO_INLINE void fetch_pairs() {
    if (at_ == nullptr) return;
    for (std::int64_t j = 0; j < 16; ++j) {
      fetch(at_ + k_ + j * stride_);
      fetch(at_ + k_ + j * stride_ + 64);
    }
    advance();
  }

 private:
  OCTAVO_INLINE void advance() {
    k_ += kPairBytes;
    if (k_ < depth_) return;
    k_ = 0;
    at_ += 16 * stride_;
    if (--left_ > 0) return;
    at_ = next_;
    next_ = nullptr;
    left_ = vectors_;
  }
  const char *at_, *next_;
  std::int64_t depth_, stride_, vectors_, left_, k_ = 0;
};

// Columns of B lie together: stride_k is 1. 64 bytes of 16 columns become 16 vectors.
template <class Target>
void pack_columns(const octavo::cpu::PackPiece& piece, const Target& target) {
  const PieceBytes<Target> p(piece);
  ColumnsAhead ahead(p, piece.fetched);
  for (std::int64_t v = 0; v < p.vectors; ++v) {
    const char* from = p.b + v * 16 * p.stride_n;
    const std::int64_t columns = piece.columns - v * 16;
    char* out = p.panel + v * 64;
    Vec::Ints sums = Vec::zero_ints();
    for (std::int64_t k = 0; k < p.depth; k += 64) {
      if (k % kPairBytes == 0) ahead.fetch_pairs();
      Vec::Ints m[16];
      const std::int64_t bytes = p.depth - k;
      if (columns >= 16 && bytes >= 64) {
        for (std::int64_t j = 0; j < 16; ++j)
          m[j] = Vec::load_unaligned_ints(from + k + j * p.stride_n);
      } else {
        for (std::int64_t j = 0; j < 16; ++j) {
          m[j] = j < columns ? Vec::load_part(from + k + j * p.stride_n, bytes) : Vec::zero_ints();
        }
      }
      turn(m);
      const std::int64_t count = bytes < 64 ? (bytes + 3) / 4 : 16;
      for (std::int64_t i = 0; i < 16; ++i) {
        if (i < count) target.put(out, p.row, m[i]);
        out += Target::kRows * p.row;
        if constexpr (Target::kSums) sums = Vec::add(sums, step_sums(m[i]));
      }
    }
    if constexpr (Target::kSums) add_sums(piece.sums + v * 16, sums);
  }
}

// Rows of B lie together: stride_n is 1. The next lines lie a row away each, where no hardware
// looks for them. Memory gives two neighbouring lines as fast as one: the second one of a row of
// bytes waits in the cache for the next panel.
constexpr std::int64_t kRowBytesAhead = 8192;
inline bool is_first_of_pair(const char* at) {
  return reinterpret_cast<std::uintptr_t>(at) % kPairBytes < 64;
}
template <std::int64_t size>
OCTAVO_INLINE void fetch_row(const char* at) {
  for (std::int64_t l = 0; l < size; ++l) fetch(at + l * 64);
  if (size == 1 && is_first_of_pair(at)) fetch(at + 64);
}

// What a step of a whole panel fetches: nothing, or the rows that lie like its own.
struct FetchesNothing {
  template <std::int64_t size>
  OCTAVO_INLINE void step(std::int64_t) {}
};
struct FetchesRows {
  const char* at;
  template <std::int64_t size>
  OCTAVO_INLINE void step(std::int64_t stride) {
    for (std::int64_t i = 0; i < 4 / size; ++i, at += stride) fetch_row<size>(at);
  }
};
// Or what the caller says, as many lines as it has.
struct FetchesLines {
  octavo::cpu::RowsAhead rows;
  template <std::int64_t size>
  OCTAVO_INLINE void step(std::int64_t) {
    for (int line = 0; line < 4; ++line) rows.fetch<octavo::cpu::RowsAhead::kLineBytes>();
  }
};

// `steps` whole steps of a whole panel, all in registers.
template <class Target, class Fetches, std::size_t... v>
OCTAVO_INLINE void pack_whole_steps(const PieceBytes<Target>& p, const Target& target,
                                    std::int64_t first, std::int64_t steps, Fetches& fetches,
                                    std::int32_t* sums_out, std::index_sequence<v...>) {
  constexpr std::int64_t kSize = Target::kSize;
  constexpr std::int64_t kStep = 4 / kSize;
  const std::int64_t stride = p.stride_k, row = p.row;
  const char* b = p.b + first * kStep * stride;
  char* out = p.panel + first * Target::kRows * row;
  Vec::Ints sums[] = {((void)v, Vec::zero_ints())...};
  Fetches ahead = fetches;  // in registers
  for (; steps > 0; --steps, b += kStep * stride, out += Target::kRows * row) {
    ahead.template step<kSize>(stride);
    Vec::Ints x[] = {Vec::load_unaligned_ints(b + static_cast<std::int64_t>(v) / kSize * stride +
                                              v % kSize * 64)...};
    interleave<kSize>(x);
    (target.put(out + v * 64, row, x[v]), ...);
    if constexpr (Target::kSums) ((sums[v] = Vec::add(sums[v], step_sums(x[v]))), ...);
  }
  if constexpr (Target::kSums) (add_sums(sums_out + v * 16, sums[v]), ...);
  fetches = ahead;
}

// The whole steps of a whole panel. Returns how many.
template <class Target>
std::int64_t pack_whole_panel(const octavo::cpu::PackPiece& piece, const PieceBytes<Target>& p,
                              const Target& target) {
  constexpr std::make_index_sequence<4> kVectors;
  constexpr std::int64_t kStep = 4 / Target::kSize;
  constexpr std::int64_t kAhead = kRowBytesAhead / (64 * Target::kSize) / kStep;  // steps
  const std::int64_t steps = piece.depth / kStep;
  if (piece.ahead != nullptr) {
    FetchesLines lines{*piece.ahead};
    pack_whole_steps(p, target, 0, steps, lines, piece.sums, kVectors);
    *piece.ahead = lines.rows;
    return steps;
  }
  const std::int64_t fetching = steps > kAhead ? steps - kAhead : 0;
  FetchesRows rows{p.b + kAhead * kStep * p.stride_k};
  pack_whole_steps(p, target, 0, fetching, rows, piece.sums, kVectors);
  if (p.next == nullptr) {
    FetchesNothing nothing;
    pack_whole_steps(p, target, fetching, steps - fetching, nothing, piece.sums, kVectors);
  } else {
    const std::int64_t next = (fetching + kAhead) * kStep - piece.depth;
    rows.at = p.next + (next > 0 ? next : 0) * p.stride_k;
    pack_whole_steps(p, target, fetching, steps - fetching, rows, piece.sums, kVectors);
  }
  return steps;
}

template <class Target>
void pack_neighbours(const octavo::cpu::PackPiece& piece, const Target& target) {
  constexpr std::int64_t kSize = Target::kSize;
  constexpr std::int64_t kStep = 4 / kSize;
  const PieceBytes<Target> p(piece);
  const std::int64_t row_bytes = piece.columns * kSize;
  Vec::Ints sums[4] = {};
  const std::int64_t whole = piece.columns == 64 ? pack_whole_panel(piece, p, target) : 0;
  char* out = p.panel + whole * Target::kRows * p.row;
  for (std::int64_t k = whole * kStep; k < piece.depth; k += kStep, out += Target::kRows * p.row) {
    Vec::Ints x[4];
    for (std::int64_t i = 0; i < kStep; ++i) {
      const std::int64_t row = k + i;
      for (std::int64_t l = 0; l < kSize; ++l) {
        x[i * kSize + l] = Vec::zero_ints();
        if (row >= piece.depth || row_bytes <= l * 64) continue;
        if (piece.ahead != nullptr) piece.ahead->fetch<octavo::cpu::RowsAhead::kLineBytes>();
        x[i * kSize + l] = Vec::load_part(p.b + row * p.stride_k + l * 64, row_bytes - l * 64);
      }
    }
    interleave<kSize>(x);
    for (std::int64_t v = 0; v < 4; ++v) {
      if (v < p.vectors) target.put(out + v * 64, p.row, x[v]);
      if constexpr (Target::kSums) sums[v] = Vec::add(sums[v], step_sums(x[v]));
    }
  }
  for (std::int64_t v = 0; v < p.vectors && Target::kSums; ++v) {
    add_sums(piece.sums + v * 16, sums[v]);
  }
}

// Any strides: 64 bytes of each column are copied together, along the shorter stride.
template <class Target>
void pack_elements(const octavo::cpu::PackPiece& piece, const Target& target) {
  constexpr std::int64_t kSize = Target::kSize;
  constexpr std::int64_t kDepth = 64 / kSize;
  const PieceBytes<Target> p(piece);
  alignas(64) char staged[64][64];
  const bool along_k = std::abs(p.stride_k) <= std::abs(p.stride_n);
  const auto copy = [&](std::int64_t k, std::int64_t i, std::int64_t j) {
    std::memcpy(staged[j] + i * kSize, p.b + (k + i) * p.stride_k + j * p.stride_n, kSize);
  };
  octavo::cpu::PackPiece square = piece;
  square.b = staged;
  square.stride_k = 1;
  square.stride_n = kDepth;
  square.next = nullptr;
  for (std::int64_t k = 0; k < piece.depth; k += kDepth) {
    const std::int64_t depth = piece.depth - k < kDepth ? piece.depth - k : kDepth;
    if (along_k) {
      for (std::int64_t j = 0; j < piece.columns; ++j) {
        for (std::int64_t i = 0; i < depth; ++i) copy(k, i, j);
      }
    } else {
      for (std::int64_t i = 0; i < depth; ++i) {
        for (std::int64_t j = 0; j < piece.columns; ++j) copy(k, i, j);
      }
    }
    square.depth = depth;
    square.panel = p.panel + k * kSize / 4 * Target::kRows * p.row;
    pack_columns(square, target);
  }
}

template <class Target>
void pack_piece(const octavo::cpu::PackPiece& p, const Target& target) {
  if (p.depth == 0) return;
  if (p.stride_n == 1) return pack_neighbours(p, target);
  return p.stride_k == 1 ? pack_columns(p, target) : pack_elements(p, target);
}
