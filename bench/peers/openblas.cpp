// SPDX-License-Identifier: Apache-2.0
// OpenBLAS in float32: what a program had before it had 8 bits.
#include <cblas.h>

#include <cstring>
#include <new>
#include <string>

#include "kit/peers/peer.hpp"
#include "support.hpp"

namespace octavo::peers {
namespace {

// OpenBLAS has no packed weights; a copy keeps each instance's weights apart in memory.
class Sgemm final : public Instance {
 public:
  explicit Sgemm(const Product& p) : p_(p), weights_(bytes(p)) {
    std::memcpy(weights_.data(), p.b, bytes(p));
  }

  void run() override {
    ::openblas_set_num_threads(p_.threads);
    const auto m = static_cast<blasint>(p_.m);
    const auto n = static_cast<blasint>(p_.n);
    const auto k = static_cast<blasint>(p_.k);
    const auto* a = static_cast<const float*>(p_.a);
    const auto* weights = static_cast<const float*>(weights_.data());
    auto* out = static_cast<float*>(p_.out);
    if (p_.m == 1) {
      ::cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, 1.0F, weights, k, a, 1, 0.0F, out, 1);
    } else {
      ::cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0F, a, k, weights, k, 0.0F,
                    out, n);
    }
  }
  double weight_bytes() const override { return static_cast<double>(bytes(p_)); }
  const char* note() const override {
    if (p_.bias != nullptr) return "bias left out";
    return p_.m == 1 ? "sgemv" : "sgemm";
  }
  bool complete() const override { return p_.bias == nullptr; }

 private:
  static std::size_t bytes(const Product& p) {
    return static_cast<std::size_t>(p.n * p.k) * sizeof(float);
  }
  Product p_;
  Buffer weights_;
};

Instance* create(const Product& p) {
  try {
    return new Sgemm(p);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
const char* failure() { return "memory must be available"; }

// "OpenBLAS 0.3.21 DYNAMIC_ARCH NO_AFFINITY ZEN MAX_THREADS=64" without its own name: the kernel
// that it took for this processor is in there.
const char* version() {
  static const std::string text = [] {
    std::string config = ::openblas_get_config();
    if (config.starts_with("OpenBLAS ")) config.erase(0, 9);
    config.erase(config.find_last_not_of(' ') + 1);
    const std::size_t end = config.find(' ');
    if (end == std::string::npos) return config;
    return config.substr(0, end) + " (" + config.substr(end + 1) + ")";
  }();
  return text.c_str();
}

}  // namespace
}  // namespace octavo::peers

OCTAVO_PEER_MODULE const octavo::peers::Module* octavo_peers() {
  using namespace octavo::peers;
  static const Peer peer{"OpenBLAS float32", version(), true, create, failure};
  static const Module module{kInterface, 1, &peer};
  return &module;
}
