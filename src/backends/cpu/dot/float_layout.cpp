// SPDX-License-Identifier: Apache-2.0
// Packing, unpacking and widening panels of floats.
#include "backends/cpu/dot/float_layout.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "backends/cpu/dot/machines.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

// Bytes of one element, whose step is [elements along K] for each column but in fp8.
struct ElementForm {
  const PanelForm& form;
  std::int64_t element;  // bytes

  ElementForm(DType dtype) noexcept : form(*float_form(dtype)), element(element_bytes(dtype)) {}

  // Of the elements of a step in column j of a panel, from the step's first byte.
  std::int64_t column(std::int64_t j) const noexcept {
    if (form.grain == 1) return j * form.step * element;
    const std::int64_t quad = j % kVectorCols / 4;
    return j / (2 * kVectorCols) * 64 + quad * 16 + j / kVectorCols % 2 * 8 + j % 4 * 2;
  }
};

std::size_t bytes(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  const Panels panels(nullptr, *float_form(dtype), k, n);
  return static_cast<std::size_t>(panels.bytes() + (is_float8(dtype) ? panels.count() : 0));
}

// What packs a type into its own form; null: this CPU has no such kernels. Elements of 16 bits are
// moved as they are, whatever they mean.
const DotKernels* kernels_of(DType dtype) noexcept {
  const DotMachine& machine = dot_machine();
  if (is_float8(dtype)) return machine.float8 != nullptr ? &machine.float8->dot : nullptr;
  return element_bytes(dtype) == 2 ? packer_of_bfloat16(machine) : machine.floats;
}

// Calls visit(packed element, element of the weight's) for the elements of a panel from row `first`
// on, where a step begins.
template <class Visit>
void for_each_element(const Panels& panels, DType dtype, const MatrixView& weight,
                      std::int64_t panel, std::int64_t first, const Visit& visit) noexcept {
  const ElementForm place(dtype);
  const std::int64_t k = weight.shape[0];
  const std::int64_t column0 = panel * kPanelWidth;
  const std::int64_t columns = std::min(kPanelWidth, weight.shape[1] - column0);
  const std::int64_t step_bytes = panels.step_bytes(panel);
  if (std::abs(weight.strides[1]) < std::abs(weight.strides[0])) {
    std::array<std::int64_t, static_cast<std::size_t>(kPanelWidth)> places;
    for (std::int64_t j = 0; j < columns; ++j)
      places[static_cast<std::size_t>(j)] = place.column(j);
    const std::int64_t stride = weight.strides[1] * place.element;
    for (std::int64_t i = first; i < k; ++i) {
      const char* step =
          panels.at(panel, i / place.form.step) + i % place.form.step * place.element;
      char* element =
          static_cast<char*>(weight.at(i * weight.strides[0] + column0 * weight.strides[1]));
      for (std::int64_t j = 0; j < columns; ++j, element += stride) {
        visit(step + places[static_cast<std::size_t>(j)], element);
      }
    }
    return;
  }
  constexpr std::int64_t kBlock = 256;  // along K: a block of packed lines stays in the cache
  for (std::int64_t k0 = first; k0 < k; k0 += kBlock) {
    const std::int64_t end = std::min(k, k0 + kBlock);
    for (std::int64_t j = 0; j < columns; ++j) {
      const char* at = panels.at(panel, k0 / place.form.step) + place.column(j);
      char* element =
          static_cast<char*>(weight.at(k0 * weight.strides[0] + (column0 + j) * weight.strides[1]));
      const std::int64_t stride = weight.strides[0] * place.element;
      for (std::int64_t i = k0; i < end; i += place.form.step, at += step_bytes) {
        for (std::int64_t s = 0; s < std::min(place.form.step, end - i); ++s, element += stride) {
          visit(at + s * place.element, element);
        }
      }
    }
  }
}

[[maybe_unused]] bool is_finite(const Float8Table& table, char code) noexcept {
  const bool nan = table.negative_zero_is_nan && code == static_cast<char>(0x80);
  return !nan && (code & 0x7F) <= table.last_finite;
}

template <std::size_t size>
void pack_panel(const Panels& panels, const MatrixView& weight, std::int64_t panel) noexcept {
  const Float8Table& table = float8_table(weight.dtype);
  bool not_finite = false;
  const auto put = [&](const char* packed, const char* from) {
    std::memcpy(const_cast<char*>(packed), from, size);  // NOLINT: the block is ours to write
    if constexpr (size == 1) not_finite |= !is_finite(table, *from);
  };
  for_each_element(panels, weight.dtype, weight, panel, 0, put);
  if constexpr (size == 1) {
    const_cast<char*>(panels.end())[panel] = not_finite ? 1 : 0;  // NOLINT
  }
}

Status pack(const MatrixView& weight, void* packed, const ExecContext& context) noexcept {
  const std::int64_t k = weight.shape[0];
  const std::int64_t n = weight.shape[1];
  const Panels panels(packed, *float_form(weight.dtype), k, n);
  const std::int64_t size = element_bytes(weight.dtype);
  const DotKernels* kernels = kernels_of(weight.dtype);
  parallel_for(context, panels.count(), [&](std::int64_t panel) {
    char* codes = const_cast<char*>(panels.at(panel, 0));  // NOLINT
    if (kernels != nullptr) {
      const std::int64_t next = (panel + 1) * kPanelWidth;
      bool not_finite = false;
      PackPiece piece = panel_piece(weight, panel, codes);
      if (size == 2) piece.dtype = DType::bfloat16;
      piece.table = &float8_table(weight.dtype);
      piece.not_finite = &not_finite;
      if (next < n) piece.next = weight.at(next * weight.strides[1]);
      kernels->pack(piece);
      if (size == 1) const_cast<char*>(panels.end())[panel] = not_finite ? 1 : 0;  // NOLINT
      return;
    }
    std::memset(codes, 0, static_cast<std::size_t>(panels.steps() * panels.step_bytes(panel)));
    if (size == 1) return pack_panel<1>(panels, weight, panel);
    return size == 2 ? pack_panel<2>(panels, weight, panel) : pack_panel<4>(panels, weight, panel);
  });
  return {};
}

template <std::size_t size>
void unpack_panel(const Panels& panels, DType dtype, const MatrixView& weight, std::int64_t panel,
                  std::int64_t first) noexcept {
  for_each_element(panels, dtype, weight, panel, first,
                   [](const char* from, char* element) { std::memcpy(element, from, size); });
}

// Unpacks whole squares of 64 bytes of a panel's columns, whose elements lie together, as far as
// there are such; returns the first row that is left.
std::int64_t unpack_squares(const Panels& panels, const PackedWeightData& packed,
                            const MatrixView& weight, std::int64_t panel) noexcept {
  const DotMachine& machine = dot_machine();
  const ElementForm place(packed.dtype);
  const std::int64_t columns = std::min(kPanelWidth, packed.n - panel * kPanelWidth);
  const std::int64_t width = kVectorCols * place.form.grain;
  if (weight.strides[0] != 1 || columns % width != 0 || kernels_of(packed.dtype) == nullptr) {
    return 0;
  }
  const std::int64_t squares = packed.k * place.element / 64;
  void (*unpack)(const UnpackPiece&) noexcept =
      place.form.grain == 1 ? packer_of_int8(machine)->unpack : machine.float8->unpack;
  for (std::int64_t j = 0; j < columns; j += width) {
    unpack(
        {.panel = panels.at(panel, 0) + place.column(j),
         .step_bytes = panels.step_bytes(panel),
         .squares = squares,
         .b = static_cast<std::int8_t*>(weight.at((panel * kPanelWidth + j) * weight.strides[1])),
         .stride_n = weight.strides[1] * place.element});
  }
  return squares * 64 / place.element;
}

Status unpack(const PackedWeightData& packed, const MatrixView& weight,
              const ExecContext& context) noexcept {
  const Panels panels(packed.codes.data(), *float_form(packed.dtype), packed.k, packed.n);
  const std::int64_t size = element_bytes(packed.dtype);
  parallel_for(context, panels.count(), [&](std::int64_t panel) {
    const std::int64_t left = unpack_squares(panels, packed, weight, panel);
    if (size == 1) return unpack_panel<1>(panels, packed.dtype, weight, panel, left);
    return size == 2 ? unpack_panel<2>(panels, packed.dtype, weight, panel, left)
                     : unpack_panel<4>(panels, packed.dtype, weight, panel, left);
  });
  return {};
}

void widen(const PackedWeightData& packed, std::int64_t k0, std::int64_t k1, std::int64_t n0,
           float* out) noexcept {
  const ElementForm place(packed.dtype);
  const Panels panels(packed.codes.data(), place.form, packed.k, packed.n);
  const std::int64_t step = place.form.step;
  // A vector's elements of some steps in [steps][16][step], then in floats, then in their order.
  constexpr std::int64_t kSteps = 32;
  std::array<char, kSteps * 64> elements;
  std::array<float, kSteps * kVectorCols * 2> floats;
  const std::int64_t first = place.column(n0 % kPanelWidth);
  const std::int64_t run = place.form.grain == 1 ? place.form.vector_bytes : 8;
  for (std::int64_t k = k0; k < k1;) {
    const std::int64_t step0 = k / step;
    const std::int64_t end = std::min(k1, (step0 + kSteps) * step);
    const std::int64_t steps = (end + step - 1) / step - step0;
    char* to = elements.data();
    for (std::int64_t s = 0; s < steps; ++s) {
      const char* from = panels.at(n0 / kPanelWidth, step0 + s) + first;
      for (std::int64_t b = 0; b < place.form.vector_bytes; b += run, from += 2 * run, to += run) {
        std::memcpy(to, from, static_cast<std::size_t>(run));
      }
    }
    best_kernels().widen(packed.dtype, elements.data(), steps * kVectorCols * step, floats.data());
    for (; k < end; ++k, out += kVectorCols) {
      const float* row = floats.data() + (k / step - step0) * kVectorCols * step + k % step;
      for (std::int64_t j = 0; j < kVectorCols; ++j) out[j] = row[j * step];
    }
  }
}

}  // namespace

const PanelForm* float_form(DType dtype) noexcept {
  if (is_float8(dtype)) return &kFloat8Form;
  if (dtype == DType::bfloat16) return &kBf16Form;
  if (dtype == DType::float16) return &kFloat16Form;
  return dtype == DType::float32 ? &kFloat32Form : nullptr;
}

namespace {

constexpr WeightLayout layout_named(const char* name) noexcept {
  return {.name = name,
          .version = 1,
          .bytes = &bytes,
          .pack = &pack,
          .unpack = &unpack,
          .widen = &widen};
}
constexpr WeightLayout kFloat8Layout = layout_named("f8x2");
constexpr WeightLayout kBf16Layout = layout_named("bf16x2");
constexpr WeightLayout kFloat16Layout = layout_named("f16x2");
constexpr WeightLayout kFloat32Layout = layout_named("f32x1");

}  // namespace

const WeightLayout* float_layout(DType dtype) noexcept {
  if (is_float8(dtype)) return &kFloat8Layout;
  if (dtype == DType::bfloat16) return &kBf16Layout;
  if (dtype == DType::float16) return &kFloat16Layout;
  return dtype == DType::float32 ? &kFloat32Layout : nullptr;
}

}  // namespace octavo::cpu
