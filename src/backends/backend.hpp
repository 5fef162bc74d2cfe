// SPDX-License-Identifier: Apache-2.0
// The contract of a backend: plain data and function pointers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "backends/passes.hpp"
#include "octavo/context.hpp"
#include "octavo/packed.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo {

struct PackedWeightData;

/// How a packed weight lies in memory.
struct WeightLayout {
  const char* name;  ///< what lies together: "i8x4", four int8 along K; "x16", sixteen columns
  int version;
  std::size_t (*bytes)(DType dtype, std::int64_t k, std::int64_t n) noexcept;
  Status (*pack)(const MatrixView& weight, void* packed, const ExecContext& context) noexcept;
  Status (*unpack)(const PackedWeightData& packed, const MatrixView& weight,
                   const ExecContext& context) noexcept;
  /// Rows [k0, k1) of the columns from n0 on, a multiple of 16, as [k1 - k0][16] floats; columns
  /// past the end are zero. Null where the host cannot read the layout.
  void (*widen)(const PackedWeightData& packed, std::int64_t k0, std::int64_t k1, std::int64_t n0,
                float* out) noexcept;
  /// Bytes whose multiples lie between weights that kernels read as one stack. Null: any do.
  std::int64_t (*stack_step)(DType dtype, std::int64_t k) noexcept = nullptr;
};

struct Backend;

/// What is decided once for all problems of a signature: who runs them, and how.
struct Plan {
  const Backend* backend = nullptr;
  std::size_t workspace_bytes = 0;  ///< that `run` needs, 64-byte aligned
  const char* how = "";             ///< for explain
  const char* weight = nullptr;     ///< for explain: how it is read; null: as it was packed
  double sum_error = 0;  ///< of a floating sum, relative to sum |A||B|, where it is more than that
                         ///< of float32 sums in ascending k
  bool flushes = false;  ///< elements, products or sums below 2^-126 count as 0 in this problem

  /// What the backend itself keeps: the kernels, tiles or descriptors that it chose.
  template <class T>
  void keep(const T& choice) noexcept {
    static_assert(sizeof(T) <= kChoiceBytes && std::is_trivially_copyable_v<T>);
    std::memcpy(choice_.data(), &choice, sizeof(T));
  }
  template <class T>
  T kept() const noexcept {
    static_assert(sizeof(T) <= kChoiceBytes && std::is_trivially_copyable_v<T>);
    T choice;
    std::memcpy(&choice, choice_.data(), sizeof(T));
    return choice;
  }

 private:
  static constexpr std::size_t kChoiceBytes = 96;
  alignas(8) std::array<std::byte, kChoiceBytes> choice_{};
};

/// One way to run problems. The registry holds them best first.
/// Extensions of a CPU that a backend has kernels for.
struct Extensions {
  const char* used = "";    ///< those of the kernels that run here
  const char* more = "";    ///< those of the best ones, if they do not run here
  const char* caches = "";  ///< the CPUs for whose caches products are cut
};

struct Backend {
  const char* name;
  const char* summary;
  DeviceType device;  ///< where the memory lies that it reads and writes

  /// Null where the backend can run on this machine, else one static sentence.
  const char* (*unavailable)() noexcept;
  /// Null and the plan (all but `backend`) where the backend runs this problem on that many
  /// threads, else one static sentence. The problem has no memory: a plan holds for every problem
  /// of its signature, and for any offsets.
  const char* (*plan)(const MatmulProblem& problem, int threads, Plan& plan) noexcept;
  /// Runs a problem by its plan, with as many threads, or queues it on the context's stream.
  /// `workspace` is the plan's. What lies on the host, the description and offsets among it, is not
  /// looked at afterwards.
  Status (*run)(const MatmulProblem& problem, const Plan& plan, const ExecContext& context,
                void* workspace) noexcept;

  Passes passes;

  /// The layout of weights of a type, null where the backend packs none.
  const WeightLayout* (*layout)(DType dtype) noexcept;

  /// Null where there is nothing to choose among.
  Extensions (*extensions)() noexcept = nullptr;
};

/// What a PackedWeight owns.
struct PackedWeightData {
  const WeightLayout* layout = nullptr;
  DType dtype = DType::undefined;
  std::int64_t k = 0, n = 0;
  Device device;
  Tensor codes;                       ///< in that layout, bytes
  std::array<Tensor, 2> scales;       ///< own copies that `scale` looks at
  std::array<CarriedScale, 2> scale;  ///< of B [K, N]
  Tensor azp;                         ///< zero points of B, as Operand has them
  std::optional<ActivationQuant> activation;
};

/// Every backend that was built, best first, `reference` last.
std::span<const Backend* const> registry() noexcept;

/// One more, for the life of the process: that of a device that tests bring. Before any other call,
/// from one thread.
void add_backend(const Backend& backend) noexcept;

/// The backend of that name, null if there is none.
const Backend* find_backend(std::string_view name) noexcept;

}  // namespace octavo
