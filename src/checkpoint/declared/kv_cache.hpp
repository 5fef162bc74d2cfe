// SPDX-License-Identifier: Apache-2.0
// How a declaration quantises the KV cache. Octavo multiplies weights and does not apply it; what
// writes one checkpoint of another carries it over.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/text/json_tree.hpp"

namespace octavo::checkpoint {

/// The scheme as compressed-tensors' JSON, from its "kv_cache_scheme" or ModelOpt's
/// "kv_cache_scheme" or "kv_cache_quant_algo"; empty where none is declared.
std::string kv_cache_scheme(const JsonValue& config);

/// Whether a tensor of a layer, by the end of its name, is a scale or zero point of the cache.
bool is_of_kv_cache(std::string_view last) noexcept;

/// The name of such a tensor in compressed-tensors' files: beside the projections, not in them.
std::string kv_cache_name(std::string_view tensor);

}  // namespace octavo::checkpoint
