// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/write_folder.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"
#include "checkpoint/write/folder_files.hpp"
#include "checkpoint/write/job.hpp"
#include "checkpoint/write/plan_writer.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kTied = "tie_word_embeddings";
constexpr Code kOfTheInput[]{Code::invalid_argument, Code::unsupported, Code::corrupt_data};

/// Throws Error (invalid_argument) where a file of the input has a name that the writer needs.
void check_names(const Checkpoint& in, const char* operation) {
  for (const CheckpointFile& file : in.files()) {
    const std::string& name = file.name;
    if (!name.starts_with(kPrivatePrefix) && !is_declaration(name) &&
        !name.ends_with(kIndexSuffix)) {
      continue;
    }
    refuse(Code::invalid_argument,
           "{}: files of {} must not have names that a writer needs for others; got {}", operation,
           in_quotes(in.folder()), in_quotes(name));
  }
}

/// config.json of a model whose head has a weight of its own; parts that say otherwise, too.
std::string untied(std::string config) {
  std::vector<std::string> parts;
  for (const JsonField& field : json_fields(config).value_or(std::vector<JsonField>{})) {
    if (json_field(field.value, kTied)) parts.emplace_back(field.key);
  }
  for (const std::string& part : parts) {
    const std::string text(json_field(config, part).value_or("{}"));
    config = with_json_field(config, part, with_json_field(text, kTied, "false"));
  }
  return with_json_field(config, kTied, "false");
}

class FolderWriter {
 public:
  FolderWriter(const Checkpoint& in, const std::string& out, WritePlan plan,
               const RunOptions& options)
      : in_(in),
        out_(plan.operation, in.folder(), out, options.temporary),
        run_(in, std::move(plan), options),
        job_(out_, in, run_.plan()) {}

  /// What fails by the input leaves nothing behind; after other failures the same run goes on.
  QuantizeReport run() {
    try {
      return write_all();
    } catch (const Error& error) {
      if (std::ranges::find(kOfTheInput, error.code()) != std::end(kOfTheInput)) job_.undo();
      out_.remove_made();
      throw;
    }
  }

 private:
  const char* operation() const noexcept { return run_.plan().operation; }

  QuantizeReport write_all() {
    const OtherFiles others = other_files(in_);
    for (const std::string& name : others.left_out) {
      run_.report().warnings.push_back(
          fmt::format("{}: folder {} must not need {}, which holds weights in another form and is "
                      "not copied",
                      operation(), in_quotes(out_.path()), in_quotes(name)));
    }
    reserve(others);
    job_.begin();
    for (std::size_t i = 0; i < run_.plan().files.size(); ++i) write(i);
    for (const std::string& name : others.names) {
      if (in_.impl().gguf) {
        out_.write(name, in_.impl().text(name).value_or(""));
      } else {
        out_.copy(in_.impl().beside, name);
      }
    }
    write_index();
    write_config();
    job_.end();
    QuantizeReport report = std::move(run_.report());
    for (const CheckpointFile& file : in_.files()) report.file_bytes_after += out_.bytes(file.name);
    return report;
  }

  std::map<std::string, std::string> metadata(std::size_t file) const {
    std::map<std::string, std::string> kept = in_.files()[file].metadata;
    kept.erase(kConfigKey);  // config.json has it
    return kept;
  }

  void reserve(const OtherFiles& others) const {
    std::int64_t bytes = others.bytes;
    for (std::size_t i = 0; i < run_.plan().files.size(); ++i) {
      const FileLayout layout = run_.layout(i, metadata(i));
      if (in_.impl().inputs[i].sparse() || job_.finished(in_.files()[i].name, layout)) continue;
      bytes += layout.bytes;
    }
    out_.need(bytes);
  }

  void write(std::size_t file) {
    const std::string& name = in_.files()[file].name;
    if (auto layers = job_.finished(name, run_.layout(file, metadata(file)))) {
      run_.take_over(file, std::move(*layers));
      return;
    }
    const std::size_t before = run_.report().layers.size();
    run_.write(file, out_.at(name), metadata(file));
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
                           json_string(operation(), file.outputs[i].name),
                           json_string(operation(), file.name));
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

  // What the input declares is not what the output is.
  void write_config() {
    const auto text = in_.impl().text(kConfigFile);
    const auto& declared = run_.plan().config;
    if (!text && !declared) return;
    if (!text) {
      run_.report().warnings.push_back(fmt::format(
          "{}: folder {} must hold config.json for other programs to know how the model is "
          "quantised; got none, so one is written with \"{}\" alone",
          operation(), in_quotes(in_.folder()), kConfigKey));
    }
    std::string config = without_declarations(text.value_or("{}"));
    if (run_.plan().unties) config = untied(config);
    if (declared) config = with_json_field(config, kConfigKey, indented_json(*declared, 1));
    out_.write(kConfigFile, config);
  }

  const Checkpoint& in_;
  OutputFolder out_;
  PlanWriter run_;
  Job job_;
};

}  // namespace

QuantizeReport write_folder(const Checkpoint& in, const std::string& out, WritePlan plan,
                            const RunOptions& options) {
  check_names(in, plan.operation);
  return FolderWriter(in, out, std::move(plan), options).run();
}

}  // namespace octavo::checkpoint
