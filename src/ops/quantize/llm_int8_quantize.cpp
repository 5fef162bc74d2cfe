// SPDX-License-Identifier: Apache-2.0
// LLM.int8(): quantisers by row and by column.
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/llm_int8.hpp"
#include "ops/product/lower.hpp"
#include "ops/quantize/llm_int8.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

// A call of a backend's quantiser, and what it is given to list columns in.
struct VectorwiseRun {
  VectorwiseProblem q;
  Tensor flags, columns, count;
  Tensor fixed;  // a list of the host's for a call on a device

  Status run(const char* operation, const ExecContext& context) {
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, q.x.device, nullptr));
    return backend->passes.vectorwise(q, context);
  }
  /// The columns, whose number the host waits for; undefined where none were asked for.
  Result<Tensor> found(const char* operation, const ExecContext& context) const {
    if (!columns.defined()) return Tensor();
    OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> found,
                      integers_of(operation, count, context.stream));
    return Tensor::adopt(std::make_shared<Tensor>(columns),
                         columns.view().slice(0, 0, found.front()));
  }
};

// By row, as the options say.
Status prepare(const char* operation, const TensorView& rows, const VectorwiseOptions& o,
               const TensorView& codes, const TensorView& absmax, const ExecContext& context,
               VectorwiseRun& run) {
  VectorwiseProblem& q = run.q;
  q.x = rows;
  q.threshold = o.threshold;
  q.whole_columns = o.whole_columns;
  q.by_element = o.by_element;
  q.codes = codes;
  q.absmax = absmax;
  if (o.threshold == 0.0F && !o.outlier_columns.defined()) return {};
  const std::array<std::int64_t, 1> extent{rows.shape[1]};
  const std::array<std::int64_t, 1> one{1};
  const Place place = context.place(rows.device);
  q.fixed_columns = o.outlier_columns;
  if (o.outlier_columns.defined() && !same_device(o.outlier_columns.device, rows.device)) {
    run.fixed = copy(o.outlier_columns, place);
    q.fixed_columns = run.fixed;
  }
  OCTAVO_TRY_ASSIGN(run.flags, Tensor::try_empty(operation, DType::uint8, extent, place));
  OCTAVO_TRY_ASSIGN(run.columns, Tensor::try_empty(operation, DType::int64, extent, place));
  OCTAVO_TRY_ASSIGN(run.count, Tensor::try_empty(operation, DType::int64, one, place));
  q.column_flags = run.flags.data_as<std::uint8_t>();
  q.columns = run.columns.data_as<std::int64_t>();
  q.column_count = run.count.data_as<std::int64_t>();
  return {};
}

// By column: the codes of these rows of the transposed matrix are 0.
VectorwiseProblem by_column(const VectorwiseRun& by_row, const TensorView& codes,
                            const TensorView& absmax) {
  VectorwiseProblem q;
  q.x = by_row.q.x.transposed();
  q.threshold = by_row.q.threshold;
  q.codes = codes.transposed();
  q.absmax = absmax;
  q.zero_rows = by_row.q.column_flags;
  return q;
}

Status check_options(const char* operation, const VectorwiseOptions& o, const TensorView& a) {
  if (!(o.threshold >= 0.0F)) {
    return fail(Code::invalid_argument, "{}: threshold must be at least 0; got {}", operation,
                o.threshold);
  }
  if (!o.outlier_columns.defined()) return {};
  return check_columns(operation, "outlier_columns", o.outlier_columns, last_extent(a), "a");
}

// Codes in the shape of the input, and the matrix they are.
struct CodesOut {
  Tensor tensor;
  TensorView matrix;
};
Result<CodesOut> codes_like(const char* operation, const TensorView& a, std::int64_t rows,
                            const ExecContext& context) {
  CodesOut codes;
  OCTAVO_TRY_ASSIGN(codes.tensor,
                    Tensor::try_empty(operation, DType::int8, a.dims(), context.place(a.device)));
  codes.matrix = codes.tensor.view();
  codes.matrix.rank = 2;
  codes.matrix.shape = {rows, last_extent(a)};
  codes.matrix.strides = {last_extent(a), 1};
  return codes;
}

constexpr const char* kVectorwise = "int8_vectorwise_quant";

Result<VectorwiseQuant> run_vectorwise(const TensorView& a, const VectorwiseOptions& o,
                                       CodeErrors* errors, const ExecContext& context) {
  OCTAVO_TRY(check_activations(kVectorwise, a));
  OCTAVO_TRY(check_options(kVectorwise, o, a));
  if (errors != nullptr && !(on_host(a) && has_rows(a))) {
    return fail(Code::invalid_argument,
                "int8_vectorwise_quant: a must be a matrix in the host's memory, row by row, for "
                "its errors; got {} {}",
                name(a.dtype), shape_string(a));
  }
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kVectorwise, a, context));
  VectorwiseQuant q;
  OCTAVO_TRY_ASSIGN(const CodesOut codes, codes_like(kVectorwise, a, rows.view.shape[0], context));
  q.codes = codes.tensor;
  OCTAVO_TRY_ASSIGN(q.row_absmax,
                    Tensor::try_empty(kVectorwise, DType::float32, rows.view.dims().subspan(0, 1),
                                      context.place(a.device)));
  VectorwiseRun run;
  OCTAVO_TRY(
      prepare(kVectorwise, rows.view, o, codes.matrix, as_column(q.row_absmax), context, run));
  run.q.errors = errors;
  OCTAVO_TRY(run.run(kVectorwise, context));
  OCTAVO_TRY_ASSIGN(q.outlier_cols, run.found(kVectorwise, context));
  return q;
}

}  // namespace

VectorwiseQuant int8_vectorwise_quant(const TensorView& a, const VectorwiseOptions& o,
                                      const ExecContext& context) {
  return at_edge(kVectorwise, [&] { return run_vectorwise(a, o, nullptr, context); });
}

VectorwiseQuant int8_vectorwise_quant(const TensorView& a, CodeErrors& errors,
                                      const ExecContext& context) {
  return at_edge(kVectorwise, [&] { return run_vectorwise(a, {}, &errors, context); });
}

DoubleQuant int8_double_quant(const TensorView& a, const VectorwiseOptions& o,
                              const ExecContext& context) {
  constexpr const char* kName = "int8_double_quant";
  return at_edge(kName, [&]() -> Result<DoubleQuant> {
    OCTAVO_TRY(check_activations(kName, a));
    OCTAVO_TRY(check_options(kName, o, a));
    OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kName, a, context));
    DoubleQuant q;
    OCTAVO_TRY_ASSIGN(const CodesOut by_row, codes_like(kName, a, rows.view.shape[0], context));
    OCTAVO_TRY_ASSIGN(const CodesOut by_col, codes_like(kName, a, rows.view.shape[0], context));
    q.row_codes = by_row.tensor;
    q.col_codes = by_col.tensor;
    const std::span<const std::int64_t> dims = rows.view.dims();
    const Place place = context.place(a.device);
    OCTAVO_TRY_ASSIGN(q.row_absmax,
                      Tensor::try_empty(kName, DType::float32, dims.subspan(0, 1), place));
    OCTAVO_TRY_ASSIGN(q.col_absmax,
                      Tensor::try_empty(kName, DType::float32, dims.subspan(1, 1), place));
    VectorwiseRun run;
    OCTAVO_TRY(prepare(kName, rows.view, o, by_row.matrix, as_column(q.row_absmax), context, run));
    OCTAVO_TRY(run.run(kName, context));
    OCTAVO_TRY_ASSIGN(q.outlier_cols, run.found(kName, context));
    run.q = by_column(run, by_col.matrix, as_column(q.col_absmax));
    OCTAVO_TRY(run.run(kName, context));
    return q;
  });
}

}  // namespace octavo
