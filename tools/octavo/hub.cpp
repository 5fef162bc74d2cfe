// SPDX-License-Identifier: Apache-2.0
#include "hub.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "octavo/status.hpp"
#include "output.hpp"
#include "python_child.hpp"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kNoPackage = 3;
constexpr int kNoModel = 4;

/// Prints the folder, or why there is none (kNoModel). Arguments: the name, the caller's folder.
/// Left out are weights in other forms, and those of other parts of a repository.
constexpr const char* kScript = R"(
import json, os, sys
name, here = sys.argv[1:]
for variable in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_TOKEN_PATH"):
    if os.environ.get(variable):
        os.environ[variable] = os.path.join(here, os.path.expanduser(os.environ[variable]))
if not sys.stderr.isatty():
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
try:
    from huggingface_hub import snapshot_download
except ImportError:
    sys.exit(3)

def is_whole(folder):
    names = os.listdir(folder)
    indices = [entry for entry in names if entry.endswith(".safetensors.index.json")]
    if not indices:
        return any(entry.endswith(".safetensors") for entry in names)
    with open(os.path.join(folder, indices[0]), encoding="utf-8") as file:
        return set(json.load(file)["weight_map"].values()) <= set(names)

left_out = ["*/*.safetensors"] + ["*." + form for form in "bin pt pth gguf ckpt h5 msgpack onnx ot tflite".split()]
try:
    folder = snapshot_download(name, local_files_only=True, ignore_patterns=left_out)
    whole = is_whole(folder)
except Exception:
    whole = False
try:
    if not whole:
        folder = snapshot_download(name, ignore_patterns=left_out)  # the cache's, without a network
        if not is_whole(folder):
            raise ValueError("neither cache nor Hub has safetensors files that are all there")
    print(folder)
except Exception as error:
    print(type(error).__name__ + ": " + " ".join(str(error).split())[:300])
    sys.exit(4)
)";

bool is_name(std::string_view part) {
  constexpr std::size_t kMost = 96;
  const auto letter = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  return !part.empty() && part.size() <= kMost && letter(part.front()) &&
         std::ranges::all_of(part,
                             [&](char c) { return letter(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_hub_name(const std::string& given) {
  constexpr std::array<std::string_view, 3> kFiles{".safetensors", ".json", ".gguf"};
  const std::size_t slash = given.find('/');
  if (slash == std::string::npos || !is_name(std::string_view(given).substr(0, slash)) ||
      !is_name(std::string_view(given).substr(slash + 1))) {
    return false;
  }
  if (std::ranges::any_of(kFiles, [&](auto ending) { return given.ends_with(ending); })) {
    return false;
  }
  std::error_code error;
  return !fs::exists(given.substr(0, slash), error);
}

}  // namespace

std::string find_model(const char* operation, const std::string& given) {
  if (!is_hub_name(given)) return given;
  std::error_code error;
  const PythonAnswer answer =
      ask_python({"-c", kScript, given, fs::current_path(error).string()}, Errors::shown);
  const std::string text = printable(answer.output.substr(0, answer.output.find('\n')));
  if (answer.exit_code == 0 && !text.empty()) return text;
  const std::string got = answer.exit_code == kNoPython    ? "no python3 to ask"
                          : answer.exit_code == kNoPackage ? "python3 without that package"
                          : answer.exit_code == kNoModel
                              ? text
                              : fmt::format("exit code {} of python3", answer.exit_code);
  throw Error(Status(
      Code::unavailable,
      fmt::format("{}: '{}', which is no path here, must be a model of the Hugging Face Hub that "
                  "python3's package huggingface_hub finds; got {}",
                  operation, given, got)));
}

}  // namespace octavo::cli
