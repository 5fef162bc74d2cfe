# SPDX-License-Identifier: Apache-2.0
"""Safetensors files of float32 tensors, for tests of the command line."""
import json
import struct


def write(path, tensors, metadata=None):
    """Float32 tensors {name: (shape, values)} as a safetensors file."""
    header, data = {"__metadata__": metadata or {}}, b""
    for name, (shape, values) in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path, name):
    raw = path.read_bytes()
    size, = struct.unpack_from("<Q", raw)
    begin, end = json.loads(raw[8:8 + size])[name]["data_offsets"]
    return struct.unpack_from(f"<{(end - begin) // 4}f", raw, 8 + size + begin)
