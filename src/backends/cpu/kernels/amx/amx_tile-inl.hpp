// SPDX-License-Identifier: Apache-2.0
// Tiles of AMX: a register has 16 rows of 64 bytes, and an instruction adds to one of sums
//
//   c[r][j] += sum over the 64 bytes of a's row r and the 16 steps of b's column j     16 x 16 sums
//
// where b is 16 steps of 16 columns of a panel. All eight registers:
//
//   33 to 48 rows    b7  b7      17 to 32 rows    b6  b7      up to 16 rows    b5  b6  b7  b5
//              a6    c0  c1                 a4    c0  c1                 a4    c0  c1  c2  c3
//              a6    c2  c3                 a5    c2  c3
//              a6    c4  c5
//
// A panel of 64 columns takes two turns of the former ones, each over all of K, or one of the
// last. Three registers of A's rows are of one height, since one register takes them in turn: where
// a third of the rows is no number of rows they overlap, and the sums of a row that two of them
// have are the same.
// What is not 64 bytes deep is copied first, zeros behind it; so are rows whose bytes are flipped,
// and panels of codes, which become what the instruction takes on their way.
//
// Registers are shaped for the rows at hand. A thread keeps them shaped from one tile to the next;
// whoever runs tiles calls `leave_tiles` at the end, since other code would be slowed down by them.
//
// `Registers` is what the instructions do:
//   Registers::configure(const Shapes*)   release()   zero<t>()
//   Registers::load<t>(from, stride)      store<t>(to, stride)
// A `Kind` is an instruction and a form of B:
//   Kind::kExact                  sums are int32, else float32
//   Kind::kSize                   bytes of an element of A
//   Kind::add<c, a, b>()          the instruction, of these registers
//   Kind::kForm                   of B
//   Kind::kInPlace                a panel is what the instruction takes; else
//   Kind(tile).widen(b, ldb, steps, vectors, out)
//                                 steps of the panel as steps of 4 bytes of A each, kRowSums * 4
//                                 bytes apart; where the last of these goes on behind them, zeros
//
// Needs: Registers, shaped_for, Vec
// Gives: add_scaled, Ahead, begin_sums, end_sums, fetch_register, find_amx_tile, kMostRows,
//        kRegisterBytes, kRegisterRows, kRegisterSteps, kStagedBytes, kStagedStep, leave_tiles,
//        Operands, Product, shape_tiles, Shapes

constexpr std::int64_t kRegisterRows = 16, kRegisterBytes = 64;
constexpr std::int64_t kRegisterSteps = kRegisterBytes / octavo::cpu::kStepBytes;
constexpr std::int64_t kSquareRows = 2 * kRegisterRows, kMostRows = 3 * kRegisterRows;
constexpr std::int64_t kStagedBytes = 256;  // of a row of A
constexpr std::int64_t kStagedStep = octavo::cpu::kRowSums * octavo::cpu::kStepBytes;

/// The operand of ldtilecfg.
struct alignas(64) Shapes {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes{};
  std::array<std::uint8_t, 16> rows{};
};
static_assert(sizeof(Shapes) == 64);

inline void set_shape(Shapes& shapes, std::size_t tile, std::int64_t rows, std::int64_t bytes) {
  shapes.rows[tile] = static_cast<std::uint8_t>(rows);
  shapes.row_bytes[tile] = static_cast<std::uint16_t>(rows == 0 ? 0 : bytes);
}

/// Three registers of rows, as high as each other.
struct Thirds {
  explicit Thirds(std::int64_t rows)
      : height((rows + 2) / 3), middle((rows - height + 1) / 2), last(rows - height) {}
  std::int64_t height;
  std::int64_t middle, last;  // the first row of the second and the third
};

// Numbers of rows that fill registers share one shape: tiles of 48, 32 and 16 follow each other,
// and shaping takes as long as fifteen products.
inline void shape_tiles(std::int64_t number) {
  const std::int64_t rows = number % kRegisterRows == 0 ? kMostRows : number;
  if (shaped_for == rows) return;
  Shapes shapes;
  const auto set = [&](std::size_t tile, std::int64_t count) {
    set_shape(shapes, tile, count, kRegisterBytes);
  };
  if (rows > kSquareRows) {
    for (std::size_t tile = 0; tile < 7; ++tile) set(tile, Thirds(rows).height);
  } else {
    const std::int64_t first = std::min(rows, kRegisterRows);
    const std::int64_t second = rows > kRegisterRows ? rows - kRegisterRows : 0;
    // Up to 16 rows, 2 and 3 are sums of the first ones, and 5 is of B.
    const std::int64_t lower = second == 0 ? first : second;
    for (const std::size_t tile : {0U, 1U, 4U}) set(tile, first);
    for (const std::size_t tile : {2U, 3U}) set(tile, lower);
    set(5, second == 0 ? kRegisterRows : second);
    set(6, kRegisterRows);
  }
  set(7, kRegisterRows);
  Registers::configure(&shapes);
  shaped_for = rows;
}

inline void leave_tiles() noexcept {
  if (shaped_for == 0) return;
  Registers::release();
  shaped_for = 0;
}

/// What a tile's loops share.
struct Product {
  const octavo::cpu::DotTile& t;
  std::int64_t rows, vectors;
  int lines;
};

/// Lines of what is read next, some for each register's depth, on their way into the second-level
/// cache: the first-level one has few buffers for such lines, and loads of registers wait for them.
/// Those of the panel at hand, which up to 16 rows read once, go there (go_near), a few before each
/// product: registers would wait longer for the second level.
struct Ahead {
  const char* at;
  std::int64_t lines;
  bool streams = false;  // all with the first turn; else with both, which fetch half as much
  void go() {
    for (std::int64_t line = 0; line < lines; ++line, at += 64) __builtin_prefetch(at, 0, 2);
  }
  void go_near(std::int64_t count) {
    for (; count > 0; --count, at += 64) __builtin_prefetch(at);
  }
};

/// A's rows and B's steps, from some byte of A on. What was staged is in the first-level cache.
struct Operands {
  const char* a;
  std::int64_t lda;
  const char* b;
  std::int64_t ldb;
  bool a_staged = false, b_staged = false;
};

// Lines of the registers that are loaded a turn later, from the second-level cache into the first;
// two turns where a panel is on its way from memory. Loads of registers keep no more than a few
// lines on their way, fewer still where another thread shares the core.
inline std::int64_t turns_ahead(const Ahead& next) { return next.streams ? 2 : 1; }
template <std::int64_t first, std::int64_t end>
OCTAVO_INLINE void fetch_lines(const char* at, std::int64_t stride) {
  OCTAVO_FLAT_LOOP
  for (std::int64_t r = first; r < end; ++r) __builtin_prefetch(at + r * stride);
}
OCTAVO_INLINE void fetch_register(const char* at, std::int64_t stride) {
  OCTAVO_FLAT_LOOP
  for (std::int64_t r = 0; r < kRegisterRows; r += 4, at += 4 * stride) {
    __builtin_prefetch(at);
    __builtin_prefetch(at + stride);
    __builtin_prefetch(at + 2 * stride);
    __builtin_prefetch(at + 3 * stride);
  }
}
inline void fetch_rows(const char* at, std::int64_t stride, std::int64_t rows) {
  if (rows == kRegisterRows) return fetch_register(at, stride);
  for (; rows > 0; --rows, at += stride) __builtin_prefetch(at);
}

// Two rows of registers, one or two columns of them.
template <class Kind>
OCTAVO_KERNEL void tile_32x32(const Operands& o, std::int64_t count, std::int64_t rows, bool both,
                              Ahead& next) noexcept {
  Ahead ahead = next;  // in registers
  const char* a = o.a;
  const char* b = o.b;
  const std::int64_t lda = o.lda, ldb = o.ldb;
  const bool fetches_a = !o.a_staged, fetches_b = !o.b_staged;
  const std::int64_t turns = turns_ahead(next);
  for (; count > 0; --count, a += kRegisterBytes, b += kRegisterSteps * ldb) {
    const char* later_a = a + turns * kRegisterBytes;
    const char* later_b = b + turns * kRegisterSteps * ldb;
    Registers::template load<6>(b, ldb);
    Registers::template load<4>(a, lda);
    if (fetches_b) fetch_register(later_b, ldb);
    Kind::template add<0, 4, 6>();
    if (both) {
      Registers::template load<7>(b + kRegisterBytes, ldb);
      if (fetches_b) fetch_register(later_b + kRegisterBytes, ldb);
      Kind::template add<1, 4, 7>();
    }
    Registers::template load<5>(a + kRegisterRows * lda, lda);
    if (fetches_a) fetch_register(later_a, lda);
    Kind::template add<2, 5, 6>();
    if (fetches_a) fetch_rows(later_a + kRegisterRows * lda, lda, rows - kRegisterRows);
    if (both) Kind::template add<3, 5, 7>();
    ahead.go();
  }
  next = ahead;
}

// Three rows of registers, one or two columns of them: five registers are loaded from the
// second-level cache for six products, and two of them once more, from the first. B's lines are
// fetched a few before each product: a core that two threads share then multiplies as fast as with
// A's fetched, too, and one alone faster than with bursts of them.
template <class Kind>
OCTAVO_KERNEL void tile_48x32(const Operands& o, std::int64_t count, const Thirds& thirds,
                              bool both, Ahead& next) noexcept {
  constexpr int kFirst = 6, kSecond = 11;  // of 16 lines, thirds
  Ahead ahead = next;
  const char* a = o.a;
  const char* b = o.b;
  const std::int64_t lda = o.lda, ldb = o.ldb;
  const std::int64_t middle = thirds.middle * lda, last = thirds.last * lda;
  const bool fetches = !o.b_staged;
  const std::int64_t turns = turns_ahead(next);
  for (; count > 0; --count, a += kRegisterBytes, b += kRegisterSteps * ldb) {
    const char* later = b + turns * kRegisterSteps * ldb;
    const char* beside = later + kRegisterBytes;
    Registers::template load<6>(a, lda);
    Registers::template load<7>(b, ldb);
    if (fetches) fetch_lines<0, kFirst>(later, ldb);
    Kind::template add<0, 6, 7>();
    if (both) {
      Registers::template load<7>(b + kRegisterBytes, ldb);
      if (fetches) fetch_lines<0, kFirst>(beside, ldb);
      Kind::template add<1, 6, 7>();
    }
    Registers::template load<6>(a + middle, lda);
    if (fetches) fetch_lines<kFirst, kSecond>(later, ldb);
    if (both) {
      Kind::template add<3, 6, 7>();
      Registers::template load<7>(b, ldb);
      if (fetches) fetch_lines<kFirst, kSecond>(beside, ldb);
    }
    Kind::template add<2, 6, 7>();
    Registers::template load<6>(a + last, lda);
    if (fetches) fetch_lines<kSecond, kRegisterRows>(later, ldb);
    Kind::template add<4, 6, 7>();
    if (both) {
      Registers::template load<7>(b + kRegisterBytes, ldb);
      if (fetches) fetch_lines<kSecond, kRegisterRows>(beside, ldb);
      Kind::template add<5, 6, 7>();
    }
    ahead.go();
  }
  next = ahead;
}

// One row of registers, up to four columns of them.
template <class Kind>
OCTAVO_KERNEL void tile_16x64(const Operands& o, std::int64_t count, std::int64_t vectors,
                              Ahead& next) noexcept {
  Ahead ahead = next;
  const char* a = o.a;
  const char* b = o.b;
  const std::int64_t lda = o.lda, ldb = o.ldb;
  const bool near = next.streams;
  const std::int64_t share = near ? next.lines / vectors : 0;
  const std::int64_t rest = near ? next.lines % vectors : 0;
  for (; count > 0; --count, a += kRegisterBytes, b += kRegisterSteps * ldb) {
    Registers::template load<4>(a, lda);
    Registers::template load<5>(b, ldb);
    ahead.go_near(share);
    Kind::template add<0, 4, 5>();
    if (vectors > 1) {
      Registers::template load<6>(b + kRegisterBytes, ldb);
      ahead.go_near(share);
      Kind::template add<1, 4, 6>();
    }
    if (vectors > 2) {
      Registers::template load<7>(b + 2 * kRegisterBytes, ldb);
      ahead.go_near(share);
      Kind::template add<2, 4, 7>();
    }
    if (vectors > 3) {
      Registers::template load<5>(b + 3 * kRegisterBytes, ldb);
      ahead.go_near(share);
      Kind::template add<3, 4, 5>();
    }
    near ? ahead.go_near(rest) : ahead.go();
  }
  next = ahead;
}

// Rows `depth` bytes long, flipped, with zeros up to whole registers behind them.
inline void stage_rows(const Operands& o, std::int64_t rows, std::int64_t depth, std::uint8_t flip,
                       char* staged) {
  const Vec::Ints flips = Vec::broadcast_byte(flip);
  for (std::int64_t r = 0; r < rows; ++r) {
    const char* from = o.a + r * o.lda;
    char* to = staged + r * kStagedBytes;
    for (std::int64_t k = 0; k < depth; k += kRegisterBytes) {
      if (depth - k < kRegisterBytes) {
        std::memset(to + k, flip, static_cast<std::size_t>(kRegisterBytes));  // flipped, zeros
        std::memcpy(to + k, from + k, static_cast<std::size_t>(depth - k));
        Vec::store(to + k, Vec::exclusive_or(Vec::load_ints(to + k), flips));
      } else {
        Vec::store(to + k, Vec::exclusive_or(Vec::load_unaligned_ints(from + k), flips));
      }
    }
  }
}

/// Bytes of A that a step of B meets.
template <class Kind>
constexpr std::int64_t kBytesOfStep = Kind::kForm.step* Kind::kSize;

// The steps of `depth` bytes of A, with zeros up to whole registers behind them.
template <class Kind>
void stage_steps(const Kind& kind, const Operands& o, std::int64_t depth, std::int64_t vectors,
                 char* staged) {
  const std::int64_t steps = (depth + octavo::cpu::kStepBytes - 1) / octavo::cpu::kStepBytes;
  if constexpr (Kind::kInPlace) {
    for (std::int64_t s = 0; s < steps; ++s) {
      for (std::int64_t v = 0; v < vectors; ++v) {
        Vec::store(staged + s * kStagedStep + v * kRegisterBytes,
                   Vec::load_ints(o.b + s * o.ldb + v * kRegisterBytes));
      }
    }
  } else {
    kind.widen(o.b, o.ldb, (depth + kBytesOfStep<Kind> - 1) / kBytesOfStep<Kind>, vectors, staged);
  }
  for (std::int64_t s = steps; s % kRegisterSteps != 0; ++s) {
    for (std::int64_t v = 0; v < vectors; ++v) {
      Vec::store(staged + s * kStagedStep + v * kRegisterBytes, Vec::zero_ints());
    }
  }
}

// Adds `depth` bytes of K to the sums of `vectors` columns of registers.
template <class Kind>
void add_depth(const Product& p, const Kind& kind, Operands o, std::int64_t vectors,
               std::int64_t depth, Ahead& ahead) {
  const auto add = [&](const Operands& from, std::int64_t bytes) {
    const std::int64_t count = (bytes + kRegisterBytes - 1) / kRegisterBytes;
    if (p.rows > kSquareRows) {
      tile_48x32<Kind>(from, count, Thirds(p.rows), vectors > 1, ahead);
    } else if (p.rows > kRegisterRows) {
      tile_32x32<Kind>(from, count, p.rows, vectors > 1, ahead);
    } else {
      tile_16x64<Kind>(from, count, vectors, ahead);
    }
  };
  const auto advance = [&](std::int64_t bytes) {
    o.a += bytes;
    o.b += bytes / kBytesOfStep<Kind> * o.ldb;
    depth -= bytes;
  };
  const bool flips = p.t.flip != 0;
  if (Kind::kInPlace && !flips) {
    const std::int64_t whole = depth / kRegisterBytes * kRegisterBytes;
    add(o, whole);
    advance(whole);
  }
  alignas(64) char rows[kMostRows * kStagedBytes];
  alignas(64) char columns[kStagedBytes / octavo::cpu::kStepBytes * kStagedStep];
  while (depth > 0) {
    const std::int64_t part = std::min(depth, kStagedBytes);
    const bool whole = part % kRegisterBytes == 0;
    Operands staged = o;
    if (flips || !whole) {
      stage_rows(o, p.rows, part, p.t.flip, rows);
      staged.a = rows;
      staged.lda = kStagedBytes;
      staged.a_staged = true;
    }
    if (!Kind::kInPlace || !whole) {
      stage_steps(kind, o, part, vectors, columns);
      staged.b = columns;
      staged.ldb = kStagedStep;
      staged.b_staged = true;
    }
    add(staged, part);
    advance(part);
  }
}

// sums -= shift * columns.
inline void take_away(const Product& p, const std::int32_t* column_sums, std::int32_t* c) {
  if (column_sums == nullptr || (p.t.shift_stride == 0 && *p.t.shift == 0)) return;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const Vec::Ints shift = Vec::broadcast(p.t.shift[r * p.t.shift_stride]);
    for (std::int64_t v = 0; v < p.vectors; ++v) {
      std::int32_t* sums = c + r * octavo::cpu::kRowSums + v * octavo::cpu::kVectorCols;
      const Vec::Ints columns =
          Vec::load_unaligned_ints(column_sums + v * octavo::cpu::kVectorCols);
      Vec::store(sums, Vec::subtract(Vec::load_ints(sums), Vec::multiply(columns, shift)));
    }
  }
}

// total += (sum * sa) * sb.
template <class Kind>
void add_scaled(const Product& p, const void* sums, const float* scale_a, const float* scale_b) {
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const Vec::Floats row = Vec::broadcast(scale_a[r * p.t.scale_a_stride]);
    for (std::int64_t v = 0; v < p.vectors; ++v) {
      const std::int64_t at = r * octavo::cpu::kRowSums + v * octavo::cpu::kVectorCols;
      const char* place = static_cast<const char*>(sums) + at * 4;
      Vec::Floats sum;
      if constexpr (Kind::kExact) {
        sum = Vec::to_floats(Vec::load_ints(place));
      } else {
        sum = Vec::load_floats(place);
      }
      const Vec::Floats scaled =
          Vec::multiply(Vec::multiply(sum, row),
                        Vec::load_unaligned_floats(scale_b + v * octavo::cpu::kVectorCols));
      Vec::store(p.t.total + at, Vec::add(Vec::load_floats(p.t.total + at), scaled));
    }
  }
}

constexpr std::int64_t kSumStride = octavo::cpu::kRowSums * 4;
constexpr std::int64_t kSumWidth = octavo::cpu::kVectorCols * 4;

// Calls visit<register>(place) for the registers of sums that `vectors` columns of them have, and
// the bytes from the first one's place to theirs.
template <class Visit>
OCTAVO_INLINE void for_each_sum(std::int64_t rows, std::int64_t vectors, const Visit& visit) {
  visit.template operator()<0>(0);
  if (vectors > 1) visit.template operator()<1>(kSumWidth);
  if (rows > kSquareRows) {
    const Thirds thirds(rows);
    const std::int64_t middle = thirds.middle * kSumStride, last = thirds.last * kSumStride;
    visit.template operator()<2>(middle);
    if (vectors > 1) visit.template operator()<3>(middle + kSumWidth);
    visit.template operator()<4>(last);
    if (vectors > 1) visit.template operator()<5>(last + kSumWidth);
    return;
  }
  const bool square = rows > kRegisterRows;
  const std::int64_t lower = square ? kRegisterRows * kSumStride : 2 * kSumWidth;
  if (square || vectors > 2) visit.template operator()<2>(lower);
  if (vectors > (square ? 1 : 3)) visit.template operator()<3>(lower + kSumWidth);
}

// Sums go on from those in memory; null: they begin.
inline void begin_sums(std::int64_t rows, std::int64_t vectors, const void* from) {
  for_each_sum(rows, vectors, [&]<int v>(std::int64_t place) OCTAVO_LAMBDA {
    if (from == nullptr) {
      Registers::template zero<v>();
    } else {
      Registers::template load<v>(static_cast<const char*>(from) + place, kSumStride);
    }
  });
}
inline void end_sums(std::int64_t rows, std::int64_t vectors, void* to) {
  for_each_sum(rows, vectors, [&]<int v>(std::int64_t place) OCTAVO_LAMBDA {
    Registers::template store<v>(static_cast<char*>(to) + place, kSumStride);
  });
}

// c = (c +) the product of `depth` bytes of K, all columns of the tile; `from` is what c held.
template <class Kind>
void products(const Product& p, const Kind& kind, const Operands& o, std::int64_t depth,
              const void* from, void* c, Ahead& ahead) {
  const std::int64_t width = p.rows > kRegisterRows ? 2 : octavo::cpu::kPanelVectors;
  for (std::int64_t v = 0; v < p.vectors; v += width) {
    const std::int64_t vectors = std::min(width, p.vectors - v);
    const auto* old = static_cast<const char*>(from);
    begin_sums(p.rows, vectors, old != nullptr ? old + v * kSumWidth : nullptr);
    Ahead none{nullptr, 0};
    add_depth(p, kind, {o.a, o.lda, o.b + v * Kind::kForm.vector_bytes, o.ldb}, vectors, depth,
              v > 0 && ahead.streams ? none : ahead);
    end_sums(p.rows, vectors, static_cast<char*>(c) + v * kSumWidth);
  }
}

// What the steps of all of K fetch, as whole lines side by side. Steps that fetch as many as they
// have are ahead of the panel that is being read: so is the first turn.
template <class Kind>
inline Ahead ahead_of(const Product& p) {
  if (p.lines == 0) return {nullptr, 0};
  const std::int64_t bytes = kRegisterBytes / kBytesOfStep<Kind> * p.t.ahead_step;
  const bool streams = p.t.ahead_step >= p.vectors * Kind::kForm.vector_bytes;
  const std::int64_t turns = !streams && p.rows > kRegisterRows && p.vectors > 2 ? 2 : 1;
  return {p.t.ahead, std::max<std::int64_t>(bytes / kRegisterBytes / turns, 1), streams};
}

template <class Kind>
OCTAVO_KERNEL void run(const Product& p) noexcept {
  const octavo::cpu::DotTile& t = p.t;
  const Kind kind(t);
  shape_tiles(p.rows);
  Operands o{static_cast<const char*>(t.a), t.lda, static_cast<const char*>(t.b), t.ldb};
  const void* from = t.add ? t.c : nullptr;
  Ahead ahead = ahead_of<Kind>(p);
  if (t.total == nullptr) {
    products(p, kind, o, t.depth, from, t.c, ahead);
    if constexpr (Kind::kExact) take_away(p, t.column_sums, static_cast<std::int32_t*>(t.c));
    return;
  }
  alignas(64) std::int32_t sums[kMostRows * octavo::cpu::kRowSums];  // or float32
  const float* scale_a = t.scale_a;
  const float* scale_b = t.scale_b;
  const std::int32_t* column_sums = t.column_sums;
  for (std::int64_t depth = t.depth; depth > 0;) {
    const std::int64_t part = std::min(depth, t.group);
    products(p, kind, o, part, from, sums, ahead);
    if constexpr (Kind::kExact) take_away(p, column_sums, sums);
    add_scaled<Kind>(p, sums, scale_a, scale_b);
    from = nullptr;
    depth -= part;
    o.a += part;
    o.b += part / kBytesOfStep<Kind> * o.ldb;
    scale_a += t.scale_a_group_stride;
    scale_b += octavo::cpu::kRowSums;
    if (column_sums != nullptr) column_sums += octavo::cpu::kRowSums;
  }
}

template <class Kind, int rows, int vectors, int lines>
void amx_tile(const octavo::cpu::DotTile& tile) noexcept {
  run<Kind>({tile, rows, vectors, lines});
}

template <class Kind, int vectors, int lines, std::size_t... row>
constexpr std::array<octavo::cpu::DotKernel, sizeof...(row)> amx_tiles(
    std::index_sequence<row...>) {
  return {&amx_tile<Kind, static_cast<int>(row) + 1, vectors, lines>...};
}
template <class Kind, int vectors, int lines>
constexpr auto kAmxTiles = amx_tiles<Kind, vectors, lines>(
    std::make_index_sequence<static_cast<std::size_t>(kMostRows)>());

// Whole panels and halves prefetch one line a step, or as many as a step has.
template <class Kind>
octavo::cpu::DotKernel find_amx_tile(std::int64_t rows, std::int64_t vectors,
                                     int ahead_lines) noexcept {
  constexpr int kLines = static_cast<int>(Kind::kForm.vector_bytes / 32);  // of half a panel
  if (rows < 1 || rows > kMostRows || vectors % Kind::kForm.grain != 0) return nullptr;
  const auto row = static_cast<std::size_t>(rows - 1);
  if (ahead_lines == 0) {
    constexpr std::array kUnpacked{&kAmxTiles<Kind, 1, 0>, &kAmxTiles<Kind, 2, 0>,
                                   &kAmxTiles<Kind, 3, 0>, &kAmxTiles<Kind, 4, 0>};
    return (*kUnpacked[static_cast<std::size_t>(vectors - 1)])[row];
  }
  if (vectors == 2 && ahead_lines == 1) return kAmxTiles<Kind, 2, 1>[row];
  if (vectors == 2 && ahead_lines == kLines) return kAmxTiles<Kind, 2, kLines>[row];
  if (vectors == 4 && ahead_lines == 1) return kAmxTiles<Kind, 4, 1>[row];
  if (vectors == 4 && ahead_lines == 2 * kLines) return kAmxTiles<Kind, 4, 2 * kLines>[row];
  return nullptr;
}
