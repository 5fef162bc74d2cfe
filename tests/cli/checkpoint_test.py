# SPDX-License-Identifier: Apache-2.0
"""octavo verify, compare, inspect and convert on tensors of every type and folders that are not whole; and every command
where standard output or standard error takes nothing."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

OCTAVO = sys.argv.pop(1)

# What the bytes of 1 and of NaN are in each type that has a NaN, and how many bytes an element takes.
FLOATS = {
    "F64": (struct.pack("<d", 1), struct.pack("<d", math.nan)),
    "F32": (struct.pack("<f", 1), struct.pack("<f", math.nan)),
    "F16": (struct.pack("<e", 1), struct.pack("<e", math.nan)),
    "BF16": (b"\x80\x3f", b"\xc0\x7f"),
    "F8_E4M3": (b"\x38", b"\x7f"),
    "F8_E5M2": (b"\x3c", b"\x7f"),
    "F8_E4M3FNUZ": (b"\x40", b"\x80"),
    "F8_E5M2FNUZ": (b"\x40", b"\x80"),
    "F8_E8M0": (b"\x7f", b"\xff"),
    "C64": (struct.pack("<ff", 1, 1), struct.pack("<ff", 1, math.nan)),
}
OTHERS = {"I64": 8, "I32": 4, "I16": 2, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "C64": 8}
BOTH = {dtype: pair for dtype, pair in FLOATS.items() if dtype != "C64"}


def write(path, tensors):
    """Tensors as (dtype, shape, bytes) by name."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def octavo(self, *arguments, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.run([OCTAVO, *map(str, arguments)], text=True, timeout=60, **streams)

    def lines(self, *arguments):
        got = self.octavo(*arguments, "--json")
        return got.returncode, [json.loads(line) for line in got.stdout.splitlines()]


class Verify(Case):
    def test_nan_is_found_in_every_type(self):
        for dtype, (one, nan) in FLOATS.items():
            with self.subTest(dtype=dtype):
                path = self.folder / dtype
                write(path, {"a": (dtype, [2, 3], one * 6), "b": (dtype, [2, 3], one * 4 + nan + one)})
                code, lines = self.lines("verify", path)
                self.assertEqual((code, [line.get("name") for line in lines]), (1, ["b", None]))
                self.assertIn("NaN", lines[0]["problem"])

    def test_large_numbers_of_float64_are_finite(self):
        write(self.folder / "x", {"a": ("F64", [1], struct.pack("<d", 1e300))})
        self.assertEqual(self.lines("verify", self.folder / "x")[0], 0)
        write(self.folder / "x", {"a": ("F64", [1], struct.pack("<d", math.inf))})
        self.assertEqual(self.lines("verify", self.folder / "x")[0], 1)

    def test_the_place_of_a_nan_is_named(self):
        """Behind as many rows as are read at once, too."""
        for row in (0, 255, 256, 1000):
            with self.subTest(row=row):
                values = [0.0] * 3 * 1001
                values[3 * row + 2] = math.nan
                write(self.folder / "x", {"a": ("F32", [1001, 3], struct.pack(f"<{len(values)}f", *values))})
                self.assertEqual(self.lines("verify", self.folder / "x")[1][0]["problem"], f"NaN in row {row}, column 2")


class Compare(Case):
    def compare(self, a, b, *options):
        write(self.folder / "a", a)
        write(self.folder / "b", b)
        return self.lines("compare", self.folder / "a", self.folder / "b", *options)

    def test_nan_on_one_side_is_no_exact_tensor(self):
        for dtype, (one, nan) in BOTH.items():
            for a, b in ((one, nan), (nan, one)):
                with self.subTest(dtype=dtype):
                    code, lines = self.compare({"a": (dtype, [4], one * 3 + a)}, {"a": (dtype, [4], one * 3 + b)})
                    self.assertEqual(code, 1)
                    self.assertEqual(lines[0], {"type": "tensor", "name": "a", "shape": "[4]", "cosine": None,
                                                "sqnr_db": None, "max_error": None, "not_finite": 1})
                    self.assertEqual(lines[1]["not_finite"], 1)
                    got = self.octavo("compare", self.folder / "a", self.folder / "b")
                    self.assertIn("1 tensor, 0 of them exact, 1 with NaN or infinity in one model", got.stdout)
                    self.assertRegex(got.stdout, r"a +\[4\] +nan +-inf +inf")

    def test_the_same_nan_and_infinity_are_exact(self):
        raw = floats(1, math.nan, math.inf, -math.inf)
        code, lines = self.compare({"a": ("F32", [4], raw)}, {"a": ("F32", [4], raw)})
        self.assertEqual((code, lines[0]["not_finite"], lines[0]["max_error"], lines[0]["cosine"]), (0, 0, 0, 1))
        code, lines = self.compare({"a": ("F32", [4], raw)}, {"a": ("F32", [4], floats(1, math.nan, -math.inf, 2))})
        self.assertEqual((code, lines[0]["not_finite"]), (1, 2))

    def test_float64_counts_in_all_its_range(self):
        a, b = struct.pack("<2d", 1e200, 1), struct.pack("<2d", 1.01e200, 1)
        code, lines = self.compare({"a": ("F64", [2], a)}, {"a": ("F64", [2], b)}, "--least-sqnr", "39")
        self.assertEqual(code, 0)
        self.assertAlmostEqual(lines[0]["sqnr_db"], 40, places=3)
        self.assertEqual(self.compare({"a": ("F64", [2], a)}, {"a": ("F64", [2], b)}, "--least-sqnr", "41")[0], 1)
        # Of another type, by values.
        code, lines = self.compare({"a": ("F64", [1], struct.pack("<d", 2))}, {"a": ("F32", [1], floats(2))})
        self.assertEqual((code, lines[0]["max_error"]), (0, 0))

    def test_other_types_are_compared_bit_for_bit(self):
        for dtype, size in OTHERS.items():
            with self.subTest(dtype=dtype):
                raw = bytes([1] * 2 * size)
                same = {"a": (dtype, [2], raw)}
                self.assertEqual(self.compare(same, same)[0], 0)
                code, lines = self.compare(same, {"a": (dtype, [2], bytes([1] * (2 * size - 1) + [0]))})
                self.assertEqual((code, lines[0]["type"], lines[0]["a"]), (1, "different", f"{dtype} [2]"))
                code, lines = self.compare(same, {"a": (dtype, [1, 2], raw)})
                self.assertEqual((code, lines[0]["b"], lines[1]["different"]), (1, f"{dtype} [1, 2]", 1))
                code, lines = self.compare(same, {"a": ("F32", [2], floats(1, 1))})
                self.assertEqual((code, lines[0]["b"]), (1, "F32 [2]"))

    def test_a_tensor_of_any_type_in_one_of_them_only_is_named(self):
        there = {"x": ("F32", [1], floats(1))}
        for dtype, size in {**OTHERS, **{dtype: len(one) for dtype, (one, _) in FLOATS.items()}}.items():
            more = there | {"a": (dtype, [2], bytes(2 * size))}
            for a, b, model in ((more, there, "b"), (there, more, "a")):
                with self.subTest(dtype=dtype, model=model):
                    code, lines = self.compare(a, b)
                    self.assertEqual((code, lines[0]["type"], lines[0]["name"]), (1, "missing", "a"))
                    self.assertTrue(lines[0]["model"].endswith("/" + model))

    def test_parts_of_quantized_layers_are_no_tensors(self):
        weight = ("F32", [8, 8], floats(*(math.sin(i) for i in range(64))))
        ids = ("I64", [2], bytes(16))
        write(self.folder / "a", {"p.weight": weight, "ids": ids})
        for row in self.lines("schemes")[1]:
            with self.subTest(scheme=row["name"]):
                got = self.octavo("quantize", self.folder / "a", self.folder / "q", "--scheme", row["name"], "-q", "--overwrite")
                self.assertEqual(got.returncode, 0, got.stderr)
                code, lines = self.lines("compare", self.folder / "a", self.folder / "q")
                self.assertEqual((code, [line.get("name") for line in lines]), (0, ["p.weight", None]))
        code, lines = self.compare({"p.weight": weight}, {"p.weight": ("F32", [4, 16], weight[2])})
        self.assertEqual((code, lines[0]["a"], lines[0]["b"]), (1, "shape [8, 8]", "shape [4, 16]"))


class NotWhole(Case):
    def check(self, folder, fragment):
        """Each command says so: a finding, a refusal, a warning."""
        code, lines = self.lines("verify", folder)
        self.assertEqual(code, 1)
        self.assertIn(fragment, lines[0]["problem"])
        for command in (("quantize", "--scheme", "W8A8", "--requantize"), ("dequantize",),
                        ("quantize", "--scheme", "W8A8", "--requantize", "--dry-run"),
                        ("convert", "--to", "bitsandbytes")):
            with self.subTest(command=command):
                got = self.octavo(command[0], folder, self.folder / "out", *command[1:])
                self.assertEqual(got.returncode, 3, got.stderr)
                self.assertIn(fragment, got.stderr)
                self.assertFalse((self.folder / "out").exists())
        for command in (("inspect", folder), ("compare", folder, folder)):
            got = self.octavo(*command)
            self.assertEqual(got.returncode, 0, got.stderr)
            self.assertRegex(got.stderr, r"^octavo: warning: \w+: folder ")
            self.assertIn(fragment, got.stderr)
        self.assertIn(fragment, self.lines("inspect", folder)[1][-1]["warnings"][0])

    def layer(self):
        return {"p.weight": ("I8", [2, 2], bytes(4)), "p.weight_scale": ("F32", [2, 1], floats(1, 1))}

    def test_a_shard_without_its_index(self):
        for name, whole in (("model-00001-of-00002.safetensors", False), ("x-3-of-12.safetensors", False),
                            ("model-00001-of-00001.safetensors", True), ("model-of-2.safetensors", True)):
            with self.subTest(name=name):
                folder = self.folder / name
                folder.mkdir()
                write(folder / name, self.layer())
                if whole:
                    self.assertEqual(self.octavo("verify", folder).returncode, 0)
                else:
                    self.check(folder, "files of the model and their index; got '" + name)
                self.assertEqual(self.octavo("verify", folder / name).returncode, 0)  # one file is asked for

    def test_a_folder_whose_run_was_ended(self):
        folder = self.folder / "model"
        folder.mkdir()
        write(folder / "model.safetensors", self.layer())
        self.assertEqual(self.octavo("verify", folder).returncode, 0)
        (folder / ".octavo-job.json").write_text("{}")
        self.check(folder, "must be written to its end; got .octavo-job.json")


class Streams(Case):
    """A stream that takes nothing never ends in a signal; the exit code says what became of the work."""

    def codes(self, *arguments):
        """With standard error full, and closed."""
        with open("/dev/full", "w") as full:
            yield self.octavo(*arguments, stderr=full).returncode
        yield self.octavo(*arguments, stderr=None, preexec_fn=lambda: os.close(2)).returncode

    def test_standard_error_takes_nothing(self):
        write(self.folder / "in", {"p.weight": ("F32", [8, 8], bytes(256))})
        (self.folder / "config.json").write_text("{}")  # does not declare what is written: a warning
        out, back = self.folder / "out", self.folder / "back"
        self.octavo("quantize", self.folder / "in", out, "--scheme", "llm-int8")
        for arguments, code in ((("foo",), 2), (("explain", "x"), 3), (("inspect", self.folder / "none"), 4),
                                (("verify", self.folder / "none"), 4), (("info", "--more"), 2),
                                (("quantize", self.folder / "in", back, "--scheme", "W8A8", "--overwrite"), 0),
                                (("quantize", self.folder / "in", back, "--scheme", "W8A8", "--overwrite", "--progress=json"), 0),
                                (("quantize", self.folder / "in", back, "--scheme", "W8A8", "--dry-run"), 0),
                                (("convert", out, back, "--to", "fp8", "--overwrite"), 0), (("inspect", out), 0)):
            with self.subTest(arguments=arguments):
                self.assertEqual(list(self.codes(*arguments)), [code, code])
        self.assertEqual(self.octavo("verify", back).returncode, 0)

    def test_no_sentence_gets_into_a_file(self):
        write(self.folder / "in", {"p.weight": ("F32", [8, 8], bytes(256))})
        (self.folder / "config.json").write_text("{}")
        outs = self.folder / "one", self.folder / "two"
        self.octavo("quantize", self.folder / "in", outs[0], "--scheme", "W8A8")

        def closed():
            for number in (0, 1, 2):
                os.close(number)

        self.octavo("quantize", self.folder / "in", outs[1], "--scheme", "W8A8", "--progress=json", stdout=None,
                    stderr=None, preexec_fn=closed)
        self.assertEqual(outs[0].read_bytes(), outs[1].read_bytes())

    def test_standard_output_takes_nothing(self):
        write(self.folder / "in", {"p.weight": ("F32", [8, 8], bytes(256))})
        for arguments in (("help",), ("--help",), ("help", "quantize"), ("--version",), ("info",),
                          ("inspect", self.folder / "in"), ("completion", "bash")):
            with self.subTest(arguments=arguments), open("/dev/full", "w") as full:
                got = self.octavo(*arguments, stdout=full)
                self.assertEqual(got.returncode, 4, got.stderr)
                self.assertTrue(got.stderr.startswith("octavo: cannot write the output"), got.stderr)
                closed = self.octavo(*arguments, stdout=None, preexec_fn=lambda: os.close(1))
                self.assertEqual(closed.returncode, 4)


if __name__ == "__main__":
    unittest.main()
