// SPDX-License-Identifier: Apache-2.0
#include "octavo/quantize.hpp"

#include "backends/backend.hpp"
#include "core/cells.hpp"
#include "core/error.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kName = "code_errors";

}  // namespace

Result<CodeErrors> try_code_errors(const TensorView& values, const Quantized& quantized,
                                   const ExecContext& context) {
  const TensorView codes = quantized.data, scales = quantized.scale;
  const bool fits = !quantized.azp.defined() && has_rows(values) && has_rows(codes) &&
                    scales.rank == 2 && values.shape[0] == codes.shape[0] &&
                    values.shape[1] == codes.shape[1] &&
                    scales.shape[0] == cells(codes.shape[0], quantized.grid.rows) &&
                    scales.shape[1] == cells(codes.shape[1], quantized.grid.cols);
  const bool coded = is_float8(codes.dtype) || is_integer8(codes.dtype);
  if (!fits || !coded || !is_wide(values.dtype) || scales.dtype != DType::float32) {
    return fail(Code::invalid_argument,
                "code_errors: quantized must be codes of the values, row by row, with float32 "
                "scales; got {} {} of {} {}",
                name(codes.dtype), shape_string(codes), name(values.dtype), shape_string(values));
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kName, values.device, nullptr));
  CodeErrors errors;
  OCTAVO_TRY(backend->passes.code_errors(
      {values, codes, scales, quantized.grid, qmax(codes.dtype), &errors}, context));
  return errors;
}

CodeErrors code_errors(const TensorView& values, const Quantized& quantized,
                       const ExecContext& context) {
  return at_edge(kName, [&] { return try_code_errors(values, quantized, context); });
}

}  // namespace octavo
