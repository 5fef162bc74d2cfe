// SPDX-License-Identifier: Apache-2.0
// Problems to signatures, and back.
//
// One walk over all fields, by for_each_field, serves both ways:
//
//   integers wider than a byte      a word
//   flags, enumerations             a byte
//   floating numbers                a byte: zero, positive or neither
//   addresses of data               nothing; null in outlines, and so in parts of their views
//   other pointers                  a byte: null or not; behind it the fields of quantisers, and
//                                   of packed weights layout, type and extents
//   views, scales, factors          a byte and nothing more where they are undefined or absent
#include "ops/signature.hpp"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <span>
#include <type_traits>

#include "core/problem/fields.hpp"

namespace octavo {
namespace {

enum class Sign : std::uint8_t { zero, positive, other };

class Writer {
 public:
  static constexpr bool kReads = false;
  explicit Writer(Signature& s) noexcept : s_(s) {}

  void word(std::int64_t value) noexcept {
    if (s_.word_count < s_.words.size()) s_.words[s_.word_count] = value;
    ++s_.word_count;
  }
  void byte(std::uint8_t value) noexcept {
    if (s_.byte_count < s_.bytes.size()) s_.bytes[s_.byte_count] = value;
    ++s_.byte_count;
  }
  // Whether everything had room; then it is hashed.
  bool end() noexcept {
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    static_assert(sizeof s_.bytes % kWord == 0);
    if (s_.word_count > s_.words.size() || s_.byte_count > s_.bytes.size()) return false;
    const std::size_t chunks = (s_.byte_count + kWord - 1) / kWord;
    std::fill(s_.bytes.begin() + s_.byte_count, s_.bytes.begin() + chunks * kWord, 0);
    std::array<std::uint64_t, 4> lanes{};  // side by side: a product waits for the one before it
    for (std::size_t i = 0; i < s_.word_count; ++i) {
      mix(lanes[i % lanes.size()], static_cast<std::uint64_t>(s_.words[i]));
    }
    for (std::size_t i = 0; i < chunks; ++i) {
      std::uint64_t chunk = 0;
      std::memcpy(&chunk, s_.bytes.data() + i * kWord, kWord);
      mix(lanes[i % lanes.size()], chunk);
    }
    s_.hash = 0;
    for (const std::uint64_t lane : lanes) mix(s_.hash, lane);
    return true;
  }

 private:
  static void mix(std::uint64_t& hash, std::uint64_t word) noexcept {
    hash = std::rotl(hash ^ word, 27) * 0x9E3779B97F4A7C15U;
  }

  Signature& s_;
};

class Reader {
 public:
  static constexpr bool kReads = true;
  explicit Reader(const Signature& s) noexcept : s_(s) {}

  void word(std::int64_t& value) noexcept { value = s_.words[word_++]; }
  void byte(std::uint8_t& value) noexcept { value = s_.bytes[byte_++]; }

 private:
  const Signature& s_;
  std::size_t word_ = 0, byte_ = 0;
};

// What the pointers of an outline point at: the next ones.
struct Pointees {
  ActivationQuant* rule = nullptr;
  PackedWeight* packed = nullptr;
};

// An address that faults.
void* const kNowhere = reinterpret_cast<void*>(std::uintptr_t{64});  // NOLINT: never read

// Fields are read by a Writer, and assigned by a Reader.
template <class Archive>
class Walk {
 public:
  explicit Walk(Archive& archive, const Pointees& pointees = {}) noexcept
      : archive_(archive), pointees_(pointees) {}

  template <class T>
  requires(std::integral<T> || std::is_enum_v<T>) void field(T& value) noexcept {
    if constexpr (sizeof(T) == 1) {
      auto byte = static_cast<std::uint8_t>(value);
      archive_.byte(byte);
      if constexpr (Archive::kReads) value = static_cast<T>(byte);
    } else {
      auto word = static_cast<std::int64_t>(value);
      archive_.word(word);
      if constexpr (Archive::kReads) value = static_cast<T>(word);
    }
  }
  void field(float& number) noexcept {
    Sign sign = number == 0.0F ? Sign::zero : number > 0.0F ? Sign::positive : Sign::other;
    field(sign);
    if constexpr (Archive::kReads) {
      number = sign == Sign::zero ? 0.0F : sign == Sign::positive ? 1.0F : -1.0F;
    }
  }
  void field(void*& data) noexcept {
    if constexpr (Archive::kReads) data = nullptr;
  }
  void field(std::int64_t*& count) noexcept {
    (void)present(count, static_cast<std::int64_t*>(kNowhere));
  }
  void field(const ActivationQuant*& rule) noexcept {
    if (!present(rule, pointees_.rule)) return;
    if constexpr (Archive::kReads) ++pointees_.rule;
    fields(const_cast<ActivationQuant&>(*rule));  // NOLINT
  }
  void field(const PackedWeight*& packed) noexcept {
    if (!present(packed, pointees_.packed)) return;
    if constexpr (Archive::kReads) ++pointees_.packed;
    auto& content = const_cast<PackedWeightData&>(*packed->content());  // NOLINT
    auto layout = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(content.layout));
    field(layout);
    if constexpr (Archive::kReads) {
      content.layout = reinterpret_cast<const WeightLayout*>(layout);  // NOLINT
    }
    field(content.dtype);
    field(content.k);
    field(content.n);
  }
  void field(Tensor& tensor) noexcept {
    TensorView view = tensor.view();
    field(view);
    if constexpr (Archive::kReads) tensor = Tensor::adopt(nullptr, view);
  }
  void field(TensorView& v) noexcept {
    field(v.dtype);
    if (!v.defined()) return;
    for_each_field(v, [&](const char*, auto& part) {
      if constexpr (std::is_same_v<decltype(part), decltype(v.shape)&>) {
        for (int d = 0; d < v.rank; ++d) field(part[static_cast<std::size_t>(d)]);
      } else {
        field(part);
      }
    });
  }
  void field(Elements& elements) noexcept {
    field(elements.dtype);
    if (elements.defined()) fields(elements);
  }
  void field(MatrixView& matrix) noexcept {
    field(matrix.dtype);
    if (matrix.defined()) fields(matrix);
  }
  void field(const std::int64_t*& list) noexcept {
    if constexpr (Archive::kReads) list = nullptr;
  }
  void field(ScaleView& scale) noexcept {
    field(scale.kind);
    if (scale.kind != ScaleKind::none) fields(scale);
  }
  void field(Factor& factor) noexcept {
    field(factor.kind);
    if (factor.kind != Factor::Kind::absent) fields(factor);
  }
  void field(std::span<const Member>&) noexcept {}  // lists have no signature
  template <class T, std::size_t n>
  void field(std::array<T, n>& values) noexcept {
    for (T& value : values) field(value);
  }
  template <HasFields T>
  void field(T& value) noexcept {
    fields(value);
  }

 private:
  template <class T>
  void fields(T& value) noexcept {
    for_each_field(value, [this](const char*, auto& part) { this->field(part); });
  }
  // Whether a pointer is set; one that is read is set to `pointee`.
  template <class T>
  bool present(T*& pointer, std::remove_const_t<T>* pointee) noexcept {
    bool there = pointer != nullptr;
    field(there);
    if constexpr (Archive::kReads) pointer = there ? pointee : nullptr;
    return there;
  }

  Archive& archive_;
  Pointees pointees_;
};

template <class Archive>
void walk(Walk<Archive>& walk, MatmulProblem& p) noexcept {
  walk.field(p.single);
  walk.field(p.groups);
  walk.field(p.options);
}

}  // namespace

bool operator==(const Signature& a, const Signature& b) noexcept {
  return a.hash == b.hash && a.word_count == b.word_count && a.byte_count == b.byte_count &&
         std::equal(a.words.data(), a.words.data() + a.word_count, b.words.data()) &&
         std::equal(a.bytes.data(), a.bytes.data() + a.byte_count, b.bytes.data());
}

std::optional<Signature> signature(const MatmulProblem& p, int threads,
                                   std::int64_t forced) noexcept {
  if (p.groups.split == Split::list) return std::nullopt;
  std::optional<Signature> s(std::in_place);
  Writer writer(*s);
  Walk<Writer> fields(writer);
  walk(fields, const_cast<MatmulProblem&>(p));  // NOLINT: a writer's walk assigns nothing
  fields.field(threads);
  fields.field(forced);
  if (!writer.end()) s.reset();
  return s;
}

Outline::Outline(const std::optional<Signature>& signature, const MatmulProblem& problem) noexcept {
  if (!signature) {
    shown_ = &problem;
    return;
  }
  for (std::size_t i = 0; i < packed_.size(); ++i) {
    packed_[i] = PackedWeight({std::shared_ptr<void>(), &contents_[i]});
  }
  Reader reader(*signature);
  Walk<Reader> fields(reader, {rules_.data(), packed_.data()});
  walk(fields, problem_);
  problem_.operation = problem.operation;
}

}  // namespace octavo
