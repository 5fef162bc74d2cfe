// SPDX-License-Identifier: Apache-2.0
// Collecting a problem's fields into words.
//
// Every field enters, by for_each_field, as far as a plan may depend on it:
//
//   integers, enumerations, flags   as they are
//   floating numbers                whether they are zero, positive or neither
//   pointers                        whether they are null; packed weights and quantisers by what
//                                   they say
//   views, scales, factors          nothing more where they are undefined or absent
#include "ops/signature.hpp"

#include <algorithm>
#include <bit>
#include <concepts>
#include <type_traits>

#include "backends/backend.hpp"
#include "core/fields.hpp"

namespace octavo {
namespace {

class Words {
 public:
  explicit Words(Signature& s) noexcept : s_(s) {}

  /// What is narrow shares a word with its neighbours.
  void add_narrow(std::uint8_t value) noexcept {
    narrow_ = narrow_ << 8 | value;
    if (++narrow_count_ == 8) flush();
  }
  void flush() noexcept {
    if (narrow_count_ > 0) add(static_cast<std::int64_t>(narrow_));
    narrow_ = 0;
    narrow_count_ = 0;
  }

  template <class T>
  requires(std::integral<T> || std::is_enum_v<T>) void add(T value) noexcept {
    if constexpr (sizeof(T) == 1) {
      add_narrow(static_cast<std::uint8_t>(value));
    } else {
      const auto word = static_cast<std::int64_t>(value);
      if (s_.count < s_.words.size()) s_.words[s_.count] = word;
      ++s_.count;
      s_.hash = std::rotl(s_.hash ^ static_cast<std::uint64_t>(word), 27) * 0x9E3779B97F4A7C15U;
    }
  }
  void add(float number) noexcept { add_narrow(number == 0.0F ? 0 : number > 0.0F ? 1 : 2); }
  template <class T>
  void add(T* pointer) noexcept {
    add_narrow(pointer != nullptr ? 1 : 0);
  }
  void add(const Tensor& tensor) noexcept { add(tensor.view()); }
  void add(const TensorView& v) noexcept {
    if (!v.defined()) return add(v.dtype);
    for_each_field(v, [&](const char*, const auto& field) {
      if constexpr (std::is_same_v<decltype(field), const decltype(v.shape)&>) {
        for (int d = 0; d < v.rank; ++d) add(field[static_cast<std::size_t>(d)]);
      } else {
        add(field);
      }
    });
  }
  void add(const ScaleView& scale) noexcept {
    if (scale.kind == ScaleView::Kind::none) return add(scale.kind);
    add_fields(scale);
  }
  void add(const Factor& factor) noexcept {
    if (factor.kind == Factor::Kind::absent) return add(factor.kind);
    add_fields(factor);
  }
  void add(const ActivationQuant* rule) noexcept {
    add_narrow(rule != nullptr ? 1 : 0);
    if (rule != nullptr) add_fields(*rule);
  }
  void add(const PackedWeight* packed) noexcept {
    add_narrow(packed != nullptr ? 1 : 0);
    if (packed == nullptr) return;
    const PackedWeightData& w = *packed->content();
    add(static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(w.layout)));
    add(w.dtype);
    add(w.k);
    add(w.n);
  }
  template <class T, std::size_t n>
  void add(const std::array<T, n>& values) noexcept {
    for (const T& value : values) add(value);
  }
  template <HasFields T>
  void add(const T& value) noexcept {
    add_fields(value);
  }

 private:
  template <class T>
  void add_fields(const T& value) noexcept {
    for_each_field(value, [this](const char*, const auto& field) { this->add(field); });
  }

  Signature& s_;
  std::uint64_t narrow_ = 0;
  int narrow_count_ = 0;
};

}  // namespace

bool operator==(const Signature& a, const Signature& b) noexcept {
  return a.hash == b.hash && a.count == b.count &&
         std::equal(a.words.begin(), a.words.begin() + static_cast<std::ptrdiff_t>(a.count),
                    b.words.begin());
}

std::optional<Signature> signature(const MatmulProblem& p, int threads,
                                   std::int64_t forced) noexcept {
  if (p.groups.split != Split::none) return std::nullopt;
  Signature s;
  Words words(s);
  words.add(threads);
  words.add(forced);
  words.add(p.single);
  words.add(p.options);
  words.flush();
  if (s.count > s.words.size()) return std::nullopt;
  return s;
}

}  // namespace octavo
