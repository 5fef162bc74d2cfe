// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/file_work.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "checkpoint/steps/gptq_layer.hpp"
#include "checkpoint/steps/layer_report.hpp"
#include "checkpoint/steps/rows.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"
#include "octavo/quantize.hpp"

namespace octavo::checkpoint {
namespace {

std::span<const std::byte> view_of(const Tensor& tensor) {
  return {tensor.data_as<std::byte>(),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

/// Layers that read the same input, so that its Hessian is factored once.
std::vector<std::vector<const LayerPlan*>> by_hessian(const FilePlan& plan) {
  std::vector<std::vector<const LayerPlan*>> groups;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.hessian == nullptr) continue;
    const auto found = std::ranges::find_if(groups, [&](const auto& group) {
      return group[0]->hessian->tensor == layer.hessian->tensor && group[0]->smooth == layer.smooth;
    });
    (found != groups.end() ? *found : groups.emplace_back()).push_back(&layer);
  }
  return groups;
}

}  // namespace

FileWork::FileWork(const char* operation, const Checkpoint::Impl& in, const FilePlan& plan,
                   SafetensorsOutput& out, int threads)
    : operation_(operation), in_(in), out_(out), threads_(threads) {
  for (const LayerPlan& layer : plan.layers) {
    if (layer.hessian == nullptr) add_layer(layer);
  }
  for (std::vector<const LayerPlan*>& layers : by_hessian(plan)) add_gptq(std::move(layers));
  for (const MadePlan& made : plan.made) add_made(made);
  for (const CopyPlan& copy : plan.copies) add_copy(copy);
  // In the order of the file: disks read on.
  std::ranges::stable_sort(pieces_, {}, &Piece::offset);
  for (const ConstantPlan& constant : plan.constants) {
    pieces_.push_back(
        {.run = [this, &constant] { out_.write(constant.output, 0, constant.bytes); }});
  }
}

void FileWork::add_made(const MadePlan& made) {
  const TensorEntry& entry = *made.entry;
  LayerReport& report = made_.emplace_back(Made{&made, {}}).report;
  pieces_.push_back({entry.name, &in_.inputs[entry.file],
                     in_.data_begin[entry.file] + entry.begin + made.begin, made.bytes,
                     [this, &made, &report] {
                       const std::vector<Tensor> tensors = made.make(report);
                       for (std::size_t i = 0; i < tensors.size(); ++i) {
                         out_.write(made.outputs[i], made.output_begin, view_of(tensors[i]));
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
  Layer& layer = layers_.emplace_back(Layer{&plan});
  const TensorEntry& entry = *plan.entry;
  const std::int64_t element = element_bytes(dtype_before(plan));
  const std::int64_t step = rows_of_piece(plan);
  for (std::int64_t row = 0; row < plan.at.n; row += step) {
    const std::int64_t rows = std::min(step, plan.at.n - row);
    const std::int64_t begin = (plan.at.begin + row * plan.at.row_step) * element;
    CodeErrors& errors = layer.blocks.emplace_back();
    pieces_.push_back(
        {entry.name, &in_.inputs[entry.file],
         in_.data_begin[entry.file] + entry.begin + (plan.values ? plan.values->begin : begin),
         plan.values ? plan.values->bytes : rows * plan.at.k * element,
         [this, &plan, row, rows, &errors] { quantize(plan, row, rows, errors); }});
  }
}

void FileWork::quantize(const LayerPlan& plan, std::int64_t row, std::int64_t rows,
                        CodeErrors& errors) {
  const QuantizedRows made = quantize_rows(in_, plan, row, rows, operation_);
  errors = made.errors;
  write(plan, row, made.written);
}

void FileWork::write(const LayerPlan& plan, std::int64_t row, const Written& written) {
  const Recipe& recipe = *plan.recipe;
  const std::int64_t scale = row / recipe.grid.rows * cells(plan.at.k, recipe.grid.cols) *
                             element_bytes(written.scale.dtype());
  if (plan.packed) add_128(written.codes.data);
  out_.write(plan.codes, row * plan.at.k, view_of(written.codes.data));
  out_.write(plan.scale, scale, view_of(written.scale));
}

void FileWork::add_gptq(std::vector<const LayerPlan*> plans) {
  const TensorEntry& entry = *plans[0]->entry;
  std::int64_t bytes = 0;
  std::vector<Layer*> layers;
  for (const LayerPlan* plan : plans) {
    layers.push_back(&layers_.emplace_back(Layer{plan, {CodeErrors{}}}));
    bytes += plan->values ? plan->values->bytes
                          : plan->at.n * plan->at.k * element_bytes(dtype_before(*plan));
  }
  pieces_.push_back({entry.name, &in_.inputs[entry.file], in_.data_begin[entry.file] + entry.begin,
                     bytes, [this, layers = std::move(layers)] {
                       const std::lock_guard alone(gptq_);
                       const InputHessian hessian = input_hessian(*layers[0]->plan);
                       for (Layer* layer : layers) {
                         const GptqLayer made = quantize_gptq(in_, *layer->plan, hessian, threads_);
                         layer->blocks[0] = made.rows.errors;
                         layer->nearest_output_error = made.nearest_error;
                         layer->output_error = made.error;
                         write(*layer->plan, 0, made.rows.written);
                       }
                     }});
}

std::vector<LayerReport> FileWork::reports() const {
  std::vector<LayerReport> reports;
  for (const Layer& layer : layers_) {
    const LayerPlan& plan = *layer.plan;
    CodeErrors sum;
    for (const CodeErrors& block : layer.blocks) sum += block;
    LayerReport report = report_of(plan.name, plan.at.n, plan.at.k, sum);
    const std::int64_t elements = plan.at.n * plan.at.k;
    report.nearest_output_error = layer.nearest_output_error;
    report.output_error = layer.output_error;
    report.bytes_before = elements * element_bytes(dtype_before(plan));
    report.bytes_after =
        elements + out_.layout().ends[plan.scale] - out_.layout().begins[plan.scale];
    reports.push_back(std::move(report));
  }
  for (const Made& made : made_) {
    if (made.plan->reports) reports.push_back(made.report);
  }
  return reports;
}

}  // namespace octavo::checkpoint
