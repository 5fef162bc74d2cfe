// SPDX-License-Identifier: Apache-2.0
// Parts of a weight, put together again.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/data/cells.hpp"
#include "core/data/convert.hpp"
#include "core/error.hpp"
#include "octavo/weight.hpp"
#include "weights/outlier_columns.hpp"
#include "weights/rule.hpp"

namespace octavo {
namespace {

constexpr const char* kUnshard = "unshard";

bool same_bits(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.dtype() != b.dtype() || !std::ranges::equal(a.view().dims(), b.view().dims())) return false;
  const Tensor left = copy(a, a.dtype()), right = copy(b, b.dtype());
  const auto bytes = static_cast<std::size_t>(left.numel() * element_bytes(left.dtype()));
  return bytes == 0 || std::memcmp(left.data(), right.data(), bytes) == 0;
}

bool same_activation(const Weight& a, const Weight& b) {
  if (!a.activation || !b.activation) return a.activation.has_value() == b.activation.has_value();
  return same_rule(*a.activation, *b.activation) &&
         a.activation->static_scale == b.activation->static_scale &&
         a.activation->static_azp == b.activation->static_azp;
}

class Parts {
 public:
  Parts(std::span<const Weight> parts, ShardAxis axis)
      : parts_(parts), by_columns_(axis == ShardAxis::columns), dim_(by_columns_ ? 0 : 1) {
    for (std::size_t i = 0; i < parts.size(); ++i) check(i);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (size(i) > 0) filled_.push_back(i);
    }
    if (filled_.empty()) filled_.push_back(0);
    check_borders();
  }

  Weight whole() const {
    const Weight& first = parts_[filled_[0]];
    Weight all;
    all.scheme = first.scheme;
    all.activation = first.activation;
    all.codes.grid = first.codes.grid;
    all.codes.row0 = first.codes.row0;
    all.codes.col0 = first.codes.col0;
    all.codes.data = joined(&Quantized::data, [](std::size_t) { return std::int64_t{0}; });
    all.codes.scale = cells_of(&Quantized::scale);
    all.codes.azp = cells_of(&Quantized::azp);
    all.absmax = first.absmax;
    all.columns = first.columns;
    if (by_columns_) {
      all.absmax = stacked(&Weight::absmax);
    } else {
      all.columns = stacked(&Weight::columns);
      if (all.activation) all.activation->outlier_columns = outliers();
    }
    return all;
  }

 private:
  std::int64_t size(std::size_t i) const { return parts_[i].codes.data.size(dim_); }
  std::int64_t cell() const {
    const ScaleGrid& grid = parts_[0].codes.grid;
    return by_columns_ ? grid.rows : grid.cols;
  }
  std::int64_t origin(std::size_t i) const {
    return by_columns_ ? parts_[i].codes.row0 : parts_[i].codes.col0;
  }
  std::int64_t other_origin(std::size_t i) const {
    return by_columns_ ? parts_[i].codes.col0 : parts_[i].codes.row0;
  }

  void check(std::size_t i) const {
    const Weight& first = parts_[0];
    const Weight& part = parts_[i];
    const Quantized& codes = part.codes;
    const auto alike = [](const Tensor& a, const Tensor& b) {
      return a.defined() == b.defined() && a.dtype() == b.dtype();
    };
    struct Condition {
      const char* what;
      bool same;
    };
    const bool matrices = first.codes.data.rank() == 2 && codes.data.rank() == 2;
    for (const Condition& row :
         {Condition{"be 2-D", matrices},
          Condition{by_columns_ ? "have the first one's K" : "have the first one's N",
                    matrices && codes.data.size(1 - dim_) == first.codes.data.size(1 - dim_)},
          Condition{"have the first one's type", codes.data.dtype() == first.codes.data.dtype()},
          Condition{"have the first one's scheme", part.scheme == first.scheme},
          Condition{"have scales and zero points as the first one",
                    codes.grid == first.codes.grid && alike(codes.scale, first.codes.scale) &&
                        alike(codes.azp, first.codes.azp)},
          Condition{"begin in its scales where the first one does along the other dimension",
                    other_origin(i) == other_origin(0)},
          Condition{"have the first one's activation rule", same_activation(first, part)},
          Condition{"have row maxima (absmax) as the first one",
                    by_columns_ ? alike(part.absmax, first.absmax)
                                : same_bits(part.absmax, first.absmax)},
          Condition{"have an order of columns as the first one",
                    by_columns_ ? same_bits(part.columns, first.columns)
                                : alike(part.columns, first.columns)},
          Condition{"have the first one's outlier columns",
                    !by_columns_ || !part.activation ||
                        same_bits(part.activation->outlier_columns,
                                  first.activation->outlier_columns)}}) {
      if (row.same) continue;
      refuse(Code::invalid_argument, "unshard: parts[{}] must {}; got {} {} of {}", i, row.what,
             name(codes.data.dtype()), shape_string(codes.data), part.scheme);
    }
    check_cells(i);
  }

  void check_cells(std::size_t i) const {
    const Quantized& codes = parts_[i].codes;
    if (!codes.scale.defined()) return;
    const bool known = in_first_cell(codes.row0, codes.grid.rows) &&
                       in_first_cell(codes.col0, codes.grid.cols) && codes.scale.rank() == 2;
    const auto covers = [&](const Tensor& t) {
      return t.rank() == 2 &&
             t.size(0) == cells(codes.row0 + codes.data.size(0), codes.grid.rows) &&
             t.size(1) == cells(codes.col0 + codes.data.size(1), codes.grid.cols);
    };
    if (known && covers(codes.scale) && (!codes.azp.defined() || covers(codes.azp))) return;
    refuse(Code::invalid_argument,
           "unshard: parts[{}] must have a scale for each cell of {} x {} from [{}, {}] on; got {} "
           "of {}",
           i, codes.grid.rows, codes.grid.cols, codes.row0, codes.col0, shape_string(codes.scale),
           shape_string(codes.data));
  }

  // A part begins where the one before it ended, with the same cell where that was cut.
  void check_borders() const {
    if (!parts_[0].codes.scale.defined()) return;
    for (std::size_t f = 1; f < filled_.size(); ++f) {
      const std::size_t i = filled_[f], before = filled_[f - 1];
      const Quantized& left = parts_[before].codes;
      const Quantized& right = parts_[i].codes;
      const bool whole = cell() == kWholeExtent;
      const std::int64_t inside = whole ? 0 : (origin(before) + size(before)) % cell();
      if (origin(i) != inside) {
        refuse(Code::invalid_argument,
               "unshard: parts[{}] must begin at element {} of a cell of scales, where parts[{}] "
               "ends; got {}",
               i, inside, before, origin(i));
      }
      const bool shared = whole || inside > 0;
      if (!shared || (same_bits(edge(left.scale, true), edge(right.scale, false)) &&
                      same_bits(edge(left.azp, true), edge(right.azp, false))))
        continue;
      refuse(Code::invalid_argument,
             "unshard: parts[{}] must have the scales and zero points of parts[{}] in the cells "
             "that they share; got others",
             i, before);
    }
  }

  // The last or the first cells along the dimension.
  Tensor edge(const Tensor& of_cells, bool last) const {
    if (!of_cells.defined()) return {};
    const std::int64_t count = of_cells.size(dim_);
    const TensorView view = of_cells.view().slice(dim_, last ? count - 1 : 0, last ? count : 1);
    return copy(view, of_cells.dtype());
  }

  // Parts one behind another, each without its first `skipped(i)`.
  template <class Skipped>
  Tensor joined(Tensor Quantized::*field, const Skipped& skipped) const {
    const Tensor& first = parts_[filled_[0]].codes.*field;
    if (!first.defined()) return {};
    std::array<std::int64_t, 2> shape{first.size(0), first.size(1)};
    std::int64_t& extent = shape[static_cast<std::size_t>(dim_)];
    extent = 0;
    for (const std::size_t i : filled_) extent += (parts_[i].codes.*field).size(dim_) - skipped(i);
    const Tensor all = Tensor::empty(first.dtype(), shape);
    std::int64_t at = 0;
    for (const std::size_t i : filled_) {
      const Tensor& part = parts_[i].codes.*field;
      const std::int64_t count = part.size(dim_) - skipped(i);
      copy_elements(part.view().slice(dim_, skipped(i), part.size(dim_)),
                    all.view().slice(dim_, at, at + count));
      at += count;
    }
    return all;
  }

  // The first cell of a part is the last of the one before it where their border cuts it.
  Tensor cells_of(Tensor Quantized::*field) const {
    return joined(field, [this](std::size_t i) -> std::int64_t {
      if (i == filled_[0]) return 0;
      return cell() == kWholeExtent || origin(i) > 0 ? 1 : 0;
    });
  }

  Tensor stacked(Tensor Weight::*field) const {
    const Tensor& first = parts_[filled_[0]].*field;
    if (!first.defined()) return {};
    std::int64_t count = 0;
    for (const std::size_t i : filled_) count += (parts_[i].*field).numel();
    const Tensor all = Tensor::empty(first.dtype(), {count});
    std::int64_t at = 0;
    for (const std::size_t i : filled_) {
      const Tensor& part = parts_[i].*field;
      copy_elements(part.view(), all.view().slice(0, at, at + part.numel()));
      at += part.numel();
    }
    return all;
  }

  Tensor outliers() const {
    std::vector<std::int64_t> all;
    std::int64_t begin = 0;
    for (const std::size_t i : filled_) {
      for (const std::int64_t column : outlier_column_list(parts_[i].activation->outlier_columns)) {
        all.push_back(begin + column);
      }
      begin += size(i);
    }
    return outlier_column_tensor(Code::invalid_argument, "unshard: outlier_columns", all, begin);
  }

  std::span<const Weight> parts_;
  bool by_columns_;
  int dim_;                          ///< of the stored weight
  std::vector<std::size_t> filled_;  ///< those that are not empty, or the first
};

}  // namespace

Weight unshard(std::span<const Weight> parts, ShardAxis axis) {
  return at_edge(kUnshard, [&] {
    if (parts.empty()) {
      refuse(Code::invalid_argument, "unshard: parts must have at least one entry; got none");
    }
    return Parts(parts, axis).whole();
  });
}

}  // namespace octavo
