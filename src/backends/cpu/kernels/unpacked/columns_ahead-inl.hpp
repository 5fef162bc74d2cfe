// SPDX-License-Identifier: Apache-2.0
// Columns of a weight [N, K], fetched ahead of the squares that turn them.
//
// Needs: kSquareBytes, kSquareColumns
// Gives: FetchedColumns, NothingFetched

constexpr std::int64_t kColumnAhead = 2048;  // bytes of a column, ahead of what is read

// What is fetched of columns side by side while their squares are read. Into the second level: a
// line of each column in turn, some way ahead of what is read. Into the first: of the next piece of
// all columns one column after the other, which memory gives faster, and then those of the columns
// behind them; strips, in any case: they are read eight columns at a time, 256 bytes of each.
//
//   [piece 0 | piece 1 | ..]        while squares of a piece are read, as many lines of the next
//   [piece 0 | piece 1 | ..]        one are fetched
//    ..
template <class Source, int squares>
class FetchedColumns {
 public:
  OCTAVO_INLINE FetchedColumns(const char* b, std::int64_t ldb, std::int64_t depth,
                               bool first_level)
      : b_(b), ldb_(ldb), end_(b + depth), first_level_(kStrips || first_level) {
    const std::int64_t lines = depth / kSquareBytes;
    const std::int64_t pieces = (lines + kPieceLines - 1) / kPieceLines;
    piece_ = (pieces < 2 ? lines : (lines + pieces - 1) / pieces) * kSquareBytes;
    next_piece();
  }

  std::int64_t left(const char* at) const { return end_ - at; }  // bytes of a column

  // Squares are next behind whose beginning columns go on for `left` bytes; beside them line() is
  // called kLines times, or lines() once: lines on their way, asked for all at once, hold up what
  // is read.
  OCTAVO_INLINE void begin(std::int64_t left) {
    if (octavo::cpu::kAsksForFirstLevel && first_level_) return;
    next_ = end_ - left + kColumnAhead;
    if (left <= kColumnAhead) next_ += kLines * ldb_ - (end_ - b_);
  }
  OCTAVO_INLINE void line() {
    if (octavo::cpu::kAsksForFirstLevel && first_level_) {
      __builtin_prefetch(next_);
      next_ += kSquareBytes;
      if (next_ == stop_) next_column();
    } else {
      __builtin_prefetch(next_, 0, 2);
      next_ += ldb_;
    }
  }
  OCTAVO_INLINE void lines() {
    for (std::int64_t i = 0; i < kLines; ++i) line();
  }

 private:
  static constexpr bool kStrips = requires {
    typename Source::Transposed::template Strip<squares>;
  };
  static constexpr std::int64_t kLines = squares * kSquareColumns;
  static constexpr std::int64_t kPieceLines = 64;

  OCTAVO_INLINE void next_column() {
    if (--columns_ == 0) return next_piece();
    next_ += ldb_ - piece_;
    stop_ += ldb_;
  }
  OCTAVO_INLINE void next_piece() {
    offset_ += piece_;
    next_ = b_ + (offset_ + kSquareBytes <= end_ - b_ ? offset_ : kLines * ldb_);
    stop_ = next_ + piece_;
    columns_ = kLines;
  }

  const char* b_;
  std::int64_t ldb_;
  const char* end_;     // of the first column
  std::int64_t piece_;  // bytes of a column
  std::int64_t offset_ = 0;
  const char* next_;               // what is fetched next
  const char* stop_;               // the end of this column's piece, and of those of
  std::int64_t columns_ = kLines;  // columns with it
  bool first_level_;
};

struct NothingFetched {
  static void line() {}
  static void lines() {}
};
