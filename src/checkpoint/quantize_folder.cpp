// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/quantize_folder.hpp"

#include <filesystem>
#include <utility>

#include "checkpoint/folder_files.hpp"
#include "checkpoint/impl.hpp"
#include "checkpoint/job.hpp"
#include "checkpoint/json_text.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/quantize_run.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "config.json";

class FolderQuantizer {
 public:
  FolderQuantizer(const Checkpoint& in, const std::string& out, const QuantizeFileOptions& options)
      : in_(in),
        out_("quantize_file", in.folder(), out),
        run_(in, options),
        job_(out_, in, run_.config()) {}

  QuantizeReport run() {
    const OtherFiles others = other_files(in_);
    for (const std::string& name : others.left_out) {
      run_.report().warnings.push_back(fmt::format(
          "quantize_file: folder {} must not need {}, which holds weights in another form and is "
          "not copied",
          in_quotes(out_.path()), in_quotes(name)));
    }
    reserve(others);
    job_.begin();
    for (std::size_t i = 0; i < run_.plan().files.size(); ++i) quantise(i);
    for (const std::string& name : others.names) {
      copy_file(in_.impl().beside, name, out_, run_options().temporary);
    }
    write_index();
    write_config();
    job_.end();
    QuantizeReport report = std::move(run_.report());
    for (const CheckpointFile& file : in_.files()) report.file_bytes_after += out_.bytes(file.name);
    return report;
  }

 private:
  const QuantizeFileOptions& run_options() const noexcept { return run_.options(); }

  std::map<std::string, std::string> metadata(std::size_t file) const {
    std::map<std::string, std::string> kept = in_.files()[file].metadata;
    kept.erase(kConfigKey);  // config.json has it
    return kept;
  }

  void reserve(const OtherFiles& others) const {
    std::int64_t bytes = others.bytes;
    for (std::size_t i = 0; i < run_.plan().files.size(); ++i) {
      if (in_.impl().inputs[i].sparse() || job_.finished(in_.files()[i].name)) continue;
      bytes += run_.layout(i, metadata(i)).bytes;
    }
    out_.need(bytes);
  }

  void quantise(std::size_t file) {
    const std::string& name = in_.files()[file].name;
    if (auto layers = job_.finished(name)) {
      run_.take_over(file, std::move(*layers));
      return;
    }
    const std::size_t before = run_.report().layers.size();
    run_.quantise(file, out_.at(name), metadata(file));
    job_.finish(name, std::span(run_.report().layers).subspan(before));
  }

  void write_index() {
    const std::string& index = in_.impl().index;
    if (index.empty()) return;
    std::string map;
    std::int64_t bytes = 0;
    for (const FilePlan& file : run_.plan().files) {
      const FileLayout layout = lay_out(file.outputs, {});
      for (std::size_t i = 0; i < file.outputs.size(); ++i) {
        map += fmt::format("{}{}:{}", map.empty() ? "" : ",",
                           json_string("quantize_file", file.outputs[i].name),
                           json_string("quantize_file", file.name));
        bytes += layout.ends[i] - layout.begins[i];
      }
    }
    const std::string old = in_.impl().text(index).value_or("{}");
    const std::string metadata(json_field(old, "metadata").value_or("{}"));
    const std::string counted = with_json_field(metadata, "total_size", std::to_string(bytes));
    out_.write(
        index,
        indented_json(fmt::format("{{\"metadata\":{},\"weight_map\":{{{}}}}}", counted, map), 0) +
            "\n");
  }

  void write_config() {
    const auto config = in_.impl().text(kConfigFile);
    if (!config) {
      run_.report().warnings.push_back(fmt::format(
          "quantize_file: folder {} must hold config.json for other programs to know how the model "
          "is quantised; got none, so one is written with \"{}\" alone",
          in_quotes(in_.folder()), kConfigKey));
    }
    out_.write(kConfigFile,
               with_json_field(config.value_or("{}"), kConfigKey, indented_json(run_.config(), 1)));
  }

  const Checkpoint& in_;
  OutputFolder out_;
  QuantizeRun run_;
  Job job_;
};

}  // namespace

QuantizeReport quantize_folder(const Checkpoint& in, const std::string& out,
                               const QuantizeFileOptions& options) {
  return FolderQuantizer(in, out, options).run();
}

}  // namespace octavo::checkpoint
