# SPDX-License-Identifier: Apache-2.0
"""Small transformers of known architectures, made on the spot."""

import octavo.torch
import torch
import transformers as hf

VOCABULARY = 96
SIZES = dict(vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4)
GROUPED = dict(SIZES, num_key_value_heads=2)


def llama():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED))


def qwen2():
    return hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED))


def mixtral():
    return hf.MixtralForCausalLM(hf.MixtralConfig(**GROUPED, num_local_experts=4))


def bert():
    return hf.BertModel(hf.BertConfig(**SIZES))


def gpt2():
    return hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=128, n_layer=2, n_head=4))


def qwen3_moe():
    return hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2,
                                                    moe_intermediate_size=128, head_dim=32))


def deepseek_v3():
    sizes = dict(SIZES, num_key_value_heads=4)
    return hf.DeepseekV3ForCausalLM(hf.DeepseekV3Config(
        **sizes, moe_intermediate_size=128, n_routed_experts=8, num_experts_per_tok=2, n_group=2, topk_group=1,
        first_k_dense_replace=1, kv_lora_rank=64, q_lora_rank=64, qk_rope_head_dim=32, v_head_dim=32,
        qk_nope_head_dim=32))


def gpt_oss():
    sizes = dict(GROUPED, intermediate_size=128)
    return hf.GptOssForCausalLM(hf.GptOssConfig(**sizes, head_dim=32, num_local_experts=4, num_experts_per_tok=2))


def llama4():
    return hf.Llama4ForCausalLM(hf.Llama4TextConfig(**dict(GROUPED, intermediate_size=128), intermediate_size_mlp=256,
                                                    head_dim=32, num_local_experts=4, num_experts_per_tok=1,
                                                    interleave_moe_layer_step=1))


FIVE = (llama, qwen2, mixtral, bert, gpt2)


FEW = (llama, mixtral, gpt2)
SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")
NEWER = ("int8-weight-only", "fp8-weight-only", "mxfp8")


def cases(makers, few=FEW):
    """(maker, scheme): every model in the four first schemes, a few in the others, which share their code."""
    return [(maker, scheme) for maker in makers for scheme in (*SCHEMES, *NEWER) if scheme in SCHEMES or maker in few]


def name_of(value):
    return getattr(value, "__name__", str(value))


def saving(model, scheme):
    """What save_pretrained wants to be told: transformers loads no experts of mxfp8."""
    stacks = any(hasattr(module, "w13") for module in model.modules())
    return {"experts": "separate"} if scheme == "mxfp8" and stacks else {}


def made(maker, seed=0):
    torch.manual_seed(seed)
    return maker().eval()


def tokens(seed=0, rows=2, length=24):
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def outputs(model, ids):
    """Logits, or the last hidden states of a model without a head."""
    return model(ids)[0]


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0))


def save_and_load_bit_equal(model, folder, **options):
    """What save_pretrained wrote of a quantised model, and Octavo reads, is its state and its logits, bit for bit."""
    model.save_pretrained(folder, **options)
    loaded = octavo.torch.from_pretrained(folder)
    state, found = model.state_dict(), loaded.state_dict()
    assert state.keys() == found.keys()
    for name, value in state.items():
        assert torch.equal(value, found[name]), name
    with torch.no_grad():
        assert torch.equal(outputs(model, tokens()), outputs(loaded, tokens()))
