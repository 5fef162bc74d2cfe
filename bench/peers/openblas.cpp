// SPDX-License-Identifier: Apache-2.0
// OpenBLAS in float32: what a program had before it had 8 bits.
#include <cblas.h>

#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "peers/peer.hpp"

namespace octavo::peers {
namespace {

// OpenBLAS has no packed weights; a copy keeps each instance's weights apart in memory.
class Sgemm final : public Instance {
 public:
  explicit Sgemm(const Product& p) : p_(p) {
    const auto count = static_cast<std::size_t>(p.n * p.k);
    weights_.reset(new (std::align_val_t{64}) float[count]);
    std::memcpy(weights_.get(), p.b, count * sizeof(float));
  }

  void run() override {
    ::openblas_set_num_threads(p_.threads);
    const auto m = static_cast<blasint>(p_.m);
    const auto n = static_cast<blasint>(p_.n);
    const auto k = static_cast<blasint>(p_.k);
    const auto* a = static_cast<const float*>(p_.a);
    auto* out = static_cast<float*>(p_.out);
    if (p_.m == 1) {
      ::cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, 1.0F, weights_.get(), k, a, 1, 0.0F, out, 1);
    } else {
      ::cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0F, a, k, weights_.get(), k,
                    0.0F, out, n);
    }
  }
  double weight_bytes() const override { return static_cast<double>(p_.n * p_.k) * sizeof(float); }
  const char* note() const override {
    if (p_.bias != nullptr) return "bias left out";
    return p_.m == 1 ? "sgemv" : "sgemm";
  }
  bool complete() const override { return p_.bias == nullptr; }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  Product p_;
  std::unique_ptr<float[], Free> weights_;
};

Instance* create(const Product& p) { return new (std::nothrow) Sgemm(p); }
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
