// SPDX-License-Identifier: Apache-2.0
// No tables of mantissas (mantissas_avx512-inl.hpp): without VBMI bytes are not picked from tables.
//
// Needs: nothing
// Gives: Mantissas

template <int lanes>
struct Mantissas {
  static constexpr bool kServes = false;
  static constexpr std::int64_t kEntries = 1;
  template <octavo::FloatFormat F>
  struct Table {};
};
