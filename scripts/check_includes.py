#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Dependencies point one way: core <- backends <- ops <- weights <- checkpoint, layers <- edges.
"""Usage: check_includes.py [--self-test]

Reads every #include of the project against the tables below. A file obeys the first row that its
path matches; a header may be included when one pattern of that row matches it. "{own}" is the
folder that the row's star stands for, "./" a header beside the file, "!" a header that others of the
row must not let in. Standard headers are free.

A household is a folder of rooms: each sees the rooms before it in its table, and what the household
sees. Rooms of octavo.torch import so, too. A folder holds at most 25 sources, or MANY says why not;
DESIGN.md names every room.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("include", "src", "kit", "tools", "bench", "examples", "tests", "python")
SUFFIXES = {".c", ".h", ".hpp", ".cpp", ".cu", ".cuh", ".inc"}

SYSTEM = ("unistd.h", "dirent.h", "fcntl.h", "pthread.h", "sched.h", "spawn.h", "sys/*.h", "asm/hwcap.h")
C_STANDARD = {"stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}
CPU = ("cpuid.h", "*mmintrin.h", "immintrin.h", "arm_neon.h", "arm_sve.h")
CUDA = ("cuda*", "cub/*", "cute/*", "cutlass/*", "cublas*", "nv/*", "mma.h")
TORCH = ("torch/*", "ATen/*", "c10/*", "nanobind/*", "Python.h")
CONTRACT = ("backends/backend.hpp", "backends/passes.hpp", "backends/arena.hpp")
BACKEND = ("octavo/*", "core/*", *CONTRACT, "backends/host/*", "fmt/*")
CPU_BACKEND = (*BACKEND, "backends/cpu/[!/]*.hpp", "backends/cpu/kernels/*", *CPU)
# Operands may be a device's: what reads or writes elements is a backend's pass.
NO_ELEMENTS = ("!core/data/element.hpp", "!core/data/convert.hpp", "!core/threads/parallel.hpp", "!core/data/rows.hpp",
               "!core/scales/scale_values.hpp", "!core/scales/scale_rows.hpp", "!core/fp_env.hpp")
OPERATION = ("octavo/*", "core/*", *NO_ELEMENTS, "ops/[!/]*.hpp", *CONTRACT, "fmt/*")
EDGE = ("octavo/*", "./*", "fmt/*", "nlohmann/*", "CLI/*", "benchmark/*", *SYSTEM)


class Layer(NamedTuple):
    name: str
    files: str  # one star at most: the layer's own folder
    sees: tuple[str, ...]


class Household(NamedTuple):
    name: str
    folder: str  # of all rooms
    include: str  # how an #include of it begins
    sees: tuple[str, ...]
    rooms: tuple[str, ...]  # a room sees those before it

    def layers(self) -> Iterator[Layer]:
        seen = [f"{self.include}[!/]*.hpp", f"{self.include}[!/]*.inc"]
        for room in self.rooms:
            seen.append(f"{self.include}{room}/*")
            yield Layer(f"{self.name}: {room}", f"{self.folder}{room}/", (*self.sees, *seen))
        yield Layer(self.name, self.folder, (*self.sees, *seen))

    def cases(self) -> Iterator[tuple[str, str, str]]:
        for before, room, after in zip(("", *self.rooms), self.rooms, (*self.rooms[1:], "")):
            good = [f"{self.include}{name}/y.hpp" for name in (before, room) if name]
            yield f"{self.folder}{room}/x.hpp", " ".join(good), f"{self.include}{after}/y.hpp" if after else "mpi.h"
        yield f"{self.folder}x.hpp", f"{self.include}{self.rooms[-1]}/y.hpp", "mpi.h"


HOUSEHOLDS: tuple[Household, ...] = (
    Household("core", "src/core/", "core/",
              ("octavo/*", "fmt/*", "oneapi/tbb/*", "dlfcn.h", *SYSTEM, *CPU),
              ("devices", "threads", "data", "problem", "scales")),
    Household("kernels", "src/backends/cpu/kernels/", "backends/cpu/kernels/",
              ("octavo/code_errors.hpp", "octavo/dtype.hpp", "octavo/numeric.hpp", "core/scales/scale_rule.hpp", *CPU),
              ("vec", "tile", "panels", "unpacked", "amx", "codes", "rows", "x86", "arm")),
    Household("CUDA kernels", "src/backends/cuda/kernels/", "backends/cuda/kernels/",
              ("octavo/*", "core/data/code_table.hpp", "core/scales/learned_step.hpp", "core/scales/scale_rule.hpp",
               "backends/cuda/machine/*", "backends/cuda/device/*"),
              ("common", "general", "sm80", "sm90", "passes")),
    Household("the CUDA backend", "src/backends/cuda/", "backends/cuda/",
              (*BACKEND, "backends/cuda/machine/*", "backends/cuda/device/*", "backends/cuda/kernels/*", *CUDA),
              ("launch", "passes", "products")),
    Household("checkpoint", "src/checkpoint/", "checkpoint/",
              ("octavo/*", "core/*", "weights/*", "fmt/*", "nlohmann/*", "re2/*", "dlfcn.h", *SYSTEM),
              ("text", "safetensors", "gguf", "declared", "models", "open", "dialects", "layers", "parts", "calibrated", "steps",
               "plan", "write")),
    Household("the C ABI", "src/capi/", "capi/", ("octavo/*", "fmt/*"), ("operations", "files")),
    Household("the command line", "tools/octavo/", "", (*EDGE, "kit/*"), ("products", "models", "report")),
    Household("the Python module", "python/src/", "", (*EDGE, *TORCH, "cxxabi.h", "dlfcn.h"), ("tensors", "files", "operations", "ranks")),
    Household("the example", "examples/reverse_dictionary/", "", EDGE, ("model", "text")),
    Household("the kit", "kit/", "kit/", (*EDGE, *CPU, "dlfcn.h"), ("lines", "operands", "oracle", "peers", "timing")),
)

# Packages of octavo.torch; a room imports those before it.
PYTHON_ROOMS = ("operators", "layers", "overriding", "models", "ranks", "transformers", "calibration")

# Folders of more than 25 sources, and why.
MOST_SOURCES = 25
MANY = {
    "include/octavo": "a header for each thing that a program may include, and the old paths of those that moved",
    "python/octavo": "a module for each thing that a program may import, and one idea in each private one",
}

MACHINE = ("backends/cuda/machine/*",)
LAYERS = (
    Layer("the header of MPI's ranks", "include/octavo/mpi.hpp", ("octavo/*", "mpi.h")),
    Layer("public headers", "include/octavo/", ("octavo/*",)),
    Layer("the machine of CUDA kernels", "src/backends/cuda/machine/", MACHINE),
    Layer("that machine on a device", "src/backends/cuda/device/", (*MACHINE, "backends/cuda/device/*", *CUDA)),
    Layer("the example's float32 baseline", "examples/reverse_dictionary/model/float32_product.", (*EDGE, "model/*", "[!/]*", "oneapi/*")),
    *(layer for household in HOUSEHOLDS for layer in household.layers()),
    Layer("the registry", "src/backends/registry.cpp", ("octavo/*", "core/*", "backends/*")),
    Layer("the dot engine", "src/backends/cpu/dot/",
          (*CPU_BACKEND, "backends/cpu/dot/*", "backends/cpu/finish/*")),
    Layer("the generic engine", "src/backends/cpu/generic/",
          (*CPU_BACKEND, "backends/cpu/generic/*", "backends/cpu/finish/*")),
    Layer("the finish of products", "src/backends/cpu/finish/",
          (*CPU_BACKEND, "backends/cpu/finish/*")),
    Layer("the passes of CPU backends", "src/backends/cpu/passes/",
          (*CPU_BACKEND, "backends/cpu/passes/*")),
    Layer("the table of a CPU's passes", "src/backends/cpu/passes.cpp",
          (*CPU_BACKEND, "backends/cpu/passes/passes.hpp", "backends/cpu/finish/finish.hpp")),
    Layer("what CPU backends share", "src/backends/cpu/", CPU_BACKEND),
    Layer("a backend", "src/backends/*/", (*BACKEND, "backends/{own}/*")),
    Layer("the contract of backends", "src/backends/",
          ("octavo/*", "core/*", *CONTRACT)),
    Layer("products", "src/ops/product/", (*OPERATION, "ops/product/*")),
    Layer("quantisers", "src/ops/quantize/", (*OPERATION, "ops/product/*", "ops/quantize/*")),
    Layer("gradients", "src/ops/gradients/",
          (*OPERATION, "ops/product/*", "ops/quantize/*", "ops/gradients/*")),
    Layer("PyTorch's signatures", "src/ops/functional/", (*OPERATION, "ops/*")),
    Layer("what operations share", "src/ops/", OPERATION),
    Layer("problem lines", "src/lines/", (*OPERATION, "ops/product/*", "lines/*")),
    Layer("weights", "src/weights/", ("octavo/*", "core/*", "weights/*", "fmt/*")),
    Layer("layers", "src/layers/",
          ("octavo/*", "core/*", *NO_ELEMENTS, "ops/*", "layers/*", *CONTRACT, "fmt/*")),
    Layer("parallel layers", "src/parallel/",
          ("octavo/*", "core/*", *NO_ELEMENTS, "ops/*", "layers/*", "parallel/*", *CONTRACT, "fmt/*")),
    Layer("a peer", "bench/peers/",
          ("kit/peers/peer.hpp", "./support.hpp", "dlfcn.h", "sys/mman.h", "oneapi/*", "cblas.h", "aocl_dlp*.h", "ggml*.h")),
    Layer("the bench", "bench/", (*EDGE, "kit/*", "dlfcn.h", *CPU)),
    Layer("an example", "examples/*/", EDGE),
    Layer("an example", "examples/", EDGE),
    Layer("tests of the examples", "tests/examples/",
          (*EDGE, "gtest/*", "kit/*", "support/*", "parallel/thread_ranks.hpp", "[!/]*.hpp", "model/*", "text/*")),
    Layer("tests of the kernels", "tests/kernels/",
          (*EDGE, *CPU, "gtest/*", "kit/*", "support/*", "kernels/*", "backends/cpu/*", *CONTRACT, "core/*",
           "ops/helpers.hpp")),
    Layer("what a device is asked", "tests/gpu/",
          (*EDGE, "gtest/*", "kit/*", "support/*", "gpu/*", "cuda/*", "simulator/*", "core/*", "ops/helpers.hpp", "backends/cuda/*")),
    Layer("the machine of CUDA kernels in software", "tests/simulator/",
          ("backends/cuda/machine/*", "backends/cuda/kernels/*", "backends/cuda/launch/launch.hpp", "simulator/*",
           "octavo/numeric.hpp", "fmt/*", "ucontext.h", "sys/mman.h", "sanitizer/*")),
    Layer("tests of CUDA kernels", "tests/cuda/",
          (*EDGE, "gtest/*", "kit/*", "support/*", "cuda/*", "simulator/*", "core/*", "ops/helpers.hpp", *CONTRACT,
           "backends/cuda/*", *CUDA)),
    Layer("the far device", "tests/support/devices/far_device.",
          (*EDGE, "kit/*", "support/*", *CONTRACT, "core/*")),
    Layer("what passes are tested on", "tests/support/*passes.hpp", (*EDGE, "support/*", *CONTRACT)),
    Layer("what passes are tested on", "tests/support/pass_operands.",
          (*EDGE, "support/*", *CONTRACT, "ops/helpers.hpp")),
    Layer("the simulated driver", "tests/support/devices/simulated_driver.",
          (*EDGE, "kit/*", "support/*", "simulator/*", "core/*", "backends/cuda/*")),
    Layer("tests of the C ABI", "tests/capi/",
          ("octavo/*", "./*", "capi/*", "gtest/*", "support/*")),
    Layer("system calls that a test gets in between of", "tests/cli/signal_shim.", ("dlfcn.h", "signal.h", "std*.h", *SYSTEM)),
    Layer("tests of the command line", "tests/cli/", (*EDGE, "gtest/*", "kit/peers/peer.hpp", "cli/*")),
    Layer("a fuzz target", "tests/fuzz/", ("octavo/*", "checkpoint/*", "fuzz/read_file.hpp", "fmt/*", *SYSTEM)),
    Layer("digests of results", "tests/bits/", (*EDGE, "kit/*", "support/*", "core/cpu_features.hpp", "fmt/*", *SYSTEM)),
    Layer("tests of plans", "tests/plan/",
          ("./*", "gtest/*", "kit/*", "octavo/*", "support/*", "core/*", "ops/*")),
    Layer("tests of ranks", "tests/parallel/",
          (*EDGE, "gtest/*", "support/*", "parallel/*", "core/problem/fields.hpp")),
    Layer("a test", "tests/*/",
          (*EDGE, *CPU, "gtest/*", "rapidcheck*", "kit/*", "support/*", "{own}/*",
           "ops/helpers.hpp", "capi/sample.hpp", "dlfcn.h")),
)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def matches(pattern: str, header: str) -> bool:
    """fnmatch, where "[!/]*" stays within one folder."""
    if "[!/]*" in pattern and header.count("/") != pattern.count("/") - 1:
        return False
    return fnmatchcase(header, pattern)


def layer_of(path: str) -> tuple[Layer, str] | None:
    """The first layer that a file belongs to, and its own folder's name."""
    for layer in LAYERS:
        found = re.match(re.escape(layer.files).replace(r"\*", "([^/]+)"), path)
        if found:
            return layer, found[1] if found.groups() else ""
    return None


def is_standard(header: str) -> bool:
    return "/" not in header and ("." not in header or header in C_STANDARD)


def refusal(path: str, bracket: str, header: str, beside: bool) -> str | None:
    """Why the file at `path` may not include that header, None where it may."""
    found = layer_of(path)
    if found is None:
        return f"{path} belongs to no layer of the table"
    layer, own = found
    if bracket == "<" and is_standard(header):
        return None
    if bracket == '"' and beside and "/" not in header:
        header = "./" + header
    seen = [pattern for pattern in layer.sees if matches(pattern.lstrip("!").replace("{own}", own), header)]
    if seen and not any(pattern.startswith("!") for pattern in seen):
        return None
    return f"{path} includes {header}, which {layer.name} must not see"


def includes(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found[1], found[2]


def folder_findings() -> Iterator[str]:
    """Folders that are too full, and rooms that DESIGN.md does not name."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    sources = Counter(str(Path(file).parent) for file in tracked if Path(file).suffix in SUFFIXES | {".py"})
    for folder, count in sources.items():
        if count > MOST_SOURCES and folder not in MANY:
            yield f"{folder} must hold at most {MOST_SOURCES} sources, or MANY must say why; got {count}"
    design = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    for household in HOUSEHOLDS:
        for room in household.rooms:
            if not re.search(rf"\b{room}/", design):
                yield f"DESIGN.md must say what {household.folder}{room}/ is for"


def python_findings() -> Iterator[str]:
    """Imports of a room of octavo.torch from one behind it."""
    package = ROOT / "python/octavo/torch"
    for number, room in enumerate(PYTHON_ROOMS):
        for file in sorted((package / room).glob("*.py")):
            for behind in PYTHON_ROOMS[number + 1:]:
                if re.search(rf"from \.\.{behind}\b", file.read_text(encoding="utf-8")):
                    yield f"{file.relative_to(ROOT)} imports {behind}, which {room} must not see"


# Where a Status or Result says what failed; the two files turn it into an exception at the edge.
THROWS_NOTHING = ("src/core", "src/backends", "src/ops", "src/lines")
THROWS = {"src/core/error.hpp", "src/core/data/tensor.cpp"}
THROW = re.compile(r"^(?!\s*//).*\b(?:throw|refuse|throw_if_failed|throw_status|value_or_throw)\b(?!;)", re.MULTILINE)


def throw_findings(path: str, text: str) -> Iterator[str]:
    if path.startswith(THROWS_NOTHING) and path not in THROWS:
        for found in THROW.finditer(text):
            yield f"{path} throws below the edge: {found[0].strip()}"


def findings() -> Iterator[str]:
    yield from folder_findings()
    yield from python_findings()
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix not in SUFFIXES:
                continue
            path = file.relative_to(ROOT).as_posix()
            yield from throw_findings(path, file.read_text(encoding="utf-8"))
            for number, bracket, header in includes(file.read_text(encoding="utf-8")):
                why = refusal(path, bracket, header, (file.parent / header).exists())
                if why:
                    yield why.replace(path, f"{path}:{number}", 1)


# A file of each layer, headers that it may include, and headers that it must not.
SELF_TEST: tuple[tuple[str, str, str], ...] = (
    ("include/octavo/x.hpp", "octavo/y.hpp", "core/x.hpp fmt/format.h unistd.h"),
    ("src/core/x.cpp", "core/y.hpp octavo/y.hpp fmt/format.h", "backends/backend.hpp ops/run.hpp"),
    ("src/backends/registry.cpp", "backends/cpu/generic/generic.hpp backends/cuda/x.hpp",
     "ops/run.hpp"),
    ("src/backends/cpu/kernels/x.cpp", "backends/cpu/kernels/row_contract.hpp immintrin.h",
     "backends/backend.hpp octavo/tensor.hpp core/scales/grid.hpp"),
    ("src/backends/cuda/x.cu", "cuda_fp8.h backends/cuda/x.hpp", "backends/cpu/weight_rows.hpp"),
    ("src/backends/cuda/machine/x.hpp", "backends/cuda/machine/y.hpp",
     "simulator/x.hpp cuda.h octavo/tensor.hpp"),
    ("src/backends/cuda/device/x.cuh", "backends/cuda/machine/y.hpp cuda.h",
     "simulator/x.hpp octavo/tensor.hpp"),
    ("tests/simulator/x.cpp", "backends/cuda/machine/y.hpp fmt/format.h",
     "backends/cuda/device/x.cuh cuda.h octavo/tensor.hpp"),
    ("src/backends/cuda/kernels/x.hpp",
     "backends/cuda/machine/y.hpp backends/cuda/kernels/y.hpp octavo/tensor.hpp",
     "simulator/x.hpp core/data/element.hpp"),
    ("tests/gpu/x.cpp", "gpu/y.hpp cuda/z.hpp backends/cuda/launch/launch.hpp core/devices/cuda_driver.hpp",
     "backends/cpu/kernels/row_contract.hpp cuda_runtime.h"),
    ("tests/support/devices/simulated_driver.cpp", "support/y.hpp core/devices/cuda_driver.hpp backends/cuda/launch/launch.hpp",
     "backends/backend.hpp ops/run.hpp"),
    ("tests/cuda/x.cpp", "simulator/x.hpp cute/tensor.hpp kit/operands/random.hpp",
     "backends/cpu/kernels/row_contract.hpp ops/run.hpp"),
    ("src/backends/cpu/x.cpp", "backends/cpu/weight_rows.hpp core/scales/grid.hpp",
     "backends/cpu/dot/path.hpp backends/reference/reference.hpp ops/run.hpp torch/torch.h"),
    ("src/backends/cpu/dot/x.cpp", "backends/cpu/dot/y.hpp backends/cpu/finish/epilogue.hpp "
     "backends/cpu/passes.hpp backends/host/zero.hpp",
     "backends/cpu/generic/driver.hpp backends/cpu/passes/passes.hpp ops/run.hpp"),
    ("src/backends/cpu/generic/x.cpp", "backends/cpu/generic/y.hpp backends/cpu/kernels/row_contract.hpp",
     "backends/cpu/dot/path.hpp ops/run.hpp"),
    ("src/backends/cpu/finish/x.cpp", "backends/cpu/finish/y.hpp backends/cpu/weight_rows.hpp",
     "backends/cpu/dot/member.hpp backends/cpu/generic/driver.hpp backends/cpu/passes/passes.hpp"),
    ("src/backends/cpu/passes/x.cpp", "backends/cpu/passes/y.hpp backends/cpu/kernels/tile_contract.hpp",
     "backends/cpu/dot/member.hpp backends/cpu/finish/epilogue.hpp"),
    ("src/backends/reference/x.cpp", "backends/reference/y.hpp backends/host/zero.hpp",
     "backends/cpu/kernels/row_contract.hpp ops/run.hpp cuda_runtime.h"),
    ("src/backends/x.cpp", "backends/backend.hpp core/x.hpp",
     "backends/cpu/weight_rows.hpp backends/host/zero.hpp ops/run.hpp"),
    ("src/backends/cpu/passes.cpp", "backends/cpu/passes/passes.hpp backends/host/passes.hpp",
     "backends/cpu/finish/epilogue.hpp backends/cpu/dot/path.hpp"),
    ("src/ops/x.cpp", "backends/backend.hpp backends/passes.hpp core/data/cells.hpp ops/run.hpp",
     "backends/host/passes.hpp core/data/element.hpp core/threads/parallel.hpp backends/cpu/weight_rows.hpp "
     "ops/product/lower.hpp nlohmann/json.hpp"),
    ("src/ops/product/x.cpp", "ops/run.hpp ops/product/y.hpp",
     "ops/quantize/quantize.hpp ops/gradients/vjp.hpp checkpoint/open/open_checkpoint.hpp"),
    ("src/ops/quantize/x.cpp", "ops/run.hpp ops/product/lower.hpp", "ops/gradients/vjp.hpp"),
    ("src/ops/gradients/x.cpp", "ops/quantize/quantize.hpp ops/product/lower.hpp",
     "ops/functional/swizzle.hpp core/data/convert.hpp backends/host/zero.hpp"),
    ("src/ops/functional/x.cpp", "ops/gradients/vjp.hpp ops/functional/y.hpp",
     "layers/experts.hpp"),
    ("src/lines/x.cpp", "ops/product/pack.hpp octavo/problem_line.hpp",
     "ops/gradients/vjp.hpp layers/experts.hpp"),
    ("src/checkpoint/x.cpp", "checkpoint/y.hpp core/x.hpp re2/re2.h",
     "ops/run.hpp backends/backend.hpp"),
    ("src/capi/x.cpp", "octavo/octavo.h capi/guard.hpp fmt/format.h",
     "core/error.hpp ops/run.hpp checkpoint/open/open_checkpoint.hpp unistd.h"),
    ("src/parallel/x.cpp",
     "octavo/parallel.hpp parallel/y.hpp layers/x.hpp ops/run.hpp backends/arena.hpp",
     "mpi.h checkpoint/y.hpp core/data/element.hpp backends/cpu/kernels/row_contract.hpp"),
    ("include/octavo/mpi.hpp", "octavo/parallel.hpp mpi.h", "fmt/format.h core/error.hpp"),
    ("src/weights/x.cpp", "octavo/weight.hpp core/error.hpp weights/y.hpp", "ops/run.hpp"),
    ("src/layers/x.cpp", "octavo/linear.hpp layers/y.hpp ops/run.hpp backends/arena.hpp",
     "core/data/element.hpp core/scales/scale_values.hpp backends/cpu/weight_rows.hpp checkpoint/open/open_checkpoint.hpp capi/guard.hpp "
     "parallel/alike.hpp"),
    ("tools/octavo/x.cpp", "octavo/x.hpp kit/oracle/check.hpp CLI/CLI.hpp", "core/x.hpp ops/run.hpp"),
    ("bench/peers/x.cpp", "kit/peers/peer.hpp oneapi/dnnl/dnnl.hpp dlfcn.h",
     "octavo/x.hpp kit/y.hpp core/x.hpp"),
    ("bench/kit/x.cpp", "octavo/x.hpp kit/y.hpp kit/peers/peer.hpp", "core/data/element.hpp backends/backend.hpp"),
    ("examples/reverse_dictionary/model/float32_product.cpp", "octavo/x.hpp oneapi/dnnl/dnnl.h",
     "core/x.hpp"),
    ("examples/demo/x.cpp", "octavo/x.hpp", "core/x.hpp kit/oracle/check.hpp torch/torch.h"),
    ("examples/x.cpp", "octavo/x.hpp", "core/x.hpp"),
    ("tests/examples/x.cpp", "bert.hpp gtest/gtest.h", "core/x.hpp"),
    ("tests/kernels/x.cpp", "backends/cpu/kernels/row_contract.hpp", "ops/run.hpp backends/reference/x.hpp"),
    ("tests/support/devices/far_device.cpp", "backends/passes.hpp core/problem/fields.hpp",
     "backends/host/passes.hpp ops/run.hpp"),
    ("tests/support/pass_operands.hpp", "backends/backend.hpp support/y.hpp", "backends/cpu/x.hpp core/x.hpp"),
    ("tests/support/tested_passes.hpp", "backends/passes.hpp support/y.hpp", "core/x.hpp ops/run.hpp"),
    ("tests/plan/plan_cache_test.cpp", "ops/run.hpp", "backends/backend.hpp"),
    ("tests/parallel/x.cpp", "parallel/alike.hpp core/problem/fields.hpp", "core/x.hpp ops/run.hpp"),
    ("tests/fuzz/x.cpp", "checkpoint/x.hpp", "ops/run.hpp"),
    ("tests/capi/x.c", "octavo/octavo.h capi/sample.hpp gtest/gtest.h",
     "core/x.hpp kit/oracle/check.hpp unistd.h"),
    ("tests/cli/x.cpp", "gtest/gtest.h octavo/x.hpp kit/peers/peer.hpp", "core/x.hpp kit/oracle/check.hpp"),
    ("tests/cli/signal_shim.c", "dlfcn.h signal.h fcntl.h", "octavo/x.hpp core/x.hpp"),
    ("tests/bits/x.cpp", "core/cpu_features.hpp kit/oracle/check.hpp support/lines.hpp", "core/error.hpp ops/run.hpp"),
    ("tests/ops/x.cpp", "gtest/gtest.h support/lines.hpp ops/helpers.hpp",
     "core/x.hpp backends/backend.hpp cuda_runtime.h"),
    ("python/src/x.cpp", "torch/extension.h octavo/x.hpp", "core/x.hpp cuda_runtime.h"),
)


def self_test() -> Iterator[str]:
    untested = set(LAYERS)
    cases = [case for household in HOUSEHOLDS for case in household.cases()]
    for path, good, bad in (*SELF_TEST, *cases):
        found = layer_of(path)
        untested.discard(found[0] if found else LAYERS[0])
        for header in good.split():
            if refusal(path, '"', header, False):
                yield f"self-test: {path} should be free to include {header}"
        for header in bad.split():
            if not refusal(path, '"', header, False):
                yield f"self-test: {path} should not be free to include {header}"
    for layer in untested:
        yield f"self-test: no case tests the row of {layer.files}"
    if list(includes('  # include "a/b.hpp"\n// #include <c>\n')) != [(1, '"', "a/b.hpp")]:
        yield "self-test: #include lines are not read as they should be"
    if len([*throw_findings("src/ops/x.cpp", "  refuse(code);\n// a throw\n"), *throw_findings("src/layers/x.cpp", "throw x;")]) != 1:
        yield "self-test: what throws below the edge should be a finding, and nothing else"
    if not refusal("elsewhere/x.cpp", '"', "octavo/x.hpp", False):
        yield "self-test: a file outside every layer should be a finding"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="prove that each row can fail")
    found = list(self_test() if parser.parse_args().self_test else findings())
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
