# SPDX-License-Identifier: Apache-2.0
"""A row of a batch and the row alone, through whole models of transformers: Octavo's parts give the same bits, and what does not is named."""

import pytest

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")

import octavo.torch  # noqa: E402
from octavo.torch.layers._layer import EightBitModule  # noqa: E402

SIZES = dict(vocab_size=500, hidden_size=192, intermediate_size=320, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2)
EXPERTS = dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=96, head_dim=32)
ROWS, LENGTH, STEPS = 7, 33, 4
FLOAT_PRODUCTS = ("lm_head", "mlp.gate")  # PyTorch's products: the float head, the router


def model_of(kind, dtype, head):
    torch.manual_seed(0)
    sizes = SIZES | (EXPERTS if kind == "Qwen3Moe" else {})
    model = getattr(hf, f"{kind}ForCausalLM")(getattr(hf, f"{kind}Config")(**sizes)).eval().to(dtype)
    octavo.torch.quantize_(model, "int8-dynamic", head=head)
    model.set_attn_implementation("octavo")
    return model


def logits(model, ids, steps=1):
    """Of the last token, and of further ones that are chosen greedily [rows, steps, vocabulary]."""
    cache, found = octavo.torch.Int8Cache(), []
    with torch.no_grad():
        for _ in range(steps):
            found.append(model(ids, past_key_values=cache, use_cache=True).logits[:, -1:])
            ids = found[-1].argmax(-1)
    return torch.cat(found, 1)


def seen(model, ids):
    """(name, module, input, result) of each module without children that is called with one tensor, in the order of calls."""
    calls = []
    hooks = [module.register_forward_hook(lambda module, given, result, name=name: calls.append((name, module, given[0], result)))
             for name, module in model.named_modules() if isinstance(module, EightBitModule) or not list(module.children())]
    logits(model, ids)
    for hook in hooks:
        hook.remove()
    return [call for call in calls if isinstance(call[2], torch.Tensor) and isinstance(call[3], torch.Tensor)]


def of_row(tensor, row):
    return tensor.reshape(ROWS, -1)[row]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Qwen3Moe"])
def test_octavos_parts_give_a_row_its_bits(kind, dtype):
    model = model_of(kind, dtype, None)
    ids = torch.randint(0, SIZES["vocab_size"], (ROWS, LENGTH))
    together = seen(model, ids)
    ours = 0
    for row in range(ROWS):
        for (name, module, x, y), (_, _, x_alone, y_alone) in zip(together, seen(model, ids[row:row + 1])):
            if not torch.equal(of_row(x, row), x_alone.flatten()):
                break  # an earlier module parted
            same = torch.equal(of_row(y, row), y_alone.flatten())
            ours += isinstance(module, EightBitModule)
            assert same or (not isinstance(module, EightBitModule) and name.endswith(FLOAT_PRODUCTS)), name
    assert ours >= ROWS * (4 + 3 * (kind != "Qwen3Moe"))  # a whole block of each row at least


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_greedy_tokens_do_not_depend_on_the_batch(kind, dtype):
    """The configuration of docs/guides/transformers.md: layers, head, cache and attention are Octavo's."""
    model = model_of(kind, dtype, "int8")
    ids = torch.randint(0, SIZES["vocab_size"], (ROWS, LENGTH))
    together = logits(model, ids, STEPS)
    for row in range(ROWS):
        assert torch.equal(logits(model, ids[row:row + 1], STEPS)[0], together[row])
