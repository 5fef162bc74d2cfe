#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a selection of problems on this machine and writes results/<cpu>.md with a plot beside it.

Each problem runs in a process of its own, so that a peer that crashes costs one row.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import plot

BENCH = Path(__file__).resolve().parent
CLIFF_LINE = "scaled_mm int8:int8:bf16 scale=token:channel prepacked 512x2048x2048"

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


def generation(fields: dict[str, str]) -> str:
    """"zen5", or the numbers that would say so."""
    if "cpu family" not in fields:
        return "part-" + fields.get("CPU part", "unknown")
    family, model = int(fields["cpu family"]), int(fields["model"])
    for models, name in GENERATIONS.get((fields.get("vendor_id", ""), family), ()):
        if model in models:
            return name
    return f"family{family}-model{model}"


def file_name(cpu: str, fields: dict[str, str]) -> str:
    """"AMD EPYC 9R14" on Zen 4 becomes "amd-epyc-9r14-zen4"."""
    words = re.sub(r"\((r|tm)\)|\bcpu\b|@.*|\d+-core.*", "", cpu.lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {generation(fields)}").strip("-")


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

    def figure(self, line: str, threads: int, cold: bool) -> dict:
        temperature = ["--cold"] if cold else []
        return self.objects("bench", f"--threads={threads}", *temperature, *self.sampling, *self.pace, line)[0]

    def cliffs(self, line: str, threads: int) -> dict:
        return self.objects("bench", "--cliffs", f"--threads={threads}", *self.pace, line)[0]


def shape_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def measure(tool: Tool, lines: list[str], threads: int, cold: bool = False) -> list[dict]:
    figures = []
    for number, line in enumerate(lines, 1):
        print(f"{threads} threads, {number} of {len(lines)}: {line}", file=sys.stderr)
        try:
            figures.append(tool.figure(line, threads, cold))
        except RuntimeError as error:
            figures.append({"line": line, "threads": threads, "failure": str(error)})
    return figures


def peer_names(figures: list[dict]) -> list[str]:
    """Peers that ran at least once, as columns: with a version where two share a name."""
    names = [peer_key(p) for f in figures for p in f.get("peers", ()) if p["not_run"] is None]
    return list(dict.fromkeys(names))


def peer_key(peer: dict) -> str:
    version = peer["version"].split(" ")[0]
    return f"{peer['name']} {version}".strip()


def cell(peer: dict | None) -> str:
    if peer is None or peer["not_run"] is not None:
        return "not run"
    error = peer["max_error_ratio"]
    if error is not None and error > 1:
        return "wrong results"
    mark = "*" if error is None else ""
    return f"{peer['ratio']:.2f} [{peer['ratio_low']:.2f}, {peer['ratio_high']:.2f}]{mark}"


def table(rows: list[list[str]], head: list[str], numbers_from: int) -> list[str]:
    rule = ["---" if i < numbers_from else "---:" for i in range(len(head))]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]


def figure_table(figures: list[dict]) -> list[str]:
    peers = peer_names(figures)
    many = any(f["threads"] > 1 for f in figures)
    head = ["problem", "ran", "us", "GOP/s", "bound", "roofline fraction",
            *(["over one thread"] if many else []), "error", *peers]
    rows = []
    for f in figures:
        if "failure" in f:
            rows.append([f"`{f['line']}`", f"failed: {f['failure']}", *[""] * (len(head) - 2)])
            continue
        by_key = {peer_key(p): p for p in f["peers"]}
        rows.append([
            f"`{f['line']}`" + (" (cold)" if f["cold"] else ""), f["backend"], f"{f['median_us']:.1f}",
            f"{f['gops']:.0f}", "memory" if f["memory_bound"] else "compute",
            f"{f['roofline_fraction']:.3f} [{f['roofline_low']:.3f}, {f['roofline_high']:.3f}]",
            *([f"{f['scaling']:.2f} [{f['scaling_low']:.2f}, {f['scaling_high']:.2f}]"] if many else []),
            f"{f['max_error_ratio']:.3f}", *[cell(by_key.get(name)) for name in peers]])
    return table(rows, head, 2)


def peer_table(peers: list[dict], figures: list[dict]) -> list[str]:
    rows = []
    for peer in peers:
        if peer["not_run"] is not None:
            rows.append([peer["name"], "", f"not run: {peer['not_run']}", ""])
            continue
        own = [p for f in figures for p in f.get("peers", ()) if peer_key(p) == peer_key(peer)]
        notes = sorted({p["note"] for p in own if p["not_run"] is None})
        notes += sorted({f"not run: {p['not_run']}" for p in own if p["not_run"] is not None})
        errors = [p["max_error_ratio"] for p in own if p.get("max_error_ratio") is not None]
        rows.append([peer["name"], peer["version"], "; ".join(notes), f"{max(errors):.3f}" if errors else ""])
    return table(rows, ["peer", "version and build", "how it ran", "largest error"], 3)


def peak_table(peaks: list[dict]) -> list[str]:
    rows = []
    for p in peaks:
        for kind in p["peaks"]:
            rows.append([str(p["threads"]), kind["kind"], kind["instruction"], f"{kind['gops']:.0f} GOP/s",
                         f"{kind['instructions_per_cycle']:.2f}"])
        rows.append([str(p["threads"]), "read bandwidth", "", f"{p['read_gbps']:.1f} GB/s", ""])
    return table(rows, ["threads", "peak", "instruction", "measured", "a cycle and thread"], 3)


def cliff_table(cliffs: list[dict]) -> list[str]:
    rows = []
    for c in cliffs:
        drop = f"{c['largest_drop']:.1%} ({c['largest_drop_after']} to {c['largest_drop_after'] + 1})"
        fewer = f"{c['slower_with_fewer']:.3f} ({c['slower_with_fewer_at']})"
        rows.append([f"`{c['line']}`", str(c["threads"]), f"{c['noise']:.1%}", str(c["steps"]),
                     drop if c["steps"] else "none", fewer if c["slower_with_fewer_at"] else "none",
                     f"{c['n_plus_one']:.3f}", f"{c['k_plus_one']:.3f}", f"{c['both_plus_one']:.3f}"])
    return table(rows, ["problem, every M", "threads", "A/A noise", "drops", "largest drop of efficiency",
                        "largest time(M) / time(M + 1)", "N + 1", "K + 1", "both"], 1)


def rows_of(line: str) -> int:
    return int(line.rsplit(" ", 1)[1].split("x")[0])


def curve_panels(figures: list[dict]) -> list[plot.Panel]:
    panels = []
    for threads in sorted({f["threads"] for f in figures}):
        own = [f for f in figures if f["threads"] == threads and "failure" not in f]
        ours = [plot.Point(rows_of(f["line"]), f["roofline_fraction"], f["roofline_low"], f["roofline_high"])
                for f in own]
        series = [plot.Series("Octavo", ours, ours=True)]
        for name in peer_names(own):
            points = [plot.Point(rows_of(f["line"]), p["roofline_fraction"]) for f in own for p in f["peers"]
                      if peer_key(p) == name and p["not_run"] is None]
            series.append(plot.Series(name, points, dashed="float32" in name))
        panels.append(plot.Panel(f"{threads} thread{'s' if threads > 1 else ''}", series))
    return panels


def noise(figures: list[dict]) -> str:
    good = [f for f in figures if "failure" not in f]
    if not good:
        return "unknown"
    widths = sorted(max(abs(f["noise_low"] - 1), abs(f["noise_high"] - 1)) for f in good)
    return (f"the same code twice in a round differs by {widths[len(widths) // 2]:.1%} in the middle row, "
            f"by {widths[-1]:.1%} in the worst")


def document(info: dict, title: str, figures: list[dict], groups: list[tuple[str, list[dict]]],
             cliffs: list[dict], svg: str, command: str) -> str:
    build = info["build"]
    fields = cpu_fields()
    facts = [["processor", f"{build['cpu']}, {generation(fields)}, {build['threads']} threads"],
             ["caches of a core", caches()], ["compiler", build["compiler"]], ["commit", commit()],
             ["command", f"`{command}`"], ["A/A noise", noise(figures)]]
    out = [f"# {title}", "", *table(facts, ["", ""], 2), "", f"![Roofline fraction over M]({svg})", "",
           "A roofline fraction is the time that the peak or the read bandwidth of the same round allows over the time"
           " taken. Peers: how many times as fast Octavo is, the median of the rounds' ratios with its 95 % interval;"
           " `*`: the peer left out a part of the product, which its row below names. Error: the largest, over the"
           " computed bound.", ""]
    for heading, part in groups:
        out += [f"## {heading}", "", *figure_table(part), ""]
    if cliffs:
        out += ["## Cliffs", "", "Steps beyond the noise in three scans of three; N, K or both one past a multiple of"
                " 64 against the multiple.", "", *cliff_table(cliffs), ""]
    out += ["## Peers", "", *peer_table(info["peers"], figures), "", "## Peaks", "", *peak_table(info["peaks"]), ""]
    return "\n".join(out)


def machine(tool: Tool) -> dict:
    objects = tool.objects("info", "--peaks")
    by_type = lambda kind: [o for o in objects if o["type"] == kind]  # noqa: E731
    return {"build": by_type("build")[0], "peers": by_type("peer"), "peaks": by_type("peaks")}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--octavo", default="build/release/bin/octavo", help="the built command line")
    parser.add_argument("--out", type=Path, default=BENCH / "results", help="folder of the results")
    parser.add_argument("--curve", type=Path, default=BENCH / "shapes" / "curve.txt",
                        help="lines that differ in M: measured on one thread and on all with cold weights, and plotted")
    parser.add_argument("--selection", type=Path, default=BENCH / "shapes" / "selection.txt",
                        help="lines that are measured on all threads")
    parser.add_argument("--layers", type=Path, default=BENCH / "shapes" / "layers.txt",
                        help="lines that are measured on one thread and on all")
    parser.add_argument("--cold", type=Path, default=BENCH / "shapes" / "cold.txt",
                        help="the same, with weights that rotate through 256 MB")
    parser.add_argument("--cliffs", default=CLIFF_LINE, help="line of the scan over M; empty: none")
    parser.add_argument("--rounds", type=int, help="fewer than nine make no figure")
    parser.add_argument("--seconds", type=float, help="of a sample")
    parser.add_argument("--command", default="./dev bench", help="to name in the results")
    args = parser.parse_args()
    tool = Tool(args.octavo, args.rounds, args.seconds)
    info = machine(tool)
    every = info["build"]["threads"]
    counts = sorted({1, every})
    curve = [f for threads in counts for f in measure(tool, shape_lines(args.curve), threads, cold=True)]
    layers = [f for threads in counts for path, cold in ((args.layers, False), (args.cold, True))
              for f in measure(tool, shape_lines(path), threads, cold)]
    selection = measure(tool, shape_lines(args.selection), every)
    cliffs = [tool.cliffs(args.cliffs, threads) for threads in counts] if args.cliffs else []

    name = file_name(info["build"]["cpu"], cpu_fields())
    title = f"{info['build']['cpu']} ({generation(cpu_fields())})"
    groups = [(f"{heading}, {t} thread{'s' if t > 1 else ''}", [f for f in part if f["threads"] == t])
              for heading, part in (("Over M", curve), ("int8 layers with a bias", layers)) for t in counts]
    groups.append((f"Models and odd sizes, {every} thread{'s' if every > 1 else ''}", selection))
    shape = shape_lines(args.curve)[0].rsplit(" ", 1)[1].split("x", 1)[1]
    args.out.mkdir(parents=True, exist_ok=True)
    svg = plot.draw(f"Roofline fraction, N x K = {shape.replace('x', ' x ')}, {title}", curve_panels(curve),
                    "M (rows; cold weights)", "fraction of the bound")
    (args.out / f"{name}.svg").write_text(svg, encoding="utf-8")
    text = document(info, title, curve + layers + selection, groups, cliffs, f"{name}.svg", args.command)
    (args.out / f"{name}.md").write_text(text, encoding="utf-8")
    print(args.out / f"{name}.md")
    return 1 if any("failure" in f or f["max_error_ratio"] > 1 for f in curve + layers + selection) else 0


if __name__ == "__main__":
    sys.exit(main())
