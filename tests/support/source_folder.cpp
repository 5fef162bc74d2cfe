// SPDX-License-Identifier: Apache-2.0
#include "support/source_folder.hpp"

namespace octavo::test {

std::string in_checkout(const std::string& path) { return OCTAVO_CHECKOUT "/" + path; }

}  // namespace octavo::test
