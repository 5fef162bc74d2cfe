// SPDX-License-Identifier: Apache-2.0
// The members of a problem: as they are, and as a plan knows them.
#pragma once

#include "octavo/problem.hpp"

namespace octavo {

/// member(problem, g): where it lies, or in `cut` where offsets cut it.
inline const Member& member_in(const MatmulProblem& problem, std::int64_t g, Member& cut) noexcept {
  if (problem.groups.split == Split::none) return problem.single;
  if (problem.groups.split == Split::list) {
    return problem.groups.list[static_cast<std::size_t>(g)];
  }
  return cut = member(problem, g);
}

/// Whether members are parts of operands, made when they are looked at.
inline bool is_tensor_form(const MatmulProblem& problem) noexcept {
  return problem.groups.split != Split::none && problem.groups.split != Split::list;
}

/// Whether offsets cut the members, which a plan then does not know.
inline bool has_offsets(const MatmulProblem& problem) noexcept {
  const Split split = problem.groups.split;
  return split == Split::rows || split == Split::columns || split == Split::inner;
}

/// Whether the output is 3-D.
inline bool has_own_outputs(const MatmulProblem& problem) noexcept {
  return problem.groups.split == Split::inner || problem.groups.split == Split::batch;
}

/// The extent that offsets cut, [0, extent) in all.
std::int64_t cut_extent(const MatmulProblem& problem) noexcept;

/// Groups::start_alignment of a problem whose offsets lie on the host.
std::int64_t start_alignment(const MatmulProblem& problem) noexcept;

/// A member that offsets cut, with `extent` of what they cut. Where that is K, it starts no better
/// aligned than the others.
Member cut_to(const MatmulProblem& problem, std::int64_t extent) noexcept;

/// Leaves [begin, end) of K: of A, of B and of what their scales count.
void cut_inner(Member& member, std::int64_t begin, std::int64_t end) noexcept;

/// How many members a plan has to look at to know what all of them are like: those of a batch
/// differ in their memory alone, those that offsets cut are no larger than one that has everything.
inline std::int64_t distinct_members(const MatmulProblem& problem) noexcept {
  const std::int64_t count = group_count(problem);
  const Split split = problem.groups.split;
  return split == Split::none || split == Split::list || count == 0 ? count : 1;
}

/// The step of a tensor whose groups have their own matrices, 0 of one that they share.
inline std::int64_t group_step(const TensorView& view) noexcept {
  return view.rank == 3 ? view.strides[0] : 0;
}

/// The matrices of all groups as a 3-D tensor.
TensorView stacked(const MatrixView& matrix, const Groups& groups, std::int64_t step) noexcept;

/// Those members.
inline const Member& planned_member(const MatmulProblem& problem, std::int64_t i,
                                    Member& cut) noexcept {
  if (has_offsets(problem)) return cut = cut_to(problem, cut_extent(problem));
  return member_in(problem, i, cut);
}

}  // namespace octavo
