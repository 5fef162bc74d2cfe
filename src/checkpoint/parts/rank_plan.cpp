// SPDX-License-Identifier: Apache-2.0
// A model's layers on a group of ranks, by a model of their costs.
#include "octavo/checkpoint/rank_plan.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"
#include "octavo/checkpoint/sharding.hpp"
#include "octavo/shard.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kPlan = "plan_ranks";
constexpr std::string_view kExperts = ".experts.";

struct SplitOfName {
  std::string_view name;  ///< the last part of a layer's
  RankSplit split;
};
constexpr std::array<SplitOfName, 24> kSplits{{
    {"q_proj", RankSplit::columns},
    {"k_proj", RankSplit::columns},
    {"v_proj", RankSplit::columns},
    {"qkv_proj", RankSplit::columns},
    {"q_b_proj", RankSplit::columns},
    {"kv_b_proj", RankSplit::columns},
    {"query", RankSplit::columns},
    {"key", RankSplit::columns},
    {"value", RankSplit::columns},
    {"query_key_value", RankSplit::columns},
    {"gate_proj", RankSplit::columns},
    {"up_proj", RankSplit::columns},
    {"gate_up_proj", RankSplit::columns},
    {"w1", RankSplit::columns},
    {"w3", RankSplit::columns},
    {"fc1", RankSplit::columns},
    {"dense_h_to_4h", RankSplit::columns},
    {"o_proj", RankSplit::rows},
    {"out_proj", RankSplit::rows},
    {"wo", RankSplit::rows},
    {"down_proj", RankSplit::rows},
    {"w2", RankSplit::rows},
    {"fc2", RankSplit::rows},
    {"dense_4h_to_h", RankSplit::rows},
}};

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('.') + 1); }

RankSplit split_of(std::string_view layer) {
  if (layer.find(kExperts) != std::string_view::npos) return RankSplit::experts;
  const auto* row = std::ranges::find(kSplits, last_part(layer), &SplitOfName::name);
  return row == kSplits.end() ? RankSplit::replicated : row->split;
}

/// Only the rows of a batch are read of these.
bool is_embedding(std::string_view layer) {
  const std::string_view last = last_part(layer);
  return last.find("embed") != std::string_view::npos || last == "wte" || last == "wpe";
}

/// A tensor of codes: how its name ends, and how many codes one element along K or N has.
struct Codes {
  std::string_view suffix;
  std::int64_t in_a_word = 1;
  bool rows_are_inputs = false;
};
constexpr std::array<Codes, 6> kCodes{{{".weight"},
                                       {".weight_packed", 4},
                                       {".qweight", 4, true},
                                       {"._weight_qdata"},
                                       {".weight._data"},
                                       {""}}};  // stacks of experts

/// A matrix, or a stack of them, that a header names.
struct Matrix {
  std::string layer;
  std::int64_t n = 0, k = 0;
  std::int64_t stacked = 0;  ///< experts in a stack; 0: none
};

std::optional<Matrix> matrix_of(const TensorEntry& entry) {
  for (const Codes& codes : kCodes) {
    const std::string_view name = entry.name;
    const bool stack = codes.suffix.empty();
    if (!name.ends_with(codes.suffix) || entry.shape.size() != (stack ? 3U : 2U)) continue;
    if (stack && name.find(kExperts) == std::string_view::npos) continue;
    if (stack && name.find("_scale") != std::string_view::npos) continue;
    const std::size_t first = stack ? 1 : 0;
    Matrix m{std::string(name.substr(0, name.size() - codes.suffix.size())), entry.shape[first],
             entry.shape[first + 1], stack ? entry.shape[0] : 0};
    if (codes.rows_are_inputs) std::swap(m.n, m.k);
    m.k *= codes.in_a_word;
    return m;
  }
  return std::nullopt;
}

/// The layer that a scale or another tensor beside codes belongs to, among those that there are.
template <class Layers>
auto layer_beside(Layers& layers, std::string_view name) {
  auto found = layers.end();
  for (std::string_view at = name; found == layers.end() && !at.empty();) {
    const std::size_t dot = at.rfind('.');
    at = dot == std::string_view::npos ? std::string_view() : at.substr(0, dot);
    found = layers.find(at);
  }
  if (found == layers.end()) found = layers.find(name.substr(0, name.find("_scale")));
  return found;
}

/// "model.layers.*.q_proj"
std::string pattern_of(std::string_view name) {
  std::string pattern;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    const bool number = !part.empty() && std::ranges::all_of(part, [](unsigned char c) {
      return std::isdigit(c) != 0;
    });
    if (begin > 0) pattern += '.';
    pattern += number ? "*" : std::string(part);
    begin = end + 1;
  }
  return pattern;
}

/// What stands beside codes: its bytes along N alone, along K, and in one piece.
struct Layer {
  Matrix matrix;
  std::string dtype;
  std::int64_t code_bytes = 0;
  double by_rows = 0, by_cells = 0, whole = 0;
  bool varies_along_k = false;
};

double share(std::int64_t part, std::int64_t extent) {
  return extent == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(extent);
}

std::int64_t largest_part(std::int64_t extent, std::int64_t ranks) {
  std::int64_t most = 0;
  for (std::int64_t r = 0; r < ranks; ++r)
    most = std::max(most, shard_range(extent, r, ranks).size());
  return most;
}

/// The experts that each token goes to, by config.json; 1 where it does not say.
std::int64_t experts_of_a_token(const Checkpoint& model) {
  const auto text = model.impl().text(kConfigFile);
  JsonTree tree;
  if (!text || tree.parse(*text, QuantizationConfig::kLimits) != JsonTree::Problem::none) return 1;
  for (const std::string_view key : {"num_experts_per_tok", "num_experts_per_token", "moe_topk"}) {
    const JsonValue value = tree.root()[key];
    if (value.is_integer() && value.integer() > 0) return value.integer();
  }
  return 1;
}

bool is_float8(std::string_view dtype) { return dtype.starts_with("F8") || dtype == "U8"; }

double rate_of(const MachineRates& machine, std::string_view dtype) {
  if (dtype == "I8") return machine.int8_gops;
  if (is_float8(dtype)) return machine.float8_gops;
  return dtype == "F32" ? machine.float32_gops : machine.float16_gops;
}

/// A tree of messages, for what is small.
double tree_steps(std::int64_t ranks) { return std::ceil(std::log2(static_cast<double>(ranks))); }

class RankPlanner {
 public:
  RankPlanner(const Checkpoint& model, const RankPlanOptions& options)
      : o_(options), top_k_(experts_of_a_token(model)) {
    for (const TensorEntry& entry : model.entries()) add_matrix(entry);
    for (const TensorEntry& entry : model.entries()) add_beside(entry);
  }

  RankPlan plan() {
    std::map<std::tuple<std::string, std::int64_t, std::int64_t, std::string>, std::size_t> places;
    std::map<std::size_t, std::set<std::string>> modules;
    for (const std::string& name : order_) {
      const Layer& layer = layers_.find(name)->second;
      const Matrix& m = layer.matrix;
      const auto [place, fresh] =
          places.try_emplace({pattern_of(name), m.n, m.k, layer.dtype}, plan_.groups.size());
      if (fresh) plan_.groups.push_back(group_of(layer, place->first));
      members_[place->second].push_back(&layer);
      if (plan_.groups[place->second].split == RankSplit::experts) {
        modules[place->second].insert(name.substr(0, name.find(kExperts)));
      }
    }
    for (std::size_t i = 0; i < plan_.groups.size(); ++i) {
      RankPlanGroup& group = plan_.groups[i];
      const auto count = static_cast<std::int64_t>(members_[i].size());
      group.layers = count;
      if (group.split == RankSplit::experts) {
        group.layers = static_cast<std::int64_t>(modules[i].size());
        const std::int64_t stacked = members_[i][0]->matrix.stacked;
        group.experts = stacked > 0 ? stacked : count / group.layers;
      }
      cost(group, *members_[i][0]);
      plan_.bytes += group.bytes;
      plan_.compute_seconds += group.compute_seconds;
      plan_.communication_seconds += group.communication_seconds;
    }
    plan_.bytes += plan_.other_bytes;
    return std::move(plan_);
  }

 private:
  void add_matrix(const TensorEntry& entry) {
    auto matrix = matrix_of(entry);
    if (!matrix) return;
    Layer layer;
    layer.matrix = *std::move(matrix);
    layer.dtype = entry.dtype;
    layer.code_bytes = entry.end - entry.begin;
    const std::string name = layer.matrix.layer;
    if (layers_.emplace(name, std::move(layer)).second) order_.push_back(name);
    matrices_.insert(entry.name);
  }

  void add_beside(const TensorEntry& entry) {
    if (matrices_.contains(entry.name)) return;
    const std::int64_t bytes = entry.end - entry.begin;
    const auto found = layer_beside(layers_, entry.name);
    if (found == layers_.end()) {
      plan_.other_bytes += bytes;
      return;
    }
    Layer& layer = found->second;
    const std::size_t first = layer.matrix.stacked > 0 ? 1 : 0;
    const bool rows = entry.shape.size() > first && entry.shape[first] > 1;
    const bool cells = entry.shape.size() > first + 1 && entry.shape[first + 1] > 1;
    (cells ? layer.by_cells : rows ? layer.by_rows : layer.whole) += static_cast<double>(bytes);
    layer.varies_along_k = layer.varies_along_k || cells;
  }

  RankPlanGroup group_of(const Layer& layer, const auto& key) const {
    RankPlanGroup group;
    group.name = std::get<0>(key);
    group.split = split_of(layer.matrix.layer);
    group.dtype = layer.dtype;
    group.n = layer.matrix.n;
    group.k = layer.matrix.k;
    return group;
  }

  void cost(RankPlanGroup& group, const Layer& layer) const {
    const auto rows = static_cast<double>(o_.rows), layers = static_cast<double>(group.layers);
    const double nk = static_cast<double>(group.n) * static_cast<double>(group.k);
    const double own = static_cast<double>(layer.code_bytes) + layer.by_rows + layer.by_cells;
    double held = own + layer.whole;  // bytes of a layer
    double read = held, operations = 2.0 * rows * nk;
    switch (group.split) {
      case RankSplit::columns: {
        const double part = share(largest_part(group.n, o_.ranks), group.n);
        read = held = own * part + layer.whole;
        operations *= part;
        break;
      }
      case RankSplit::rows: {
        const double part = share(largest_part(group.k, o_.ranks), group.k);
        read = held = (own - layer.by_rows) * part + layer.by_rows + layer.whole;
        operations *= part;
        add_sums(group, layer);
        break;
      }
      case RankSplit::experts: {
        const auto experts = static_cast<double>(group.experts);
        const double mine = std::ceil(experts / static_cast<double>(o_.ranks));
        const double one = held / (layer.matrix.stacked > 0 ? experts : 1.0);
        const auto top = static_cast<double>(std::min(top_k_, group.experts));
        held = one * mine;
        read = held * (1.0 - std::pow(1.0 - top / experts, rows));
        operations *= top * mine / experts;
        add_routes(group, top);
        break;
      }
      case RankSplit::replicated:
        if (is_embedding(layer.matrix.layer)) {
          read = std::min(held, held * share(o_.rows, group.n));
          operations = 0;
        }
        break;
    }
    group.bytes = static_cast<std::int64_t>(std::llround(held * layers));
    group.bytes_read = read * layers;
    group.operations = operations * layers;
    group.bytes_sent *= layers;
    group.messages *= layers;
    group.compute_seconds = std::max(group.bytes_read / o_.machine.read_gbps,
                                     group.operations / rate_of(o_.machine, group.dtype)) *
                            1e-9;
    group.communication_seconds =
        group.messages * o_.latency_us * 1e-6 + group.bytes_sent * 8.0 / (o_.network_gbits * 1e9);
  }

  // Sums of integers: a ring, 4 bytes there and back. Chunk sums of floats in their order: a chain
  // in pieces, 4 bytes there and the output's 2 back. Before both the rows' absmax.
  void add_sums(RankPlanGroup& group, const Layer& layer) const {
    if (o_.ranks == 1) return;
    const auto ranks = static_cast<double>(o_.ranks);
    const double outputs = static_cast<double>(o_.rows) * static_cast<double>(group.n);
    const bool exact = layer.dtype == "I8" && !layer.varies_along_k;
    group.bytes_sent = exact ? 2.0 * (ranks - 1) / ranks * 4.0 * outputs : 6.0 * outputs;
    group.messages = 2.0 * (ranks - 1);
    if ((layer.dtype == "I8" || is_float8(layer.dtype)) && !layer.varies_along_k) {
      group.bytes_sent += 4.0 * static_cast<double>(o_.rows);
      group.messages += tree_steps(o_.ranks);
    }
  }

  // Codes with a scale a row before the first products, bfloat16 behind the last.
  void add_routes(RankPlanGroup& group, double top) const {
    if (o_.ranks == 1) return;
    const std::string_view last = last_part(group.name);
    const bool back = last == "down_proj" || last == "w2";
    if (!back && last != "gate_proj" && last != "gate_up_proj" && last != "w1") return;
    const auto ranks = static_cast<double>(o_.ranks);
    const double routes = std::ceil(static_cast<double>(o_.rows) / ranks) * top;
    const double row =
        back ? 2.0 * static_cast<double>(group.n) : static_cast<double>(group.k) + 4.0;
    group.bytes_sent = routes * (ranks - 1) / ranks * row;
    group.messages = ranks - 1;
  }

  RankPlanOptions o_;
  std::int64_t top_k_;
  std::map<std::string, Layer, std::less<>> layers_;
  std::vector<std::string> order_;
  std::set<std::string> matrices_;
  std::map<std::size_t, std::vector<const Layer*>> members_;
  RankPlan plan_;
};

void check(const RankPlanOptions& o) {
  constexpr std::int64_t kMost = 1 << 20;
  if (o.ranks < 1 || o.ranks > kMost) {
    refuse(Code::invalid_argument, "{}: ranks must be in [1, {}]; got {}", kPlan, kMost, o.ranks);
  }
  if (o.rows < 1) {
    refuse(Code::invalid_argument, "{}: rows must be at least 1; got {}", kPlan, o.rows);
  }
  struct PlanRow {
    const char* name;
    double value;
  };
  for (const PlanRow& row : {PlanRow{"network_gbits", o.network_gbits},
                             {"machine.read_gbps", o.machine.read_gbps},
                             {"machine.int8_gops", o.machine.int8_gops},
                             {"machine.float8_gops", o.machine.float8_gops},
                             {"machine.float16_gops", o.machine.float16_gops},
                             {"machine.float32_gops", o.machine.float32_gops}}) {
    if (row.value > 0) continue;
    refuse(Code::invalid_argument, "{}: {} must be above 0; got {}", kPlan, row.name, row.value);
  }
  if (o.latency_us >= 0) return;
  refuse(Code::invalid_argument, "{}: latency_us must be at least 0; got {}", kPlan, o.latency_us);
}

}  // namespace

std::optional<MachineRates> device_rates(std::string_view name) {
  if (name != "h200") return std::nullopt;
  // NVIDIA's data sheet, without sparsity.
  return MachineRates{.name = "h200",
                      .simulated = true,
                      .read_gbps = 4800,
                      .int8_gops = 1979e3,
                      .float8_gops = 1979e3,
                      .float16_gops = 989.5e3,
                      .float32_gops = 67e3};
}

std::string_view rank_split_name(RankSplit split) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"columns", "rows", "experts", "replicated"};
  return kNames[static_cast<std::size_t>(split)];
}

RankPlan plan_ranks(const Checkpoint& model, const RankPlanOptions& options) {
  return at_edge(kPlan, [&] {
    check(options);
    return RankPlanner(model, options).plan();
  });
}

}  // namespace octavo
