# SPDX-License-Identifier: Apache-2.0
"""Models by their names on the Hugging Face Hub, and octavo evaluate: what python3 is asked, by packages that take its place."""
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
NAME = "someone/a-model.v2"

# huggingface_hub: notes how it was called; HUB names the cache, and REMOTE what a download gives.
PACKAGE = """
import json, os, sys

def snapshot_download(name, local_files_only=False, ignore_patterns=()):
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps([name, local_files_only, sorted(ignore_patterns), os.environ.get("HF_HOME"), os.getcwd()]) + "\\n")
    folder = os.environ.get("HUB" if local_files_only else "REMOTE")
    if not folder:
        raise ValueError("no such\\nmodel" + " here" * 200)
    return folder
"""
# What each command is given for two models and a place to write.
COMMANDS = {
    "quantize": ["{}", "out"], "convert": ["{q}", "out", "--to", "fp8"], "dequantize": ["{q}", "out"], "inspect": ["{}"],
    "verify": ["{}"], "compare": ["{}", "{}"], "report": ["{}", "--against", "{}", "--no-speed", "--json"],
    "plan": ["{}", "--device", "h200"], "evaluate": ["{q}", "--against", "{}", "--text", "text"],
}
NO_MODEL = {"schemes", "explain", "bench", "try", "info", "completion"}


class Hub(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.root = Path(held.name)
        self.here = self.root / "here"
        self.here.mkdir()
        self.calls = self.root / "calls"
        self.packages = self.root / "packages"
        self.packages.mkdir()
        (self.packages / "huggingface_hub.py").write_text(PACKAGE)
        self.model = self.snapshot("float")
        self.quantised = self.root / "quantised"
        subprocess.run([OCTAVO, "quantize", self.model, self.quantised, "-q"], check=True, stderr=subprocess.DEVNULL)

    def snapshot(self, name):
        """A folder as the Hub's cache has it: links to files elsewhere."""
        blobs, folder = self.root / f"{name}-blobs", self.root / name
        blobs.mkdir()
        folder.mkdir()
        write(blobs / "0", {"up.weight": ([5, 8], [i / 7 for i in range(40)])})
        (blobs / "1").write_text('{"model_type": "llama"}')
        (folder / "model.safetensors").symlink_to(blobs / "0")
        (folder / "config.json").symlink_to(blobs / "1")
        return folder

    def octavo(self, *words, hub=None, remote=None, packages=None, **more):
        self.calls.unlink(missing_ok=True)
        env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(packages or self.packages), "CALLS": str(self.calls),
               "OCTAVO_PYTHON": sys.executable, **{k: str(v) for k, v in (("HUB", hub), ("REMOTE", remote)) if v}, **more}
        done = subprocess.run([OCTAVO, *map(str, words)], cwd=self.here, env=env, capture_output=True, text=True, timeout=60)
        return done, [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []

    def test_every_command_that_takes_a_model_takes_a_name(self):
        script = subprocess.run([OCTAVO, "completion", "bash"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(set(re.findall(r"^    (?!help)(\w+)\) words=", script, re.MULTILINE)), {*COMMANDS, *NO_MODEL})
        for name in ("torch", "transformers", "octavo"):
            (self.packages / name).mkdir()
            (self.packages / name / "__init__.py").touch()
        (self.packages / "octavo" / "evaluate.py").write_text("import sys; print(sys.argv[1:])")
        (self.here / "text").write_text("a text")
        for command, words in COMMANDS.items():
            with self.subTest(command):
                models = sum("{" in word for word in words)
                hub = self.quantised if "{q}" in words else self.model
                shutil.rmtree(self.here / "out", ignore_errors=True)
                done, calls = self.octavo(command, *(NAME if "{" in word else word for word in words), hub=hub)
                if command != "report":  # whose --against has to be in float
                    self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([call[:2] for call in calls], [[NAME, True]] * models)
                if command == "evaluate":
                    self.assertEqual(eval(done.stdout), [str(hub), "--against", str(hub), "--text", str(self.here / "text"),
                                                         "--length", "512"])

    def test_the_cache_is_asked_before_the_network(self):
        done, calls = self.octavo("verify", NAME, hub=self.model, remote="/none")
        self.assertEqual((done.returncode, len(calls)), (0, 1), done.stderr)
        self.assertIn("*.bin", calls[0][2])
        self.assertNotEqual(calls[0][4], str(self.here))  # nothing of the working folder is imported

    def test_a_cache_without_all_files_is_completed(self):
        for what, make in {"nothing": lambda folder: (folder / "model.safetensors").unlink(),
                           "a shard": lambda folder: (folder / "model.safetensors.index.json").write_text(
                               '{"weight_map": {"a": "model-2.safetensors", "b": "model.safetensors"}}')}.items():
            with self.subTest(what):
                part = self.snapshot(f"part of {what}")
                make(part)
                done, calls = self.octavo("verify", NAME, hub=part, remote=self.model)
                self.assertEqual((done.returncode, [call[1] for call in calls]), (0, [True, False]), done.stderr)
                done, calls = self.octavo("verify", NAME, remote=self.model)
                self.assertEqual((done.returncode, [call[1] for call in calls]), (0, [True, False]), done.stderr)

    def test_what_stays_incomplete_is_said(self):
        part = self.snapshot("part")
        (part / "model.safetensors").unlink()
        done, calls = self.octavo("verify", NAME, hub=part, remote=part)
        self.assertEqual((done.returncode, len(calls)), (4, 2))
        self.assertIn("got ValueError: neither cache nor Hub has safetensors files that are all there\n", done.stderr)

    def test_relative_places_of_the_cache_are_the_callers(self):
        _, calls = self.octavo("verify", NAME, hub=self.model, HF_HOME="cache")
        self.assertEqual(calls[0][3], str(self.here / "cache"))

    def test_what_is_missing_gets_a_sentence(self):
        empty = self.root / "empty"
        empty.mkdir()
        isolated = {"OCTAVO_PYTHON": str(self.root / "python")}
        (self.root / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        (self.root / "python").chmod(0o755)
        for got, more in {"ValueError: no such model here": {},
                          "python3 without that package": {"packages": empty, **isolated},
                          "no python3 to ask": {"PATH": "", "OCTAVO_PYTHON": ""}}.items():
            for command, words in COMMANDS.items():
                with self.subTest(got, command=command):
                    done, _ = self.octavo(command, *(NAME if "{" in word else word for word in words), **more)
                    self.assertEqual(done.returncode, 4, done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    if command != "evaluate":
                        self.assertRegex(done.stderr, f"^octavo: {command}: '{NAME}', which is no path here, must be .*; got {got}")

    def test_what_may_be_a_path_is_no_name(self):
        (self.here / "someone").mkdir()
        for path in (NAME, "./else/model", "/else/model", "../else/model", "a/b/c", "model", "else/model.safetensors",
                     "else/model.safetensors.index.json", "else/", "-x/y", "a b/c", "else/mödel", "a/b:c"):
            with self.subTest(path):
                done, calls = self.octavo("compare", "--", path, path, hub=self.model)
                self.assertEqual((done.returncode, calls), (4, []), done.stderr)

    def test_an_evaluation_needs_its_packages(self):
        isolated = self.root / "python"
        isolated.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        isolated.chmod(0o755)
        words = ("evaluate", self.quantised, "--against", self.model, "--text", "text")
        for missing in ("octavo torch transformers", "torch transformers"):
            done, _ = self.octavo(*words, OCTAVO_PYTHON=str(isolated))
            self.assertEqual(done.returncode, 4)
            self.assertIn(f"python3 with the package octavo[transformers] (pip install 'octavo[transformers]'); got one without "
                          f"{missing}\n", done.stderr)
            (self.packages / "octavo.py").touch()
        done, _ = self.octavo(*words, OCTAVO_PYTHON="", PATH="")
        self.assertIn("; got no python3\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
