// SPDX-License-Identifier: Apache-2.0
// Grouped products: the list form, the four tensor forms, and batches with one scale.
#include "octavo/grouped.hpp"

#include <algorithm>
#include <cstdint>

#include "core/data/overlap.hpp"
#include "core/error.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

// One list entry on its way through a problem.
struct Entry {
  FlatRows input;
  FlatOut out;
};

template <class T>
const T* entry_of(std::span<const T> list, std::size_t i) noexcept {
  return list.empty() ? nullptr : &list[i];
}

template <class T>
Status check_length(const char* operation, const char* word, std::span<const T> list,
                    std::size_t count) {
  if (list.empty() || list.size() == count) return {};
  return fail(Code::invalid_argument,
              "{}: {}.size must equal inputs.size = {}; got {} (lists are not broadcast)",
              operation, word, count, list.size());
}

Status lower_one(std::size_t i, const Operand& input, const Operand& weight,
                 const GroupedListOptions& o, const ExecContext& context, Entry& entry,
                 Member& member) {
  const Site site{"grouped_mm", &kListNames, static_cast<std::int64_t>(i)};
  OCTAVO_TRY_ASSIGN(entry.input, flatten_input(site, input.data, context));
  Operand a = input;
  a.data = entry.input.view;
  OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, a, weight, entry_options(o, i)));
  const TensorView* supplied = entry_of(o.outs, i);
  OCTAVO_TRY_ASSIGN(entry.out,
                    flatten_out(site, input.data, lowered.extents.n, lowered.out_dtype,
                                supplied != nullptr ? *supplied : TensorView{}, context));
  lowered.problem.single.out = entry.out.rows.view;
  if (!entry.out.rows.copy.defined()) OCTAVO_TRY(check_no_overlap(site, lowered.problem));
  member = lowered.problem.single;
  return {};
}

// The entries run one after the other, so that no output may touch what any entry reads.
const char* touched(const GroupedListOptions& o, std::span<const Operand> inputs,
                    std::span<const Operand> weights, std::size_t i, std::size_t j) noexcept {
  const TensorView& out = o.outs[i];
  const auto touches = [&](const auto& list, const auto& view_of) {
    return !list.empty() && overlap(out, view_of(list[j]));
  };
  const auto data = [](const Operand& operand) -> const TensorView& { return operand.data; };
  const auto values = [](const Scale& scale) -> const TensorView& { return scale.values(); };
  if (j != i && overlap(out, o.outs[j])) return "outs";
  if (touches(inputs, data)) return "inputs";
  if (touches(weights, data)) return "weights";
  if (touches(o.biases, [](const TensorView& v) -> const TensorView& { return v; })) {
    return "biases";
  }
  if (touches(o.scales_a, values)) return "scales_a";
  return touches(o.scales_b, values) ? "scales_b" : nullptr;
}

// How many of some address ranges a range meets.
class Ranges {
 public:
  void add(const TensorView& view) {
    if (!view.defined() || view.numel() == 0) return;
    const AddressRange range = address_range(view);
    begins_.push_back(range.begin);
    ends_.push_back(range.end);
  }
  void sort() {
    std::ranges::sort(begins_);
    std::ranges::sort(ends_);
  }
  std::ptrdiff_t met_by(const TensorView& view) const {
    if (!view.defined() || view.numel() == 0) return 0;
    const AddressRange range = address_range(view);
    const auto begun = std::ranges::lower_bound(begins_, range.end) - begins_.begin();
    const auto over = std::ranges::upper_bound(ends_, range.begin) - ends_.begin();
    return begun - over;
  }

 private:
  std::vector<std::uintptr_t> begins_, ends_;
};

// Looks closely only where more than an output itself lies within its range.
Status check_outs_apart(const GroupedListOptions& o, std::span<const Operand> inputs,
                        std::span<const Operand> weights) {
  if (o.outs.empty()) return {};
  Ranges ranges;
  for (const TensorView& out : o.outs) ranges.add(out);
  for (const Operand& input : inputs) ranges.add(input.data);
  for (const Operand& weight : weights) ranges.add(weight.data);
  for (const TensorView& bias : o.biases) ranges.add(bias);
  for (const Scale& scale : o.scales_a) ranges.add(scale.values());
  for (const Scale& scale : o.scales_b) ranges.add(scale.values());
  ranges.sort();
  for (std::size_t i = 0; i < o.outs.size(); ++i) {
    if (ranges.met_by(o.outs[i]) <= 1) continue;
    for (std::size_t j = 0; j < o.outs.size(); ++j) {
      const char* word = touched(o, inputs, weights, i, j);
      if (word == nullptr) continue;
      return fail(Code::invalid_argument,
                  "grouped_mm: outs[{}] must not overlap {}[{}]; got shared memory", i, word, j);
    }
  }
  return {};
}

Result<std::vector<Tensor>> run_list(std::span<const Operand> inputs,
                                     std::span<const Operand> weights, const GroupedListOptions& o,
                                     const ExecContext& context) {
  const std::size_t count = inputs.size();
  OCTAVO_TRY(check_lists("grouped_mm", inputs, weights, o));
  OCTAVO_TRY(check_chunks("grouped_mm", o.matmul, Split::list));
  OCTAVO_TRY(check_length("grouped_mm", "outs", o.outs, count));

  std::vector<Entry> entries(count);
  std::vector<Member> members(count);
  for (std::size_t i = 0; i < count; ++i) {
    OCTAVO_TRY(lower_one(i, inputs[i], weights[i], o, context, entries[i], members[i]));
  }
  OCTAVO_TRY(check_outs_apart(o, inputs, weights));
  MatmulProblem problem;
  problem.operation = "grouped_mm";
  problem.groups.split = Split::list;
  problem.groups.list = members;
  problem.options = o.matmul;
  OCTAVO_TRY(run_problem(problem, context, o.backend));

  std::vector<Tensor> outs;
  outs.reserve(count);
  for (Entry& entry : entries) {
    OCTAVO_TRY(entry.out.finish(problem.operation, context));
    outs.push_back(std::move(entry.out.tensor));
  }
  return outs;
}

}  // namespace

Status check_lists(const char* operation, std::span<const Operand> inputs,
                   std::span<const Operand> weights, const GroupedListOptions& o) {
  const std::size_t count = inputs.size();
  if (weights.size() != count) {
    return fail(Code::invalid_argument,
                "{}: weights.size must equal inputs.size = {}; got {} (lists are not broadcast)",
                operation, count, weights.size());
  }
  OCTAVO_TRY(check_length(operation, "biases", o.biases, count));
  OCTAVO_TRY(check_length(operation, "scales_a", o.scales_a, count));
  return check_length(operation, "scales_b", o.scales_b, count);
}

Result<FlatRows> flatten_input(const Site& site, const TensorView& input,
                               const ExecContext& context) {
  OCTAVO_TRY(check_tensor(site, Arg::a, input));
  if (input.rank >= 1) return flatten_rows(site.operation, input, context);
  return fail(Code::invalid_argument, "{}.shape must have at least one dimension; got []",
              site(Arg::a));
}

ScaledMmOptions entry_options(const GroupedListOptions& o, std::size_t i) {
  ScaledMmOptions options;
  options.out_dtype = o.out_dtype;
  options.matmul = o.matmul;
  if (const Scale* scale = entry_of(o.scales_a, i)) options.scale_a = *scale;
  if (const Scale* scale = entry_of(o.scales_b, i)) options.scale_b = *scale;
  if (const TensorView* bias = entry_of(o.biases, i)) options.bias = *bias;
  return options;
}

Result<Lowered> lower_batch(const Site& site, const Operand& input, const Operand& weight,
                            const ScaledGroupedMmOptions& o, const ExecContext& context) {
  for (const auto& [arg, operand] : {std::pair{Arg::a, &input}, std::pair{Arg::b, &weight}}) {
    OCTAVO_TRY(check_tensor(site, arg, operand->data));
    if (operand->data.rank == 3) continue;
    return fail(Code::invalid_argument, "{}.shape must be 3-D {}; got {}", site(arg),
                arg == Arg::a ? "[batch, m, k]" : "[batch, k, n]", shape_string(operand->data));
  }
  const Operand b = o.trans_b ? weight.transposed() : weight;
  const TensorView& x = input.data;
  if (b.data.shape[1] != x.shape[2]) {
    return fail(Code::invalid_argument, "{}.shape[1] must equal {}.shape[2] = {}; got {}{}",
                site(Arg::b), site.bare(Arg::a), x.shape[2], b.data.shape[1],
                b.data.shape[2] == x.shape[2]
                    ? " (for a weight given as [batch, n, k], as in Q @ K^T, say trans_b)"
                    : "");
  }
  // scale = 1 is bit-equal to no scale, and skips the multiply.
  const bool one = o.scale.kind() == Scale::Kind::number && o.scale.number() == 1.0F;
  GroupedOptions options;
  options.out_dtype = o.out_dtype;
  options.alpha = one ? Scale() : o.scale;
  options.out = o.out;
  options.matmul = o.matmul;
  return lower_grouped(site, input, b, options, ScaleReading::rowwise, context);
}

std::vector<Tensor> grouped_mm(std::span<const Operand> inputs, std::span<const Operand> weights,
                               const GroupedListOptions& options, const ExecContext& context) {
  return at_edge("grouped_mm", [&] { return run_list(inputs, weights, options, context); });
}

Tensor grouped_mm(const Operand& a, const Operand& b, const GroupedOptions& options,
                  const ExecContext& context) {
  return at_edge("grouped_mm", [&]() -> Result<Tensor> {
    OCTAVO_TRY_ASSIGN(Lowered lowered,
                      lower_grouped({"grouped_mm"}, a, b, options, ScaleReading::rowwise, context));
    return run_lowered(lowered, context, options.backend);
  });
}

MatmulProblem grouped_mm_problem(const Operand& a, const Operand& b,
                                 const GroupedOptions& options) {
  return at_edge("grouped_mm", [&]() -> Result<MatmulProblem> {
    OCTAVO_TRY_ASSIGN(Lowered lowered,
                      lower_grouped({"grouped_mm"}, a, b, options, ScaleReading::rowwise, {}));
    lowered.problem.groups.offs = options.offs;  // like every operand, the caller's
    return outlined(lowered);
  });
}

Tensor scaled_grouped_mm(const Operand& input, const Operand& weight,
                         const ScaledGroupedMmOptions& o, const ExecContext& context) {
  return at_edge("scaled_grouped_mm", [&]() -> Result<Tensor> {
    OCTAVO_TRY_ASSIGN(Lowered lowered,
                      lower_batch({"scaled_grouped_mm", &kBatchNames}, input, weight, o, context));
    return run_lowered(lowered, context, o.backend);
  });
}

}  // namespace octavo
