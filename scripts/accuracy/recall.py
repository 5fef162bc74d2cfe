# SPDX-License-Identifier: Apache-2.0
"""The demo's measure of a sentence encoder: the reverse dictionary's answers, against those of the float32 model."""

import json
import subprocess
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")  # of `octavo quantize`


def rows(folder: Path, model: Path, binaries: Path) -> list[dict[str, Any]]:
    """A row for float32 and each scheme. model: the folder of all-MiniLM-L6-v2; binaries: octavo and reverse_dictionary."""
    folder.mkdir(parents=True, exist_ok=True)
    queries, result = folder / "queries.tsv", folder / "result.json"
    make = TREE / "examples/reverse_dictionary/tools/make_queries.py"
    queries.write_bytes(_run("python3", make))
    models = [f"float32={model / 'model.safetensors'}"]
    for scheme in SCHEMES:
        made = folder / f"{scheme}.safetensors"
        _run(binaries / "octavo", "quantize", "--quiet", "--overwrite", "--scheme", scheme, model / "model.safetensors", made)
        models.append(f"{scheme}={made}")
    _run(binaries / "reverse_dictionary", "evaluate", "--models", *models, "--vocab", model / "vocab.txt", "--queries",
         queries, "--examples", TREE / "examples/reverse_dictionary/examples.tsv", "--json", result)
    return [{key: row[key] for key in ("scheme", "mean_cosine", "min_cosine", "top1", "top10", "recall10")}
            for row in json.loads(result.read_text())["schemes"]]


def _run(*command: object) -> bytes:
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout
