// SPDX-License-Identifier: Apache-2.0
// Handles: a value of the C++ library behind a count of references.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capi/guard.hpp"
#include "octavo/backend.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/packed.hpp"
#include "octavo/quantize.hpp"
#include "octavo/tensor.hpp"
#include "octavo/thread_team.hpp"

namespace octavo::capi {

template <class Value>
struct Counted {
  using value_type = Value;
  std::atomic<std::int64_t> references{1};
  Value value{};
};

/// An explanation and its text, which C has to find somewhere.
struct ExplanationText {
  Explanation explanation;
  std::string text;
};

/// A checkpoint can only be opened, a team only made: neither is default-constructed.
using OpenCheckpoint = std::unique_ptr<const Checkpoint>;
using MadeTeam = std::unique_ptr<ThreadTeam>;

}  // namespace octavo::capi

struct octavo_tensor : octavo::capi::Counted<octavo::Tensor> {};
struct octavo_quantized : octavo::capi::Counted<octavo::Quantized> {};
struct octavo_packed : octavo::capi::Counted<octavo::PackedWeight> {};
struct octavo_explanation : octavo::capi::Counted<octavo::capi::ExplanationText> {};
struct octavo_checkpoint : octavo::capi::Counted<octavo::capi::OpenCheckpoint> {};
struct octavo_weight : octavo::capi::Counted<octavo::Weight> {};
struct octavo_report : octavo::capi::Counted<octavo::QuantizeReport> {};
struct octavo_thread_team : octavo::capi::Counted<octavo::capi::MadeTeam> {};
struct octavo_strings : octavo::capi::Counted<std::vector<std::string>> {};

namespace octavo::capi {

template <class Handle>
Handle* retain(Handle* handle) noexcept {
  if (handle != nullptr) handle->references.fetch_add(1, std::memory_order_relaxed);
  return handle;
}

template <class Handle>
void release(Handle* handle) noexcept {
  if (handle == nullptr) return;
  if (handle->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete handle;
}

/// What a handle holds.
template <class Handle>
const typename Handle::value_type& value_of(const ArgumentPath& place, const Handle* handle) {
  require(place, handle);
  return handle->value;
}

/// Where a result goes: NULL until `fill`, so that a failure leaves NULL behind. The handle is made
/// before the work, so that work that was done is never lost.
template <class Handle>
class Slot {
 public:
  /// `optional`: the caller may do without a handle.
  Slot(const ArgumentPath& place, Handle** result, bool optional = false) : result_(result) {
    if (!optional) require(place, static_cast<const void*>(result));
    if (result_ == nullptr) return;
    *result_ = nullptr;
    handle_ = std::make_unique<Handle>();
  }
  void fill(typename Handle::value_type value) noexcept {
    if (result_ == nullptr) return;
    handle_->value = std::move(value);
    *result_ = handle_.release();
  }

 private:
  Handle** result_;
  std::unique_ptr<Handle> handle_;
};

/// Sets an unpacked result after checking that there is a place for it.
template <class T>
void give(const char* operation, T* result, T value) {
  require({operation, "result"}, static_cast<const void*>(result));
  *result = value;
}

}  // namespace octavo::capi
