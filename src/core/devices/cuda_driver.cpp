// SPDX-License-Identifier: Apache-2.0
#include "core/devices/cuda_driver.hpp"

#include <dlfcn.h>

namespace octavo::cuda {
namespace {

struct Loaded {
  Driver functions;
  const char* missing = nullptr;
};

const Driver* given = nullptr;

// The library stays open: its threads may outlive whoever would close it.
Loaded load() noexcept {
  Loaded loaded;
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    loaded.missing = "NVIDIA's driver (libcuda.so.1) is not there";
    return loaded;
  }
  bool complete = true;
  const auto find = [&](auto& function, const char* symbol) {
    using Function = std::remove_reference_t<decltype(function)>;
    function = reinterpret_cast<Function>(::dlsym(library, symbol));
    complete = complete && function != nullptr;
  };
#define OCTAVO_DRIVER_FIND(field, symbol, arguments) find(loaded.functions.field, symbol);
  OCTAVO_DRIVER_FUNCTIONS(OCTAVO_DRIVER_FIND)
#undef OCTAVO_DRIVER_FIND
  if (!complete) {
    loaded.missing = "NVIDIA's driver is older than CUDA 12.3: it lacks functions";
  } else if (loaded.functions.init(0) != kSuccess) {
    loaded.missing = "NVIDIA's driver does not start: it finds no device, or not its kernel module";
  }
  return loaded;
}

const Loaded& loaded() noexcept {
  static const Loaded once = load();
  return once;
}

}  // namespace

const char* driver_missing() noexcept { return given != nullptr ? nullptr : loaded().missing; }

const Driver* driver() noexcept {
  if (given != nullptr) return given;
  return loaded().missing == nullptr ? &loaded().functions : nullptr;
}

void set_driver(const Driver& driver) noexcept { given = &driver; }

bool driver_is_given() noexcept { return given != nullptr; }

}  // namespace octavo::cuda
