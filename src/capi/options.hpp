// SPDX-License-Identifier: Apache-2.0
// Written by api/ from api/operations.toml; `python3 api` writes it again.
// clang-format off
// C's options as C++'s. Lists and places of further results are read where they are used.
#pragma once

#include "capi/operand.hpp"
#include "octavo/attention.hpp"
#include "octavo/functional.hpp"
#include "octavo/grouped.hpp"
#include "octavo/linear.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/matmul.hpp"
#include "octavo/moe.hpp"
#include "octavo/norm.hpp"
#include "octavo/packed.hpp"
#include "octavo/quantize.hpp"
#include "octavo/rotate.hpp"

namespace octavo::capi {

/// What every product takes.
MatmulOptions matmul_from(std::uint64_t flags, std::int32_t k_chunks) noexcept;

/// An activation rule in C. Its columns are the rule's.
octavo_activation activation_to(const ActivationQuant& o) noexcept;

/// `place` is that of the options.
ScaledMmOptions options_from(const ArgumentPath& place, const octavo_scaled_mm_options* given);
LinearOptions options_from(const ArgumentPath& place, const octavo_linear_options* given);
GroupedListOptions options_from(const ArgumentPath& place, const octavo_grouped_list_options* given);
GroupedOptions options_from(const ArgumentPath& place, const octavo_grouped_mm_options* given);
ScaledGroupedMmOptions options_from(const ArgumentPath& place, const octavo_scaled_grouped_mm_options* given);
functional::Options options_from(const ArgumentPath& place, const octavo_functional_options* given);
QuantizeOptions options_from(const ArgumentPath& place, const octavo_quantize_options* given);
ActivationQuant options_from(const ArgumentPath& place, const octavo_activation* given);
RotateOptions options_from(const ArgumentPath& place, const octavo_rotate_options* given);
PackOptions options_from(const ArgumentPath& place, const octavo_pack_options* given);
SiluAndMulQuantizeOptions options_from(const ArgumentPath& place, const octavo_silu_and_mul_quantize_options* given);
RmsNormOptions options_from(const ArgumentPath& place, const octavo_rms_norm_options* given);
RmsNormQuantizeOptions options_from(const ArgumentPath& place, const octavo_rms_norm_quantize_options* given);
AttentionOptions options_from(const ArgumentPath& place, const octavo_attention_options* given);
VectorwiseOptions options_from(const ArgumentPath& place, const octavo_vectorwise_options* given);
MixedScaledMmOptions options_from(const ArgumentPath& place, const octavo_mixed_scaled_mm_options* given);

/// All flags and their names in sentences.
std::span<const FlagName> flag_names() noexcept;

}  // namespace octavo::capi
