# SPDX-License-Identifier: Apache-2.0
"""octavo quantize: what it leaves behind when it is ended, and the files it is given."""
import fcntl
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import float_file

OCTAVO = sys.argv.pop(1)
SCHEME = ("--scheme", "int8-dynamic")


def write_model(path, layers, rows=1024, columns=1024):
    """A bfloat16 model of zeros (sparse on disk)."""
    size = 2 * rows * columns
    header = {f"layers.{i}.weight": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [i * size, (i + 1) * size]}
              for i in range(layers)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + layers * size)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)


def ended_by_signals():
    """Whatever the tests were started to ignore; and no core files."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Quantize(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = self.folder / "model.safetensors"
        self.out = self.folder / "out.safetensors"

    def octavo(self, *arguments, **options):
        return subprocess.run([OCTAVO, "quantize", *map(str, arguments)], capture_output=True, text=True,
                              timeout=60, **options)

    def temporaries(self):
        return list(self.folder.glob(".octavo-*"))

    def test_a_folder_becomes_a_file_of_llama_cpp_and_a_folder_again(self):
        folder, out = self.folder / "model", self.folder / "again"
        folder.mkdir()
        values = [i % 7 - 3.0 for i in range(1024)]
        float_file.write(folder / "model.safetensors", {"model.embed_tokens.weight": ([4, 32], values[:128]),
                                                        "model.layers.0.self_attn.q_proj.weight": ([32, 32], values)})
        (folder / "config.json").write_text(json.dumps({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 1,
            "intermediate_size": 64, "num_attention_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
            "vocab_size": 4, "hidden_act": "silu", "tie_word_embeddings": True}))
        done = self.octavo(folder, self.folder / "model.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 layers quantised as Q8_0, 0 tensors copied", done.stdout)
        self.assertIn("no such file, so the file has no tokenizer", done.stderr)
        back = subprocess.run([OCTAVO, "convert", self.folder / "model.gguf", out, "--to", "compressed-tensors"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(back.returncode, 0, back.stderr)
        config = json.loads((out / "config.json").read_text())
        self.assertEqual((config["model_type"], config["quantization_config"]["quant_method"]), ("qwen2", "compressed-tensors"))
        again = self.octavo(folder, self.folder / "model.gguf")
        self.assertIn("OUT must be new unless --overwrite is given", again.stderr)

    def test_signals_leave_nothing_behind(self):
        write_model(self.model, 60)
        self.out.write_bytes(b"what was there")
        for number in ENDING:
            with self.subTest(number=number):
                process = subprocess.Popen([OCTAVO, "quantize", "--quiet", "--overwrite", str(self.model), str(self.out), *SCHEME],
                                           stderr=subprocess.DEVNULL, preexec_fn=ended_by_signals)
                deadline = time.monotonic() + 30
                while not self.temporaries() and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.001)
                self.assertTrue(self.temporaries(), "it ended before it was ended")
                process.send_signal(number)
                self.assertEqual(process.wait(30), -number)
                self.assertEqual(self.temporaries(), [])
                self.assertEqual(self.out.read_bytes(), b"what was there")

    def test_ignored_signals_stay_ignored(self):
        write_model(self.model, 20)
        process = subprocess.Popen([OCTAVO, "quantize", "--quiet", str(self.model), str(self.out), *SCHEME],
                                   preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        while not self.temporaries() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(self.out.exists())

    def test_a_file_past_the_limit_of_the_process_is_an_error_of_writing(self):
        write_model(self.model, 2)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        got = self.octavo(self.model, self.out, *SCHEME, preexec_fn=limit)
        self.assertGreater(got.returncode, 0)
        self.assertIn("File too large", got.stderr)
        self.assertEqual(self.temporaries(), [])
        self.assertFalse(self.out.exists())

    def test_a_folder_is_whole_until_it_is_replaced(self):
        """A run that is ended leaves OUT as it was; the same command goes on and puts the new folder in its place."""
        source, out = self.folder / "in", self.folder / "out"
        for folder, layers in ((source, 60), (self.folder / "small", 1)):
            folder.mkdir()
            write_model(folder / "model.safetensors", layers)
            (folder / "config.json").write_text("{}")
        self.assertEqual(self.octavo(self.folder / "small", out, *SCHEME).returncode, 0)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        words = [source, out, *SCHEME, "--overwrite", "--quiet"]
        process = subprocess.Popen([OCTAVO, "quantize", *map(str, words)], stderr=subprocess.DEVNULL, preexec_fn=ended_by_signals)
        beside = self.folder / "out.octavo-new"
        deadline = time.monotonic() + 30
        while not list(beside.glob(".octavo-*.tmp")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        self.assertEqual(process.wait(30), -signal.SIGKILL, "it ended before it was ended")
        self.assertTrue(beside.exists())
        self.assertEqual({path.name: path.read_bytes() for path in out.iterdir()}, before)
        self.assertEqual(self.octavo(*words).returncode, 0)
        self.assertEqual((beside.exists(), sorted(path.name for path in out.iterdir())), (False, ["config.json", "model.safetensors"]))
        self.assertGreater((out / "model.safetensors").stat().st_size, 30 * len(before["model.safetensors"]))

    def test_a_killed_writer_is_cleaned_up_after_by_the_next(self):
        write_model(self.model, 2)
        stale = self.folder / f".octavo-{'1' * 32}.tmp"
        stale.write_bytes(b"of a dead process")
        alive = self.folder / f".octavo-{'2' * 32}.tmp"
        with open(alive, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertEqual(self.octavo(self.model, self.out, *SCHEME).returncode, 0)
            self.assertEqual(self.temporaries(), [alive])

    def test_a_replaced_file_keeps_its_owner_and_permissions(self):
        write_model(self.model, 2)
        self.out.write_bytes(b"")
        self.out.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(self.out, 12345, 54321)
        before = self.out.stat()
        self.assertEqual(self.octavo(self.model, self.out, *SCHEME, "--overwrite").returncode, 0)
        after = self.out.stat()
        self.assertNotEqual(after.st_ino, before.st_ino)
        self.assertEqual((after.st_mode, after.st_uid, after.st_gid), (before.st_mode, before.st_uid, before.st_gid))

    def test_a_configuration_that_does_not_declare_the_file_is_a_warning(self):
        write_model(self.model, 2)
        config = self.folder / "config.json"
        config.write_text(json.dumps({"model_type": "llama"}))
        got = self.octavo(self.model, self.out, *SCHEME)
        self.assertEqual(got.returncode, 0)
        self.assertIn("octavo: warning: ", got.stderr)
        self.assertIn("quantization_config", got.stderr)
        declaration = json.loads(got.stderr.split('add "quantization_config": ', 1)[1].splitlines()[0])
        config.write_text(json.dumps({"model_type": "llama", "quantization_config": declaration}))
        self.assertEqual(self.octavo(self.model, self.out, *SCHEME, "--quiet", "--overwrite").stderr, "")

    def test_paths_that_are_no_files_get_a_sentence(self):
        write_model(self.model, 1, 64, 64)
        directory = self.folder / "directory"
        directory.mkdir()
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        missing = self.folder / "missing"
        deep = self.folder / "deep"  # brackets inside each other where a calibration has its layers
        text = json.dumps({"__metadata__": {"octavo_calibration": "[" * 200_000}}).encode()
        deep.write_bytes(struct.pack("<Q", len(text)) + text)
        llm = ("--scheme", "llm-int8")
        for what, arguments in {
            "an empty output": (self.model, "", *SCHEME),
            "an empty input": ("", self.out, *SCHEME),
            "a directory to write": (self.model, directory, *SCHEME),
            "a directory to read": (directory, self.out, *SCHEME),
            "a pipe to write": (self.model, fifo, *SCHEME),
            "a pipe to read": (fifo, self.out, *SCHEME),
            "no file": (missing, self.out, *SCHEME),
            "no folder": (self.model, missing / "out", *SCHEME),
            **{f"a calibration in {path.name}": (self.model, self.out, *llm, "--calibration", path)
               for path in (directory, fifo, missing, deep, self.model)},
        }.items():
            with self.subTest(what):
                got = self.octavo(*arguments)
                self.assertIn(got.returncode, (2, 3, 4), got.stderr)
                self.assertRegex(got.stderr, r"^octavo: \w+: .* must .*; got .*\n$|^octavo: ")
                self.assertEqual(len(got.stderr.splitlines()), 1, got.stderr)
                self.assertEqual(self.temporaries(), [])

    def test_arguments_without_memory_get_a_sentence(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (40 << 20, 40 << 20))
        got = self.octavo(*("x" * 100_000 for _ in range(15)), preexec_fn=limit)
        self.assertGreater(got.returncode, 0, got.stderr)
        self.assertTrue(got.stderr)

    def test_a_full_disk_is_asked_before_anything_is_written(self):
        disk = self.folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True).returncode != 0:
            self.skipTest("no right to mount a small disk")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        source = self.folder / "in"
        source.mkdir()
        write_model(source / "model.safetensors", 2)
        with open(source / "model.safetensors", "r+b") as file:  # without holes
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        done = self.octavo(source, disk / "out", *SCHEME)
        self.assertEqual(4, done.returncode)
        self.assertRegex(done.stderr, r"must be on a disk with \d+ bytes free; got \d+")
        self.assertEqual([], list(disk.iterdir()))

    def test_memory_does_not_grow_with_tensors_and_holes_stay_holes(self):
        source, out = self.folder / "in", self.folder / "out"
        source.mkdir()
        write_model(source / "model.safetensors", 1, rows=16384, columns=32768)  # 1 GiB
        code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        # AddressSanitizer keeps what was freed, 256 MB of it unless told otherwise.
        environment = os.environ | {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"}
        done = subprocess.run([sys.executable, "-c", code, OCTAVO, "quantize", "--quiet", str(source), str(out), *SCHEME],
                              capture_output=True, text=True, timeout=60, env=environment)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertLess(int(done.stdout), 256 * 1024)  # KiB
        status = os.stat(out / "model.safetensors")
        self.assertGreater(status.st_size, 2 ** 29)
        self.assertLess(status.st_blocks * 512, 2 ** 20)


if __name__ == "__main__":
    unittest.main()
