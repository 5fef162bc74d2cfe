# SPDX-License-Identifier: Apache-2.0
"""octavo report: what it says of inputs and outputs by a calibration file, and of experts."""
import fcntl
import json
import math
import os
import pty
import random
import re
import struct
import subprocess
import sys
import tempfile
import termios
import unittest
from pathlib import Path

from float_file import read, write

OCTAVO = sys.argv.pop(1)
EXPERTS = Path(__file__).resolve().parent.parent / "checkpoint" / "data" / "transformers-fp8-experts"
N, K = 5, 8
COLUMN_MAX = [1.0, 4.0, 0.5, 0.0, 8.0, 0.03, 0.001, 0.5]  # 8 / 127 / 2 = 0.0315: two are code 0 of int8
SCHEMES = [json.loads(line)["name"] for line in subprocess.run([OCTAVO, "schemes", "--json"], capture_output=True, text=True, check=True).stdout.splitlines()]


def hessian(rows, k=K):
    """2/n X^T X."""
    return [2 / len(rows) * math.fsum(row[i] * row[j] for row in rows) for i in range(k) for j in range(k)]


def power(matrix, h, magnitudes=False):
    """tr(M H M^T) of a matrix [N, K], or the same sum of magnitudes."""
    of = abs if magnitudes else float
    return math.fsum(of(row[i]) * of(h[i * K + j]) * of(row[j]) for row in matrix for i in range(K) for j in range(K))


def rows_of(values):
    return [values[i:i + K] for i in range(0, len(values), K)]


class Report(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = self.folder / "model.safetensors"
        self.calibration = self.folder / "calibration.safetensors"
        draw = random.Random(5)
        write(self.model, {"up.weight": ([N, K], [draw.gauss(0, 1) for _ in range(N * K)]),
                           "lone.weight": ([N, K], [draw.gauss(0, 1) for _ in range(N * K)])})
        inputs = [[draw.uniform(-1, 1) * most for most in COLUMN_MAX] for _ in range(20)]
        self.h = list(struct.unpack(f"<{K * K}f", struct.pack(f"<{K * K}f", *hessian(inputs))))

    def calibrate(self, layer="up", with_hessian=True, k=K, h=None):
        most = (COLUMN_MAX * 2)[:k]
        row = {"threshold": 4.0, "code": "int8"}
        tensors = {f"{layer}.column_min": ([k], [-m for m in most]), f"{layer}.column_max": ([k], most),
                   f"{layer}.smooth": ([k], [1.0] * k)}
        if with_hessian:
            row["hessian"] = "h"
            tensors["h"] = ([k, k], h or self.h)
        text = json.dumps({"version": 1, "layers": {layer: row}, "norms": {}})
        write(self.calibration, tensors, {"octavo_calibration": text})

    def octavo(self, *arguments, **options):
        return subprocess.run([OCTAVO, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)

    def report(self, *arguments):
        got = self.octavo("report", "--no-speed", "--json", *arguments)
        self.assertEqual(got.returncode, 0, got.stderr)
        report = json.loads(got.stdout)
        return report, {layer["name"]: layer for layer in report["layers"]}

    def values_of(self, scheme):
        """The floats of up that a scheme's codes stand for."""
        for name in ("q", "f"):
            (self.folder / name).unlink(missing_ok=True)
        for words in (["quantize", self.model, self.folder / "q", "--scheme", scheme],
                      ["dequantize", self.folder / "q", self.folder / "f", "--dtype", "float32"]):
            got = self.octavo(*words)
            self.assertEqual(got.returncode, 0, got.stderr)
        return rows_of(read(self.folder / "f", "up.weight"))

    def test_a_calibration_says_how_far_columns_are_apart(self):
        self.calibrate(with_hessian=False)
        report, layers = self.report(self.model, "--calibration", self.calibration)
        self.assertEqual(report["calibration"], str(self.calibration))
        given = layers["up"]["input"]
        self.assertEqual(given.pop("lost_columns"), {"int8": 2, "float8_e4m3fn": 0})
        self.assertEqual(given, {"absmax": 8.0, "median_absmax": 0.5, "threshold": 4.0, "outlier_columns": 2,
                                 "hessian": False})
        self.assertIsNone(layers["lone"]["input"])  # the file has no row of it
        self.assertTrue(all(scheme["output_sqnr_db"] is None for scheme in layers["up"]["schemes"]))
        _, without = self.report(self.model)
        self.assertIsNone(without["up"]["input"])

    def test_a_hessian_gives_the_error_of_outputs(self):
        self.calibrate()
        _, layers = self.report(self.model, "--calibration", self.calibration)
        weight = rows_of(read(self.model, "up.weight"))
        self.assertEqual([row["scheme"] for row in layers["up"]["schemes"]], SCHEMES)
        for row in layers["up"]["schemes"]:
            with self.subTest(scheme=row["scheme"]):
                kept = [row["scheme"] == "llm-int8" and most >= 4.0 for most in COLUMN_MAX]
                error = [[0.0 if keep else w - v for keep, w, v in zip(kept, *pair, strict=True)]
                         for pair in zip(weight, self.values_of(row["scheme"]), strict=True)]
                noise = power(error, self.h)
                # Each w - v is rounded to float32 once, by 2^-24 of it at most; all else is float64.
                relative = 2.1 * 2.0 ** -24 * power(error, self.h, magnitudes=True) / noise
                self.assertAlmostEqual(row["output_sqnr_db"], 10 * math.log10(power(weight, self.h) / noise),
                                       delta=-10 * math.log10(1 - relative))
        for row in layers["lone"]["schemes"]:
            self.assertIsNone(row["output_sqnr_db"])

    def test_stored_codes_have_the_error_of_their_scheme(self):
        self.calibrate()
        self.values_of("int8-dynamic")
        _, layers = self.report(self.folder / "q", "--against", self.model, "--calibration", self.calibration)
        up = layers["up"]
        self.assertEqual(up["error"]["output_sqnr_db"], up["schemes"][0]["output_sqnr_db"])
        self.assertIsNotNone(up["error"]["output_sqnr_db"])
        _, alone = self.report(self.folder / "q", "--calibration", self.calibration)
        self.assertEqual(alone["up"]["input"], up["input"])

    def test_a_calibration_of_something_else_is_refused(self):
        nan = [math.nan] * (K * K)
        for fragment, options in (
                ("report: calibration '", {"layer": "other"}),
                (f"must have {K} columns for layer 'up'; got {K + 1}", {"k": K + 1, "h": [1.0] * (K + 1) ** 2}),
                ("finite values and a diagonal not below 0 in tensor 'h'", {"h": nan})):
            with self.subTest(fragment=fragment):
                self.calibrate(**options)
                got = self.octavo("report", "--no-speed", self.model, "--calibration", self.calibration)
                self.assertNotEqual(got.returncode, 0)
                self.assertEqual(got.stdout, "")
                self.assertIn("octavo: report: calibration '", got.stderr)
                self.assertIn(fragment, got.stderr)

    def test_hessians_need_lapack(self):
        self.calibrate()
        got = self.octavo("report", "--no-speed", self.model, "--calibration", self.calibration,
                          env={"OCTAVO_LAPACK": "libnone.so"})
        self.assertEqual(got.returncode, 3)
        self.assertIn("report: calibration with Hessians must have LAPACK (apt-get install", got.stderr)

    def test_quantized_experts_are_layers(self):
        _, layers = self.report(EXPERTS)
        names = [name for name in layers if ".experts." in name]
        self.assertTrue(names)
        for name in names:
            self.assertRegex(name, r"\.experts\.\d+\.(gate|up|down)_proj$")
            self.assertNotEqual(layers[name]["scheme"], "none")
            self.assertGreater(layers[name]["bytes"], 0)

    def test_stacked_experts_are_measured_before_and_after(self):
        e, hidden, width = 2, 8, 6
        draw = random.Random(6)
        prefix = "model.layers.0.mlp.experts"
        shapes = {f"{prefix}.gate_up_proj": [e, 2 * width, hidden], f"{prefix}.down_proj": [e, hidden, width]}
        tensors = {name: (shape, [draw.gauss(0, 1) for _ in range(math.prod(shape))]) for name, shape in shapes.items()}
        source, made = self.folder / "mixture", self.folder / "mixture-int8"
        source.mkdir()
        write(source / "model.safetensors", tensors)
        config = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}
        (source / "config.json").write_text(json.dumps(config))
        got = self.octavo("quantize", source, made, "--scheme", "int8-dynamic", "--experts", "separate")
        self.assertEqual(got.returncode, 0, got.stderr)
        _, before = self.report(source)
        _, after = self.report(made, "--against", source)
        self.assertEqual({f"{prefix}.{i}.{part}_proj" for i in range(e) for part in ("gate", "up", "down")}, set(before))
        self.assertEqual(set(before), set(after))
        for name, layer in after.items():
            self.assertEqual(layer["scheme"], "int8-dynamic")
            self.assertEqual(layer["shape"], before[name]["shape"])
            self.assertEqual(layer["error"]["sqnr_db"], before[name]["schemes"][0]["sqnr_db"])


    def html(self, python3):
        """octavo report --html with that script as the only python3."""
        programs = self.folder / "programs"
        programs.mkdir()
        if python3:
            (programs / "python3").write_text(f"#!/bin/sh\n{python3}\n")
            (programs / "python3").chmod(0o755)
        write(self.model, {"layer.weight": ((N, K), [0.5] * (N * K))})
        return subprocess.run([OCTAVO, "report", str(self.model), "--no-speed", "--html", str(self.folder / "page.html")],
                              capture_output=True, text=True, env={"PATH": f"{programs}"}, check=False)

    def test_a_page_is_made_of_the_same_object(self):
        done = self.html('[ "$1" = -c ] && exit 0; [ "$1 $2 $3" = "-m octavo.report -" ] && exec /bin/cat > "$4"')
        self.assertEqual((0, "", ""), (done.returncode, done.stdout, done.stderr))
        page = json.loads((self.folder / "page.html").read_text())
        printed = subprocess.run([OCTAVO, "report", str(self.model), "--no-speed", "--json"], capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(printed.stdout), page)

    def on_a_terminal(self, *arguments):
        """What it prints where standard output is one."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 40, 200, 0, 0))
        with subprocess.Popen([OCTAVO, "report", *map(str, arguments)], stdout=its, stderr=subprocess.PIPE, text=True) as process:
            os.close(its)
            text = b""
            while True:
                try:
                    part = os.read(ours, 1 << 16)
                except OSError:  # the other end is closed
                    break
                if not part:
                    break
                text += part
            errors = process.stderr.read()
        os.close(ours)
        self.assertEqual((process.returncode, errors), (0, ""))
        return text.decode().replace("\r\n", "\n")

    def test_a_terminal_gets_tables_and_all_else_json(self):
        """Each number of the tables is of the JSON."""
        for more in ((), ("--no-speed",), ("--scheme", "fp8-block", "--no-speed")):
            with self.subTest(more):
                text = self.on_a_terminal(self.model, *more)
                report = json.loads(self.octavo("report", self.model, "--json", *more).stdout)
                self.assertIn(f"{self.model}: ", text)
                for layer in report["layers"]:
                    line, = (line for line in text.splitlines() if line.startswith(layer["name"] + " "))
                    numbers = re.findall(r" (\d+\.\d\d)(?= |$)", line)
                    self.assertEqual(numbers, [f"{row['sqnr_db']:.2f}" for row in layer["schemes"]])
                    self.assertTrue(layer["recommendation"]["choice"])
                self.assertEqual("Times as fast as bfloat16" in text, "--no-speed" not in more)
                self.assertIn(f"{N},{K}", text)
        self.assertEqual(json.loads(self.on_a_terminal(self.model, "--no-speed", "-j"))["type"], "report")

    def test_json_without_json_is_said_to_go(self):
        got = self.octavo("report", self.model, "--no-speed")
        self.assertEqual(json.loads(got.stdout)["type"], "report")
        self.assertEqual(got.stderr, "octavo: warning: report: JSON without --json goes with 1.0: say --json\n")

    def test_a_page_that_cannot_be_made_is_said_before_anything_is_measured(self):
        for python3, got in (("", "no python3"), ("exit 1", "one that cannot import it")):
            with self.subTest(python3):
                self.setUp()
                done = self.html(python3)
                self.assertEqual((4, ""), (done.returncode, done.stdout))
                self.assertIn("report: --html must have python3 with the package octavo[report] (pip install "
                              f"'octavo[report]'); got {got}", done.stderr)

    def test_a_page_that_is_not_written_is_an_error(self):
        done = self.html('[ "$1" = -c ] && exit 0; exit 7')
        self.assertNotEqual(0, done.returncode)
        self.assertIn("page.html' must be written; got exit code 7 of python3", done.stderr)


if __name__ == "__main__":
    unittest.main()
