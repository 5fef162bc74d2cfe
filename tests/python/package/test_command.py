# SPDX-License-Identifier: Apache-2.0
"""The command `octavo` that the package installs."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import octavo

COMMAND = Path(sys.executable).with_name("octavo")


def run(*arguments, **options):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, **options)


def test_the_package_brings_the_command():
    (script,) = entry_points(group="console_scripts", name="octavo")
    assert script.value == "octavo_command:main"
    assert run("--version").stdout == f"octavo {octavo.__version__}\n"


def test_exit_codes_and_outputs_are_the_programs():
    wrong = run("frobnicate")
    assert (wrong.returncode, wrong.stdout) == (2, "") and wrong.stderr.startswith("octavo: command frobnicate is unknown")
    assert run("inspect", "no such file").returncode == 4
    assert run("explain", "scaled_mm int8:int8:fp32 2x2x2").stdout.startswith("scaled_mm int8:int8:fp32 2x2x2\n")


def test_nothing_of_the_working_folder_runs(tmp_path):
    """tests/cli/hostile_folder_test.py has the program's verbs; this is the script that starts it."""
    for name in (*sys.stdlib_module_names, "octavo_command", "octavo", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'a').write(__file__)\n")
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    assert run("--version", cwd=tmp_path, env=env).stdout.startswith("octavo ")
    assert not (tmp_path / "ran").exists()


def test_a_name_of_the_hub_is_read_from_the_cache_without_a_network(tmp_path):
    """tests/cli/hub_test.py has every verb and what may go wrong; this is the real package and its cache."""
    pytest.importorskip("huggingface_hub")
    safetensors = pytest.importorskip("safetensors.numpy")
    commit = "0123456789" * 4
    cached = tmp_path / "hub" / "models--someone--tiny"
    for part in ("refs", "blobs", f"snapshots/{commit}"):
        (cached / part).mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    safetensors.save_file({"up.weight": np.ones((16, 32), np.float32)}, cached / "blobs" / "0")
    (cached / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/0")
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        env.pop(name, None)
    done = run("quantize", "someone/tiny", "out", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 0 and (tmp_path / "out" / "model.safetensors").exists(), done.stderr
    missing = run("inspect", "someone/else", cwd=tmp_path, env=env)
    assert missing.returncode == 4 and "must be a model of the Hugging Face Hub" in missing.stderr, missing.stderr


def test_pages_are_made_by_the_python_of_the_package(tmp_path):
    """Whatever python3 PATH has."""
    started = tmp_path / "octavo"
    started.write_text("#!/bin/sh\necho $OCTAVO_PYTHON\n")
    started.chmod(0o755)
    code = "import octavo_command, sys; octavo_command.__file__ = sys.argv[1]; octavo_command.main()"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "module.py"], capture_output=True, text=True)
    assert done.stdout == f"{os.path.normpath(sys.executable)}\n"
    named = subprocess.run([sys.executable, "-c", code, tmp_path / "module.py"], capture_output=True, text=True,
                           env={**os.environ, "OCTAVO_PYTHON": "/else"})
    assert named.stdout == "/else\n"
