// SPDX-License-Identifier: Apache-2.0
// Opening the modules.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "kit/peers/peer.hpp"
#include "kit/peers/peers.hpp"

namespace octavo::kit {
namespace {

namespace fs = std::filesystem;

struct Known {
  const char* name;
  const char* module;  // how its file's name begins
};
constexpr std::array<Known, 3> kKnown{{
    {"oneDNN", "onednn"},
    {"AOCL-DLP", "aocl-dlp"},
    {"OpenBLAS float32", "openblas"},
}};

/// Absolute, or what the caller chose: what lies in the working folder is not run. Empty: unknown.
fs::path folder() {
  if (const char* chosen = std::getenv("OCTAVO_PEER_FOLDER"); chosen != nullptr) return chosen;
  std::error_code unreadable;
  const fs::path program = fs::read_symlink("/proc/self/exe", unreadable);
  return unreadable ? fs::path() : program.parent_path() / "peers";
}

std::vector<fs::path> modules() {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder(), error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".so") paths.push_back(it->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string name_of(const fs::path& path) {
  const std::string stem = path.stem().string();
  for (const Known& known : kKnown) {
    if (stem.starts_with(known.module)) return known.name;
  }
  return stem;
}

// Local, so that two versions of one library do not see each other's symbols. Never closed:
// libraries keep threads.
std::vector<PeerEntry> open(const fs::path& path) {
  const auto broken = [&](std::string why) {
    return std::vector<PeerEntry>{{name_of(path), {}, std::move(why), nullptr}};
  };
  void* module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    const char* why = ::dlerror();
    return broken(std::string("its module does not load: ") + (why == nullptr ? "?" : why));
  }
  const auto entry = reinterpret_cast<const peers::Module* (*)()>(::dlsym(module, peers::kSymbol));
  if (entry == nullptr || entry()->interface != peers::kInterface) {
    return broken("its module was built for another version of the bench");
  }
  std::vector<PeerEntry> entries;
  for (int i = 0; i < entry()->count; ++i) {
    const peers::Peer& peer = entry()->peers[i];
    entries.push_back({peer.name, peer.version, {}, &peer});
  }
  return entries;
}

// Those that the bench knows, in its order, then any other module that lies there.
std::vector<PeerEntry> all() {
  std::vector<PeerEntry> entries;
  std::vector<fs::path> paths = modules();
  for (const Known& known : kKnown) {
    const auto theirs = std::stable_partition(
        paths.begin(), paths.end(),
        [&](const fs::path& path) { return !path.stem().string().starts_with(known.module); });
    if (theirs == paths.end()) {
      entries.push_back({known.name, {}, "it was not found when this was built", nullptr});
    }
    for (auto path = theirs; path != paths.end(); ++path) {
      for (PeerEntry& entry : open(*path)) entries.push_back(std::move(entry));
    }
    paths.erase(theirs, paths.end());
  }
  for (const fs::path& path : paths) {
    for (PeerEntry& entry : open(path)) entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

const std::vector<PeerEntry>& installed_peers() {
  static const std::vector<PeerEntry> entries = all();
  return entries;
}

}  // namespace octavo::kit
