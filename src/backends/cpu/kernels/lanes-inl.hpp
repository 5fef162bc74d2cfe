// SPDX-License-Identifier: Apache-2.0
// Vectors of the compiler, at any address. Included inside an instruction-set region.

template <class Element, int lanes>
struct LanesOf {
  typedef Element type
      __attribute__((vector_size(sizeof(Element) * lanes), may_alias, aligned(alignof(Element))));
};
template <class Element, int lanes>
using Lanes = typename LanesOf<Element, lanes>::type;
