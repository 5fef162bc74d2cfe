// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/plan/convert_config.hpp"
#include "checkpoint/plan/convert_plan.hpp"
#include "checkpoint/write/carry_out.hpp"
#include "core/error.hpp"

namespace octavo {

QuantizeReport convert_file(const std::string& in, const std::string& out,
                            const ConvertFileOptions& options) {
  using namespace checkpoint;
  return at_edge(kConvertFile, [&] {
    const Checkpoint opened = open_whole(kConvertFile, in, out, options.layout);
    return carry_out(opened, out, plan_conversion(opened, options.format),
                     {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
