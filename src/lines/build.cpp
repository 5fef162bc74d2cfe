// SPDX-License-Identifier: Apache-2.0
// Building the problem of a line, with real tensors or with none.
#include <array>
#include <deque>
#include <iterator>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "backends/backend.hpp"
#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "octavo/grouped.hpp"
#include "octavo/problem_line.hpp"
#include "ops/product/lower.hpp"
#include "ops/product/pack.hpp"

namespace octavo {

struct LineProblem::Impl {
  MatmulProblem problem;
  std::vector<Member> members;
  std::deque<PackedWeight> packed;  // operands point at them
  ActivationQuant rule;
};

const MatmulProblem& LineProblem::problem() const noexcept { return impl_->problem; }

namespace {

using Shape = std::vector<std::int64_t>;
using Pack = PackedWeight (*)(const Operand& weight, const PackOptions& options);

class Builder {
 public:
  Builder(const ProblemLine& line, TensorSource& source, const char* backend, Pack pack,
          LineProblem::Impl& impl)
      : line_(line), source_(source), backend_(backend), pack_(pack), impl_(impl) {
    impl_.rule.spec.dtype = line.quantize;
    impl_.rule.spec.granularity = line.has_scale_a ? line.scale_a : per_token();
    impl_.rule.spec.azp = line.azp;
    impl_.rule.static_scale = line.static_scale;
    impl_.rule.static_azp = line.static_azp;
    impl_.rule.rotation = line.rotation;
    impl_.rule.vectorwise = line.threshold > 0.0F || !line.outlier_columns.empty();
    impl_.rule.outlier_threshold = line.threshold;
    impl_.rule.whole_columns = line.outliers == LineOutliers::whole;
    impl_.problem.options.k_chunks = line.k_chunks;
    impl_.problem.options.exact_subnormals = line.exact_subnormals;
    impl_.problem.options.batch_invariant = line.outliers == LineOutliers::elements;
  }

  Status build() {
    if (!line_.outlier_columns.empty()) {
      const std::array<std::int64_t, 1> count{
          static_cast<std::int64_t>(line_.outlier_columns.size())};
      OCTAVO_TRY_ASSIGN(impl_.rule.outlier_columns,
                        Tensor::try_empty("problem line", DType::int64, count, {}));
      std::copy(line_.outlier_columns.begin(), line_.outlier_columns.end(),
                impl_.rule.outlier_columns.data_as<std::int64_t>());
    }
    switch (line_.split) {
      case Split::none:
        return single();
      case Split::list:
        return list();
      default:
        return tensor_form();
    }
  }

 private:
  TensorView make(Role role, DType dtype, const Shape& shape, std::int64_t entry = 0) {
    return source_.make(role, entry, dtype, shape);
  }

  // The natural scale of an operand of rows x cols, behind `groups` where the operand has them.
  Scale scale(Side side, std::int64_t rows, std::int64_t cols, std::int64_t groups,
              std::int64_t entry) {
    const bool a = side == Side::a;
    if (!(a ? line_.has_scale_a : line_.has_scale_b)) return {};
    if (a && line_.quantize != DType::undefined) return {};
    const Granularity& g = a ? line_.scale_a : line_.scale_b;
    const ScaleGrid grid = scale_grid(g, side);
    Shape shape{cells(rows, grid.rows), cells(cols, grid.cols)};
    if (g.kind == Granularity::Kind::tensor) shape = {1};
    if (groups >= 0) {
      shape =
          g.kind == Granularity::Kind::tensor ? Shape{groups} : Shape{groups, shape[0], shape[1]};
    }
    return {make(a ? Role::scale_a : Role::scale_b, line_.scale_dtype, shape, entry), g};
  }

  Result<Operand> operand_b(const Shape& shape, std::int64_t entry) {
    Operand b(make(Role::b, line_.b, shape, entry));
    if (!line_.prepacked) return b;
    OCTAVO_TRY_ASSIGN(const CarriedScale view,
                      resolve_scale({"problem line"}, scale(Side::b, shape[0], shape[1], -1, entry),
                                    {.side = Side::b, .rows = shape[0], .cols = shape[1]}));
    b.scale[0] = view;
    impl_.packed.push_back(pack_(b, {.activation = {}, .backend = backend_}));
    return Operand(impl_.packed.back());
  }

  // One product of m x n x k, lowered; its output made by the source.
  Status product(std::int64_t m, std::int64_t entry, Member& member) {
    const std::int64_t n = line_.n;
    const std::int64_t k = line_.k;
    Operand a(make(Role::a, line_.a, {m, k}, entry));
    if (line_.quantize != DType::undefined) a.quantize = &impl_.rule;
    Tensor& columns = impl_.rule.outlier_columns;
    if (columns.defined() && columns.device() != a.data.device) {
      columns = columns.to(Place{a.data.device});
    }
    OCTAVO_TRY_ASSIGN(const Operand b, operand_b({k, n}, entry));
    ScaledMmOptions o;
    o.out_dtype = line_.out;
    o.scale_a = scale(Side::a, m, k, -1, entry);
    if (!line_.prepacked) o.scale_b = scale(Side::b, k, n, -1, entry);
    if (line_.bias != DType::undefined) o.bias = make(Role::bias, line_.bias, {n}, entry);
    if (line_.azp && line_.quantize == DType::undefined) {
      o.azp = make(Role::azp, DType::int32, {line_.azp_per_tensor ? std::int64_t{1} : m}, entry);
    }
    if (line_.alpha != 1.0F) o.alpha = line_.alpha;
    if (line_.beta != 0.0F) {
      o.beta = line_.beta;
      o.c = addend({m, n}, entry);
    }
    if (line_.has_scale_result) o.scale_result = scale_result(n, entry);
    const Site site{impl_.problem.operation};
    OCTAVO_TRY_ASSIGN(const Lowered lowered, lower_product(site, a, b, o));
    member = lowered.problem.single;
    member.out = make(Role::out, lowered.out_dtype, {m, n}, entry);
    return {};
  }

  TensorView addend(const Shape& shape, std::int64_t entry) {
    return make(Role::c, is_wide(line_.out) ? line_.out : DType::float32, shape, entry);
  }

  Scale scale_result(std::int64_t n, std::int64_t entry) {
    if (!line_.scale_result_vector) return line_.scale_result;
    return make(Role::scale_result, DType::float32, {n}, entry);
  }

  Status single() {
    impl_.problem.operation = "scaled_mm";
    return product(line_.m, 0, impl_.problem.single);
  }

  Status list() {
    impl_.problem.operation = "grouped_mm";
    impl_.members.resize(line_.groups.size());
    for (std::size_t i = 0; i < line_.groups.size(); ++i) {
      OCTAVO_TRY(product(line_.groups[i], static_cast<std::int64_t>(i), impl_.members[i]));
    }
    impl_.problem.groups.split = Split::list;
    impl_.problem.groups.list = impl_.members;
    return {};
  }

  // Of sizes whose sum a line's check has found inside 64 bits.
  TensorView offsets() {
    const auto groups = static_cast<std::int64_t>(line_.groups.size());
    const std::int64_t end =
        std::accumulate(line_.groups.begin(), line_.groups.end(), std::int64_t{0});
    const bool narrow = end <= std::numeric_limits<std::int32_t>::max();
    return make(Role::offs, narrow ? DType::int32 : DType::int64, {groups});
  }

  Status tensor_form() {
    const Split split = line_.split;
    const auto groups = static_cast<std::int64_t>(line_.groups.size());
    const bool a3 = split == Split::columns || split == Split::batch;
    const bool b3 = split == Split::rows || split == Split::batch;
    const Shape a_shape = a3 ? Shape{groups, line_.m, line_.k} : Shape{line_.m, line_.k};
    const Shape b_shape = b3 ? Shape{groups, line_.k, line_.n} : Shape{line_.k, line_.n};
    GroupedOptions o;
    o.out_dtype = line_.out;
    o.scale_a = scale(Side::a, line_.m, line_.k, a3 ? groups : -1, 0);
    o.scale_b = scale(Side::b, line_.k, line_.n, b3 ? groups : -1, 0);
    if (line_.bias != DType::undefined) o.bias = make(Role::bias, line_.bias, {line_.n});
    if (line_.alpha != 1.0F) o.alpha = line_.alpha;
    if (line_.has_scale_result) o.scale_result = scale_result(line_.n, 0);
    if (line_.beta != 0.0F) {
      o.beta = line_.beta;
      const bool batched = split == Split::inner || split == Split::batch;
      o.c = addend(batched ? Shape{groups, line_.m, line_.n} : Shape{line_.m, line_.n}, 0);
    }
    if (split != Split::batch) o.offs = offsets();
    Operand a(make(Role::a, line_.a, a_shape));
    if (line_.azp) a.azp = make(Role::azp, DType::int32, {line_.azp_per_tensor ? 1 : line_.m});
    const Operand b(make(Role::b, line_.b, b_shape));
    const Site site{"grouped_mm"};
    OCTAVO_TRY_ASSIGN(const Lowered lowered,
                      lower_grouped(site, a, b, o, ScaleReading::rowwise, {}));
    impl_.problem = lowered.problem;
    impl_.problem.groups.offs = o.offs;
    int rank = 0;
    const std::array<std::int64_t, 3> shape = out_shape(lowered, &rank);
    set_output(impl_.problem,
               make(Role::out, lowered.out_dtype, Shape(shape.begin(), shape.begin() + rank)));
    return {};
  }

  const ProblemLine& line_;
  TensorSource& source_;
  const char* backend_;
  Pack pack_;
  LineProblem::Impl& impl_;
};

// Tensors without memory, for explaining. Offsets are read, so they are real.
class NoMemory final : public TensorSource {
 public:
  explicit NoMemory(const ProblemLine& line) : sizes_(line.groups), layout_(line.layout) {}

  TensorView make(Role role, std::int64_t, DType dtype,
                  std::span<const std::int64_t> shape) override {
    if (role == Role::offs) return offsets(dtype, shape);
    TensorView v(reinterpret_cast<void*>(std::uintptr_t{64}), dtype, shape);  // never dereferenced
    apply_layout(v, role, layout_);
    return v;
  }

 private:
  TensorView offsets(DType dtype, std::span<const std::int64_t> shape) {
    std::partial_sum(sizes_.begin(), sizes_.end(), std::back_inserter(wide_));
    if (dtype == DType::int64) return {wide_.data(), dtype, shape};
    narrow_.assign(wide_.begin(), wide_.end());
    return {narrow_.data(), dtype, shape};
  }

  const std::vector<std::int64_t>& sizes_;
  LineLayout layout_;
  std::vector<std::int64_t> wide_;
  std::vector<std::int32_t> narrow_;
};

}  // namespace

LineProblem make_problem(const ProblemLine& line, TensorSource& source, const char* backend) {
  return at_edge("problem line", [&]() -> Result<LineProblem> {
    auto impl = std::make_shared<LineProblem::Impl>();
    constexpr Pack kPack = [](const Operand& b, const PackOptions& o) { return pack(b, o); };
    OCTAVO_TRY(Builder(line, source, backend, kPack, *impl).build());
    return LineProblem(std::move(impl));
  });
}

Explanation explain(const ProblemLine& line, const ExecContext& context, const char* backend) {
  return at_edge("explain", [&]() -> Result<Explanation> {
    NoMemory source(line);
    LineProblem::Impl impl;
    OCTAVO_TRY(Builder(line, source, backend, &outline, impl).build());
    return explain(impl.problem, context, backend);
  });
}

}  // namespace octavo
