# SPDX-License-Identifier: Apache-2.0
"""What a report of a bug should say of the machine and of the packages."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from . import _octavo

# Packages that results depend on, whether they are imported or not.
_PACKAGES = ("octavo", "numpy", "ml_dtypes", "torch", "transformers", "peft", "accelerate", "safetensors", "compressed-tensors", "bitsandbytes")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def info() -> dict[str, Any]:
    """What this Octavo runs on: what `octavo info` prints, as a dictionary.

    Returns:
        version, python, platform, cpu (its name), features (of the CPU: {name: present}), backends ({name: why it is not usable, or
        None}), threads (how many calls run on, and whose), packages ({name: version, or None where it is not installed}).

    Example:
        >>> import octavo
        >>> sorted(octavo.info())
        ['backends', 'cpu', 'features', 'packages', 'platform', 'python', 'threads', 'version']
    """
    return {"version": _version("octavo"), "python": sys.version.split()[0], "platform": platform.platform(), "cpu": _octavo.cpu_name(),
            "features": _octavo.cpu_features(),
            "backends": {backend.name: None if backend.usable else backend.unavailable for backend in _octavo.backends()},
            "threads": f"{_octavo.get_num_threads()}: {_octavo.threads_reason()}",
            "packages": {package: _version(package) for package in _PACKAGES}}


def show_versions() -> None:
    """Prints octavo.info() for a report of a bug.

    Example:
        >>> import octavo
        >>> octavo.show_versions()  # doctest: +ELLIPSIS
        octavo ...
    """
    found = info()
    packages, features, backends = found["packages"], found["features"], found["backends"]
    lines = [f"octavo {found['version']}, Python {found['python']}, {found['platform']}",
             f"CPU: {found['cpu']} ({', '.join(name for name, present in features.items() if present)})",
             *(f"backend {name}: {'usable' if why is None else why}" for name, why in backends.items()),
             f"threads: {found['threads']}",
             *(f"{name} {number}" for name, number in packages.items() if number and name != "octavo")]
    print("\n".join(lines))
