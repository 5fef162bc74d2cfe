// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul, versions 2 and 3. Where a library offers several ways to say the same product
// (weights as they are or in a layout of its choice, scales as attributes or as post-operations),
// each is tried and the fastest stays.
#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "kit/peers/peer.hpp"
#include "support.hpp"

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
#include <oneapi/tbb/task_arena.h>
#endif

namespace octavo::peers {
namespace {

using dnnl::memory;
using DataType = memory::data_type;
using Tag = memory::format_tag;

thread_local std::string failure_text;

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
constexpr const char* kRuntime = "oneTBB";

template <class Call>
void on_threads(int threads, const Call& call) {
  if (oneapi::tbb::this_task_arena::max_concurrency() == threads) return call();
  static std::unordered_map<int, std::unique_ptr<oneapi::tbb::task_arena>> arenas;
  std::unique_ptr<oneapi::tbb::task_arena>& arena = arenas[threads];
  if (arena == nullptr) arena = std::make_unique<oneapi::tbb::task_arena>(threads);
  arena->execute(call);
}
#else
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
constexpr const char* kRuntime = "OpenMP";
#else
constexpr const char* kRuntime = "one thread";
#endif

// Whichever OpenMP the library brought along, found by name: this module needs no header of it.
template <class Call>
void on_threads(int threads, const Call& call) {
  static const auto set_threads =
      reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (set_threads != nullptr) set_threads(threads);
  call();
}
#endif

std::optional<DataType> data_type(Type type) {
  switch (type) {
    case Type::int8:
      return DataType::s8;
    case Type::uint8:
      return DataType::u8;
    case Type::bfloat16:
      return DataType::bf16;
    case Type::float16:
      return DataType::f16;
    case Type::float32:
      return DataType::f32;
#if DNNL_VERSION_MAJOR >= 3
    case Type::e4m3fn:
      return DataType::f8_e4m3;
    case Type::e5m2:
      return DataType::f8_e5m2;
#endif
    default:
      return std::nullopt;
  }
}

// How the scales and the bias are said.
enum class Scales {
  attributes,  // everything an attribute of the product (a token's scale only where M = 1)
  groups,      // a token's scale as one group of K elements; version 3 only
  post_ops,    // the token's scale and the bias as binary operations behind the product
  batch,       // the same on a batch of one, which has optimised kernels that the plain form lacks
  without,     // the token's scales are left out
};

// In which layout the weights are multiplied.
enum class Layout {
  own,      // the library's choice, brought there once
  plain,    // as they are given
  in_call,  // the library's choice, brought there by every call
};

struct Way {
  Scales scales;
  Layout layout;
};

std::string text_of(const Way& way) {
  const std::string layout = way.layout == Layout::own     ? "own layout"
                             : way.layout == Layout::plain ? "plain layout"
                                                           : "own layout made in the call";
  switch (way.scales) {
    case Scales::attributes:
      return layout;
    case Scales::groups:
      return layout + ", token scales as groups";
    case Scales::post_ops:
      return layout + ", token scales as post-ops";
    case Scales::batch:
      return layout + ", batch of one, token scales as post-ops";
    default:
      return layout + ", token scales left out";
  }
}

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// Where calls lay out weights: the same for all products of a size, so that it stays in the caches.
void* shared_memory(std::size_t bytes) {
  static std::unordered_map<std::size_t, Buffer> buffers;
  return buffers.try_emplace(bytes, bytes).first->second.data();
}

float* changeable(const float* values) { return const_cast<float*>(values); }

class Matmul final : public Instance {
 public:
  Matmul(const Product& p, const Way& way) : threads_(p.threads), way_(way), stream_(engine()) {
    on_threads(threads_, [&] { prepare(p); });
  }

  void run() override {
    on_threads(threads_, [&] {
      if (way_.layout == Layout::in_call) reorder_.execute(stream_, given_, own_);
      primitive_.execute(stream_, arguments_);
      stream_.wait();
    });
  }
  double weight_bytes() const override { return static_cast<double>(weight_bytes_); }
  const char* note() const override { return note_.c_str(); }
  bool complete() const override { return way_.scales != Scales::without; }
  const Way& way() const { return way_; }
  bool is_reference() const { return note_.starts_with("ref") || note_.starts_with("gemm:ref"); }

 private:
  bool batched() const { return way_.scales == Scales::batch; }
  int last_dimension() const { return batched() ? 1 << 2 : 1 << 1; }
  bool behind_product() const { return batched() || way_.scales == Scales::post_ops; }

  // A matrix, row after row; or column after column; any: as the library likes.
  enum class Order { rows, columns, any };
  memory::desc matrix(std::int64_t rows, std::int64_t cols, DataType type,
                      Order order = Order::rows) const {
    const Tag tag = order == Order::any       ? Tag::any
                    : order == Order::columns ? (batched() ? Tag::acb : Tag::ba)
                                              : (batched() ? Tag::abc : Tag::ab);
    if (batched()) return {{1, rows, cols}, type, tag};
    return {{rows, cols}, type, tag};
  }

  // Fused where the product takes it so; what is left goes behind the product.
  void set_scales(const Product& p, dnnl::primitive_attr& attr) {
    const bool token = p.scale_a != nullptr && way_.scales != Scales::without;
#if DNNL_VERSION_MAJOR >= 3
    if (p.scale_b != nullptr) {
      attr.set_scales_mask(DNNL_ARG_WEIGHTS, last_dimension());
      bind_vector(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, p.scale_b, p.n);
    }
    if (token && way_.scales == Scales::attributes) {
      attr.set_scales_mask(DNNL_ARG_SRC, 0);
      bind_vector(DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, p.scale_a, 1);
    }
    if (token && way_.scales == Scales::groups) {
      attr.set_scales(DNNL_ARG_SRC, 3, {1, p.k}, DataType::f32);
      bind(DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, matrix(p.m, 1, DataType::f32),
           changeable(p.scale_a));
    }
#else
    std::vector<float> factors(static_cast<std::size_t>(p.n), 1.0F);
    for (std::size_t j = 0; j < factors.size(); ++j) {
      if (p.scale_b != nullptr) factors[j] = p.scale_b[j];
      if (token && way_.scales == Scales::attributes) factors[j] *= p.scale_a[0];
    }
    if (p.scale_a != nullptr || p.scale_b != nullptr)
      attr.set_output_scales(last_dimension(), factors);
#endif
    dnnl::post_ops behind;
    if (token && behind_product()) {
      const memory::desc column = matrix(p.m, 1, DataType::f32);
      behind.append_binary(dnnl::algorithm::binary_mul, column);
      bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(behind.len() - 1) | DNNL_ARG_SRC_1, column,
           changeable(p.scale_a));
    }
    if (p.bias != nullptr && !native_bias(p)) {
      const memory::desc row = matrix(1, p.n, DataType::f32);
      behind.append_binary(dnnl::algorithm::binary_add, row);
      bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(behind.len() - 1) | DNNL_ARG_SRC_1, row,
           changeable(p.bias));
    }
    if (behind.len() > 0) attr.set_post_ops(behind);
  }

  // Version 2 adds the bias before its scales.
  bool native_bias(const Product& p) const {
    const bool scaled = p.scale_a != nullptr || p.scale_b != nullptr;
    return DNNL_VERSION_MAJOR >= 3 ? !behind_product() : !scaled;
  }

  void prepare(const Product& p) {
    const DataType b_type = *data_type(p.b_type);
    const memory::desc a = matrix(p.m, p.k, *data_type(p.a_type));
    const memory::desc b =
        matrix(p.k, p.n, b_type, way_.layout == Layout::plain ? Order::columns : Order::any);
    const memory::desc out = matrix(p.m, p.n, *data_type(p.out_type));
    const memory::desc bias = matrix(1, p.n, DataType::f32);
    const bool with_bias = p.bias != nullptr && native_bias(p);
    dnnl::primitive_attr attr;
    set_scales(p, attr);
#if DNNL_VERSION_MAJOR >= 3
    const auto pd = with_bias ? dnnl::matmul::primitive_desc(engine(), a, b, bias, out, attr)
                              : dnnl::matmul::primitive_desc(engine(), a, b, out, attr);
#else
    const auto pd = dnnl::matmul::primitive_desc(
        with_bias ? dnnl::matmul::desc(a, b, bias, out) : dnnl::matmul::desc(a, b, out), attr,
        engine());
#endif
    primitive_ = dnnl::matmul(pd);
    note_ = std::string(pd.impl_info_str()) + ", " + text_of(way_);
    if (with_bias) bind(DNNL_ARG_BIAS, bias, changeable(p.bias));
    bind(DNNL_ARG_SRC, a, const_cast<void*>(p.a));
    bind(DNNL_ARG_DST, out, p.out);
    set_weights(p, pd.weights_desc());
  }

  void set_weights(const Product& p, const memory::desc& wanted) {
    const memory::desc columns = matrix(p.k, p.n, *data_type(p.b_type), Order::columns);
    memory given(columns, engine(), const_cast<void*>(p.b));
    const bool in_call = way_.layout == Layout::in_call;
    weight_bytes_ = in_call ? columns.get_size() : wanted.get_size();
    void* kept = weights_.emplace(weight_bytes_).data();
    if (in_call) {
      given_ = memory(columns, engine(), kept);
      std::memcpy(kept, p.b, weight_bytes_);
    }
    own_ = memory(wanted, engine(), in_call ? shared_memory(wanted.get_size()) : kept);
    reorder_ = dnnl::reorder(given, own_);
    reorder_.execute(stream_, given, own_);
    stream_.wait();
    arguments_.insert({DNNL_ARG_WEIGHTS, own_});
  }

  void bind(int argument, const memory::desc& desc, void* data) {
    arguments_.insert({argument, memory(desc, engine(), data)});
  }
  void bind_vector(int argument, const float* data, std::int64_t count) {
    bind(argument, {{count}, DataType::f32, Tag::a}, changeable(data));
  }

  int threads_;
  Way way_;
  dnnl::stream stream_;
  dnnl::matmul primitive_;
  std::unordered_map<int, memory> arguments_;
  std::string note_;
  std::optional<Buffer> weights_;
  memory given_, own_;
  dnnl::reorder reorder_;
  std::size_t weight_bytes_ = 0;
};

void add_layouts(const Product& p, Scales scales, std::vector<Way>& all) {
  all.push_back({scales, p.plain ? Layout::in_call : Layout::own});
  all.push_back({scales, Layout::plain});
}

std::vector<Way> ways(const Product& p) {
  std::vector<Scales> scales;
  if (p.scale_a == nullptr || p.m == 1) {
    scales = {Scales::attributes};
  } else if (DNNL_VERSION_MAJOR >= 3) {
    scales = {Scales::batch, Scales::post_ops, Scales::groups};
  } else {
    scales = {Scales::batch, Scales::post_ops};
  }
  std::vector<Way> all;
  for (const Scales s : scales) add_layouts(p, s, all);
  return all;
}

// The fastest way of those that the library has an optimised kernel for; an earlier one where the
// difference may be noise.
std::unique_ptr<Matmul> fastest(const Product& p, const std::vector<Way>& candidates) {
  std::unique_ptr<Matmul> best;
  double best_seconds = 0.0;
  for (const Way& way : candidates) {
    try {
      auto instance = std::make_unique<Matmul>(p, way);
      if (instance->is_reference()) continue;
      const double seconds = best_time([&] { instance->run(); }, p.cold);
      if (best != nullptr && seconds >= 0.97 * best_seconds) continue;
      best = std::move(instance);
      best_seconds = seconds;
    } catch (const dnnl::error& error) {
      failure_text = std::string("oneDNN: ") + error.what();
    }
  }
  return best;
}

// What the fastest way depends on.
bool same_kind(const Product& x, const Product& y) {
  const auto both = [](const float* one, const float* other) {
    return (one == nullptr) == (other == nullptr);
  };
  return x.m == y.m && x.n == y.n && x.k == y.k && x.a_type == y.a_type && x.b_type == y.b_type &&
         x.out_type == y.out_type && both(x.scale_a, y.scale_a) && both(x.scale_b, y.scale_b) &&
         both(x.bias, y.bias) && x.threads == y.threads && x.cold == y.cold && x.plain == y.plain;
}

Instance* create(const Product& p) {
  // The ways of products that were asked for before: one problem has many sets of weights, and a
  // grouped one many members of a size.
  static std::vector<std::pair<Product, Way>> chosen;
  failure_text = "it has no optimised kernel for these types on this machine";
  if (!data_type(p.a_type) || !data_type(p.b_type) || !data_type(p.out_type)) {
    failure_text = "it does not have these types";
    return nullptr;
  }
  try {
    for (const auto& [product, way] : chosen) {
      if (same_kind(product, p)) return new Matmul(p, way);
    }
    std::unique_ptr<Matmul> best = fastest(p, ways(p));
    if (best == nullptr && p.scale_a != nullptr) {
      std::vector<Way> all;
      add_layouts(p, Scales::without, all);
      best = fastest(p, all);
    }
    if (best == nullptr) return nullptr;
    chosen.emplace_back(p, best->way());
    return best.release();
  } catch (const std::exception& error) {
    failure_text = std::string("oneDNN: ") + error.what();
    return nullptr;
  }
}

const char* failure() { return failure_text.c_str(); }

const char* version() {
  static const std::string text = [] {
    const dnnl_version_t* v = ::dnnl_version();
    std::string hash = v->hash == nullptr ? "" : v->hash;
    if (hash == "N/A") hash.clear();
    return std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch) + " (" + (hash.empty() ? "" : hash.substr(0, 8) + ", ") +
           kRuntime + ")";
  }();
  return text.c_str();
}

}  // namespace
}  // namespace octavo::peers

OCTAVO_PEER_MODULE const octavo::peers::Module* octavo_peers() {
  using namespace octavo::peers;
  static const Peer peers[]{{"oneDNN", version(), false, create, failure},
                            {"oneDNN float32", version(), true, create, failure}};
  static const Module module{kInterface, 2, peers};
  return &module;
}
