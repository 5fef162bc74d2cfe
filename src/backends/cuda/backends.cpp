// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/backends.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "backends/cuda/launch/images.hpp"
#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "backends/cuda/products/dense_product.hpp"
#include "backends/cuda/products/general_product.hpp"
#include "backends/cuda/products/grouped_product.hpp"
#include "backends/cuda/products/joined_list.hpp"
#include "backends/cuda/products/rows_layout.hpp"
#include "core/devices/cuda_devices.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/problem/operand.hpp"

namespace octavo::cuda {
namespace {

// ---- which devices ------------------------------------------------------------------------------

const char* unavailable() noexcept {
  if (const char* why = device_missing(0); why != nullptr) return why;
  const bool built = driver_is_given() || image_data(Image::portable) != nullptr;
  return built ? nullptr
               : "this build has no CUDA kernels: configure it with -DOCTAVO_CUDA=on, which needs "
                 "nvcc";
}

const char* lacks(Cores cores, const Device& device) noexcept {
  const CudaDevice* found = find_device(device.index);
  if (found == nullptr) return device_missing(device.index);
  if (cores == Cores::wgmma && (found->major != 9 || found->minor != 0))
    return "the device's compute capability is not 9.0";
  return nullptr;
}

// ---- members ------------------------------------------------------------------------------------

// Offsets that a device has come to the host: who cuts members has to know them.
class NearOffsets {
 public:
  Status take(MatmulProblem& problem, const ExecContext& context) noexcept {
    TensorView& offsets = problem.groups.offs;
    if (!offsets.defined() || on_host(offsets)) return {};
    const std::int64_t count = offsets.shape[0];
    const auto bytes = static_cast<std::size_t>(count * element_bytes(offsets.dtype));
    const std::array<std::int64_t, 1> shape{count};
    OCTAVO_TRY_ASSIGN(values_, Tensor::try_empty(problem.operation, offsets.dtype, shape, {}));
    const Place place = context.place(offsets.device);
    Scratch row(place);
    TensorView source = offsets;
    if (!offsets.contiguous()) {
      OCTAVO_TRY(row.take(problem.operation, bytes));
      source.data = row.data();
      source.strides[0] = 1;
      OCTAVO_TRY(convert({.from = offsets, .to = source}, context));
    }
    OCTAVO_TRY(kCudaMemory.copy(source, values_, bytes, context.stream));
    OCTAVO_TRY(kCudaMemory.wait(place));
    offsets = values_;
    return {};
  }

 private:
  Tensor values_;
};

// The weight as a matrix: one that is packed lies as rows of K, and may have its columns' sums.
Status unpack(Member& p, Scratch& memory, const std::int32_t*& column_sums,
              const ExecContext& context) noexcept {
  column_sums = nullptr;
  if (p.b.packed == nullptr) return {};
  const PackedWeightData& packed = *p.b.packed->content();
  p.b.packed = nullptr;
  if (packed.layout == &kRowsLayout) {
    p.b.data = packed_rows(packed).transposed();
    column_sums = packed_sums(packed);
    return {};
  }
  OCTAVO_TRY(memory.take(
      "unpack", static_cast<std::size_t>(packed.k * packed.n * element_bytes(packed.dtype))));
  p.b.data = matrix_view(memory.data(), packed.dtype, packed.k, packed.n, packed.device);
  return packed.layout->unpack(packed, p.b.data, context);
}

// Every member, its A quantised and its B a matrix, through `multiply(member, sums of B's columns
// that a packed weight has)`; and what no member has of the output.
template <class Multiply>
Status run_members(const MatmulProblem& given, const ExecContext& context, void* workspace,
                   const Multiply& multiply) noexcept {
  MatmulProblem problem = given;
  NearOffsets offsets;
  OCTAVO_TRY(offsets.take(problem, context));
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    Member part = member(problem, g);
    Arena arena(workspace);
    OCTAVO_TRY(quantize_activations(part, problem.options, arena, context));
    Scratch unpacked(context.place(part.out.device));
    const std::int32_t* column_sums = nullptr;
    OCTAVO_TRY(unpack(part, unpacked, column_sums, context));
    OCTAVO_TRY(multiply(part, column_sums));
  }
  const MatrixView rest = tail(problem);
  if (rest.numel() == 0) return {};
  return fill({static_cast<TensorView>(rest), 0.0F}, context);
}

// What quantised activations take, one member after the other in the same place.
void reserve_member(const Member& given, const MatmulOptions& options, Plan& plan) noexcept {
  Member part = given;
  Arena arena(nullptr);
  (void)quantize_activations(part, options, arena, {}).ok();
  plan.workspace_bytes = std::max(plan.workspace_bytes, arena.used());
}

// ---- sm90, sm80 ---------------------------------------------------------------------------------

constexpr const char* kHowsOfList =
    "a launch for each product of the list, by kernels that differ with its rows or types";

template <Cores cores>
const char* plan_dense(const MatmulProblem& problem, int, Plan& plan) noexcept {
  plan.how = "no groups, nothing to multiply";
  const char* list_at_once = nullptr;
  Member cut;
  for (std::int64_t g = 0; g < distinct_members(problem); ++g) {
    const Member& part = planned_member(problem, g, cut);
    if (const char* why = lacks(cores, part.a.data.device); why != nullptr) return why;
    DensePath path;
    if (const char* why = find_dense_path(cores, part, problem.options, problem.groups.split, path);
        why != nullptr)
      return why;
    const char* how = is_at_once(problem, path) ? path.at_once : path.how;
    plan.how = g == 0 || std::string_view(plan.how) == how ? how : kHowsOfList;
    plan.sum_error = std::max(plan.sum_error, sum_error(path, part, problem.options));
    reserve_member(part, problem.options, plan);
    if (g == 0 && JoinedList::may_join(problem) && is_at_once(JoinedList::outline(problem), path))
      list_at_once = path.list_at_once;
  }
  if (list_at_once != nullptr) plan.how = list_at_once;
  return nullptr;
}

template <Cores cores>
Status run_dense(const MatmulProblem& problem, const Plan&, const ExecContext& context,
                 void* workspace) noexcept {
  const auto path_of = [&](const Member& part, DensePath& path) {
    const char* why = find_dense_path(cores, part, problem.options, Split::none, path);
    if (why == nullptr) return Status();
    return fail(Code::internal, "{}: tensor cores were not to multiply: {}", problem.operation,
                why);
  };
  if (is_tensor_form(problem) && group_count(problem) > 0) {
    Member first;
    DensePath path;
    OCTAVO_TRY(path_of(planned_member(problem, 0, first), path));
    if (is_at_once(problem, path)) return run_at_once(problem, path, context);
  }
  if (JoinedList::may_join(problem)) {
    DensePath path;
    OCTAVO_TRY(path_of(problem.groups.list.front(), path));
    JoinedList list;
    if (is_at_once(JoinedList::outline(problem), path) && list.join(problem))
      return run_at_once(list.problem(), path, context);
  }
  const auto multiply = [&](const Member& part, const std::int32_t* column_sums) {
    DensePath path;
    OCTAVO_TRY(path_of(part, path));
    return run_dense(part, problem.options, path, column_sums, context);
  };
  return run_members(problem, context, workspace, multiply);
}

// ---- cuda ---------------------------------------------------------------------------------------

const char* plan_general(const MatmulProblem& problem, int, Plan& plan) noexcept {
  plan.how = has_offsets(problem)
                 ? "general kernel: float32 products in ascending k; offsets come to the host"
                 : "general kernel: float32 products in ascending k";
  Member cut;
  for (std::int64_t g = 0; g < distinct_members(problem); ++g)
    reserve_member(planned_member(problem, g, cut), problem.options, plan);
  return nullptr;
}

Status run_cuda(const MatmulProblem& problem, const Plan&, const ExecContext& context,
                void* workspace) noexcept {
  return run_members(problem, context, workspace, [&](const Member& part, const std::int32_t*) {
    return run_general(part, problem.options, context.place(part.out.device));
  });
}

const WeightLayout* layout(DType) noexcept { return &kRowsLayout; }

}  // namespace

constexpr Passes kPasses{
    .convert = &convert,
    .fill = &fill,
    .gather = &gather,
    .map_codes = &map_codes,
    .unswizzle = &unswizzle,
    .check_finite = &check_finite,
    .quantize = &quantize,
    .code_errors = &code_errors,
    .vectorwise = &vectorwise,
    .quantize_activations = &quantize_activations,
    .rescale = &rescale,
    .reduce = &reduce,
    .mask = &mask,
    .learned_step = &learned_step,
    .dequantize_sums = &dequantize_sums,
    .split_zero_points = &split_zero_points,
    .split_sums = &split_sums,
    .silu_and_mul = &silu_and_mul,
    .rms_norm = nullptr,
    .rotate = nullptr,
    .quantize_rows = nullptr,
    .attention_scratch = nullptr,
    .attention = nullptr,
    .silu_and_mul_vjp = &silu_and_mul_vjp,
    .combine = &combine,
    .activate = &activate,
    .finish = &finish,
};

constinit const Backend kSm90Backend{
    .name = "sm90",
    .summary = "Hopper's tensor cores: wgmma fed by TMA",
    .device = DeviceType::cuda,
    .unavailable = &unavailable,
    .plan = &plan_dense<Cores::wgmma>,
    .run = &run_dense<Cores::wgmma>,
    .passes = kPasses,
    .layout = &layout,
};

constinit const Backend kSm80Backend{
    .name = "sm80",
    .summary = "tensor cores of any CUDA device from 8.0 on: mma.sync fed by cp.async",
    .device = DeviceType::cuda,
    .unavailable = &unavailable,
    .plan = &plan_dense<Cores::mma_sync>,
    .run = &run_dense<Cores::mma_sync>,
    .passes = kPasses,
    .layout = &layout,
};

constinit const Backend kCudaBackend{
    .name = "cuda",
    .summary = "any CUDA device from 8.0 on: the reference's arithmetic",
    .device = DeviceType::cuda,
    .unavailable = &unavailable,
    .plan = &plan_general,
    .run = &run_cuda,
    .passes = kPasses,
    .layout = &layout,
};

}  // namespace octavo::cuda
