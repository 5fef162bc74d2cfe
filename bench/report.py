#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a selection of problems on this machine and writes results/<cpu>.md with its plots beside it.

Each problem runs in a process of its own, so that a peer that crashes costs one row.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import machine
import plot
import tables
from selection import FILES, SHAPES, shape_lines

CLIFF_LINE = "scaled_mm int8:int8:bf16 scale=token:channel prepacked 512x2048x2048"


class Tool:
    """The built command line."""

    def __init__(self, path: str, rounds: int | None, seconds: float | None) -> None:
        self.path = path
        self.sampling = [f"--rounds={rounds}"] if rounds else []
        self.pace = [f"--seconds={seconds}"] if seconds else []

    def objects(self, *words: str) -> list[dict]:
        done = subprocess.run((self.path, *words, "--json"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip() or f"exit code {done.returncode}"
            raise RuntimeError(reason.splitlines()[-1])
        return [json.loads(line) for line in done.stdout.splitlines()]

    def bench(self, line: str, threads: int, *options: str) -> dict:
        words = (f"--threads={threads}", *options, *self.pace)
        print(" ".join(("bench", *words, line)), file=sys.stderr)
        try:
            return self.objects("bench", *words, line)[0]
        except RuntimeError as error:
            return {"line": line, "threads": threads, "failure": str(error)}

    def figure(self, line: str, threads: int, *options: str) -> dict:
        return self.bench(line, threads, *options, *self.sampling)

    def machine(self) -> dict:
        objects = self.objects("info", "--peaks")
        by_type = lambda kind: [o for o in objects if o["type"] == kind]  # noqa: E731
        return {"build": by_type("build")[0], "peers": by_type("peer"), "peaks": by_type("peaks")}


def rows_of(line: str) -> int:
    return int(line.rsplit(" ", 1)[1].split("x")[0])


def on_threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def good(figures: list[dict], threads: int) -> list[dict]:
    return [f for f in figures if f["threads"] == threads and "failure" not in f]


def curve_panels(figures: list[dict]) -> list[plot.Panel]:
    """int8 beside every peer, in fractions of the bound."""
    panels = []
    for threads in sorted({f["threads"] for f in figures}):
        own = good(figures, threads)
        ours = [plot.Point(rows_of(f["line"]), f["roofline_fraction"], f["roofline_low"], f["roofline_high"])
                for f in own]
        series = [plot.Series("Octavo", ours, ours=True, values=True)]
        for name in tables.peer_names(own):
            points = [plot.Point(rows_of(f["line"]), p["roofline_fraction"]) for f in own for p in f["peers"]
                      if tables.peer_key(p) == name and p["not_run"] is None]
            series.append(plot.Series(name, points, dashed="float32" in name))
        panels.append(plot.Panel(on_threads(threads), series, [plot.Bound(1.0)]))
    return panels


# fp8 last, so that it lies on top of bf16 where both reach the same peak.
TYPES = (("int8", "int8:int8:", "#d9480f"), ("bf16", "bf16:bf16:", "#159a80"), ("fp8", "e4m3fn:e4m3fn:", "#8467c7"))


def best_peers(figures: list[dict]) -> list[plot.Point]:
    """The fastest peer of the same types at each M, of those that are right and left nothing out."""
    points = []
    for f in figures:
        times = [p["median_us"] for p in f["peers"] if p["not_run"] is None and p["as"] is None
                 and "float32" not in p["name"] and p["max_error_ratio"] is not None and p["max_error_ratio"] <= 1]
        if times:
            points.append(plot.Point(rows_of(f["line"]), f["gops"] * f["median_us"] / min(times)))
    return points


def type_panels(figures: list[dict]) -> list[plot.Panel]:
    """What each type reaches, in GOP/s, beside its best peer and its peak (fp8's is that of bf16)."""
    panels = []
    for threads in sorted({f["threads"] for f in figures}):
        series, bounds = [], []
        for name, types, colour in TYPES:
            own = [f for f in good(figures, threads) if f" {types}" in f["line"]]
            points = [plot.Point(rows_of(f["line"]), f["gops"]) for f in own]
            series.append(plot.Series(f"Octavo {name}", points, ours=True, colour=colour))
            peers = best_peers(own)
            if peers:
                series.append(plot.Series(f"best peer, {name}", peers, dashed=True, colour=colour))
            if own and name != "fp8":
                peaks = sorted(f["peak_gops"] for f in own)
                bounds.append(plot.Bound(peaks[len(peaks) // 2], f"{name} peak"))
        panels.append(plot.Panel(on_threads(threads), series, bounds))
    return panels


class Run:
    """Everything that is measured, section by section."""

    def __init__(self, tool: Tool, every: int) -> None:
        self.tool = tool
        self.counts = sorted({1, every})
        self.figures: list[dict] = []
        self.sections: list[tuple[str, list[str]]] = []

    def measure(self, paths: list[Path], threads: int, *options: str) -> list[dict]:
        figures = [self.tool.figure(line, threads, *options) for path in paths for line in shape_lines(path)]
        self.figures += figures
        return figures

    def add(self, heading: str, *parts: tuple[list[Path], tuple[str, ...]],
            counts: list[int] | None = None) -> list[dict]:
        """A table for each number of threads over files that are measured with options."""
        every = []
        for threads in counts or self.counts:
            figures = [f for paths, options in parts for f in self.measure(paths, threads, *options)]
            self.sections.append((f"{heading}, {on_threads(threads)}", tables.figure_table(figures)))
            every += figures
        return every

    def add_pairs(self, heading: str, path: Path) -> None:
        """Of a file of pairs of lines the first against the second."""
        lines = shape_lines(path)
        figures = [self.tool.figure(first, threads, *FILES[path.stem], f"--against={second}")
                   for threads in self.counts for first, second in zip(lines[::2], lines[1::2])]
        self.figures += figures
        self.sections.append((heading, tables.pair_table(figures)))

    def add_memory_bound(self, heading: str, name: str, path: Path) -> None:
        """Lines without peers and errors: quantisers, layers of experts."""
        if not path.exists():
            return
        objects = [self.tool.figure(line, threads) for threads in self.counts for line in shape_lines(path)]
        self.sections.append((heading, tables.memory_table(objects, name)))

    def add_cliffs(self, line: str) -> None:
        if line:
            scans = [self.tool.bench(line, threads, "--cliffs") for threads in self.counts]
            self.sections.append(("Cliffs", tables.cliff_table(scans)))

    def failed(self) -> bool:
        return any("failure" in f or f["max_error_ratio"] > 1 for f in self.figures)


def document(run: Run, info: dict, commit: str, title: str, plots: list[tuple[str, str]], command: str) -> str:
    build = info["build"]
    facts = [["processor", f"{build['cpu']}, {machine.generation()}, {build['threads']} threads"],
             ["caches of a core", machine.caches()], ["compiler", build["compiler"]],
             ["commit", commit], ["command", f"`{command}`"], ["A/A noise", tables.noise(run.figures)]]
    out = [f"# {title}", "", *tables.table(facts, ["", ""], 2), ""]
    for caption, name in plots:
        out += [f"![{caption}]({name})", ""]
    out += ["A roofline fraction is the time that the peak or the read bandwidth of the same round allows over the time"
            " taken; of a grouped problem the sum over its members. Peers: how many times as fast Octavo is, the median"
            " of the rounds' ratios with its 95 % interval; `as bf16`: the peer has no fp8 and multiplies the same codes"
            " as bfloat16; `*`: it left out a part of the product, which its row below names. Error: the largest, over"
            " the computed bound.", ""]
    for heading, part in run.sections:
        out += [f"## {heading}", "", *part, ""]
    out += ["## Peers", "", *tables.peer_table(info["peers"], run.figures), ""]
    out += ["## Peaks", "", *tables.peak_table(info["peaks"]), ""]
    return "\n".join(out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--octavo", default="build/release/bin/octavo", help="the built command line")
    parser.add_argument("--out", type=Path, default=SHAPES.parent / "results", help="folder of the results")
    parser.add_argument("--shapes", type=Path, default=SHAPES, help="folder of the shape files")
    parser.add_argument("--cliffs", default=CLIFF_LINE, help="line of the scan over M; empty: none")
    parser.add_argument("--rounds", type=int, help="fewer than nine make no figure")
    parser.add_argument("--seconds", type=float, help="of a sample")
    parser.add_argument("--command", default="./dev bench", help="to name in the results")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    tool = Tool(args.octavo, args.rounds, args.seconds)
    info = tool.machine()
    commit = machine.commit()  # before the first result is written
    every = info["build"]["threads"]
    run = Run(tool, every)
    file = lambda name: args.shapes / f"{name}.txt"  # noqa: E731
    part = lambda *names: ([file(name) for name in names], FILES[names[0]])  # noqa: E731
    curve = run.add("int8 over M", part("curve"))
    types = run.add("fp8 and bf16 over M", part("curve_fp8", "curve_bf16"))
    run.add("fp8 layers", part("fp8"))
    run.add("Plain weights, [N, K] and row-major", part("plain"))
    run.add_pairs("Plain weights against packed ones", file("pairs_plain"))
    run.add("Attention, plain operands", part("attention"))
    run.add_pairs("Block scales against per-channel", file("pairs_block"))
    run.add_pairs("Fused linear against the bare product", file("pairs_fused"))
    run.add("Grouped", part("grouped"))
    run.add_memory_bound("Quantisers", "quantiser", file("quantize"))
    run.add_memory_bound("Layers of experts", "layer", file("experts"))
    run.add("int8 layers with a bias", part("layers"), part("cold"))
    run.add("Models and odd sizes", part("selection"), counts=[every])
    run.add_cliffs(args.cliffs)

    name = machine.file_name(info["build"]["cpu"])
    title = f"{info['build']['cpu']} ({machine.generation()})"
    shape = shape_lines(file("curve"))[0].rsplit(" ", 1)[1].split("x", 1)[1].replace("x", " x ")
    args.out.mkdir(parents=True, exist_ok=True)
    x_label = "M (rows; cold weights)"
    panels = curve_panels(curve)
    svg = plot.draw(f"int8, roofline fraction, N x K = {shape}, {title}", panels, x_label,
                    plot.fractions("fraction of the bound", panels))
    (args.out / f"{name}.svg").write_text(svg, encoding="utf-8")
    panels = type_panels(curve + types)
    svg = plot.draw(f"int8, fp8 and bf16, N x K = {shape}, {title}", panels, x_label, plot.magnitudes("GOP/s", panels))
    (args.out / f"{name}-types.svg").write_text(svg, encoding="utf-8")
    plots = [("Roofline fraction of int8 over M", f"{name}.svg"),
             ("GOP/s of int8, fp8 and bf16 over M", f"{name}-types.svg")]
    (args.out / f"{name}.md").write_text(document(run, info, commit, title, plots, args.command), encoding="utf-8")
    print(args.out / f"{name}.md")
    return 1 if run.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
