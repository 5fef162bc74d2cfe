// SPDX-License-Identifier: Apache-2.0
// A problem in the words of the peers' interface, and its rotation.
#include "kit/peers.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "kit/element.hpp"
#include "kit/measure.hpp"
#include "kit/oracle.hpp"
#include "octavo/packed.hpp"
#include "peers/peer.hpp"

namespace octavo::kit {
namespace {

peers::Type type_of(DType dtype) {
  switch (dtype) {
    case DType::int8:
      return peers::Type::int8;
    case DType::uint8:
      return peers::Type::uint8;
    case DType::bfloat16:
      return peers::Type::bfloat16;
    case DType::float16:
      return peers::Type::float16;
    case DType::float32:
      return peers::Type::float32;
    case DType::float8_e4m3fn:
      return peers::Type::e4m3fn;
    case DType::float8_e5m2:
      return peers::Type::e5m2;
    default:
      return peers::Type::other;
  }
}

bool constant_along_k(bool present, const Granularity& granularity) {
  if (!present) return true;
  const std::string name = to_string(granularity);
  return name == "tensor" || name == "token" || name == "channel";
}

// What the interface has no words for, for peers that multiply codes and for those in float32.
const char* refusal(const ProblemLine& line, const MatmulProblem& p, bool float32) {
  if (line.threshold > 0.0F) return "the bench gives peers no outlier columns";
  if (line.alpha != 1.0F || line.beta != 0.0F || line.has_scale_result) {
    return "the bench gives peers no alpha, beta or scale_result";
  }
  if (float32) return nullptr;
  if (line.quantise != DType::undefined) return "it does not quantise activations on the way";
  if (line.azp) return "the bench gives peers no zero points";
  if (line.layout != LineLayout::natural || p.groups.split == Split::columns ||
      p.groups.split == Split::inner) {
    return "the bench gives peers row-major A and weights with K contiguous";
  }
  if (!constant_along_k(line.has_scale_a, line.scale_a) ||
      !constant_along_k(line.has_scale_b, line.scale_b)) {
    return "the bench gives peers no scales along K";
  }
  return nullptr;
}

// The scales of rows (of A) or columns (of B), one number each; none where there are none.
std::vector<float> scales_of(const Operand& operand, std::int64_t count, bool rows) {
  bool any = false;
  std::vector<double> factors(static_cast<std::size_t>(count), 1.0);
  for (const ScaleView& s : operand.scale) {
    if (s.kind == ScaleView::Kind::none) continue;
    any = true;
    for (std::int64_t i = 0; i < count; ++i) {
      factors[static_cast<std::size_t>(i)] *=
          s.kind == ScaleView::Kind::number ? static_cast<double>(s.number)
          : rows                            ? load(s.data, (s.row0 + i) / s.rows, s.col0 / s.cols)
                                            : load(s.data, s.row0 / s.rows, (s.col0 + i) / s.cols);
    }
  }
  if (!any) return {};
  return {factors.begin(), factors.end()};
}

const float* data_or_null(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

// One member as a product, with the memory that it refers to.
struct PeerMember {
  peers::Product product;
  MatmulProblem judged;  // the member alone, its output the peer's
  Quantized weight;
  FloatOperands floats;
  std::vector<float> scale_a, scale_b, bias;
  std::vector<std::uint64_t> out;
};

void fill(PeerMember& p, const Member& m, bool float32) {
  peers::Product& product = p.product;
  product.m = m.out.shape[0];
  product.n = m.out.shape[1];
  product.k = m.a.data.shape[1];
  const DType out_dtype = float32 ? DType::float32 : m.out.dtype;
  if (float32) {
    p.floats = float_operands(m);
    product.a_type = product.b_type = peers::Type::float32;
    product.a = p.floats.a.data();
    product.b = p.floats.b.data();
  } else {
    Operand b = m.b;
    if (b.packed != nullptr) {
      p.weight = unpack(*b.packed);
      b = Operand(p.weight);
    }
    product.a_type = type_of(m.a.data.dtype);
    product.b_type = type_of(b.data.dtype);
    product.a = m.a.data.data;
    product.b = b.data.data;
    p.scale_a = scales_of(m.a, product.m, true);
    p.scale_b = scales_of(b, product.n, false);
    product.scale_a = data_or_null(p.scale_a);
    product.scale_b = data_or_null(p.scale_b);
  }
  if (m.epilogue.bias.defined()) {
    for (std::int64_t j = 0; j < product.n; ++j) {
      p.bias.push_back(static_cast<float>(load(m.epilogue.bias, j * m.epilogue.bias.strides[0])));
    }
    product.bias = p.bias.data();
  }
  product.out_type = type_of(out_dtype);
  const auto bytes = static_cast<std::size_t>(product.m * product.n * element_bytes(out_dtype));
  p.out.resize(bytes / sizeof(std::uint64_t) + 1);
  product.out = p.out.data();
  p.judged.single = m;
  p.judged.single.out = TensorView(product.out, out_dtype, {{product.m, product.n}});
}

// The members of a problem that have rows, in one of the two forms.
struct Form {
  const char* refusal = nullptr;
  std::deque<PeerMember> members;
};

}  // namespace

struct PeerProblem::Impl {
  ProblemLine line;
  const MatmulProblem* problem;
  int threads;
  bool cold;
  std::optional<Form> forms[2];  // codes, float32: made when first asked for

  Form& form(bool float32) {
    std::optional<Form>& form = forms[float32 ? 1 : 0];
    if (form) return *form;
    form.emplace();
    form->refusal = refusal(line, *problem, float32);
    for (std::int64_t g = 0; form->refusal == nullptr && g < group_count(*problem); ++g) {
      const Member m = member(*problem, g);
      if (m.out.shape[0] == 0 || m.out.shape[1] == 0) continue;
      PeerMember& p = form->members.emplace_back();
      fill(p, m, float32);
      p.judged.options = problem->options;
      p.product.threads = threads;
      p.product.cold = cold;
    }
    return *form;
  }
};

PeerProblem::PeerProblem(const ProblemLine& line, const MatmulProblem& problem, int threads,
                         bool cold)
    : impl_(new Impl{line, &problem, threads, cold, {}}) {}
PeerProblem::~PeerProblem() = default;

struct PeerRun::Impl {
  using Set = std::vector<std::unique_ptr<peers::Instance>>;  // an instance for each member
  std::string not_run;
  Form* form = nullptr;
  std::vector<Set> sets;
  std::size_t turn = 0;
  bool members_one_by_one = false;
};

PeerRun::PeerRun(const PeerEntry& entry, PeerProblem& problem) : impl_(new Impl) {
  impl_->not_run = entry.missing;
  if (entry.peer == nullptr) return;
  Form& form = problem.impl_->form(entry.peer->wants_float32);
  impl_->form = &form;
  impl_->members_one_by_one = group_count(*problem.impl_->problem) > 1;
  if (form.refusal != nullptr) {
    impl_->not_run = form.refusal;
    return;
  }
  double bytes = 0.0;
  while (impl_->sets.empty() || (problem.impl_->cold && bytes < kColdBytes)) {
    Impl::Set set;
    for (PeerMember& p : form.members) {
      set.emplace_back(entry.peer->create(p.product));
      if (set.back() == nullptr) {
        impl_->not_run = entry.peer->failure();
        impl_->sets.clear();
        return;
      }
      bytes += set.back()->weight_bytes();
    }
    impl_->sets.push_back(std::move(set));
    if (bytes == 0.0) break;
  }
}
PeerRun::~PeerRun() = default;
PeerRun::PeerRun(PeerRun&&) noexcept = default;

const std::string& PeerRun::not_run() const { return impl_->not_run; }

std::string PeerRun::note() const {
  if (impl_->sets.empty() || impl_->sets.front().empty()) return {};
  std::string text = impl_->sets.front().front()->note();
  if (impl_->members_one_by_one) text += ", members one by one";
  return text;
}

void PeerRun::call() {
  Impl::Set& set = impl_->sets[impl_->turn++ % impl_->sets.size()];
  for (const std::unique_ptr<peers::Instance>& instance : set) instance->run();
}

double PeerRun::error_ratio(std::int64_t rows, std::int64_t columns) const {
  double worst = 0.0;
  if (impl_->sets.empty()) return worst;
  const Impl::Set& set = impl_->sets.front();
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (!set[i]->complete()) return -1.0;
    const Verdict v = compare_exact(impl_->form->members[i].judged, rows, columns);
    // Skipped are results that are not finite; peers are given no problem that has many.
    if (v.skipped > v.checked) return std::numeric_limits<double>::max();
    worst = std::max(worst, v.max_ratio);
  }
  return worst;
}

}  // namespace octavo::kit
