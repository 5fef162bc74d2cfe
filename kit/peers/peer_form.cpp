// SPDX-License-Identifier: Apache-2.0
// From members to products of peers.
#include "kit/peers/peer_form.hpp"

#include <array>
#include <cstddef>
#include <string>

#include "kit/operands/element.hpp"
#include "kit/workers.hpp"

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

bool scales_along_k(const ProblemLine& line) {
  return !constant_along_k(line.has_scale_a, line.scale_a) ||
         !constant_along_k(line.has_scale_b, line.scale_b);
}

// What the interface has no words for.
const char* refusal(const ProblemLine& line, const MatmulProblem& p, PeerOperands operands) {
  if (line.threshold > 0.0F || !line.outlier_columns.empty())
    return "the bench gives peers no outlier columns";
  if (line.alpha != 1.0F || line.beta != 0.0F || line.has_scale_result) {
    return "the bench gives peers no alpha, beta or scale_result";
  }
  if (operands == PeerOperands::float32) return nullptr;
  if (line.azp) return "the bench gives peers no zero points";
  if (line.layout != LineLayout::natural || p.groups.split == Split::columns ||
      p.groups.split == Split::inner) {
    return "the bench gives peers row-major A and weights with K contiguous";
  }
  if (operands == PeerOperands::bfloat16) return nullptr;
  if (line.quantize != DType::undefined) return "it does not quantise activations on the way";
  if (scales_along_k(line)) return "the bench gives peers no scales along K";
  return nullptr;
}

// The scales of rows (of A) or columns (of B), one number each; none where there are none.
std::vector<float> scales_of(const OperandView& operand, std::int64_t count, bool rows) {
  bool any = false;
  std::vector<double> factors(static_cast<std::size_t>(count), 1.0);
  for (const ScaleView& s : operand.scale) {
    if (s.kind == ScaleKind::none) continue;
    any = true;
    for (std::int64_t i = 0; i < count; ++i) {
      factors[static_cast<std::size_t>(i)] *=
          s.kind == ScaleKind::number ? static_cast<double>(s.number)
          : rows                      ? load(s.data, (s.row0 + i) / s.rows, s.col0 / s.cols)
                                      : load(s.data, s.row0 / s.rows, (s.col0 + i) / s.cols);
    }
  }
  if (!any) return {};
  return {factors.begin(), factors.end()};
}

const float* data_or_null(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

// A contiguous matrix of codes as bfloat16; one that is bfloat16 stays where it is.
const void* as_bfloat16(const MatrixView& codes, std::vector<std::uint16_t>& memory) {
  if (codes.dtype == DType::bfloat16) return codes.data;
  std::array<std::uint16_t, 256> table{};
  for (std::size_t code = 0; code < table.size(); ++code) {
    auto byte = static_cast<std::uint8_t>(code);
    const std::array<std::int64_t, 1> one{1};
    store(TensorView(&table[code], DType::bfloat16, one), 0,
          load(TensorView(&byte, codes.dtype, one), 0));
  }
  memory.resize(static_cast<std::size_t>(codes.numel()));
  const auto* bytes = static_cast<const std::uint8_t*>(codes.data);
  for_ranges(codes.numel(), std::int64_t{1} << 22, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      memory[static_cast<std::size_t>(i)] = table[bytes[i]];
  });
  return memory.data();
}

void set_operands(PeerMember& p, const Member& m, PeerOperands operands, bool with_scales) {
  peers::Product& product = p.product;
  if (operands == PeerOperands::float32) {
    p.floats = float_operands(m);
    product.a_type = product.b_type = peers::Type::float32;
    product.a = p.floats.a.data();
    product.b = p.floats.b.data();
    return;
  }
  p.plain = plain_member(m);
  const OperandView& a = p.plain.member.a;
  const OperandView& b = p.plain.member.b;
  if (operands == PeerOperands::bfloat16) {
    product.a_type = product.b_type = peers::Type::bfloat16;
    product.a = as_bfloat16(a.data, p.a_bf16);
    product.b = as_bfloat16(b.data, p.b_bf16);
  } else {
    product.a_type = type_of(a.data.dtype);
    product.b_type = type_of(b.data.dtype);
    product.a = a.data.data;
    product.b = b.data.data;
  }
  if (!with_scales) return;
  p.scale_a = scales_of(a, product.m, true);
  p.scale_b = scales_of(b, product.n, false);
  product.scale_a = data_or_null(p.scale_a);
  product.scale_b = data_or_null(p.scale_b);
}

void fill(PeerMember& p, const Member& m, PeerOperands operands, bool with_scales) {
  peers::Product& product = p.product;
  product.m = m.out.shape[0];
  product.n = m.out.shape[1];
  product.k = m.a.data.shape[1];
  set_operands(p, m, operands, with_scales);
  if (m.epilogue.bias.defined()) {
    for (std::int64_t j = 0; j < product.n; ++j) {
      p.bias.push_back(static_cast<float>(load(m.epilogue.bias, 0, j)));
    }
    product.bias = p.bias.data();
  }
  const DType out = operands == PeerOperands::float32 ? DType::float32 : m.out.dtype;
  product.out_type = type_of(out);
  const auto bytes = static_cast<std::size_t>(product.m * product.n * element_bytes(out));
  p.out.resize(bytes / sizeof(std::uint64_t) + 1);
  product.out = p.out.data();
  p.judged.single = m;
  p.judged.single.out = TensorView(product.out, out, {{product.m, product.n}});
}

}  // namespace

bool has_bfloat16_form(const ProblemLine& line) {
  const DType a = line.quantize != DType::undefined ? line.quantize : line.a;
  const auto exact = [](DType dtype) {
    return dtype == DType::bfloat16 || is_float8(dtype) || is_integer8(dtype);
  };
  const bool already = a == DType::bfloat16 && line.b == DType::bfloat16;
  const bool integers = is_integer8(a) && is_integer8(line.b);
  return exact(a) && exact(line.b) && !already && !integers;
}

void fill_form(PeerForm& form, const ProblemLine& line, const MatmulProblem& problem,
               PeerOperands operands) {
  form.refusal = refusal(line, problem, operands);
  if (form.refusal != nullptr) return;
  form.without_scales = operands == PeerOperands::bfloat16 && scales_along_k(line);
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    const Member m = member(problem, g);
    if (m.out.shape[0] == 0 || m.out.shape[1] == 0) continue;
    PeerMember& p = form.members.emplace_back();
    fill(p, m, operands, !form.without_scales);
    p.judged.options = problem.options;
  }
}

}  // namespace octavo::kit
