// SPDX-License-Identifier: Apache-2.0
// The visibility of public symbols: the library is built with hidden visibility.
#pragma once

#define OCTAVO_API [[gnu::visibility("default")]]

/// Exported for Octavo's other library, of the same version: no interface.
#define OCTAVO_INTERNAL_API [[gnu::visibility("default")]]
