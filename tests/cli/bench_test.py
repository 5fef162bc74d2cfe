#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""octavo try, octavo bench and the report beside it, with no peer, with a broken one and with made-up ones.

Usage: bench_test.py OCTAVO FAKE_PEER REPOSITORY
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

OCTAVO, FAKE_PEER, REPOSITORY = (Path(word).resolve() for word in sys.argv[1:4])
LINE = "scaled_mm int8:int8:fp32 scale=token:channel bias prepacked 5x33x65"
PLOTS = os.environ.get("OCTAVO_PLOT_PYTHON", sys.executable)  # a Python that has matplotlib
QUICK = ("--rounds=3", "--seconds=0.001")


class Bench(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="octavo-bench-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.peers = self.folder / "peers"
        self.peers.mkdir()

    def run_it(self, *words: str, exit_code: int = 0) -> str:
        environment = {**os.environ, "OCTAVO_PEER_FOLDER": str(self.peers)}
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=environment, check=False)
        self.assertEqual(exit_code, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def octavo(self, *words: str) -> str:
        return self.run_it(str(OCTAVO), *words)

    def figure(self, line: str = LINE) -> dict:
        return json.loads(self.octavo("bench", "--json", *QUICK, line))

    def test_without_peers_each_says_not_run(self) -> None:
        figure = self.figure()
        self.assertEqual(["oneDNN", "AOCL-DLP", "OpenBLAS float32"], [p["name"] for p in figure["peers"]])
        for peer in figure["peers"]:
            self.assertEqual("it was not found when this was built", peer["not_run"])
            self.assertNotIn("ratio", peer)
        self.assertEqual(3, figure["rounds"])
        self.assertGreater(figure["roofline_fraction"], 0)
        self.assertLessEqual(figure["noise_low"], figure["noise_high"])
        text = self.octavo("bench", *QUICK, LINE)
        self.assertIn("AOCL-DLP: not run: it was not found", text)

    def test_a_broken_peer_says_why(self) -> None:
        (self.peers / "onednn-1.so").write_text("this is no shared object")
        first = self.figure()["peers"][0]
        self.assertEqual("oneDNN", first["name"])
        self.assertTrue(first["not_run"].startswith("its module does not load: "), first)

    def made_up(self, line: str = LINE) -> dict[str, dict]:
        module = self.peers / "made-up.so"
        module.unlink(missing_ok=True)
        module.symlink_to(FAKE_PEER)
        return {p["name"]: p for p in self.figure(line)["peers"]}

    def test_a_peer_is_timed_and_judged(self) -> None:
        peers = self.made_up()
        right = peers["right"]
        self.assertEqual(("1.2.3 (loops)", None, "loops"), (right["version"], right["not_run"], right["note"]))
        self.assertLessEqual(right["max_error_ratio"], 1)
        self.assertLessEqual(right["ratio_low"], right["ratio"])
        self.assertGreater(right["median_us"], 0)
        self.assertGreater(peers["wrong"]["max_error_ratio"], 1)
        self.assertIsNone(peers["partial"]["max_error_ratio"])
        self.assertEqual("it does not feel like it", peers["unwilling"]["not_run"])

    def test_peers_are_left_out(self) -> None:
        self.assertIn("unwilling float32", self.made_up())
        for option, left in (("--no-float32", True), ("--no-peers", False)):
            figure = json.loads(self.octavo("bench", "--json", option, *QUICK, LINE))
            names = [p["name"] for p in figure["peers"]]
            self.assertEqual(left, "unwilling" in names)
            self.assertNotIn("unwilling float32", names)

    def test_groups_are_given_member_by_member(self) -> None:
        line = "grouped_mm int8:int8:fp32 split=list groups=3+0+4 scale=token:channel prepacked 7x16x32"
        right = self.made_up(line)["right"]
        self.assertLessEqual(right["max_error_ratio"], 1)
        self.assertEqual("loops, members one by one", right["note"])

    def test_a_peer_without_fp8_is_given_bfloat16(self) -> None:
        for words in ("e4m3fn:e5m2:fp32 scale=token:channel bias prepacked", "bf16:e4m3fn:fp32 scale=none:channel",
                      "bf16:int8:fp32 scale=none:channel",
                      "bf16:e4m3fn:fp32 quantize=e4m3fn scale=token:channel prepacked"):
            right = self.made_up(f"scaled_mm {words} 5x33x65")["right"]
            note = "loops" if "prepacked" in words else "loops over unpacked weights"
            self.assertEqual((None, "bf16", note), (right["not_run"], right["as"], right["note"]))
            self.assertLessEqual(right["max_error_ratio"], 1, words)
        self.assertIsNone(self.made_up(LINE)["right"]["as"])
        self.assertIsNone(self.made_up("scaled_mm bf16:bf16:fp32 prepacked 5x33x65")["right"]["as"])
        text = self.octavo("bench", *QUICK, "scaled_mm e4m3fn:e4m3fn:fp32 scale=tensor:tensor 5x33x65")
        self.assertIn("right 1.2.3 (loops) as bf16: median", text)

    def test_scales_along_k_are_left_out_of_bfloat16(self) -> None:
        right = self.made_up("scaled_mm e4m3fn:e4m3fn:fp32 scale=group32:block32x32 5x33x65")["right"]
        self.assertEqual("loops over unpacked weights, scales along K left out", right["note"])
        self.assertIsNone(right["max_error_ratio"])

    def test_a_problem_that_peers_have_no_words_for(self) -> None:
        line = "scaled_mm uint8:int8:fp32 scale=token:channel azp 4x16x32"
        self.assertEqual("the bench gives peers no zero points", self.made_up(line)["right"]["not_run"])

    def test_one_row_is_cold(self) -> None:
        figure = self.figure("scaled_mm int8:int8:fp32 scale=token:channel prepacked 1x1024x1024")
        self.assertTrue(figure["cold"])
        self.assertLessEqual(figure["max_error_ratio"], 1)

    def test_two_problems_are_timed_in_the_same_rounds(self) -> None:
        other = "scaled_mm int8:int8:fp32 scale=token:channel prepacked 320x256x256"
        line = "scaled_mm int8:int8:fp32 scale=token:channel prepacked 5x33x65"
        words = ("bench", "--no-peers", "--against", other, "--backend=generic", *QUICK)
        against = json.loads(self.octavo(*words, "--json", line))["against"]
        self.assertEqual((other, "generic"), (against["line"], against["backend"]))
        self.assertGreater(against["ratio"], 2)  # two thousand times the products, on a machine that others use
        self.assertLessEqual(against["ratio_low"], against["ratio"])
        self.assertLessEqual(against["ratio"], against["ratio_high"])
        self.assertLessEqual(against["max_error_ratio"], 1)
        text = self.octavo(*words, line)
        self.assertIn(f"  against {other}\n    generic: median ", text)
        self.assertIn("] times as fast; error ", text)
        self.assertIsNone(self.figure()["against"])
        self.run_it(str(OCTAVO), "bench", "--against=scaled_mm", line, exit_code=3)
        self.run_it(str(OCTAVO), "bench", f"--against={other}", "--check", line, exit_code=2)

    def test_one_row_on_either_side_makes_both_cold(self) -> None:
        one, many = (f"scaled_mm int8:int8:fp32 scale=token:channel prepacked {m}x2048x4096" for m in (1, 2))
        figure = json.loads(self.octavo("bench", "--json", "--no-peers", *QUICK, "--against", one, many))
        self.assertTrue(figure["cold"])

    def test_try_ends_with_a_conclusion(self) -> None:
        text = self.octavo("try", "--seconds=0")
        for part in ("rows threads", "oneDNN: not run", "no peer is installed", "within its error bound"):
            self.assertIn(part, text)
        figure = json.loads(self.octavo("try", "--seconds=0", "--json").splitlines()[0])
        self.assertEqual("figure", figure["type"])

    def test_cliffs_of_a_small_problem(self) -> None:
        line = "scaled_mm int8:int8:bf16 scale=token:channel prepacked 9x64x64"
        cliffs = json.loads(self.octavo("bench", "--cliffs", "--json", "--seconds=0.0001", line))
        self.assertEqual("cliffs", cliffs["type"])
        self.assertLess(cliffs["largest_drop"], 1)
        self.assertGreater(cliffs["both_plus_one"], 0)
        self.run_it(str(OCTAVO), "bench", "--cliffs", "grouped_mm int8:int8:bf16 groups=2+2 4x8x8", exit_code=3)

    def test_a_quantizer_is_timed_and_judged(self) -> None:
        line = "quantize bf16:e4m3fn scale=group32 7x130"
        figure = json.loads(self.octavo("bench", "--json", "--threads=2", *QUICK, line))
        self.assertEqual(("quantize_figure", line, True, 3, 2), tuple(
            figure[name] for name in ("type", "line", "matches_reference", "rounds", "threads")))
        self.assertEqual(7 * 130 * 3 + 4 * 7 * 5, figure["bytes"])
        for name in ("roofline_fraction", "median_us", "read_gbps", "scaling"):
            self.assertGreater(figure[name], 0)
        self.assertLessEqual(figure["noise_low"], figure["noise_high"])
        self.assertIn("bits of the reference", self.octavo("bench", *QUICK, line))

    def test_quantizers_are_checked_and_listed_beside_products(self) -> None:
        lines = ["quantize fp16:uint8 scale=channel azp 33x70", "quantize fp32:e5m2 scale=mx seed=7 5x40", LINE]
        for verb, kind in (("--check", "check"), ("--list", "line")):
            out = [json.loads(text) for text in self.octavo("bench", verb, "--json", *lines).splitlines()]
            self.assertEqual({kind}, {row["type"] for row in out})
            self.assertEqual(set(lines), {row["line"] for row in out})
        self.assertIn("reference", self.octavo("bench", "--list", "--backend=reference", lines[0]))

    def test_check_goes_on_behind_backends_that_refuse(self) -> None:
        for line in ("scaled_mm uint8:uint8:int32 4x16x32", "scaled_mm e4m3fn:e4m3fn:bf16 scale=per_k:per_k 4x16x32"):
            rows = [json.loads(text) for text in self.octavo("bench", "--check", "--json", line).splitlines()]
            refused = {row["backend"] for row in rows if row["type"] == "refusal" and row["reason"]}
            checked = {row["backend"] for row in rows if row["type"] == "check" and row["passed"]}
            self.assertEqual({"generic", "reference"}, checked)
            for backend in refused:
                self.assertIn(backend, self.octavo("bench", "--check", line))
                self.run_it(str(OCTAVO), "bench", "--check", f"--backend={backend}", line, exit_code=3)

    def test_lines_that_cliffs_do_not_scan(self) -> None:
        for line in ("scaled_mm int8:int8:bf16 0x16x32", "quantize bf16:int8 scale=token 4x4",
                     "fused_experts e4m3fn:e4m3fn:bf16 experts=4 topk=2 scale=token:channel 2x16x16"):
            self.run_it(str(OCTAVO), "bench", "--cliffs", line, exit_code=3)

    def test_options_that_are_no_number(self) -> None:
        for verb, option in (("bench", "--seconds"), ("try", "--seconds"), ("report", "--least-sqnr")):
            for value in ("nan", "inf", "-1e9", "much"):
                self.run_it(str(OCTAVO), verb, f"{option}={value}", *([LINE] if verb == "bench" else ["x"] * (verb == "report")),
                            exit_code=2)

    def test_small_lines_take_little_memory(self) -> None:
        for line in ("scaled_mm int8:int8:bf16 1x1x1", "quantize bf16:int8 scale=token 1x1",
                     "fused_experts e4m3fn:e4m3fn:bf16 experts=4 topk=2 scale=token:channel 2x1x1"):
            limit = f"ulimit -v {6 << 20}; exec {OCTAVO} bench {' '.join(QUICK)} '{line}'"
            self.run_it("bash", "-c", limit)

    def test_wrong_lines_of_quantizers(self) -> None:
        for line, sentence in (
                ("quantize bf16:e4m3fn scale=row 4x4", "scale must be tensor, token"),
                ("quantize bf16:e4m3fn azp=1 scale=token 4x4", "azp must stand alone; got 'azp=1'"),
                ("quantize bf16 scale=token 4x4", "types must be two known names"),
                ("quantize bf16:int8 colour=red scale=token 4x4", "words must be among scale"),
                ("quantize bf16:int8 seed=2 4x4", "scale must be declared"),
                ("quantize bf16:int8 scale=token 4x", "the shape must be the last word"),
                ("quantize bf16:uint8 scale=token 4x4", "must come with azp")):
            done = subprocess.run([OCTAVO, "bench", *QUICK, line], capture_output=True, text=True, check=False)
            self.assertEqual(3, done.returncode, done.stderr)
            self.assertIn(sentence, done.stderr)

    @unittest.skipIf(subprocess.run([PLOTS, "-c", "import matplotlib"], capture_output=True, check=False).returncode,
                     "matplotlib is not there; ./dev test installs it and names its Python in OCTAVO_PLOT_PYTHON")
    def test_the_report_is_whole(self) -> None:
        (self.peers / "made-up.so").symlink_to(FAKE_PEER)
        large = "scaled_mm int8:int8:fp32 scale=token:channel prepacked 1x512x512"
        shapes = self.folder / "shapes"
        shapes.mkdir()
        for name, types in (("curve", "int8:int8:fp32"), ("curve_fp8", "e4m3fn:e4m3fn:fp32"),
                            ("curve_bf16", "bf16:bf16:fp32")):
            scale = "" if name == "curve_bf16" else "scale=token:channel "
            (shapes / f"{name}.txt").write_text("# M\n" + "".join(
                f"scaled_mm {types} {scale}prepacked {m}x512x512\n" for m in (2, 16)))
        for name, lines in (("fp8", f"{large}\n"), ("cold", f"{large}\n"), ("layers", f"{LINE}\n"),
                            ("selection", f"{LINE}\n"), ("plain", f"{LINE}\n"), ("attention", f"{LINE}\n"),
                            ("pairs_plain", f"{large}\n{large}\n"), ("pairs_block", f"{large}\n{large}\n"),
                            ("pairs_fused", f"{large}\n{large}\n")):
            (shapes / f"{name}.txt").write_text(lines)
        many = "+".join(["2", *["0"] * 40])
        (shapes / "grouped.txt").write_text(
            f"grouped_mm int8:int8:fp32 split=list groups={many} scale=token:channel prepacked 2x64x512\n")
        (shapes / "quantize.txt").write_text("quantize nothing 1x1\n")
        out = self.run_it(PLOTS, str(REPOSITORY / "bench" / "report.py"), f"--octavo={OCTAVO}",
                          f"--out={self.folder}", f"--shapes={shapes}",
                          "--cliffs=scaled_mm int8:int8:bf16 scale=token:channel prepacked 3x64x64", *QUICK)
        page = Path(out.strip())
        text = page.read_text(encoding="utf-8")
        for part in ("not run: it was not found", "right 1.2.3", "wrong results", "Cliffs", "A/A noise", LINE,
                     "| int8 |", "read bandwidth", f"({page.stem}.svg)", f"({page.stem}-types.svg)",
                     "right 1.2.3 as bf16", "Block scales against per-channel", "Plain weights against packed ones", "groups=(41, 1 with rows)",
                     "failed: octavo: "):
            self.assertIn(part, text)
        for line in (line for line in text.splitlines() if line.startswith("| ")):
            self.assertTrue(line.endswith(" |"), line)
        types = ("Octavo fp8", "best peer, int8", "best peer, bf16", "bf16 peak", "1 thread")
        for suffix, parts in ((".svg", ("Octavo", "right 1.2.3", "1 thread", "16")), ("-types.svg", types)):
            svg = xml.parse(page.with_name(page.stem + suffix)).getroot()
            words = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
            for part in parts:
                self.assertIn(part, words)


    def compare(self, old: Path, *words: str, exit_code: int = 0) -> str:
        return self.run_it(sys.executable, str(REPOSITORY / "bench" / "compare.py"), f"--old={old}", f"--octavo={OCTAVO}",
                           "--rounds=2", "--seconds=0", *words, exit_code=exit_code)

    def scripted(self, name: str, body: str) -> Path:
        """A build whose octavo is a script, run for each of its lines."""
        script = self.folder / name / "bin" / "octavo"
        script.parent.mkdir(parents=True)
        indented = "".join(f"    {line}\n" for line in body.splitlines())
        script.write_text(f"#!{sys.executable}\nimport json, sys\n"
                          f"for line in (word for word in sys.argv[2:] if word[0] != '-'):\n{indented}")
        script.chmod(0o755)
        return script

    def test_a_build_beside_itself(self) -> None:
        text = self.compare(OCTAVO.parent.parent, "--threads=1", LINE)
        self.assertIn("1 compared, 0 slower in 3 repeats of 3, 0 failed", text)
        self.assertEqual(1, sum(line.startswith("worst: new/old ") and line.endswith(LINE) for line in text.splitlines()))

    def test_a_slower_build_fails_and_is_named(self) -> None:
        shapes = self.folder / "few"
        shapes.mkdir()
        sys.path.insert(0, str(REPOSITORY / "bench"))
        from selection import FILES
        for name in FILES:
            (shapes / f"{name}.txt").write_text("# lines\nequal 1\n" + ("slow 1\nnew 1\n" if name == "curve" else ""))
        figure = 'print(json.dumps({"median_us": %s}))'
        unknown = 'if line == "new 1": sys.exit("octavo: no such line")\n'
        old = self.scripted("old", unknown + figure % "10.0")
        new = self.scripted("new", figure % '11.0 if line == "slow 1" else 10.0')
        words = (sys.executable, str(REPOSITORY / "bench" / "compare.py"), f"--shapes={shapes}", "--rounds=1")
        text = self.run_it(*words, f"--old={old.parent.parent}", f"--octavo={new}", exit_code=1)
        self.assertEqual(4, text.count("new/old 1.100 [1.100, 1.100]  A/A 1.000 [1.000, 1.000]  slow 1"), text)
        self.assertIn("worst: new/old 1.100 [1.100, 1.100]  A/A 1.000 [1.000, 1.000]  slow 1", text)
        self.assertIn("old does not run it: octavo: no such line  new 1", text)
        self.assertIn(", 1 slower in 3 repeats of 3, 0 failed", text)
        text = self.run_it(*words, f"--old={new}", f"--octavo={old}", exit_code=1)  # faster, but for a line that is gone
        self.assertIn("new does not run it: octavo: no such line  new 1", text)
        self.assertIn(", 0 slower in 3 repeats of 3, 1 failed", text)

    def test_what_noise_explains_is_not_slower(self) -> None:
        """Whichever side of 1 the same code twice lies on."""
        sys.path.insert(0, str(REPOSITORY / "bench"))
        from compare import Row, Spread
        ratio, around = Spread(1.05, 1.04, 1.06), Spread(1.0, 1.0, 1.0)
        self.assertTrue(Row("line", ratio, around).slower)
        for same in (Spread(1.04, 1.03, 1.05), Spread(0.96, 0.95, 0.97)):
            self.assertFalse(Row("line", ratio, same).slower, same)

    @unittest.skipIf(subprocess.run([PLOTS, "-c", "import matplotlib"], capture_output=True, check=False).returncode,
                     "matplotlib is not there; ./dev test installs it and names its Python in OCTAVO_PLOT_PYTHON")
    def test_the_best_peer_is_the_fastest_that_is_right(self) -> None:
        peer = {"not_run": None, "as": None, "name": "peer", "max_error_ratio": 0.5}
        peers = [{**peer, "median_us": 4.0}, {**peer, "median_us": 2.0}, {**peer, "median_us": 1.0, "max_error_ratio": 2},
                 {**peer, "median_us": 1.0, "name": "float32"}, {**peer, "median_us": 1.0, "not_run": "why"}]
        figures = json.dumps([{"line": LINE, "gops": 10.0, "median_us": 1.0, "peers": peers}])
        said = self.run_it(PLOTS, "-c", f"import json, sys; sys.path.insert(0, {str(REPOSITORY / 'bench')!r}); import report; "
                                        f"print([p[1] for p in report.best_peers(json.loads({figures!r}))])")
        self.assertEqual("[5.0]", said.strip())

    def test_a_build_that_is_not_there(self) -> None:
        self.compare(self.folder, LINE, exit_code=2)


class Shapes(unittest.TestCase):
    def test_every_line_parses(self) -> None:
        for path in sorted((REPOSITORY / "bench" / "shapes").glob("*.txt")):
            lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
            done = subprocess.run([OCTAVO, "bench", "--list", *lines], capture_output=True, text=True, check=False)
            self.assertEqual(0, done.returncode, f"{path}: {done.stderr}")
            self.assertEqual(len(lines), len(done.stdout.splitlines()))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
