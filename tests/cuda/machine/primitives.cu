// SPDX-License-Identifier: Apache-2.0
// A kernel for each primitive of the machine on a device, named after it. Nothing runs them: what
// they are compiled to is held to primitives.txt by scripts/check_sass.py.
#include "backends/cuda/device/device.cuh"

namespace octavo::cuda {
namespace {

using device::Machine;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct Params {
  octavo::cuda::device::TensorMap map;
  u32* out;
  const u32* in;
  u32 address, rank, parity, bytes;
  int x, y, z;
  u64 a, b;
};

#define PRIMITIVE(name) \
  extern "C" __global__ void __launch_bounds__(128) name(const __grid_constant__ Params p)

PRIMITIVE(tid) { p.out[0] = Machine::tid(); }
PRIMITIVE(lane) { p.out[0] = Machine::lane(); }
PRIMITIVE(warp) { p.out[0] = Machine::warp(); }
PRIMITIVE(block) { p.out[0] = Machine::block(); }
PRIMITIVE(blocks) { p.out[0] = Machine::blocks(); }
PRIMITIVE(cta_rank) { p.out[0] = Machine::cta_rank(); }
PRIMITIVE(shared_base) { p.out[0] = Machine::shared_base(); }
PRIMITIVE(pack_bf16) {
  p.out[0] = Machine::pack_bf16(__uint_as_float(p.in[0]), __uint_as_float(p.in[1]));
}
PRIMITIVE(pack_f16) {
  p.out[0] = Machine::pack_f16(__uint_as_float(p.in[0]), __uint_as_float(p.in[1]));
}
PRIMITIVE(pack_e4m3) {
  p.out[0] = Machine::pack_e4m3(__uint_as_float(p.in[0]), __uint_as_float(p.in[1]));
}
PRIMITIVE(pack_e5m2) {
  p.out[0] = Machine::pack_e5m2(__uint_as_float(p.in[0]), __uint_as_float(p.in[1]));
}

PRIMITIVE(unpack_e4m3) { p.out[0] = Machine::unpack_e4m3(p.in[0]); }
PRIMITIVE(multiply_f16) { p.out[0] = Machine::multiply_f16(p.in[0], p.in[1]); }
PRIMITIVE(largest_f16) { p.out[0] = Machine::largest_f16(p.in[0], p.in[1]); }
PRIMITIVE(permute_bytes) { p.out[0] = Machine::permute_bytes(p.in[0], p.in[1], p.rank); }

PRIMITIVE(load_shared) {
  p.out[0] = Machine::load_shared<u32>(p.address);
  reinterpret_cast<uint2*>(p.out)[1] = Machine::load_shared<uint2>(p.address);
  reinterpret_cast<uint4*>(p.out)[1] = Machine::load_shared<uint4>(p.address);
}
PRIMITIVE(store_shared) {
  Machine::store_shared(p.address, p.rank);
  Machine::store_shared(p.address, uint2{p.rank, p.parity});
  Machine::store_shared(p.address, octavo::cuda::SumPair<float>{1.0F, 2.0F});
  Machine::store_shared(p.address, uint4{p.rank, p.parity, p.bytes, p.rank});
}
PRIMITIVE(stmatrix4) { Machine::stmatrix4(p.address, p.rank, p.parity, p.bytes, p.rank); }
PRIMITIVE(stmatrix4_transposed) {
  Machine::stmatrix4_transposed(p.address, p.rank, p.parity, p.bytes, p.rank);
}
PRIMITIVE(ldmatrix4) {
  u32 r[4];
  Machine::ldmatrix4(p.address, r);
  for (int i = 0; i < 4; ++i) p.out[i] = r[i];
}
PRIMITIVE(cp_async16) { Machine::cp_async16(p.address, p.in, p.bytes); }
PRIMITIVE(cp_async_commit) { Machine::cp_async_commit(); }
PRIMITIVE(cp_async_wait) { Machine::cp_async_wait<1>(); }

PRIMITIVE(load_global) { p.out[0] = Machine::load_global(p.in); }
PRIMITIVE(load_global_stream) {
  p.out[0] = Machine::load_global_stream(p.in);
  reinterpret_cast<uint2*>(p.out)[1] =
      Machine::load_global_stream(reinterpret_cast<const uint2*>(p.in));
  reinterpret_cast<uint4*>(p.out)[1] =
      Machine::load_global_stream(reinterpret_cast<const uint4*>(p.in));
}
PRIMITIVE(store_global) { Machine::store_global(p.out, p.rank); }
PRIMITIVE(add_release) { p.out[1] = Machine::add_release(p.out, p.rank); }
PRIMITIVE(load_acquire) { p.out[0] = Machine::load_acquire(p.in); }
PRIMITIVE(load_cluster) {
  p.out[0] = Machine::load_cluster<u32>(p.address, p.rank);
  reinterpret_cast<uint2*>(p.out)[1] = Machine::load_cluster<uint2>(p.address, p.rank);
  reinterpret_cast<uint4*>(p.out)[1] = Machine::load_cluster<uint4>(p.address, p.rank);
}
PRIMITIVE(store_cluster) {
  Machine::store_cluster(p.address, p.rank, p.parity);
  Machine::store_cluster(p.address, p.rank, uint2{p.parity, p.bytes});
  Machine::store_cluster(p.address, p.rank, uint4{p.parity, p.bytes, p.parity, p.bytes});
}

PRIMITIVE(shuffle) { p.out[0] = Machine::shuffle(Machine::tid() * p.bytes, p.rank); }
PRIMITIVE(elect) {
  if (Machine::elect()) p.out[0] = 1;
}
PRIMITIVE(sync_warp) {
  if (Machine::tid() % 3 == 0) p.out[0] = 1;
  Machine::sync_warp();
  p.out[1] = 2;
}
PRIMITIVE(sync_named) { Machine::sync_named(3, 64); }
PRIMITIVE(cluster_sync) { Machine::cluster_sync(); }
PRIMITIVE(grid_wait) {
  Machine::grid_wait();
  p.out[0] = p.in[0];
}
PRIMITIVE(grid_launch) { Machine::grid_launch(); }
// They are ignored where a launch's registers are not known.
extern "C" __global__ void __launch_bounds__(384, 1) registers_increase() {
  Machine::registers_increase<232>();
}
extern "C" __global__ void __launch_bounds__(384, 1) registers_decrease() {
  Machine::registers_decrease<40>();
}
PRIMITIVE(work) { Machine::work(70); }

PRIMITIVE(mbarrier_init) { Machine::mbarrier_init(p.address, p.rank); }
PRIMITIVE(fence_mbarrier_init) {
  Machine::mbarrier_init(p.address, 1);
  Machine::fence_mbarrier_init();
}
PRIMITIVE(mbarrier_arrive) { Machine::mbarrier_arrive(p.address); }
PRIMITIVE(mbarrier_arrive_cluster) { Machine::mbarrier_arrive_cluster(p.address, p.rank); }
PRIMITIVE(mbarrier_arrive_cluster_release) {
  Machine::mbarrier_arrive_cluster_release(p.address, p.rank);
}
PRIMITIVE(mbarrier_expect) { Machine::mbarrier_expect(p.address, p.bytes); }
PRIMITIVE(mbarrier_wait) {
  Machine::mbarrier_wait(p.address, p.parity);
  p.out[0] = Machine::load_shared<u32>(p.bytes);
}
PRIMITIVE(mbarrier_wait_cluster) {
  Machine::mbarrier_wait_cluster(p.address, p.parity);
  p.out[0] = Machine::load_shared<u32>(p.bytes);
}

PRIMITIVE(tma_load) { Machine::tma_load(p.map, p.address, p.rank, p.x, p.y); }
PRIMITIVE(tma_load_multicast) { Machine::tma_load(p.map, p.address, p.rank, p.x, p.y, p.parity); }
PRIMITIVE(tma_load_3d) { Machine::tma_load_3d(p.map, p.address, p.rank, p.x, p.y, p.z); }
PRIMITIVE(tma_store) { Machine::tma_store(p.map, p.address, p.x, p.y); }
PRIMITIVE(tma_store_commit) { Machine::tma_store_commit(); }
PRIMITIVE(tma_store_wait_read) { Machine::tma_store_wait_read<1>(); }
PRIMITIVE(fence_async) {
  Machine::store_shared(p.address, p.rank);
  Machine::fence_async();
  Machine::tma_store(p.map, p.address, p.x, p.y);
}

// With wgmma_fence, wgmma_commit and wgmma_wait, before which no sum may be read. Sums are written
// before the fence: ptxas adds another one otherwise.
template <MmaType type, int n>
__device__ __forceinline__ void multiply(const Params& p) {
  Accumulator<type> sums[n / 2];
  for (auto& sum : sums) sum = static_cast<Accumulator<type>>(p.rank);
  device::hold(sums);
  Machine::wgmma_fence();
  Machine::wgmma<type, n>(sums, p.a, p.b, true);
  Machine::wgmma_commit();
  Machine::wgmma_wait<0>(sums);
  for (int i = 0; i < n / 2; ++i) {
    reinterpret_cast<Accumulator<type>*>(p.out)[i * 128 + threadIdx.x] = sums[i];
  }
}
#define WGMMA(type, n) \
  PRIMITIVE(wgmma_##type##_##n) { multiply<MmaType::type, n>(p); }
WGMMA(s8_s8, 8)
WGMMA(s8_s8, 16)
WGMMA(s8_s8, 24)
WGMMA(s8_s8, 32)
WGMMA(s8_s8, 48)
WGMMA(s8_s8, 64)
WGMMA(s8_s8, 80)
WGMMA(s8_s8, 96)
WGMMA(s8_s8, 112)
WGMMA(s8_s8, 128)
WGMMA(s8_s8, 160)
WGMMA(s8_s8, 192)
WGMMA(s8_s8, 224)
WGMMA(s8_s8, 256)
WGMMA(u8_s8, 128)
WGMMA(s8_u8, 128)
WGMMA(u8_u8, 128)
WGMMA(e4m3_e4m3, 8)
WGMMA(e4m3_e4m3, 16)
WGMMA(e4m3_e4m3, 24)
WGMMA(e4m3_e4m3, 32)
WGMMA(e4m3_e4m3, 40)
WGMMA(e4m3_e4m3, 48)
WGMMA(e4m3_e4m3, 56)
WGMMA(e4m3_e4m3, 64)
WGMMA(e4m3_e4m3, 80)
WGMMA(e4m3_e4m3, 96)
WGMMA(e4m3_e4m3, 112)
WGMMA(e4m3_e4m3, 128)
WGMMA(e4m3_e4m3, 160)
WGMMA(e4m3_e4m3, 192)
WGMMA(e4m3_e4m3, 224)
WGMMA(e4m3_e4m3, 256)
WGMMA(e4m3_e5m2, 128)
WGMMA(e5m2_e4m3, 128)
WGMMA(e5m2_e5m2, 128)
WGMMA(bf16_bf16, 128)
WGMMA(f16_f16, 128)

template <MmaType type>
__device__ __forceinline__ void multiply_fragments(const Params& p) {
  u32 a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = p.in[i];
  for (int i = 0; i < 2; ++i) b[i] = p.in[4 + i];
  Accumulator<type> sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = reinterpret_cast<Accumulator<type>*>(p.out)[i];
  Machine::mma_sync<type>(sums, a, b);
  for (int i = 0; i < 4; ++i) reinterpret_cast<Accumulator<type>*>(p.out)[i] = sums[i];
}
#define MMA_SYNC(type) \
  PRIMITIVE(mma_sync_##type) { multiply_fragments<MmaType::type>(p); }
MMA_SYNC(s8_s8)
MMA_SYNC(u8_s8)
MMA_SYNC(s8_u8)
MMA_SYNC(u8_u8)
MMA_SYNC(e4m3_e4m3)
MMA_SYNC(e4m3_e5m2)
MMA_SYNC(e5m2_e4m3)
MMA_SYNC(e5m2_e5m2)
MMA_SYNC(bf16_bf16)
MMA_SYNC(f16_f16)

}  // namespace
}  // namespace octavo::cuda
