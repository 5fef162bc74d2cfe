// SPDX-License-Identifier: Apache-2.0
// A float model as a file of llama.cpp's.
#pragma once

#include <string>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Writes matrices as blocks of type Q8_0 and vectors as float32, with the keys and the tokenizer
/// that llama.cpp asks for. Throws Error (unsupported: another architecture, or a rule of the model
/// that no key has; invalid_argument: options that belong to other files, a quantised model;
/// corrupt_data; io).
QuantizeReport write_gguf(const std::string& in, const std::string& out,
                          const QuantizeFileOptions& options);

}  // namespace octavo::checkpoint
