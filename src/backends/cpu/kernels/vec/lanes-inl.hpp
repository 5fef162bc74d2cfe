// SPDX-License-Identifier: Apache-2.0
// Vectors of the compiler, as values. Memory is read and written through vector_at and put_vector:
// a type that may lie at any address would lose this in every array, template argument and `auto`.
//
// Needs: nothing
// Gives: Lanes, put_vector, round_bfloat16, vector_at

template <class Element, int lanes>
struct LanesOf {
  typedef Element type __attribute__((vector_size(sizeof(Element) * lanes), may_alias));
};
template <class Element, int lanes>
using Lanes = typename LanesOf<Element, lanes>::type;

template <class Vector>
inline __attribute__((always_inline)) Vector vector_at(const void* address) {
  Vector vector;
  std::memcpy(&vector, address, sizeof(vector));
  return vector;
}
template <class Vector>
inline __attribute__((always_inline)) void put_vector(Vector vector, void* address) {
  std::memcpy(address, &vector, sizeof(vector));
}

// bfloat16 to nearest even, in the upper half of each lane. Not for NaN.
template <class Words>
inline __attribute__((always_inline)) Words round_bfloat16(Words bits) {
  return bits + 0x7FFFU + ((bits >> 16) & 1U);
}
