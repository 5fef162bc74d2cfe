// SPDX-License-Identifier: Apache-2.0
// Quantised experts stored in one tensor: a row for each way to name its scale.
#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/impl.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/scale_rules.hpp"
#include "checkpoint/sentence.hpp"
#include "core/cells.hpp"
#include "core/fp_env.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// The names of a stack's tensors behind the prefix.
struct Naming {
  std::string_view codes;
  std::string_view scale;
};
constexpr std::array<Naming, 5> kNamings{{
    {"", "_scale_inv"},  // transformers, Qwen
    {"", "_scales_inv"},
    {"", "_scale"},  // FBGEMM
    {".weight", ".weight_scale"},
    {".weight", ".weight_scale_inv"},
}};

bool is_stack(const TensorEntry* entry) {
  if (entry == nullptr || entry->shape.size() != 3) return false;
  const DType dtype = dtype_of_name(entry->dtype);
  return dtype == DType::int8 || is_float8(dtype);
}

/// How a model's stacks lie, which their two shapes tell: [E, 2 I, H] beside [E, H, I], or
/// [E, H, 2 I] beside [E, I, H].
enum class Order : std::uint8_t { rows_are_outputs, rows_are_inputs };

Order order_of(const Header& header, const std::string& prefix, const TensorEntry& entry) {
  constexpr std::string_view kBoth = "gate_up_proj", kDown = "down_proj";
  const bool is_both = prefix.ends_with(kBoth);
  if (!is_both && !prefix.ends_with(kDown)) return Order::rows_are_outputs;
  const std::string stem = prefix.substr(0, prefix.size() - (is_both ? kBoth : kDown).size());
  const std::string other =
      stem + std::string(is_both ? kDown : kBoth) + entry.name.substr(prefix.size());
  const TensorEntry* partner = header.find(other);
  if (!is_stack(partner) || partner->shape[0] != entry.shape[0]) {
    refuse(
        Code::corrupt_data,
        "Checkpoint::experts: tensor {} must have tensor {} of as many experts beside it; got {}",
        in_quotes(entry.name), in_quotes(other),
        partner == nullptr ? "none" : shape_text(partner->shape));
  }
  const auto& both = is_both ? entry.shape : partner->shape;
  const auto& down = is_both ? partner->shape : entry.shape;
  if (both[1] == 2 * down[2] && both[2] == down[1]) return Order::rows_are_outputs;
  if (both[2] == 2 * down[1] && both[1] == down[2]) return Order::rows_are_inputs;
  refuse(Code::corrupt_data,
         "Checkpoint::experts: tensors {} and {} must be [E, 2 I, H] and [E, H, I], or [E, H, 2 I] "
         "and [E, I, H]; got {} and {}",
         in_quotes(entry.name), in_quotes(other), shape_text(entry.shape),
         shape_text(partner->shape));
}

/// [E, a, b] as [E, b, a].
Tensor swapped(const Tensor& stored) {
  TensorView view = stored.view();
  std::swap(view.shape[1], view.shape[2]);
  std::swap(view.strides[1], view.strides[2]);
  return copy(view, stored.dtype());
}

/// One element for each cell of each expert, in as many dimensions as it takes.
bool fits(const TensorView& scale, const TensorView& codes, const ScaleGrid& grid) {
  const std::int64_t rows = cells(codes.shape[1], grid.rows);
  const std::int64_t cols = cells(codes.shape[2], grid.cols);
  if (scale.rank == 0 || scale.shape[0] != codes.shape[0]) return false;
  if (scale.rank == 3) return scale.shape[1] == rows && scale.shape[2] == cols;
  if (scale.rank == 2) return scale.shape[1] == rows && cols == 1;
  return scale.rank == 1 && rows == 1 && cols == 1;
}

Granularity granularity_of(const ScaleGrid& grid) {
  if (grid.cols == kWholeExtent) {
    return grid.rows == kWholeExtent ? per_tensor() : per_channel();
  }
  return grid.rows == 1 ? group(grid.cols) : block(grid.rows, grid.cols);
}

ExpertStack read_stack(const Checkpoint& file, const Checkpoint::Impl& impl,
                       const std::string& prefix) {
  for (const Naming& naming : kNamings) {
    const TensorEntry* entry = impl.header.find(prefix + std::string(naming.codes));
    const std::string scale_name = prefix + std::string(naming.scale);
    if (!is_stack(entry) || !file.contains(scale_name)) continue;
    const LayerConfig config = impl.config().layer(prefix);
    const bool swap = order_of(impl.header, prefix, *entry) == Order::rows_are_inputs;
    const Tensor stored = file.tensor(entry->name);
    Tensor scale = file.tensor(scale_name);
    const Tensor codes = swap ? swapped(stored) : stored;
    if (swap && scale.rank() == 3) scale = swapped(scale);
    std::vector<ScaleGrid> readings(kUndeclaredGrids.begin(), kUndeclaredGrids.end());
    if (config.grid) readings.assign(1, *config.grid);
    for (ScaleGrid& reading : readings) {  // blocks are of the tensor as stored
      if (swap && reading.rows != 1 && reading.cols != kWholeExtent) {
        std::swap(reading.rows, reading.cols);
      }
    }
    const auto grid = std::ranges::find_if(
        readings, [&](const ScaleGrid& reading) { return fits(scale, codes, reading); });
    if (grid == readings.end()) {
      refuse(Code::corrupt_data,
             "Checkpoint::experts: tensor {} must have a scale for each cell of a granularity of "
             "the experts {}; got {}",
             in_quotes(scale_name), shape_string(codes), shape_string(scale));
    }
    ExpertStack stack;
    stack.codes = codes;
    stack.scale = widened(scale_name, scale, codes.dtype());
    stack.granularity = granularity_of(*grid);
    stack.activation = config.activation.value_or(activations_follow(codes.dtype(), *grid));
    stack.scheme = scheme_of(codes.dtype(), *grid, is_exponent(scale.dtype()), stack.activation);
    return stack;
  }
  refuse(
      Code::invalid_argument,
      "Checkpoint::experts: prefix must name quantised experts [E, N, K] with their scale beside "
      "them; got {}{}",
      in_quotes(prefix), nearest_name(impl.header, prefix));
}

}  // namespace

ExpertStack Checkpoint::experts(std::string_view prefix) const {
  return at_edge("Checkpoint::experts",
                 [&] { return read_stack(*this, *impl_, std::string(prefix)); });
}

std::vector<std::string> Checkpoint::quantized_experts() const {
  return at_edge("Checkpoint::quantized_experts", [&] {
    std::set<std::string> stacks;
    for (const TensorEntry& entry : entries()) {
      if (!is_stack(&entry)) continue;
      for (const Naming& naming : kNamings) {
        if (!entry.name.ends_with(naming.codes)) continue;
        std::string prefix = entry.name.substr(0, entry.name.size() - naming.codes.size());
        if (contains(prefix + std::string(naming.scale))) stacks.insert(std::move(prefix));
      }
    }
    return std::vector<std::string>(stacks.begin(), stacks.end());
  });
}

}  // namespace octavo
