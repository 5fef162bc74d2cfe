# SPDX-License-Identifier: Apache-2.0
"""Loads a folder into vLLM, multiplies by each of its layers, generates: engine.py FOLDER [--compiled] [--cache TYPE].

Prints one JSON object: how many layers (of them output heads), experts and attentions are Octavo's, what differs from
Octavo's own reading of the folder, tokens, and how often octavo.linear ran while they were made.
"""

import argparse
import json
import os

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}

import torch  # noqa: E402
import vllm  # noqa: E402
from vllm.config import set_current_vllm_config  # noqa: E402
from vllm.forward_context import set_forward_context  # noqa: E402
from vllm.model_executor.layers.activation import SiluAndMul  # noqa: E402
from vllm.model_executor.layers.attention import Attention  # noqa: E402
from vllm.model_executor.layers.layernorm import RMSNorm  # noqa: E402
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead  # noqa: E402

import octavo  # noqa: E402

JOINED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj"),
          "fused_qkv_a_proj": ("q_a_proj", "kv_a_proj_with_mqa")}


def differing_rows(layer, weight, x):
    """Rows that are not Octavo's own bits, in a batch or alone."""
    codes = weight.quantized
    methods = " ".join(type(part).__name__ for part in (layer.quant_method, getattr(layer, "scheme", None)))
    if "WNA16" in methods or "GPTQ" in methods:  # vLLM keeps these scales in the model's type
        scale = torch.from_numpy(codes.scale).bfloat16().float()
        codes = octavo.Quantized(torch.from_numpy(codes.data), scale, codes.azp, codes.rows, codes.cols)
        want = octavo.linear(x, octavo.pack(codes.T))
    else:
        want = octavo.linear(x, weight.pack())
    got = layer.quant_method.apply(layer, x, None)
    alone = torch.cat([layer.quant_method.apply(layer, x[i:i + 1], None) for i in range(len(x))])
    return int((got != want).any(1).sum() + (alone != want).any(1).sum())


def differing_norms(norm, x, residual):
    """The same of a norm, with a residual and without."""
    weight, epsilon = norm.weight.data, norm.variance_epsilon
    want_sum, got_sum = residual.clone(), residual.clone()
    pairs = [(octavo.norms.rms_norm(x, weight, epsilon), norm(x)),
             (octavo.norms.rms_norm(x, weight, epsilon, residual=want_sum), norm(x.clone(), got_sum)[0]), (want_sum, got_sum)]
    return sum(int((want != got).any(1).sum()) for want, got in pairs)


def differing_experts(experts, stacks, x, topk):
    """The same of a layer of experts."""
    weights, ids = torch.rand(len(x), topk), torch.stack([torch.randperm(len(stacks[0]))[:topk] for _ in x]).to(torch.int32)
    want, got = octavo.moe.fused_experts(x, *stacks, weights, ids), torch.empty_like(x)
    experts.apply(got, x, *(torch.empty(0),) * 2, weights, ids, None, len(stacks[0]), None, None, None, None, None, None, False)
    return int((got != want).any(1).sum())


def _tensor(array):
    return torch.utils.dlpack.from_dlpack(array.view("uint8")).view(getattr(torch, array.dtype.name))


def stack_of(file, stem, count, parts):
    """The experts of a layer, packed: parts of each one below the other."""
    experts = [octavo.checkpoints.fuse([file.weight(f"{stem}.{expert}.{part}") for part in parts]) for expert in range(count)]
    codes, scales = (torch.stack([_tensor(getattr(expert.quantized, name)) for expert in experts]) for name in ("data", "scale"))
    cell = experts[0].quantized.rows, experts[0].quantized.cols  # of a scale
    rule = {(128, 128): ("block128x128", "group128", "none"), (1, 32): ("group32", "group32", "power_of_two")}.get(
        cell, ("channel", "token", "none"))
    return octavo.moe.pack_experts(codes, scales, granularity=rule[0], activation=codes.dtype, activation_granularity=rule[1], rounding=rule[2])


def watch_attention(module):
    """What a layer of attention is given and gives from now on: queries, keys, values, outputs."""
    seen, theirs = [], module.impl.forward

    def watched(layer, query, key, value, cache, metadata, output, **more):
        theirs(layer, query, key, value, cache, metadata, output, **more)
        seen.append([each.clone() for each in (query, key, value, output)])
        return output

    module.impl.forward = watched
    return seen


def differing_attention(module, seen):
    """Rows of one sequence that are not Octavo's bits over the codes of all its keys and values."""
    query, key, value, output = (torch.cat(rows) for rows in zip(*seen))
    coded = [octavo.quantize(side.reshape(-1, side.shape[-1]), module.impl.codes) for side in (key, value)]
    cached = [part for c in coded for part in (c.data.view(1, *key.shape), c.scale.view(1, *key.shape[:2]))]
    want = octavo.attention.attention(query[None], *cached, scale=module.impl.scale, window=module.sliding_window or 0)[0]
    return int((output != want).any(2).any(1).sum())


def prompts_of(llm, *given):
    """Prompts of these tokens, of a small vocabulary by what is left of them."""
    count = llm.model_config.get_vocab_size()
    return [vllm.inputs.TokensPrompt(prompt_token_ids=[token % count for token in ids]) for ids in given]


def main(folder, compiled, cache):
    llm = vllm.LLM(folder, skip_tokenizer_init=True, enforce_eager=not compiled, dtype="bfloat16", max_model_len=128, max_num_seqs=8,
                   kv_cache_dtype=cache, hf_overrides={"max_position_embeddings": 256}, disable_log_stats=True)
    sampling = vllm.SamplingParams(max_tokens=6, temperature=0, detokenize=False, ignore_eos=True)
    worker = llm.llm_engine.model_executor.driver_worker.worker
    found = {"layers": 0, "heads": 0, "experts": 0, "attentions": 0, "norms": 0, "activations": 0, "differing": {}, "octavo": octavo.__file__}
    torch.manual_seed(1)
    file = octavo.open_checkpoint(folder, framework="pt")
    with torch.inference_mode(), set_current_vllm_config(worker.vllm_config), set_forward_context(None, worker.vllm_config):
        for name, layer in worker.model_runner.model.named_modules():
            if hasattr(layer, "octavo_weight"):
                found["layers"] += 1
                found["heads"] += isinstance(layer, ParallelLMHead)
                stem, dot, last = name.rpartition(".")
                weight = octavo.checkpoints.fuse([file.weight(f"{stem}{dot}{part}") for part in JOINED.get(last, (last,))])
                different = differing_rows(layer, weight, torch.randn(5, layer.octavo_weight.k, dtype=torch.bfloat16))
            elif (kernel := getattr(getattr(layer, "quant_method", None), "moe_kernel", None)) is not None:
                found["experts"] += 1
                stem = name.removesuffix(".routed_experts")
                count = len(kernel.fused_experts.packed[0])
                stacks = [stack_of(file, stem, count, parts) for parts in (("gate_proj", "up_proj"), ("down_proj",))]
                different = differing_experts(kernel.fused_experts, stacks,
                                              torch.randn(5, kernel.fused_experts.packed[0].k, dtype=torch.bfloat16), 2)
            elif isinstance(layer, RMSNorm):
                found["norms"] += 1
                different = differing_norms(layer, *torch.randn(2, 5, layer.hidden_size, dtype=torch.bfloat16))
            elif isinstance(layer, SiluAndMul):
                found["activations"] += 1
                x = torch.randn(5, 64, dtype=torch.bfloat16)
                different = int((octavo.moe.silu_and_mul(x) != layer(x)).any(1).sum())
            else:
                continue
            if different:
                found["differing"][name] = different
    attentions = {module: watch_attention(module) for module in worker.model_runner.model.modules()
                  if isinstance(module, Attention) and module.attn_backend.get_name() == "OCTAVO"}
    if attentions:
        llm.generate(prompts_of(llm, [(7 * i) % 250 + 1 for i in range(40)]), sampling, use_tqdm=False)
    for module, seen in attentions.items():
        found["attentions"] += len(seen) == 6
        if different := differing_attention(module, seen):
            found["differing"][module.layer_name] = different
    calls, theirs = [0], octavo._octavo.linear

    def counted(*arguments, **options):
        calls[0] += 1
        return theirs(*arguments, **options)

    octavo._octavo.linear = counted
    outputs = llm.generate(prompts_of(llm, [1, 5, 9, 20], [7, 7], [3]), sampling, use_tqdm=False)
    print(json.dumps(found | {"tokens": [list(o.outputs[0].token_ids) for o in outputs], "calls": calls[0]}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--cache", default="auto")
    main(**vars(parser.parse_args()))
