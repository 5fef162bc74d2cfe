# SPDX-License-Identifier: Apache-2.0
"""vLLM's caches `int8_per_token_head` and `fp8_per_token_head` on CPUs: codes with a scale for each token and head, read by octavo.attention.

A block holds for each head and token the codes of the key, their scale, the codes of the value, their scale, as vLLM's
own kernels lay them on GPUs. A batch mixes decoding, whole prompts and parts of prompts.
"""

import itertools
from dataclasses import dataclass, replace

import torch
from vllm.platforms.cpu import CpuPlatform
from vllm.v1.attention.backend import AttentionBackend, AttentionImpl, AttentionMetadata, AttentionMetadataBuilder, AttentionType, MultipleOf
from vllm.v1.attention.backends.registry import AttentionBackendEnum
from vllm.v1.kv_cache_interface import KVCacheLayout

import octavo

from .. import _octavo
from . import _packed

NAME = "OCTAVO"
CACHES = {"int8_per_token_head": torch.int8, "fp8_per_token_head": torch.float8_e4m3fn}
SCALE = 4  # bytes of a scale, after the codes of a key and of a value


class OctavoAttentionBackend(AttentionBackend):
    """What vLLM asks of a backend before it makes layers and caches."""

    forward_includes_kv_cache_update = True
    supported_dtypes = [torch.float16, torch.bfloat16, torch.float32]
    supported_kv_cache_dtypes = list(CACHES)

    @staticmethod
    def get_name():
        return NAME

    @staticmethod
    def get_impl_cls():
        return OctavoAttention

    @staticmethod
    def get_builder_cls():
        return OctavoAttentionBuilder

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec=None):
        return [MultipleOf(16)]

    @classmethod
    def supports_head_size(cls, head_size):
        return head_size % SCALE == 0 and head_size <= 1024

    @classmethod
    def supported_kv_cache_layouts(cls):
        return (KVCacheLayout.LBHNC,)  # a head's tokens are neighbours

    @classmethod
    def supports_sliding_window(cls):
        return True

    @classmethod
    def supports_batch_invariance(cls):
        return True

    @classmethod
    def supports_device_cpu_query_lens_mismatch(cls):
        return False  # a batch is cut by the lengths that the host knows

    @classmethod
    def customize_spec(cls, spec):
        return replace(spec, state_content_bytes=spec.head_size + spec.head_size_v + 2 * SCALE)


@dataclass
class Run:
    """Neighbours of a batch with as many queries each: one call of octavo.attention."""

    rows: slice
    shape: tuple[int, int]  # sequences, queries of each
    block_table: torch.Tensor
    lengths: torch.Tensor


@dataclass
class OctavoAttentionMetadata(AttentionMetadata):
    runs: list[Run]
    tokens: torch.Tensor | slice  # those that the cache has a place for
    places: tuple[torch.Tensor, torch.Tensor]  # blocks, positions in them


class OctavoAttentionBuilder(AttentionMetadataBuilder[OctavoAttentionMetadata]):
    reorder_batch_threshold = 1  # vLLM puts sequences with one query before the others

    def __init__(self, kv_cache_spec, layer_names, vllm_config, device):
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)

    def build(self, common_prefix_len, common_attn_metadata, fast_build=False):
        given = common_attn_metadata
        if given.causal is not True:
            raise NotImplementedError(f"octavo.vllm: attention.causal must be True with a cache in 8 bits; got {given.causal}")
        starts = given.query_start_loc_cpu[:given.num_reqs + 1].tolist()
        runs, first = [], 0
        for count, same in itertools.groupby(after - before for before, after in itertools.pairwise(starts)):
            last = first + sum(1 for _ in same)
            if count:
                runs.append(Run(slice(starts[first], starts[last]), (last - first, count), given.block_table_tensor[first:last],
                                given.seq_lens[first:last]))
            first = last
        slots = given.slot_mapping[:given.num_actual_tokens]
        tokens = slice(given.num_actual_tokens)
        if (slots < 0).any():
            tokens = (slots >= 0).nonzero()[:, 0]
            slots = slots[tokens]
        size = self.kv_cache_spec.block_size
        return OctavoAttentionMetadata(runs, tokens, (slots // size, slots % size))


class OctavoAttention(AttentionImpl[OctavoAttentionMetadata]):
    """A layer's attention: writes the step's keys and values into the cache, then reads it."""

    def __init__(self, num_heads, head_size, scale, num_kv_heads, alibi_slopes=None, sliding_window=None, kv_cache_dtype="int8_per_token_head",
                 logits_soft_cap=None, attn_type=AttentionType.DECODER, kv_sharing_target_layer_name=None, **more):
        refused = {"attention.alibi_slopes": alibi_slopes, "attention.logits_soft_cap": logits_soft_cap or None,
                   "attention.head_size_v": more.pop("head_size_v", None)}
        refused |= {f"attention.{name}": value for name, value in more.items()}
        for name, value in refused.items():
            if value is not None:
                raise NotImplementedError(f"octavo.vllm: {name} must be None with the cache {kv_cache_dtype}; got {value}")
        self.cache, self.codes = kv_cache_dtype, CACHES[kv_cache_dtype]
        self.num_heads, self.num_kv_heads, self.head_size, self.scale = num_heads, num_kv_heads, head_size, float(scale)
        self.window = sliding_window or 0
        self.shares = kv_sharing_target_layer_name is not None  # another layer writes
        self._k_scale_cache = None  # vLLM takes it away with the cache

    def parts(self, kv_cache):
        """Views of a layer's cache: tokens [blocks, positions, heads, bytes], then octavo.attention's keys, scales, values, scales."""
        if self._k_scale_cache is None or self._k_scale_cache[0] is not kv_cache:
            tokens, size = kv_cache.view(torch.int8).transpose(1, 2), self.head_size
            sides = tokens.split(size + SCALE, dim=-1)
            views = [view for side in sides for view in (side[..., :size].view(self.codes), side[..., size:].view(torch.float32)[..., 0])]
            self._k_scale_cache = kv_cache, tokens, *views
        return self._k_scale_cache[1:]

    def forward(self, layer, query, key, value, kv_cache, attn_metadata, output, output_scale=None, output_block_scale=None):
        if output_scale is not None or output_block_scale is not None:
            raise NotImplementedError(f"octavo.vllm: attention.output_scale must be None with the cache {self.cache}; got a scale")
        if attn_metadata is None:
            return output.zero_()
        tokens, *cached = self.parts(kv_cache)
        if not self.shares:
            self.write(tokens, attn_metadata, key, value)
        for run in attn_metadata.runs:
            shape = (*run.shape, self.num_heads, self.head_size)
            _octavo.attention(query[run.rows].view(shape), *cached, run.block_table, run.lengths, None, self.scale, self.window, False, None,
                              output[run.rows].view(shape))
        return output

    def write(self, tokens, attn_metadata, key, value):
        sides = torch.stack((key[attn_metadata.tokens], value[attn_metadata.tokens]), 2)
        q = octavo.quantize(sides.view(-1, self.head_size), self.codes)
        scales = q.scale.view(-1, 1).view(torch.int8)
        tokens.index_put_(attn_metadata.places, torch.cat((q.data.view(torch.int8), scales), 1).view(len(sides), self.num_kv_heads, -1))


def _chosen(theirs):
    """vLLM's choice of a backend; Octavo's where the cache is one of CACHES."""

    def get_attn_backend_cls(cls, selected_backend, attn_selector_config, num_heads=None):
        given = attn_selector_config
        if given.kv_cache_dtype not in CACHES:
            return theirs(selected_backend, given, num_heads)
        options = given._asdict()
        if reasons := OctavoAttentionBackend.validate_configuration(device_capability=None, **options):
            raise ValueError(f"octavo.vllm: attention must be one that Octavo reads from the cache {given.kv_cache_dtype} (--kv-cache-dtype auto takes all); "
                             f"got {', '.join(reasons)}")
        if NAME not in AttentionBackendEnum.__members__:
            AttentionBackendEnum.register(NAME, f"{__name__}.{OctavoAttentionBackend.__name__}")
        _packed.announce()
        return AttentionBackendEnum[NAME].value

    get_attn_backend_cls.octavo = True
    return classmethod(get_attn_backend_cls)


def register():
    theirs = CpuPlatform.get_attn_backend_cls
    if not hasattr(theirs, "octavo"):
        CpuPlatform.get_attn_backend_cls = _chosen(theirs)
