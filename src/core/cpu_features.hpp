// SPDX-License-Identifier: Apache-2.0
// Instruction-set extensions, found once.
#pragma once

namespace octavo {

/// True where the processor has the extension and the operating system keeps its registers.
struct CpuFeatures {
  bool sse4_1 = false, avx2 = false, fma = false, f16c = false, avx_vnni = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false;
  bool avx512_vnni = false, avx512_bf16 = false, avx512_vbmi = false, avx512_fp16 = false;
  bool amx_tile = false, amx_int8 = false, amx_bf16 = false;
  bool neon_dotprod = false, neon_i8mm = false, neon_bf16 = false;
};

const CpuFeatures& this_cpu() noexcept;

}  // namespace octavo
