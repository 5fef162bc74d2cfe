// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "backends/cuda/kernels/passes/codes.hpp"
#include "backends/cuda/kernels/passes/convert.hpp"
#include "backends/cuda/kernels/passes/convert_transposed.hpp"
#include "backends/cuda/kernels/passes/gather.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {
namespace {

// Matrices whose neighbours lie along different dimensions, of elements that 32 bits hold.
bool converts_by_tiles(const ConvertProblem& p) noexcept {
  const auto fits = [](DType dtype) { return element_bytes(dtype) <= 4; };
  const bool exact = p.from.dtype == p.to.dtype || p.from.dtype != DType::int32;
  return p.to.rank == 2 && fits(p.from.dtype) && fits(p.to.dtype) && exact &&
         is_transposed(p.from, p.to);
}

}  // namespace

Status convert(const ConvertProblem& p, const ExecContext& context) noexcept {
  const std::int64_t count = p.to.numel();
  const std::int64_t bytes = p.from.dtype == p.to.dtype ? element_bytes(p.to.dtype) : 0;
  const Place place = context.place(p.to.device);
  if (converts_by_tiles(p)) {
    const Plane plane = plane_of(p.to);
    return launch_pass<ConvertTransposedKernel>(KernelId::convert_transposed,
                                                transposed_pieces(plane),
                                                {p.from, p.to, plane, p.overflow, bytes}, place);
  }
  return launch_elements<ConvertKernel>(KernelId::convert, count,
                                        {p.from, p.to, p.overflow, count, bytes}, place);
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
