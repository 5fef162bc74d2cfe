# SPDX-License-Identifier: Apache-2.0
"""What an installed wheel does where nothing but pip's packages is there: use.py [LIBTBB].

LIBTBB: a system's oneTBB, loaded before Octavo so that both are in one process.
"""

import ctypes
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

if len(sys.argv) > 1:
    ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)

import numpy as np

import octavo


def write_folder(path, weight):
    """A model's folder of one layer, written by hand."""
    path.mkdir()
    header = json.dumps({"l.up_proj.weight": {"dtype": "F32", "shape": list(weight.shape),
                                              "data_offsets": [0, weight.nbytes]}}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + weight.tobytes())
    (path / "config.json").write_text("{}")


octavo.set_num_threads(2)
a = np.random.default_rng(1).integers(-127, 128, (256, 512), np.int8)
b = np.random.default_rng(2).integers(-127, 128, (512, 300), np.int8)
product = octavo.scaled_mm(a, b, out_dtype=np.float32)
assert np.array_equal(product, (a.astype(np.int32) @ b.astype(np.int32)).astype(np.float32))

with tempfile.TemporaryDirectory() as scratch:
    weight = np.random.default_rng(3).standard_normal((128, 256)).astype(np.float32)
    write_folder(Path(scratch, "in"), weight)
    report = octavo.quantize_file(Path(scratch, "in"), Path(scratch, "out"), "int8-dynamic")
    file = octavo.open_checkpoint(Path(scratch, "out"))
    assert len(report.layers) == 1 and file.quantized_layers() == ["l.up_proj"]
    assert file.declarations[0].where == "config.json"
    assert octavo.linear(weight[:3], file.weight("l.up_proj").pack()).shape == (3, 128)

    # The command that pip puts beside this Python: its exit codes, and the same bytes.
    command = Path(sys.executable).with_name("octavo")
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, cwd=scratch)
    assert told.stdout == f"octavo {octavo.__version__}\n", told
    subprocess.run([command, "quantize", "in", "again", "--scheme", "int8-dynamic", "--quiet"], check=True, cwd=scratch)
    assert Path(scratch, "again", "model.safetensors").read_bytes() == Path(scratch, "out", "model.safetensors").read_bytes()
    assert subprocess.run([command, "inspect", "none"], capture_output=True, cwd=scratch).returncode == 4

libraries = {line.split()[-1] for line in open("/proc/self/maps") if any(name in line for name in ("libtbb", "libre2", "libfmt"))}
vendored = {path for path in libraries if "octavo.libs" in path}
assert len(vendored) == 2, libraries  # fmt is compiled in
assert len(libraries) == 2 + (len(sys.argv) > 1), libraries
print("octavo", octavo.__version__, "works; loaded:", *sorted(Path(path).name for path in libraries))
