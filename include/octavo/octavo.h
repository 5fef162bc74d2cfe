/* SPDX-License-Identifier: Apache-2.0 */
/* Everything Octavo offers to C; docs/c-api.md is its introduction. */
#pragma once

#include "octavo/octavo_base.h"
#include "octavo/octavo_checkpoint.h"
#include "octavo/octavo_explain.h"
#include "octavo/octavo_gradient.h"
#include "octavo/octavo_llm_int8.h"
#include "octavo/octavo_matmul.h"
#include "octavo/octavo_quantize.h"
#include "octavo/octavo_tensor.h"
