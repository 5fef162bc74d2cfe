// SPDX-License-Identifier: Apache-2.0
// Rows of activations by their routes.
#include "layers/activations.hpp"

#include "core/data/cells.hpp"
#include "core/data/matrix.hpp"
#include "core/error.hpp"

namespace octavo {
namespace {

bool one_for_all_rows(const ScaleView& scale) noexcept {
  return scale.kind != ScaleKind::tensor || scale.rows == kWholeExtent;
}

}  // namespace

OperandView outline(const Rows& rows, std::int64_t count) noexcept {
  OperandView a;
  a.data = rows.data;
  a.data.data = nullptr;
  a.data.shape[0] = count;
  a.scale[0] = rows.scale;
  a.azp = rows.azp;
  if (a.azp.defined()) a.azp.shape[0] = count;
  return a;
}

void place(const Rows& rows, std::int64_t begin, OperandView& a) noexcept {
  const ScaleView& scale = rows.scale;
  a.data.data = rows.data.at(begin * rows.data.strides[0]);
  if (scale.kind == ScaleKind::tensor) {
    const bool own = scale.rows == 1;
    a.scale[0].data.data = own ? scale.data.at(begin * scale.data.strides[0]) : scale.data.data;
    if (!own && scale.rows != kWholeExtent) a.scale[0].row0 = begin;
  }
  if (rows.azp.defined()) a.azp.data = rows.azp.at(begin * rows.azp.strides[0]);
}

Result<Rows> gather(const Backend& backend, const Rows& tokens, const Routing& routing,
                    Arena& arena, const ExecContext& context) noexcept {
  const std::int64_t count = routing.rows();
  const auto pass = [&](const MatrixView& from, std::int64_t divisor, MatrixView& to) -> Status {
    to = take_matrix(arena, from.dtype, count, from.shape[1], from.device);
    if (arena.counting()) return {};
    return backend.passes.gather({from, routing.on_device.routes, divisor * routing.slots, to},
                                 context);
  };
  Rows r = tokens;
  OCTAVO_TRY(pass(tokens.data, 1, r.data));
  if (!one_for_all_rows(tokens.scale)) {
    MatrixView scales;
    OCTAVO_TRY(pass(values_of(tokens.scale, tokens.data.shape[0], tokens.data.shape[1]),
                    tokens.scale.rows, scales));
    r.scale.rows = 1;
    r.scale.data = scales;
  }
  if (tokens.azp.defined() && tokens.azp.strides[0] != 0) OCTAVO_TRY(pass(tokens.azp, 1, r.azp));
  return r;
}

Result<MatrixView> apply_factors(const Backend& backend, const MatrixView& rows,
                                 const Routing& routing, Arena& arena,
                                 const ExecContext& context) noexcept {
  const std::int64_t count = rows.shape[0];
  const MatrixView factors = take_matrix(arena, DType::float32, count, 1, rows.device);
  RescaleProblem p;
  p.source = rows;
  p.out = take_matrix(arena, rows.dtype, count, rows.shape[1], rows.device);
  if (arena.counting()) return p.out;
  const MatrixView of_routes =
      matrix_view(const_cast<float*>(routing.on_device.factors),  // NOLINT: only read
                  DType::float32, routing.tokens * routing.slots, 1, rows.device);
  OCTAVO_TRY(backend.passes.gather({of_routes, routing.on_device.routes, 1, factors}, context));
  p.scales[0] = {ScaleKind::tensor, 1.0F, factors, 1, kWholeExtent, 0, 0};
  OCTAVO_TRY(backend.passes.rescale(p, context));
  return p.out;
}

}  // namespace octavo
