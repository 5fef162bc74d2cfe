// SPDX-License-Identifier: Apache-2.0
// Section 6 where cells are large and few (one for a tensor, one for each channel): three kernels,
// two readings.
//
//     ranges   a CTA has a band of a cell row's rows and 256 columns; its warps take rows in turn,
//              a lane eight columns. Parts of 1, 8 or 32 columns go to parts[cell row][band][part]
//     scales   a team joins the parts of a cell
//     codes    a thread an octet, any grid: also what a static scale wants alone
#pragma once

#include "backends/cuda/kernels/passes/pass.hpp"
#include "backends/cuda/kernels/passes/quantize_rules.hpp"
#include "backends/cuda/kernels/passes/teams.hpp"

namespace octavo::cuda {

/// What parts of cells reach, in scratch memory.
struct RangeParts {
  Range* parts = nullptr;      ///< [cells down][bands][across]
  std::int64_t bands = 1;      ///< of a cell row
  std::int64_t band_rows = 1;  ///< of a band
  std::int64_t across = 1;
  std::int32_t width = 1;  ///< columns of a part: 1, 8 or 32, which a cell is whole numbers of
};

struct QuantizeRanges {
  struct Params {
    CellGrid grid;
    RangeParts to;
  };
  static constexpr std::uint32_t kThreads = 256, kWarps = kThreads / 32;
  static constexpr std::int64_t kColumns = 32 * kOctet;  // of a CTA, a thread each at the end
  static constexpr std::uint32_t kSharedBytes = kThreads * kWarps * sizeof(Range);
  static_assert(kColumns == kThreads);

  /// Pieces of work.
  static std::int64_t pieces(const CellGrid& g, const RangeParts& to) {
    return g.scales.shape[0] * to.bands * tiles(g);
  }

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const CellGrid& g = p.grid;
    const std::int64_t bands = g.scales.shape[0] * p.to.bands;
    each_piece(m, bands * tiles(g), [&](std::int64_t piece) {
      const std::int64_t band = piece % bands, tile = piece / bands * kColumns;
      const Range range = column(m, g, p.to, band, tile);
      store(m, g, p.to, band, tile + m.tid(), range);
      m.sync_named(1, kThreads);
    });
  }

 private:
  OCTAVO_HOST_DEVICE static std::int64_t tiles(const CellGrid& g) {
    return (g.x.shape[1] + (kColumns - 1)) / kColumns;
  }
  // What the thread's own column of a tile reaches in a band.
  template <class Machine>
  OCTAVO_DEVICE static Range column(Machine& m, const CellGrid& g, const RangeParts& to,
                                    std::int64_t band, std::int64_t tile) {
    const std::int64_t begin = band / to.bands * g.height, rows = g.x.shape[0];
    const std::int64_t end = rows - begin < g.height ? rows : begin + g.height;
    const std::int64_t first = begin + band % to.bands * to.band_rows;
    const std::int64_t last = end - first < to.band_rows ? end : first + to.band_rows;
    const std::int64_t c = tile + std::int64_t{m.lane()} * kOctet;
    Range ranges[kOctet];
    for (std::int64_t r = first + m.warp(); r < last && c < g.x.shape[1]; r += kWarps) {
      float x[kOctet];
      load_octet(m, g.x, g.input_words, r, c, g.x.shape[1] - c, x);
      if (to.width > 1) {  // whose columns are joined anyway
        ranges[0].add(x, g.x.shape[1] - c, g.rule.azp);
        continue;
      }
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e)
        if (c + e < g.x.shape[1]) ranges[e].add(x[e]);
    }
    m.sync_warp();  // lanes without columns have not waited
    // Neighbouring lanes write neighbouring words: column e of lane l is at e * 32 + l.
    const std::uint32_t base = m.shared_base();
    OCTAVO_UNROLL
    for (std::uint32_t e = 0; e < kOctet; ++e)
      m.store_shared(base + ((m.warp() * kOctet + e) * 32 + m.lane()) * 16, ranges[e]);
    m.sync_named(1, kThreads);
    const std::uint32_t own = m.tid() % kOctet * 32 + m.tid() / kOctet;
    Range range;
    for (std::uint32_t w = 0; w < kWarps; ++w)
      range.join(m.template load_shared<Range>(base + (w * kThreads + own) * 16));
    return range;
  }
  template <class Machine>
  OCTAVO_DEVICE static void store(Machine& m, const CellGrid& g, const RangeParts& to,
                                  std::int64_t band, std::int64_t c, Range range) {
    for (std::int32_t step = 1; step < to.width; step *= 2) {
      range.join(range.moved(
          [&](auto word) { return m.shuffle(word, m.lane() ^ static_cast<std::uint32_t>(step)); }));
    }
    if (c >= g.x.shape[1] || c % to.width != 0) return;
    m.store_global(to.parts + band * to.across + c / to.width, range);
  }
};

struct QuantizeScales {
  struct Params {
    CellGrid grid;
    RangeParts from;
    std::uint32_t team = 1;  ///< threads
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = team_bytes(kThreads);

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const CellGrid& g = p.grid;
    const std::uint32_t teams = kThreads / p.team, rank = m.tid() % p.team;
    const std::int64_t across = g.scales.shape[1], cells = g.scales.shape[0] * across;
    std::uint32_t turn = 0;
    each_piece(m, (cells + teams - 1) / teams, [&](std::int64_t piece) {
      const std::int64_t own = piece * teams + m.tid() / p.team;
      const std::int64_t cell = own < cells ? own : 0;
      const std::int64_t i = quotient_of(cell, across), j = cell - i * across;
      const std::int64_t first = j * g.width / p.from.width;
      const std::int64_t rest = p.from.across - first, wide = g.width / p.from.width;
      const std::int64_t width = across == 1 || rest < wide ? rest : wide;
      const Range* parts = p.from.parts + i * p.from.bands * p.from.across + first;
      Range range;
      for (std::int64_t t = rank; t < p.from.bands * width; t += p.team) {
        const std::int64_t band = quotient_of(t, width);
        range.join(m.load_global(parts + band * p.from.across + (t - band * width)));
      }
      join_team<kThreads>(m, p.team, turn, range);
      if (own < cells) settle(m, g, i, j, range, rank == 0);
    });
  }
};

struct QuantizeCodes {
  struct Params {
    CellGrid grid;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const CellGrid& g = p.grid;
    const std::int64_t per_row = octets_of(g.x.shape[1]);
    // Does an octet lie in one cell?
    const bool one = g.scales.shape[1] == 1 || g.width % kOctet == 0;
    each_element(m, kThreads, g.x.shape[0] * per_row, [&](std::int64_t t) {
      const std::int64_t r = quotient_of(t, per_row), c = (t - r * per_row) * kOctet;
      const std::int64_t i = quotient_of(r, g.height), count = g.x.shape[1] - c;
      float x[kOctet];
      load_octet(m, g.x, g.input_words, r, c, count, x);
      const auto cell = [&](std::int64_t j) {
        CellScale scale{read_float(m, g.scales, i, j), 0};
        if (g.azp.dtype != DType::undefined)
          scale.azp = static_cast<std::int32_t>(read_int(m, g.azp, i, j));
        return scale;
      };
      if (one) {
        Range range;
        range.add(x, count, false);
        const Divisor by = divisor_of(cell(quotient_of(c, g.width)), range.all);
        return store_octet(m, g.codes, g.code_words, r, c, count, codes_of(g, x, by));
      }
      float quotient[kOctet];
      std::int32_t azp[kOctet];
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e) {
        const CellScale own = cell(e < count ? quotient_of(c + e, g.width) : 0);
        quotient[e] = code_quotient(x[e], own.scale);
        azp[e] = own.azp;
      }
      store_octet(m, g.codes, g.code_words, r, c, count, encode_octet(g, x, quotient, azp, false));
    });
  }
};

}  // namespace octavo::cuda
