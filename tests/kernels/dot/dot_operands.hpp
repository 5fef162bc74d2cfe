// SPDX-License-Identifier: Apache-2.0
// The tiles of dot products that tests run, and their operands between guard pages.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "backends/cpu/kernels/tile_contract.hpp"
#include "kernels/rows/block.hpp"
#include "kit/operands/element.hpp"
#include "kit/operands/random.hpp"
#include "kernels/machines/machines.hpp"
#include "octavo/tensor.hpp"
#include "support/guard.hpp"

namespace octavo::test {

inline constexpr std::int64_t kCols = cpu::kPanelVectors * cpu::kVectorCols;

/// What a tile fetches: any address does, and no sum depends on it.
struct Ahead {
  const char* at = nullptr;
  bool first_level = false;
};
class Aheads {
 public:
  Ahead next() { return {kPlaces[++turn_ % std::size(kPlaces)], turn_ % 7 < 3}; }

 private:
  static constexpr std::uintptr_t kSomewhere = 4096;
  const Block<char> valid_{64};
  const char* const kPlaces[3] = {valid_.data(), valid_.data() + 64,
                                  reinterpret_cast<const char*>(kSomewhere)};
  std::size_t turn_ = 0;
};

/// A table for floats, and the types that it multiplies.
struct FloatTable {
  const cpu::DotKernels* kernels;
  DType a, b;

  std::string to_string() const { return kernels->how + (", B " + std::string(name(b))); }
};

inline std::vector<FloatTable> float_tables() {
  std::vector<FloatTable> tables;
  for (const cpu::Float8Kernels* kernels : kernels_at(&cpu::DotMachine::float8)) {
    for (const DType b : kFloat8Types) tables.push_back({&kernels->dot, kernels->rows, b});
  }
  for (const cpu::DotKernels* kernels : kernels_at(&cpu::DotMachine::e4m3)) {
    tables.push_back({kernels, DType::float8_e4m3fn, DType::float8_e4m3fn});
  }
  for (const cpu::DotKernels* kernels : pair_kernels()) {
    tables.push_back({kernels, DType::bfloat16, DType::bfloat16});
  }
  for (const cpu::DotKernels* kernels : kernels_at(&cpu::DotMachine::floats)) {
    tables.push_back({kernels, DType::float32, DType::float32});
  }
  const auto add = [&](const cpu::WideningKernels& kernels, DType a) {
    const auto add_one = [&](const cpu::WideningKernels::Weight& weight, DType b) {
      if (weight.most_rows > 0) tables.push_back({&weight.dot, a, b});
    };
    add_one(kernels.int8, DType::int8);
    add_one(kernels.bfloat16, DType::bfloat16);
    add_one(kernels.float16, DType::float16);
  };
  for (const auto* kernels : kernels_at(&cpu::DotMachine::beside_floats)) {
    add(*kernels, DType::float32);
  }
  for (const auto* kernels : kernels_at(&cpu::DotMachine::beside_pairs)) {
    add(*kernels, DType::bfloat16);
  }
  return tables;
}

/// Every table of tiles, those of fp8 once for each type.
inline std::vector<const cpu::DotKernels*> all_tables() {
  std::vector<const cpu::DotKernels*> tables;
  for (const cpu::IntegerKernels* kernels : integer_kernels()) tables.push_back(&kernels->dot);
  for (const FloatTable& table : float_tables()) tables.push_back(table.kernels);
  return tables;
}

/// The most rows of a tile of so many vectors; 0: there is none.
inline std::int64_t max_rows(const cpu::DotKernels& kernels, std::int64_t vectors) {
  return kernels.max_rows[static_cast<std::size_t>(vectors - 1)];
}

/// The promise of tile_contract.hpp, of tiles that are not too high. AMX has them all.
inline bool is_built(const cpu::DotKernels& kernels, std::int64_t rows, std::int64_t vectors,
                     int lines) {
  if (vectors % kernels.form.grain != 0) return false;
  if (lines == 0) return true;
  const std::int64_t in_step = vectors * kernels.form.vector_bytes / 64;
  if (vectors == cpu::kPanelVectors && lines == in_step) return true;
  const bool high =
      kernels.register_rows > 1 || rows >= cpu::least_sharing(max_rows(kernels, vectors));
  if (vectors == 1) return high && lines == 1 && kernels.width == 1;
  return high && vectors % 2 == 0 && (lines == 1 || lines == in_step);
}

/// Every tile of a table.
template <class Visit>
void for_each_tile(const cpu::DotKernels& kernels, const Visit& visit) {
  for (std::int64_t vectors = 1; vectors <= cpu::kPanelVectors; ++vectors) {
    for (std::int64_t rows = 1; rows <= max_rows(kernels, vectors); ++rows) {
      for (const int lines : cpu::kAheadLines) {
        if (is_built(kernels, rows, vectors, lines)) visit(rows, vectors, lines);
      }
    }
  }
}

inline std::string tile_name(const cpu::DotKernels& kernels, std::int64_t rows,
                             std::int64_t vectors, int lines) {
  return std::string(kernels.how) + ": " + std::to_string(rows) + " rows, " +
         std::to_string(vectors) + " vectors, " + std::to_string(lines) + " lines";
}

/// Bytes of an element of A as integer kernels take it.
inline std::int64_t row_element(const cpu::IntegerKernels& kernels) {
  return kernels.rows == cpu::ARows::words ? 2 : 1;
}

/// How the rows of A lie.
enum class Lie : std::uint8_t { ends_at_guards, begins_at_guards, backwards, odd, tight, same };

/// Rows of `depth` bytes, random at first. Between guard pages each, or in one block before a guard
/// page.
class Rows {
 public:
  static constexpr std::int64_t kMost = 48;

  Rows(Lie lie, std::int64_t depth, std::int64_t rows = kMost) {
    const auto page = static_cast<std::int64_t>(::sysconf(_SC_PAGESIZE));
    if (lie == Lie::odd || lie == Lie::tight || lie == Lie::same) {
      lda_ = lie == Lie::same ? 0 : depth + (lie == Lie::odd ? 3 - depth % 2 : 0);
      const std::int64_t bytes = (rows - 1) * lda_ + depth;
      memory_ = guarded(GuardedSide::right)(static_cast<std::size_t>(bytes));
      first_ = static_cast<std::uint8_t*>(memory_.get());
    } else {
      const std::int64_t inner = (depth + page - 1) / page * page;
      lda_ = inner + page;
      const auto total = static_cast<std::size_t>(rows * lda_ + page);
      void* map = ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (map == MAP_FAILED) throw std::bad_alloc();
      memory_ = std::shared_ptr<void>(map, [total](void* p) { ::munmap(p, total); });
      auto* begin = static_cast<std::uint8_t*>(map) + page;
      for (std::int64_t r = 0; r < rows; ++r) {
        if (inner == 0) continue;
        if (::mprotect(begin + r * lda_, static_cast<std::size_t>(inner), PROT_READ | PROT_WRITE) !=
            0) {
          throw std::bad_alloc();
        }
      }
      first_ = lie == Lie::begins_at_guards ? begin : begin + inner - depth;
      if (lie == Lie::backwards) {
        first_ += (rows - 1) * lda_;
        lda_ = -lda_;
      }
    }
    const kit::Random random(static_cast<std::uint64_t>(depth) + 1);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t k = 0; k < depth; ++k) row(r)[k] = byte_of(random, r * depth + k);
    }
  }
  std::uint8_t* row(std::int64_t r) const { return first_ + r * lda_; }
  const std::uint8_t* first() const { return first_; }
  std::int64_t lda() const { return lda_; }
  std::uint8_t at(std::int64_t r, std::int64_t k) const { return row(r)[k]; }

 private:
  std::shared_ptr<void> memory_;
  std::uint8_t* first_ = nullptr;
  std::int64_t lda_ = 0;
};

/// A panel of B as the words of tile_contract.hpp say, all zeros at first, right before a guard
/// page.
class Panel {
 public:
  Panel(const cpu::PanelForm& form, std::int64_t depth, std::int64_t vectors = cpu::kPanelVectors)
      : form_(form),
        vectors_(vectors),
        bytes_((depth + form.step - 1) / form.step * vectors * form.vector_bytes) {
    std::fill_n(bytes_.data(), bytes_.size(), char{});
  }
  /// Bytes from one step to the next.
  std::int64_t ldb() const { return vectors_ * form_.vector_bytes; }
  /// The first byte of element (k, j).
  char* at(std::int64_t k, std::int64_t j) const {
    const std::int64_t element = form_.vector_bytes / (cpu::kVectorCols * form_.step);
    char* step = bytes_.data() + k / form_.step * ldb();
    const std::int64_t inside = k % form_.step * element;
    if (form_.grain == 1) return step + j * form_.step * element + inside;
    // 32 columns in 64 bytes: 16 bytes for columns 4 q .. 4 q + 3 of the first vector, then of the
    // second, a pair each.
    const std::int64_t vector = j / 16 % 2;
    return step + j / 32 * 64 + j % 16 / 4 * 16 + vector * 8 + j % 4 * 2 + inside;
  }
  /// An int8 code at (k, j), as a word where elements are words.
  void put_code(std::int64_t k, std::int64_t j, std::int8_t code) const {
    const std::int16_t word = code;
    if (form_.step >= cpu::kInt8Form.step) {
      *at(k, j) = static_cast<char>(code);
    } else {
      std::memcpy(at(k, j), &word, sizeof(word));
    }
  }
  const char* vector(std::int64_t v) const { return bytes_.data() + v * form_.vector_bytes; }
  const Block<char>& bytes() const { return bytes_; }

 private:
  cpu::PanelForm form_;
  std::int64_t vectors_;
  Block<char> bytes_;
};

/// The value of a code of 8 bits.
inline float value_of(DType dtype, std::uint8_t code) {
  return static_cast<float>(kit::load(dtype, &code, 0));
}

/// One of 4096 Gaussian numbers: logarithms and cosines of each would take longer than products.
inline double gaussian(const kit::Random& random, std::int64_t index) {
  static const std::vector<double> numbers = [] {
    std::vector<double> made(4096);
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = kit::Random(1).gauss(i);
    return made;
  }();
  return numbers[random.bits(static_cast<std::uint64_t>(index)) % numbers.size()];
}

/// Gaussian numbers that a type holds exactly, around 1 in magnitude, of int8 around 64.
inline void put_gaussian(const kit::Random& random, std::int64_t index, DType dtype, void* place) {
  const double number = gaussian(random, index);
  kit::store(dtype, place, 0, dtype == DType::int8 ? 64.0 * number : number);
}

/// Rows of A and a panel of B of one table, with their values.
class FloatOperands {
 public:
  FloatOperands(const FloatTable& table, Lie lie, std::int64_t depth,
                std::int64_t vectors = cpu::kPanelVectors)
      : depth_(depth),
        size_(element_bytes(table.a)),
        a_(lie, depth * size_),
        b_(table.kernels->form, depth, vectors),
        a_values_(static_cast<std::size_t>(Rows::kMost * depth)),
        b_values_(static_cast<std::size_t>(depth * kCols)) {
    const kit::Random random(static_cast<std::uint64_t>(depth) + 5);
    for (std::int64_t i = 0; i < Rows::kMost * depth; ++i) {
      put_gaussian(random, i, table.a, a_.row(i / depth) + i % depth * size_);
    }
    for (std::int64_t i = 0; i < Rows::kMost * depth; ++i) {  // rows may be one and the same
      const void* place = a_.row(i / depth) + i % depth * size_;
      a_values_[static_cast<std::size_t>(i)] = kit::load(table.a, place, 0);
    }
    const kit::Random others(static_cast<std::uint64_t>(depth) + 6);
    for (std::int64_t i = 0; i < depth * vectors * cpu::kVectorCols; ++i) {
      const std::int64_t k = i % depth;
      const std::int64_t j = i / depth;
      put_gaussian(others, i, table.b, b_.at(k, j));
      b_values_[static_cast<std::size_t>(k * kCols + j)] = kit::load(table.b, b_.at(k, j), 0);
    }
  }
  std::int64_t depth() const { return depth_; }
  std::int64_t depth_bytes() const { return depth_ * size_; }
  std::int64_t size() const { return size_; }
  const Rows& a() const { return a_; }
  const Panel& b() const { return b_; }
  double a_value(std::int64_t r, std::int64_t k) const {
    return a_values_[static_cast<std::size_t>(r * depth_ + k)];
  }
  double b_value(std::int64_t k, std::int64_t j) const {
    return b_values_[static_cast<std::size_t>(k * kCols + j)];
  }

 private:
  std::int64_t depth_, size_;
  Rows a_;
  Panel b_;
  std::vector<double> a_values_, b_values_;
};

/// The bits of floats, so that NaN and -0 are what they are.
inline bool same_floats(const float* got, const float* want, std::int64_t count) {
  return std::memcmp(got, want, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

}  // namespace octavo::test
