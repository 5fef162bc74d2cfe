// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/quantize_run.hpp"

#include <iterator>
#include <utility>

#include "checkpoint/quantize_pieces.hpp"
#include "octavo/context.hpp"

namespace octavo::checkpoint {

QuantizeRun::QuantizeRun(const Checkpoint& in, const QuantizeFileOptions& options)
    : in_(in),
      impl_(in.impl()),
      options_(options),
      recipe_(recipe_of("quantize_file", options.scheme)),
      plan_(plan_quantisation(in, recipe_, options)),
      config_(config_text("quantize_file", options.scheme, plan_.kept, plan_.outliers)) {
  for (const TensorEntry& entry : in.entries()) total_ += entry.end - entry.begin;
  report_.file_bytes_before = in.file_bytes();
  report_.tensors_copied = plan_.tensors_copied;
  report_.warnings = plan_.warnings;
}

FileLayout QuantizeRun::layout(std::size_t file,
                               const std::map<std::string, std::string>& metadata) const {
  return lay_out(plan_.files[file].outputs, metadata);
}

void QuantizeRun::quantise(std::size_t file, const std::string& path,
                           const std::map<std::string, std::string>& metadata) {
  SafetensorsOutput out(path, layout(file, metadata), impl_.inputs[file].sparse(),
                        options_.temporary);
  const FileWork work(impl_, recipe_, plan_.files[file], out);
  const int threads = options_.threads > 0 ? options_.threads : default_executor().concurrency();
  run_pieces(work.pieces(), threads, [&](std::int64_t bytes) {
    if (options_.progress) options_.progress(done_ + bytes, total_);
  });
  out.commit();
  take_over(file, work.reports());
}

void QuantizeRun::take_over(std::size_t file, std::vector<LayerReport> layers) {
  for (const TensorEntry& entry : in_.entries()) {
    if (entry.file == file) done_ += entry.end - entry.begin;
  }
  report_.layers.insert(report_.layers.end(), std::move_iterator(layers.begin()),
                        std::move_iterator(layers.end()));
}

}  // namespace octavo::checkpoint
