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


@pytest.mark.parametrize("maker", [small.llama, small.qwen2, small.bert], ids=small.name_of)  # without biases, with, with all
def test_inductor_multiplies_once_for_a_group(maker, fused_products):
    model = small.made(maker).eval()
    octavo.torch.quantize_(model, "int8-dynamic", fuse=True)
    groups = {id(layer._shared[0]) for layer in model.modules() if getattr(layer, "_shared", None)}
    alone = sum(isinstance(layer, octavo.torch.nn.QuantizedLinear) and not layer._shared for layer in model.modules())
    small.outputs(torch.compile(model, fullgraph=True, backend=fused_products), small.tokens())
    assert groups and fused_products.found == [len(groups) + alone]


def test_inductor_keeps_results_that_somebody_may_write_to(fused_products):
    weight = octavo.pack(octavo.quantize(torch.randn(64, 32), granularity="channel", side="b"), activation="int8")
    with torch.no_grad():
        torch.compile(lambda x: (octavo.linear(x, weight), octavo.linear(x, weight)), backend=fused_products)(torch.randn(2, 64))
    assert fused_products.found == [2]


@pytest.fixture
def fused_products():
    """A backend that runs what inductor's passes behind functionalisation leave, and counts octavo::linear in each graph."""
    from torch._dynamo.backends.common import aot_autograd
    from torch._inductor.fx_passes import post_grad

    def compiler(graph, inputs):
        post_grad.pass_patterns[0].apply(graph.graph)
        graph.recompile()
        backend.found.append(sum(node.target is torch.ops.octavo.linear.default for node in graph.graph.nodes))
        return graph

    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=compiler, inference_compiler=compiler)
    backend.found = []
    return backend
