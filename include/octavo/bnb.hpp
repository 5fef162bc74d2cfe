// SPDX-License-Identifier: Apache-2.0
// LLM.int8() as a differentiable product with state, under bitsandbytes' names.
//
// Source: Dettmers et al., "LLM.int8()", arXiv 2208.07339; specification section 8. The functions
// on codes (int8_vectorwise_quant, ...) are in llm_int8.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "octavo/context.hpp"
#include "octavo/gradient.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/packed.hpp"
#include "octavo/tensor.hpp"

namespace octavo::bnb {

/// Outlier columns of all layers with the same number of input features, by that number: a layer
/// whose state has `use_pool` adds what it finds, and multiplies the pool's columns in float
/// whatever they hold. Safe to share between threads.
class OCTAVO_API GlobalOutlierPooler {
 public:
  GlobalOutlierPooler() = default;
  GlobalOutlierPooler(const GlobalOutlierPooler&) = delete;
  GlobalOutlierPooler& operator=(const GlobalOutlierPooler&) = delete;
  /// The pool of the process.
  static GlobalOutlierPooler& get_instance();

  /// Adds columns of layers with `feature_dim` input features. Throws Error.
  void add_outliers(std::span<const std::int64_t> outlier_idx, std::int64_t feature_dim);
  /// Ascending.
  std::vector<std::int64_t> get_current_outlier_idx(std::int64_t feature_dim) const;
  /// Forgets all columns.
  void initialize();

 private:
  mutable std::mutex mutex_;
  std::map<std::int64_t, std::set<std::int64_t>> columns_;
};

/// What outlier columns of the activations are multiplied with.
enum class OutlierWeights : std::uint8_t {
  int8,      ///< the weight's codes
  original,  ///< the float weight (has_fp16_weights)
};

/// How the gradient of a weight that trains is made.
enum class WeightGradient : std::uint8_t {
  int8,   ///< a product of codes by column, plus outlier columns in float (specification section 8)
  exact,  ///< of the gradient and the activations as they are, summed in float32
};

/// The quantised weight of one layer and how it multiplies. Not for two threads at once.
class OCTAVO_API MatmulLtState {
 public:
  float threshold = 0.0F;        ///< |x| >= threshold is an outlier, its column float; 0: none
  bool has_fp16_weights = true;  ///< the weight trains; false: quantised once
  bool is_training = true;       ///< a weight that trains is quantised by each forward product
  /// The weight has not changed since the last forward product, which only added to its gradient:
  /// the codes are used again.
  bool has_accumulated_gradients = false;
  bool use_pool = false;                        ///< outlier columns are shared
  GlobalOutlierPooler* outlier_pool = nullptr;  ///< with whom; null: get_instance()
  bool batch_invariant = false;                 ///< outliers are elements: rows are independent
  bool whole_columns = false;                   ///< outlier columns stay out of row statistics
  Tensor outlier_columns;                       ///< int64, ascending: always multiplied in float
  OutlierWeights outlier_weights = OutlierWeights::int8;  ///< what outlier columns meet
  WeightGradient weight_gradient = WeightGradient::int8;  ///< of a weight that trains
  std::vector<std::int64_t> idx;  ///< the outlier columns of the last forward product

  /// int8 codes [N, K] and float32 absolute maxima [N]; undefined where there are none. Codes that
  /// were packed are unpacked, bit for bit.
  Tensor CB() const;
  /// The absolute maxima [N] of the weight's rows, float32.
  const Tensor& SCB() const noexcept { return absmax_; }
  /// Codes of a checkpoint, say. They are shared, not copied.
  void set(const Tensor& CB, const Tensor& SCB);
  /// Forgets the codes: what to call where a weight has changed outside of training.
  void reset_grads();
  /// Whether there are codes.
  bool quantized() const noexcept { return absmax_.defined(); }

  /// The codes of a float weight [N, K], where there are none that fit.
  void quantize(const TensorView& weight, const ExecContext& context = {});
  /// The codes in the layout of the kernels; row-major ones go. Null while the weight trains.
  const PackedWeight* packed();
  /// K of the codes.
  std::int64_t in_features() const noexcept;
  /// N of the codes.
  std::int64_t out_features() const noexcept;

 private:
  bool trains() const noexcept { return has_fp16_weights && is_training; }
  Tensor codes_, absmax_;
  PackedWeight packed_;
};

/// The product and its gradients.
struct OCTAVO_API MatMul8bitLt {
  /// y [..., N] = A B^T + bias in A's type: A [..., K] of bfloat16, float16 or float32; B [N, K] of
  /// the same types (unread where the state has codes that fit); `out` undefined: allocated. Throws
  /// Error.
  static Tensor forward(const TensorView& A, const TensorView& B, const TensorView& out,
                        const TensorView& bias, MatmulLtState& state,
                        const ExecContext& context = {});
  /// With grad [..., N] and the A and the state of the forward product: a [..., K] = (grad *
  /// SCB/127) CB; b [N, K], by the state's weight_gradient; bias [N]. `weight_dtype`: of b;
  /// undefined: grad's. Throws Error.
  static MatmulGradients backward(const TensorView& grad, const TensorView& A,
                                  const TensorView& bias, MatmulLtState& state,
                                  const MatmulWanted& wanted, DType weight_dtype = DType::undefined,
                                  const ExecContext& context = {});
};

/// The same for a weight that is dequantised into A's type and activations as they are; the
/// threshold has no part.
struct OCTAVO_API MatMul8bitFp {
  /// As MatMul8bitLt::forward, with the dequantised weight.
  static Tensor forward(const TensorView& A, const TensorView& B, const TensorView& out,
                        const TensorView& bias, MatmulLtState& state,
                        const ExecContext& context = {});
  /// As MatMul8bitLt::backward, with the dequantised weight.
  static MatmulGradients backward(const TensorView& grad, const TensorView& A,
                                  const TensorView& bias, MatmulLtState& state,
                                  const MatmulWanted& wanted, DType weight_dtype = DType::undefined,
                                  const ExecContext& context = {});
};

/// MatMul8bitLt::forward; a threshold above 0 overrides the state's.
OCTAVO_API Tensor matmul(const TensorView& A, const TensorView& B, MatmulLtState& state,
                         const TensorView& out = {}, float threshold = 0.0F,
                         const TensorView& bias = {}, const ExecContext& context = {});

}  // namespace octavo::bnb
