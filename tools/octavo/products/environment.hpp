// SPDX-License-Identifier: Apache-2.0
// The environment variables that anything of Octavo's reads: what `octavo info` lists and
// docs/environment.md is made of. scripts/environment.py --check holds the sources to it.
#pragma once

#include <array>
#include <string_view>

namespace octavo::cli {

struct Variable {
  std::string_view name;
  std::string_view reader;  ///< "library", "command", "Python" or "development"
  std::string_view unset;   ///< what counts where it is not set
  std::string_view meaning;
};

inline constexpr std::string_view kDevelopment = "development";

inline constexpr std::array<Variable, 23> kVariables{{
    {"OCTAVO_BACKEND", "library", "the first that can", "the backend that every call is forced to"},
    {"OCTAVO_ISA", "library", "all that the CPU has",
     "caps the instruction sets that are used: avx2, for one; another name is answered with all"},
    {"OCTAVO_NUM_THREADS", "library", "0", "the most threads of the default executor; 0: all"},
    {"OCTAVO_SPIN", "library", "1", "0: threads sleep at once after a call; 1: after 20 us"},
    {"OCTAVO_VERBOSE", "library", "nothing",
     "dispatch: each choice of a backend is written to standard error"},
    {"OCTAVO_LAPACK", "library", "liblapack.so.3, else libopenblas.so.0",
     "the library that GPTQ takes LAPACK from"},
    {"OCTAVO_EXECUTOR", "Python", "PyTorch's threads where there are some",
     "tbb: importing octavo.torch keeps calls on oneTBB's threads"},
    {"OCTAVO_VLLM", "Python", "1", "0: vLLM multiplies by its own kernels, though Octavo is there"},
    {"OCTAVO_PYTHON", "command", "the python3 of PATH",
     "the Python of report --html, evaluate and names of the Hub, by an absolute path"},
    {"OCTAVO_PEER_FOLDER", "command", "peers beside the program",
     "the folder of bench's other libraries"},
    {"OCTAVO_MINILM_DIR", kDevelopment, "tests are skipped",
     "the folder of all-MiniLM-L6-v2, for tests and the example"},
    {"OCTAVO_PLOT_PYTHON", kDevelopment, "the test's own", "a Python that has matplotlib"},
    {"OCTAVO_PROPERTY_CASES", kDevelopment, "the test's number", "how many problems are drawn"},
    {"OCTAVO_PROPERTY_SEED", kDevelopment, "random", "repeats a run of drawn problems"},
    {"OCTAVO_SHOW_BUGS", kDevelopment, "no", "prints what the CUDA simulator says of planted bugs"},
    {"OCTAVO_PROBE_TILES", kDevelopment, "a million",
     "how many products of tiles a device's tensor cores are asked"},
    {"OCTAVO_MIRROR", kDevelopment, "apt's own", "the mirror that tests of packages install from"},
    {"OCTAVO_VLLM_MODELS", kDevelopment, "a folder of the run",
     "where ./dev vllm-test keeps its models"},
    {"OCTAVO_FUZZ_RUNS", kDevelopment, "a minute", "executions of each fuzz target of ./dev fuzz"},
    {"OCTAVO_ONEDNN", kDevelopment, "none", "prefix of a peer that ./dev builds bench with"},
    {"OCTAVO_AOCL_DLP", kDevelopment, "none", "prefix of a peer that ./dev builds bench with"},
    {"OCTAVO_CUTLASS_INCLUDE", kDevelopment, "build/venv's", "the folder of CuTe's headers"},
    {"OCTAVO_GGML", kDevelopment, "none", "prefix of a peer that ./dev builds bench with"},
}};

}  // namespace octavo::cli
