// SPDX-License-Identifier: Apache-2.0
// Four codes in each int32: compressed-tensors' pack-quantized along K, GPTQ along K by columns.
//
// A code is the byte less 128, and so is a zero point: differences stay what they were. Groups
// whose columns lie apart (act-order) are brought together; the weight says from where.
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::int64_t kPerWord = 4;
constexpr int kMiddle = 128;

[[noreturn]] void refuse_shape(const Layer& layer, std::string_view suffix, std::string_view rule,
                               const TensorView& got) {
  refuse(Code::corrupt_data, "Checkpoint::weight: tensor {}.shape must be {}; got {}",
         in_quotes(layer.name(suffix)), rule, shape_string(got));
}

/// A matrix of words of 32 bits, and the bytes in them from the least significant on.
class Words {
 public:
  Words(const Layer& layer, std::string_view suffix) : tensor_(layer.tensor(suffix)) {
    if (tensor_.dtype() != DType::int32 || tensor_.rank() != 2) {
      refuse(Code::corrupt_data,
             "Checkpoint::weight: tensor {} must be I32 of two dimensions; got {} {}",
             in_quotes(layer.name(suffix)), name(tensor_.dtype()), shape_string(tensor_));
    }
  }
  std::int64_t rows() const { return tensor_.size(0); }
  std::int64_t cols() const { return tensor_.size(1); }
  TensorView view() const { return tensor_.view(); }
  /// Byte `number` of the word in that row and column.
  int byte(std::int64_t row, std::int64_t col, std::int64_t number) const {
    const auto word =
        static_cast<std::uint32_t>(tensor_.data_as<std::int32_t>()[row * cols() + col]);
    return static_cast<int>((word >> (8 * number)) & 0xFFU);
  }

 private:
  Tensor tensor_;
};

/// The group of each column, as the file has it.
std::vector<std::int64_t> group_indices(const Layer& layer, std::string_view suffix,
                                        std::int64_t k) {
  const Tensor stored = layer.tensor(suffix);
  const bool integers = stored.dtype() == DType::int32 || stored.dtype() == DType::int64;
  if (!integers || stored.numel() != k) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must hold {} integers; got {} {}",
           in_quotes(layer.name(suffix)), k, name(stored.dtype()), shape_string(stored));
  }
  std::vector<std::int64_t> groups(static_cast<std::size_t>(k));
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] = stored.dtype() == DType::int32 ? stored.data_as<std::int32_t>()[i]
                                               : stored.data_as<std::int64_t>()[i];
  }
  return groups;
}

/// The order of columns in which each group is together, groups ascending; undefined where they are
/// already. Throws Error (corrupt_data) unless the groups then are as long as the grid's.
Tensor order_of_columns(const Layer& layer, std::string_view suffix, std::int64_t k,
                        const ScaleGrid& grid) {
  if (!layer.has(suffix) || grid.cols == kWholeExtent) return {};
  const std::vector<std::int64_t> groups = group_indices(layer, suffix, k);
  const Tensor order = Tensor::empty(DType::int64, {k});
  const std::span<std::int64_t> columns(order.data_as<std::int64_t>(), groups.size());
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = static_cast<std::int64_t>(i);
  std::ranges::stable_sort(
      columns, {}, [&](std::int64_t column) { return groups[static_cast<std::size_t>(column)]; });
  for (std::int64_t i = 0; i < k; ++i) {
    const auto column = static_cast<std::size_t>(columns[static_cast<std::size_t>(i)]);
    if (groups[column] == i / grid.cols) continue;
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must give each group {} columns; got column {} in group "
           "{} where group {} has to be",
           in_quotes(layer.name(suffix)), grid.cols, column, groups[column], i / grid.cols);
  }
  return std::ranges::is_sorted(columns) ? Tensor() : order;
}

/// Which column of the file is column `i` of the weight.
struct Columns {
  const Tensor& order;
  std::int64_t operator()(std::int64_t i) const {
    return order.defined() ? order.data_as<std::int64_t>()[i] : i;
  }
};

ScaleGrid declared_grid(const Layer& layer) {
  return layer.config.grid.value_or(ScaleGrid{1, kWholeExtent});
}

/// Codes and zero points are bytes less 128.
std::int8_t code_of(int byte) noexcept { return static_cast<std::int8_t>(byte - kMiddle); }

// compressed-tensors -----------------------------------------------------------------------------

/// [N, K], which the packing rounds up.
std::pair<std::int64_t, std::int64_t> shape_of(const Layer& layer, const Words& packed) {
  constexpr std::string_view kShape = ".weight_shape";
  if (!layer.has(kShape)) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must be there beside {}; got none",
           in_quotes(layer.name(kShape)), in_quotes(layer.name(layer.dialect.codes)));
  }
  const Tensor stored = copy(layer.tensor(kShape), DType::int64);
  const auto* shape = stored.data_as<std::int64_t>();
  const bool two = stored.numel() == 2 && shape[0] >= 0 && shape[1] >= 0;
  if (!two || packed.rows() != shape[0] || packed.cols() != cells(shape[1], kPerWord)) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be N = {} and a K of {} words of four codes; got {}",
           in_quotes(layer.name(kShape)), packed.rows(), packed.cols(),
           two ? fmt::format("[{}, {}]", shape[0], shape[1]) : shape_string(stored));
  }
  return {shape[0], shape[1]};
}

/// Zero points packed along N; as int8 where an older version left them so.
Tensor packed_zero_points(const Layer& layer, std::int64_t n) {
  const std::string_view suffix = layer.dialect.zero_point;
  if (!layer.has(suffix)) return {};
  const std::string name = layer.name(suffix);
  const TensorEntry* entry = layer.impl.header.find(name);
  if (entry->dtype != "I32") return stored_zero_points(layer);
  const Words words(layer, suffix);
  if (words.rows() != cells(n, kPerWord)) {
    refuse_shape(layer, suffix, fmt::format("[{}, groups]", cells(n, kPerWord)), words.view());
  }
  Tensor azp = Tensor::empty(DType::int32, {n, words.cols()});
  auto* to = azp.data_as<std::int32_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t g = 0; g < words.cols(); ++g) {
      *to++ = words.byte(i / kPerWord, g, i % kPerWord) - kMiddle;
    }
  }
  return azp;
}

}  // namespace

Weight read_pack_quantized(const Layer& layer) {
  const Words packed(layer, layer.dialect.codes);
  const auto [n, k] = shape_of(layer, packed);
  const ScaleGrid grid = declared_grid(layer);
  Tensor columns = order_of_columns(layer, ".weight_g_idx", k, grid);
  const Columns column{columns};
  const Tensor codes = Tensor::empty(DType::int8, {n, k});
  auto* to = codes.data_as<std::int8_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      *to++ = code_of(packed.byte(i, column(j) / kPerWord, column(j) % kPerWord));
    }
  }
  constexpr std::array<ScaleGrid, 2> kUndeclared{{{1, kWholeExtent}, {}}};
  Weight weight =
      scaled_weight(layer, {codes, layer.tensor(layer.dialect.scale), packed_zero_points(layer, n)},
                    kUndeclared, activations_stay);
  weight.columns = std::move(columns);
  return weight;
}

// qweight [K/4, N], scales [groups, N], qzeros [groups, N/4].
Weight read_gptq(const Layer& layer) {
  if (!layer.config.zero_point_offset) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: layer {} must be declared by '{}' or quantize_config.json, since "
           "{} does not say how many bits its codes have; got none",
           in_quotes(layer.prefix), kConfigKey, in_quotes(layer.name(layer.dialect.codes)));
  }
  const Words packed(layer, layer.dialect.codes);
  const std::int64_t n = packed.cols();
  const std::int64_t k = packed.rows() * kPerWord;
  const ScaleGrid grid = declared_grid(layer);
  const std::int64_t groups = cells(k, grid.cols);
  const Tensor scales = layer.tensor(layer.dialect.scale);
  if (scales.rank() != 2 || scales.size(0) != groups || scales.size(1) != n) {
    refuse_shape(layer, layer.dialect.scale, fmt::format("[{}, {}]", groups, n), scales);
  }
  Tensor columns = order_of_columns(layer, ".g_idx", k, grid);
  const Columns column{columns};
  const Tensor codes = Tensor::empty(DType::int8, {n, k});
  for (std::int64_t j = 0; j < k; ++j) {
    const std::int64_t from = column(j);
    auto* to = codes.data_as<std::int8_t>() + j;
    for (std::int64_t i = 0; i < n; ++i, to += k) {
      *to = code_of(packed.byte(from / kPerWord, i, from % kPerWord));
    }
  }
  Tensor azp;
  if (layer.has(layer.dialect.zero_point)) {
    const Words zeros(layer, layer.dialect.zero_point);
    if (zeros.rows() != groups || zeros.cols() != cells(n, kPerWord)) {
      refuse_shape(layer, layer.dialect.zero_point,
                   fmt::format("[{}, {}]", groups, cells(n, kPerWord)), zeros.view());
    }
    azp = Tensor::empty(DType::int32, {n, groups});
    auto* to = azp.data_as<std::int32_t>();
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t g = 0; g < groups; ++g) {
        const int zero =
            zeros.byte(g, i / kPerWord, i % kPerWord) + *layer.config.zero_point_offset;
        *to++ = (zero & 0xFF) - kMiddle;
      }
    }
  }
  TensorView by_rows = scales.view().transposed();
  Weight weight =
      scaled_weight(layer, {codes, copy(by_rows, scales.dtype()), azp}, {}, activations_stay);
  weight.columns = std::move(columns);
  return weight;
}

// scale * code + bias: a float zero point, which a weight of integers and scales cannot hold.
Weight read_mlx(const Layer& layer) {
  if (!layer.has(layer.dialect.zero_point)) {
    refuse(Code::unsupported,
           "Checkpoint::weight: layer {} must be of a dialect that is read; got codes of type {} "
           "with scales and no biases, as in other modes of MLX",
           in_quotes(layer.prefix),
           layer.impl.entry("weight", layer.name(layer.dialect.codes)).dtype);
  }
  refuse(Code::unsupported,
         "Checkpoint::weight: layer {} must have integer zero points; got {}, MLX's floats: "
         "scale * code + bias has no exact form in codes and scales",
         in_quotes(layer.prefix), in_quotes(layer.name(layer.dialect.zero_point)));
}

}  // namespace octavo::checkpoint
