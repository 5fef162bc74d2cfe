# SPDX-License-Identifier: Apache-2.0
"""Objects of octavo bench as tables."""

import re


def peer_names(figures: list[dict]) -> list[str]:
    """Peers that ran at least once, as columns: with a version where two share a name."""
    names = [peer_key(p) for f in figures for p in f.get("peers", ()) if p["not_run"] is None]
    return list(dict.fromkeys(names))


def peer_key(peer: dict) -> str:
    version = peer["version"].split(" ")[0]
    as_other = f" as {peer['as']}" if peer.get("as") else ""
    return f"{peer['name']} {version}".strip() + as_other


def problem(figure: dict) -> str:
    """Its line; of many groups only how many there are."""
    def short(found: re.Match) -> str:
        sizes = found[1].split("+")
        busy = sum(size != "0" for size in sizes)
        return found[0] if len(sizes) <= 16 else f"groups=({len(sizes)}, {busy} with rows)"
    line = re.sub(r"groups=([0-9+]+)", short, figure["line"])
    return f"`{line}`" + (" (cold)" if figure.get("cold") else "")


def interval(values: dict, name: str, low: str, high: str, digits: int = 2) -> str:
    return f"{values[name]:.{digits}f} [{values[low]:.{digits}f}, {values[high]:.{digits}f}]"


def failure(figure: dict, columns: int) -> list[str]:
    return [f"`{figure['line']}`", f"failed: {figure['failure']}", *[""] * (columns - 2)]


def cell(peer: dict | None) -> str:
    if peer is None or peer["not_run"] is not None:
        return "not run"
    error = peer["max_error_ratio"]
    if error is not None and error > 1:
        return "wrong results"
    mark = "*" if error is None else ""
    return interval(peer, "ratio", "ratio_low", "ratio_high") + mark


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
            rows.append(failure(f, len(head)))
            continue
        by_key = {peer_key(p): p for p in f["peers"]}
        rows.append([
            problem(f), f["backend"], f"{f['median_us']:.1f}",
            f"{f['gops']:.0f}", "memory" if f["memory_bound"] else "compute",
            interval(f, "roofline_fraction", "roofline_low", "roofline_high", 3),
            *([interval(f, "scaling", "scaling_low", "scaling_high")] if many else []),
            f"{f['max_error_ratio']:.3f}", *[cell(by_key.get(name)) for name in peers]])
    return table(rows, head, 2)


def pair_table(figures: list[dict]) -> list[str]:
    head = ["problem", "threads", "ran", "us", "roofline fraction", "error", "against", "its us", "times as fast"]
    rows = []
    for f in figures:
        if "failure" in f:
            rows.append(failure(f, len(head)))
            continue
        other = f["against"]
        rows.append([problem(f), str(f["threads"]), f["backend"], f"{f['median_us']:.1f}",
                     interval(f, "roofline_fraction", "roofline_low", "roofline_high", 3),
                     f"{f['max_error_ratio']:.3f}", problem(other), f"{other['median_us']:.1f}",
                     interval(other, "ratio", "ratio_low", "ratio_high", 3)])
    return table(rows, head, 1)


def memory_table(figures: list[dict], name: str) -> list[str]:
    head = [name, "threads", "ran", "us", "GB/s", "roofline fraction"]
    rows = []
    for f in figures:
        if "failure" in f:
            rows.append(failure(f, len(head)))
            continue
        rows.append([problem(f), str(f["threads"]), f.get("backend", ""), f"{f['median_us']:.1f}", f"{f['gbps']:.1f}",
                     interval(f, "roofline_fraction", "roofline_low", "roofline_high", 3)])
    return table(rows, head, 1)


def peer_table(peers: list[dict], figures: list[dict]) -> list[str]:
    rows = []
    for peer in peers:
        if peer["not_run"] is not None:
            rows.append([peer["name"], "", f"not run: {peer['not_run']}", ""])
            continue
        own = [p for f in figures for p in f.get("peers", ())
               if (p["name"], p["version"]) == (peer["name"], peer["version"])]
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
        if "failure" in c:
            rows.append(failure(c, 9))
            continue
        drop = f"{c['largest_drop']:.1%} ({c['largest_drop_after']} to {c['largest_drop_after'] + 1})"
        fewer = f"{c['slower_with_fewer']:.3f} ({c['slower_with_fewer_at']})"
        rows.append([f"`{c['line']}`", str(c["threads"]), f"{c['noise']:.1%}", str(c["steps"]),
                     drop if c["steps"] else "none", fewer if c["slower_with_fewer_at"] else "none",
                     f"{c['n_plus_one']:.3f}", f"{c['k_plus_one']:.3f}", f"{c['both_plus_one']:.3f}"])
    note = ["Steps beyond the noise in three scans of three; N, K or both one past a multiple of 64 against the"
            " multiple.", ""]
    return note + table(rows, ["problem, every M", "threads", "A/A noise", "drops", "largest drop of efficiency",
                        "largest time(M) / time(M + 1)", "N + 1", "K + 1", "both"], 1)


def noise(figures: list[dict]) -> str:
    good = [f for f in figures if "failure" not in f]
    if not good:
        return "unknown"
    widths = sorted(max(abs(f["noise_low"] - 1), abs(f["noise_high"] - 1)) for f in good)
    return (f"the same code twice in a round differs by {widths[len(widths) // 2]:.1%} in the middle row, "
            f"by {widths[-1]:.1%} in the worst")
