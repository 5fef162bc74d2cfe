// SPDX-License-Identifier: Apache-2.0
// All kernels of passes: what pass_instances.inc names.
#pragma once

#include "backends/cuda/kernels/general/product.hpp"
#include "backends/cuda/kernels/passes/code_errors.hpp"
#include "backends/cuda/kernels/passes/codes.hpp"
#include "backends/cuda/kernels/passes/combine.hpp"
#include "backends/cuda/kernels/passes/convert.hpp"
#include "backends/cuda/kernels/passes/convert_transposed.hpp"
#include "backends/cuda/kernels/passes/cut_rows.hpp"
#include "backends/cuda/kernels/passes/finish.hpp"
#include "backends/cuda/kernels/passes/finish_sums.hpp"
#include "backends/cuda/kernels/passes/finite.hpp"
#include "backends/cuda/kernels/passes/gather.hpp"
#include "backends/cuda/kernels/passes/gradient_sums.hpp"
#include "backends/cuda/kernels/passes/gradients.hpp"
#include "backends/cuda/kernels/passes/line_sums.hpp"
#include "backends/cuda/kernels/passes/quantize.hpp"
#include "backends/cuda/kernels/passes/quantize_rows.hpp"
#include "backends/cuda/kernels/passes/quantize_tall.hpp"
#include "backends/cuda/kernels/passes/reduce.hpp"
#include "backends/cuda/kernels/passes/silu.hpp"
#include "backends/cuda/kernels/passes/vectorwise.hpp"
