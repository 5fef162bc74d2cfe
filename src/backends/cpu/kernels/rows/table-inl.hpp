// SPDX-License-Identifier: Apache-2.0
// The table of an instruction set whose vectors hold `lanes` floats.
//
// Needs: add_products, Attention, ChunkSums, Errors, Experts, finish, multiply_row, narrow_row,
// Outliers, Quantize,
//        Rotation, ScaledColumns, shift_sums, transpose, widen_row
// Gives: make_kernels

template <int lanes>
constexpr octavo::cpu::Kernels make_kernels(const char* on_integers, const char* on_floats,
                                            int rows, decltype(octavo::cpu::Kernels::tile) tile) {
  using OutliersOf = Outliers<lanes, 0, 1, 2, 3>;
  return {.on_integers = on_integers,
          .on_floats = on_floats,
          .rows = rows,
          .tile = tile,
          .widen = &widen_row,
          .narrow = &narrow_row,
          .multiply = &multiply_row,
          .add_products = &add_products,
          .shift_sums = &shift_sums,
          .finish = &finish<lanes>,
          .quantize = &Quantize<lanes>::codes,
          .quantize_cells = &ScaledColumns<lanes>::run,
          .rotate = &Rotation<lanes>::run,
          .reads_next = Quantize<lanes>::kHasInverses,
          .invert = &Quantize<lanes>::invert,
          .absmax = &Quantize<lanes>::absmax,
          .magnitudes = &Quantize<lanes>::magnitudes,
          .ranges = &Quantize<lanes>::ranges,
          .code_errors = &Errors<lanes>::add,
          .silu_and_mul = &Experts<lanes>::silu_and_mul,
          .silu_and_mul_vjp = &Experts<lanes>::silu_and_mul_vjp,
          .add_scaled = &Experts<lanes>::add_scaled,
          .attention_scores = &ChunkSums::scores,
          .attention_weights = &Attention<lanes>::weights,
          .attention_values = &ChunkSums::values,
          .attention_add = &Attention<lanes>::template add<std::int32_t>,
          .attention_products = &Attention<lanes>::products,
          .attention_float_weights = &Attention<lanes>::float_weights,
          .attention_add_floats = &Attention<lanes>::template add<float>,
          .find_outliers = &OutliersOf::find,
          .scan_lines = &OutliersOf::scan_lines,
          .add_outliers = &OutliersOf::add,
          .transpose = &transpose<4 * lanes>};
}
