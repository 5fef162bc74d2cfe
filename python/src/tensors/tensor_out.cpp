// SPDX-License-Identifier: Apache-2.0
#include "tensor_out.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "dlpack.hpp"
#include "dtypes.hpp"
#include "errors.hpp"
#include "interpreter_lock.hpp"
#include "octavo/backend.hpp"

namespace octavo::python {
namespace {

// "numpy", "empty": looked up once and never freed; a module that is torn down must not touch
// Python.
nb::handle function_of(const char* module, const char* name) {
  return nb::object(nb::module_::import_(module).attr(name)).release();
}

// ---- NumPy

// The base object of an array: NumPy keeps it, it keeps the tensor.
struct Memory {
  Tensor tensor;
};

nb::tuple tuple_of(std::span<const std::int64_t> values, std::int64_t factor = 1) {
  nb::object tuple = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(values.size())));
  for (std::size_t i = 0; i < values.size(); ++i) {
    PyTuple_SetItem(tuple.ptr(), static_cast<Py_ssize_t>(i),
                    PyLong_FromLongLong(values[i] * factor));
  }
  return nb::borrow<nb::tuple>(tuple);
}

// Types that the array interface cannot spell travel as unsigned integers of their size.
const char* interface_type(DType dtype) noexcept {
  switch (dtype) {
    case DType::float32:
      return "<f4";
    case DType::float16:
      return "<f2";
    case DType::int8:
      return "|i1";
    case DType::int32:
      return "<i4";
    case DType::int64:
      return "<i8";
    default:
      return element_bytes(dtype) == 1 ? "|u1" : "<u2";
  }
}

bool spelled(DType dtype) noexcept {
  return dtype == DType::uint8 || (interface_type(dtype)[1] != 'u');
}

nb::dict array_interface(const Memory& memory) {
  const TensorView& v = memory.tensor.view();
  nb::dict dict;
  dict["version"] = 3;
  dict["typestr"] = interface_type(v.dtype);
  dict["shape"] = tuple_of(v.dims());
  dict["strides"] = tuple_of(std::span(v.strides.data(), static_cast<std::size_t>(v.rank)),
                             element_bytes(v.dtype));
  dict["data"] = nb::make_tuple(reinterpret_cast<std::uintptr_t>(v.data), false);
  return dict;
}

nb::object to_numpy(const Tensor& tensor) {
  static const nb::handle asarray = function_of("numpy", "asarray");
  nb::object array = asarray(nb::cast(Memory{tensor}));
  return spelled(tensor.dtype()) ? array : array.attr("view")(numpy_dtype(tensor.dtype()));
}

nb::object make_numpy(DType dtype, std::span<const std::int64_t> shape, TensorView& view) {
  static const nb::handle empty = function_of("numpy", "empty");
  nb::object array = empty(tuple_of(shape), numpy_dtype(dtype));
  view = acquire(array, "octavo", "out").view;
  return array;
}

// ---- devices

DLDevice dlpack_device(const Device& device) noexcept {
  return {static_cast<std::int32_t>(device.type), device.index};
}

// NumPy's arrays are of the host.
void check_host(const Device& device) {
  if (device.type == DeviceType::cpu) return;
  raise(Code::unsupported,
        "results: out must be given where tensors of a device are not PyTorch's; got " +
            device_name(device) + " without out");
}

// ---- PyTorch

// What torch's tensor keeps: the owner and the sizes that the structure points to.
struct Exported {
  Tensor tensor;
  TensorView view;
  DLManagedTensorVersioned managed{};
};

nb::object to_torch(const Tensor& tensor) {
  auto exported = std::make_unique<Exported>();
  exported->tensor = tensor;
  exported->view = tensor.view();
  DLManagedTensorVersioned& m = exported->managed;
  m.version = kDLPackVersion;
  m.manager_ctx = exported.get();
  m.deleter = [](DLManagedTensorVersioned* self) {
    delete static_cast<Exported*>(self->manager_ctx);
  };
  TensorView& v = exported->view;
  m.dl_tensor = {v.data,         dlpack_device(v.device), v.rank, dlpack_dtype(v.dtype),
                 v.shape.data(), v.strides.data(),        0};
  const nb::object capsule = nb::steal(PyCapsule_New(&m, "dltensor_versioned", nullptr));
  if (!capsule.is_valid()) nb::raise_python_error();
  static const nb::handle from_dlpack = function_of("torch.utils.dlpack", "from_dlpack");
  exported.release();  // the capsule's consumer deletes it
  return from_dlpack(capsule);
}

// By the exchange interface, without a call of a Python function.
nb::object make_by_exchange(const DLPackExchangeApi& api, DType dtype,
                            std::span<const std::int64_t> shape, const Device& device,
                            TensorView& view) {
  view = TensorView(nullptr, dtype, shape);
  view.device = device;
  DLTensor prototype{
      nullptr, dlpack_device(device), view.rank, dlpack_dtype(dtype), view.shape.data(), nullptr,
      0};
  const auto set_error = [](void*, const char*, const char* message) {
    PyErr_SetString(PyExc_MemoryError, message);
  };
  DLManagedTensorVersioned* managed = nullptr;
  void* tensor = nullptr;
  if (api.allocate(&prototype, &managed, nullptr, set_error) != 0) nb::raise_python_error();
  view.data = managed->dl_tensor.data;
  if (api.to_py_object(managed, &tensor) != 0) nb::raise_python_error();
  return nb::steal(static_cast<PyObject*>(tensor));
}

nb::object make_torch(DType dtype, std::span<const std::int64_t> shape, const Device& device,
                      TensorView& view) {
  if (const DLPackExchangeApi* api = torch_api()) {
    return make_by_exchange(*api, dtype, shape, device, view);
  }
  static std::array<nb::handle, kDTypes.size()> dtypes{};
  nb::handle& type = dtypes[static_cast<std::size_t>(dtype)];
  if (!type.is_valid()) type = function_of("torch", std::string(name(dtype)).c_str());
  static const nb::handle empty = function_of("torch", "empty");
  nb::object tensor =
      empty(tuple_of(shape), nb::arg("dtype") = type, nb::arg("device") = device_name(device));
  view = acquire(tensor, "octavo", "out").view;
  return tensor;
}

}  // namespace

std::string device_name(const Device& device) {
  return device.type == DeviceType::cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

nb::object empty_on(const Device& device) {
  if (device.type == DeviceType::cpu) return nb::none();
  return nb::module_::import_("torch").attr("empty")(0, nb::arg("device") = device_name(device));
}

nb::object tensor_on(nb::handle like, const char* operation) {
  const bool device =
      nb::hasattr(like, "type") && nb::hasattr(like, "index") && !nb::hasattr(like, "shape");
  const bool number = nb::isinstance<nb::int_>(like) || nb::isinstance<nb::float_>(like);
  if (!nb::isinstance<nb::str>(like) && !device && !number) return nb::borrow(like);
  const std::string given = nb::cast<std::string>(nb::str(like));
  if (given == "cpu") return nb::none();
  const std::size_t colon = given.find(':');
  const std::string digits = colon == std::string::npos ? "0" : given.substr(colon + 1);
  const bool index = !digits.empty() && digits.size() < 4 &&
                     digits.find_first_not_of("0123456789") == std::string::npos;
  if (number || !index) {
    raise(Code::invalid_argument,
          std::string(operation) + ": like must be a tensor, a device or None; got " + given);
  }
  const std::string why = device_refusal(given.substr(0, colon), std::stoi(digits));
  if (!why.empty()) raise(Code::unavailable, std::string(operation) + ": like.device " + why);
  return nb::module_::import_("torch").attr("empty")(0, nb::arg("device") = given);
}

nb::object give(const Tensor& tensor, Framework framework) {
  if (!tensor.defined()) return nb::none();
  if (framework == Framework::torch) {
    if (tensor.view().numel() > 0) return to_torch(tensor);
    TensorView view;  // without elements: with the strides that PyTorch gives such a tensor
    return make_torch(tensor.dtype(), tensor.view().dims(), tensor.device(), view);
  }
  check_host(tensor.device());
  return to_numpy(tensor);
}

nb::object make(Framework framework, DType dtype, std::span<const std::int64_t> shape,
                const Device& device, TensorView& view) {
  return framework == Framework::torch ? make_torch(dtype, shape, device, view)
                                       : make_numpy(dtype, shape, view);
}

nb::object as_torch(nb::handle value, const char* operation, const char* argument) {
  In in = acquire(value, operation, argument);
  const auto last = in.view.strides.begin() + in.view.rank;
  if (std::any_of(in.view.strides.begin(), last, [](std::int64_t step) { return step < 0; })) {
    return give(copy(in.view, in.view.dtype), Framework::torch);  // PyTorch has no such strides
  }
  // Whoever lets go of the tensor last need not hold the interpreter's lock.
  const auto let_go = [](nb::object* owners) {
    const Locked lock;
    delete owners;
  };
  const std::shared_ptr<void> owners(
      new nb::object(nb::make_tuple(value, in.owner.is_valid() ? in.owner : nb::none())), let_go);
  return give(Tensor::adopt(owners, in.view), Framework::torch);
}

void register_memory(nb::module_& module) {
  nb::class_<Memory>(module, "_Memory").def_prop_ro("__array_interface__", array_interface);
}

}  // namespace octavo::python
