// SPDX-License-Identifier: Apache-2.0
#include "tensor_in.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "dlpack.hpp"
#include "dtypes.hpp"
#include "errors.hpp"

namespace octavo::python {
namespace {

// Where an argument came from, for its sentences.
struct Asker {
  const char* operation;
  const char* argument;
  std::string operator()(const std::string& rest) const {
    return std::string(operation) + ": " + argument + rest;
  }
};

nb::handle intern(const char* text) { return PyUnicode_InternFromString(text); }

// A pending Python exception of any kind becomes nothing: the next protocol is tried.
nb::object attribute(nb::handle value, nb::handle name) {
  PyObject* found = PyObject_GetAttr(value.ptr(), name.ptr());
  if (found == nullptr) PyErr_Clear();
  return nb::steal(found);
}

// torch.Tensor if torch has been imported; it is never imported from here.
nb::handle torch_tensor() {
  static const nb::handle modules =
      nb::object(nb::module_::import_("sys").attr("modules")).release();
  static nb::handle type;
  if (type.is_valid()) return type;
  PyObject* torch = PyDict_GetItemString(modules.ptr(), "torch");
  if (torch == nullptr) return {};
  const nb::object found = attribute(torch, nb::str("Tensor"));
  if (found.is_valid()) type = nb::borrow(found).release();
  return type;
}

bool is_numpy(nb::handle value) {
  static const nb::handle type =
      nb::object(nb::module_::import_("numpy").attr("ndarray")).release();
  return value.type().is(type);
}

bool is_torch(nb::handle value) {
  static const nb::handle torch_name = intern("__torch_function__");
  const nb::handle type = torch_tensor();
  if (!type.is_valid()) return false;
  if (value.type().is(type)) return true;
  // A look at the type is cheaper than isinstance for what is no tensor at all.
  return attribute(value.type(), torch_name).is_valid() &&
         PyObject_IsInstance(value.ptr(), type.ptr()) == 1;
}

void check_rank(int rank, const Asker& asker) {
  if (rank >= 0 && rank <= kMaxRank) return;
  raise(Code::invalid_argument, asker(".ndim must be in [0, " + std::to_string(kMaxRank) +
                                      "]; got " + std::to_string(rank)));
}

DType known(DType dtype, const std::string& spelling, const Asker& asker) {
  if (dtype != DType::undefined) return dtype;
  raise(Code::invalid_argument, asker(".dtype must be one that Octavo knows; got " + spelling));
}

// What a value calls its type: DLPack's numbers where it has no word.
std::string dtype_word(nb::handle value, const DLDataType& type) {
  const nb::object dtype = attribute(value, nb::str("dtype"));
  if (dtype.is_valid()) return shown(dtype);
  return "DLPack type (" + std::to_string(type.code) + ", " + std::to_string(type.bits) + ", " +
         std::to_string(type.lanes) + ")";
}

void fill(TensorView& view, nb::handle value, const DLTensor& t, const Asker& asker) {
  check_rank(t.ndim, asker);
  view.dtype = dtype_of_dlpack(t.dtype);
  if (view.dtype == DType::undefined) known(view.dtype, dtype_word(value, t.dtype), asker);
  if (t.shape == nullptr && t.ndim > 0) {
    raise(Code::invalid_argument,
          asker(".shape must not be null; got null for " + std::to_string(t.ndim) + " dimensions"));
  }
  view.data = t.data == nullptr ? nullptr : static_cast<char*>(t.data) + t.byte_offset;
  view.device = device_of(t.device.device_type, t.device.device_id);
  view.rank = t.ndim;
  std::int64_t step = 1;
  for (auto d = static_cast<std::size_t>(t.ndim); d-- > 0;) {
    view.shape[d] = t.shape[d];
    view.strides[d] = t.strides != nullptr ? t.strides[d] : step;
    if (__builtin_mul_overflow(step, t.shape[d], &step)) step = 0;  // a shape that is refused later
  }
}

// ---- torch: the exchange interface of DLPack 1.3

const DLPackExchangeApi* exchange_api(nb::handle type) {
  static const nb::handle name = intern("__dlpack_c_exchange_api__");
  const nb::object capsule = attribute(type, name);
  if (!capsule.is_valid()) return nullptr;
  const auto* api = static_cast<const DLPackExchangeApi*>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (api == nullptr) PyErr_Clear();
  return api != nullptr && api->version.major == 1 ? api : nullptr;
}

}  // namespace

const DLPackExchangeApi* torch_api() {
  static const DLPackExchangeApi* api = nullptr;
  static bool asked = false;
  if (!asked && torch_tensor().is_valid()) {
    api = exchange_api(torch_tensor());
    asked = true;
  }
  return api;
}

void* current_stream(Framework framework, const Device& device) {
  if (framework != Framework::torch) return nullptr;
  const DLPackExchangeApi* api = torch_api();
  if (api != nullptr && api->current_work_stream != nullptr) {
    void* stream = nullptr;
    if (api->current_work_stream(static_cast<std::int32_t>(device.type), device.index, &stream) ==
        0)
      return stream;
    PyErr_Clear();
  }
  const nb::object current =
      nb::module_::import_("torch").attr("cuda").attr("current_stream")(device.index);
  return reinterpret_cast<void*>(nb::cast<std::uintptr_t>(current.attr("cuda_stream")));
}

void* stream_of_caller(const Device& device) {
  if (device.type == DeviceType::cpu || !torch_tensor().is_valid()) return nullptr;
  return current_stream(Framework::torch, device);
}

namespace {

// What PyTorch gives for x.imag of a conjugated x: the memory holds the elements' negatives, and no
// protocol says so. Complex numbers have parts of these types.
bool is_negated(nb::handle value, DType dtype) {
  static const nb::handle is_neg = intern("is_neg");
  if (dtype != DType::float32 && dtype != DType::float64 && dtype != DType::float16) return false;
  return nb::object(value.attr(is_neg)()).is(Py_True);
}

// A tensor's elements in memory of their own, read through `take`.
std::optional<In> resolved(nb::handle value, const Asker& asker,
                           std::optional<In> (*take)(nb::handle value, const Asker& asker)) {
  const nb::object copy = value.attr("resolve_neg")();
  std::optional<In> in = take(copy, asker);
  in->owner = copy;
  in->resolved = true;
  return in;
}

std::optional<In> from_exchange(nb::handle value, const Asker& asker) {
  if (!is_torch(value)) return std::nullopt;
  const DLPackExchangeApi* api = torch_api();
  if (api == nullptr || api->view_of_py_object == nullptr) return std::nullopt;
  DLTensor tensor{};
  if (api->view_of_py_object(value.ptr(), &tensor) != 0) {
    PyErr_Clear();  // a layout without memory of its own, say; the attributes explain it
    return std::nullopt;
  }
  In in;
  fill(in.view, value, tensor, asker);
  if (is_negated(value, in.view.dtype)) return resolved(value, asker, from_exchange);
  in.framework = Framework::torch;
  return in;
}

// ---- torch: attributes, for versions whose DLPack knows no float8

std::optional<In> from_attributes(nb::handle value, const Asker& asker) {
  if (!is_torch(value)) return std::nullopt;
  const nb::object device = value.attr("device");
  const auto kind = text_of(nb::object(device.attr("type")));
  In in;
  if (kind == "cuda") {
    in.view.device = {DeviceType::cuda, nb::cast<std::int32_t>(device.attr("index"))};
  } else if (kind != "cpu") {
    raise(Code::unavailable, asker(".device must be cpu; got " + kind));
  }
  const auto layout = text_of(nb::object(value.attr("layout")));
  if (layout != "torch.strided") {
    raise(Code::invalid_argument, asker(".layout must be torch.strided; got " + layout));
  }
  const nb::object dtype = value.attr("dtype");
  in.view.dtype = known(dtype_of_numpy(dtype), shown(dtype), asker);
  if (is_negated(value, in.view.dtype)) return resolved(value, asker, from_attributes);
  const nb::tuple shape = nb::tuple(value.attr("shape"));
  const nb::tuple strides = nb::tuple(value.attr("stride")());
  in.view.rank = static_cast<int>(shape.size());
  check_rank(in.view.rank, asker);
  for (std::size_t d = 0; d < shape.size(); ++d) {
    in.view.shape[d] = nb::cast<std::int64_t>(shape[d]);
    in.view.strides[d] = nb::cast<std::int64_t>(strides[d]);
  }
  in.view.data = reinterpret_cast<void*>(nb::cast<std::uintptr_t>(value.attr("data_ptr")()));
  in.framework = Framework::torch;
  return in;
}

// ---- NumPy: the array interface, which knows ml_dtypes' types as well

// Source: https://numpy.org/doc/stable/reference/arrays.interface.html
struct ArrayInterface {
  int two;
  int nd;
  char typekind;
  int itemsize;
  int flags;
  Py_ssize_t* shape;
  Py_ssize_t* strides;
  void* data;
  PyObject* descr;
};
constexpr int kNativeOrder = 0x200;
constexpr int kWriteable = 0x400;

DType plain_dtype(char kind, int bytes) noexcept {
  struct Row {
    char kind;
    int bytes;
    DType dtype;
  };
  constexpr std::array<Row, 9> kRows{{{'f', 4, DType::float32},
                                      {'f', 2, DType::float16},
                                      {'f', 8, DType::float64},
                                      {'i', 1, DType::int8},
                                      {'u', 1, DType::uint8},
                                      {'i', 4, DType::int32},
                                      {'i', 8, DType::int64},
                                      {'i', 2, DType::int16},
                                      {'b', 1, DType::bool_}}};
  for (const Row& row : kRows) {
    if (row.kind == kind && row.bytes == bytes) return row.dtype;
  }
  return DType::undefined;
}

std::optional<In> from_array(nb::handle value, const Asker& asker) {
  static const nb::handle name = intern("__array_struct__");
  static const nb::handle dtype_name = intern("dtype");
  nb::object capsule = attribute(value, name);
  if (!capsule.is_valid()) return std::nullopt;
  const auto* array =
      static_cast<const ArrayInterface*>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
  if (array == nullptr || array->two != 2) {
    PyErr_Clear();
    return std::nullopt;
  }
  In in;
  DType dtype = plain_dtype(array->typekind, array->itemsize);
  if (dtype == DType::undefined) {
    const nb::object object = attribute(value, dtype_name);
    dtype = known(object.is_valid() ? dtype_of_numpy(object) : dtype,
                  object.is_valid() ? shown(object) : std::string(1, array->typekind), asker);
  }
  if ((array->flags & kNativeOrder) == 0 && array->itemsize > 1) {
    raise(Code::invalid_argument,
          asker(".dtype must be in this machine's byte order; got " + shown(value.attr("dtype")) +
                " (x.astype(x.dtype.newbyteorder(\"=\")) converts)"));
  }
  check_rank(array->nd, asker);
  in.view.dtype = dtype;
  in.view.data = array->data;
  in.view.rank = array->nd;
  for (std::size_t d = 0; d < static_cast<std::size_t>(array->nd); ++d) {
    in.view.shape[d] = array->shape[d];
    if (array->strides[d] % array->itemsize != 0) {
      raise(Code::invalid_argument,
            asker(".strides must be multiples of the element's " + std::to_string(array->itemsize) +
                  " bytes; got " + std::to_string(array->strides[d]) +
                  " (numpy.ascontiguousarray makes a copy)"));
    }
    in.view.strides[d] = array->strides[d] / array->itemsize;
  }
  in.read_only = (array->flags & kWriteable) == 0;
  in.framework = Framework::numpy;
  in.owner = std::move(capsule);
  return in;
}

// ---- anything else that exports DLPack

nb::object dlpack_capsule(nb::handle value) {
  static const nb::handle name = intern("__dlpack__");
  const nb::object method = attribute(value, name);
  if (!method.is_valid()) return {};
  try {
    return method(nb::arg("max_version") =
                      nb::make_tuple(kDLPackVersion.major, kDLPackVersion.minor));
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) throw;
  }
  return method();  // a producer of before DLPack 1.0
}

template <class Managed>
void release(PyObject* capsule, const char* used_name) noexcept {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, used_name));
  if (managed != nullptr && managed->deleter != nullptr) managed->deleter(managed);
}

// Takes the tensor out of the capsule, as the protocol asks, and keeps it alive with another one.
template <class Managed>
nb::object consume(nb::handle capsule, const char* name, const char* used_name, Managed** managed) {
  *managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));  // valid by now
  nb::object keeper = nb::steal(PyCapsule_New(*managed, used_name, [](PyObject* self) {
    release<Managed>(self, PyCapsule_GetName(self));
  }));
  PyCapsule_SetName(capsule.ptr(), used_name);
  PyCapsule_SetDestructor(capsule.ptr(), nullptr);
  return keeper;
}

std::optional<In> from_dlpack(nb::handle value, const Asker& asker) {
  const nb::object capsule = dlpack_capsule(value);
  if (!capsule.is_valid()) return std::nullopt;
  In in;
  in.framework = Framework::numpy;
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0) {
    DLManagedTensorVersioned* managed = nullptr;
    in.owner = consume(capsule, "dltensor_versioned", "used_dltensor_versioned", &managed);
    if (managed->version.major != kDLPackVersion.major) {
      raise(Code::unsupported, asker(".__dlpack__ must speak DLPack 1; got version " +
                                     std::to_string(managed->version.major)));
    }
    in.read_only = (managed->flags & kDLPackReadOnly) != 0;
    fill(in.view, value, managed->dl_tensor, asker);
    return in;
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor") == 0) return std::nullopt;
  DLManagedTensor* managed = nullptr;
  in.owner = consume(capsule, "dltensor", "used_dltensor", &managed);
  fill(in.view, value, managed->dl_tensor, asker);
  return in;
}

// ---- lists, memoryviews, numbers

std::optional<In> from_asarray(nb::handle value, const Asker& asker) {
  nb::object array;
  try {
    array = nb::module_::import_("numpy").attr("asarray")(value);
  } catch (const nb::python_error&) {
    return std::nullopt;
  }
  const auto kind = text_of(nb::object(array.attr("dtype").attr("kind")));
  if (kind == "O" || kind == "U" || kind == "S") return std::nullopt;  // it was no tensor
  std::optional<In> in = from_array(array, asker);
  if (in) in->owner = nb::make_tuple(array, in->owner);
  return in;
}

// What PyTorch's own operations do to a tensor that they write: whoever saved it for a gradient
// learns that it has changed, and what needs a gradient is not written where gradients are
// recorded.
void note_write(nb::handle tensor, const Asker& asker) {
  static const nb::handle increment =
      nb::object(nb::module_::import_("torch.autograd.graph").attr("increment_version")).release();
  static const nb::handle recorded =
      nb::object(nb::module_::import_("torch").attr("is_grad_enabled")).release();
  static const nb::handle requires_grad = intern("requires_grad");
  static const nb::handle is_inference = intern("is_inference");
  if (tensor.attr(requires_grad).is(Py_True) && nb::object(recorded()).is(Py_True)) {
    raise(
        Code::unsupported,
        asker(
            " must not need a gradient; got a tensor that does (write it under torch.no_grad())"));
  }
  if (nb::object(tensor.attr(is_inference)()).is(Py_True)) return;  // which has no version
  increment(tensor);
}

struct Protocol {
  const char* name;
  std::optional<In> (*take)(nb::handle value, const Asker& asker);
};
constexpr std::array<Protocol, 5> kProtocols{{
    {"exchange", from_exchange},
    {"attributes", from_attributes},
    {"array", from_array},
    {"dlpack", from_dlpack},
    {"asarray", from_asarray},
}};

}  // namespace

In acquire(nb::handle value, const char* operation, const char* argument) {
  if (value.is_none()) return {};
  const Asker asker{operation, argument};
  if (is_numpy(value)) {
    if (std::optional<In> in = from_array(value, asker)) return std::move(*in);
  }
  for (const Protocol& protocol : kProtocols) {
    if (std::optional<In> in = protocol.take(value, asker)) return std::move(*in);
  }
  raise(
      Code::invalid_argument,
      asker(" must be a tensor (NumPy, PyTorch or anything with __dlpack__); got " + shown(value)));
}

In acquire_through(const char* protocol, nb::handle value) {
  const Asker asker{"acquire", "value"};
  for (const Protocol& row : kProtocols) {
    if (std::strcmp(row.name, protocol) != 0) continue;
    if (std::optional<In> in = row.take(value, asker)) return std::move(*in);
  }
  raise(Code::invalid_argument, asker(std::string(" must speak the protocol ") + protocol));
}

In acquire_out(nb::handle value, const char* operation) {
  In in = acquire(value, operation, "out");
  const Asker asker{operation, "out"};
  if (in.read_only)
    raise(Code::invalid_argument, asker(" must be writable; got a read-only tensor"));
  if (in.resolved) {
    raise(
        Code::invalid_argument,
        asker(" must be a tensor whose memory holds its elements; got a view of their negatives"));
  }
  if (in.framework == Framework::torch) note_write(value, asker);
  return in;
}

}  // namespace octavo::python
