# SPDX-License-Identifier: Apache-2.0
"""vLLM's CPU backend with Octavo's plugin: every layer has the bits of Octavo's own reading of the folder, alone and in a
batch, and the engine generates."""

from pathlib import Path

import pytest

from engines import engine
from folders import AS_GPTQ_WRITES, AS_OTHERS_WRITE, FOLDERS, coded_model

DATA = Path(__file__).parents[1] / "checkpoint" / "data"


@pytest.mark.parametrize("name", [*FOLDERS, *AS_OTHERS_WRITE, *AS_GPTQ_WRITES])
def test_layers_have_octavos_bits(name, models):
    found, said = engine(coded_model(models, name))
    assert found["differing"] == {} and found["layers"] >= 4 and found["norms"] >= 5
    assert found["heads"] == name.endswith("-head")
    assert found["activations"] + found["experts"] > 0
    assert found["experts"] == {"qwen3-moe": 2, "deepseek-v2": 1}.get(FOLDERS.get(name, ("",))[0], 0)
    assert found["calls"] >= found["layers"] * 5  # 6 tokens were generated; MLA calls a layer for the first alone
    assert [len(tokens) for tokens in found["tokens"]] == [6, 6, 6]
    assert said.count("OCTAVO_VLLM=0 turns it off") == 1


@pytest.mark.parametrize("name", ["int8-channel", "int8-static-asymmetric", "fp8-channel", "mxfp8"])
def test_files_that_llm_compressor_wrote(name):
    """Heads of 16 elements, which the cache in 8 bits takes."""
    found, _ = engine(DATA / f"llm-compressor-{name}", "--cache", "int8_per_token_head")
    assert found["differing"] == {} and (found["layers"], found["attentions"]) == (4, 1)
    assert [len(tokens) for tokens in found["tokens"]] == [6, 6, 6]


def test_it_is_turned_off(models):
    found, said = engine(coded_model(models, "llama-int8"), OCTAVO_VLLM="0")
    assert (found["layers"], found["calls"]) == (0, 0) and found["differing"] and "Octavo" not in said


@pytest.mark.parametrize("name", ["llama-int8", "qwen3-moe-fp8"])
def test_compiled(name, models):
    found, _ = engine(coded_model(models, name), "--compiled")
    assert found["differing"] == {} and found["calls"] >= found["layers"] * 5
