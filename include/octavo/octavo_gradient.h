/* SPDX-License-Identifier: Apache-2.0 */
/* The path until 0.2. */
#pragma once

#include "octavo/c/gradient.h"
