// SPDX-License-Identifier: Apache-2.0
// The machine of machine/types.hpp on a device of sm_90a: each primitive is the PTX instruction
// that its body names.
//
// What reads or writes memory that other threads or units use is volatile, so that such statements
// keep their order, and clobbers memory wherever it writes or orders, so that the compiler's own
// accesses keep theirs, too. wgmma's sums are in flight until wgmma_wait, which therefore takes and
// gives them: nothing that reads them can be moved before it.
#pragma once

#include "backends/cuda/device/wgmma.cuh"  // scripts/make_wgmma.py writes it into the build
#include "backends/cuda/device/words.cuh"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::device {

/// Dynamic shared memory; tiles of the 128-byte swizzle begin at multiples of 1024.
extern __shared__ __align__(1024) unsigned char shared_memory[];

/// A type's part of tensor-core instructions' names. Operands' transposition is an operand of
/// 16-bit types alone, their negation one of every floating type.
template <MmaType type>
struct Ptx;
#define OCTAVO_PTX(type, k, sums, a, b, scales)                                               \
  template <>                                                                                 \
  struct Ptx<MmaType::type> {                                                                 \
    static constexpr char wgmma[] = "k" #k "." #sums "." #a "." #b;                           \
    static constexpr char wgmma_tail[] = scales;                                              \
    static constexpr char mma_sync[] = "m16n8k" #k ".row.col." #sums "." #a "." #b "." #sums; \
  }
OCTAVO_PTX(s8_s8, 32, s32, s8, s8, "");
OCTAVO_PTX(u8_s8, 32, s32, u8, s8, "");
OCTAVO_PTX(s8_u8, 32, s32, s8, u8, "");
OCTAVO_PTX(u8_u8, 32, s32, u8, u8, "");
OCTAVO_PTX(e4m3_e4m3, 32, f32, e4m3, e4m3, ", 1, 1");
OCTAVO_PTX(e4m3_e5m2, 32, f32, e4m3, e5m2, ", 1, 1");
OCTAVO_PTX(e5m2_e4m3, 32, f32, e5m2, e4m3, ", 1, 1");
OCTAVO_PTX(e5m2_e5m2, 32, f32, e5m2, e5m2, ", 1, 1");
OCTAVO_PTX(bf16_bf16, 16, f32, bf16, bf16, ", 1, 1, 0, 0");
OCTAVO_PTX(f16_f16, 16, f32, f16, f16, ", 1, 1, 0, 0");
#undef OCTAVO_PTX

/// The compiler takes a value for changed here.
OCTAVO_DEVICE void hold(float& value) { asm volatile("" : "+f"(value)::"memory"); }
OCTAVO_DEVICE void hold(std::int32_t& value) { asm volatile("" : "+r"(value)::"memory"); }
template <class T, std::size_t n>
OCTAVO_DEVICE void hold(T (&values)[n]) {
#pragma unroll
  for (std::size_t i = 0; i < n; ++i) hold(values[i]);
}

/// A tensor map as the driver encodes it.
struct alignas(octavo::cuda::TensorMap) TensorMap {
  unsigned char bytes[sizeof(octavo::cuda::TensorMap)];
};

/// Instructions that load_words and store_words take.
struct Names {
  static constexpr char load_shared[] = "ld.shared";
  static constexpr char store_shared[] = "st.shared";
  static constexpr char load_cluster[] = "ld.shared::cluster";
  static constexpr char store_cluster[] = "st.shared::cluster";
  static constexpr char load_global_stream[] = "ld.global.nc.L1::no_allocate";
};

class Machine {
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;

 public:
  using TensorMap = device::TensorMap;
  static constexpr bool simulated = false;

  static OCTAVO_DEVICE u32 tid() { return threadIdx.x; }
  static OCTAVO_DEVICE u32 lane() { return threadIdx.x % 32; }
  static OCTAVO_DEVICE u32 warp() { return threadIdx.x / 32; }
  static OCTAVO_DEVICE u32 block() { return blockIdx.x; }
  static OCTAVO_DEVICE u32 blocks() { return gridDim.x; }
  static OCTAVO_DEVICE u32 cta_rank() {
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
  }
  static OCTAVO_DEVICE u32 shared_base() {
    return static_cast<u32>(__cvta_generic_to_shared(shared_memory));
  }

  // --- two floats as 16-bit elements, the first in the low half ---
  static OCTAVO_DEVICE u32 pack_bf16(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(low), "f"(high));
    return pair;
  }
  static OCTAVO_DEVICE u32 pack_f16(float low, float high) {
    u32 pair;
    asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(low), "f"(high));
    return pair;
  }

  // --- halves and bytes of a word ---
  static OCTAVO_DEVICE u32 multiply_f16(u32 a, u32 b) {
    u32 products;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(products) : "r"(a), "r"(b));
    return products;
  }
  static OCTAVO_DEVICE u32 largest_f16(u32 a, u32 b) {
    u32 larger;
    asm volatile("{ .reg .b32 size;\n"
        "abs.f16x2 size, %2;\n"
        "max.f16x2 %0, %1, size; }"
        : "=r"(larger)
        : "r"(a), "r"(b));
    return larger;
  }
  static OCTAVO_DEVICE u32 permute_bytes(u32 low, u32 high, u32 selector) {
    u32 bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "r"(selector));
    return bytes;
  }

  // --- fp8 ---
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
  static constexpr bool has_fp8 = true;
  static OCTAVO_DEVICE u32 pack_e4m3(float low, float high) {
    std::uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %2, %1;" : "=h"(pair) : "f"(low), "f"(high));
    return pair;
  }
  static OCTAVO_DEVICE u32 pack_e5m2(float low, float high) {
    std::uint16_t pair;
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %2, %1;" : "=h"(pair) : "f"(low), "f"(high));
    return pair;
  }
  static OCTAVO_DEVICE u32 unpack_e4m3(u32 codes) {
    u32 pair;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(static_cast<std::uint16_t>(codes)));
    return pair;
  }
#else
  static constexpr bool has_fp8 = false;
#endif

  // --- shared memory ---
  template <class T>
  static OCTAVO_DEVICE T load_shared(u32 address) {
    return load_words<Names::load_shared, T>(address);
  }
  template <class T>
  static OCTAVO_DEVICE void store_shared(u32 address, T value) {
    store_words<Names::store_shared>(address, value);
  }
  /// As floats: bits of a kernel's sums would be copies of their registers, too many for wgmma.
  static OCTAVO_DEVICE void store_shared(u32 address, SumPair<float> pair) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(pair.first),
                 "f"(pair.second)
                 : "memory");
  }
  static OCTAVO_DEVICE void stmatrix4(u32 address, u32 r0, u32 r1, u32 r2, u32 r3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                 "r"(r0), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
  }
  static OCTAVO_DEVICE void stmatrix4_transposed(u32 address, u32 r0, u32 r1, u32 r2, u32 r3) {
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
        "r"(r0), "r"(r1), "r"(r2), "r"(r3)
        : "memory");
  }
  static OCTAVO_DEVICE void ldmatrix4(u32 address, u32 (&r)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
  }
  static OCTAVO_DEVICE void cp_async16(u32 address, const void* global, u32 bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address),
                 "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
  }
  static OCTAVO_DEVICE void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  template <u32 n>
  static OCTAVO_DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
  }

  // --- global memory ---
  template <class T>
  static OCTAVO_DEVICE T load_global(const T* from) {
    __builtin_assume(__isGlobal(from));
    return *from;
  }
  template <class T>
  static OCTAVO_DEVICE T load_global_stream(const T* from) {
    return load_words<Names::load_global_stream, T>(__cvta_generic_to_global(from));
  }
  template <class T>
  static OCTAVO_DEVICE void store_global(T* to, T value) {
    __builtin_assume(__isGlobal(to));
    *to = value;
  }
  static OCTAVO_DEVICE u32 add_release(u32* counter, u32 value) {
    u32 before;
    asm volatile("atom.add.release.gpu.global.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(__cvta_generic_to_global(counter)), "r"(value)
                 : "memory");
    return before;
  }
  static OCTAVO_DEVICE u32 load_acquire(const u32* counter) {
    u32 value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                 : "=r"(value)
                 : "l"(__cvta_generic_to_global(counter))
                 : "memory");
    return value;
  }

  // --- shared memory of the cluster's CTAs ---
  template <class T>
  static OCTAVO_DEVICE T load_cluster(u32 address, u32 rank) {
    return load_words<Names::load_cluster, T>(map_cluster(address, rank));
  }
  template <class T>
  static OCTAVO_DEVICE void store_cluster(u32 address, u32 rank, T value) {
    store_words<Names::store_cluster>(map_cluster(address, rank), value);
  }

  // --- meetings ---
  template <class T>
  static OCTAVO_DEVICE T shuffle(T value, u32 source) {
    static_assert(sizeof(T) == 4, "shuffle moves 4 bytes");
    return __shfl_sync(~0U, value, static_cast<int>(source));
  }
  static OCTAVO_DEVICE bool elect() {
    u32 elected;
    asm volatile("{ .reg .pred p; elect.sync _|p, 0xFFFFFFFF; selp.u32 %0, 1, 0, p; }"
                 : "=r"(elected)::"memory");
    return elected != 0;
  }
  static OCTAVO_DEVICE void sync_warp() { __syncwarp(); }
  static OCTAVO_DEVICE void sync_named(u32 id, u32 threads) {
    asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
  }
  static OCTAVO_DEVICE void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
  static OCTAVO_DEVICE void grid_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
  static OCTAVO_DEVICE void grid_launch() {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  }
  template <u32 n>
  static OCTAVO_DEVICE void registers_increase() {
    static_assert(n % 8 == 0 && n >= 24 && n <= 256, "setmaxnreg takes 24 to 256 by 8");
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
  }
  template <u32 n>
  static OCTAVO_DEVICE void registers_decrease() {
    static_assert(n % 8 == 0 && n >= 24 && n <= 256, "setmaxnreg takes 24 to 256 by 8");
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
  }
  static OCTAVO_DEVICE void work(int /*slots*/) {}

  // --- mbarriers ---
  static OCTAVO_DEVICE void mbarrier_init(u32 address, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(count) : "memory");
  }
  static OCTAVO_DEVICE void fence_mbarrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  static OCTAVO_DEVICE void mbarrier_arrive(u32 address) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address) : "memory");
  }
  /// Without a scope: says that reading has ended, publishes no writes to the other CTA.
  static OCTAVO_DEVICE void mbarrier_arrive_cluster(u32 address, u32 rank) {
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(map_cluster(address, rank))
                 : "memory");
  }
  static OCTAVO_DEVICE void mbarrier_arrive_cluster_release(u32 address, u32 rank) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(
                     map_cluster(address, rank))
                 : "memory");
  }
  static OCTAVO_DEVICE void mbarrier_expect(u32 address, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes)
                 : "memory");
  }
  static OCTAVO_DEVICE void mbarrier_wait(u32 address, u32 parity) {
    asm volatile(
        "{ .reg .pred p;\n"
        "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra AGAIN; }" ::"r"(address),
        "r"(parity)
        : "memory");
  }
  static OCTAVO_DEVICE void mbarrier_wait_cluster(u32 address, u32 parity) {
    asm volatile(
        "{ .reg .pred p;\n"
        "AGAIN: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra AGAIN; }" ::"r"(address),
        "r"(parity)
        : "memory");
  }

  // --- TMA ---
  static OCTAVO_DEVICE void tma_load(const TensorMap& map, u32 destination, u32 barrier, int x,
                                     int y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%3, %4}], [%2];" ::"r"(destination),
        "l"(&map), "r"(barrier), "r"(x), "r"(y)
        : "memory");
  }
  static OCTAVO_DEVICE void tma_load(const TensorMap& map, u32 destination, u32 barrier, int x,
                                     int y, u32 cta_mask) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(destination),
        "l"(&map), "r"(barrier), "r"(x), "r"(y), "h"(static_cast<std::uint16_t>(cta_mask))
        : "memory");
  }
  static OCTAVO_DEVICE void tma_load_3d(const TensorMap& map, u32 destination, u32 barrier, int x,
                                        int y, int z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(destination),
        "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z)
        : "memory");
  }
  static OCTAVO_DEVICE void tma_store(const TensorMap& map, u32 source, int x, int y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
        "r"(source), "r"(x), "r"(y)
        : "memory");
  }
  static OCTAVO_DEVICE void tma_store_commit() {
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
  }
  template <u32 n>
  static OCTAVO_DEVICE void tma_store_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(n) : "memory");
  }
  static OCTAVO_DEVICE void fence_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }

  // --- tensor cores ---
  static OCTAVO_DEVICE void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  }
  template <MmaType type, u32 n>
  static OCTAVO_DEVICE void wgmma(Accumulator<type> (&sums)[n / 2], u64 a, u64 b, bool accumulate) {
    static_assert(is_wgmma_width(n, type), "a width of wgmma that kWgmmaWidths has for the type");
    multiply<Ptx<type>::wgmma, Ptx<type>::wgmma_tail>(sums, a, b, accumulate ? 1U : 0U);
  }
  static OCTAVO_DEVICE void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  template <u32 n, class Sums>
  static OCTAVO_DEVICE void wgmma_wait(Sums& sums) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory");
    hold(sums);
  }
  template <MmaType type>
  static OCTAVO_DEVICE void mma_sync(Accumulator<type> (&sums)[4], const u32 (&a)[4],
                                     const u32 (&b)[2]) {
    if constexpr (is_integer(type)) {
      asm volatile(
          "mma.sync.aligned.%10 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
            "C"(Ptx<type>::mma_sync));
    } else {
      asm volatile(
          "mma.sync.aligned.%10 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
            "C"(Ptx<type>::mma_sync));
    }
  }

 private:
  static OCTAVO_DEVICE u32 map_cluster(u32 address, u32 rank) {
    u32 there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
  }
};

}  // namespace octavo::cuda::device
