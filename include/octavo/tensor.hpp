// SPDX-License-Identifier: Apache-2.0
// Tensors: a non-owning strided view, and an owning, 64-byte aligned tensor.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "octavo/dtype.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// Where a tensor's memory lives; the values are DLPack's.
enum class DeviceType : std::int16_t { cpu = 1, cuda = 2 };

/// A device: its type and its number.
struct Device {
  DeviceType type = DeviceType::cpu;  ///< CPU or CUDA
  std::int16_t index = 0;             ///< from 0
  friend bool operator==(const Device&, const Device&) = default;
};

/// A device by the numbers of other interfaces. Those that leave 16 bits become ones that no device
/// has either.
constexpr Device device_of(std::int32_t type, std::int32_t index) noexcept {
  constexpr auto kept = [](std::int32_t number) {
    return static_cast<std::int16_t>(std::clamp<std::int32_t>(number, INT16_MIN, INT16_MAX));
  };
  return {static_cast<DeviceType>(kept(type)), kept(index)};
}

/// Where memory lies, and the queue of work that it is made and used in.
struct Place {
  Device device{};         ///< whose memory
  void* stream = nullptr;  ///< CUDA: a cudaStream_t, null for the default one; CPU: unused
};

/// The largest number of dimensions of a tensor argument.
inline constexpr int kMaxRank = 8;

/// A strided view of memory that somebody else owns.
///
/// Strides count elements; any stride is legal for an input, 0 (broadcast), negative and
/// transposed ones included. Offsets are 64-bit. No alignment is asked for. Inputs are never
/// written, so a view of constant memory is fine wherever an operation reads.
struct OCTAVO_API TensorView {
  void* data = nullptr;                          ///< the first element
  DType dtype = DType::undefined;                ///< undefined: no tensor
  Device device{};                               ///< where `data` lies
  int rank = 0;                                  ///< dimensions
  std::array<std::int64_t, kMaxRank> shape{};    ///< the first `rank` count
  std::array<std::int64_t, kMaxRank> strides{};  ///< in elements; the first `rank` count

  /// An undefined view: "no tensor given".
  TensorView() = default;
  /// A row-major view. Throws Error (invalid_argument) beyond kMaxRank dimensions.
  TensorView(const void* memory, DType type, std::span<const std::int64_t> sizes);
  TensorView(const void* memory, DType type, std::initializer_list<std::int64_t> sizes)
      : TensorView(memory, type, std::span(sizes.begin(), sizes.size())) {}
  /// A view with explicit strides, as many as dimensions.
  TensorView(const void* memory, DType type, std::initializer_list<std::int64_t> sizes,
             std::initializer_list<std::int64_t> steps);

  /// Whether it is a tensor.
  bool defined() const noexcept { return dtype != DType::undefined; }
  /// How many elements it has.
  std::int64_t numel() const noexcept;
  /// The sizes of its dimensions.
  std::span<const std::int64_t> dims() const noexcept {
    return {shape.data(), static_cast<std::size_t>(rank)};
  }
  /// Elements follow each other in row-major order without holes (or there is at most one).
  bool contiguous() const noexcept;
  /// The same memory with the last two dimensions exchanged. Rank 2 or more.
  TensorView transposed() const noexcept;
  /// The part [begin, end) of one dimension.
  TensorView slice(int dim, std::int64_t begin, std::int64_t end) const noexcept;
  /// One index of the first dimension, with that dimension removed.
  TensorView operator[](std::int64_t index) const noexcept;

  /// The address of element `offset` (in elements from the start); null where there is no memory.
  void* at(std::int64_t offset) const noexcept {
    return data == nullptr ? nullptr : static_cast<char*>(data) + offset * element_bytes(dtype);
  }
};

/// The data type that a C++ type is stored as.
template <class T>
inline constexpr DType dtype_of = DType::undefined;
template <>
inline constexpr DType dtype_of<float> = DType::float32;
template <>
inline constexpr DType dtype_of<double> = DType::float64;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::int8;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::uint8;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::int32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::int64;

/// A row-major view of a C++ array: `octavo::view(values, {rows, cols})`.
template <class T>
TensorView view(const T* data, std::initializer_list<std::int64_t> shape) {
  static_assert(dtype_of<T> != DType::undefined, "no data type for this C++ type; name one");
  return {data, dtype_of<T>, shape};
}
template <class T>
TensorView view(T* data, std::initializer_list<std::int64_t> shape) {
  return view(static_cast<const T*>(data), shape);
}
template <class Container>
TensorView view(const Container& values, std::initializer_list<std::int64_t> shape) {
  return view(std::data(values), shape);
}

/// A tensor that owns its memory; copies share it. Memory is aligned to 64 bytes.
class OCTAVO_API Tensor {
 public:
  Tensor() = default;

  /// A row-major tensor with uninitialised elements, on the host or on a device. Its memory is
  /// given back in the place's stream. Throws Error (out_of_memory, invalid_argument, unavailable).
  static Tensor empty(DType dtype, std::span<const std::int64_t> shape, const Place& place = {});
  static Tensor empty(DType dtype, std::initializer_list<std::int64_t> shape,
                      const Place& place = {}) {
    return empty(dtype, std::span(shape.begin(), shape.size()), place);
  }
  /// The same without exceptions; `operation` begins the sentence of a failure.
  static Result<Tensor> try_empty(const char* operation, DType dtype,
                                  std::span<const std::int64_t> shape, const Place& place) noexcept;
  /// A tensor over memory that `owner` keeps alive.
  static Tensor adopt(std::shared_ptr<void> owner, const TensorView& view) noexcept;

  /// The same memory without a share in it.
  const TensorView& view() const noexcept { return view_; }
  operator const TensorView&() const noexcept { return view_; }  // NOLINT: implicit on purpose
  /// Whether it is a tensor.
  bool defined() const noexcept { return view_.defined(); }
  /// Of the elements.
  DType dtype() const noexcept { return view_.dtype; }
  /// Where its memory lies.
  Device device() const noexcept { return view_.device; }
  /// How many dimensions it has.
  int rank() const noexcept { return view_.rank; }
  /// The size of a dimension, counted from 0.
  std::int64_t size(int dim) const noexcept { return view_.shape[static_cast<std::size_t>(dim)]; }
  /// How many elements it has.
  std::int64_t numel() const noexcept { return view_.numel(); }
  /// The first element.
  void* data() const noexcept { return view_.data; }
  /// The first element, as that C++ type.
  template <class T>
  T* data_as() const noexcept {
    return static_cast<T*>(view_.data);
  }
  /// The same memory, last two dimensions exchanged.
  Tensor transposed() const noexcept { return adopt(owner_, view_.transposed()); }
  /// A row-major tensor of this data type with the same elements, converted as section 1 of the
  /// specification says. Throws Error.
  Tensor to(DType dtype) const;
  /// A row-major tensor with the same elements elsewhere; what comes to the host has arrived.
  /// Throws Error.
  Tensor to(const Place& place) const;

 private:
  std::shared_ptr<void> owner_;
  TensorView view_;
};

/// A row-major copy of any view on its device, converted to `dtype`; on a device it is queued on
/// `stream`. Throws Error.
OCTAVO_API Tensor copy(const TensorView& source, DType dtype, void* stream = nullptr);

/// A row-major copy of any view in another place, between the host and a device or within either.
/// `place.stream` is the device's, whichever side that is; what comes to the host has arrived.
/// Throws Error.
OCTAVO_API Tensor copy(const TensorView& source, const Place& place);

/// "[4, 8]": the spelling of shapes in every sentence.
OCTAVO_API std::string shape_string(const TensorView& view);

}  // namespace octavo
