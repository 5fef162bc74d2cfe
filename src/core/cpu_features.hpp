// SPDX-License-Identifier: Apache-2.0
// Instruction-set extensions, found once.
#pragma once

#include <string>
#include <vector>

namespace octavo {

/// True where the processor has the extension, the operating system keeps its registers and
/// OCTAVO_ISA does not leave it out.
struct CpuFeatures {
  bool sse4_1 = false, avx2 = false, fma = false, f16c = false, avx_vnni = false,
       avx_vnni_int8 = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false;
  bool avx512_vnni = false, avx512_bf16 = false, avx512_vbmi = false, avx512_fp16 = false;
  bool amx_tile = false, amx_int8 = false, amx_bf16 = false, amx_fp8 = false;
  bool neon = false, neon_dotprod = false, neon_i8mm = false, neon_bf16 = false;
  bool sve = false, sve_i8mm = false, sve_bf16 = false;
  /// How long vectors are in the thread that asks first; all of 0 where longer than 512 bits.
  bool sve_128 = false, sve_256 = false, sve_512 = false;
};

const CpuFeatures& this_cpu() noexcept;
/// The same with what OCTAVO_ISA leaves out.
const CpuFeatures& uncapped_cpu() noexcept;

/// Do prefetches into the first-level cache bring lines as fast as memory gives them? Elsewhere
/// those into the second level do, which has more lines on their way to it. A property of
/// processors, found by timing some: true of AMD's family 1Ah (Zen 5), false of Zen 4; others count
/// as the latter.
bool fetches_first_level() noexcept;

/// Every extension, on vectors as long as this CPU's.
CpuFeatures complete_cpu() noexcept;

/// What OCTAVO_ISA may name, the least first: "baseline, avx2, ..".
std::string names_of_isas();
/// Those of them that add something on this CPU, whatever OCTAVO_ISA says; the first is there
/// always.
std::vector<std::string> isas_of_this_cpu();
/// Is OCTAVO_ISA one of them, or empty? Another leaves nothing out.
bool isa_is_known() noexcept;

}  // namespace octavo
