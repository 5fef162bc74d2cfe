// SPDX-License-Identifier: Apache-2.0
// What the bench and a peer say to each other. A peer is another library's matrix product, built
// into a module of its own (a shared object with one symbol), so that nothing but that module
// depends on the library, and two versions of one library can be measured side by side.
#pragma once

#include <cstdint>

namespace octavo::peers {

/// Counts up when anything below changes; the bench refuses a module that says another number.
inline constexpr int kInterface = 2;
inline constexpr const char* kSymbol = "octavo_peers";

enum class Type : std::uint8_t { other, int8, uint8, bfloat16, float16, float32, e4m3fn, e5m2 };

/// One product out = (A * scale_a) @ (B * scale_b)' + bias. Everything but `b` stays where it is
/// for the life of an instance.
struct Product {
  Type a_type = Type::other, b_type = Type::other, out_type = Type::other;
  std::int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;         ///< [M, K], K contiguous
  const void* b = nullptr;         ///< [N, K], K contiguous; only `create` reads it
  const float* scale_a = nullptr;  ///< M values, or null
  const float* scale_b = nullptr;  ///< N values, or null
  const float* bias = nullptr;     ///< N values, or null
  void* out = nullptr;             ///< [M, N], N contiguous
  int threads = 1;                 ///< to run on
  bool cold = false;               ///< weights come from memory, not from a cache
  bool plain = false;              ///< no layout of weights outlives a call
};

/// A product prepared in the peer's best setting: weights in its own memory and, unless they have
/// to stay plain, in its own layout.
class Instance {
 public:
  Instance() = default;
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  virtual ~Instance() = default;
  virtual void run() = 0;
  virtual double weight_bytes() const = 0;
  /// What runs, and anything that a reader of the figure should know; never null.
  virtual const char* note() const = 0;
  /// False where something of the product is left out in the peer's favour; `note` says what.
  virtual bool complete() const = 0;
};

struct Peer {
  const char* name;     ///< "oneDNN"
  const char* version;  ///< and build
  bool wants_float32;   ///< operands as float32 with the scales multiplied in
  /// Null where it cannot; then `failure` is one sentence. Called again for each set of weights.
  Instance* (*create)(const Product& product);
  const char* (*failure)();
};

struct Module {
  int interface;
  int count;
  const Peer* peers;
};

}  // namespace octavo::peers

/// The one symbol of a module.
#define OCTAVO_PEER_MODULE extern "C" __attribute__((visibility("default")))
