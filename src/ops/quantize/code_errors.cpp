// SPDX-License-Identifier: Apache-2.0
#include "octavo/quantize.hpp"

#include "backends/backend.hpp"
#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kCodeErrors = "code_errors";
constexpr ArgNames kNames{.a = "values", .b = "quantized.data", .scale_b = "quantized.scale"};
constexpr Site kSite{kCodeErrors, &kNames};

// A dimension of a matrix, cut behind the cell that it begins in: neither part begins inside one.
struct Parts {
  std::int64_t border;  // of elements
  std::int64_t cells;   // before it
};
Parts parts_of(std::int64_t extent, std::int64_t origin, std::int64_t cell) noexcept {
  if (origin == 0 || extent <= cell - origin) return {extent, cells(origin + extent, cell)};
  return {cell - origin, 1};
}

}  // namespace

Result<CodeErrors> try_code_errors(const TensorView& values, const Quantized& quantized,
                                   const ExecContext& context) {
  const TensorView codes = quantized.data, scales = quantized.scale;
  OCTAVO_TRY(check_tensor(kSite, Arg::a, values));
  OCTAVO_TRY(check_tensor(kSite, Arg::b, codes));
  OCTAVO_TRY(check_tensor(kSite, Arg::scale_b, scales));
  const auto [grid_rows, grid_cols] = quantized.grid;
  const std::int64_t row0 = quantized.row0, col0 = quantized.col0;
  const bool fits = !quantized.azp.defined() && has_rows(values) && has_rows(codes) &&
                    scales.rank == 2 && values.shape[0] == codes.shape[0] &&
                    values.shape[1] == codes.shape[1] && in_first_cell(row0, grid_rows) &&
                    in_first_cell(col0, grid_cols) &&
                    scales.shape[0] == cells(row0 + codes.shape[0], grid_rows) &&
                    scales.shape[1] == cells(col0 + codes.shape[1], grid_cols);
  const bool coded = is_float8(codes.dtype) || is_integer8(codes.dtype);
  if (!fits || !coded || !is_wide(values.dtype) || scales.dtype != DType::float32) {
    return fail(Code::invalid_argument,
                "code_errors: quantized must be codes of the values, row by row, with float32 "
                "scales; got {} {} of {} {}",
                name(codes.dtype), shape_string(codes), name(values.dtype), shape_string(values));
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kCodeErrors, values.device, nullptr));
  CodeErrors errors;
  const Parts down = parts_of(values.shape[0], row0, grid_rows);
  const Parts across = parts_of(values.shape[1], col0, grid_cols);
  for (const bool below : {false, true}) {
    for (const bool right : {false, true}) {
      const auto part = [&](const TensorView& v, std::int64_t row, std::int64_t col) {
        return v.slice(0, below ? row : 0, below ? v.shape[0] : row)
            .slice(1, right ? col : 0, right ? v.shape[1] : col);
      };
      const TensorView of_part = part(values, down.border, across.border);
      if (of_part.numel() == 0) continue;
      OCTAVO_TRY(backend->passes.code_errors(
          {of_part, part(codes, down.border, across.border), part(scales, down.cells, across.cells),
           quantized.grid, qmax(codes.dtype), &errors},
          context));
    }
  }
  return errors;
}

CodeErrors code_errors(const TensorView& values, const Quantized& quantized,
                       const ExecContext& context) {
  return at_edge(kCodeErrors, [&] { return try_code_errors(values, quantized, context); });
}

}  // namespace octavo
