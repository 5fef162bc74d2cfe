// SPDX-License-Identifier: Apache-2.0
#include "parallel/gather.hpp"

#include <algorithm>
#include <cstring>

namespace octavo {
namespace {

void copy_bytes(const char* from, std::int64_t count, char* to) {
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count));
}

}  // namespace

Tensor gather_columns(Communicator& ranks, const TensorView& own,
                      std::span<const std::int64_t> ends) {
  const std::int64_t element = element_bytes(own.dtype);
  const std::int64_t rows = own.shape[0];
  std::int64_t widest = 0;
  for (std::size_t r = 0; r < ends.size(); ++r) {
    widest = std::max(widest, ends[r] - (r > 0 ? ends[r - 1] : 0));
  }
  // Parts of one size, their ends left empty.
  const std::int64_t bytes = rows * widest * element;
  const Tensor part = Tensor::empty(DType::uint8, {bytes});
  const Tensor parts = Tensor::empty(DType::uint8, {bytes * ranks.size()});
  std::fill_n(part.data_as<char>(), bytes, char{0});
  const Tensor compact = copy(own, own.dtype);
  copy_bytes(compact.data_as<const char>(), compact.numel() * element, part.data_as<char>());
  ranks.all_gather(part.data(), bytes, parts.data());

  const std::int64_t columns = ends.back();
  Tensor all = Tensor::empty(own.dtype, {rows, columns});
  std::int64_t begin = 0;
  for (std::size_t r = 0; r < ends.size(); begin = ends[r++]) {
    const std::int64_t row = (ends[r] - begin) * element;
    const char* from = parts.data_as<const char>() + static_cast<std::int64_t>(r) * bytes;
    for (std::int64_t i = 0; i < rows; ++i) {
      copy_bytes(from + i * row, row, all.data_as<char>() + (i * columns + begin) * element);
    }
  }
  return all;
}

}  // namespace octavo
