// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "checkpoint/gguf/gguf_header.hpp"
#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/plan/quantize_plan.hpp"
#include "checkpoint/steps/gptq_layer.hpp"
#include "checkpoint/write/carry_out.hpp"
#include "checkpoint/write/plan_writer.hpp"
#include "checkpoint/write/write_gguf.hpp"
#include "core/error.hpp"

namespace octavo {

QuantizeReport quantize_file(const std::string& in, const std::string& out,
                             const QuantizeFileOptions& options) {
  return at_edge("quantize_file", [&] {
    if (out.ends_with(checkpoint::kGgufSuffix)) return checkpoint::write_gguf(in, out, options);
    const Checkpoint opened = checkpoint::open_whole("quantize_file", in, out, options.layout,
                                                     checkpoint::others_of(options));
    checkpoint::WritePlan plan = checkpoint::plan_quantization(opened, options);
    checkpoint::check_gptq(plan, checkpoint::most_threads(options.threads));
    return checkpoint::carry_out(
        opened, out, std::move(plan),
        {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
