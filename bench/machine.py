# SPDX-License-Identifier: Apache-2.0
"""What this machine is, and which commit it measures."""

import re
import subprocess
from pathlib import Path

BENCH = Path(__file__).resolve().parent

# Families of processors by (vendor, family): the first row whose models hold the model.
GENERATIONS = {
    ("AuthenticAMD", 23): ((range(0x30), "zen"), (range(0x100), "zen2")),
    ("AuthenticAMD", 25): ((range(0x10, 0x20), "zen4"), (range(0x60, 0x80), "zen4"), (range(0xA0, 0xB0), "zen4"),
                           (range(0x100), "zen3")),
    ("AuthenticAMD", 26): ((range(0x100), "zen5"),),
    ("GenuineIntel", 6): (((0x55,), "skylake-sp"), ((0x6A, 0x6C), "ice-lake-sp"), ((0x8F,), "sapphire-rapids"),
                          ((0xCF,), "emerald-rapids"), ((0xAD, 0xAE), "granite-rapids")),
}


def cpu_fields() -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def generation() -> str:
    """"zen5", or the numbers that would say so."""
    fields = cpu_fields()
    if "cpu family" not in fields:
        return "part-" + fields.get("CPU part", "unknown")
    family, model = int(fields["cpu family"]), int(fields["model"])
    for models, name in GENERATIONS.get((fields.get("vendor_id", ""), family), ()):
        if model in models:
            return name
    return f"family{family}-model{model}"


def file_name(cpu: str) -> str:
    """"AMD EPYC 9R14" on Zen 4 becomes "amd-epyc-9r14-zen4"."""
    words = re.sub(r"\((r|tm)\)|\bcpu\b|@.*|\d+-core.*", "", cpu.lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {generation()}").strip("-")


def caches() -> str:
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (index / "type").read_text(encoding="utf-8").strip()
        if kind != "Instruction":
            level, size = ((index / name).read_text(encoding="utf-8").strip() for name in ("level", "size"))
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found) or "unknown"


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(("git", "-C", str(BENCH), *words), capture_output=True, text=True,
                              check=False).stdout.strip()
    name = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return name + (" with changes" if git("status", "--porcelain", "-uno") else "")
