// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/dot/tuning.hpp"

#include <algorithm>
#include <array>

#include "backends/cpu/dot/panels.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"
#include "core/cpu_features.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kKilobyte = 1024, kMegabyte = 1024 * kKilobyte;
constexpr std::int64_t kSharingBlock = 192;  // rows
constexpr std::int64_t kManyRowsBlock = 1024;

// Found where the second level has 1 MB, and, of kernels that fetch A's rows (AMX), 2 MB.
constexpr CacheTuning kAnyCpu{
    .family = "any CPU",
    .first_level = false,
    .stream_ahead = 8 * kKilobyte,
    .packed_rows_ahead = 64,
    .flow_bytes = 512 * kKilobyte,
    .fetching_calls = 8,
    .prefetched_rows = 32,
    .scratch_gap = 16 * kKilobyte,
    .chunk_bytes = 256 * kKilobyte,
    .packed_bytes = 64 * kKilobyte,
    .few_rows = 24,
    .many_rows = 128,
    .block_rows = 512,
    .tall_depth = 512,
    .packed = {.panels = 8, .bytes = 256 * kKilobyte, .sums = 64 * kKilobyte, .block_rows = 512},
    .fetching = {.panels = 4, .bytes = 512 * kKilobyte, .sums = 64 * kKilobyte, .block_rows = 512},
    .many = {.panels = 4,
             .bytes = 1024 * kKilobyte,
             .sums = kManyRowsBlock * 4 * kPanelWidth,
             .block_rows = kManyRowsBlock},
    .part_bytes = 256 * kKilobyte,
    .strip_sums = 8 * kKilobyte,
    .rows_at_once = 4,
    .fewest_at_once = 1,
    .strip_scales = 32 * kKilobyte,
    .region_bytes = 16 * kMegabyte,
    .region_rows = 512,
    .cached_bytes = kMegabyte,
    .sharing_block = kSharingBlock,
    .sharing_alone = 256,
    .shared_bytes = kSharingBlock * 4 * kKilobyte,
    .sharing_sums = kSharingBlock * 16 * kPanelWidth,
    .sharing_panels = 4,
    .transposed_sums = 32 * kKilobyte,
    .many_transposed_sums = 128 * kKilobyte,
    .meeting_stride = 1024,
    .copied_panels = 4,
    .read_bound_rows = 8,
    .decoding_rows = 24,
    .free_rows = 12,
};

// Several rows of a strip are to fit the first level (rows_together), also of the widest strip,
// whose sums are those of one row of A.
constexpr CacheTuning kZen5 = [] {
  CacheTuning tuning = kAnyCpu;
  tuning.family = "AMD family 1Ah (Zen 5)";
  tuning.first_level = true;
  tuning.packed_rows_ahead = 32;
  tuning.fewest_at_once = 2;
  return tuning;
}();

struct TuningRow {
  const CacheTuning* tuning;
  bool (*is_this_cpu)() noexcept;
};

// The first one that is this CPU's.
constexpr std::array kRows{
    TuningRow{&kZen5, &fetches_first_level},
    TuningRow{&kAnyCpu, []() noexcept { return true; }},
};

// Members are transposed in one piece.
constexpr bool holds_transposed(const TuningRow& row) noexcept {
  return kMostUnpackedRows <= row.tuning->region_rows;
}
static_assert(std::all_of(kRows.begin(), kRows.end(), holds_transposed));

}  // namespace

const CacheTuning& cache_tuning() noexcept {
  static const CacheTuning& tuning =
      *std::find_if(kRows.begin(), kRows.end(), [](const TuningRow& row) {
         return row.is_this_cpu();
       })->tuning;
  return tuning;
}

}  // namespace octavo::cpu
