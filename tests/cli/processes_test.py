# SPDX-License-Identifier: Apache-2.0
"""Commands that write folders beside other processes: two runs on one target, signals at every system call, runs that fail
and are repaired, runs that are taken up again, and names that a writer needs for itself."""
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from float_file import write

OCTAVO, SHIM = sys.argv.pop(1), sys.argv.pop(1)
SHARDS, K, N = 3, 256, 256
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def shard(number):
    return f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"


def write_model(folder, names=None, spoiled=None):
    """A model of SHARDS files; of `spoiled` the weight holds a NaN."""
    folder.mkdir()
    names = names or [shard(i) for i in range(SHARDS)]
    weight_map = {}
    for i, name in enumerate(names):
        values = [((i + j) * 7919 % 1013 - 506) / 4096 for j in range(N * K)]
        if i == spoiled:
            values[3] = float("nan")
        write(folder / name, {f"model.layers.{i}.mlp.up_proj.weight": ([N, K], values)}, {"format": "pt"})
        weight_map[f"model.layers.{i}.mlp.up_proj.weight"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")


def content(folder):
    """The digest of each file."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in sorted(folder.rglob("*")) if path.is_file()}


def octavo(*arguments, **options):
    return subprocess.run([OCTAVO, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


class Processes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(held.cleanup)
        cls.root = Path(held.name)
        cls.model, cls.coded = cls.root / "model", cls.root / "coded"
        write_model(cls.model)
        octavo("quantize", cls.model, cls.coded, "--scheme", "fp8-dynamic", "--quiet")
        cls.verbs = {
            "int8": ["quantize", cls.model, "{}", "--scheme", "int8-dynamic"],
            "fp8": ["quantize", cls.model, "{}", "--scheme", "fp8-dynamic"],
            "converted": ["convert", cls.coded, "{}", "--to", "fp8"],
            "floats": ["dequantize", cls.coded, "{}"],
        }
        cls.alone = {}
        for verb in cls.verbs:
            out = cls.root / f"alone-{verb}"
            done = octavo(*cls.words(verb, out))
            assert done.returncode == 0, done.stderr
            cls.alone[verb] = content(out)

    def setUp(self):
        self.out = Path(tempfile.mkdtemp(dir=self.root)) / "out"

    @classmethod
    def words(cls, verb, out, *more):
        return [str(out) if word == "{}" else str(word) for word in cls.verbs[verb]] + ["--quiet", *more]

    def pair(self, verbs, delay, *more):
        """Two runs on one target: which ended with 0, and what each said."""
        runs = []
        for verb in verbs:
            runs.append(subprocess.Popen([OCTAVO, *self.words(verb, self.out, *more)], stderr=subprocess.PIPE, text=True))
            time.sleep(delay)
        said = [run.communicate(timeout=60)[1] for run in runs]
        return [verb for verb, run in zip(verbs, runs) if run.returncode == 0], said

    def test_of_two_runs_on_a_new_folder_one_is_refused(self):
        for verbs in itertools.combinations_with_replacement(self.verbs, 2):
            for delay in (0, 0.005):
                with self.subTest(verbs=verbs, delay=delay):
                    shutil.rmtree(self.out, ignore_errors=True)
                    good, said = self.pair(verbs, delay)
                    self.assertEqual(len(good), 1, said)
                    self.assertEqual(content(self.out), self.alone[good[0]])
                    self.assertRegex("".join(said), "by one run at a time; got|must be (a )?new or empty")

    def test_of_two_runs_that_replace_a_folder_what_is_there_is_whole(self):
        shutil.copytree(self.root / "alone-fp8", self.out)
        for delay in (0, 0.002, 0.005, 0.01, 0.02):
            with self.subTest(delay=delay):
                good, said = self.pair(("int8", "floats"), delay, "--overwrite")
                self.assertIn(len(good), (1, 2), said)  # 2: one after the other
                self.assertIn(content(self.out), [self.alone[verb] for verb in good])
                self.assertEqual(os.listdir(self.out.parent), ["out"])

    def test_a_signal_at_any_system_call_leaves_a_folder_that_the_next_run_ends(self):
        """SHIM raises the signal before the n-th call that changes files, and after it."""
        for place in itertools.count():
            verb, number = list(self.verbs)[place // 2 % 4], ENDING[place % 4]
            shutil.rmtree(self.out, ignore_errors=True)
            run = subprocess.run([OCTAVO, *self.words(verb, self.out)], capture_output=True, text=True, timeout=60,
                                 preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in ENDING],
                                 env=os.environ | {"LD_PRELOAD": SHIM, "SIGNAL": str(int(number)), "PLACE": str(place)})
            if run.returncode == 0:
                break
            with self.subTest(verb=verb, place=place):
                self.assertEqual(run.returncode, -number, run.stderr)
                left = os.listdir(self.out) if self.out.exists() else []
                self.assertEqual([name for name in left if name.endswith(".tmp")], [])
                again = octavo(*self.words(verb, self.out))
                whole = "config.json" in left and ".octavo-job.json" not in left  # it had ended
                self.assertEqual(again.returncode, 1 if whole else 0, again.stderr)
                self.assertEqual(content(self.out), self.alone[verb])
        self.assertGreater(place, 40, "the shim saw too few calls")

    def test_what_fails_by_its_input_leaves_nothing_and_is_repaired(self):
        spoiled, out = self.root / "spoiled", self.out.parent / "a" / "b"
        write_model(spoiled, spoiled=2)
        failed = octavo("quantize", spoiled, out, "--scheme", "int8-dynamic", "--quiet")
        self.assertEqual(failed.returncode, 3, failed.stderr)
        self.assertEqual(os.listdir(self.out.parent), [])
        repaired = octavo("quantize", spoiled, out, "--scheme", "int8-dynamic", "--quiet", "--ignore", "model.layers.2.mlp.up_proj")
        self.assertEqual(repaired.returncode, 0, repaired.stderr)

    def test_what_fails_by_its_input_leaves_what_was_there(self):
        self.out.mkdir()
        (self.out / "notes").write_text("mine")
        before = content(self.out)
        failed = octavo("quantize", self.model, self.out, "--scheme", "int8-dynamic", "--quiet")
        self.assertEqual(failed.returncode, 3, failed.stderr)
        self.assertEqual(content(self.out), before)

    def test_a_finished_file_that_was_changed_is_written_anew(self):
        kept = self.out.parent / "unfinished"  # its first file is finished
        for place in itertools.count():
            shutil.rmtree(kept, ignore_errors=True)
            subprocess.run([OCTAVO, *self.words("int8", kept)], capture_output=True, timeout=60,
                           env=os.environ | {"LD_PRELOAD": SHIM, "SIGNAL": str(int(signal.SIGKILL)), "PLACE": str(place)})
            job = kept / ".octavo-job.json"
            if job.exists() and shard(0) in json.loads(job.read_text())["files"]:
                break

        def emptied(path):
            path.write_bytes(b"")

        def cut(path):
            os.truncate(path, path.stat().st_size // 2)

        def grown(path):
            path.write_bytes(path.read_bytes() + b"\0")

        def other_header(path):
            path.write_bytes(path.read_bytes().replace(b"weight_scale", b"weight_other", 1))

        def another(path):
            path.write_bytes((self.model / shard(0)).read_bytes())

        for change in (emptied, cut, grown, other_header, another, Path.unlink):
            with self.subTest(change=change.__name__):
                shutil.rmtree(self.out, ignore_errors=True)
                shutil.copytree(kept, self.out)
                change(self.out / shard(0))
                again = octavo(*self.words("int8", self.out))
                self.assertEqual(again.returncode, 0, again.stderr)
                self.assertEqual(content(self.out), self.alone["int8"])

    def test_a_target_whose_name_is_too_long(self):
        done = octavo("quantize", self.model, self.out.parent / ("a" * 300), "--scheme", "int8-dynamic", "--quiet")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("File name too long", done.stderr)

    def test_names_that_a_writer_needs(self):
        for name in (".octavo-x.tmp", ".octavo-job.json", ".octavo-" + 32 * "0" + ".tmp", "config.json", "model.safetensors.index.json"):
            with self.subTest(name=name):
                folder = self.out.parent / "named"
                shutil.rmtree(folder, ignore_errors=True)
                write_model(folder, [shard(0), name, shard(2)])
                before = content(folder)
                done = octavo("quantize", folder, self.out, "--scheme", "int8-dynamic", "--quiet")
                self.assertIn(done.returncode, (1, 3, 4), done.stderr)
                self.assertFalse(self.out.exists())
                self.assertEqual(content(folder), before)

    def test_a_file_with_a_private_name_stays(self):
        kept = self.out.parent / ".octavo-x.tmp"
        write(kept, {"up.weight": ([N, K], [0.5] * (N * K))})
        before = kept.read_bytes()
        done = octavo("quantize", kept, self.out.with_suffix(".safetensors"), "--scheme", "int8-dynamic", "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(kept.read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
