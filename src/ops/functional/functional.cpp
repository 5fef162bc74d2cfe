// SPDX-License-Identifier: Apache-2.0
// PyTorch's recipes: from declared scale layouts to granularities.
#include "octavo/functional.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "octavo/gradient.hpp"
#include "ops/functional/swizzle.hpp"
#include "ops/gradients/vjp_arguments.hpp"
#include "ops/product/lower.hpp"
#include "ops/values.hpp"

namespace octavo::functional {
namespace {

struct Recipe {
  const char* name;
  Granularity a, b;
  DType dtype;
};

// In the order of ScalingType.
constexpr std::array<Recipe, 6> kRecipes{{
    {"TensorWise", per_tensor(), per_tensor(), DType::float32},
    {"RowWise", per_token(), per_channel(), DType::float32},
    {"BlockWise1x16", group(16), group(16), DType::float8_e4m3fn},
    {"BlockWise1x32", group(32), group(32), DType::float8_e8m0fnu},
    {"BlockWise1x128", group(128), group(128), DType::float32},
    {"BlockWise128x128", block(128, 128), block(128, 128), DType::float32},
}};

// How the operands of a grouped product are cut.
struct Cuts {
  Split split = Split::none;
  std::int64_t groups = 0;
  std::span<const std::int64_t> ends;  // of the call's own copy

  ScaleCut of(Side side) const noexcept {
    if (split == Split::inner) return ScaleCut::inner;
    return split == (side == Side::a ? Split::rows : Split::columns) ? ScaleCut::outer
                                                                     : ScaleCut::stacked;
  }
};

// A scale and the operand it belongs to; `outer` is M or N.
struct ScaleSite {
  const Site& site;
  Side side;
  std::int64_t outer, inner;
  const ExecContext& context;
  const Cuts* cuts = nullptr;  // of a grouped product
  Arg arg() const noexcept { return side == Side::a ? Arg::scale_a : Arg::scale_b; }
};

// PyTorch writes the scales of B as [N, cells of K]; ours are those of [K, N].
TensorView oriented(const ScaleSite& p, const TensorView& v) noexcept {
  return p.side == Side::b ? v.transposed() : v;
}

// 128 x 128 blocks: PyTorch's padded [round_up(K cells, 4), outer cells], or natural [outer cells,
// K cells] where that is no square. A square grid could be either orientation, and its values do
// not tell which, so only PyTorch's layout is taken: padded, with strides [1, rows] where the
// padding does not show in the shape. No values mean two things.
Result<TensorView> block_scale(const ScaleSite& p, const TensorView& v) {
  const std::int64_t down = cells(p.outer, 128);
  const std::int64_t across = cells(p.inner, 128);
  const std::int64_t padded = (across + 3) / 4 * 4;
  const bool fits_natural = v.rank == 2 && v.shape[0] == down && v.shape[1] == across;
  const bool fits_padded = v.rank == 2 && v.shape[0] == padded && v.shape[1] == down;
  const bool square = down == across && down > 1;
  if (fits_padded && fits_natural && square && (v.strides[0] != 1 || v.strides[1] != padded)) {
    return fail(Code::invalid_argument,
                "{}.strides must be [1, {}] for a square grid {} of BlockWise128x128, which is "
                "PyTorch's [K / 128, outer / 128] (scaled_mm's granularities take the other); got "
                "[{}, {}]",
                p.site(p.arg()), padded, shape_string(v), v.strides[0], v.strides[1]);
  }
  if (fits_padded) return oriented(p, v.slice(0, 0, across).transposed());
  if (fits_natural && !square) return oriented(p, v);
  if (square) {
    return fail(
        Code::invalid_argument,
        "{}.shape must be padded [{}, {}] for a square grid of BlockWise128x128, which is "
        "PyTorch's [K / 128, outer / 128] (scaled_mm's granularities take the other); got {}",
        p.site(p.arg()), padded, down, shape_string(v));
  }
  return fail(Code::invalid_argument,
              "{}.shape must be [{}, {}] or padded [{}, {}] for BlockWise128x128; got {}",
              p.site(p.arg()), down, across, padded, down, shape_string(v));
}

// The natural scales of tiles; an operand of a grouped product has them group by group.
Result<Tensor> natural_scale(const ScaleSite& p, const TensorView& v, std::int64_t cell) {
  const SwizzledScale s{p.site, p.arg(), p.outer, p.inner, cell, p.context};
  if (p.cuts == nullptr) return unswizzle(s, v);
  return unswizzle_groups(s, p.cuts->of(p.side), p.cuts->groups, p.cuts->ends, v);
}

// One recipe as a Scale argument. `owned` keeps what had to be laid out anew.
Result<Scale> scale_of(const ScaleSite& p, const RecipeScale& given, std::vector<Tensor>& owned) {
  const bool grouped = p.cuts != nullptr;
  if (static_cast<std::size_t>(given.recipe) >= kRecipes.size()) {
    return fail(Code::invalid_argument, "{}.recipe must be a ScalingType; got {}", p.site(p.arg()),
                static_cast<int>(given.recipe));
  }
  const Recipe& recipe = kRecipes[static_cast<std::size_t>(given.recipe)];
  const TensorView& v = given.values;
  OCTAVO_TRY(check_tensor(p.site, p.arg(), v));
  if (v.dtype != recipe.dtype) {
    return fail(Code::invalid_argument, "{}.dtype must be {} for {}; got {}", p.site(p.arg()),
                name(recipe.dtype), recipe.name, name(v.dtype));
  }
  const Granularity granularity = p.side == Side::a ? recipe.a : recipe.b;
  const bool micro = granularity.kind == Granularity::Kind::group && granularity.rows < 128;
  if (given.swizzle == SwizzleType::SWIZZLE_32_4_4 && !micro) {
    return fail(Code::invalid_argument, "{}.swizzle must be NO_SWIZZLE for {}; got SWIZZLE_32_4_4",
                p.site(p.arg()), recipe.name);
  }
  if (given.swizzle == SwizzleType::SWIZZLE_32_4_4) {
    OCTAVO_TRY_ASSIGN(Tensor natural, natural_scale(p, v, granularity.rows));
    owned.push_back(natural);
    return Scale(oriented(p, natural), granularity);
  }
  switch (given.recipe) {
    case ScalingType::TensorWise:
      return Scale(v, granularity);
    case ScalingType::RowWise:  // grouped shapes have their own reading
      return grouped ? Scale(v) : Scale(v, granularity);
    case ScalingType::BlockWise128x128: {
      if (grouped) return Scale(oriented(p, v), granularity);
      OCTAVO_TRY_ASSIGN(const TensorView natural, block_scale(p, v));
      return Scale(natural, granularity);
    }
    default:
      return Scale(oriented(p, v), granularity);
  }
}

Status check_levels(const ScaleSite& p, std::span<const RecipeScale> scales) {
  if (scales.empty() || scales.size() > 2) {
    return fail(Code::invalid_argument, "{} must hold one or two scales; got {}", p.site(p.arg()),
                scales.size());
  }
  if (scales.size() == 2 && scales[1].recipe != ScalingType::TensorWise) {
    return fail(Code::invalid_argument, "{}[1] must be TensorWise; got {}", p.site(p.arg()),
                kRecipes[static_cast<std::size_t>(scales[1].recipe)].name);
  }
  return {};
}

struct Scales {
  Scale first;
  ScaleView second;
};
Result<Scales> both_levels(const ScaleSite& p, std::span<const RecipeScale> given,
                           std::vector<Tensor>& owned) {
  OCTAVO_TRY(check_levels(p, given));
  Scales scales;
  OCTAVO_TRY_ASSIGN(scales.first, scale_of(p, given[0], owned));
  if (given.size() == 2) {
    OCTAVO_TRY_ASSIGN(const Scale second, scale_of(p, given[1], owned));
    OCTAVO_TRY_ASSIGN(scales.second,
                      resolve_scale(p.site, second, {.side = p.side, .rows = 1, .cols = 1}));
  }
  return scales;
}

// Rows and columns of the last two dimensions; errors about ranks are the lowering's.
std::array<std::int64_t, 2> last_two(const TensorView& v) noexcept {
  if (v.rank < 2) return {0, 0};
  const auto last = static_cast<std::size_t>(v.rank - 1);
  return {v.shape[last - 1], v.shape[last]};
}

// A product by recipes: how its plain arguments are lowered.
using Lower = Result<Lowered> (*)(const Site& site, const TensorView& mat_a,
                                  const TensorView& mat_b, const Scale& scale_a,
                                  const Scale& scale_b, const Options& options,
                                  const ExecContext& context);

struct RecipeProduct {
  const TensorView &mat_a, &mat_b;
  std::span<const RecipeScale> scale_a, scale_b;
  const Options& options;
  const ExecContext& context;
  bool grouped;
  Lower lower;
};

bool swizzled(const RecipeProduct& p) noexcept {
  const auto any = [](std::span<const RecipeScale> scales) {
    return !scales.empty() && scales[0].swizzle == SwizzleType::SWIZZLE_32_4_4;
  };
  return any(p.scale_a) || any(p.scale_b);
}

// The cuts of a grouped product, once it is known to be one. Offsets come to the host where scales
// have to be read by them.
Result<Cuts> cuts_of(const Site& site, const RecipeProduct& p, Options& options,
                     std::vector<Tensor>& owned) {
  if (!swizzled(p)) return Cuts{};
  const TensorView& given = options.offs;
  if (given.rank == 1 && given.data != nullptr &&
      (given.dtype == DType::int32 || given.dtype == DType::int64)) {
    OCTAVO_TRY_ASSIGN(const Tensor offs, host_offsets(site, given, p.context));
    owned.push_back(offs);
    options.offs = offs;
  }
  OCTAVO_TRY_ASSIGN(const Lowered plain,
                    p.lower(site, p.mat_a, p.mat_b, {}, {}, options, p.context));
  const TensorView& offs = options.offs;
  return Cuts{
      plain.problem.groups.split,
      plain.extents.g,
      {static_cast<const std::int64_t*>(offs.data), static_cast<std::size_t>(offs.shape[0])}};
}

Result<Lowered> lower_recipes(const Site& site, const RecipeProduct& p,
                              std::vector<Tensor>& owned) {
  const auto [m, k] = last_two(p.mat_a);
  const auto [k_b, n] = last_two(p.mat_b);
  Options options = p.options;
  Cuts cuts;
  if (p.grouped) {
    OCTAVO_TRY_ASSIGN(cuts, cuts_of(site, p, options, owned));
  }
  const Cuts* own = p.grouped ? &cuts : nullptr;
  OCTAVO_TRY_ASSIGN(const Scales sa,
                    both_levels({site, Side::a, m, k, p.context, own}, p.scale_a, owned));
  OCTAVO_TRY_ASSIGN(const Scales sb,
                    both_levels({site, Side::b, n, k_b, p.context, own}, p.scale_b, owned));
  OCTAVO_TRY_ASSIGN(Lowered lowered,
                    p.lower(site, p.mat_a, p.mat_b, sa.first, sb.first, options, p.context));
  lowered.problem.single.a.scale[1] = sa.second;
  lowered.problem.single.b.scale[1] = sb.second;
  return lowered;
}

Tensor run(const char* operation, const RecipeProduct& p) {
  return at_edge(operation, [&]() -> Result<Tensor> {
    const Site site{operation, &kFunctionalNames};
    std::vector<Tensor> owned;
    OCTAVO_TRY_ASSIGN(Lowered lowered, lower_recipes(site, p, owned));
    if (p.options.out.defined()) OCTAVO_TRY(check_no_overlap(site, lowered.problem));
    return run_lowered(lowered, p.context, p.options.backend);
  });
}

MatmulOptions matmul_options(const Options& o) noexcept {
  return {.fast_accumulation = o.use_fast_accum, .torch_compat = o.torch_compat};
}

// The arguments that both lowerings name alike.
template <class Plain>
Plain plain_options(const Scale& scale_a, const Scale& scale_b, const Options& o) {
  Plain options;
  options.scale_a = scale_a;
  options.scale_b = scale_b;
  options.bias = o.bias;
  options.out_dtype = o.output_dtype;
  options.out = o.out;
  options.matmul = matmul_options(o);
  return options;
}

Result<Lowered> lower_plain(const Site& site, const TensorView& mat_a, const TensorView& mat_b,
                            const Scale& scale_a, const Scale& scale_b, const Options& o,
                            const ExecContext&) {
  return lower_product(site, mat_a, mat_b, plain_options<ScaledMmOptions>(scale_a, scale_b, o));
}

Result<Lowered> lower_groups(const Site& site, const TensorView& mat_a, const TensorView& mat_b,
                             const Scale& scale_a, const Scale& scale_b, const Options& o,
                             const ExecContext& context) {
  auto options = plain_options<GroupedOptions>(scale_a, scale_b, o);
  options.offs = o.offs;
  return lower_grouped(site, mat_a, mat_b, options, ScaleReading::rowwise, context);
}

// The scales with a stand-in for the first.
Result<std::vector<RecipeScale>> stand_in_scales(const Site& site, Arg arg, bool wanted,
                                                 std::span<const RecipeScale> scales,
                                                 const VjpMemory& memory, StandIn& stand_in) {
  std::vector<RecipeScale> shadow(scales.begin(), scales.end());
  if (!wanted) return shadow;
  RecipeScale& first = shadow.front();
  if (first.swizzle != SwizzleType::NO_SWIZZLE) {
    return fail(Code::unsupported,
                "{}.swizzle must be NO_SWIZZLE where its gradient is wanted; got SWIZZLE_32_4_4",
                site(arg));
  }
  OCTAVO_TRY(stand_in.make(memory, first.values));
  first.values = stand_in.argument();
  return shadow;
}

MatmulGradients run_vjp_of(const char* operation, const TensorView& grad,
                           const RecipeProduct& given, const MatmulWanted& wanted,
                           const GradientOptions& o) {
  return at_edge(operation, [&]() -> Result<MatmulGradients> {
    const Site site{operation, &kFunctionalNames};
    OCTAVO_TRY(check_gradient_options(operation, o));
    Options options = given.options;
    options.out = {};
    const VjpMemory memory{operation, given.context.place(grad.device)};
    Tensor offs;
    if (options.offs.defined()) {
      OCTAVO_TRY_ASSIGN(offs, host_offsets(site, options.offs, given.context));
      options.offs = offs.view();
    }
    const RecipeProduct forward{given.mat_a, given.mat_b,   given.scale_a, given.scale_b,
                                options,     given.context, given.grouped, given.lower};
    VjpEntry entry;
    entry.grad.view = grad;
    OCTAVO_TRY_ASSIGN(entry.forward, lower_recipes(site, forward, entry.owned));
    int rank = 0;
    const std::array<std::int64_t, 3> shape = out_shape(entry.forward, &rank);
    OCTAVO_TRY(check_grad(site, grad, std::span(shape.data(), static_cast<std::size_t>(rank))));
    StandIns& s = entry.stand_ins;
    OCTAVO_TRY_ASSIGN(
        const std::vector<RecipeScale> scale_a,
        stand_in_scales(site, Arg::scale_a, wanted.scale_a, given.scale_a, memory, s.scale_a));
    OCTAVO_TRY_ASSIGN(
        const std::vector<RecipeScale> scale_b,
        stand_in_scales(site, Arg::scale_b, wanted.scale_b, given.scale_b, memory, s.scale_b));
    MatmulWanted others = wanted;
    others.scale_a = others.scale_b = false;
    Options shadow_options = options;
    Operand none_a, none_b;
    Scale none[5];
    OCTAVO_TRY(put_stand_ins(
        site, memory, others, false,
        {none_a, none_b, none[0], none[1], shadow_options.bias, none[2], none[3], none[4]}, s));
    const RecipeProduct shadow{given.mat_a,    given.mat_b,   scale_a,       scale_b,
                               shadow_options, given.context, given.grouped, given.lower};
    OCTAVO_TRY_ASSIGN(const Lowered lowered, lower_recipes(site, shadow, entry.owned));
    std::vector<VjpMember> members;
    OCTAVO_TRY(add_members(site, memory, wanted, o, given.mat_a, given.mat_b, {}, lowered.problem,
                           entry, members));
    const VjpCall call{memory,        matmul_options(options), o.float32, o.dequantized,
                       given.context, options.backend,         nullptr};
    OCTAVO_TRY(run_vjp(call, members));
    OCTAVO_TRY(finish_gradients(memory, entry));
    return std::move(entry.gradients);
  });
}

}  // namespace

Tensor scaled_mm(const TensorView& mat_a, const TensorView& mat_b,
                 std::span<const RecipeScale> scale_a, std::span<const RecipeScale> scale_b,
                 const Options& o, const ExecContext& context) {
  return run("scaled_mm", {mat_a, mat_b, scale_a, scale_b, o, context, false, &lower_plain});
}

Tensor scaled_grouped_mm(const TensorView& mat_a, const TensorView& mat_b,
                         std::span<const RecipeScale> scale_a, std::span<const RecipeScale> scale_b,
                         const Options& o, const ExecContext& context) {
  return run("scaled_grouped_mm",
             {mat_a, mat_b, scale_a, scale_b, o, context, true, &lower_groups});
}

MatmulGradients scaled_mm_vjp(const TensorView& grad, const TensorView& mat_a,
                              const TensorView& mat_b, std::span<const RecipeScale> scale_a,
                              std::span<const RecipeScale> scale_b, const Options& forward,
                              const MatmulWanted& wanted, const GradientOptions& options,
                              const ExecContext& context) {
  return run_vjp_of("scaled_mm_vjp", grad,
                    {mat_a, mat_b, scale_a, scale_b, forward, context, false, &lower_plain}, wanted,
                    options);
}

MatmulGradients scaled_grouped_mm_vjp(const TensorView& grad, const TensorView& mat_a,
                                      const TensorView& mat_b, std::span<const RecipeScale> scale_a,
                                      std::span<const RecipeScale> scale_b, const Options& forward,
                                      const MatmulWanted& wanted, const GradientOptions& options,
                                      const ExecContext& context) {
  return run_vjp_of("scaled_grouped_mm_vjp", grad,
                    {mat_a, mat_b, scale_a, scale_b, forward, context, true, &lower_groups}, wanted,
                    options);
}

}  // namespace octavo::functional
