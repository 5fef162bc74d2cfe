// SPDX-License-Identifier: Apache-2.0
// Owned tensors and quantised matrices.
#include "octavo/tensor.hpp"

#include <limits>
#include <utility>

#include "capi/convert.hpp"

using namespace octavo::capi;
using octavo::Code;
using octavo::DType;
using octavo::Tensor;

octavo_code octavo_tensor_create(octavo_dtype dtype, int32_t ndim, const int64_t* shape,
                                 octavo_tensor** result) {
  constexpr const char* kName = "tensor_create";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const DType type = dtype_from({kName, "dtype"}, dtype);
    if (type == DType::undefined) {
      refuse(Code::invalid_argument, "{}: dtype must be defined; got an undefined one", kName);
    }
    const std::size_t rank = checked_count({kName, "shape"}, shape, ndim);
    slot.fill(Tensor::empty(type, {shape, rank}));
  });
}

octavo_code octavo_tensor_copy(const octavo_view* source, octavo_dtype dtype,
                               octavo_tensor** result) {
  return guarded("tensor_copy", [&] {
    Slot slot({"tensor_copy", "result"}, result);
    const octavo::TensorView view = view_from({"tensor_copy", "source"}, source);
    slot.fill(octavo::copy(view, dtype_or({"tensor_copy", "dtype"}, dtype, view.dtype)));
  });
}

octavo_code octavo_tensor_view(const octavo_tensor* tensor, octavo_view* result) {
  return guarded("tensor_view", [&] {
    give("tensor_view", result, octavo_view{});
    *result = view_to(value_of({"tensor_view", "tensor"}, tensor).view());
  });
}

octavo_tensor* octavo_tensor_retain(octavo_tensor* tensor) { return retain(tensor); }
void octavo_tensor_release(octavo_tensor* tensor) { release(tensor); }

namespace {

octavo::Quantized over(const char* name, const octavo_view* data, const octavo_view* scale,
                       const octavo_view* azp, int64_t grid_rows, int64_t grid_cols) {
  octavo::Quantized q;
  q.data = Tensor::adopt(nullptr, view_from({name, "data"}, data));
  q.scale = Tensor::adopt(nullptr, optional_view({name, "scale"}, scale));
  q.azp = Tensor::adopt(nullptr, optional_view({name, "azp"}, azp));
  q.grid = {grid_rows, grid_cols};
  return q;
}

}  // namespace

octavo_code octavo_quantized_create(const octavo_view* data, const octavo_view* scale,
                                    const octavo_view* azp, int64_t grid_rows, int64_t grid_cols,
                                    octavo_quantized** result) {
  constexpr const char* kName = "quantized_create";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(over(kName, data, scale, azp, grid_rows, grid_cols));
  });
}

octavo_code octavo_quantized_create_slice(const octavo_view* data, const octavo_view* scale,
                                          const octavo_view* azp, int64_t grid_rows,
                                          int64_t grid_cols, int64_t row0, int64_t col0,
                                          octavo_quantized** result) {
  constexpr const char* kName = "quantized_create_slice";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    octavo::Quantized q = over(kName, data, scale, azp, grid_rows, grid_cols);
    q.row0 = row0;
    q.col0 = col0;
    slot.fill(std::move(q));
  });
}

octavo_code octavo_quantized_describe(const octavo_quantized* quantized,
                                      octavo_quantized_info* result) {
  constexpr const char* kName = "quantized_describe";
  return guarded(kName, [&] {
    const octavo::Quantized& q = value_of({kName, "quantized"}, quantized);
    octavo_quantized_info info{};
    info.data = view_to(q.data.view());
    info.scale = view_to(q.scale.view());
    info.azp = view_to(q.azp.view());
    info.grid_rows = q.grid.rows;
    info.grid_cols = q.grid.cols;
    info.row0 = q.row0;
    info.col0 = q.col0;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_quantized* octavo_quantized_retain(octavo_quantized* quantized) { return retain(quantized); }
void octavo_quantized_release(octavo_quantized* quantized) { release(quantized); }
