// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "backends/cuda/kernels/passes/codes.hpp"
#include "backends/cuda/kernels/passes/convert.hpp"
#include "backends/cuda/kernels/passes/gather.hpp"
#include "backends/cuda/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {

Status convert(const ConvertProblem& p, const ExecContext& context) noexcept {
  const std::int64_t count = p.to.numel();
  const std::int64_t bytes = p.from.dtype == p.to.dtype ? element_bytes(p.to.dtype) : 0;
  return launch_elements<ConvertKernel>(KernelId::convert, count,
                                        {p.from, p.to, p.overflow, count, bytes},
                                        context.place(p.to.device));
}

Status fill(const FillProblem& p, const ExecContext& context) noexcept {
  const std::int64_t count = p.to.numel();
  return launch_elements<FillKernel>(KernelId::fill, count, {p.to, p.value, count},
                                     context.place(p.to.device));
}

Status gather(const GatherProblem& p, const ExecContext& context) noexcept {
  const auto neighbours = [](const MatrixView& x) { return x.strides[1] == 1 || x.shape[1] == 1; };
  GatherKernel::Params params;
  params.rows = p.rows;
  params.divisor = p.divisor;
  params.from = p.from.data;
  params.to = p.to.data;
  const std::int64_t bytes = element_bytes(p.to.dtype);
  params.unit = bytes;
  if (neighbours(p.from) && neighbours(p.to)) {
    // Rows of whole units, which begin at multiples of one.
    const auto all = static_cast<std::uint64_t>(p.from.shape[1] * bytes) |
                     static_cast<std::uint64_t>(p.from.strides[0] * bytes) |
                     static_cast<std::uint64_t>(p.to.strides[0] * bytes) |
                     reinterpret_cast<std::uintptr_t>(p.from.data) |
                     reinterpret_cast<std::uintptr_t>(p.to.data);
    while (params.unit < kMostUnit && all % static_cast<std::uint64_t>(2 * params.unit) == 0)
      params.unit *= 2;
  }
  const std::int64_t elements = params.unit / bytes;
  params.plane = {p.to.shape[0], p.to.shape[1] / elements, false};
  params.from_strides = {p.from.strides[0] / elements, elements > 1 ? 1 : p.from.strides[1]};
  params.to_strides = {p.to.strides[0] / elements, elements > 1 ? 1 : p.to.strides[1]};
  return launch_elements<GatherKernel>(KernelId::gather, params.plane.rows * params.plane.columns,
                                       params, context.place(p.to.device));
}

Status map_codes(const MapProblem& p, const ExecContext& context) noexcept {
  return launch_elements<MapKernel>(KernelId::map_codes, p.codes.numel(),
                                    {p.codes, plane_of(p.codes), p.table},
                                    context.place(p.codes.device));
}

Status unswizzle(const UnswizzleProblem& p, const ExecContext& context) noexcept {
  return launch_elements<UnswizzleKernel>(KernelId::unswizzle, p.to.numel(),
                                          {p.tiles, p.to, {p.to.shape[0], p.to.shape[1], false}},
                                          context.place(p.to.device));
}

}  // namespace octavo::cuda
