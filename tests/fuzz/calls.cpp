// SPDX-License-Identifier: Apache-2.0
// Sequences of calls of the C ABI: hostile metadata over memory of exactly the size that it needs.
//
// An input is a seed for the elements, then four patches (place, value), then one call's arguments.
// The sequence is that call, and the same with one patch, two patches and so on: calls that differ
// in a field or two are what a plan cache confuses.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "octavo/octavo.h"

// Memory that is not there is an error of the call, not of the fuzzer.
void* operator new(std::size_t bytes) {
  constexpr std::size_t kMost = std::size_t{1} << 28;
  void* memory = bytes > kMost ? nullptr : std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  constexpr std::size_t kMost = std::size_t{1} << 28;
  void* memory = nullptr;
  if (bytes > kMost || ::posix_memalign(&memory, static_cast<std::size_t>(alignment), bytes) != 0) {
    throw std::bad_alloc();
  }
  return memory;
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  void* memory = nullptr;
  return ::posix_memalign(&memory, static_cast<std::size_t>(alignment), bytes) == 0 ? memory
                                                                                    : nullptr;
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

constexpr std::array<octavo_dtype, 14> kTypes{
    OCTAVO_INT8,           OCTAVO_UINT8,           OCTAVO_FLOAT8_E4M3FN,
    OCTAVO_FLOAT8_E5M2,    OCTAVO_BFLOAT16,        OCTAVO_FLOAT16,
    OCTAVO_FLOAT32,        OCTAVO_FLOAT8_E4M3FNUZ, OCTAVO_FLOAT8_E5M2FNUZ,
    OCTAVO_FLOAT8_E8M0FNU, OCTAVO_INT32,           OCTAVO_INT64,
    octavo_dtype{0, 0, 0}, octavo_dtype{2, 64, 1}};

/// Products of two extents.
__extension__ using Wide = __int128;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
/// Extents that no memory has: what they are multiplied by leaves 64 bits.
constexpr std::array<std::int64_t, 6> kHostile{
    kMax, kMax / 2, (kMax >> 2), (kMax >> 2) + 1, -1, std::numeric_limits<std::int64_t>::min()};

/// The arguments of one call, and the memory that they lie in.
class Arguments {
 public:
  Arguments(std::span<const std::uint8_t> input, std::uint8_t seed) : input_(input) {
    for (std::size_t i = 0; i < elements_.size(); ++i) {
      elements_[i] = static_cast<std::uint8_t>(seed + i * 37);
    }
  }

  std::uint8_t byte() noexcept { return at_ < input_.size() ? input_[at_++] : 0; }
  bool flag() noexcept { return (byte() & 1U) != 0U; }
  std::int32_t small() noexcept { return static_cast<std::int8_t>(byte()); }
  std::uint32_t word() noexcept { return byte() | static_cast<std::uint32_t>(byte()) << 8U; }
  octavo_dtype dtype() noexcept { return kTypes[byte() % kTypes.size()]; }
  double number() noexcept {
    constexpr std::array<double, 8> kNumbers{1, 0, -2.5, 1e300, -1e-45, 448, 0.5, 3};
    const std::uint8_t which = byte();
    return which < 250 ? kNumbers[which % kNumbers.size()]
                       : std::numeric_limits<double>::quiet_NaN();
  }
  /// Mostly 0 to 9, at times up to 159, seldom one that has to be refused.
  std::int64_t extent() noexcept {
    const std::uint8_t which = byte();
    if (which < 240) return which % 10;
    if (which < 250) return (which - 239) * 16 - 1;
    return kHostile[which - 250U];
  }
  const char* backend() noexcept {
    constexpr std::array<const char*, 6> kBackends{nullptr,   nullptr,  "reference",
                                                   "generic", "avx512", "none"};
    return kBackends[byte() % kBackends.size()];
  }

  /// A view with `ndim` dimensions or as many as the input says; null where the input says so.
  const octavo_view* view(int ndim, bool optional) {
    const std::uint8_t how = byte();
    if (optional && (how & 1U) == 0U) return nullptr;
    Shape& shape = *shapes_.emplace_back(std::make_unique<Shape>());
    octavo_view view = octavo_view_of(nullptr, dtype(), ndim, shape.extents);
    if ((how & 0xF0U) == 0xF0U) view.ndim = small();
    for (int d = 0; d < OCTAVO_MAX_NDIM; ++d) shape.extents[d] = d < view.ndim ? extent() : 1;
    if ((how & 2U) != 0U) use_strides(view, shape, how);
    if ((how & 0xFCU) == 0xFCU) view.shape = nullptr;
    if ((how & 0xE8U) == 0xE8U) view.device.type = small();
    give_memory(view, shape);
    return &*views_.emplace_back(std::make_unique<octavo_view>(view));
  }

  octavo_scale scale() {
    octavo_scale scale{};
    const std::uint8_t how = byte();
    scale.kind = how % 5;
    if (scale.kind == OCTAVO_SCALE_NUMBER) scale.number = number();
    if (scale.kind != OCTAVO_SCALE_TENSOR) return scale;
    scale.granularity = byte() % 9;
    scale.rows = extent();
    scale.cols = extent();
    scale.values = view(how % 3, false);
    return scale;
  }

  octavo_activation* activation() {
    octavo_activation rule = octavo_activation_init();
    rule.dtype = dtype();
    rule.granularity = byte() % 9;
    rule.rounding = byte() % 4;
    rule.rows = extent();
    rule.cols = extent();
    rule.flags = word();
    rule.outlier_threshold = static_cast<float>(number());
    rule.static_scale = flag() ? static_cast<float>(number()) : 0.0F;
    rule.static_azp = small();
    rule.rotation = flag() ? 16 : 0;
    return &*rules_.emplace_back(std::make_unique<octavo_activation>(rule));
  }

  const octavo_operand* operand(int ndim) {
    octavo_operand operand = octavo_operand_init();
    operand.data = view(ndim, false);
    const std::uint8_t how = byte();
    if ((how & 3U) == 3U) operand.activation = activation();
    if ((how & 8U) != 0U) operand.flags = OCTAVO_TRANSPOSED;
    return &*operands_.emplace_back(std::make_unique<octavo_operand>(operand));
  }

  std::size_t struct_size(std::size_t right) noexcept {
    const std::uint8_t how = byte();
    return how < 250 ? right : right - 8 * (how - 250U);
  }

 private:
  struct Shape {
    std::int64_t extents[OCTAVO_MAX_NDIM]{}, strides[OCTAVO_MAX_NDIM]{};
  };

  // Row-major strides, with one that is another: 0, negative, padded, or hostile.
  void use_strides(octavo_view& view, Shape& shape, std::uint8_t how) noexcept {
    std::int64_t step = 1;
    const int most = view.ndim < 0 || view.ndim > OCTAVO_MAX_NDIM ? 0 : view.ndim;
    for (int d = most; d-- > 0;) {
      shape.strides[d] = step;
      const std::int64_t extent =
          shape.extents[d] > 0 && shape.extents[d] < 1000 ? shape.extents[d] : 1;
      step *= extent;
    }
    if (most == 2 && (how & 4U) != 0U) {  // column-major
      shape.strides[0] = 1;
      shape.strides[1] = shape.extents[0] < 1000 ? shape.extents[0] : 1;
    }
    const std::uint8_t which = byte();
    if (which >= 128) shape.strides[which % OCTAVO_MAX_NDIM] = small();
    if (which >= 250) shape.strides[which % OCTAVO_MAX_NDIM] = kHostile[which - 250U];
    view.strides = shape.strides;
  }

  // Memory from the first to the last element that the view names, and no byte more. Where it names
  // more than memory can hold, or than a product should take time for, it gets none: such a view
  // has to be refused, or to be empty.
  void give_memory(octavo_view& view, const Shape& shape) {
    constexpr Wide kMost = 1 << 20, kMostElements = 1 << 15;
    const Wide bytes = view.dtype.bits / 8;
    if (view.ndim < 0 || view.ndim > OCTAVO_MAX_NDIM) return;
    Wide first = 0, last = 0, step = 1;
    for (int d = view.ndim; d-- > 0;) {
      if (shape.extents[d] <= 0) return;
      const Wide reach =
          (shape.extents[d] - Wide{1}) * (view.strides == nullptr ? step : shape.strides[d]);
      (reach < 0 ? first : last) += reach;
      step *= shape.extents[d];
      if (first < -kMost || last > kMost || step > kMostElements) return;
    }
    const auto size = static_cast<std::size_t>((last - first + 1) * bytes);
    auto& memory = memory_.emplace_back(std::make_unique<std::uint8_t[]>(size));
    for (std::size_t at = 0; at < size; at += elements_.size()) {
      std::memcpy(memory.get() + at, elements_.data(), std::min(elements_.size(), size - at));
    }
    view.data = memory.get() - static_cast<std::int64_t>(first * bytes);
  }

  std::span<const std::uint8_t> input_;
  std::size_t at_ = 0;
  std::array<std::uint8_t, 256> elements_{};  // of any memory, again and again
  std::vector<std::unique_ptr<Shape>> shapes_;
  std::vector<std::unique_ptr<octavo_view>> views_;
  std::vector<std::unique_ptr<octavo_activation>> rules_;
  std::vector<std::unique_ptr<octavo_operand>> operands_;
  std::vector<std::unique_ptr<std::uint8_t[]>> memory_;
};

/// A context without threads, with a workspace of exactly `bytes`.
class Context {
 public:
  explicit Context(std::size_t bytes) : workspace_(std::make_unique<std::uint8_t[]>(bytes)) {
    executor_.parallel = [](void*, std::int64_t tasks, octavo_task task, void* context) {
      for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
    };
    executor_.concurrency = 1;
    context_.executor = &executor_;
    if (bytes > 0) {
      context_.workspace = workspace_.get();
      context_.workspace_bytes = bytes;
    }
  }
  const octavo_context* get() const noexcept { return &context_; }

 private:
  std::unique_ptr<std::uint8_t[]> workspace_;
  octavo_executor executor_ = octavo_executor_init();
  octavo_context context_ = octavo_context_init();
};

/// A failure has a sentence, a success a result.
template <class Handle>
void judge(octavo_code code, const Handle* result) {
  if (code == OCTAVO_OK ? result == nullptr : std::strlen(octavo_last_error()) == 0) std::abort();
  if (code == OCTAVO_INTERNAL) std::abort();
}
// By reference: the call that sets the handle may be evaluated after the argument.
void keep(octavo_code code, octavo_tensor*& result) {
  judge(code, result);
  if (code == OCTAVO_OK) octavo_tensor_release(result);
}
void keep(octavo_code code, octavo_quantized*& result) {
  judge(code, result);
  if (code == OCTAVO_OK) octavo_quantized_release(result);
}

constexpr std::size_t kLargestWorkspace = std::size_t{1} << 26;

/// Calls with the library's scratch, then with a lent workspace of the size that it asks for.
template <class Bytes, class Call>
void with_workspaces(Bytes&& bytes, Call&& call) {
  const Context own(0);
  call(own.get());
  std::size_t needed = 0;
  if (bytes(own.get(), &needed) != OCTAVO_OK || needed > kLargestWorkspace) return;
  const Context lent(needed);
  call(lent.get());
}

template <class Options>
void common(Arguments& in, Options& options) {
  options.struct_size = in.struct_size(sizeof options);
  options.out_dtype = in.flag() ? in.dtype() : octavo_dtype{};
  options.flags = in.word();
  options.backend = in.backend();
}

void scaled_mm(Arguments& in) {
  octavo_scaled_mm_options options = octavo_scaled_mm_options_init();
  common(in, options);
  const octavo_operand* a = in.operand(2);
  const octavo_operand* b = in.operand(2);
  options.scale_a = in.scale();
  options.scale_b = in.scale();
  options.scale_result = in.scale();
  options.alpha = in.scale();
  options.beta = in.scale();
  options.bias = in.view(1, true);
  options.c = in.view(2, true);
  options.azp = in.view(1, true);
  options.out = in.view(2, true);
  with_workspaces(
      [&](const octavo_context* context, std::size_t* bytes) {
        return octavo_scaled_mm_workspace_bytes(a, b, &options, context, bytes);
      },
      [&](const octavo_context* context) {
        octavo_tensor* result = nullptr;
        keep(octavo_scaled_mm(a, b, &options, context, &result), result);
      });
}

void grouped_mm(Arguments& in) {
  octavo_grouped_mm_options options = octavo_grouped_mm_options_init();
  common(in, options);
  const int ranks = in.byte();
  const octavo_operand* a = in.operand(2 + (ranks & 1));
  const octavo_operand* b = in.operand(2 + (ranks >> 1 & 1));
  options.offs = in.view(1, true);
  options.scale_a = in.scale();
  options.scale_b = in.scale();
  options.scale_result = in.scale();
  options.alpha = in.scale();
  options.beta = in.scale();
  options.bias = in.view(ranks >> 2 & 3, true);
  options.c = in.view(2, true);
  options.out = in.view(2, true);
  with_workspaces(
      [&](const octavo_context* context, std::size_t* bytes) {
        return octavo_grouped_mm_workspace_bytes(a, b, &options, context, bytes);
      },
      [&](const octavo_context* context) {
        octavo_tensor* result = nullptr;
        keep(octavo_grouped_mm(a, b, &options, context, &result), result);
      });
}

void scaled_grouped_mm(Arguments& in) {
  octavo_scaled_grouped_mm_options options = octavo_scaled_grouped_mm_options_init();
  common(in, options);
  options.scale = in.scale();
  const octavo_operand* input = in.operand(3);
  const octavo_operand* weight = in.operand(3);
  options.out = in.view(3, true);
  const Context context(0);
  octavo_tensor* result = nullptr;
  keep(octavo_scaled_grouped_mm(input, weight, &options, context.get(), &result), result);
}

void grouped_list(Arguments& in) {
  constexpr std::int64_t kMembers = 3;
  octavo_grouped_list_options options = octavo_grouped_list_options_init();
  common(in, options);
  std::array<const octavo_operand*, kMembers> inputs{}, weights{};
  std::array<const octavo_view*, kMembers> biases{};
  for (std::size_t i = 0; i < kMembers; ++i) {
    inputs[i] = in.operand(2);
    weights[i] = in.operand(2);
    biases[i] = in.view(1, true);
  }
  if (in.flag()) options.biases = biases.data();
  const std::int64_t count = in.byte() % (kMembers + 1);
  std::array<octavo_tensor*, kMembers> results{};
  const Context context(0);
  const octavo_code code = octavo_grouped_mm_list(inputs.data(), weights.data(), count, &options,
                                                  context.get(), results.data());
  if (code == OCTAVO_INTERNAL) std::abort();
  for (octavo_tensor* result : results) octavo_tensor_release(result);
}

void pack_and_linear(Arguments& in) {
  octavo_pack_options packing = octavo_pack_options_init();
  packing.struct_size = in.struct_size(sizeof packing);
  packing.scale = in.scale();
  packing.backend = in.backend();
  if (in.flag()) packing.activation = in.activation();
  const octavo_operand* weight = in.operand(2);
  octavo_linear_options options = octavo_linear_options_init();
  common(in, options);
  options.bias = in.view(1, true);
  options.out = in.view(2, true);
  options.outlier_columns = in.view(1, true);
  options.outlier_weight = in.view(2, true);
  const octavo_view* x = in.view(2, false);
  const Context context(0);
  octavo_packed* packed = nullptr;
  const octavo_code code = octavo_pack(weight, &packing, context.get(), &packed);
  judge(code, packed);
  if (code != OCTAVO_OK) return;
  octavo_tensor* result = nullptr;
  keep(octavo_linear(x, packed, &options, context.get(), &result), result);
  octavo_quantized* unpacked = nullptr;
  keep(octavo_unpack(packed, context.get(), &unpacked), unpacked);
  octavo_packed_release(packed);
}

void quantize(Arguments& in) {
  octavo_quantize_options options = octavo_quantize_options_init();
  options.struct_size = in.struct_size(sizeof options);
  options.dtype = in.dtype();
  options.scale_dtype = in.flag() ? in.dtype() : octavo_dtype{};
  options.granularity = in.byte() % 9;
  options.side = in.byte() % 3;
  options.rows = in.extent();
  options.cols = in.extent();
  options.rounding = in.byte() % 4;
  options.flags = in.word();
  options.scale_ub = static_cast<float>(in.number());
  options.min_scale = static_cast<float>(in.number());
  options.scale = in.scale();
  options.azp_in = in.view(1, true);
  const octavo_view* x = in.view(2, false);
  const octavo_dtype wide = in.dtype();
  const Context context(0);
  octavo_quantized* codes = nullptr;
  const octavo_code code = octavo_quantize(x, &options, context.get(), &codes);
  judge(code, codes);
  if (code != OCTAVO_OK) return;
  octavo_tensor* values = nullptr;
  keep(octavo_dequantize(codes, wide, context.get(), &values), values);
  octavo_quantized_release(codes);
}

void vectorwise(Arguments& in) {
  octavo_vectorwise_options options = octavo_vectorwise_options_init();
  options.struct_size = in.struct_size(sizeof options);
  options.threshold = static_cast<float>(in.number());
  options.flags = in.word();
  options.outlier_columns = in.view(1, true);
  const octavo_view* a = in.view(2, false);
  const Context context(0);
  std::array<octavo_tensor*, 5> parts{};
  const octavo_code code = octavo_int8_double_quant(a, &options, context.get(), &parts[0],
                                                    &parts[1], &parts[2], &parts[3], &parts[4]);
  judge(code, parts[0]);
  for (octavo_tensor* part : parts) octavo_tensor_release(part);
}

void gradients(Arguments& in) {
  octavo_scaled_mm_options forward = octavo_scaled_mm_options_init();
  common(in, forward);
  const octavo_operand* a = in.operand(2);
  const octavo_operand* b = in.operand(2);
  forward.scale_a = in.scale();
  forward.scale_b = in.scale();
  forward.bias = in.view(1, true);
  octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
  options.struct_size = in.struct_size(sizeof options);
  options.wanted = in.word();
  options.flags = in.word();
  const octavo_view* grad = in.view(2, false);
  octavo_matmul_gradients result = octavo_matmul_gradients_init();
  const Context context(0);
  if (octavo_scaled_mm_vjp(grad, a, b, &forward, &options, context.get(), &result) ==
      OCTAVO_INTERNAL) {
    std::abort();
  }
  for (octavo_tensor* part : {result.a, result.b, result.bias, result.scale_a, result.scale_b,
                              result.alpha, result.beta, result.c, result.scale_result}) {
    octavo_tensor_release(part);
  }
}

using Call = void (*)(Arguments&);
constexpr std::array<Call, 8> kCalls{scaled_mm,       grouped_mm, scaled_grouped_mm, grouped_list,
                                     pack_and_linear, quantize,   vectorwise,        gradients};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kPatches = 3;
  constexpr std::size_t kBegin = 2 + 2 * kPatches;
  if (size <= kBegin) return 0;
  std::vector<std::uint8_t> body(data + kBegin, data + size);
  const std::size_t calls = 1 + data[0] / 8U % (kPatches + 1);
  for (std::size_t i = 0; i < calls; ++i) {
    Arguments arguments(body, data[1]);
    kCalls[data[0] % kCalls.size()](arguments);
    if (i < kPatches) body[data[2 + 2 * i] % body.size()] = data[3 + 2 * i];
  }
  return 0;
}
