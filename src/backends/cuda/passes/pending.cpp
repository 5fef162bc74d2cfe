// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/general_product.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "core/error.hpp"
namespace octavo::cuda {
namespace {
Status no() noexcept { return fail(Code::unsupported, "pending"); }
}  // namespace
Status run_general(const Member&, const MatmulOptions&, const Place&) noexcept { return no(); }
}  // namespace octavo::cuda
