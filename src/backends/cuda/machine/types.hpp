// SPDX-License-Identifier: Apache-2.0
// The machine that Hopper kernels are written against: what both of its forms share.
//
// A kernel is `template <class Machine> run(Machine m, const Params<typename Machine::TensorMap>&
// p)`: one thread's program. Everything that plain C++ cannot say goes through `m`, a primitive a
// PTX instruction. `device/device.cuh` is those instructions; `simulator/machine.hpp` runs the same
// threads on the host, where asynchronous work takes its time and every rule of PTX is checked.
//
//   who am I       tid lane warp block blocks cta_rank shared_base
//   shared         load_shared<T> store_shared<T> stmatrix4 stmatrix4_transposed ldmatrix4
//                  cp_async16 cp_async_commit cp_async_wait<N>
//   global         load_global<T> load_global_stream<T> store_global<T> add_release load_acquire
//   conversion     pack_bf16 pack_f16: two floats as 16-bit elements, the first in the low half;
//                  pack_e4m3 pack_e5m2: as 8-bit ones, saturated, NaN 0x7F, where has_fp8 says that
//                  there are such instructions; unpack_e4m3, there: two codes as fp16
//   words          multiply_f16: two products of fp16; largest_f16: the larger of a and |b|, twice;
//                  permute_bytes: four of two words' eight, or their signs
//   other CTAs     load_cluster<T> store_cluster<T>
//   meetings       shuffle elect sync_warp sync_named cluster_sync
//   mbarriers      mbarrier_init fence_mbarrier_init mbarrier_arrive mbarrier_arrive_cluster
//                  mbarrier_arrive_cluster_release mbarrier_expect mbarrier_wait
//                  mbarrier_wait_cluster
//   TMA            tma_load (2-D, 3-D, multicast) tma_store tma_store_commit tma_store_wait_read<N>
//                  fence_async
//   tensor cores   wgmma_fence wgmma<type, n> wgmma_commit wgmma_wait<N> mma_sync<type>
//   a launch       grid_wait grid_launch registers_increase<N> registers_decrease<N>
//   the clock      work(slots): no instruction; what plain code costs in the simulator
//
// Shared addresses are 32 bits, as in PTX. Each form's comments name the instruction.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define OCTAVO_DEVICE __device__ __forceinline__
#define OCTAVO_HOST_DEVICE __host__ __device__ __forceinline__
#define OCTAVO_UNROLL _Pragma("unroll")
#define OCTAVO_ROLLED _Pragma("unroll 1")
#define OCTAVO_PRAGMA(text) _Pragma(#text)
#define OCTAVO_UNROLL_BY(count) OCTAVO_PRAGMA(unroll count)
#else
#define OCTAVO_DEVICE inline
#define OCTAVO_HOST_DEVICE inline
#define OCTAVO_UNROLL
#define OCTAVO_ROLLED
#define OCTAVO_UNROLL_BY(count)
#endif

namespace octavo::cuda {

/// Types of the elements of A and of B in a tensor-core instruction.
enum class MmaType : std::uint8_t {
  s8_s8,
  u8_s8,
  e4m3_e4m3,
  e4m3_e5m2,
  e5m2_e4m3,
  e5m2_e5m2,
  bf16_bf16,
  f16_f16,
  s8_u8,
  u8_u8,
};

OCTAVO_HOST_DEVICE constexpr bool is_integer(MmaType type) {
  return type == MmaType::s8_s8 || type == MmaType::u8_s8 || type == MmaType::s8_u8 ||
         type == MmaType::u8_u8;
}
OCTAVO_HOST_DEVICE constexpr bool is_half(MmaType type) {
  return type == MmaType::bf16_bf16 || type == MmaType::f16_f16;
}

/// The type of B A^T, where A and B have this one: products and their sums are the same.
OCTAVO_HOST_DEVICE constexpr MmaType exchanged(MmaType type) {
  switch (type) {
    case MmaType::u8_s8:
      return MmaType::s8_u8;
    case MmaType::s8_u8:
      return MmaType::u8_s8;
    case MmaType::e4m3_e5m2:
      return MmaType::e5m2_e4m3;
    case MmaType::e5m2_e4m3:
      return MmaType::e4m3_e5m2;
    default:
      return type;
  }
}

/// Every instruction multiplies 32 bytes along K.
constexpr int kStepBytes = 32;
OCTAVO_HOST_DEVICE constexpr int element_bytes(MmaType type) { return is_half(type) ? 2 : 1; }
OCTAVO_HOST_DEVICE constexpr int step_k(MmaType type) { return kStepBytes / element_bytes(type); }

/// Columns of wgmma that the machine has. PTX has every multiple of 8 for floats; for integers not
/// the odd ones but 8 and 24.
constexpr std::uint32_t kWgmmaWidths[] = {8,  16, 24,  32,  40,  48,  56,  64,
                                          80, 96, 112, 128, 160, 192, 224, 256};
constexpr std::uint32_t kWgmmaFloatWidths[] = {40, 56};

OCTAVO_HOST_DEVICE constexpr bool is_wgmma_width(std::uint32_t n, MmaType type) {
  for (const std::uint32_t width : kWgmmaFloatWidths)
    if (n == width && is_integer(type)) return false;
  for (const std::uint32_t width : kWgmmaWidths)
    if (n == width) return true;
  return false;
}

template <bool integer>
struct AccumulatorOf {
  using Type = float;
};
template <>
struct AccumulatorOf<true> {
  using Type = std::int32_t;
};
/// What a sum of products is kept in.
template <MmaType type>
using Accumulator = typename AccumulatorOf<is_integer(type)>::Type;

/// Two neighbouring sums of a row.
template <class Sum>
struct alignas(8) SumPair {
  Sum first, second;
};

/// A tensor map's swizzle of 16-byte pieces inside a box.
enum class Swizzle : std::uint8_t { none, bytes_128 };

/// A tensor in global memory and a box of it, as cuTensorMapEncodeTiled is told: dimension 0 is
/// contiguous. The simulator takes it as it is; a launch on a device encodes it into as many bytes.
struct alignas(128) TensorMap {
  static constexpr int kMostRank = 3;

  void* base = nullptr;  ///< a multiple of 16
  int rank = 2;
  std::int64_t extent[kMostRank] = {1, 1, 1};  ///< in elements
  std::int64_t pitch[kMostRank] = {0, 0, 0};   ///< in bytes, multiples of 16; of dimension 0 unused
  std::int32_t box[kMostRank] = {1, 1, 1};     ///< in elements, at most 256
  std::int32_t element_bytes = 1;
  Swizzle swizzle = Swizzle::bytes_128;

  friend bool operator==(const TensorMap&, const TensorMap&) = default;
};
static_assert(sizeof(TensorMap) == 128, "what an encoded map has");

}  // namespace octavo::cuda
