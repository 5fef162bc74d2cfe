// SPDX-License-Identifier: Apache-2.0
// Rows and their codes in one pass.
#include "ops/quantize/quantized_rows.hpp"

#include <algorithm>

#include "core/data/matrix.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/run.hpp"
#include "ops/scratch.hpp"

namespace octavo {

Result<Quantized> quantized_rows(const Site& site, QuantizeRowsProblem problem, const MatrixView& x,
                                 std::int64_t columns, const QuantizeOptions& options,
                                 const char* backend_name, const ExecContext& context) {
  const char* const operation = site.operation;
  if (options.non_finite == NonFinite::error) {
    return fail(Code::invalid_argument,
                "{}: non_finite must be propagate or ignore, as rows are quantised before the last "
                "is made; got error",
                operation);
  }
  const auto between =
      static_cast<TensorView>(matrix_view(x.data, x.dtype, x.shape[0], columns, x.device));
  OCTAVO_TRY_ASSIGN(Quantizing q, begin_quantize(site, between, options, true, context));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, x.device, backend_name));
  const auto pass = backend->passes.quantize_rows;
  if (pass == nullptr) {
    return fail(Code::unavailable, "{}: x.device must be the CPU; got {}", operation,
                device_string(x.device));
  }
  problem.quantize = q.problem;
  problem.quantize.x.data = nullptr;
  PinnedExecutor executor(executor_of(context));
  ExecContext pinned = context;
  pinned.executor = &executor;
  Arena counter(nullptr);
  OCTAVO_TRY(pass(problem, counter, pinned));
  // An arena without memory only counts; scales of empty rows are written, too.
  const std::size_t bytes = std::max<std::size_t>(counter.used(), 1);
  OCTAVO_TRY_ASSIGN(Scratch scratch, find_scratch(operation, bytes, x.device, context));
  Arena arena(scratch.data);
  const Status status = pass(problem, arena, pinned);
  keep_scratch(scratch);
  OCTAVO_TRY(status);
  return std::move(q.result);
}

}  // namespace octavo
