// SPDX-License-Identifier: Apache-2.0
// What the host looks at: kernels leave a number for each CTA, which is copied and waited for.
#include <algorithm>
#include <limits>
#include <memory>
#include <new>

#include "backends/cuda/kernels/passes/code_errors.hpp"
#include "backends/cuda/kernels/passes/finite.hpp"
#include "backends/cuda/kernels/passes/places.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "core/data/element.hpp"

namespace octavo::cuda {
namespace {

// Bytes of a device on the host, once all before them has run.
Status fetch(const void* from, void* to, std::size_t bytes, const Place& place) noexcept {
  const auto extent = static_cast<std::int64_t>(bytes);
  TensorView there(from, DType::uint8, {extent});
  there.device = place.device;
  const TensorView here(to, DType::uint8, {extent});
  const DeviceMemory& memory = *find_kind(place.device.type)->memory;
  OCTAVO_TRY(memory.copy(there, here, bytes, place.stream));
  return memory.wait(place);
}

// What the CTAs of a kernel that has elements of [0, count) leave.
template <class Kernel, class Left>
class Reports {
 public:
  Reports(std::int64_t count, const Place& place) noexcept
      : count_((count + Kernel::kThreads - 1) / Kernel::kThreads),
        blocks_(count_ > 0 ? blocks_for(count_, place) : 0),
        place_(place),
        there_(place) {}

  /// `left`: where the kernel's parameters say that it leaves them.
  Status run(const char* operation, KernelId id, typename Kernel::Params params,
             Left* Kernel::Params::*left) noexcept {
    if (blocks_ == 0) return {};
    here_.reset(new (std::nothrow) Left[blocks_]);
    if (here_ == nullptr) {
      return fail(Code::out_of_memory,
                  "{}: the host's memory must have room; got none for {} bytes", operation,
                  blocks_ * sizeof(Left));
    }
    OCTAVO_TRY(there_.take(operation, blocks_ * sizeof(Left)));
    params.*left = static_cast<Left*>(there_.data());
    OCTAVO_TRY(launch_pass<Kernel>(id, count_, params, place_));
    return fetch(there_.data(), here_.get(), blocks_ * sizeof(Left), place_);
  }
  const Left* begin() const noexcept { return here_.get(); }
  const Left* end() const noexcept { return here_.get() + blocks_; }

 private:
  std::int64_t count_;
  std::uint32_t blocks_;
  Place place_;
  Scratch there_;
  std::unique_ptr<Left[]> here_;
};

}  // namespace

Status check_finite(const FiniteProblem& p, const ExecContext& context) noexcept {
  const Place place = context.place(p.x.device);
  FiniteKernel::Params params;
  params.transposed = plane_of(p.x).down;
  params.x = params.transposed ? p.x.transposed() : p.x;
  params.words = has_words(params.x, kOctet * element_bytes(p.x.dtype));
  Reports<FiniteKernel, std::int64_t> reports(params.x.shape[0] * octets_of(params.x.shape[1]),
                                              place);
  OCTAVO_TRY(
      reports.run(p.operation, KernelId::check_finite, params, &FiniteKernel::Params::first));
  std::int64_t first = FiniteKernel::kNone;
  for (const std::int64_t one : reports) first = std::min(first, one);
  if (first == FiniteKernel::kNone) return {};
  const std::int64_t i = first / p.x.shape[1], j = first % p.x.shape[1];
  std::uint32_t bits = 0;
  OCTAVO_TRY(fetch(p.x.at(i, j), &bits, static_cast<std::size_t>(element_bytes(p.x.dtype)), place));
  return fail(Code::invalid_argument, "{}: x[{}, {}] must be finite; got {}", p.operation, i, j,
              load_float(p.x.dtype, &bits, 0));
}

Status code_errors(const CodeErrorsProblem& p, const ExecContext& context) noexcept {
  CodeErrorsKernel::Params params;
  params.values = p.values;
  params.codes = p.codes;
  params.scales = p.scales;
  params.grid.rows = std::clamp<std::int64_t>(p.values.shape[0], 1, p.grid.rows);
  params.grid.cols = std::clamp<std::int64_t>(p.values.shape[1], 1, p.grid.cols);
  params.largest = p.largest;
  Reports<CodeErrorsKernel, ErrorSums> reports(p.values.numel(), context.place(p.values.device));
  OCTAVO_TRY(
      reports.run("code_errors", KernelId::code_errors, params, &CodeErrorsKernel::Params::sums));
  for (const ErrorSums& sums : reports) {
    *p.errors += {sums.signal, sums.noise, sums.largest, sums.saturated, sums.not_finite == 0};
  }
  return {};
}

}  // namespace octavo::cuda
