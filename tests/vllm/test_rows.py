# SPDX-License-Identifier: Apache-2.0
"""Whether a row's bits depend on its batch, in an engine: what is Octavo's never lets them, what is vLLM's is named."""

import pytest

from engines import engine
from folders import coded_model

LAYERS = {"QKVParallelLinear", "RowParallelLinear", "RMSNorm"}
DENSE = LAYERS | {"MergedColumnParallelLinear", "OctavoSiluAndMul"}


@pytest.mark.parametrize("name, options, octavos, vllms", [
    ("llama-long-int8", (), DENSE, {"Attention", "LogitsProcessor"}),  # its own cache, a head in bfloat16
    ("llama-long-int8-head", ("--cache", "int8_per_token_head"), DENSE | {"Attention", "LogitsProcessor"}, set()),
    ("qwen3-moe-long-int8-head", ("--cache", "int8_per_token_head"), LAYERS | {"MoERunner", "Attention", "LogitsProcessor"}, {"GateLinear"})])
def test_which_modules_let_a_row_depend_on_its_batch(name, options, octavos, vllms, models):
    found, _ = engine(coded_model(models, name), *options, script="rows.py")
    assert set(found["blamed"]) <= vllms and octavos <= found["compared"].keys()
    assert vllms or not found["differ"]


def test_tokens_do_not_depend_on_the_batch_in_a_compiled_model(models):
    found, _ = engine(coded_model(models, "llama-long-int8-head"), "--cache", "int8_per_token_head", "--compiled", script="rows.py")
    assert not found["differ"]
