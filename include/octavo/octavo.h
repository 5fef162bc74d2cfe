/* SPDX-License-Identifier: Apache-2.0 */
/* Everything Octavo offers to C; docs/c-api.md is its introduction. */
#pragma once

#include "octavo/c/attention.h"
#include "octavo/c/base.h"
#include "octavo/c/checkpoint.h"
#include "octavo/c/explain.h"
#include "octavo/c/gradient.h"
#include "octavo/c/llm_int8.h"
#include "octavo/c/matmul.h"
#include "octavo/c/norm.h"
#include "octavo/c/quantize.h"
#include "octavo/c/tensor.h"
