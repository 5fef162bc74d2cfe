# SPDX-License-Identifier: Apache-2.0
"""A trained sentence encoder from transformers, quantised by quantize_: its embeddings stay where they were."""

import copy
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import octavo.torch  # noqa: E402

FOLDER = os.environ.get("OCTAVO_MINILM_DIR", "")
GLOSSES = Path(__file__).resolve().parents[2] / "examples" / "data" / "gloss_tokens.tsv"
# Least mean cosine with the float32 embeddings; the issue of this project's Python package asks for 0.99.
COSINE = {"int8-dynamic": 0.995, "fp8-dynamic": 0.99, "fp8-block": 0.99, "llm-int8": 0.995}

pytestmark = pytest.mark.skipif(not FOLDER, reason="OCTAVO_MINILM_DIR names no folder of the trained model")


def batches():
    """Token ids of WordNet's glosses, 32 of similar length at a time."""
    rows = []
    for line in GLOSSES.read_text(encoding="utf-8").splitlines():
        rows.append([int(token) for token in line.split("\t")[-1].split()])
    rows.sort(key=len)
    for start in range(0, len(rows), 32):
        part = rows[start:start + 32]
        width = max(len(row) for row in part)
        ids = torch.tensor([row + [0] * (width - len(row)) for row in part])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in part])
        yield ids, mask


@torch.no_grad()
def embeddings(model):
    parts = []
    for ids, mask in batches():
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None]
        mean = (hidden * weights).sum(1) / weights.sum(1)
        parts.append(torch.nn.functional.normalize(mean, dim=1))
    return torch.cat(parts)


@pytest.fixture(scope="module")
def reference():
    model = transformers.AutoModel.from_pretrained(FOLDER).eval().float()
    return model, embeddings(model)


@pytest.mark.parametrize("scheme", COSINE)
def test_embeddings_of_a_quantized_encoder(reference, scheme):
    model, expected = reference
    model = copy.deepcopy(model)
    report = octavo.torch.quantize_(model, scheme)
    assert len(report) >= 36  # six layers of query, key, value, output and two of the feed-forward part
    cosine = (embeddings(model) * expected).sum(1)
    assert float(cosine.mean()) >= COSINE[scheme], f"mean cosine {float(cosine.mean()):.5f}"


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic"])
def test_the_encoder_is_saved_comes_back_and_is_evaluated(reference, scheme, tmp_path):
    """Quantised while it loads, saved and loaded again: the same bits. What it cost, layer by layer, on WordNet's glosses."""
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(FOLDER, dtype=torch.float32,
                                                   quantization_config=octavo.torch.OctavoConfig(scheme))
    ids, mask = (values[:8] for values in next(batches()))
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected, found = (encoder(input_ids=ids, attention_mask=mask).last_hidden_state for encoder in
                           (model, transformers.AutoModel.from_pretrained(tmp_path, dtype=torch.float32)))
    assert torch.equal(expected, found)
    result = octavo.torch.evaluate(tmp_path, reference[0], ids)
    assert result.cosine >= 0.99 and len(result.layers) >= 36 and result.perplexity is None
    assert min(row.cosine for row in result.layers) >= 0.99
