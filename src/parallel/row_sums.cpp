// SPDX-License-Identifier: Apache-2.0
// Sums over the ranks' parts of K (specification section 11).
//
// Integers under scales that are constant along K are added by the ranks as they are. Chunks of
// floating sums are added in their order, from +0 (chunks.hpp).
#include <algorithm>

#include "octavo/matmul.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"
#include "parallel/chunks.hpp"
#include "parallel/row_parts.hpp"

namespace octavo {
namespace {

template <class From, class To>
void add(const From* from, std::int64_t count, To* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// The sums of one part, or of some of its rows, without scales that are constant along K.
void part_sums(const RowPart& part, const Operand& a, const TensorView& azp, DType dtype,
               const LinearOptions& options, const ExecContext& context, const TensorView& out) {
  const CarriedScale& weight = part.weight.content()->scale[0];
  ScaledMmOptions o{.out_dtype = dtype, .azp = azp, .out = out, .matmul = options.matmul};
  o.matmul.k_chunks = 0;
  o.backend = options.backend;
  if (weight.rows == kWholeExtent || weight.kind != ScaleKind::tensor) o.scale_b = nullptr;
  (void)scaled_mm(a, part.weight, o, context);
}

TensorView rows_of(const TensorView& azp, std::int64_t m0, std::int64_t m1) {
  return azp.defined() && azp.numel() > 1 ? azp.slice(0, m0, m1) : azp;
}

Operand rows_of(Operand a, std::int64_t m0, std::int64_t m1) {
  a.data = a.data.slice(0, m0, m1);
  a.scale[0] = a.scale[0].shifted(m0, 0);
  return a;
}

// float(sum - azp * column sum) of exact sums.
template <class T>
Tensor rounded_sums(const RowParallelLinear::Impl& layer, const Tensor& sums,
                    const TensorView& azp) {
  const Tensor result = Tensor::empty(DType::float32, sums.view().dims());
  const T* from = sums.data_as<const T>();
  float* to = result.data_as<float>();
  const std::int64_t* columns = layer.column_sums.data_as<const std::int64_t>();
  const Tensor own = azp.defined() ? copy(azp, DType::int32) : Tensor();
  for (std::int64_t m = 0; m < sums.size(0); ++m) {
    const std::int64_t zero =
        own.defined() ? own.data_as<const std::int32_t>()[own.numel() > 1 ? m : 0] : 0;
    for (std::int64_t n = 0; n < layer.n; ++n) {
      *to++ = static_cast<float>(*from++ - (zero != 0 ? zero * columns[n] : 0));
    }
  }
  return result;
}

// Rows of the sums that travel together.
std::int64_t block_rows(const RowParallelLinear::Impl& layer, std::int64_t m, std::int64_t bytes) {
  constexpr std::int64_t kBlockBytes = std::int64_t{1} << 20;
  constexpr std::int64_t kLeastRows = 128;  // worth reading the weight again
  if (!layer.ranks->overlaps()) return m;
  if (layer.options.overlap_rows > 0) return layer.options.overlap_rows;
  return std::max(kLeastRows, kBlockBytes / std::max<std::int64_t>(layer.n * bytes, 1));
}

// Reductions that were started. However the call ends, none goes on in memory that it gives back.
class Started {
 public:
  explicit Started(Communicator& ranks) : ranks_(ranks) {}
  ~Started() {
    try {
      finish();
    } catch (...) {  // NOLINT: an error is on its way already
    }
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  void start(Reduction reduction, void* data, std::int64_t count) {
    ranks_.start_all_reduce(reduction, data, count);
    ++count_;
  }
  void finish() {
    while (count_ > 0) {
      --count_;
      ranks_.wait();
    }
  }

 private:
  Communicator& ranks_;
  int count_ = 0;
};

// Exact sums of the rank's parts of some rows, into sums [rows, N].
template <class T>
void own_sums(const RowParallelLinear::Impl& layer, const RowActivations& x, std::int64_t m0,
              std::int64_t m1, const LinearOptions& options, const ExecContext& context, T* to) {
  const auto make = [&](const RowPart& part, const TensorView& out) {
    part_sums(part, rows_of(x.operand(part.columns), m0, m1), {}, DType::int32, options, context,
              out);
  };
  const std::int64_t count = (m1 - m0) * layer.n;
  if (layer.parts.size() == 1 && sizeof(T) == sizeof(std::int32_t)) {
    return make(layer.parts.front(), {to, DType::int32, {m1 - m0, layer.n}});
  }
  const Tensor part = Tensor::empty(DType::int32, {m1 - m0, layer.n});
  std::fill_n(to, count, T{0});
  for (const RowPart& p : layer.parts) {
    make(p, part);
    add(part.data_as<const std::int32_t>(), count, to);
  }
}

// Exact sums of all ranks, a block of rows on its way while the next is multiplied.
template <class T>
Tensor exact_sums(const RowParallelLinear::Impl& layer, const RowActivations& x,
                  const LinearOptions& options, const ExecContext& context) {
  constexpr bool wide = sizeof(T) > sizeof(std::int32_t);
  const std::int64_t m = x.codes.shape[0];
  const Tensor sums = Tensor::empty(dtype_of<T>, {m, layer.n});
  const std::int64_t block = block_rows(layer, m, sizeof(T));
  Started started(*layer.ranks);
  for (std::int64_t m0 = 0; m0 < m; m0 += block) {
    const std::int64_t m1 = std::min(m, m0 + block);
    T* to = sums.data_as<T>() + m0 * layer.n;
    own_sums(layer, x, m0, m1, options, context, to);
    started.start(wide ? Reduction::sum_int64 : Reduction::sum_int32, to, (m1 - m0) * layer.n);
  }
  started.finish();
  return wide || x.azp.defined() ? rounded_sums<T>(layer, sums, x.azp) : sums;
}

// The outlier sums of one part: those of a product by codes of 0.
void part_outliers(const RowActivations& x, const RowPart& part, std::int64_t m0,
                   const LinearOptions& options, const ExecContext& context,
                   const TensorView& out) {
  const auto in_part = [&](const std::vector<std::int64_t>& list) {
    std::vector<std::int64_t> columns;
    for (const std::int64_t k : list) {
      if (k >= part.columns.begin && k < part.columns.end)
        columns.push_back(k - part.columns.begin);
    }
    return columns;
  };
  const std::vector<std::int64_t> columns = in_part(x.outliers);
  const std::vector<std::int64_t> whole = in_part(x.whole);
  if (columns.empty()) return throw_if_failed(fill_with(kRowParallel, out, 0.0F, nullptr));
  const Tensor zeros = Tensor::empty(DType::int8, {out.shape[0], part.columns.size()});
  std::fill_n(zeros.data_as<char>(), zeros.numel(), char{0});
  MatmulProblem problem;
  problem.operation = kRowParallel;
  problem.options = options.matmul;
  problem.options.k_chunks = 0;
  problem.single.a.data = zeros;
  problem.single.b.packed = &part.weight;
  problem.single.out = out;
  Outliers& o = problem.single.epilogue.outliers;
  o.a = x.x.slice(1, part.columns.begin, part.columns.end).slice(0, m0, m0 + out.shape[0]);
  o.columns = {columns.data(), static_cast<std::int64_t>(columns.size())};
  o.whole = {whole.data(), static_cast<std::int64_t>(whole.size())};
  o.threshold = x.threshold;
  throw_if_failed(run_problem(problem, context, options.backend));
}

}  // namespace

Tensor row_sums(const RowParallelLinear::Impl& layer, const RowActivations& x,
                const LinearOptions& options, const ExecContext& context) {
  if (layer.sums == RowSums::exact) {
    return exact_sums<std::int32_t>(layer, x, options, context);
  }
  if (layer.sums == RowSums::wide) return exact_sums<std::int64_t>(layer, x, options, context);
  const std::int64_t m = x.codes.shape[0];
  const Tensor total = Tensor::empty(DType::float32, {m, layer.n});
  const auto make = [&](std::int64_t i, std::int64_t m0, std::int64_t m1, const TensorView& to) {
    const RowPart& part = layer.parts[static_cast<std::size_t>(i)];
    part_sums(part, rows_of(x.operand(part.columns), m0, m1), rows_of(x.azp, m0, m1),
              DType::float32, options, context, to);
  };
  fold_chunks(*layer.ranks, std::ssize(layer.parts), make, total);
  return total;
}

Tensor row_outlier_sums(const RowParallelLinear::Impl& layer, const RowActivations& x,
                        const LinearOptions& options, const ExecContext& context) {
  const std::int64_t m = x.codes.shape[0];
  const Tensor total = Tensor::empty(DType::float32, {m, layer.n});
  const auto make = [&](std::int64_t i, std::int64_t m0, std::int64_t, const TensorView& to) {
    part_outliers(x, layer.parts[static_cast<std::size_t>(i)], m0, options, context, to);
  };
  fold_chunks(*layer.ranks, std::ssize(layer.parts), make, total);
  layer.ranks->broadcast(layer.size() - 1, total.data(), total.numel() * 4);
  return total;
}

}  // namespace octavo
