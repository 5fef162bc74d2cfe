# SPDX-License-Identifier: Apache-2.0
"""generate with a static cache under torch.compile, as docs/guides/transformers.md has it: one graph, the tokens of eager mode."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402

CASES = [(small.llama, "int8-dynamic", True), (small.llama, "llm-int8", False), (small.llama, "int8-weight-only", False),
         (small.qwen2, "fp8-dynamic", False), (small.qwen3_moe, "int8-dynamic", False)]


@pytest.mark.filterwarnings("ignore:.*stay in float")
@pytest.mark.parametrize("maker, scheme, fuse", CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_compiled_step_is_one_graph_and_gives_the_same_tokens(maker, scheme, fuse):
    """aot_eager runs Octavo's operators as eager mode does; of PyTorch's, float products may differ in the last bit."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model = small.made(maker)
    octavo.torch.quantize_(model, scheme, fuse=fuse)
    ids = small.tokens()[:, :8]
    options = dict(max_new_tokens=6, min_new_tokens=6, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids),
                   cache_implementation="static")
    eager = model.generate(ids, disable_compile=True, **options)
    compiling = transformers.CompileConfig(fullgraph=True, mode=None, backend="aot_eager")
    compiling._compile_all_devices = True
    compiled = model.generate(ids, compile_config=compiling, **options)
    assert counters["stats"]["unique_graphs"] == 1
    assert torch.equal(compiled, eager)
