// SPDX-License-Identifier: Apache-2.0
// Which layers transformers loads in which form: what quantize_file and convert_file share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/models/model_class.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Whether a layer is an expert of a mixture, by its name. transformers has experts in modules of
/// their own: bitsandbytes has no layers for them.
bool is_expert(std::string_view layer) noexcept;

/// int8 codes in an int32.
inline constexpr std::int64_t kCodesInWord = 4;
/// Whether int8 codes of a layer with that K go into compressed-tensors four in an int32: experts',
/// of which transformers reads no other form.
bool is_packed(std::string_view layer, std::int64_t k) noexcept;
/// The same of a weight; int8 without a rule for activations is packed in any layer, since
/// compressed-tensors reads it in no other form.
bool is_packed(std::string_view layer, const Weight& weight) noexcept;
/// The target, as JSON, that says "all experts": transformers looks for such a one.
inline constexpr std::string_view kAllExperts = R"("re:.*\\.experts\\..*")";

/// Whether transformers reads fp8 blocks of a layer [n, k]: it takes the length of a block from the
/// number of scales, so that the last one of a size that 128 does not divide would be read wrong.
bool blocks_fit(std::int64_t n, std::int64_t k) noexcept;
/// The same of the cells of scales that a form has: blocks of 128 x 128, groups of 32 (mxfp8),
/// which have to divide K, or whole rows.
bool cells_fit(const ScaleGrid& grid, std::int64_t n, std::int64_t k) noexcept;

/// A Conv1D's weight [K, N] in a form without such layers. `kind` is what the operation chooses
/// ("scheme"), `only` the one that is there, `advice` what else can be done.
struct Conv1dRefusal {
  const char* operation;
  const char* kind;
  std::string_view only, got;
  const char* advice;
};
/// Throws Error (invalid_argument).
[[noreturn]] void refuse_conv1d(const Conv1dRefusal& refusal, std::string_view tensor);

/// What is written of a model. `kind`: what the operation calls `got`, its scheme or format.
struct WrittenForm {
  const char* operation;
  const char* kind;
  std::string_view got;
  bool bitsandbytes, int8;  ///< what the form is
};
/// Throws Error (unsupported) where transformers does not load that form of the model's class,
/// since it makes weights of others while it loads them.
void check_class_loads(const WrittenForm& form, const ModelClass& model);

/// The same where experts in float would be merged beside layers of int8: transformers drops them.
/// `expert`: one of them; empty: there is none.
void check_float_experts(const WrittenForm& form, const ModelClass& model,
                         const std::string& expert);

/// Layers that stay in float for transformers' sake, and the warnings of them.
class LeftInFloat {
 public:
  /// One whose sizes are no multiples of what the form takes: blocks, groups or words of codes.
  void add_uneven(std::string_view tensor, std::int64_t n, std::int64_t k, std::int64_t multiple);
  void add_expert() noexcept { ++experts_; }
  /// `kind` and `name`: "scheme", "llm-int8".
  std::vector<std::string> warnings(const char* operation, const char* kind,
                                    std::string_view name) const;

 private:
  std::int64_t experts_ = 0, uneven_ = 0;  ///< tensors
  std::string first_uneven_;
  std::int64_t multiple_ = 0;
};

}  // namespace octavo::checkpoint
