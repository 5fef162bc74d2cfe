// SPDX-License-Identifier: Apache-2.0
// What can run a problem, what will, and why.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/context.hpp"
#include "octavo/problem.hpp"

namespace octavo {

/// One row of the registry, best first.
struct BackendInfo {
  std::string name;         ///< as `backend` of options names it
  std::string summary;      ///< what it is, in one sentence
  bool usable = false;      ///< on this machine, now
  std::string unavailable;  ///< why not, if not
  std::string uses;         ///< the CPU's extensions that its kernels were chosen for; may be empty
  std::string more;         ///< those that the best kernels would need besides; empty: they run
  std::string caches;       ///< the family of CPUs for whose caches products are cut; may be empty
};
/// The backends of this build, best first; those that cannot run here are among them.
OCTAVO_API std::vector<BackendInfo> backends();

/// Why tensors cannot be on a device, for a sentence: "must be cpu (no xpu backend is built); got
/// xpu:1". Empty: they can. `name` is PyTorch's name of the device's type.
OCTAVO_API std::string device_refusal(std::string_view name, int index);
OCTAVO_API std::string device_refusal(Device device);

/// One instruction-set extension that kernels may use.
struct CpuFeature {
  std::string name;       ///< as `octavo info` spells it
  bool present = false;   ///< the processor has it and the operating system keeps its registers
  bool left_out = false;  ///< it would be present, but OCTAVO_ISA caps what is used
};
/// Every extension that kernels may use, whether it is here or not.
OCTAVO_API std::vector<CpuFeature> cpu_features();
/// The processor's own name; empty where the system does not say.
OCTAVO_API std::string cpu_name();

/// What one backend says of a problem.
struct Candidate {
  std::string backend;   ///< its name
  bool accepts = false;  ///< it can run the problem
  bool chosen = false;  ///< it runs the problem: the first that accepts, or the one that was forced
  std::string reason;   ///< how it would run, or why it does not
};

/// The answer to "what will run this, and why?".
struct Explanation {
  std::vector<Candidate> candidates;  ///< in the registry's order
  std::string executor;               ///< whose threads, and why
  double error_bound = 0;  ///< of a floating sum, relative to sum |A||B|; 0: the sum is exact
  std::size_t workspace_bytes = 0;  ///< scratch memory of the call
  std::string outliers;       ///< LLM.int8: which elements are multiplied in float; empty: none
  std::int32_t rotation = 0;  ///< the block that activations are rotated by before they are
                              ///< quantised; 0: they are not
  bool flushes_subnormals = false;  ///< bfloat16 elements, products and sums below 2^-126 count as
                                    ///< 0; MatmulOptions::exact_subnormals takes another path
  std::string weight;  ///< how a weight that is not packed is read; empty: it is, or is copied
  /// All of it in lines, for people.
  OCTAVO_API std::string to_string() const;
};

/// Explains a problem. `backend` forces one by name, as options do. Throws Error.
OCTAVO_API Explanation explain(const MatmulProblem& problem, const ExecContext& context = {},
                               const char* backend = nullptr);

/// The relative error bound gamma of a problem's floating sum: |out - exact| <=
/// |scale_result| * gamma * (|alpha| * sum |A||B| + |beta C| + |bias|) + underflow + half an ulp.
/// 0 for integer operands with K-constant scales. Source: specification section 9.
OCTAVO_API double error_bound(const MatmulProblem& problem) noexcept;

}  // namespace octavo
