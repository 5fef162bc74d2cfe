// SPDX-License-Identifier: Apache-2.0
// Writing a safetensors file, for those who have to know of its temporary file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/file.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// octavo::write_safetensors, with a listener.
void write_file(const std::string& path, std::vector<TensorToWrite> tensors,
                const std::map<std::string, std::string>& metadata, TemporaryListener listener);

}  // namespace octavo::checkpoint
