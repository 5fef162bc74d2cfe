// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/plan/dequantize_plan.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/steps/float_layers.hpp"
#include "checkpoint/text/sentence.hpp"
#include "checkpoint/write/carry_out.hpp"

namespace octavo {

QuantizeReport dequantize_file(const std::string& in, const std::string& out,
                               const DequantizeFileOptions& options) {
  using namespace checkpoint;
  return at_edge(kDequantize, [&] {
    const Checkpoint opened = open_whole(kDequantize, in, out, options.layout, OtherBlocks::floats);
    const DType dtype = options.dtype == DType::undefined ? model_dtype(opened) : options.dtype;
    if (!is_wide(dtype)) {
      refuse(Code::invalid_argument, "{}: dtype must be float32, bfloat16 or float16; got {}",
             kDequantize, name(dtype));
    }
    return carry_out(opened, out, plan_dequantization(opened, dtype),
                     {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
