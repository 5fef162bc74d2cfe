// SPDX-License-Identifier: Apache-2.0
// The fused prologue of every CPU backend: quantise a float A into the workspace, then run on
// codes.
#pragma once

#include "backends/backend.hpp"
#include "backends/host/arena.hpp"

namespace octavo {

/// Replaces a float A that asks for it by its codes and scales, made with `backend`'s quantisers in
/// `arena`; over a counting arena it only reserves. A member without a prologue is left alone.
Status quantise_activations(const Backend& backend, Member& member, Arena& arena,
                            const ExecContext& context, const MatmulOptions& options = {}) noexcept;

}  // namespace octavo
