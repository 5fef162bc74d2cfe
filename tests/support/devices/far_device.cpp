// SPDX-License-Identifier: Apache-2.0
// Far memory, streams that run when they are waited for, and a backend that translates addresses.
#include "support/devices/far_device.hpp"

#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "backends/backend.hpp"
#include "core/devices/devices.hpp"
#include "core/problem/fields.hpp"
#include "support/devices/far_memory.hpp"

namespace octavo::test {
namespace {

FarMemory& far() {
  static FarMemory memory;
  return memory;
}

// ---- streams -----------------------------------------------------------------------------------

class Streams {
 public:
  using Work = std::function<Status()>;

  static Streams& get() {
    static Streams streams;
    return streams;
  }
  Status push(void* stream, Work work) {
    const std::lock_guard lock(mutex_);
    ++count_;
    queues_[stream].push_back(std::move(work));
    return {};
  }
  Status wait(void* stream) {
    const std::lock_guard lock(mutex_);
    Status first;
    std::deque<Work>& queue = queues_[stream];
    while (!queue.empty()) {
      Status status = queue.front()();
      queue.pop_front();
      if (first.ok()) first = std::move(status);
    }
    return first;
  }
  std::int64_t count() const { return count_; }

 private:
  std::recursive_mutex mutex_;  // memory that work held is released behind it
  std::map<void*, std::deque<Work>> queues_;
  std::int64_t count_ = 0;
};

constexpr DeviceMemory kMemory{
    .unavailable = [](std::int32_t index) noexcept -> const char* {
      return index == 0 ? nullptr : "there is one far device";
    },
    .allocate = [](std::size_t bytes, const Place&) noexcept { return far().allocate(bytes); },
    .release =
        [](void* block, std::size_t, const Place& place) noexcept {
          (void)Streams::get().push(place.stream, [=] {
            (void)far().release(block);
            return Status();
          });
        },
    .copy =
        [](const TensorView& from, const TensorView& to, std::size_t bytes, void* stream) noexcept {
          if (bytes == 0) return Status();
          std::shared_ptr<char[]> staged;
          if (on_host(from)) {
            staged = std::shared_ptr<char[]>(new char[bytes]);
            std::memcpy(staged.get(), from.data, bytes);
          }
          return Streams::get().push(stream, [=, source = from.data, target = to.data] {
            const void* near = staged != nullptr ? staged.get() : far().near(source);
            std::memcpy(far().near(target), near, bytes);
            return Status();
          });
        },
    .wait = [](const Place& place) noexcept { return Streams::get().wait(place.stream); },
};

constexpr DeviceType kType = static_cast<DeviceType>(12);  // of DLPack's extension devices
constexpr DeviceKind kKind{kType, "far", "far", &kMemory};

// ---- addresses ---------------------------------------------------------------------------------

// Stands for a field of any type, to count those of an aggregate.
struct AnyField {
  template <class T>
  operator T() const;  // NOLINT: implicit on purpose
};
template <class T, class... Fields>
constexpr std::size_t field_count() {
  if constexpr (requires { T{Fields{}..., AnyField{}}; }) {
    return field_count<T, Fields..., AnyField>();
  } else {
    return sizeof...(Fields);
  }
}

template <class T, class Visit>
void each_field(T& v, const Visit& visit) {
  constexpr std::size_t count = field_count<T>();
  static_assert(count >= 1 && count <= 12);
  const auto all = [&](auto&... field) { (visit(field), ...); };
  if constexpr (count == 1) {
    auto& [a] = v;
    all(a);
  } else if constexpr (count == 2) {
    auto& [a, b] = v;
    all(a, b);
  } else if constexpr (count == 3) {
    auto& [a, b, c] = v;
    all(a, b, c);
  } else if constexpr (count == 4) {
    auto& [a, b, c, d] = v;
    all(a, b, c, d);
  } else if constexpr (count == 5) {
    auto& [a, b, c, d, e] = v;
    all(a, b, c, d, e);
  } else if constexpr (count == 6) {
    auto& [a, b, c, d, e, f] = v;
    all(a, b, c, d, e, f);
  } else if constexpr (count == 7) {
    auto& [a, b, c, d, e, f, g] = v;
    all(a, b, c, d, e, f, g);
  } else if constexpr (count == 8) {
    auto& [a, b, c, d, e, f, g, h] = v;
    all(a, b, c, d, e, f, g, h);
  } else if constexpr (count == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = v;
    all(a, b, c, d, e, f, g, h, i);
  } else if constexpr (count == 10) {
    auto& [a, b, c, d, e, f, g, h, i, j] = v;
    all(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (count == 11) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = v;
    all(a, b, c, d, e, f, g, h, i, j, k);
  } else {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = v;
    all(a, b, c, d, e, f, g, h, i, j, k, l);
  }
}

// Brings everything that a problem refers to along, with addresses that work: field by field, so
// that a field that somebody adds comes along, too.
class Near {
 public:
  void fix(TensorView& view) {
    view.data = far().near(view.data);
    view.device = {};
  }
  void fix(Tensor& tensor) {
    TensorView view = tensor.view();
    fix(view);
    tensor = Tensor::adopt(std::make_shared<Tensor>(tensor), view);
  }
  void fix(Device& device) { device = {}; }
  void fix(const ActivationQuant*& rule) {
    if (rule == nullptr) return;
    rules_.push_back(std::make_unique<ActivationQuant>(*rule));
    fix(*rules_.back());
    rule = rules_.back().get();
  }
  void fix(const PackedWeight*& packed) {
    if (packed == nullptr) return;
    auto content = std::make_shared<PackedWeightData>(*packed->content());
    fix(*content);
    packed_.push_back(std::make_unique<PackedWeight>(std::move(content)));
    packed = packed_.back().get();
  }
  void fix(PackedWeightData& content);
  void fix(std::span<const Member>& list) {
    lists_.push_back(std::make_unique<std::vector<Member>>(list.begin(), list.end()));
    for (Member& member : *lists_.back()) fix(member);
    list = *lists_.back();
  }
  void fix(Groups& groups) {
    if (groups.offs.defined() && on_host(groups.offs)) {  // nobody keeps it for us
      offs_ = copy(groups.offs, groups.offs.dtype);
      groups.offs = offs_;
    } else {
      fix(groups.offs);
    }
    fix(groups.list);
  }
  void fix(std::span<double>& memory) { memory = {far().near(memory.data()), memory.size()}; }
  template <class T>
  void fix(T*& pointer) {
    pointer = far().near(pointer);
  }
  template <class T>
  void fix(std::optional<T>& value) {
    if (value) fix(*value);
  }
  template <class T, std::size_t size>
  void fix(std::array<T, size>& values) {
    for (T& value : values) fix(value);
  }
  template <HasFields T>
  void fix(T& value) {
    for_each_field(value, [this](const char*, auto& field) { this->fix(field); });
  }
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void fix(T&) {}
  template <class T>
  requires(std::is_aggregate_v<T> && !HasFields<T>) void fix(T& value) {
    each_field(value, [this](auto& field) { this->fix(field); });
  }

 private:
  Tensor offs_;
  std::vector<std::unique_ptr<ActivationQuant>> rules_;
  std::vector<std::unique_ptr<PackedWeight>> packed_;
  std::vector<std::unique_ptr<std::vector<Member>>> lists_;
};

// A problem with what it refers to, run once.
template <class Problem>
struct Late {
  explicit Late(const Problem& given) : problem(given) { near.fix(problem); }
  Near near;
  Problem problem;
};
template <class Problem>
std::shared_ptr<Late<Problem>> late(const Problem& given) {
  return std::make_shared<Late<Problem>>(given);
}

// ---- the backend -------------------------------------------------------------------------------

const Backend& host() {
  static const Backend* reference = find_backend("reference");
  return *reference;
}

// What packed weights are in, which the reference unpacks.
const WeightLayout& host_layout(DType dtype) {
  static const Backend* generic = find_backend("generic");
  return *generic->layout(dtype);
}

Status pack(const MatrixView& weight, void* packed, const ExecContext& context) noexcept {
  struct Packing {
    MatrixView weight;
    void* packed;
  };
  const auto l = late(Packing{weight, packed});
  return Streams::get().push(context.stream, [l] {
    return host_layout(l->problem.weight.dtype).pack(l->problem.weight, l->problem.packed, {});
  });
}

Status unpack(const PackedWeightData& packed, const MatrixView& weight,
              const ExecContext& context) noexcept {
  struct Unpacking {
    PackedWeightData packed;
    MatrixView weight;
  };
  const auto l = late(Unpacking{packed, weight});
  return Streams::get().push(context.stream, [l] {
    return l->problem.packed.layout->unpack(l->problem.packed, l->problem.weight, {});
  });
}

std::size_t layout_bytes(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  return host_layout(dtype).bytes(dtype, k, n);
}

constexpr WeightLayout kLayout{"far", 1, &layout_bytes, &pack, &unpack, nullptr};

// A pass of the reference, later.
template <auto pass, class Problem>
Status queue(const Problem& problem, const ExecContext& context) noexcept {
  const auto l = late(problem);
  return Streams::get().push(context.stream, [l] { return (host().passes.*pass)(l->problem, {}); });
}

// A pass of the reference whose result the host looks at, once all before it has run.
template <auto pass, class Problem>
Status waited(const Problem& problem, const ExecContext& context) noexcept {
  if (Status status = Streams::get().wait(context.stream); !status.ok()) return status;
  const auto l = late(problem);
  return (host().passes.*pass)(l->problem, {});
}

// What takes its memory from an arena says at once where it will be.
Status quantize_activations(Member& member, const MatmulOptions& options, Arena& arena,
                            const ExecContext& context) noexcept {
  const ExecContext serial{.executor = &serial_executor()};
  const auto given = late(member);
  void* const block = arena.next();
  Arena outline(block, Arena::Use::outline);
  Status status = host().passes.quantize_activations(member, options, outline, serial);
  (void)arena.take<char>(static_cast<std::int64_t>(outline.used()));
  if (!status.ok() || arena.counting()) return status;
  return Streams::get().push(context.stream, [=] {
    Arena near(far().near(block));
    return host().passes.quantize_activations(given->problem, options, near, serial);
  });
}

Status activate(const ActivateProblem& problem, Rows& result, Arena& arena,
                const ExecContext& context) noexcept {
  const ExecContext serial{.executor = &serial_executor()};
  const auto given = late(problem);
  void* const block = arena.next();
  Arena outline(block, Arena::Use::outline);
  Status status = host().passes.activate(problem, result, outline, serial);
  (void)arena.take<char>(static_cast<std::int64_t>(outline.used()));
  if (!status.ok() || arena.counting()) return status;
  return Streams::get().push(context.stream, [=] {
    Arena near(far().near(block));
    Rows made;
    return host().passes.activate(given->problem, made, near, serial);
  });
}

const char* plan(const MatmulProblem& problem, int, Plan& plan) noexcept {
  return host().plan(problem, 1, plan);
}

Status run(const MatmulProblem& problem, const Plan& plan, const ExecContext& context,
           void* workspace) noexcept {
  struct Running {
    MatmulProblem problem;
    void* workspace;
  };
  const auto l = late(Running{problem, workspace});
  return Streams::get().push(context.stream, [l, plan] {
    return host().run(l->problem.problem, plan, {.executor = &serial_executor()},
                      l->problem.workspace);
  });
}

constexpr Backend kBackend{
    .name = "far",
    .summary = "the reference, far away and late",
    .device = kType,
    .unavailable = []() noexcept -> const char* { return nullptr; },
    .plan = &plan,
    .run = &run,
    .passes =
        {
            .convert = &queue<&Passes::convert>,
            .fill = &queue<&Passes::fill>,
            .gather = &queue<&Passes::gather>,
            .map_codes = &queue<&Passes::map_codes>,
            .unswizzle = &queue<&Passes::unswizzle>,
            .check_finite = &waited<&Passes::check_finite>,
            .quantize = &queue<&Passes::quantize>,
            .code_errors = &waited<&Passes::code_errors>,
            .vectorwise = &queue<&Passes::vectorwise>,
            .quantize_activations = &quantize_activations,
            .rescale = &queue<&Passes::rescale>,
            .reduce = &queue<&Passes::reduce>,
            .mask = &queue<&Passes::mask>,
            .learned_step = &queue<&Passes::learned_step>,
            .dequantize_sums = &queue<&Passes::dequantize_sums>,
            .split_zero_points = &queue<&Passes::split_zero_points>,
            .split_sums = &queue<&Passes::split_sums>,
            .silu_and_mul = &queue<&Passes::silu_and_mul>,
            .rms_norm = &queue<&Passes::rms_norm>,
            .rotate = &queue<&Passes::rotate>,
            .quantize_rows = nullptr,
            .attention_scratch = nullptr,
            .attention = nullptr,
            .silu_and_mul_vjp = &queue<&Passes::silu_and_mul_vjp>,
            .combine = &queue<&Passes::combine>,
            .activate = &activate,
            .finish = &queue<&Passes::finish>,
        },
    .layout = [](DType) noexcept { return &kLayout; },
};

void Near::fix(PackedWeightData& content) {
  if (content.layout == &kLayout) content.layout = &host_layout(content.dtype);
  fix(content.codes);
  fix(content.azp);
  fix(content.activation);
  for (Tensor& scale : content.scales) fix(scale);
  for (CarriedScale& scale : content.scale) fix(scale);
}

}  // namespace

const Device kFar{kType, 0};
const std::string kFarName = "far:0";
const char* const kFarBackend = nullptr;
namespace {
int far_stream = 0;  // its address alone
}
void* const kFarStream = &far_stream;
const std::int64_t kFarDepth = std::numeric_limits<std::int64_t>::max();

void install_far_device() {
  static const bool installed = [] {
    add_device(kKind);
    add_backend(kBackend);
    return true;
  }();
  (void)installed;
}

std::int64_t far_work() { return Streams::get().count(); }

}  // namespace octavo::test
