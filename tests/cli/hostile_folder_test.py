# SPDX-License-Identifier: Apache-2.0
"""Every verb inside a model's folder that is full of programs, modules and libraries by the names that somebody may look for.

The folder is the working folder; PATH and PYTHONPATH have the entries that mean it. None of it may run.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from float_file import write

OCTAVO = sys.argv.pop(1)
HESSIAN = [float(i == j) for i in range(8) for j in range(8)]

# What each verb does there. `report` has its own tests below, too.
VERBS = {
    "quantize": ["quantize", ".", "../out", "--scheme", "int8-dynamic", "--gptq", "--calibration", "calibration.safetensors"],
    "inspect": ["inspect", "."],
    "verify": ["verify", "."],
    "compare": ["compare", ".", "."],
    "report": ["report", ".", "--no-speed", "--calibration", "calibration.safetensors", "--html", "../page.html", "--overwrite"],
    "convert": ["convert", "../quantised", "../converted", "--to", "fp8"],
    "dequantize": ["dequantize", "../quantised", "../floats"],
    "schemes": ["schemes"],
    "evaluate": ["evaluate", "../quantised", "--against", ".", "--text", "config.json"],
    "plan": ["plan", ".", "--ranks", "2", "--device", "h200"],
    "explain": ["explain", "scaled_mm int8:int8:fp32 2x2x2"],
    "bench": ["bench", "scaled_mm int8:int8:fp32 2x2x2", "--check"],
    "try": ["try", "--seconds", "0.1"],
    "info": ["info"],
    "completion": ["completion", "bash"],
}
# What a page is made with, which a test cannot require.
PAGE = """
import argparse, html, json, pathlib, sys, {modules}
pathlib.Path(sys.argv[2]).write_text(json.load(sys.stdin)["path"])
"""
MARK = 'import os\nopen(os.environ["RAN"], "a").write(__file__ + "\\n")\n'
# Beside all of the standard library: what the package and a start of Python import.
MODULES = {*sys.stdlib_module_names, "sitecustomize", "usercustomize", "octavo", "octavo.report", "octavo.report.__main__",
           "numpy", "matplotlib", "ml_dtypes", "torch", "transformers", "tqdm"}
PROGRAMS = ("python3", "python", "sh", "env", "octavo")
LIBRARIES = ("liblapack.so.3", "libopenblas.so.0", "libcuda.so.1", "libtbb.so.12", "peers/onednn.so", "peers/other.so")


def fill(folder):
    """Everything that could be run by name."""
    for module in MODULES:
        package = folder.joinpath(*module.split("."))
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(MARK)
    (folder / "octavo" / "report" / "__main__.py").write_text(MARK)
    for name in PROGRAMS:
        if not (folder / name).exists():  # `octavo` is a package there
            (folder / name).write_text('#!/bin/sh\necho "$0" >> "$RAN"\n')
            (folder / name).chmod(0o755)
    for name in LIBRARIES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no library")


class HostileFolder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.held.cleanup)
        cls.root = Path(cls.held.name)
        cls.folder = cls.root / "downloaded"
        cls.folder.mkdir()
        write(cls.folder / "model.safetensors", {"up.weight": ([5, 8], [i / 7 for i in range(40)])})
        (cls.folder / "config.json").write_text('{"model_type": "llama"}')
        most = ([8], [1.0] * 8)
        row = {"threshold": 0.0, "code": "int8", "hessian": "h"}
        write(cls.folder / "calibration.safetensors",
              {"up.column_min": ([8], [-1.0] * 8), "up.column_max": most, "up.smooth": most, "h": ([8, 8], HESSIAN)},
              {"octavo_calibration": json.dumps({"version": 1, "layers": {"up": row}, "norms": {}})})
        model = [cls.folder / "model.safetensors", cls.root / "quantised"]
        subprocess.run([OCTAVO, "quantize", *model, "--scheme", "fp8-dynamic", "--quiet"], check=True)
        fill(cls.folder)
        # A package that can make pages, for python3 by an absolute path.
        cls.packages = cls.root / "packages"
        report = cls.packages / "octavo" / "report"
        report.mkdir(parents=True)
        (cls.packages / "octavo" / "__init__.py").touch()
        (report / "__init__.py").write_text("page = None\n")
        (cls.packages / "octavo" / "evaluate.py").write_text("import json, torch, transformers\n")
        for name in ("torch", "transformers"):
            (cls.packages / f"{name}.py").touch()
        (report / "__main__.py").write_text(PAGE.format(modules=", ".join(["random", "decimal", "textwrap"])))

    def run_there(self, arguments, **more):
        """(what it did, what ran, the loader's lines)."""
        ran, lines = self.root / "ran", self.root / "lines"
        for old in (ran, *self.root.glob("lines.*")):
            old.unlink(missing_ok=True)
        here = os.environ.get("PATH", "/usr/bin:/bin")
        env = {"PATH": f":.:{self.folder.name}:{here}:", "PYTHONPATH": f":.:{self.packages}:", "RAN": str(ran),
               "LD_DEBUG": "libs,files", "LD_DEBUG_OUTPUT": str(lines), **more}
        done = subprocess.run([OCTAVO, *arguments], cwd=self.folder, env=env, capture_output=True, text=True, timeout=120)
        loaded = "".join(part.read_text(errors="replace") for part in self.root.glob("lines.*"))
        return done, ran.read_text() if ran.exists() else "", loaded

    def test_every_verb_has_a_row(self):
        script = subprocess.run([OCTAVO, "completion", "bash"], capture_output=True, text=True, check=True).stdout
        verbs = re.findall(r"^    (?!help)(\w+)\) words=", script, re.MULTILINE)
        self.assertEqual(set(verbs), set(VERBS))

    def test_nothing_of_the_folder_runs(self):
        for verb, arguments in VERBS.items():
            with self.subTest(verb):
                done, ran, loaded = self.run_there(arguments)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(ran, "")
                paths = re.findall(r"(?:trying file=|calling init: |file=(?=\S*/))(\S+)", loaded)
                self.assertTrue(paths)
                self.assertEqual([path for path in paths if not path.startswith("/") or str(self.folder) in path], [])

    def test_a_page_goes_where_the_caller_is(self):
        page = self.folder / "page.html"
        done, ran, _ = self.run_there(["report", ".", "--no-speed", "--html", "page.html"])
        self.assertEqual((done.returncode, done.stderr, ran), (0, "", ""))
        self.assertEqual(page.read_text(), ".")
        page.unlink()

    def test_nothing_is_left(self):
        kept = self.root / "temporary"
        kept.mkdir()
        done, _, _ = self.run_there(VERBS["report"], TMPDIR=str(kept))
        self.assertEqual((done.returncode, list(kept.iterdir())), (0, []), done.stderr)

    def test_a_python_of_the_folder_is_none(self):
        for path in ("", ".", ":", "downloaded", "./"):
            with self.subTest(path):
                done, ran, _ = self.run_there(VERBS["report"], PATH=path)
                self.assertEqual((done.returncode, ran), (4, ""))
                self.assertIn("got no python3", done.stderr)

    def test_a_python_that_is_named_makes_the_page(self):
        done, ran, _ = self.run_there(VERBS["report"], PATH="", OCTAVO_PYTHON=shutil.which("python3"))
        self.assertEqual((done.returncode, done.stderr, ran), (0, "", ""))
        done, ran, _ = self.run_there(VERBS["report"], PATH="", OCTAVO_PYTHON="./python3")  # the working folder's
        self.assertEqual((done.returncode, ran), (4, ""))

    def test_the_trap_works(self):
        """What is refused above would run: python3 with the folder as working folder imports from it."""
        ran = self.root / "trapped"
        subprocess.run([shutil.which("python3"), "-c", "import octavo.report"], cwd=self.folder, env={"RAN": str(ran)},
                       capture_output=True)
        self.assertIn("octavo", ran.read_text())


if __name__ == "__main__":
    unittest.main()
