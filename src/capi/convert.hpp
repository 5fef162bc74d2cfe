// SPDX-License-Identifier: Apache-2.0
// From C's descriptors to the types of the C++ library, and back. What is refused here could not be
// said in C++ or would be read out of bounds; every other rule is the operation's own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "capi/handle.hpp"
#include "capi/structs.hpp"
#include "octavo/context.hpp"
#include "octavo/scale.hpp"

namespace octavo::capi {

/// A descriptor that must be there.
OCTAVO_INTERNAL_API TensorView view_from(const ArgumentPath& place, const octavo_view* given);
/// A descriptor that may be null: no tensor.
TensorView optional_view(const ArgumentPath& place, const octavo_view* given);
/// The descriptor of a view; its pointers are those of `view`.
octavo_view view_to(const TensorView& view) noexcept;

/// A data type; all zero: undefined.
DType dtype_from(const ArgumentPath& place, octavo_dtype given);
/// The same where undefined stands for `otherwise`.
inline DType dtype_or(const ArgumentPath& place, octavo_dtype given, DType otherwise) {
  const DType dtype = dtype_from(place, given);
  return dtype == DType::undefined ? otherwise : dtype;
}
octavo_dtype dtype_to(DType dtype) noexcept;

/// An enumerator in [0, last].
OCTAVO_INTERNAL_API std::uint8_t checked_enumerator(const ArgumentPath& place, std::int64_t value,
                                                    std::uint8_t last);
template <class Enum>
Enum enum_from(const ArgumentPath& place, std::int64_t value, Enum last) {
  return static_cast<Enum>(checked_enumerator(place, value, static_cast<std::uint8_t>(last)));
}

/// A bit and its name in sentences.
struct FlagName {
  std::uint64_t flag;
  const char* name;
};
/// Refuses bits other than `allowed`; `names` has them all.
void check_bits(const ArgumentPath& place, std::uint64_t given, std::uint64_t allowed,
                std::span<const FlagName> names);
/// Refuses flags other than `allowed`.
void check_flags(const ArgumentPath& place, std::uint64_t given, std::uint64_t allowed);
inline Overflow overflow_from(std::uint64_t flags) noexcept {
  return (flags & OCTAVO_OVERFLOW_IEEE) != 0 ? Overflow::ieee : Overflow::saturate;
}
NonFinite non_finite_from(const ArgumentPath& place, std::uint64_t flags);
std::uint64_t non_finite_to(NonFinite rule) noexcept;
/// What quantisers take.
inline constexpr std::uint64_t kQuantizeFlags = OCTAVO_AZP | OCTAVO_WIDEN |
                                                OCTAVO_NON_FINITE_ERROR | OCTAVO_NON_FINITE_IGNORE |
                                                OCTAVO_OVERFLOW_IEEE;

Granularity granularity_from(const ArgumentPath& place, std::int32_t kind, std::int64_t rows,
                             std::int64_t cols);
Scale scale_from(const ArgumentPath& place, const octavo_scale& given);

/// A device that is built: undefined or the CPU.
void check_device(const ArgumentPath& place, octavo_device device);

/// A caller's context for the length of a call.
class Context {
 public:
  Context(const char* operation, const octavo_context* given);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  operator const ExecContext&() const noexcept { return context_; }  // NOLINT: implicit on purpose

 private:
  class Lent final : public Executor {
   public:
    octavo_executor executor{};
    int concurrency() const noexcept override { return static_cast<int>(executor.concurrency); }
    void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
      executor.parallel(executor.user, tasks, task, context);
    }
  };
  Lent lent_;
  std::optional<ThreadExecutor> threads_;
  Workspace workspace_;
  ExecContext context_;
};

}  // namespace octavo::capi
