// SPDX-License-Identifier: Apache-2.0
// A problem in the words of the peers' interface: the same product in operands that a peer has.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "kit/oracle/oracle.hpp"
#include "kit/peers/peer.hpp"
#include "octavo/problem_line.hpp"

namespace octavo::kit {

/// What a peer multiplies.
enum class PeerOperands : std::uint8_t {
  codes,     ///< the line's own types
  bfloat16,  ///< the same codes as bfloat16, which holds each of them exactly
  float32,   ///< dequantised, the scales multiplied in
};

/// One member as a product, with the memory that it refers to.
struct PeerMember {
  peers::Product product;
  MatmulProblem judged;  ///< the member alone, its output the peer's
  PlainMember plain;
  FloatOperands floats;
  std::vector<std::uint16_t> a_bf16, b_bf16;
  std::vector<float> scale_a, scale_b, bias;
  std::vector<std::uint64_t> out;
};

/// The members of a problem that have rows. They are not moved: products point at them.
struct PeerForm {
  const char* refusal = nullptr;  ///< why it cannot be said so; then there are no members
  bool without_scales = false;    ///< scales along K are left out, in the peer's favour
  std::deque<PeerMember> members;
};

/// True for lines of fp8 operands, and of int8 beside bfloat16: a peer that has no such product can
/// be given bfloat16 instead.
bool has_bfloat16_form(const ProblemLine& line);

/// Fills an empty form. `problem` belongs to `line`; only this call reads its weights, but its
/// activations must stay.
void fill_form(PeerForm& form, const ProblemLine& line, const MatmulProblem& problem,
               PeerOperands operands);

}  // namespace octavo::kit
