# SPDX-License-Identifier: Apache-2.0
"""Int8Cache, Fp8Cache and the attention function "octavo" inside transformers."""

import pytest

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")

import octavo.torch  # noqa: E402
from octavo.torch import Fp8Cache, Int8Cache  # noqa: E402
from octavo.torch.transformers._attention import octavo_attention, octavo_mask  # noqa: E402
from octavo.torch.transformers._kv_cache import CodedStates, Fp8Layer, Int8Layer, coded  # noqa: E402
from small_models import GROUPED, llama, qwen2  # noqa: E402


def mistral():
    return hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=8))


MODELS = [llama, qwen2, mistral]
CACHES = [Int8Cache, Fp8Cache]
IDS = torch.randint(2, 96, (3, 12), generator=torch.Generator().manual_seed(1))


def ready(make, attention="octavo"):
    torch.manual_seed(0)
    model = make().eval()
    model.set_attn_implementation(attention)
    return model


def generate(model, ids, mask=None, cache=Int8Cache, **options):
    mask = torch.ones_like(ids) if mask is None else mask
    return model.generate(ids, attention_mask=mask, max_new_tokens=20, do_sample=False, pad_token_id=0,
                          past_key_values=cache(), **options)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("make", MODELS)
@torch.no_grad()
def test_logits_are_those_of_dequantised_states(make, cache):
    """Attention over the same codes in float64, through transformers' own function: what differs are roundings."""
    model = ready(make)
    got = model(IDS, past_key_values=cache()).logits

    def dequantised(states):
        codes, scales = coded(states, cache._layer.codes_dtype)
        return (codes.double() * scales.double()[..., None]).transpose(1, 2)

    def exact(module, query, key, value, mask, scaling=None, sliding_window=None, **_):
        q = dequantised(query) if cache is Int8Cache else query.double()
        k, v = dequantised(key), dequantised(value)
        rows, columns = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])
        seen = (columns <= rows) & (columns > rows - (sliding_window or 1000))
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, seen, scale=scaling, enable_gqa=True)
        return y.to(query.dtype).transpose(1, 2), None

    hf.AttentionInterface.register("exact", exact)
    model.set_attn_implementation("exact")
    want = model(IDS).logits
    model.set_attn_implementation("eager")
    plain = model(IDS).logits
    # A code of the second layer's input may turn over; the whole is far nearer than 8 bits are to the float model.
    assert (got - want).norm() < 0.1 * (got - plain).norm()


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("make", MODELS)
@torch.no_grad()
def test_a_row_has_the_bits_that_it_has_alone(make, cache):
    """A hook on attention inside a model asks for every row of a padded batch once more: by itself, and without its padding."""
    calls = []

    def asked_twice(module, query, key, value, starts, **options):
        whole = octavo_attention(module, query, key, value, starts, **options)[0]
        for b in range(len(query)):
            part, start = slice(b, b + 1), int(starts[b]) if starts is not None else 0
            k, v = ((CodedStates(states.codes[part, start:], states.scales[part, start:])) for states in (key, value))
            hidden = max(0, start - (key.codes.shape[1] - query.shape[2]))  # queries of padding see nothing
            alone = octavo_attention(module, query[part, :, hidden:], k, v, None, **options)[0]
            assert torch.equal(alone, whole[part, hidden:]) and not whole[part, :hidden].any()
        calls.append(query.shape[2])
        return whole, None

    hf.AttentionInterface.register("asked_twice", asked_twice)
    hf.AttentionMaskInterface.register("asked_twice", octavo_mask)
    model = ready(make, "asked_twice")
    mask = torch.ones_like(IDS)
    mask[1, :5] = 0
    generate(model, IDS, mask, cache)
    assert calls[:2] == [12, 12] and calls[2:] == [1, 1] * 19


@pytest.mark.parametrize("make", MODELS)
@torch.no_grad()
def test_a_cache_changes_no_bit(make):
    """Logits with a cache and without are the same, and a prompt's are those of its parts but for products of other shapes."""
    model = ready(make)
    assert torch.equal(model(IDS, past_key_values=Int8Cache()).logits, model(IDS, use_cache=False).logits)
    draw = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, heads, 300, 32, generator=draw).bfloat16() for heads in (4, 2, 2))
    layer, cache, parts = model.model.layers[0].self_attn, Int8Layer(), Int8Layer()
    options = dict(scaling=0.2, sliding_window=getattr(model.config, "sliding_window", None))
    whole = octavo_attention(layer, q, *cache.update(k, v), None, **options)[0]
    for begin, end in ((0, 7), (7, 8), (8, 290), (290, 291), (291, 300)):
        states = parts.update(k[:, :, begin:end], v[:, :, begin:end])
        assert torch.equal(octavo_attention(layer, q[:, :, begin:end], *states, None, **options)[0], whole[:, begin:end])


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("make", MODELS)
def test_generate(make, cache):
    model = ready(make)
    whole = generate(model, IDS, cache=cache)
    assert whole.shape == (3, 32)
    mask = torch.ones_like(IDS)
    mask[1, :5] = 0
    padded = generate(model, IDS, mask, cache)
    assert torch.equal(padded[0], whole[0])
    beams = generate(model, IDS, cache=cache, num_beams=2)
    assert beams.shape == (3, 32)


@pytest.mark.parametrize("kind", [Int8Layer, Fp8Layer])
def test_a_cache_is_half_and_grows_and_shrinks(kind):
    layer, states = kind(), torch.randn(2, 3, 200, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    layer.update(states, states)
    keys, values = layer.update(states, -states)
    assert layer.get_seq_length() == 400 and keys.codes.shape == (2, 400, 3, 64) and layer.get_mask_sizes(1) == (401, 0)
    codes = keys.codes.float()
    assert keys.codes.dtype == kind.codes_dtype
    assert torch.equal(codes[:, :200], codes[:, 200:]) and torch.equal(keys.scales[:, :200], values.scales[:, 200:])
    assert torch.equal(values.codes[:, 200:].float(), -codes[:, 200:])
    assert layer.nbytes == 2 * 2 * 3 * 512 * (64 + 4)
    layer.crop(-150)
    assert layer.get_seq_length() == 250
    layer.reorder_cache(torch.tensor([1, 0]))
    again, _ = layer.update(states[:, :, :1], states[:, :, :1])
    assert torch.equal(again.codes[0, :250].float(), codes[1, :250])
    layer.batch_repeat_interleave(2)
    layer.batch_select_indices(torch.tensor([0]))
    assert layer.update(states[:1, :, :1], states[:1, :, :1])[0].codes.shape[0] == 1
    with pytest.raises(ValueError, match="Cache: crop's argument must be at most 0"):
        layer.crop(3)
    layer.reset()
    assert layer.get_seq_length() == 0 and layer.nbytes == 0


def test_what_is_refused():
    model = ready(llama)
    right = torch.ones_like(IDS)
    right[0, -3:] = 0
    with torch.no_grad(), pytest.raises(NotImplementedError, match="attention_mask must have padding on the left alone"):
        model(IDS, attention_mask=right)
    with torch.no_grad(), pytest.raises(NotImplementedError, match="attention_mask must be 2-D, of padding"):
        model(IDS, attention_mask=torch.zeros(3, 1, 12, 12))
    packed = torch.cat([torch.arange(6), torch.arange(6)])[None]
    with torch.no_grad(), pytest.raises(NotImplementedError, match="mask must be causal, a sliding window or bidirectional"):
        model(IDS[:1], position_ids=packed, use_cache=False)
    sdpa = ready(llama, "sdpa")
    with torch.no_grad(), pytest.raises(AttributeError, match="attn_implementation must be 'octavo'"):
        sdpa(IDS, past_key_values=Int8Cache())
    sinks = dict(scaling=0.1, s_aux=torch.ones(4))
    states = torch.randn(1, 4, 2, 32)
    with pytest.raises(NotImplementedError, match="options must be those of causal attention, windows and scaling; got s_aux"):
        octavo_attention(model, states, states, states, None, **sinks)
    with pytest.raises(NotImplementedError, match="dropout must be 0"):
        octavo_attention(model, states, states, states, None, dropout=0.1)
