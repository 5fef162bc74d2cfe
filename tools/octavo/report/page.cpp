// SPDX-License-Identifier: Apache-2.0
#include "page.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "octavo/status.hpp"
#include "python_child.hpp"

namespace octavo::cli {
namespace {

[[noreturn]] void refuse(Code code, std::string sentence) {
  throw Error(Status(code, std::move(sentence)));
}

}  // namespace

void require_page_maker() {
  const int exit_code = run_python({"-c", "from octavo.report import page"}, {}, Errors::dropped);
  if (exit_code == 0) return;
  refuse(
      Code::unavailable,
      fmt::format("report: --html must have python3 with the package octavo[report] (pip install "
                  "'octavo[report]'); got {}",
                  exit_code == kNoPython ? "no python3" : "one that cannot import it"));
}

void write_page(const Json& report, const std::string& path) {
  const std::string absolute = std::filesystem::absolute(path).string();
  const int exit_code =
      run_python({"-m", "octavo.report", "-", absolute}, json_text(report), Errors::shown);
  if (exit_code != 0)
    refuse(Code::io,
           fmt::format("report: the page '{}' must be written; got exit code {} of python3",
                       printable(path), exit_code));
}

}  // namespace octavo::cli
