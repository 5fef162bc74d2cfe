// SPDX-License-Identifier: Apache-2.0
// Layouts and contents.
#include "kit/operands/operands.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "kit/operands/element.hpp"
#include "kit/operands/random.hpp"
#include "kit/workers.hpp"
#include "octavo/quantize.hpp"

namespace octavo::kit {
namespace {

constexpr int kPoison = 0xA5;

using Strides = std::array<std::int64_t, kMaxRank>;

// Elements that a view reaches over, and where its first element lies among them.
struct Extent {
  std::int64_t elements = 0;
  std::int64_t first = 0;
};

Extent extent_of(const TensorView& v) {
  Extent e;
  if (v.numel() == 0) return e;
  std::int64_t low = 0;
  std::int64_t high = 0;
  for (std::size_t d = 0; d < static_cast<std::size_t>(v.rank); ++d) {
    const std::int64_t reach = v.strides[d] * (v.shape[d] - 1);
    (reach < 0 ? low : high) += reach;
  }
  return {high - low + 1, -low};
}

double special(DType dtype, std::uint64_t pick) {
  const double largest = static_cast<double>(info(dtype).max);
  if (is_integer8(dtype)) {
    const std::array<double, 4> ends{largest, dtype == DType::int8 ? -128.0 : 0.0, 0.0, 1.0};
    return ends[pick % ends.size()];
  }
  const std::array<double, 10> values{std::numeric_limits<double>::quiet_NaN(),
                                      std::numeric_limits<double>::infinity(),
                                      -std::numeric_limits<double>::infinity(),
                                      largest,
                                      -largest,
                                      0x1p-149,
                                      -0x1p-16,
                                      -0.0,
                                      0.0,
                                      1.0};
  return values[pick % values.size()];
}

// A Gaussian that fills the type's range as a quantiser would.
double operand_value(DType dtype, const Random& random, std::uint64_t i) {
  if (dtype == DType::uint8) return 128.0 + 32.0 * random.gauss(i);
  if (is_integer8(dtype)) return 32.0 * random.gauss(i);
  if (is_float8(dtype)) return static_cast<double>(qmax(dtype)) / 4.0 * random.gauss(i);
  return random.gauss(i);
}

double value_of(Role role, DType dtype, Content content, const Random& random, std::uint64_t i) {
  const bool operand = role == Role::a || role == Role::b;
  if (role == Role::azp) return std::floor(random.uniform(i) * 41.0) - 20.0;
  if (content == Content::exact) {
    if (role == Role::scale_a || role == Role::scale_b || role == Role::scale_result) {
      return std::exp2(std::floor(random.uniform(i) * 4.0) - 2.0);
    }
    const double small = std::floor(random.uniform(i) * 9.0) - 4.0;
    return dtype == DType::uint8 ? small + 4.0 : small;
  }
  if (content == Content::adversarial && random.bits(i) % 7 == 0 && role != Role::azp) {
    return special(dtype, random.bits(i + 0x100000000U));
  }
  const bool scale = role == Role::scale_a || role == Role::scale_b || role == Role::scale_result;
  if (content == Content::uniform && !scale) {
    const double u = 2.0 * random.uniform(i) - 1.0;
    if (operand && is_integer8(dtype)) {
      return std::floor(random.uniform(i) * 256.0) - (dtype == DType::int8 ? 128.0 : 0.0);
    }
    return operand && is_float8(dtype) ? u * static_cast<double>(info(dtype).max) : u;
  }
  switch (role) {
    case Role::a:
    case Role::b:
      return operand_value(dtype, random, i);
    case Role::scale_a:
    case Role::scale_b:
      return (1.0 + random.uniform(i)) * std::exp2(std::floor(random.uniform(i + 7) * 4.0) - 8.0);
    case Role::scale_result:
      return 0.5 + random.uniform(i);
    default:
      return random.gauss(i);
  }
}

template <class Visit>
void for_each_offset(const TensorView& v, std::int64_t begin, std::int64_t end,
                     const Visit& visit) {
  for (std::int64_t i = begin; i < end; ++i) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
    for (std::size_t d = static_cast<std::size_t>(v.rank); d-- > 0;) {
      offset += rest % v.shape[d] * v.strides[d];
      rest /= v.shape[d];
    }
    visit(i, offset);
  }
}

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Large tensors lie in 2 MB pages where the system gives them.
std::shared_ptr<void> huge(std::size_t bytes) {
  constexpr std::align_val_t kAlign{kHugePage};
  const std::size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* memory = ::operator new(whole, kAlign);
  ::madvise(memory, whole, MADV_HUGEPAGE);
  return {memory, [](void* p) { ::operator delete(p, kAlign); }};
}

}  // namespace

Allocator heap() {
  return [](std::size_t bytes) {
    constexpr std::align_val_t kAlign{64};
    if (bytes >= 2 * kHugePage) return huge(bytes);
    return std::shared_ptr<void>(::operator new(std::max<std::size_t>(bytes, 1), kAlign),
                                 [](void* p) { ::operator delete(p, kAlign); });
  };
}

Operands::Operands(ProblemLine line, Content content, Allocator allocator)
    : line_(std::move(line)), content_(content), allocator_(std::move(allocator)) {}

TensorView Operands::make(Role role, std::int64_t entry, DType dtype,
                          std::span<const std::int64_t> shape) {
  TensorView view(nullptr, dtype, shape);
  apply_layout(view, role, line_.layout);
  const Extent extent = extent_of(view);
  const auto bytes = static_cast<std::size_t>(extent.elements * element_bytes(dtype));
  std::shared_ptr<void> memory = allocator_(bytes);
  view.data = static_cast<char*>(memory.get()) + extent.first * element_bytes(dtype);
  std::memset(memory.get(), kPoison, bytes);
  blocks_.push_back({memory, bytes, view, role});
  if (role == Role::out) return view;
  if (role == Role::offs) {
    double end = 0.0;
    for_each_offset(view, 0, view.numel(), [&](std::int64_t i, std::int64_t offset) {
      end += static_cast<double>(line_.groups[static_cast<std::size_t>(i)]);
      store(view, offset, end);
    });
    return view;
  }
  const Random random(line_.seed * 1000003U + static_cast<std::uint64_t>(role) * 8191U +
                      static_cast<std::uint64_t>(entry));
  const auto generate = [&](std::int64_t begin, std::int64_t end) {
    for_each_offset(view, begin, end, [&](std::int64_t i, std::int64_t offset) {
      store(view, offset, value_of(role, dtype, content_, random, static_cast<std::uint64_t>(i)));
    });
  };
  // A broadcast stores several values in one place: the last must win, whoever counts.
  constexpr std::int64_t kGrain = std::int64_t{1} << 20;
  for_ranges(view.numel(), extent.elements < view.numel() ? view.numel() + 1 : kGrain, generate);
  return view;
}

TensorView OtherWeights::make(Role role, std::int64_t entry, DType dtype,
                              std::span<const std::int64_t> shape) {
  const Operands::Block& block = original_.blocks()[next_++];
  // One activation serves all sets of weights, as one does in a model.
  if (!copy_ || (role != Role::b && role != Role::scale_b)) return block.view;
  TensorView view = block.view;
  (void)entry, (void)dtype, (void)shape;
  std::shared_ptr<void> memory = allocator_(block.bytes);
  std::memcpy(memory.get(), block.memory.get(), block.bytes);
  view.data = static_cast<char*>(memory.get()) + (static_cast<const char*>(block.view.data) -
                                                  static_cast<const char*>(block.memory.get()));
  memory_.push_back(std::move(memory));
  return view;
}

void poison_outputs(const Operands& operands) {
  for (const Operands::Block& block : operands.blocks()) {
    if (block.role == Role::out) std::memset(block.memory.get(), kPoison, block.bytes);
  }
}

}  // namespace octavo::kit
