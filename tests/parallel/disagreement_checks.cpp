// SPDX-License-Identifier: Apache-2.0
#include "parallel/disagreement_checks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/problem/fields.hpp"
#include "octavo/octavo.hpp"
#include "parallel/random.hpp"

namespace octavo::test {
namespace {

constexpr std::int64_t kRows = 5, kK = 1024, kN = 24;  // a block for each of eight ranks
constexpr std::array kSchemes{Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block,
                              Scheme::llm_int8};

/// What a rank calls with.
struct Call {
  std::vector<std::int64_t> rows{kRows};
  DType dtype = DType::float32;
  std::int64_t more_columns = 0;
  bool nan = false;
  LinearOptions options{};
  MatmulWanted wanted{.a = true};
};
using Change = std::function<void(Call&)>;

/// `told`: how the sentence goes on behind the layer's name; "": it is one rank's own error.
struct Difference {
  std::string name;
  Change change;
  std::string told{};
};

std::string differs(const char* what) {
  return fmt::format("{} must be the same on all ranks", what);
}

const Tensor& short_bias() {
  static const Tensor bias = Dice(3).floats(DType::float32, {kN});
  return bias;
}

void change_field(MatmulOptions& options, int wanted) {
  for_each_field(options, [&](const char*, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if (wanted-- == 0) field = static_cast<Field>(field == Field{} ? 1 : 0);
  });
}

/// Of x and its options.
std::vector<Difference> of_x() {
  std::vector<Difference> all{
      {"fewer rows", [](Call& c) { c.rows = {3}; }, differs("x.shape[:-1]")},
      {"no rows", [](Call& c) { c.rows = {0}; }, differs("x.shape[:-1]")},
      {"rows in another shape",
       [](Call& c) {
         c.rows = {1, kRows};
       },
       differs("x.shape[:-1]")},
      {"x.dtype", [](Call& c) { c.dtype = DType::bfloat16; }, differs("x.dtype")},
      {"x.dtype of codes", [](Call& c) { c.dtype = DType::int8; }},
      {"x.shape", [](Call& c) { c.more_columns = 7; }},
  };
  const MatmulOptions options;
  int field = 0;
  for_each_field(options, [&](const char* name, const auto&) {
    all.push_back({name, [wanted = field](Call& c) { change_field(c.options.matmul, wanted); },
                   differs("options")});
    ++field;
  });
  return all;
}

std::vector<Difference> of_forward() {
  std::vector<Difference> all = of_x();
  all.push_back(
      {"out_dtype", [](Call& c) { c.options.out_dtype = DType::float16; }, differs("out_dtype")});
  all.push_back({"bias", [](Call& c) { c.options.bias = short_bias().view(); }, differs("bias")});
  all.push_back({"k_chunks", [](Call& c) { c.options.matmul.k_chunks = 24; }});
  all.push_back({"found_columns", [](Call& c) {
                   static std::vector<std::int64_t> found;
                   c.options.found_columns = &found;
                 }});
  all.push_back({"out", [](Call& c) { c.options.out = short_bias().view(); }});
  return all;
}

std::vector<Difference> of_gradients() {
  std::vector<Difference> all = of_x();
  for (Difference& d : all) {
    if (d.name == "x.dtype of codes") d.told = differs("x.dtype");
  }
  all.push_back({"wanted", [](Call& c) { c.wanted = {.bias = true}; }, differs("wanted.a")});
  all.push_back({"wanted of what lies on ranks", [](Call& c) { c.wanted.b = true; }});
  return all;
}

Tensor tensor(const Call& call, std::int64_t columns) {
  std::vector<std::int64_t> shape = call.rows;
  shape.push_back(columns + call.more_columns);
  Tensor x = Dice(1).floats(DType::float32, shape);
  if (call.nan) x.data_as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  return call.dtype == DType::int8 ? Tensor::empty(DType::int8, shape) : x.to(call.dtype);
}

/// What each rank says, "" where it goes on.
std::vector<std::string> said_by_all(Communicator& ranks, const std::function<void()>& call) {
  std::array<char, 256> own{};
  try {
    call();
  } catch (const Error& error) {
    const std::string_view what(error.what());
    std::copy_n(what.begin(), std::min(what.size(), own.size() - 1), own.begin());
  }
  std::vector<std::array<char, 256>> all(static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(own.data(), own.size(), all.data());
  std::vector<std::string> said;
  for (const auto& words : all) said.emplace_back(words.data());
  return said;
}

/// Whether all ranks were told one sentence.
bool all_told(const std::vector<std::string>& said, int other, std::string_view layer,
              const std::string& told) {
  const std::string& own = said[static_cast<std::size_t>(other)];
  if (!told.empty()) {
    return std::ranges::all_of(said, [&](const std::string& s) { return s == own; }) &&
           own.starts_with(fmt::format("{}: {}; got ", layer, told));
  }
  const std::string begin =
      fmt::format("{}: arguments must be valid on all ranks; got on rank {}: ", layer, other);
  return !own.empty() && std::ranges::all_of(said, [&](const std::string& s) {
    return &s == &own || (s.starts_with(begin) && own.starts_with(s.substr(begin.size(), 60)));
  });
}

class Checks {
 public:
  Checks(std::shared_ptr<Communicator> ranks, int other)
      : ranks_(std::move(ranks)), other_(other) {}

  template <class Body>
  void each(std::string_view layer, std::string_view call,
            const std::vector<Difference>& differences, const Body& body) {
    for (const Difference& d : differences) one(layer, call, d, body);
  }

  template <class Body>
  void one(std::string_view layer, std::string_view call, const Difference& d, const Body& body) {
    const std::vector<std::string> said = said_by_all(*ranks_, [&] {
      Call own;
      if (ranks_->rank() == other_) d.change(own);
      body(own);
    });
    if (all_told(said, other_, layer, d.told)) return;
    wrong_ += fmt::format("{}, {}, {} on rank {}:\n", layer, call, d.name, other_);
    for (const std::string& s : said) wrong_ += fmt::format("  {}\n", s.empty() ? "(goes on)" : s);
  }

  /// Rank `other` makes another call than the others.
  void another(const std::function<void()>& call, const std::function<void()>& its_call) {
    const std::vector<std::string> said =
        said_by_all(*ranks_, ranks_->rank() == other_ ? its_call : call);
    if (std::ranges::all_of(said, [](const std::string& s) {
          return s.find(differs("what is called")) != s.npos;
        })) {
      return;
    }
    wrong_ += fmt::format("another call on rank {}: {}\n", other_, fmt::join(said, "; "));
  }

  std::string wrong() && { return std::move(wrong_); }

 private:
  std::shared_ptr<Communicator> ranks_;
  int other_;
  std::string wrong_;
};

}  // namespace

std::string check_disagreements(const std::shared_ptr<Communicator>& ranks, int other) {
  Checks checks(ranks, other);
  const Tensor w = Dice(2).floats(DType::float32, {kN, kK});
  for (const Scheme scheme : kSchemes) {
    const Weight weight = quantize_weight(w, scheme);
    for (const ParallelMode mode : {ParallelMode::exact, ParallelMode::fast}) {
      const RowParallelLinear row(weight, {}, ranks, {.mode = mode});
      const auto call = [&](const Call& c) { (void)row(tensor(c, kK), c.options); };
      checks.each("RowParallelLinear", "a call", of_forward(), call);
      const ColumnParallelLinear column(weight, {}, ranks, {.mode = mode});
      checks.each("ColumnParallelLinear", "vjp", of_gradients(), [&](const Call& c) {
        Call grad = c;
        grad.more_columns = 0;
        (void)column.vjp(tensor(grad, column.columns().size()), tensor(c, kK), c.options, c.wanted);
      });
      const std::vector<Difference> of_y{
          {"rows", [](Call& c) { c.rows = {3}; }, differs("y.shape[:-1]")},
          {"type", [](Call& c) { c.dtype = DType::bfloat16; }, differs("y.dtype")},
          {"columns", [](Call& c) { c.more_columns = 1; }}};
      checks.each("ColumnParallelLinear", "gather", of_y,
                  [&](const Call& c) { (void)column.gather(tensor(c, column.columns().size())); });
      checks.another([&] { (void)row(tensor({}, kK)); },
                     [&] { (void)column.gather(tensor({}, column.columns().size())); });
    }
    Weight strict = weight;
    strict.activation->spec.non_finite = NonFinite::error;
    if (scheme == Scheme::llm_int8) continue;  // has no such rule
    const RowParallelLinear row(strict, {}, ranks);
    checks.one("RowParallelLinear", "a rule that refuses NaN",
               {"NaN", [](Call& c) { c.nan = true; }},
               [&](const Call& c) { (void)row(tensor(c, row.rows().size()), c.options); });
  }
  return std::move(checks).wrong();
}

}  // namespace octavo::test
