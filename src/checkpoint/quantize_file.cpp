// SPDX-License-Identifier: Apache-2.0
// quantize_file: a plan, then its files one after the other.
#include <utility>

#include "checkpoint/config_text.hpp"
#include "checkpoint/declaration.hpp"
#include "checkpoint/file.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/quantize_folder.hpp"
#include "checkpoint/quantize_run.hpp"
#include "core/error.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

QuantizeReport quantize_one(const Checkpoint& in, const std::string& out,
                            const QuantizeFileOptions& options) {
  QuantizeRun run(in, options);
  QuantizeReport& report = run.report();
  std::map<std::string, std::string> metadata = in.metadata();
  metadata[kConfigKey] = run.config();
  for (std::string& warning :
       declaration_warnings("quantize_file", out, options.scheme, run.config())) {
    report.warnings.push_back(std::move(warning));
  }
  run.quantise(0, out, metadata);
  report.file_bytes_after = file_bytes(out.c_str());  // the file is in place: nothing may fail
  return std::move(report);
}

}  // namespace

QuantizeReport quantize_file(const std::string& in, const std::string& out,
                             const QuantizeFileOptions& options) {
  return at_edge("quantize_file", [&] {
    const Checkpoint opened = open_checkpoint(in);
    return opened.folder().empty() ? quantize_one(opened, out, options)
                                   : quantize_folder(opened, out, options);
  });
}

}  // namespace octavo
