// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/quantize_plan.hpp"
#include "checkpoint/run.hpp"
#include "core/error.hpp"

namespace octavo {

QuantizeReport quantize_file(const std::string& in, const std::string& out,
                             const QuantizeFileOptions& options) {
  return at_edge("quantize_file", [&] {
    const Checkpoint opened = open_checkpoint(in);
    return checkpoint::carry_out(
        opened, out, checkpoint::plan_quantisation(opened, options),
        {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
