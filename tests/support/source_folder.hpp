// SPDX-License-Identifier: Apache-2.0
// Where the checkout is. One file is told, so that ccache finds what another checkout compiled.
#pragma once

#include <string>

namespace octavo::test {

/// The absolute path of a file or folder of the checkout: of "tests/checkpoint/data".
std::string in_checkout(const std::string& path);

}  // namespace octavo::test
