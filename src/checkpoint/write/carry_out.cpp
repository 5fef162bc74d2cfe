// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/carry_out.hpp"

#include <map>
#include <utility>

#include "checkpoint/declared/declaration.hpp"
#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/write/plan_writer.hpp"
#include "checkpoint/write/write_folder.hpp"

namespace octavo::checkpoint {
namespace {

QuantizeReport write_one(const Checkpoint& in, const std::string& out, WritePlan plan,
                         const RunOptions& options) {
  PlanWriter run(in, std::move(plan), options);
  std::map<std::string, std::string> metadata = in.metadata();
  metadata.erase(kConfigKey);
  const auto& config = run.plan().config;
  if (config) {
    metadata[kConfigKey] = *config;
    for (std::string& warning : declaration_warnings(run.plan().operation, out, *config)) {
      run.report().warnings.push_back(std::move(warning));
    }
  }
  run.write(0, out, metadata);
  run.report().file_bytes_after = file_bytes(out.c_str());  // in place: nothing may fail
  return std::move(run.report());
}

}  // namespace

QuantizeReport carry_out(const Checkpoint& in, const std::string& out, WritePlan plan,
                         const RunOptions& options) {
  return in.folder().empty() ? write_one(in, out, std::move(plan), options)
                             : write_folder(in, out, std::move(plan), options);
}

}  // namespace octavo::checkpoint
