// SPDX-License-Identifier: Apache-2.0
// AOCL-DLP's int8 and bfloat16 products, weights reordered or plain, scales and bias as
// post-operations.
#include <aocl_dlp.h>
#include <aocl_dlp_config.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "kit/peers/peer.hpp"
#include "support.hpp"

namespace octavo::peers {
namespace {

thread_local std::string failure_text;

#if defined(DLP_ENABLE_OPENMP)
constexpr bool kThreads = true;
#else
constexpr bool kThreads = false;
#endif

dlp_sf_t factors(const float* values, std::int64_t count, DLP_PARAM_DIM_TYPE dimension) {
  dlp_sf_t factor{};
  factor.scale_factor = const_cast<float*>(values);
  factor.scale_factor_len = count;
  factor.scale_factor_type = DLP_F32;
  factor.scale_factor_dim = dimension;
  return factor;
}

// The entry points of one type of operands.
struct Int8 {
  using Code = std::int8_t;
  static constexpr auto kBytes = ::aocl_get_reorder_buf_size_s8s8s32os32;
  static constexpr auto kReorder = ::aocl_reorder_s8s8s32os32;
  static constexpr auto kToFloat32 = ::aocl_gemm_s8s8s32of32;
  static constexpr auto kToBfloat16 = ::aocl_gemm_s8s8s32obf16;
};
struct Bfloat16 {
  using Code = bfloat16;
  static constexpr auto kBytes = ::aocl_get_reorder_buf_size_bf16bf16f32of32;
  static constexpr auto kReorder = ::aocl_reorder_bf16bf16f32of32;
  static constexpr auto kToFloat32 = ::aocl_gemm_bf16bf16f32of32;
  static constexpr auto kToBfloat16 = ::aocl_gemm_bf16bf16f32obf16;
};

template <class Family>
class Gemm final : public Instance {
 public:
  using Code = typename Family::Code;

  explicit Gemm(const Product& p) : p_(p) {
    ::dlp_thread_set_num_threads(p.threads);
    bytes_ = p.plain ? static_cast<std::size_t>(p.n * p.k) * sizeof(Code)
                     : Family::kBytes('r', 't', 'B', p.k, p.n, nullptr);
    weights_.emplace(bytes_);
    if (p.plain) {
      std::memcpy(weights(), p.b, bytes_);
    } else {
      Family::kReorder('r', 't', 'B', static_cast<const Code*>(p.b), weights(), p.k, p.n, p.k,
                       nullptr);
    }
    if (p.scale_b != nullptr) add_scale(p.scale_b, p.n, DLP_PARAM_DIM_PER_CHANNEL);
    if (p.scale_a != nullptr) {
      add_scale(p.scale_a, p.m, p.m == 1 ? DLP_PARAM_DIM_PER_TENSOR : DLP_PARAM_DIM_PER_TOKEN);
    }
    metadata_.scale = scales_;
    if (p.bias != nullptr) {
      bias_.bias = const_cast<float*>(p.bias);
      bias_.stor_type = DLP_F32;
      bias_.bias_len = p.n;
      metadata_.bias = &bias_;
      order_[metadata_.seq_length++] = BIAS;
    }
    metadata_.seq_vector = order_;
  }

  void run() override {
    ::dlp_thread_set_num_threads(p_.threads);
    const auto call = [&](auto gemm, auto* out) {
      gemm('r', 'n', 't', p_.m, p_.n, p_.k, 1, static_cast<const Code*>(p_.a), p_.k, 'n', weights(),
           p_.k, p_.plain ? 'n' : 'r', 0, out, p_.n, &metadata_);
    };
    if (p_.out_type == Type::bfloat16) {
      call(Family::kToBfloat16, static_cast<bfloat16*>(p_.out));
    } else {
      call(Family::kToFloat32, static_cast<float*>(p_.out));
    }
  }
  int error() const { return static_cast<int>(metadata_.error_hndl.error_code); }
  double weight_bytes() const override { return static_cast<double>(bytes_); }
  const char* note() const override {
    return p_.plain ? "plain weights, scales and bias as post-ops"
                    : "weights reordered, scales and bias as post-ops";
  }
  bool complete() const override { return true; }

 private:
  void add_scale(const float* values, std::int64_t count, DLP_PARAM_DIM_TYPE dimension) {
    factors_[count_] = factors(values, count, dimension);
    scales_[count_].sf = &factors_[count_];
    ++count_;
    order_[metadata_.seq_length++] = SCALE;
  }

  Code* weights() const { return static_cast<Code*>(weights_->data()); }

  Product p_;
  std::size_t bytes_ = 0;
  std::optional<Buffer> weights_;
  int count_ = 0;
  dlp_sf_t factors_[2]{};
  dlp_scale_t scales_[2]{};
  dlp_post_op_bias bias_{};
  DLP_POST_OP_TYPE order_[3]{};
  dlp_metadata_t metadata_{};
};

template <class Family>
Instance* create_of(const Product& p) {
  auto instance = std::make_unique<Gemm<Family>>(p);
  instance->run();
  if (instance->error() == DLP_CLSC_SUCCESS) return instance.release();
  failure_text = "AOCL-DLP refuses the product with its error " +
                 std::to_string(instance->error()) + " (dlp_clsc_err_t)";
  return nullptr;
}

Instance* create(const Product& p) {
  const bool int8 = p.a_type == Type::int8 && p.b_type == Type::int8;
  const bool bfloat16 = p.a_type == Type::bfloat16 && p.b_type == Type::bfloat16;
  if ((!int8 && !bfloat16) || (p.out_type != Type::bfloat16 && p.out_type != Type::float32)) {
    failure_text = "it is wired for int8 @ int8 and bfloat16 @ bfloat16 to bfloat16 or float32";
    return nullptr;
  }
  if (p.threads > 1 && !kThreads) {
    failure_text = "this build of it has no threads (DLP_THREADING_MODEL=openmp gives it some)";
    return nullptr;
  }
  try {
    return int8 ? create_of<Int8>(p) : create_of<Bfloat16>(p);
  } catch (const std::bad_alloc&) {
    failure_text = "memory must be available";
  }
  return nullptr;
}

const char* failure() { return failure_text.c_str(); }

const char* version() {
  static const std::string text = [] {
    int major = 0;
    int minor = 0;
    int patch = 0;
    ::dlp_version_query(&major, &minor, &patch);
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch) +
           (kThreads ? " (OpenMP)" : " (one thread)");
  }();
  return text.c_str();
}

}  // namespace
}  // namespace octavo::peers

OCTAVO_PEER_MODULE const octavo::peers::Module* octavo_peers() {
  using namespace octavo::peers;
  static const Peer peer{"AOCL-DLP", version(), false, create, failure};
  static const Module module{kInterface, 1, &peer};
  return &module;
}
