// SPDX-License-Identifier: Apache-2.0
// The page of a report, made by the Python package: python3 -m octavo.report.
#pragma once

#include <string>

#include "output.hpp"

namespace octavo::cli {

/// Throws an Error that says what to install where python3 cannot make pages: asked before a report
/// is measured.
void require_page_maker();

/// Writes the page of a report.
void write_page(const Json& report, const std::string& path);

}  // namespace octavo::cli
