// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/dense_product.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "backends/cuda/products/chunked_product.hpp"
#include "backends/cuda/products/dense_epilogue.hpp"
#include "backends/cuda/products/k_scales.hpp"
#include "backends/cuda/products/mma_product.hpp"
#include "backends/cuda/products/tiled.hpp"
#include "backends/cuda/products/wgmma_product.hpp"
#include "core/error.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {
namespace {

/// Which kernel the rows come to. Those of a group that offsets cut are not known to a plan, but
/// for how many there are in all.
enum class RowOrder : std::uint8_t {
  many,
  few,
  groups_of_many,
  groups_of_few,
  groups_of_any,
  groups_at_once,
  list_at_once,
};

/// For explain, by RowOrder: where the kernel finishes its sums, and where a pass does.
struct How {
  static constexpr std::size_t kKinds = 7;
  std::array<const char*, kKinds> whole, apart;

  constexpr const char* of(RowOrder rows, bool is_apart) const {
    return (is_apart ? apart : whole)[static_cast<std::size_t>(rows)];
  }
};
#define OCTAVO_HOW_DENSE(tile) "dense tiles of " tile ": "
#define OCTAVO_HOW_FEW "few rows, 64 columns a tile: "
#define OCTAVO_HOW_GROUPS "a launch for each group, a device's offsets come to the host: "
#define OCTAVO_HOW_AT_ONCE "one launch for all groups: "
#define OCTAVO_HOW_LIST "one launch where the list lies as groups do, else one for each: "
#define OCTAVO_HOW_ROWS(tile, large, sums)                                                      \
  {                                                                                             \
    OCTAVO_HOW_DENSE(tile)                                                                      \
    sums, OCTAVO_HOW_FEW sums, OCTAVO_HOW_GROUPS OCTAVO_HOW_DENSE(tile) sums,                   \
        OCTAVO_HOW_GROUPS OCTAVO_HOW_FEW sums,                                                  \
        OCTAVO_HOW_GROUPS "few rows up to 64 of them, dense tiles of " tile " for more: " sums, \
        OCTAVO_HOW_AT_ONCE OCTAVO_HOW_DENSE(large) sums,                                        \
        OCTAVO_HOW_LIST OCTAVO_HOW_DENSE(large) sums                                            \
  }
#define OCTAVO_HOW(tile, large, sums)                        \
  How {                                                      \
    {OCTAVO_HOW_ROWS(tile, large, sums)}, {                  \
      OCTAVO_HOW_ROWS(tile, large, sums "; a pass finishes") \
    }                                                        \
  }
#define OCTAVO_HOW_MMA_ROWS(sums)                                                                \
  {                                                                                              \
    OCTAVO_HOW_MMA_SYNC sums, OCTAVO_HOW_MMA_SYNC sums,                                          \
        OCTAVO_HOW_GROUPS OCTAVO_HOW_MMA_SYNC sums, OCTAVO_HOW_GROUPS OCTAVO_HOW_MMA_SYNC sums,  \
        OCTAVO_HOW_GROUPS OCTAVO_HOW_MMA_SYNC sums, OCTAVO_HOW_AT_ONCE OCTAVO_HOW_MMA_SYNC sums, \
        OCTAVO_HOW_LIST OCTAVO_HOW_MMA_SYNC sums                                                 \
  }
#define OCTAVO_HOW_MMA_SYNC "mma.sync, tiles of 128x128 or 32x64: "
#define OCTAVO_HOW_MMA(sums)                                                       \
  How {                                                                            \
    {OCTAVO_HOW_MMA_ROWS(sums)}, { OCTAVO_HOW_MMA_ROWS(sums "; a pass finishes") } \
  }
#define OCTAVO_HOW_EXACT(sums) \
  { OCTAVO_HOW("128x256 or 128x128", "128x256", sums), OCTAVO_HOW_MMA(sums) }
// [zero points][outliers][cores]
constexpr How kExact[2][2][2] = {
    {OCTAVO_HOW_EXACT("exact integer sums"),
     OCTAVO_HOW_EXACT("exact integer sums; outlier columns in float32")},
    {OCTAVO_HOW_EXACT("exact integer sums; zero points by sums of lines"),
     OCTAVO_HOW_EXACT(
         "exact integer sums; zero points by sums of lines; outlier columns in float32")}};
constexpr How kPromoted = OCTAVO_HOW("128x128", "128x128", "fp8 sums promoted every 128 of K");
constexpr How kScaled =
    OCTAVO_HOW("128x128", "128x128", "fp8 sums of every 128 of K, each by its scales");
constexpr How kFast = OCTAVO_HOW("128x256 or 128x128", "128x256", "fp8 sums in the tensor cores");
constexpr How kHalf = OCTAVO_HOW("128x256 or 128x128", "128x256", "16-bit operands");
constexpr How kHalfMma = OCTAVO_HOW_MMA("16-bit operands");
constexpr How kFloat8Mma = OCTAVO_HOW_MMA("fp8 widened to fp16");
constexpr How kScaledFloat8Mma =
    OCTAVO_HOW_MMA("fp8 widened to fp16, sums of cells of K, each by its scales");
constexpr How kScaledExactMma =
    OCTAVO_HOW_MMA("exact integer sums of cells of K, each by its scales");
constexpr const char* kInChunks =
    "a launch of a dense kernel for each chunk of K, added in order; a pass finishes";
constexpr const char* kInChunksMma =
    OCTAVO_HOW_MMA_SYNC "a launch for each chunk of K, added in order; a pass finishes";
#undef OCTAVO_HOW_EXACT
#undef OCTAVO_HOW_MMA
#undef OCTAVO_HOW_MMA_SYNC
#undef OCTAVO_HOW_MMA_ROWS
#undef OCTAVO_HOW
#undef OCTAVO_HOW_ROWS
#undef OCTAVO_HOW_LIST
#undef OCTAVO_HOW_AT_ONCE
#undef OCTAVO_HOW_GROUPS
#undef OCTAVO_HOW_FEW
#undef OCTAVO_HOW_DENSE

// Offsets along columns or K leave a group all rows.
RowOrder rows_of(const Member& p, Split split) noexcept {
  const bool few = p.a.data.shape[0] <= kFewRows;
  if (split == Split::rows) return few ? RowOrder::groups_of_few : RowOrder::groups_of_any;
  if (split == Split::columns || split == Split::inner)
    return few ? RowOrder::groups_of_few : RowOrder::groups_of_many;
  return few ? RowOrder::few : RowOrder::many;
}

struct TypePair {
  DType a, b;
  MmaType type;
  Summing summing;  // of wgmma, unless it is fast
  How how, fast;    // of wgmma
  How mma_sync;
};
constexpr TypePair fp8(DType a, DType b, MmaType type) {
  return {a, b, type, Summing::promoted, kPromoted, kFast, kFloat8Mma};
}
constexpr TypePair half(DType dtype, MmaType type) {
  return {dtype, dtype, type, Summing::plain, kHalf, kHalf, kHalfMma};
}
constexpr TypePair exact(DType a, DType b, MmaType type) {
  const How(&how)[2] = kExact[0][0];
  return {a, b, type, Summing::plain, how[0], how[0], how[1]};
}
constexpr std::array kTypePairs{
    exact(DType::int8, DType::int8, MmaType::s8_s8),
    exact(DType::uint8, DType::int8, MmaType::u8_s8),
    exact(DType::int8, DType::uint8, MmaType::s8_u8),
    exact(DType::uint8, DType::uint8, MmaType::u8_u8),
    fp8(DType::float8_e4m3fn, DType::float8_e4m3fn, MmaType::e4m3_e4m3),
    fp8(DType::float8_e4m3fn, DType::float8_e5m2, MmaType::e4m3_e5m2),
    fp8(DType::float8_e5m2, DType::float8_e4m3fn, MmaType::e5m2_e4m3),
    fp8(DType::float8_e5m2, DType::float8_e5m2, MmaType::e5m2_e5m2),
    half(DType::bfloat16, MmaType::bf16_bf16),
    half(DType::float16, MmaType::f16_f16),
};

// Sums of an operand's rows of K, in `memory`.
Status sum_lines(const MatrixView& x, Scratch& memory, const std::int32_t*& out,
                 const ExecContext& context) noexcept {
  OCTAVO_TRY(
      memory.take("dense product", static_cast<std::size_t>(x.shape[0]) * sizeof(std::int32_t)));
  auto* sums = static_cast<std::int32_t*>(memory.data());
  out = sums;
  return line_sums(x, sums, context);
}

// Whether the path's kernel adds outliers' sums, those of one chunk of K.
bool adds_outliers(const DensePath& path, const MatmulOptions& options) noexcept {
  if (options.k_chunks > 1) return false;
  return path.cores == Cores::wgmma ? wgmma_adds_outliers(path.type) : mma_adds_outliers(path.type);
}

// Whether the path's kernel finishes the member, but for its outliers.
bool finishes(Cores cores, const Member& member, const MatmulOptions& options,
              DenseEpilogue& epilogue) noexcept {
  const Member p = without_k_scales(member);
  return cores == Cores::wgmma ? fuses(p, options, epilogue) : fuses(p, options, epilogue.full);
}

Status launch_dense(const DensePath& path, const MatrixView& a, const MatrixView& b,
                    const MatrixView& out, const DenseEpilogue& epilogue,
                    const ExecContext& context) noexcept {
  if (path.cores == Cores::wgmma) return launch_wgmma(path, {a, b, out, epilogue}, context);
  return launch_mma(path, a, b, epilogue, context.place(out.device));
}

// Sums as they are, of a matrix that take_tiled has made.
DenseEpilogue storing(const MatrixView& sums) noexcept {
  DenseEpilogue epilogue;
  epilogue.kind = sums.dtype == DType::int32 ? DenseOut::sums : DenseOut::f32;
  epilogue.full.out = sums;
  epilogue.full.out_words = true;
  return epilogue;
}

// Elements that become fp16 or are 16 bits wide, subnormal ones among them.
bool has_subnormal_halves(const DensePath& path) noexcept {
  const bool e5m2 = path.type == MmaType::e4m3_e5m2 || path.type == MmaType::e5m2_e4m3 ||
                    path.type == MmaType::e5m2_e5m2;
  return is_half(path.type) || (path.cores == Cores::mma_sync && e5m2);
}

constexpr double kUnit = 0x1p-24;  // float32's unit roundoff

// Of one chunk of K. A step's products and what is summed so far are cut at F bits behind the
// largest, their sum at M (simulator/arithmetic.hpp): each step errs by ((products + 1) 2^-F +
// 2^-M) sum |A||B| at most. mma.sync of 8.x adds eight products at a time, F = 24; later devices
// sixteen, F = 25, and err less.
double sum_error(const DensePath& path, std::int64_t k) noexcept {
  constexpr double kEpilogue = 8 * kUnit;
  const auto steps = [k](std::int64_t of) { return static_cast<double>((k + of - 1) / of); };
  if (path.summing == Summing::scaled && path.cores == Cores::mma_sync) {
    // Sums of cells by two scales, added in float32.
    const double parts = is_integer(path.type) ? kUnit : steps(8) * (9 * 0x1p-24 + 0x1p-23);
    return parts + (steps(32) + 4) * kUnit + kEpilogue;
  }
  if (is_integer(path.type)) return 0;
  if (path.cores == Cores::mma_sync) return steps(8) * (9 * 0x1p-24 + 0x1p-23) + kEpilogue;
  if (is_half(path.type)) return steps(16) * (17 * 0x1p-25 + 0x1p-23) + kEpilogue;
  constexpr double kStep = 34 * 0x1p-13;
  if (path.summing == Summing::plain) return steps(32) * kStep + kEpilogue;
  // Sums of 128 by themselves, by two scales or none, then in float32, two chunks of K at most.
  return 4 * kStep + (steps(128) + 4) * kUnit + kEpilogue;
}

}  // namespace

const char* find_dense_path(Cores cores, const Member& p, const MatmulOptions& options, Split split,
                            DensePath& path) noexcept {
  const TypePair* found = nullptr;
  for (const TypePair& pair : kTypePairs)
    if (pair.a == product_dtype(p.a) && pair.b == weight_dtype(p.b)) found = &pair;
  if (found == nullptr)
    return "the tensor cores take 8-bit integers by 8-bit integers, OCP fp8 by fp8, and 16-bit "
           "floats of one type";
  const bool wgmma = cores == Cores::wgmma, fast = options.fast_accumulation || !wgmma;
  const RowOrder rows = rows_of(p, split);
  const std::int64_t k = weight_rows(p.b);
  DenseEpilogue epilogue;
  const bool apart = k == 0 || !finishes(cores, p, options, epilogue);
  const How& how = !wgmma ? found->mma_sync : fast ? found->fast : found->how;
  path = {cores,
          found->type,
          fast ? Summing::plain : found->summing,
          how.of(rows, apart),
          how.of(RowOrder::groups_at_once, apart),
          how.of(RowOrder::list_at_once, apart)};
  if (is_integer(path.type) && k > kMostIntegerDepth)
    return "sums of more than 65536 products leave int32";
  if (path.type == MmaType::u8_u8 && k > kMostUnsignedDepth)
    return "sums of more than 33025 products of uint8 by uint8 leave int32";
  if (k > kMostExtent || weight_columns(p.b) > kMostExtent || p.out.shape[0] > kMostExtent)
    return "an extent beyond 2^30";
  if (has_k_scales(p)) {
    if (!(wgmma ? wgmma_takes_k_scales(path.type) : mma_takes_k_scales(path.type)))
      return "scales that vary along K";
    if (const char* why = lacks_k_scales(p, split, k_scale_units(cores)); why != nullptr)
      return why;
    const How& scaled = wgmma                   ? kScaled
                        : is_integer(path.type) ? kScaledExactMma
                                                : kScaledFloat8Mma;
    path.summing = Summing::scaled;
    path.how = scaled.of(rows, apart);
    path.at_once = scaled.of(RowOrder::groups_at_once, apart);
    path.list_at_once = scaled.of(RowOrder::list_at_once, apart);
  }
  if (azp_by_cells(p.b)) return "zero points of the weight by cells of its scale";
  bool zero_points = has_zero_points(p);
  bool outliers = p.epilogue.outliers.present();
  if (p.a.quantize != nullptr) {
    const ActivationQuant& rule = *p.a.quantize;
    zero_points |= rule.spec.azp;
    outliers |= rule.vectorwise && (rule.outlier_threshold > 0 || rule.outlier_columns.defined());
  }
  if (zero_points || outliers) {
    if (path.summing == Summing::scaled)
      return "zero points or outlier columns beside scales that vary along K";
    if (!is_integer(path.type)) return "zero points or outlier columns beside floats";
    path.how = kExact[zero_points ? 1 : 0][outliers ? 1 : 0][wgmma ? 0 : 1].of(
        rows, apart || (outliers && !adds_outliers(path, options)));
  }
  if (sum_chunks(p, options).several()) path.how = wgmma ? kInChunks : kInChunksMma;
  if (options.exact_subnormals && has_subnormal_halves(path))
    return "whether the tensor cores keep subnormal 16-bit operands is not written down";
  return nullptr;
}

double sum_error(const DensePath& path, const Member& p, const MatmulOptions& options) noexcept {
  const KChunks chunks = sum_chunks(p, options);
  const double additions = chunks.several() ? static_cast<double>(chunks.count) * kUnit : 0;
  return sum_error(path, weight_rows(p.b)) + additions;
}

Status run_dense(const Member& p, const MatmulOptions& options, const DensePath& path,
                 const std::int32_t* column_sums, const ExecContext& context) noexcept {
  if (p.out.numel() == 0) return {};
  if (sum_chunks(p, options).several()) return run_in_chunks(p, options, path, context);
  const Place place = context.place(p.out.device);
  Scratch copied_a(place), copied_b(place), sums_a(place), sums_b(place), summed(place);
  KScalesOnDevice k_scales(place);
  MatrixView a = p.a.data;
  MatrixView b = p.b.data.transposed();
  OCTAVO_TRY(to_tiled(a, copied_a, context));
  OCTAVO_TRY(to_tiled(b, copied_b, context));
  CodeSums codes;
  if (p.b.azp.defined()) OCTAVO_TRY(sum_lines(a, sums_a, codes.of_rows, context));
  if (p.a.azp.defined()) codes.of_columns = column_sums;
  if (p.a.azp.defined() && column_sums == nullptr)
    OCTAVO_TRY(sum_lines(b, sums_b, codes.of_columns, context));

  DenseEpilogue epilogue;
  if (path.summing == Summing::scaled)
    OCTAVO_TRY(k_scales.make(p, k_scale_units(path.cores), context, epilogue.k_scales));
  const bool outliers = p.epilogue.outliers.present();
  if (a.shape[1] > 0 && (!outliers || adds_outliers(path, options)) &&
      finishes(path.cores, p, options, epilogue)) {
    epilogue.full.zero_points.sums = codes;
    if (outliers) {
      epilogue.full.outliers = p.epilogue.outliers;
      epilogue.full.codes = p.b.data;
    }
    return launch_dense(path, a, b, p.out, epilogue, context);
  }
  MatrixView sums;
  const bool exact = is_integer(path.type) && path.summing != Summing::scaled;
  OCTAVO_TRY(take_tiled(summed, exact ? DType::int32 : DType::float32, p.out.shape[0],
                        p.out.shape[1], p.out.device, sums));
  if (a.shape[1] > 0) {
    DenseEpilogue stored = storing(sums);
    stored.k_scales = epilogue.k_scales;
    OCTAVO_TRY(launch_dense(path, a, b, sums, stored, context));
  } else {
    OCTAVO_TRY(fill({static_cast<TensorView>(sums), 0.0F}, context));
  }
  if (outliers || has_zero_points(p)) return finish_sums({sums, p, options}, codes, context);
  return finish({sums, without_k_scales(p), options}, context);
}

}  // namespace octavo::cuda
