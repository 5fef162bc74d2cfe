# SPDX-License-Identifier: Apache-2.0
"""How tensors come in: every protocol, the same memory, and sentences for what cannot come in."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

import octavo
from octavo import _octavo

TYPES = ["float32", "float16", "int8", "uint8", "int32", "int64", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz",
         "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]


def numpy_type(name):
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("name", TYPES)
def test_numpy_arrays_come_without_a_copy(name):
    x = np.zeros((4, 6), numpy_type(name))
    view = x.T[::2]
    assert _octavo._acquire("array", view) == (name, [3, 4], [2, 6], view.ctypes.data, False)


@pytest.mark.parametrize("protocol", ["exchange", "attributes"])
@pytest.mark.parametrize("name", TYPES)
def test_torch_tensors_come_without_a_copy(name, protocol):
    torch = pytest.importorskip("torch")
    x = torch.zeros((4, 6), dtype=getattr(torch, name)).t()[::2]
    if protocol == "exchange" and not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this torch has no exchange interface")
    assert _octavo._acquire(protocol, x) == (name, [3, 4], [2, 6], x.data_ptr(), False)


class Exporter:
    """An object that speaks DLPack and nothing else."""

    def __init__(self, inner, versions=True):
        self.inner, self.versions = inner, versions

    def __dlpack__(self, **options):
        if not self.versions and options:
            raise TypeError("no options")
        return self.inner.__dlpack__(**options)


@pytest.mark.parametrize("versions", [True, False])
def test_dlpack_with_and_without_versions(versions):
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert _octavo._acquire("dlpack", Exporter(x, versions))[:4] == ("float32", [4, 6], [6, 1], x.ctypes.data)
    y = octavo.scaled_mm(Exporter(x, versions), Exporter(np.eye(6, dtype=np.float32), versions))
    assert np.array_equal(y, x)


def test_a_consumed_capsule_is_marked():
    class Kept:
        def __dlpack__(self, **options):
            self.capsule = np.ones((2, 2), np.float32).__dlpack__(**options)
            return self.capsule

    kept = Kept()
    octavo.scaled_mm(kept, np.ones((2, 2), np.float32))
    assert "used_dltensor_versioned" in repr(kept.capsule)


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class _Versioned(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
                ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _Tensor)]


class Handmade:
    """A versioned DLPack tensor written field by field."""

    def __init__(self, device=1, major=1, code=2, bits=32, lanes=1, ndim=2):
        self.shape = (ctypes.c_int64 * 16)(*[1] * 16)
        self.data = np.ones(16, np.float32)
        tensor = _Tensor(self.data.ctypes.data, _Device(device, 0), ndim, _Type(code, bits, lanes), self.shape, None, 0)
        self.managed = _Versioned(major, 1, None, None, 0, tensor)

    def __dlpack__(self, **options):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.managed), b"dltensor_versioned", None)


def test_handmade_tensors():
    one = np.ones((1, 1), np.float32)
    assert octavo.scaled_mm(Handmade(), one)[0, 0] == 1  # null strides: compact
    with pytest.raises(RuntimeError, match=r"a\.device must be cpu \(.*\); got cuda:0"):
        octavo.scaled_mm(Handmade(device=2), one)
    with pytest.raises(NotImplementedError, match="DLPack 1"):
        octavo.scaled_mm(Handmade(major=2), one)
    with pytest.raises(ValueError, match=r"DLPack type \(5, 128, 1\)"):
        octavo.scaled_mm(Handmade(code=5, bits=128), one)
    with pytest.raises(ValueError, match="DLPack type"):
        octavo.scaled_mm(Handmade(lanes=2), one)
    with pytest.raises(ValueError, match=r"input\.ndim must be in \[0, 8\]; got 9"):
        octavo.scaled_mm(Handmade(ndim=9), one)


HOSTILE = {  # every field of a descriptor
    "ndim": [-1, -2**31, 9, 2**31 - 1],
    "shape": [None, [-1, 1], [2**61 - 1, 1], [2**62, 2**62], [2**31, 2**31]],
    "strides": [[2**62, 2**62], [-2**63, 1]],
    "data": [None],
    "byte_offset": [],  # any place of memory is the exporter's word
    "dtype": [_Type(255, 32, 1), _Type(2, 0, 1), _Type(2, 32, 0), _Type(2, 255, 1)],
    "device": [_Device(0, 0), _Device(2, 0), _Device(-1, -1), _Device(2**31 - 1, 0)],
}


@pytest.mark.parametrize("field", [name for name, _ in _Tensor._fields_])
def test_every_field_of_a_descriptor_may_be_hostile(field):
    one = np.ones((1, 1), np.float32)
    for value in HOSTILE[field]:
        made = Handmade()
        tensor = made.managed.tensor
        if isinstance(value, list):
            array = (ctypes.c_int64 * 8)(*value)
            made.kept = array
            value = ctypes.cast(array, ctypes.POINTER(ctypes.c_int64))
        elif value is None and field == "shape":
            value = ctypes.POINTER(ctypes.c_int64)()
        setattr(tensor, field, value)
        if field == "strides":
            tensor.shape[0] = tensor.shape[1] = 2**40
        for call in (lambda: octavo.scaled_mm(made, one), lambda: octavo.scaled_mm(one, made), lambda: octavo.quantize(made),
                     lambda: octavo.pack(made)):
            with pytest.raises((ValueError, RuntimeError, NotImplementedError)) as caught:
                call()
            said = str(caught.value)  # "too big": NumPy, asked for the result's memory
            assert "; got " in said or "DLPack" in said or "too big" in said, said


def test_lists_memoryviews_and_numbers():
    assert octavo.scaled_mm(memoryview(np.eye(2, dtype=np.float32)), np.ones((2, 2), np.float32))[0, 0] == 1
    assert octavo.scaled_mm([[1.0, 2.0]], np.ones((2, 1), np.float32))[0, 0] == 3
    with pytest.raises(ValueError, match="float64"):
        octavo.scaled_mm(np.array([[1.0, 2.0]]), np.ones((2, 1), np.float32))
    with pytest.raises(ValueError, match="input must be a tensor"):
        octavo.scaled_mm([object()], np.ones((2, 1), np.float32))
    assert octavo.scaled_mm(np.ones((1, 2), np.int8), np.ones((2, 1), np.int8), np.float32(0.5))[0, 0] == 1


def test_unusual_torch_tensors():
    torch = pytest.importorskip("torch")
    one = torch.ones((2, 2))
    with pytest.raises(RuntimeError, match=r"tensors\.layout must be torch\.strided; got torch\.sparse_coo"):
        octavo.scaled_mm(one.to_sparse(), one)
    with pytest.raises((ValueError, NotImplementedError, RuntimeError)):
        octavo.scaled_mm(torch.ones((2, 2), device="meta"), one.numpy())
    with pytest.raises(ValueError, match="float64"):
        octavo.scaled_mm(one.double(), one.double())
    negative = torch.complex(one, one).conj().imag  # a view that negates as it is read
    assert torch.equal(octavo.scaled_mm(negative, torch.eye(2)), -one)
    parameter = torch.nn.Parameter(one)
    assert octavo.scaled_mm(parameter, one).requires_grad
