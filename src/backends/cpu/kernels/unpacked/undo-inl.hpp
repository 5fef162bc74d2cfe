// SPDX-License-Identifier: Apache-2.0
// How unpacked kernels of integers undo the flip of A's bytes, and take zero points away. With u =
// a XOR flip, a' = a - zero point and the instruction's unsigned and signed bytes in this order:
//
//   sum a' b  =  sum u b             - shift * sum b        the columns of B are summed up as well
//             =  sum (b + 128) a     -  128  * sum a        B is flipped, rows of A are summed up
//
// The second way adds up the rows, which are few, once, but knows of one shift alone, 128: that of
// int8 without zero points.
//
// Needs: Dot, Vec
// Gives: EitherUnsigned, Undo, undone_by_rows, unpacked_beginning, unpacked_undoing
enum class Undo {
  nothing,      // the shifts are 0, or others take them away
  column_sums,  // the first way
  row_sums,     // the second
};

// Either operand's bytes may be the unsigned ones.
template <class AnyDot>
concept EitherUnsigned = requires {
  requires AnyDot::kEitherUnsigned;
};

// A lambda that may become a function of its own, between its parameters and its body: on Arm it
// needs what a kernel does.
#if !defined(OCTAVO_KERNEL_LAMBDA) && defined(__aarch64__)
#define OCTAVO_KERNEL_LAMBDA OCTAVO_KERNEL
#elif !defined(OCTAVO_KERNEL_LAMBDA)
#define OCTAVO_KERNEL_LAMBDA
#endif

// Whether row sums undo what there is.
OCTAVO_INLINE bool undone_by_rows(const octavo::cpu::DotTile& t) {
  return t.flip == 0x80 && t.shift_stride == 0 && *t.shift == 128;
}

// kernel<undo>() in the way that costs least.
template <class Kernel>
OCTAVO_INLINE void unpacked_undoing(const octavo::cpu::UnpackedTile& p, const Kernel& kernel) {
  if constexpr (EitherUnsigned<Dot>) {
    if (undone_by_rows(p.tile)) return kernel.template operator()<Undo::row_sums>();
  }
  if constexpr (Dot::kExact) {
    if (p.sums_out != nullptr) return kernel.template operator()<Undo::column_sums>();
  }
  kernel.template operator()<Undo::nothing>();
}

// Where the sums of a row begin by row sums that meet `bytes` of it, those at `a`.
template <class Either>
OCTAVO_KERNEL std::int32_t unpacked_beginning(const Either& dot, const char* a,
                                              std::int64_t bytes) noexcept {
  const Vec::Ints zeros = dot.flipped(Vec::zero_ints());
  std::int64_t k = 0;
  auto sum = Either::zero();
  auto second = Either::zero(), third = Either::zero(), fourth = Either::zero();
  for (; bytes - k >= 256; k += 256) {
    sum = Either::add(sum, zeros, Vec::load_unaligned_ints(a + k));
    second = Either::add(second, zeros, Vec::load_unaligned_ints(a + k + 64));
    third = Either::add(third, zeros, Vec::load_unaligned_ints(a + k + 128));
    fourth = Either::add(fourth, zeros, Vec::load_unaligned_ints(a + k + 192));
  }
  sum = Vec::add(Vec::add(sum, second), Vec::add(third, fourth));
  for (; k < bytes; k += 64) {
    const std::int64_t left = bytes - k;
    sum = Either::add(sum, zeros,
                      left < 64 ? Vec::load_part(a + k, left) : Vec::load_unaligned_ints(a + k));
  }
  alignas(64) std::int32_t lanes[16];
  Either::write(lanes, sum);
  std::uint32_t all = 0;
  for (const std::int32_t lane : lanes) all -= static_cast<std::uint32_t>(lane);
  return static_cast<std::int32_t>(all);
}
