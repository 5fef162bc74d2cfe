// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/plan_writer.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "checkpoint/write/file_work.hpp"
#include "octavo/context.hpp"

namespace octavo::checkpoint {
namespace {

/// As many as were asked for; else one for each MiB, up to those that the executor has: starting a
/// thread costs more than a small file.
int threads_for(int wanted, std::int64_t bytes) {
  constexpr std::int64_t kEach = std::int64_t{1} << 20;
  if (wanted > 0) return wanted;
  return static_cast<int>(
      std::min<std::int64_t>(default_executor().concurrency(), 1 + bytes / kEach));
}

}  // namespace

int most_threads(int wanted) { return wanted > 0 ? wanted : default_executor().concurrency(); }

PlanWriter::PlanWriter(const Checkpoint& in, WritePlan plan, const RunOptions& options)
    : in_(in), plan_(std::move(plan)), options_(options) {
  for (const TensorEntry& entry : in.entries()) total_ += entry.end - entry.begin;
  report_.file_bytes_before = in.file_bytes();
  report_.tensors_copied = plan_.tensors_copied;
  report_.warnings = in.impl().findings;
  report_.warnings.insert(report_.warnings.end(), plan_.warnings.begin(), plan_.warnings.end());
  report_.smoothed_norms = plan_.smoothed_norms;
  report_.unsmoothed_layers = plan_.unsmoothed_layers;
}

FileLayout PlanWriter::layout(std::size_t file,
                              const std::map<std::string, std::string>& metadata) const {
  return lay_out(plan_.files[file].outputs, metadata);
}

void PlanWriter::write(std::size_t file, const std::string& path,
                       const std::map<std::string, std::string>& metadata) {
  SafetensorsOutput out(path, layout(file, metadata), in_.impl().inputs[file].sparse(),
                        options_.temporary);
  const int threads = threads_for(options_.threads, out.layout().bytes);
  const FileWork work(plan_.operation, in_.impl(), plan_.files[file], out, threads);
  run_pieces(work.pieces(), threads, [&](std::string_view name, std::int64_t bytes) {
    if (options_.at && !name.empty()) options_.at(name);
    if (options_.progress) options_.progress(done_ + bytes, total_);
  });
  std::vector<LayerReport> layers = work.reports();
  report_.layers.reserve(report_.layers.size() + layers.size());
  out.commit();  // nothing may fail from here on
  take_over(file, std::move(layers));
}

void PlanWriter::take_over(std::size_t file, std::vector<LayerReport> layers) {
  for (const TensorEntry& entry : in_.entries()) {
    if (entry.file == file) done_ += entry.end - entry.begin;
  }
  report_.layers.insert(report_.layers.end(), std::move_iterator(layers.begin()),
                        std::move_iterator(layers.end()));
}

}  // namespace octavo::checkpoint
