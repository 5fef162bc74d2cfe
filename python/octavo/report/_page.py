# SPDX-License-Identifier: Apache-2.0
"""One HTML page of a report, which refers to nothing outside itself."""

from html import escape
from typing import Any

from octavo.report import _charts

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --line: #d0d7de; }
@media (prefers-color-scheme: dark) { :root { --ink: #d8dee4; --paper: #0d1117; --line: #3d444d; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
.narrow { display: none; }
@media (max-width: 36rem) { .wide { display: none; } .narrow { display: block; } }
.table { overflow: auto; max-height: 80vh; }
th { position: sticky; top: 0; background: var(--paper); }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; overflow-wrap: normal; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""

HEAD = ("layer", "[N, K]", "type", "scheme", "bytes", "recommended", "why")


def _row(layer: dict[str, Any]) -> str:
    n, k = layer["shape"]
    advice = layer["recommendation"]
    cells = [layer["name"], f"[{n}, {k}]", layer["dtype"], layer["scheme"]]
    text = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return (f"<tr>{text}<td class=\"number\">{layer['bytes']:,}</td><td>{escape(advice['choice'])}</td>"
            f"<td>{escape(advice['reason'])}</td></tr>")


def _section(title: str, svg: str, absent: str) -> str:
    content = svg if svg else f"<p>{escape(absent)}</p>"
    return f"<section><h2>{escape(title)}</h2>\n{content}</section>"


def _evaluation(found: dict[str, Any]) -> str:
    """What octavo.evaluate measured of the model's text, and of each layer alone."""
    if not isinstance(found, dict) or not {"layers", "tokens", "cosine"} <= found.keys():
        raise ValueError("evaluation must be what `python -m octavo.evaluate --json` writes; got something else")
    words = [f"{found['tokens']:,} tokens; cosine {found['cosine']:.6f}"]
    if found.get("perplexity") is not None:
        words.append(f"perplexity {found['perplexity']:.4f}, of the float model {found['float_perplexity']:.4f}")
    title = "Error of each layer on text, weights and activations quantised"
    return f"{_section(title, _charts.measured(found['layers']), 'No layer was compared alone.')}<p>{'; '.join(words)}</p>"


def page(report: dict[str, Any], evaluation: dict[str, Any] | None = None) -> str:
    """The page of what `octavo report` printed.

    Args:
        report: what `octavo report --json` printed.
        evaluation: what `python -m octavo.evaluate --json` wrote of the same model.

    Returns:
        HTML, whole.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(report, dict) or report.get("type") != "report":
        raise ValueError("report must be what `octavo report` prints; got something else")
    layers, speed = report["layers"], report["speed"]
    known = any(layer["schemes"] for layer in layers)
    unknown = "Not known: the model is quantised, and the report was made without --against."
    unseen = "Not known: the report was made without --calibration, or its layers are not in the file."
    head = "".join(f"<th>{escape(title)}</th>" for title in HEAD)
    sections = [
        _section("Error of each layer", _charts.errors(layers, report["least_sqnr_db"]) if known else "", unknown),
        *([_evaluation(evaluation)] if evaluation is not None else []),
        _section("Error of each layer's output, weights quantised", _charts.outputs(layers),
                 "Not known: it takes --calibration with Hessians, and the float weights."),
        _section("Inputs: outlier columns, and columns that one static scale makes zeros", _charts.inputs(layers), unseen),
        _section("Size", _charts.sizes(layers), ""),
        *[_section(f"Speed with {m} row{'s' if m > 1 else ''}", _charts.speeds(speed, m) if speed else "",
                   "Not measured (--no-speed).") for m in (1, 16)],
        _section("Where columns stand out", _charts.outliers(layers), unknown),
        _section("How weights are spread", _charts.histograms(layers), unknown),
    ]
    title = escape(f"Octavo report: {report['path']}")
    machine = escape(f"{report['cpu']}, {report['threads']} threads, Octavo {report['octavo']}; {len(layers)} layers")
    rows = "\n".join(map(_row, layers))
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head>
<body><main><h1>{title}</h1><p>{machine}</p>
{body}
<section><h2>Layers</h2><div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div></section></main>
</body></html>
"""
