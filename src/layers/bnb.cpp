// SPDX-License-Identifier: Apache-2.0
// bitsandbytes' product with state.
#include "octavo/bnb.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "core/error.hpp"
#include "octavo/linear.hpp"

namespace octavo::bnb {
namespace {

constexpr std::array kFloatTypes{DType::float32, DType::bfloat16, DType::float16};

Status check_arguments(const char* operation, const TensorView& A, const TensorView& B,
                       const MatmulLtState& state) {
  const bool fresh = !state.quantized() || state.has_fp16_weights;
  const bool given =
      B.defined() && B.rank == 2 &&
      std::find(kFloatTypes.begin(), kFloatTypes.end(), B.dtype) != kFloatTypes.end();
  if (fresh && !given) {
    return fail(
        Code::invalid_argument,
        "{}: B must be a float weight [N, K], or state must hold the codes of a frozen one; "
        "got {} {}",
        operation, name(B.dtype), shape_string(B));
  }
  if (state.outlier_weights == OutlierWeights::original && !state.has_fp16_weights) {
    return fail(Code::invalid_argument,
                "{}: state.outlier_weights must be int8 without has_fp16_weights (the original "
                "weight is not kept); got original",
                operation);
  }
  if (state.use_pool && state.batch_invariant) {
    return fail(Code::invalid_argument,
                "{}: state.use_pool must be false with batch_invariant (pooled columns depend on "
                "earlier calls); got true",
                operation);
  }
  const std::int64_t k = fresh ? B.shape[1] : state.in_features();
  const std::int64_t last = A.rank > 0 ? A.shape[static_cast<std::size_t>(A.rank - 1)] : -1;
  if (last == k) return {};
  return fail(Code::invalid_argument, "{}: A.shape must be [..., K = {}] (B is [N, K]); got {}",
              operation, k, shape_string(A));
}

void check(const char* operation, const TensorView& A, const TensorView& B,
           const MatmulLtState& state) {
  at_edge(operation, [&]() -> Result<bool> {
    OCTAVO_TRY(check_arguments(operation, A, B, state));
    return true;
  });
}

Tensor columns_of(const std::vector<std::int64_t>& list, const Place& place) {
  const TensorView columns(list.data(), DType::int64, {static_cast<std::int64_t>(list.size())});
  return copy(columns, place);
}

ActivationQuant rule_of(const MatmulLtState& state) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = state.threshold;
  rule.whole_columns = state.whole_columns;
  rule.outlier_columns = state.outlier_columns;
  return rule;
}

Operand rows_of(const Quantized& weight) { return Operand(weight).transposed(); }

// The weight that MatMul8bitFp multiplies with.
PackedWeight dequantized(const MatmulLtState& state, DType dtype, const ExecContext& context) {
  const Tensor values = int8_vectorwise_dequant(state.CB(), state.SCB(), context);
  return pack(copy(values, dtype, context.stream).transposed(), {}, context);
}

}  // namespace

GlobalOutlierPooler& GlobalOutlierPooler::get_instance() {
  static GlobalOutlierPooler pooler;
  return pooler;
}

void GlobalOutlierPooler::add_outliers(std::span<const std::int64_t> outlier_idx,
                                       std::int64_t feature_dim) {
  const std::lock_guard lock(mutex_);
  columns_[feature_dim].insert(outlier_idx.begin(), outlier_idx.end());
}

std::vector<std::int64_t> GlobalOutlierPooler::get_current_outlier_idx(
    std::int64_t feature_dim) const {
  const std::lock_guard lock(mutex_);
  const auto found = columns_.find(feature_dim);
  if (found == columns_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

void GlobalOutlierPooler::initialize() {
  const std::lock_guard lock(mutex_);
  columns_.clear();
}

Tensor MatmulLtState::CB() const {
  return packed_.defined() ? unpack(packed_).data.transposed() : codes_;
}

void MatmulLtState::set(const Tensor& CB, const Tensor& SCB) {
  int8_rows(CB, SCB);  // shapes and types
  codes_ = CB;
  absmax_ = SCB;
  packed_ = {};
}

void MatmulLtState::reset_grads() {
  codes_ = {};
  absmax_ = {};
  packed_ = {};
}

void MatmulLtState::quantize(const TensorView& weight, const ExecContext& context) {
  if (quantized() && (!trains() || has_accumulated_gradients)) return;
  const VectorwiseQuant q = int8_vectorwise_quant(weight, {}, context);
  set(q.codes, q.row_absmax);
}

const PackedWeight* MatmulLtState::packed() {
  if (trains() || !quantized()) return nullptr;
  if (!packed_.defined()) {
    packed_ = pack(rows_of(int8_rows(codes_, absmax_)));
    codes_ = {};
  }
  packed_ = with_activation(packed_, rule_of(*this));
  return &packed_;
}

std::int64_t MatmulLtState::in_features() const noexcept {
  return packed_.defined() ? packed_.k() : codes_.view().shape[1];
}

std::int64_t MatmulLtState::out_features() const noexcept { return absmax_.numel(); }

Tensor MatMul8bitLt::forward(const TensorView& A, const TensorView& B, const TensorView& out,
                             const TensorView& bias, MatmulLtState& state,
                             const ExecContext& context) {
  check("MatMul8bitLt", A, B, state);
  state.quantize(B, context);
  GlobalOutlierPooler* pool = nullptr;
  if (state.use_pool) {
    pool =
        state.outlier_pool != nullptr ? state.outlier_pool : &GlobalOutlierPooler::get_instance();
  }
  Tensor pooled;
  LinearOptions options;
  options.bias = bias;
  options.out = out;
  options.matmul.batch_invariant = state.batch_invariant;
  options.found_columns = &state.idx;
  if (state.outlier_weights == OutlierWeights::original) options.outlier_weight = B.transposed();
  if (pool != nullptr) {
    pooled =
        columns_of(pool->get_current_outlier_idx(state.in_features()), context.place(A.device));
    options.outlier_columns = pooled;
  }
  Tensor y;
  if (const PackedWeight* packed = state.packed()) {
    y = linear(A, *packed, options, context);
  } else {
    const Tensor codes = state.CB();
    y = linear(A, rows_of(int8_rows(codes, state.SCB())), rule_of(state), options, context);
  }
  if (pool != nullptr) pool->add_outliers(state.idx, state.in_features());
  return y;
}

MatmulGradients MatMul8bitLt::backward(const TensorView& grad, const TensorView& A,
                                       const TensorView& bias, MatmulLtState& state,
                                       const MatmulWanted& wanted, DType weight_dtype,
                                       const ExecContext& context) {
  const Tensor codes = state.CB();
  const Quantized weight = int8_rows(codes, state.SCB());
  const ActivationQuant rule = rule_of(state);
  const Tensor columns = columns_of(state.idx, context.place(A.device));
  LinearOptions options;
  options.bias = bias;
  options.outlier_columns = columns;
  const auto vjp = [&](const MatmulWanted& some, DType dtype) {
    return linear_vjp(grad, A, rows_of(weight), rule, options, some, {.dtype = dtype}, context);
  };
  MatmulWanted others = wanted;
  others.b = false;
  MatmulGradients d = vjp(others, DType::undefined);
  if (!wanted.b) return d;
  d.b = state.weight_gradient == WeightGradient::int8
            ? vjp({.b = true}, weight_dtype).b.transposed()
            : linear_vjp(grad, A, dequantized(state, A.dtype, context), {}, {.b = true},
                         {.dtype = weight_dtype}, context)
                  .b.transposed();
  return d;
}

Tensor MatMul8bitFp::forward(const TensorView& A, const TensorView& B, const TensorView& out,
                             const TensorView& bias, MatmulLtState& state,
                             const ExecContext& context) {
  check("MatMul8bitFp", A, B, state);
  state.quantize(B, context);
  return linear(A, dequantized(state, A.dtype, context), {.bias = bias, .out = out}, context);
}

MatmulGradients MatMul8bitFp::backward(const TensorView& grad, const TensorView& A,
                                       const TensorView& bias, MatmulLtState& state,
                                       const MatmulWanted& wanted, DType weight_dtype,
                                       const ExecContext& context) {
  MatmulGradients d = linear_vjp(grad, A, dequantized(state, A.dtype, context), {.bias = bias},
                                 wanted, {}, context);
  if (!d.b.defined()) return d;
  d.b = d.b.transposed();
  if (weight_dtype != DType::undefined) d.b = copy(d.b, weight_dtype, context.stream);
  return d;
}

Tensor matmul(const TensorView& A, const TensorView& B, MatmulLtState& state, const TensorView& out,
              float threshold, const TensorView& bias, const ExecContext& context) {
  if (threshold > 0.0F) state.threshold = threshold;
  return MatMul8bitLt::forward(A, B, out, bias, state, context);
}

}  // namespace octavo::bnb
