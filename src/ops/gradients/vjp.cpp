// SPDX-License-Identifier: Apache-2.0
// What is not a product: the parts of the forward result that gradients need again, results that
// saturated, and sums.
#include "ops/gradients/vjp.hpp"

#include "core/error.hpp"
#include "core/scales/quantize_rules.hpp"
#include "ops/gradients/reduce.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

std::int64_t rows_of(const VjpMember& m) noexcept { return m.grad.shape[0]; }
std::int64_t columns_of(const VjpMember& m) noexcept { return m.grad.shape[1]; }

// K = 0 under torch_compat: the result is zero whatever the arguments are.
bool constant(const VjpCall& call, const VjpMember& m) noexcept {
  return call.matmul.torch_compat && m.a.data.shape[1] == 0;
}

bool saturates(DType dtype) noexcept { return dtype != DType::undefined && !is_wide(dtype); }

// What is computed again in float32: the sum with its scales, and that with everything but
// scale_result.
enum class ForwardTerm : std::uint8_t { acc, before_result };

bool needs(const VjpMember& m, ForwardTerm term) noexcept {
  if (term == ForwardTerm::acc) return m.alpha.present();
  return m.scale_result.present() || saturates(m.out_dtype);
}

Result<std::vector<Tensor>> forward_again(const VjpCall& call, std::span<const VjpMember> members,
                                          ForwardTerm term) {
  std::vector<Tensor> outs(members.size());
  std::vector<Member> again;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const VjpMember& m = members[i];
    if (!needs(m, term)) continue;
    OCTAVO_TRY_ASSIGN(outs[i], plane(call, DType::float32, rows_of(m), columns_of(m)));
    Member& member = again.emplace_back(m.forward);
    member.out = outs[i];
    Epilogue& e = member.epilogue;
    e.scale_result = {};
    if (term == ForwardTerm::before_result) continue;
    e.alpha = e.beta = {};
    e.c = e.bias = {};
  }
  if (again.empty()) return outs;
  MatmulProblem problem;
  problem.operation = call.operation;
  problem.options = call.matmul;
  problem.groups.split = Split::list;
  problem.groups.list = again;
  OCTAVO_TRY(run_problem(problem, call.context, call.backend));
  return outs;
}

// grad where the result lies in its type's range, else 0.
Status mask(const VjpCall& call, const MatrixView& before_result, VjpMember& m, Tensor& masked) {
  OCTAVO_TRY_ASSIGN(masked, plane(call, m.grad.dtype, rows_of(m), columns_of(m)));
  const float high = m.out_dtype == DType::int32 ? 0x1p31F : info(m.out_dtype).max;
  MaskProblem p;
  p.grad = m.grad;
  p.value = before_result;
  p.scale = m.forward.epilogue.scale_result;
  p.high = high;
  p.low = is_integer8(m.out_dtype) ? static_cast<float>(lowest_code(m.out_dtype)) : -high;
  p.out = masked;
  OCTAVO_TRY(call.on->passes.mask(p, call.context));
  m.grad = masked;
  return {};
}

ScaleView one_number(float number) noexcept {
  ScaleView s;
  s.kind = ScaleKind::number;
  s.number = number;
  return s;
}

// scale_result over [M, N].
ScaleView over_columns(const Factor& factor) noexcept {
  if (factor.kind != Factor::Kind::tensor) {
    return factor.present() ? one_number(factor.number) : ScaleView{};
  }
  ScaleView s;
  s.kind = ScaleKind::tensor;
  s.data = factor.data;
  s.cols = factor.data.strides[1] == 0 ? kWholeExtent : 1;
  return s;
}

// beta over [M, N], 1 where it is absent.
ScaleView everywhere(const Factor& factor) noexcept {
  return factor.present() ? over_columns(factor) : one_number(1.0F);
}

Status sum_gradients(const VjpCall& call, const VjpMember& m, const MatrixView& acc,
                     const MatrixView& before_result) {
  const ScaleView result = over_columns(m.forward.epilogue.scale_result);
  const bool empty = m.a.data.shape[1] == 0;  // alpha does not enter, whatever grad is
  const struct {
    ScaleView sums;
    const MatrixView& factor;  // beside grad
    ScaleView weight;
  } rows[] = {
      {m.bias, {}, result},
      {empty ? ScaleView{} : m.alpha, acc, result},
      {m.beta, m.c, result},
      {m.scale_result, before_result, {}},
  };
  for (const auto& row : rows) {
    if (!row.sums.present()) continue;
    OCTAVO_TRY(sum_cells(call.operation, *call.on,
                         {{m.grad, row.factor}, {}, row.weight, row.sums, {}}, call.context));
  }
  return {};
}

// dC = beta * g.
Status scale_grad(const VjpCall& call, const VjpMember& m) noexcept {
  const Epilogue& e = m.forward.epilogue;
  const ScaleView beta = e.c.defined() ? everywhere(e.beta) : one_number(0.0F);
  return call.on->passes.rescale({m.grad, {}, {over_columns(e.scale_result), beta}, m.grad_c},
                                 call.context);
}

VjpProduct product_for_a(const VjpMember& m) noexcept {
  const Epilogue& e = m.forward.epilogue;
  // Straight through a fused quantiser: the operand is what was quantised.
  const OperandView own = m.forward.a.quantize != nullptr ? OperandView(m.forward.a.data) : m.a;
  return {m.grad,  m.b.transposed(), own,      over_columns(e.scale_result),
          e.alpha, m.grad_a,         m.scale_a};
}

// The block of a rule that rotates; 0: none.
std::int32_t rotation_of(const VjpMember& m) noexcept {
  return m.forward.a.quantize != nullptr ? m.forward.a.quantize->rotation : 0;
}

// dx of a rule that rotates is R of the product in float32, which comes into `turned` first.
Status turn_products_for_a(const VjpCall& call, std::span<const VjpMember> members,
                           std::span<Tensor> turned, std::span<VjpProduct> products) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const VjpMember& m = members[i];
    if (!m.grad_a.defined() && !m.scale_a.present()) continue;
    VjpProduct& product = products[next++];
    if (rotation_of(m) == 0 || !m.grad_a.defined()) continue;
    OCTAVO_TRY_ASSIGN(turned[i], plane(call, DType::float32, m.grad_a.shape[0], m.grad_a.shape[1]));
    product.out = turned[i];
  }
  return {};
}
Status turn_back(const VjpCall& call, std::span<const VjpMember> members,
                 std::span<const Tensor> turned) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (!turned[i].defined()) continue;
    const VjpMember& m = members[i];
    OCTAVO_TRY(call.on->passes.rotate({turned[i], rotation_of(m), m.grad_a}, call.context));
  }
  return {};
}

bool under_llm_int8(const VjpMember& m) noexcept {
  return m.forward.a.quantize != nullptr && m.forward.a.quantize->vectorwise;
}

VjpProduct product_for_b(const VjpMember& m) noexcept {
  const Epilogue& e = m.forward.epilogue;
  return {m.grad.transposed(),
          m.a,
          m.b.transposed(),
          over_columns(e.scale_result).transposed(),
          e.alpha,
          m.grad_b.transposed(),
          m.scale_b.transposed()};
}

}  // namespace

Status run_vjp(const VjpCall& given, std::span<VjpMember> members) {
  VjpCall call = given;
  call.context.workspace = nullptr;  // made for one product
  if (members.empty()) return {};
  const Device device = members.front().grad.device;
  OCTAVO_TRY_ASSIGN(call.on, backend_for(call.operation, device, call.backend));
  OCTAVO_TRY_ASSIGN(const std::vector<Tensor> acc, forward_again(call, members, ForwardTerm::acc));
  OCTAVO_TRY_ASSIGN(const std::vector<Tensor> before,
                    forward_again(call, members, ForwardTerm::before_result));
  std::vector<Tensor> masked(members.size());
  std::vector<VjpProduct> for_a;
  std::vector<VjpProduct> for_b;
  for (std::size_t i = 0; i < members.size(); ++i) {
    VjpMember& m = members[i];
    if (saturates(m.out_dtype)) OCTAVO_TRY(mask(call, before[i], m, masked[i]));
    if (constant(call, m)) {
      OCTAVO_TRY_ASSIGN(masked[i], plane(call, m.grad.dtype, rows_of(m), columns_of(m)));
      OCTAVO_TRY(call.on->passes.fill({masked[i], 0.0F}, call.context));
      m.grad = masked[i];
    }
    OCTAVO_TRY(sum_gradients(call, m, acc[i], before[i]));
    if (m.grad_c.defined()) OCTAVO_TRY(scale_grad(call, m));
    if (m.grad_a.defined() || m.scale_a.present()) for_a.push_back(product_for_a(m));
    if (m.grad_b.defined() && under_llm_int8(m)) {
      OCTAVO_TRY(llm_int8_weight_gradient(call, m, over_columns(m.forward.epilogue.scale_result)));
    } else if (m.grad_b.defined() || m.scale_b.present()) {
      for_b.push_back(product_for_b(m));
    }
  }
  std::vector<Tensor> turned(members.size());
  OCTAVO_TRY(turn_products_for_a(call, members, turned, for_a));
  if (!for_a.empty()) OCTAVO_TRY(run_products(call, for_a));
  OCTAVO_TRY(turn_back(call, members, turned));
  if (!for_b.empty()) OCTAVO_TRY(run_products(call, for_b));
  return {};
}

Result<Operand> plain_weight(const VjpCall& call, const Operand& b, std::vector<Tensor>& owned) {
  if (b.packed == nullptr || !b.packed->defined()) return b;
  const PackedWeightData& content = *b.packed->content();
  OCTAVO_TRY_ASSIGN(const Tensor codes, plane(call, content.dtype, content.n, content.k));
  Operand plain(codes.transposed());
  OCTAVO_TRY(content.layout->unpack(content, plain.data, call.context));
  plain.scale = content.scale;
  plain.azp = content.azp.view();
  owned.push_back(codes);
  return plain;
}

Result<Tensor> plane(const VjpMemory& memory, DType dtype, std::int64_t rows,
                     std::int64_t columns) {
  const std::array<std::int64_t, 2> shape{rows, columns};
  return Tensor::try_empty(memory.operation, dtype, shape, memory.place);
}

}  // namespace octavo
