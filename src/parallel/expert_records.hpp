// SPDX-License-Identifier: Apache-2.0
// What a rank says of a token to one that has experts of it: a record,
//
//   codes [K] | scales | zero points | ids [slots], experts counted from that rank's first, -1:
//   none
//
// of one size for all tokens of a call, so that those of many ranks are the rows of a matrix.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/fused_experts.hpp"

namespace octavo {

/// Where the tokens of a call go. Where factors are on the input, every route has a record of its
/// own: it is a token of one slot.
struct Dispatch {
  std::int64_t slots = 0;          ///< of a record
  std::vector<std::int64_t> rows;  ///< of the codes, by record; those of a rank follow each other
  std::vector<std::int32_t> ids;   ///< [records][slots]
  std::vector<std::int64_t> records_to, routes_to;  ///< by rank
  /// [M][slots of the call]: a route's row among those that come back, which are in the order of
  /// records and of slots; -1: none.
  std::vector<std::int64_t> places;
};

/// Of routes to the experts of all ranks; those of rank r end at ends[r].
Dispatch dispatch_of(const ExpertCall& call, std::span<const std::int64_t> ends);

/// Tokens of a call as w13's rule has them, by token or, where factors are on the input, by route.
Result<Rows> coded_rows(const ExpertCall& call, const Backend& backend, Arena& arena,
                        const ExecContext& context);

/// The columns of a part of records; undefined: what all rows share, or nothing.
struct RecordPart {
  DType dtype = DType::undefined;
  std::int64_t columns = 0, offset = 0;
};

class RecordLayout {
 public:
  /// Rows as coded_rows has them, with or without memory.
  RecordLayout(const Rows& rows, std::int64_t slots);

  std::int64_t bytes() const noexcept { return bytes_; }
  /// Writes records, one after the other.
  Status write(const Rows& rows, const Dispatch& dispatch, char* records, const Backend& backend,
               const ExecContext& context) const;
  /// Records as rows of codes. Scales and zero points that all rows share are the static ones.
  Rows rows(char* records, std::int64_t count, const ActivationQuant* rule, Arena& arena) const;
  /// int32 [count, slots]
  TensorView ids(char* records, std::int64_t count) const;

 private:
  RecordPart part(DType dtype, std::int64_t columns);
  MatrixView view(const RecordPart& part, char* records, std::int64_t count) const;

  Rows outline_;
  RecordPart codes_, scales_, azp_, ids_;
  std::int64_t bytes_ = 0;
};

}  // namespace octavo
