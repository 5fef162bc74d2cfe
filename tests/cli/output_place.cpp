// SPDX-License-Identifier: Apache-2.0
// Every command that writes: what is there is replaced by --overwrite alone, and IN never is.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "cli/cli.hpp"

namespace octavo::test {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

class OutputPlaces : public Cli {
 protected:
  /// The commands that write, and what each needs beside IN and OUT.
  const std::map<std::string, Words> writers{{"quantize", {"--scheme=fp8-dynamic", "--requantize"}},
                                             {"convert", {"--to=compressed-tensors"}},
                                             {"dequantize", {"--dtype=float32"}}};

  /// A quantised model as a file, or as a folder with another file.
  std::string quantized(bool folder) const {
    if (!folder) {
      octavo({"quantize", model(), path("in"), "-q"});
      return path("in");
    }
    fs::create_directories(path("float"));
    fs::rename(model(), path("float/model.safetensors"));
    std::ofstream(path("float/config.json")) << "{}";
    octavo({"quantize", path("float"), path("in"), "-q"});
    return path("in");
  }

  Outcome write(const std::string& command, const std::string& in, const Words& more) const {
    Words words{command, in, "--quiet"};
    words.insert(words.end(), writers.at(command).begin(), writers.at(command).end());
    words.insert(words.end(), more.begin(), more.end());
    return octavo(words);
  }

  /// Every file under a path, with its content.
  static std::map<std::string, std::string> content(const std::string& place) {
    if (!fs::is_directory(place)) return {{"", slurp(place)}};
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(place)) {
      if (entry.is_regular_file()) files[fs::relative(entry.path(), place)] = slurp(entry.path());
    }
    return files;
  }
};

TEST_F(OutputPlaces, AreOfTheseCommands) {
  const std::string script = octavo({"completion", "bash"}).out;
  std::size_t found = 0;
  for (std::size_t at = 0; (at = script.find("--out", at)) != std::string::npos; ++at) ++found;
  EXPECT_EQ(writers.size(), found) << script;
  for (const auto& [command, more] : writers) {
    EXPECT_NE(std::string::npos, octavo({command, "--help"}).out.find("-o,--out PATH")) << command;
  }
}

TEST_F(OutputPlaces, AreReplacedByOverwriteAlone) {
  for (const bool folder : {false, true}) {
    for (const auto& [command, more] : writers) {
      SCOPED_TRACE(command + (folder ? " of a folder" : " of a file"));
      for (const auto& entry : fs::directory_iterator(path(""))) fs::remove_all(entry.path());
      const std::string in = quantized(folder), out = path("out"), fresh = path("fresh");
      ASSERT_EQ(0, write(command, in, {fresh}).exit);
      ASSERT_EQ(0, write(command, in, {"-o", out}).exit);
      EXPECT_EQ(content(fresh), content(out));

      std::ofstream(folder ? out + "/mark" : out, std::ios::app) << "mark";
      const auto marked = content(out);
      const Outcome refused = write(command, in, {out});
      EXPECT_EQ(3, refused.exit);
      EXPECT_NE(std::string::npos, refused.err.find("unless --overwrite is given")) << refused.err;
      EXPECT_EQ(marked, content(out));

      const Outcome replaced = write(command, in, {out, "--overwrite"});
      EXPECT_EQ(0, replaced.exit) << replaced.err;
      EXPECT_EQ(content(fresh), content(out));
      EXPECT_FALSE(fs::exists(out + ".octavo-new"));
    }
  }
}

TEST_F(OutputPlaces, AreNeverTheInput) {
  for (const bool folder : {false, true}) {
    for (const auto& entry : fs::directory_iterator(path(""))) fs::remove_all(entry.path());
    const std::string in = quantized(folder);
    fs::create_symlink(in, path("link"));
    const auto before = content(in);
    for (const auto& [command, more] : writers) {
      for (const std::string& out : {in, path("./in"), path("link")}) {
        for (const Words& words : {Words{out}, Words{out, "--overwrite"}}) {
          const Outcome got = write(command, in, words);
          EXPECT_EQ(3, got.exit) << command << " " << out;
          EXPECT_NE(std::string::npos, got.err.find("must be another place than IN")) << got.err;
        }
      }
    }
    EXPECT_EQ(before, content(in));
  }
}

TEST_F(OutputPlaces, AreFoldersOfModelsOrEmpty) {
  const std::string in = quantized(true);
  for (const auto& [command, more] : writers) {
    fs::create_directories(path("papers"));
    std::ofstream(path("papers/config.json")) << "{}";
    const Outcome got = write(command, in, {path("papers"), "--overwrite"});
    EXPECT_EQ(3, got.exit);
    EXPECT_NE(std::string::npos, got.err.find("OUT must be a model's folder")) << got.err;
    EXPECT_EQ("{}", slurp(path("papers/config.json")));
    fs::create_directories(path(command));
    EXPECT_EQ(0, write(command, in, {path(command)}).exit);
  }
}

TEST_F(OutputPlaces, StayWhatTheyWereWhereTheRunFails) {
  const std::string out = quantized(true);  // path("float") is a float model
  const auto before = content(out);
  for (const char* command : {"convert", "dequantize"}) {
    EXPECT_EQ(3, write(command, path("float"), {out, "--overwrite"}).exit);
    EXPECT_EQ(before, content(out));
  }
  // A model that is a file does not replace a folder.
  fs::copy_file(path("float/model.safetensors"), path("file"));
  EXPECT_NE(0, write("quantize", path("file"), {out, "--overwrite"}).exit);
  EXPECT_EQ(before, content(out));
}

}  // namespace
}  // namespace octavo::test
