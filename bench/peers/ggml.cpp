// SPDX-License-Identifier: Apache-2.0
// ggml's mul_mat on the CPU, what llama.cpp multiplies by: weights of int8 as Q8_0 (blocks of 32
// codes and a float16 scale), of 16 bits as they are. It takes rows of float32, which it brings to
// the weights' type inside the call, for Q8_0 by quantising blocks of 32.
#include <ggml-cpu.h>
#include <ggml.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "kit/peers/peer.hpp"
#include "support.hpp"

namespace octavo::peers {
namespace {

thread_local std::string failure_text;

constexpr std::int64_t kBlock = 32;
struct BlockQ8_0 {
  ggml_fp16_t scale;
  std::int8_t codes[kBlock];
};

// What each type of operands is there.
struct TypeRow {
  Type type;
  ggml_type weights, out;           // GGML_TYPE_COUNT: not taken
  float (*read)(const void* from);  // an element of A; null: not taken
  std::int64_t bytes;
};
template <class T>
T loaded(const void* from) {
  T x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
constexpr TypeRow kTypes[] = {
    {Type::int8, GGML_TYPE_Q8_0, GGML_TYPE_COUNT,
     [](const void* p) { return static_cast<float>(loaded<std::int8_t>(p)); }, 1},
    {Type::bfloat16, GGML_TYPE_BF16, GGML_TYPE_BF16,
     [](const void* p) {
       return std::bit_cast<float>(std::uint32_t{loaded<std::uint16_t>(p)} << 16);
     },
     2},
    {Type::float16, GGML_TYPE_F16, GGML_TYPE_F16,
     [](const void* p) { return ::ggml_fp16_to_fp32(loaded<ggml_fp16_t>(p)); }, 2},
    {Type::float32, GGML_TYPE_COUNT, GGML_TYPE_F32, &loaded<float>, 4},
};
const TypeRow* row_of(Type type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

struct FreeContext {
  void operator()(ggml_context* context) const { ::ggml_free(context); }
};

class MulMat final : public Instance {
 public:
  MulMat(const Product& p, const TypeRow& a, const TypeRow& b, const TypeRow& out)
      : p_(p),
        a_(static_cast<std::size_t>(p.m * p.k)),
        weight_bytes_(static_cast<std::size_t>(p.n) * ::ggml_row_size(b.weights, p.k)),
        weights_(weight_bytes_),
        context_(::ggml_init({2 * ::ggml_graph_overhead(), nullptr, true})) {
    if (context_ == nullptr) throw std::bad_alloc();
    put_rows(a);
    put_weights();
    ggml_context* ctx = context_.get();
    ggml_tensor* weights = ::ggml_new_tensor_2d(ctx, b.weights, p.k, p.n);
    weights->data = weights_.data();
    ggml_tensor* rows = ::ggml_new_tensor_2d(ctx, GGML_TYPE_F32, p.k, p.m);
    rows->data = a_.data();
    const bool float32 = out.out == GGML_TYPE_F32;
    if (!float32) sums_.resize(static_cast<std::size_t>(p.m * p.n));
    ggml_tensor* last = ::ggml_mul_mat(ctx, weights, rows);
    last->data = float32 ? p.out : sums_.data();
    if (p.bias != nullptr) {
      ggml_tensor* bias = ::ggml_new_tensor_1d(ctx, GGML_TYPE_F32, p.n);
      bias->data = const_cast<float*>(p.bias);
      last = ::ggml_add_inplace(ctx, last, bias);
    }
    if (!float32) {
      ggml_tensor* result = ::ggml_new_tensor_2d(ctx, out.out, p.n, p.m);
      result->data = p.out;
      last = ::ggml_cpy(ctx, last, result);
    }
    graph_ = ::ggml_new_graph(ctx);
    ::ggml_build_forward_expand(graph_, last);
    plan_ = ::ggml_graph_plan(graph_, p.threads, nullptr);
    work_.resize(plan_.work_size);
    plan_.work_data = work_.data();
  }

  void run() override { ::ggml_graph_compute(graph_, &plan_); }
  double weight_bytes() const override { return static_cast<double>(weight_bytes_); }
  const char* note() const override {
    return of_codes()
               ? "Q8_0, rows of float32 quantised by 32 in the call, so not this product exactly"
               : "rows of float32 converted in the call";
  }
  bool complete() const override { return !of_codes(); }

 private:
  bool of_codes() const { return p_.b_type == Type::int8; }
  void put_rows(const TypeRow& type) {
    const char* from = static_cast<const char*>(p_.a);
    for (std::size_t i = 0; i < a_.size(); ++i, from += type.bytes) {
      const std::size_t row = i / static_cast<std::size_t>(p_.k);
      a_[i] = type.read(from) * (p_.scale_a != nullptr ? p_.scale_a[row] : 1.0F);
    }
  }
  void put_weights() {
    if (!of_codes()) {
      std::memcpy(weights_.data(), p_.b, weight_bytes_);
      return;
    }
    const auto* codes = static_cast<const std::int8_t*>(p_.b);
    auto* block = static_cast<BlockQ8_0*>(weights_.data());
    for (std::int64_t j = 0; j < p_.n; ++j) {
      const float scale = p_.scale_b != nullptr ? p_.scale_b[j] : 1.0F;
      for (std::int64_t k = 0; k < p_.k; k += kBlock, ++block) {
        block->scale = ::ggml_fp32_to_fp16(scale);
        std::memcpy(block->codes, codes + j * p_.k + k, kBlock);
      }
    }
  }

  Product p_;
  std::vector<float> a_, sums_;  // sums, where they are not written as they are
  std::size_t weight_bytes_;
  Buffer weights_;
  std::unique_ptr<ggml_context, FreeContext> context_;
  ggml_cgraph* graph_ = nullptr;
  ggml_cplan plan_{};
  std::vector<std::uint8_t> work_;
};

Instance* create(const Product& p) {
  const TypeRow *a = row_of(p.a_type), *b = row_of(p.b_type), *out = row_of(p.out_type);
  const bool types = a != nullptr && b != nullptr && out != nullptr &&
                     b->weights != GGML_TYPE_COUNT && out->out != GGML_TYPE_COUNT;
  if (!types) {
    failure_text = "it does not have these types";
  } else if (p.plain && p.b_type == Type::int8) {
    failure_text = "its int8 weights are in a format of its own: the line must say prepacked";
  } else if (p.b_type == Type::int8 && p.k % kBlock != 0) {
    failure_text = "K must be a multiple of 32";
  } else if (p.b_type != Type::int8 && p.scale_b != nullptr) {
    failure_text = "it has no scales beside 16 bits";
  } else {
    try {
      return new MulMat(p, *a, *b, *out);
    } catch (const std::bad_alloc&) {
      failure_text = "memory must be available";
    }
  }
  return nullptr;
}
const char* failure() { return failure_text.c_str(); }

const char* version() {
  static const std::string text = [] {
    ::ggml_cpu_init();
    struct Feature {
      const char* name;
      int (*has)();
    };
    constexpr Feature kFeatures[] = {
        {"AVX2", &::ggml_cpu_has_avx2},        {"AVX-VNNI", &::ggml_cpu_has_avx_vnni},
        {"AVX-512", &::ggml_cpu_has_avx512},   {"VNNI", &::ggml_cpu_has_avx512_vnni},
        {"AMX", &::ggml_cpu_has_amx_int8},     {"dotprod", &::ggml_cpu_has_dotprod},
        {"i8mm", &::ggml_cpu_has_matmul_int8}, {"llamafile", &::ggml_cpu_has_llamafile}};
    std::string built;
    for (const Feature& feature : kFeatures) {
      if (feature.has() != 0) built += std::string(built.empty() ? "" : ", ") + feature.name;
    }
    return std::string(::ggml_version()) + " (" + built + ")";
  }();
  return text.c_str();
}

}  // namespace
}  // namespace octavo::peers

OCTAVO_PEER_MODULE const octavo::peers::Module* octavo_peers() {
  using namespace octavo::peers;
  static const Peer peer{"ggml", version(), false, create, failure};
  static const Module module{kInterface, 1, &peer};
  return &module;
}
