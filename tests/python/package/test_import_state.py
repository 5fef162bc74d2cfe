# SPDX-License-Identifier: Apache-2.0
"""Importing octavo.torch changes what docs/python.md lists, and nothing else that other code can see."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "python.md"

# What a process shares, taken before and after the import. Other libraries are there first, so that their own imports change nothing.
PROGRAM = """
import json, os, random, signal, sys, warnings
import numpy, torch
for name in {libraries}:
    __import__(name)

def state():
    import importlib
    found = dict(
        environment=dict(os.environ), filters=[str(row) for row in warnings.filters], path=list(sys.path), hook=repr(sys.excepthook),
        display=repr(sys.displayhook), signals=[str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
        random=hash(random.getstate()), numpy=hash(numpy.random.get_state()[1].tobytes()), torch=hash(torch.get_rng_state().numpy().tobytes()),
        errors=numpy.geterr(), printing=str(numpy.get_printoptions()), threads=[torch.get_num_threads(), torch.get_num_interop_threads()],
        dtype=str(torch.get_default_dtype()), device=str(torch.get_default_device()), grad=torch.is_grad_enabled(),
        deterministic=torch.are_deterministic_algorithms_enabled(), precision=torch.get_float32_matmul_precision(),
        flush=torch.is_anomaly_enabled(), finders=[repr(f) if "octavo" not in type(f).__module__ else "octavo" for f in sys.meta_path])
    for module in [sys.modules[name] for name in {modules} if name in sys.modules]:
        for name, value in list(vars(module).items()):
            found[f"{{module.__name__}}.{{name}}"] = str(id(value))
            if isinstance(value, type):
                found |= {{f"{{module.__name__}}.{{name}}.{{member}}": str(id(own)) for member, own in list(vars(value).items())
                          if not member.startswith(("_abc", "__"))}}
            if isinstance(value, dict) and not name.startswith("__"):
                found |= {{f"{{module.__name__}}.{{name}}[{{key}}]": str(id(own)) for key, own in list(value.items())}}
    return found

before = state()
import {imported}
after = state()
print(json.dumps(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))))
"""
MODULES = ["torch", "torch.nn", "torch.nn.functional", "torch.Tensor", "torch.nn.modules.linear", "numpy", "transformers.modeling_utils",
           "transformers.quantizers.auto", "transformers.core_model_loading", "transformers.conversion_mapping"]


def changed(imported, libraries):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(imported=imported, libraries=libraries, modules=MODULES)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def table():
    section = PAGE.read_text(encoding="utf-8").split("## What importing octavo.torch changes\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[1:]


def test_octavo_alone_changes_nothing():
    pytest.importorskip("torch")
    assert changed("octavo", []) == []


def test_octavo_torch_changes_what_the_page_lists():
    pytest.importorskip("transformers")
    found = changed("octavo.torch", ["transformers.modeling_utils", "transformers.quantizers.auto", "torch.ao.quantization"])
    rows = " ".join(table())
    auto = "transformers.quantizers.auto."
    own = {f"{auto}{name}" for name in ("AUTO_QUANTIZER_MAPPING[octavo]", "AUTO_QUANTIZATION_CONFIG_MAPPING[octavo]",
                                        "AUTO_QUANTIZATION_CONFIG_MAPPING[compressed-tensors]", "AUTO_QUANTIZATION_CONFIG_MAPPING[fp8]",
                                        "AUTO_QUANTIZATION_CONFIG_MAPPING[bitsandbytes_8bit]")}
    saving = {f"transformers.modeling_utils.PreTrainedModel.{name}" for name in ("save_pretrained", "get_memory_footprint")}
    assert {name for name in found if "octavo" not in name.partition("[")[0]} - own - saving <= {"finders"}
    assert own <= set(found) and saving <= set(found)
    assert all(word in rows for word in ("transformers.quantizers.auto", "PreTrainedModel.save_pretrained", "sys.meta_path"))


def test_the_page_names_every_module_that_is_awaited():
    pytest.importorskip("torch")
    program = ("import sys, json, octavo.torch\n"
               "print(json.dumps([f.waits[0] for f in sys.meta_path if type(f).__module__ == 'octavo.torch._when_imported']))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rows = " ".join(table())
    for name in json.loads(done.stdout):
        assert name in rows or name == "transformers.modeling_utils" and "PreTrainedModel" in rows, name
