// SPDX-License-Identifier: Apache-2.0
// Peers whose behaviour is known: one is right (and has bfloat16 beside int8), one is wrong, one
// leaves the bias out, two refuse.
#include <bit>
#include <cstdint>

#include "kit/peers/peer.hpp"

namespace octavo::peers {
namespace {

enum class Way { right, wrong, without_bias };

double element(Type type, const void* data, std::int64_t i) {
  if (type == Type::int8) return static_cast<const std::int8_t*>(data)[i];
  const std::uint32_t bits = static_cast<const std::uint16_t*>(data)[i];
  return static_cast<double>(std::bit_cast<float>(bits << 16));
}

class Naive final : public Instance {
 public:
  Naive(const Product& p, Way way) : p_(p), way_(way) {}
  void run() override {
    for (std::int64_t i = 0; i < p_.m; ++i) {
      for (std::int64_t j = 0; j < p_.n; ++j) static_cast<float*>(p_.out)[i * p_.n + j] = at(i, j);
    }
  }
  double weight_bytes() const override { return static_cast<double>(p_.n * p_.k); }
  const char* note() const override {
    if (way_ == Way::without_bias) return "bias left out";
    return p_.plain ? "loops over unpacked weights" : "loops";
  }
  bool complete() const override { return way_ != Way::without_bias; }

 private:
  float at(std::int64_t i, std::int64_t j) const {
    double sum = way_ == Way::wrong ? 1 << 20 : 0;
    for (std::int64_t k = 0; k < p_.k; ++k) {
      sum += element(p_.a_type, p_.a, i * p_.k + k) * element(p_.b_type, p_.b, j * p_.k + k);
    }
    auto value = static_cast<float>(sum);
    if (p_.scale_a != nullptr) value *= p_.scale_a[i];
    if (p_.scale_b != nullptr) value *= p_.scale_b[j];
    return p_.bias != nullptr && complete() ? value + p_.bias[j] : value;
  }
  Product p_;
  Way way_;
};

template <Way way>
Instance* create(const Product& p) {
  const bool has = p.a_type == Type::int8 || (way == Way::right && p.a_type == Type::bfloat16);
  if (!has || p.b_type != p.a_type || p.out_type != Type::float32) return nullptr;
  return new Naive(p, way);
}
Instance* refuse(const Product&) { return nullptr; }
const char* failure() { return "it does not feel like it"; }

}  // namespace
}  // namespace octavo::peers

OCTAVO_PEER_MODULE const octavo::peers::Module* octavo_peers() {
  using namespace octavo::peers;
  static const Peer peers[]{{"right", "1.2.3 (loops)", false, create<Way::right>, failure},
                            {"wrong", "1", false, create<Way::wrong>, failure},
                            {"partial", "1", false, create<Way::without_bias>, failure},
                            {"unwilling", "1", false, refuse, failure},
                            {"unwilling float32", "1", true, refuse, failure}};
  static const Module module{kInterface, 5, peers};
  return &module;
}
