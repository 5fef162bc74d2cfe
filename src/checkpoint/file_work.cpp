// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/file_work.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "checkpoint/layer_report.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"
#include "core/cells.hpp"
#include "octavo/quantize.hpp"

namespace octavo::checkpoint {
namespace {

std::span<std::byte> bytes_in(const Tensor& tensor) {
  return {tensor.data_as<std::byte>(),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

/// The first element that is NaN or infinite: there is one.
std::pair<std::int64_t, std::int64_t> not_finite(const Tensor& rows) {
  const Tensor wide = copy(rows, DType::float32);
  const std::int64_t k = rows.size(1);
  const std::span values(wide.data_as<float>(), static_cast<std::size_t>(wide.numel()));
  const auto found = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); });
  const auto i = static_cast<std::int64_t>(found - values.begin());
  return {i / k, i % k};
}

/// Rows under one scale are never cut.
std::int64_t rows_of_piece(const Recipe& recipe, std::int64_t row_bytes) {
  const std::int64_t least = recipe.grid.rows;
  return std::max<std::int64_t>(1, kPieceBytes / std::max<std::int64_t>(1, row_bytes * least)) *
         least;
}

}  // namespace

FileWork::FileWork(const char* operation, const Checkpoint::Impl& in, const FilePlan& plan,
                   SafetensorsOutput& out)
    : operation_(operation), in_(in), out_(out) {
  for (const LayerPlan& layer : plan.layers) add_layer(layer);
  for (const MadePlan& made : plan.made) add_made(made);
  for (const CopyPlan& copy : plan.copies) add_copy(copy);
  // In the order of the file: disks read on.
  std::ranges::stable_sort(pieces_, {}, &Piece::offset);
  for (const std::size_t output : plan.zero_bytes) {
    pieces_.push_back({.run = [this, output] {
      const std::byte zero{0};
      out_.write(output, 0, std::span(&zero, 1));
    }});
  }
}

void FileWork::add_made(const MadePlan& made) {
  const TensorEntry& entry = *made.entry;
  pieces_.push_back({entry.name, &in_.inputs[entry.file], in_.data_begin[entry.file] + entry.begin,
                     entry.end - entry.begin, [this, &made] {
                       const std::vector<Tensor> tensors = made.make();
                       for (std::size_t i = 0; i < tensors.size(); ++i) {
                         out_.write(made.outputs[i], 0, bytes_in(tensors[i]));
                       }
                     }});
}

void FileWork::add_copy(const CopyPlan& copy) {
  const TensorEntry& entry = *copy.entry;
  const std::int64_t bytes = entry.end - entry.begin;
  for (std::int64_t begin = 0; begin < bytes; begin += kPieceBytes) {
    const std::int64_t count = std::min(kPieceBytes, bytes - begin);
    pieces_.push_back({entry.name, &in_.inputs[entry.file],
                       in_.data_begin[entry.file] + entry.begin + begin, count,
                       [this, &entry, output = copy.output, begin, count] {
                         std::vector<std::byte> buffer(static_cast<std::size_t>(count));
                         in_.read(entry, begin, buffer);
                         out_.write(output, begin, buffer);
                       }});
  }
}

void FileWork::add_layer(const LayerPlan& plan) {
  Layer& layer = layers_.emplace_back(Layer{&plan, {}});
  const TensorEntry& entry = *plan.entry;
  const std::int64_t row_bytes = plan.k * element_bytes(dtype_of_name(entry.dtype));
  const std::int64_t step = rows_of_piece(*plan.recipe, row_bytes);
  for (std::int64_t row = 0; row < plan.n; row += step) {
    const std::int64_t rows = std::min(step, plan.n - row);
    CodeErrors& errors = layer.blocks.emplace_back();
    pieces_.push_back(
        {entry.name, &in_.inputs[entry.file],
         in_.data_begin[entry.file] + entry.begin + (plan.first_row + row) * row_bytes,
         rows * row_bytes,
         [this, &plan, row, rows, &errors] { quantise(plan, row, rows, errors); }});
  }
}

void FileWork::quantise(const LayerPlan& plan, std::int64_t row, std::int64_t rows,
                        CodeErrors& errors) {
  const TensorEntry& entry = *plan.entry;
  const Recipe& recipe = *plan.recipe;
  const Tensor weight = Tensor::empty(dtype_of_name(entry.dtype), {rows, plan.k});
  const std::int64_t first = plan.first_row + row;
  in_.read(entry, first * plan.k * element_bytes(weight.dtype()), bytes_in(weight));
  const Written written = recipe.quantise(weight, ExecContext{.executor = &serial_executor()});
  errors = code_errors(weight, written.codes);
  if (!errors.finite) {
    const auto [i, j] = not_finite(weight);
    refuse(Code::corrupt_data,
           "{}: tensor {} must be finite; got NaN or infinity at [{}, {}] (file {})", operation_,
           in_quotes(entry.name), first + i, j, in_quotes(in_.files[entry.file].name));
  }
  const std::int64_t scale = row / recipe.grid.rows * cells(plan.k, recipe.grid.cols) *
                             element_bytes(written.scale.dtype());
  out_.write(plan.codes, row * plan.k, bytes_in(written.codes.data));
  out_.write(plan.scale, scale, bytes_in(written.scale));
}

std::vector<LayerReport> FileWork::reports() const {
  std::vector<LayerReport> reports;
  for (const Layer& layer : layers_) {
    const LayerPlan& plan = *layer.plan;
    CodeErrors sum;
    for (const CodeErrors& block : layer.blocks) sum += block;
    LayerReport report = report_of(plan.name, plan.n, plan.k, sum);
    const std::int64_t elements = plan.n * plan.k;
    report.bytes_before = elements * element_bytes(dtype_of_name(plan.entry->dtype));
    report.bytes_after =
        elements + out_.layout().ends[plan.scale] - out_.layout().begins[plan.scale];
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace octavo::checkpoint
