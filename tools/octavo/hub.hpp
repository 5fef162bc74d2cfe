// SPDX-License-Identifier: Apache-2.0
// Models by their names on the Hugging Face Hub.
#pragma once

#include <string>

namespace octavo::cli {

/// The path of the model that an argument names.
///
/// What is a path, or could be (its folder is there, or it ends like a file of a model), stays as
/// it is. "org/name" is asked of python3's package huggingface_hub: its cache first, without the
/// network, and the Hub where the cache has not all of the model's files. No code of the model
/// runs. Throws Error (unavailable) with what is missing.
std::string find_model(const char* operation, const std::string& given);

}  // namespace octavo::cli
