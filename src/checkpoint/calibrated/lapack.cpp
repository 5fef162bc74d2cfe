// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/calibrated/lapack.hpp"

#include <dlfcn.h>

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/text/sentence.hpp"
#include "core/env.hpp"

namespace octavo::checkpoint {
namespace {

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

/// Stays open as long as the process: its threads may not be ended from here.
Lapack open_library(std::string_view what) {
  std::vector<std::string> names{"liblapack.so.3", "libopenblas.so.0"};
  if (const std::string_view named = env::lapack(); !named.empty()) {
    names.assign(1, std::string(named));
  }
  std::string why;
  for (const std::string& name : names) {
    void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      if (why.empty()) why = ::dlerror();
      continue;
    }
    Lapack found;
    if (find(library, "dpotrf_", found.dpotrf) && find(library, "dpotri_", found.dpotri) &&
        find(library, "dgemm_", found.dgemm) && find(library, "dtrmm_", found.dtrmm)) {
      return found;
    }
    ::dlclose(library);
    why = name + " without dpotrf_, dpotri_, dgemm_ and dtrmm_";
  }
  refuse(Code::unsupported,
         "{} must have LAPACK (apt-get install libopenblas0, or liblapack3; OCTAVO_LAPACK names "
         "another library); got {}",
         what, in_quotes(why));
}

}  // namespace

const Lapack& lapack(std::string_view what) {
  static const Lapack library = open_library(what);
  return library;
}

}  // namespace octavo::checkpoint
