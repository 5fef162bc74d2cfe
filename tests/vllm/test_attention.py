# SPDX-License-Identifier: Apache-2.0
"""vLLM's caches of int8 and fp8 codes, read by octavo.attention: the backend by itself, without an engine, and in one."""

import dataclasses
import itertools
import random

import pytest
import torch
from vllm.platforms.cpu import CpuPlatform
from vllm.v1.attention.backend import AttentionType, CommonAttentionMetadata
from vllm.v1.attention.selector import AttentionSelectorConfig
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVQuantMode

import octavo
import octavo.vllm
from engines import engine
from folders import coded_model
from octavo.vllm._attention import CACHES, OctavoAttention, OctavoAttentionBackend, OctavoAttentionBuilder

HEADS, KV_HEADS, DEPTH, BLOCK, BLOCKS = 6, 2, 32, 16, 64
CACHE = "int8_per_token_head"
MODES = {CACHE: KVQuantMode.INT8_PER_TOKEN_HEAD, "fp8_per_token_head": KVQuantMode.FP8_PER_TOKEN_HEAD}


@dataclasses.dataclass
class Sequence:
    """What a sequence has: its tokens' keys, values and queries, its blocks, how many tokens the cache holds."""

    tokens: torch.Tensor  # [length, HEADS + 2 KV_HEADS, DEPTH]
    blocks: list
    done: int = 0

    def of(self, first, last):
        return self.tokens[first:last].split((HEADS, KV_HEADS, KV_HEADS), 1)


class Backend:
    """One layer with its cache, as vLLM makes and calls it."""

    def __init__(self, window=None, layout=(0, 1, 2, 3), cache=CACHE):
        spec = OctavoAttentionBackend.customize_spec(FullAttentionSpec(
            block_size=BLOCK, num_kv_heads=KV_HEADS, head_size=DEPTH, dtype=CACHES[cache], kv_quant_mode=MODES[cache]))
        shape = BLOCKS, spec.num_heads, spec.num_states, spec.state_content_size_bytes
        stored = torch.randint(-128, 128, [shape[i] for i in layout], dtype=torch.int8)  # what another sequence left there
        self.cache = stored.view(CACHES[cache]).permute([layout.index(i) for i in range(4)])
        self.builder = OctavoAttentionBuilder(spec, ["layer"], None, torch.device("cpu"))
        self.layer = OctavoAttention(HEADS, DEPTH, DEPTH ** -0.5, KV_HEADS, None, window, cache)

    def step(self, sequences, counts):
        """Output rows of the next `counts` tokens of each sequence."""
        lengths = [each.done + count for each, count in zip(sequences, counts)]
        starts = torch.tensor([0, *itertools.accumulate(counts)], dtype=torch.int32)
        table = torch.zeros(len(sequences), max(len(each.blocks) for each in sequences), dtype=torch.int32)
        slots = []
        for row, (each, last) in enumerate(zip(sequences, lengths)):
            table[row, :len(each.blocks)] = torch.tensor(each.blocks)
            slots += [each.blocks[t // BLOCK] * BLOCK + t % BLOCK for t in range(each.done, last)]
        given = CommonAttentionMetadata(
            query_start_loc=starts, query_start_loc_cpu=starts, seq_lens=torch.tensor(lengths, dtype=torch.int32), num_reqs=len(sequences),
            num_actual_tokens=len(slots), max_query_len=max(counts), max_seq_len=max(lengths), block_table_tensor=table,
            slot_mapping=torch.tensor(slots))
        q, k, v = (torch.cat(rows) for rows in zip(*(each.of(each.done, last) for each, last in zip(sequences, lengths))))
        output = torch.full_like(q, torch.nan)
        self.layer.forward(None, q, k, v, self.cache, self.builder.build(0, given), output)
        for each, last in zip(sequences, lengths):
            each.done = last
        return output.split(counts)


def sequences(lengths, seed=0, dtype=torch.bfloat16):
    draw = torch.Generator().manual_seed(seed)
    blocks = torch.randperm(BLOCKS, generator=draw).tolist()
    return [Sequence(torch.randn(length, HEADS + 2 * KV_HEADS, DEPTH, generator=draw).to(dtype),
                     [blocks.pop() for _ in range(-(-length // BLOCK))]) for length in lengths]


def wanted(sequence, window, cache):
    """The rows of a whole sequence by Octavo's attention over its own codes, without pages."""
    q, *sides = sequence.of(0, None)
    coded = [octavo.quantize(side.reshape(-1, DEPTH), CACHES[cache]) for side in sides]
    return octavo.attention.attention(
        q[None], *(x for c in coded for x in (c.data.view(1, -1, KV_HEADS, DEPTH), c.scale.view(1, -1, KV_HEADS))),
        scale=DEPTH ** -0.5, window=window or 0)[0]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_any_mixture_has_octavos_bits(window, layout, dtype, cache):
    """Prompts in parts of any size beside sequences that decode, in any order, over blocks that lie anywhere."""
    draw, backend, given = random.Random(5), Backend(window, layout, cache), sequences([70, 33, 1, 48, 90], dtype=dtype)
    found = [[] for _ in given]
    while left := [i for i, each in enumerate(given) if each.done < len(each.tokens)]:
        chosen = draw.sample(left, draw.randint(1, len(left)))
        counts = [min(draw.choice((1, 1, 2, 19, 40)), len(given[i].tokens) - given[i].done) for i in chosen]
        for i, rows in zip(chosen, backend.step([given[i] for i in chosen], counts)):
            found[i].append(rows)
    for each, rows in zip(given, found):
        assert torch.equal(torch.cat(rows), wanted(each, window, cache))


def test_tokens_without_a_place_are_not_written():
    backend, (one,) = Backend(), sequences([4])
    before = backend.cache.clone()
    starts = torch.tensor([0, 4], dtype=torch.int32)
    metadata = backend.builder.build(0, CommonAttentionMetadata(
        query_start_loc=starts, query_start_loc_cpu=starts, seq_lens=torch.tensor([4], dtype=torch.int32), num_reqs=1, num_actual_tokens=4,
        max_query_len=4, max_seq_len=4, block_table_tensor=torch.tensor([[3]], dtype=torch.int32), slot_mapping=torch.tensor([48, -1, 50, -1])))
    q, k, v = one.of(0, 4)
    backend.layer.write(backend.layer.parts(backend.cache)[0], metadata, k, v)
    written = (backend.cache != before).any(3).any(1)
    assert written.nonzero().tolist() == [[3, 0], [3, 2]]


@pytest.mark.parametrize("name, given", [
    ("alibi_slopes", {"alibi_slopes": [0.5]}), ("logits_soft_cap", {"logits_soft_cap": 30.0}), ("sinks", {"sinks": torch.ones(HEADS)}),
    ("head_size_v", {"head_size_v": 16})])
def test_what_a_layer_is_refused_for(name, given):
    with pytest.raises(NotImplementedError, match=rf"octavo.vllm: attention.{name} must be None with the cache {CACHE}; got"):
        OctavoAttention(HEADS, DEPTH, 1.0, KV_HEADS, **given)


@pytest.mark.parametrize("given, reason", [
    ({"use_mla": True}, "MLA not supported"), ({"attn_type": AttentionType.ENCODER_ONLY}, "attention type .* not supported"),
    ({"attn_type": AttentionType.ENCODER_DECODER}, "attention type .* not supported"), ({"has_sink": True}, "attention sinks not supported"),
    ({"use_non_causal": True}, "non-causal attention not supported"), ({"head_size": 30}, "head_size not supported")])
def test_what_a_cache_is_refused_for(given, reason):
    def choose(**given):
        return CpuPlatform.get_attn_backend_cls(None, AttentionSelectorConfig(**{"head_size": 64, "dtype": torch.bfloat16, "block_size": None} | given))

    octavo.vllm.register()
    assert choose(kv_cache_dtype=CACHE).endswith("OctavoAttentionBackend")
    with pytest.raises(ValueError, match=rf"octavo.vllm: attention must be one that Octavo reads from the cache {CACHE} .*; got {reason}"):
        choose(kv_cache_dtype=CACHE, **given)
    assert choose(kv_cache_dtype="auto").endswith("CPUAttentionBackend")


@pytest.mark.parametrize("name, cache, options", [
    ("llama-int8", CACHE, ()), ("mistral-int8", CACHE, ()), ("gemma3-int8", CACHE, ()), ("llama-int8", CACHE, ("--compiled",)),
    ("llama-int8", "fp8_per_token_head", ()), ("mistral-int8", "fp8_per_token_head", ("--compiled",))])
def test_an_engine_has_octavos_bits(name, cache, options, models):
    """Every layer's output rows for a prompt and what follows it; mistral's layers have a window, one of gemma3's has."""
    found, _ = engine(coded_model(models, name), "--cache", cache, *options)
    assert found["attentions"] == 2 and found["differing"] == {}
    assert [len(tokens) for tokens in found["tokens"]] == [6, 6, 6]
