// SPDX-License-Identifier: Apache-2.0
// Everything Octavo offers.
#pragma once

#include "octavo/backend.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/context.hpp"
#include "octavo/dtype.hpp"
#include "octavo/functional.hpp"
#include "octavo/gradient.hpp"
#include "octavo/grouped.hpp"
#include "octavo/linear.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/matmul.hpp"
#include "octavo/moe.hpp"
#include "octavo/numeric.hpp"
#include "octavo/packed.hpp"
#include "octavo/problem.hpp"
#include "octavo/problem_line.hpp"
#include "octavo/quantize.hpp"
#include "octavo/scale.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"
