// SPDX-License-Identifier: Apache-2.0
// What products by packed weights take of the caches, a row for each family of CPUs. Values are
// found by timing lines of bench/shapes; none changes a bit of a result. Distances inside a
// kernel's loop stand in its fragment, since they are part of its instructions.
#pragma once

#include <cstdint>

namespace octavo::cpu {

/// Panels that are packed side by side, as long as their sums fit beside what is packed.
struct PackedStrip {
  std::int64_t panels;      ///< at most
  std::int64_t bytes;       ///< of a chunk of all of them
  std::int64_t sums;        ///< of all of them, one for each row
  std::int64_t block_rows;  ///< that are multiplied by what is packed once
};

/// Bytes, but where a name or a comment says rows, panels or sums.
struct CacheTuning {
  const char* family;  ///< what `octavo info` says

  // What is fetched ahead.
  bool first_level;                ///< prefetches go into the first level (fetches_first_level)
  std::int64_t stream_ahead;       ///< in its own stream, of a panel that is read once
  std::int64_t packed_rows_ahead;  ///< rows of [K, N] between what is packed and what is fetched
  std::int64_t flow_bytes;         ///< of a panel that tiles fetch into the second level, and A's
                                   ///< rows that all panels meet there
  std::int64_t fetching_calls;     ///< calls of tiles that share what is read next, at most: memory
                                   ///< is to have work all the time
  std::int64_t prefetched_rows;    ///< rows that wait for what their epilogue reads, at most
  std::int64_t scratch_gap;  ///< between the scratch of two workers: a core's prefetchers run ahead
                             ///< of what it reads, and take lines that the other worker writes

  // A chunk of one panel, in the second level; half of it for few rows, whose own bytes then stay
  // in the first level from one half of the panel to the other.
  std::int64_t chunk_bytes;
  std::int64_t packed_bytes;  ///< the same, packed on the fly: what is packed next is fetched
                              ///< between the calls of tiles, which are few and must be short then
  std::int64_t few_rows;      ///< rows for which chunks are halves, at most
  std::int64_t many_rows;     ///< rows for which `packed_bytes` holds, at most
  std::int64_t block_rows;    ///< rows whose sums wait for the next chunk, at most
  std::int64_t tall_depth;    ///< along K, for which sums stay in registers, at least, in tiles of
                              ///< more rows than two registers have: fewer do not pay for the sums'
                              ///< way through memory

  // Panels side by side.
  PackedStrip packed;    ///< packed on the fly
  PackedStrip fetching;  ///< the same where A's rows are fetched (DotKernels::fetches_rows), whose
                         ///< tiles go through a chunk faster than through its sums
  PackedStrip many;      ///< the same beside more than kMostUnpackedRows
  std::int64_t part_bytes;  ///< of many rows of a chunk, which meet all panels of a strip before
                            ///< the next ones, in whole tiles
  std::int64_t strip_sums;  ///< sums in the first level of panels that are read side by side, of up
                            ///< to `rows_at_once` rows for each byte of the weight's elements: more
                            ///< would leave pieces of a row too short for memory
  std::int64_t rows_at_once;
  std::int64_t fewest_at_once;  ///< rows whose sums a strip has room for, at least
  std::int64_t strip_scales;    ///< scales along K of such panels, unless one panel has more

  // Rows of A.
  std::int64_t region_bytes;    ///< of a region of rows, converted at a time, which a cache holds
  std::int64_t region_rows;     ///< rows of a region, at least
  std::int64_t cached_bytes;    ///< of rows that stay in the second level beside panels
  std::int64_t sharing_block;   ///< rows of a block that panels share, one chunk after the other:
                                ///< panels are read once more for every block
  std::int64_t sharing_alone;   ///< up to so many rows are one block
  std::int64_t shared_bytes;    ///< of a chunk of rows that panels share, beside two panels' chunks
  std::int64_t sharing_sums;    ///< sums of the panels that share them
  std::int64_t sharing_panels;  ///< panels for which rows are shared, at least
  std::int64_t transposed_sums;  ///< sums of panels that transposed rows meet, of rows that stay
  std::int64_t many_transposed_sums;  ///< the same of more rows
  std::int64_t meeting_stride;  ///< rows that far apart share few sets of the first level: they
                                ///< are copied to where they do not,
  std::int64_t copied_panels;   ///< if tiles fetch them for so many panels, or a weight passes

  // Which kernels.
  std::int64_t read_bound_rows;  ///< rows that few_rows and few_pairs of a machine are for, at most
  std::int64_t decoding_rows;    ///< rows for which tiles decode fp8 that is packed on the fly
  std::int64_t free_rows;  ///< rows for whose products a panel is read in the time that it takes
                           ///< to come from memory, on one core
};

/// This CPU's row.
const CacheTuning& cache_tuning() noexcept;

}  // namespace octavo::cpu
