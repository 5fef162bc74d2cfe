// SPDX-License-Identifier: Apache-2.0
// Vectors of the compiler, which lie where their elements may. Included inside an instruction-set
// region.

template <class Element, int lanes>
struct LanesOf {
  typedef Element type
      __attribute__((vector_size(sizeof(Element) * lanes), may_alias, aligned(alignof(Element))));
};
template <class Element, int lanes>
using Lanes = typename LanesOf<Element, lanes>::type;

// What lies at any address: elements of the caller's.
template <class Vector>
inline __attribute__((always_inline)) Vector vector_at(const void* address) {
  Vector vector;
  std::memcpy(&vector, address, sizeof(vector));
  return vector;
}

// bfloat16 to nearest even, in the upper half of each lane. Not for NaN.
template <class Words>
inline __attribute__((always_inline)) Words round_bfloat16(Words bits) {
  return bits + 0x7FFFU + ((bits >> 16) & 1U);
}
