# SPDX-License-Identifier: Apache-2.0
"""The README's Python examples run, and are those that the README shows; its figures are measured ones."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples" / "python"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", ["first_product.py", "transformers_int8.py"])
def test_the_example_is_the_readmes(example):
    code = (EXAMPLES / example).read_text(encoding="utf-8").split("# [README]\n")[1].split("# [/README]")[0]
    assert f"```python\n{code}```" in README


def test_the_first_product_runs():
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, EXAMPLES / "first_product.py"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("-7.0\n") and "SQNR" in done.stdout


def test_a_model_runs_in_int8(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: i for i, word in enumerate(["[UNK]", "The", "weather", "today", "is", "fine"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path / "my-model")
    config = transformers.LlamaConfig(vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=1,
                                      num_attention_heads=4)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "my-model")
    done = subprocess.run([sys.executable, EXAMPLES / "transformers_int8.py"], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.stdout.startswith("The weather today is") and "SQNR" in done.stdout
    assert "compressed-tensors" in (tmp_path / "my-model-int8" / "config.json").read_text(encoding="utf-8")


def measured(file, row, peer):
    """Times as fast as a peer, of the one line of a committed table that begins so."""
    table = (ROOT / "bench" / "results" / file).read_text(encoding="utf-8")
    found = re.findall(rf"^\| {re.escape(row)} \|[^|]*\|[^|]*\| {re.escape(peer)} \|[^|]*\|[^|]*\| ([0-9.]+) ", table, re.MULTILINE)
    assert len(found) == 1, (file, row, peer, found)
    return found[0]


def test_figures_are_measured():
    for m in (1, 16, 256):
        shape = f"bfloat16 in and out, {m}x4096x4096"
        row = [measured("amd-epyc-zen5-torch.md", f"{layer}, {shape}", "F.linear bf16") for layer in ("Int8Linear", "Fp8Linear")]
        row.append(measured("amd-epyc-zen5-llm-int8.md", f"Linear8bitLt, threshold 6, eval mode, bfloat16, {m}x4096x4096", "bitsandbytes"))
        assert f"| {m} | {' | '.join(row)} |" in README


def test_ggmls_figures_are_measured():
    with (ROOT / "bench" / "results" / "data" / "ggml.csv").open(encoding="utf-8") as file:
        times = {int(row["rows"]): row["times"] for row in csv.DictReader(file) if (row["instructions"], row["threads"]) == ("AVX-512 VNNI", "2")}
    assert f"Q8_0, two Zen 4 cores: {times[1]} at 1 token, {times[256]} at 256" in README.replace("\n", " ")
