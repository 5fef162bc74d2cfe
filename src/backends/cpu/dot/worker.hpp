// SPDX-License-Identifier: Apache-2.0
// One thread's part of a product: rows of panels, through the tiles, to the output.
#pragma once

#include <array>
#include <cstdint>

#include "backends/arena.hpp"
#include "backends/cpu/dot/member.hpp"
#include "backends/cpu/dot/panels.hpp"
#include "backends/cpu/dot/tuning.hpp"
#include "backends/cpu/dot/weight_ahead.hpp"

namespace octavo::cpu {

/// What a thread computes in.
struct DotScratch {
  void* sums;     ///< [strip][block_rows][64] int32 or float
  float* total;   ///< the same: sums under K-varying scales
  float* chunks;  ///< the same: totals of several chunks of K
  float* floats;  ///< the same: integers that 32 bits have no room for
  OutlierScratch outliers;
  void* panel;  ///< [strip]: one chunk of a panel, where it is packed on the fly; what is gathered
  float* wide;  ///< [4][kWideDepth][16]: what is packed by rows
  float* line;  ///< a row or column before it
  std::int32_t*
      panel_sums;         ///< [strip][64]: int8 columns, where they are not behind a packed weight
  float* segment_scales;  ///< [strip][segments][64]
  std::int32_t* segment_sums;  ///< [segments][64]: int8 columns of every segment
  std::uint8_t* ones;          ///< a row of as many ones as a chunk is deep
};
DotScratch take_scratch(const DotMember& member, Arena& arena) noexcept;

/// How a number of rows meets a panel of some vectors: tiles of nearly the same height, in whole
/// registers of rows (DotKernels::register_rows) but for the last one. Where the panel is taken in
/// halves, in tiles of more rows, it is read less often. The first calls prefetch the chunk that is
/// read next, each an equal part of it.
struct Tiling {
  const DotKernels* kernels = nullptr;
  std::int64_t rows = -1, vectors = 0;
  std::int64_t width = 0;   // vectors at a time
  std::int64_t tiles = 0;   // for each width
  std::int64_t calls = 0;   // of both
  std::int64_t height = 0;  // of a tile; the first `taller` ones have `unit` rows more
  std::int64_t taller = 0, unit = 1;
  std::int64_t fetching_calls = 0, fetched_bytes = 0;  // the second in each step
  // Of `height` rows, of a taller tile and of the last one.
  std::array<DotKernel, 3> unpacked{}, fetching{};

  std::size_t kernel_of(std::int64_t tile) const noexcept {
    if (tile + 1 == tiles) return 2;
    return tile < taller ? 1 : 0;
  }
};

class DotWorker {
 public:
  /// `streamed`: as Finisher has it.
  DotWorker(const DotMember& member, const MatmulOptions& options, const DotScratch& scratch,
            bool streamed) noexcept;

  /// Rows [r0, r1) of a panel. `next` is the panel that this thread reads after it, -1: none.
  void run(std::int64_t panel, std::int64_t r0, std::int64_t r1, std::int64_t next) noexcept;
  /// The same of `count` panels of a weight that is read in place, a member's strip at most.
  /// `next` is what stream_of() says of the panel, perhaps another member's, that follows.
  void run_unpacked(std::int64_t first, std::int64_t count, std::int64_t r0, std::int64_t r1,
                    const char* next) noexcept;
  /// A panel of an unpacked weight, if its columns are one stream, which the second-level cache
  /// holds beside so many rows and so can be fetched while another panel is multiplied; else null.
  static const char* stream_of(const DotMember& member, std::int64_t panel,
                               std::int64_t rows) noexcept;
  /// The same where a member's strip has several panels, of a weight that is packed on the fly, or
  /// that share rows of A.
  void run_strip(std::int64_t first, std::int64_t count, std::int64_t r0, std::int64_t r1) noexcept;

 private:
  // A stretch of K inside a chunk: segments of one length, the last one perhaps shorter, or a part
  // of one.
  struct Piece {
    std::int64_t k0, k1;
    std::int64_t group;    // the length; 0: the sums are not complete
    std::int64_t segment;  // the first one
    bool add;              // its sums go on
    bool ends_chunk;       // the total is that of a chunk
  };
  struct Chunk {
    std::int64_t step, end;
    const char* b;
    const char* next;         // one stream that is read next; null: nothing to prefetch
    std::int64_t next_bytes;  // of it
    const void* next_weight;  // what is packed next
    std::int64_t k0, k1;
    bool last;
  };

  bool direct() const noexcept { return kernels_ == d_.path.direct; }
  bool decodes() const noexcept;
  void begin_panel(std::int64_t panel) noexcept;
  Piece piece_at(std::int64_t k, const Chunk& chunk) const noexcept;
  std::int64_t chunk_end(std::int64_t step) const noexcept;
  void block(std::int64_t r0, std::int64_t r1, std::int64_t next) noexcept;
  void run_chunk(std::int64_t r0, std::int64_t r1, const Chunk& chunk) noexcept;
  DotTile of_all_calls() const noexcept;
  void run_tile(const Chunk& chunk, std::int64_t row, std::int64_t rows, std::int64_t tile,
                std::int64_t place, DotTile& of_calls) noexcept;
  void run_part(std::int64_t first, std::int64_t count, std::int64_t r0, std::int64_t r1,
                std::int64_t block, bool last_rows, Chunk& chunk) noexcept;
  void make_shared(Chunk& chunk, std::int64_t first, std::int64_t count, bool last_rows) noexcept;
  const char* pack_chunk(const Chunk& chunk) noexcept;
  void pack_strip(std::int64_t first, std::int64_t count, const Chunk& chunk) noexcept;
  RowsAhead rows_ahead(std::int64_t first, std::int64_t count, std::int64_t k) const noexcept;
  char* strip_panel(std::int64_t index) const noexcept;
  std::int32_t* strip_sums(std::int64_t index) const noexcept;
  bool decode_chunk(std::int64_t k0, std::int64_t k1) noexcept;
  void add_chunk(std::int64_t place, std::int64_t count) noexcept;
  void look_ahead(Chunk& chunk, std::int64_t panel, std::int64_t step, const char* stream) noexcept;
  const void* weight_at(std::int64_t k, std::int64_t column) const noexcept;
  void sum_segments(const Chunk& chunk) noexcept;
  void finish(std::int64_t r0, std::int64_t r1, std::int64_t place) noexcept;
  bool widen_sums(std::int64_t r0, std::int64_t r1, const std::int32_t* sums) noexcept;

  const DotMember& d_;
  const DotScratch& w_;
  Finisher finisher_;
  OutlierSums outliers_;
  const Panels packed_;
  const std::int64_t element_;  // bytes of A's rows
  const Float8Table& table_;
  const bool first_level_ = cache_tuning().first_level;
  const bool tall_;  // tiles may have more than two registers of rows
  Tiling tiling_;
  // The panel at hand.
  const DotKernels* kernels_ = nullptr;
  std::int64_t panel_ = 0, vectors_ = 0, column_ = 0, columns_ = 0;
  const std::int32_t* column_sums_ = nullptr;
  std::int64_t place_ = 0;           // of its sums, in a strip
  std::int64_t loaded_scales_ = -1;  // load_segment_scales'
  std::int64_t packed_panel_ = -1;   // whose only chunk w_.panel holds
  WeightAhead ahead_;                // what is packed after the chunk at hand
  std::int64_t fetched_panel_ = -1;  // that the tiles of another one fetched
};

}  // namespace octavo::cpu
