#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Says in a wheel what it contains: wheel_contents.py WHEEL OUT_DIR.

auditwheel put oneTBB and RE2 into the wheel; CLI11, fmt, nlohmann_json and nanobind are headers that were compiled in. Their
licences are put beside the wheel's own, and all of them into a bill of materials (CycloneDX, PEP 770).
"""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Component:
    """licence: SPDX. package: Debian's, whose copyright is the licence's text; without it a distribution of PyPI.
    library: how its file in the wheel begins; without it headers alone."""
    name: str
    licence: str
    package: str | None
    library: str | None = None


COMPONENTS = (
    Component("oneTBB", "Apache-2.0", "libtbb12", "libtbb-"),
    Component("RE2", "BSD-3-Clause", "libre2-9", "libre2-"),
    Component("fmt", "MIT", "libfmt-dev"),
    Component("nlohmann_json", "MIT", "nlohmann-json3-dev"),
    Component("CLI11", "BSD-3-Clause", "libcli11-dev"),
    Component("nanobind", "BSD-3-Clause", None),
)
EXPRESSION = "Apache-2.0 AND BSD-3-Clause AND MIT"


def version(component):
    if component.package is None:
        return importlib.metadata.version(component.name)
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", component.package], check=True, capture_output=True, text=True).stdout


def text(component):
    if component.package is not None:
        return Path("/usr/share/doc", component.package, "copyright").read_bytes()
    (path,) = (file for file in importlib.metadata.files(component.name) if file.name == "LICENSE")
    return path.locate().read_bytes()


def add_licences(info):
    """Writes the licences into a dist-info and names them in its METADATA."""
    folder = info / "licenses"
    folder.mkdir(exist_ok=True)
    lines = []
    for component in COMPONENTS:
        (folder / f"{component.name}.txt").write_bytes(text(component))
        lines.append(f"License-File: {component.name}.txt")
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    own = "License-Expression: Apache-2.0\n"
    if own not in metadata:
        sys.exit(f"wheel_contents: METADATA must have '{own.strip()}'; got\n{metadata[:400]}")
    (info / "METADATA").write_text(
        metadata.replace(own, f"License-Expression: {EXPRESSION}\n" + "".join(line + "\n" for line in lines), 1),
        encoding="utf-8")


def add_bill(tree, info):
    """Writes the bill of materials; every library in the wheel is one of COMPONENTS."""
    name, own = info.name.removesuffix(".dist-info").split("-")
    unknown = [path.name for path in tree.glob("*.libs/*") if not any(c.library and path.name.startswith(c.library) for c in COMPONENTS)]
    if unknown:
        sys.exit(f"wheel_contents: every library must be a row of COMPONENTS; got {unknown}")
    parts = []
    for component in COMPONENTS:
        found = version(component)
        where = f"pypi/{component.name}" if component.package is None else f"deb/debian/{component.package}"
        parts.append({"type": "library", "bom-ref": component.name, "name": component.name, "version": found,
                      "purl": f"pkg:{where}@{urllib.parse.quote(found)}", "licenses": [{"license": {"id": component.licence}}]})
    whole = {"type": "library", "bom-ref": name, "name": name, "version": own, "purl": f"pkg:pypi/{name}@{own}",
             "licenses": [{"license": {"id": "Apache-2.0"}}]}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": whole}, "components": parts,
            "dependencies": [{"ref": name, "dependsOn": [part["bom-ref"] for part in parts]}]}
    folder = info / "sboms"
    folder.mkdir(exist_ok=True)
    for other in folder.glob("auditwheel*"):  # which knows shared libraries alone
        other.unlink()
    (folder / f"{name}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")


def main(wheel, out):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["wheel", "unpack", wheel, "-d", scratch], check=True)
        (tree,) = Path(scratch).iterdir()
        (info,) = tree.glob("*.dist-info")
        add_licences(info)
        add_bill(tree, info)
        subprocess.run(["wheel", "pack", tree, "-d", out], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
