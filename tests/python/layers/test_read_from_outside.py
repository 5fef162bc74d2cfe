# SPDX-License-Identifier: Apache-2.0
"""Every layer, read from outside in every way that libraries have: its weight in functions of PyTorch, its parameters, its
state once and again, and through what saves and loads models."""

import contextlib
import copy
import warnings

import pytest

torch = pytest.importorskip("torch")

import octavo.torch  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo.torch import nn  # noqa: E402
from octavo.torch.layers import _weight_product  # noqa: E402
from test_layer_mutations import FROZEN, K, N, TRAINED  # noqa: E402

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")
LAYERS = {kind: make for kind, make in FROZEN.items() if "bnb" not in kind}
EVERY = {**FROZEN, **{f"{kind}, trains": make for kind, make in TRAINED.items()}}
LINEAR = {kind: make for kind, make in LAYERS.items() if "MoE" not in kind}


@contextlib.contextmanager
def counted(monkeypatch):
    """The products in 8 bits that code which reads weights has had."""
    calls, call = [], _weight_product.call_linear
    with monkeypatch.context() as patch:
        patch.setattr(_weight_product, "call_linear", lambda *arguments: calls.append(len(arguments[3])) or call(*arguments))
        yield calls


def without_bias(make):
    layer = make()
    layer.bias = None
    return layer


# ---- the weight ----------------------------------------------------------------------------------------

PRODUCTS = {
    "linear": lambda x, w: torch.nn.functional.linear(x, w),
    "linear, by name": lambda x, w: torch.nn.functional.linear(input=x, weight=w),
    "@": lambda x, w: x @ w.T,
    "matmul, mT": lambda x, w: torch.matmul(x, w.mT),
    "matmul, transpose": lambda x, w: x.matmul(w.transpose(0, 1)),
    "matmul, permute": lambda x, w: torch.matmul(x, w.permute(1, 0)),
    "mm": lambda x, w: torch.mm(x.reshape(-1, K), w.t()).reshape(*x.shape[:-1], N),
    "addmm": lambda x, w: torch.addmm(torch.zeros(N), x.reshape(-1, K), w.t()).reshape(*x.shape[:-1], N),
    "inner": torch.inner, "einsum": lambda x, w: torch.einsum("...k,nk->...n", x, w),
    "einsum of three": lambda x, w: torch.einsum("abk, nk -> abn", [x, w]),
    "the weight first": lambda x, w: (w @ x.mT).mT,
    "mv": lambda x, w: torch.stack([torch.mv(w, row) for row in x.reshape(-1, K)]).reshape(*x.shape[:-1], N),
    "detached": lambda x, w: torch.nn.functional.linear(x, w.detach()),
    "turned twice": lambda x, w: x @ w.t().t().t(),
    "a copy": lambda x, w: torch.nn.functional.linear(x, copy.deepcopy(w)),
}


@pytest.mark.parametrize("way", PRODUCTS)
@pytest.mark.parametrize("kind", LINEAR)
def test_products_with_the_weight_are_the_layers(kind, way, monkeypatch):
    layer = without_bias(LINEAR[kind])
    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with context(), counted(monkeypatch) as calls:
            x = gaussian(2, 3, K, seed=1)
            got = PRODUCTS[way](x, layer.weight)
            assert calls == [N] * (6 if way == "mv" else 1)
            assert torch.equal(got, layer(x))


@pytest.mark.parametrize("way", ["linear", "@", "addmm", "the weight first"])
def test_gradients_of_products_with_the_weight(way):
    layer = without_bias(LINEAR["Int8Linear"])
    x, again = (gaussian(2, 3, K, seed=1).requires_grad_() for _ in range(2))
    layer(x).square().sum().backward()
    PRODUCTS[way](again, layer.weight).square().sum().backward()
    assert (again.grad - x.grad).norm() <= 1e-5 * x.grad.norm()


def test_derivatives_of_transformations():
    """They are those of the dequantised weight, as backward ones are."""
    w, x = without_bias(LINEAR["Int8Linear"]).weight, gaussian(3, K)
    want = w.values().sum(0).expand(3, K)
    assert torch.allclose(torch.func.grad(lambda x: torch.nn.functional.linear(x, w).sum())(x), want, atol=1e-4)
    y, change = torch.func.jvp(lambda x: x @ w.T, (x,), (torch.ones(3, K),))
    assert y.shape == (3, N) and torch.allclose(change, torch.ones(3, K) @ w.values().T, atol=0.1)
    rows = torch.vmap(lambda row: torch.nn.functional.linear(row, w))(x)
    assert (rows - x @ w.values().T).norm() < 0.02 * rows.norm()


def test_what_is_no_product_of_activations_is_dequantized(monkeypatch):
    w = LINEAR["Int8Linear"]().weight
    values = w.values()
    with counted(monkeypatch) as calls:
        for got, want in ((w @ w.T, values @ values.T), (gaussian(3, N) @ w, gaussian(3, N) @ values), (w[:5].T, values[:5].T),
                          (w.double() @ torch.ones(K).double(), values.double() @ torch.ones(K).double()),
                          (torch.cat((w, w)), torch.cat((values, values))), (w + 1, values + 1), (w.T * 2, values.T * 2),
                          (torch.einsum("bn,nk->bk", gaussian(3, N), w), torch.einsum("bn,nk->bk", gaussian(3, N), values))):
            assert torch.equal(got, want)
    assert not calls
    with pytest.raises(RuntimeError, match="mat1 and mat2|must match|size"):
        gaussian(3, K + 1) @ w.T
    with pytest.raises(RuntimeError, match="must not be the weight of a frozen layer"):
        w.T.add_(1)


def test_the_flag_of_batch_invariance_counts():
    layer = nn.Int8Linear.from_float(torch.nn.Linear(K, N), activation="tensor")
    layer.batch_invariant = True
    with pytest.raises(ValueError, match="batch_invariant"):
        torch.nn.functional.linear(gaussian(3, K), layer.weight)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pytorchs_fused_layers_multiply_in_8_bits(scheme, monkeypatch):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.0)
    encoder = torch.nn.TransformerEncoder(layer, 2).eval()
    x, mask = gaussian(2, 5, 64), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        want = encoder(x)
        with pytest.warns(UserWarning, match="2 weights .*in_proj_weight .*MultiheadAttention multiplies by it"):
            report = octavo.torch.quantize_(encoder, scheme)
    assert {row.name.rpartition(".")[2] for row in report} == {"linear1", "linear2", "out_proj"} and len(report) == 6
    forward, called = type(encoder.layers[0].linear1).forward, []
    monkeypatch.setattr(type(encoder.layers[0].linear1), "forward", lambda self, x: called.append(self) or forward(self, x))
    results = []
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with context(), counted(monkeypatch) as read:
            called.clear()
            results.append(encoder(x).detach())
            assert len(called) == 4 and read == [64, 64]
            encoder(x, src_key_padding_mask=mask)
            assert len(called) == 8 and read == [64] * 4
    assert all(torch.equal(result, results[0]) for result in results)
    assert torch.nn.functional.cosine_similarity(results[0].flatten(), want.flatten(), 0) > 0.99
    attention = encoder.layers[0].self_attn
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), counted(monkeypatch) as read:
        assert attention(x, x, x)[0].dtype == torch.bfloat16 and read == [64]


def test_layers_that_train_are_called(monkeypatch):
    """In eval mode, too, where PyTorch's fused path would multiply by their float weights."""
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.0)
    model = torch.nn.TransformerEncoder(layer, 2).eval()
    with pytest.warns(UserWarning, match="out_proj 64x64 .*MultiheadAttention reads its weight, which would train as floats"):
        assert len(octavo.torch.quantize_(model, freeze=False)) == 4
    forward, called = nn.Int8Linear.forward, []
    monkeypatch.setattr(nn.Int8Linear, "forward", lambda self, x: called.append(self) or forward(self, x))
    x, mask = gaussian(2, 5, 64), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    for training in (False, True):
        for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with context():
                for options in ({}, {"src_key_padding_mask": mask}):
                    called.clear()
                    model.train(training)(x, **options)
                    assert len(called) == 4


# ---- parameters and states -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS)
def test_a_model_has_a_first_parameter(kind):
    layer = LAYERS[kind]() if "MoE" in kind else without_bias(LAYERS[kind])
    for model in (layer, torch.nn.Sequential(layer), copy.deepcopy(layer)):
        for dtype in (torch.bfloat16, torch.float32):
            first = next(model.to(dtype).parameters())
            assert first.dtype == dtype and first.numel() == 0 and not first.requires_grad
            assert not any(name.endswith("empty") for name in model.state_dict())
    assert not list(layer.named_parameters(recurse=False)) and not list(layer.parameters(recurse=False))
    assert not layer.load_state_dict(layer.state_dict()).missing_keys


@pytest.mark.parametrize("kind", LINEAR)
def test_a_bias_is_the_first_parameter_where_there_is_one(kind):
    layer = LINEAR[kind]()
    assert [name for name, _ in layer.named_parameters()] == (["bias"] if layer.bias is not None else ["empty"])
    layer.bias = torch.nn.Parameter(torch.zeros(N))
    assert [name for name, _ in layer.named_parameters()] == ["bias"]


@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_twice_is_one_memory(kind):
    layer = LAYERS[kind]()
    one, two = layer.state_dict(), layer.state_dict()
    assert one.keys() == two.keys() and all(one[name].data_ptr() == two[name].data_ptr() for name in one)
    code = next(name for name in one if one[name].element_size() == 1)
    one[code].view(torch.uint8)[0] ^= 1  # of a state alone
    assert not torch.equal(one[code], layer.state_dict()[code])


class Shared(torch.nn.Module):
    """One layer in two places, and one in a list as well."""

    def __init__(self, scheme=None):
        super().__init__()
        self.first = torch.nn.Linear(32, 32)
        self.again = self.first
        self.plain = torch.nn.Linear(32, 32, bias=False)
        self.layers = torch.nn.ModuleList([self.plain])
        if scheme:
            octavo.torch.quantize_(self, scheme)

    def forward(self, x):
        return self.layers[0](self.again(self.plain(self.first(x))))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_safetensors_saves_and_loads_shared_layers(scheme, tmp_path):
    files = pytest.importorskip("safetensors.torch")
    model, other, x = Shared(scheme), Shared(scheme), gaussian(3, 32)
    path = str(tmp_path / "model.safetensors")
    files.save_model(model, path)
    assert sorted(name.rpartition(".")[2] for name in files.load_file(path)) == ["bias", *["weight"] * 2, *["weight_scale"] * 2]
    assert not any(files.load_model(other, path))
    assert torch.equal(other(x), model(x))
    loaded = octavo.torch.load_(Shared(), path)
    assert loaded.first is loaded.again and loaded.layers[0] is loaded.plain and loaded.first.frozen


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_safetensors_saves_and_loads_every_layer(kind, shared, tmp_path):
    files = pytest.importorskip("safetensors.torch")
    one, other = EVERY[kind](), EVERY[kind]()
    model, loads = (torch.nn.ModuleList([layer] * (1 + shared)) for layer in (one, other))
    files.save_model(model, str(tmp_path / "model.safetensors"))
    assert not any(files.load_model(loads, str(tmp_path / "model.safetensors")))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", [nn.Int8Linear, nn.Fp8Linear, nn.BlockFp8Linear, nn.LLMInt8Linear])
def test_codes_load_into_layers_that_train(kind, shared, tmp_path):
    files = pytest.importorskip("safetensors.torch")
    one, other = kind(32, 16).freeze(), kind(32, 16)
    model, loads = (torch.nn.ModuleList([layer] * (1 + shared)) for layer in (one, other))
    files.save_model(model, str(tmp_path / "model.safetensors"))
    assert not any(files.load_model(loads, str(tmp_path / "model.safetensors"))) and other.frozen
    assert torch.equal(other(torch.ones(2, 32)), one(torch.ones(2, 32)))


def test_the_hubs_mixin(tmp_path):
    """A class that quantises itself loads what it saved; one that does not is told, instead of reading codes as a weight."""
    hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("safetensors")

    class Quantizes(Shared, hub.PyTorchModelHubMixin):
        pass

    class Floats(Shared, hub.PyTorchModelHubMixin):
        pass

    model, x = Quantizes("int8-dynamic"), gaussian(3, 32)
    model.save_pretrained(tmp_path)
    assert torch.equal(Quantizes.from_pretrained(tmp_path)(x), model(x))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="from_pretrained: Floats must make Octavo's layers .*got Linear for"):
        Floats.from_pretrained(tmp_path)


def test_diffusers_refuses(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.AutoencoderKL(block_out_channels=(32,), norm_num_groups=8)
    octavo.torch.quantize_(model, "int8-dynamic")
    with pytest.raises(NotImplementedError, match="save_pretrained: model must have weights of floats .*Int8Linear"):
        model.save_pretrained(tmp_path)


def test_accelerate_moves_what_is_there():
    accelerate = pytest.importorskip("accelerate")
    model, x = Shared("int8-dynamic"), gaussian(3, 32)
    want = model(x)
    assert torch.equal(accelerate.cpu_offload(copy.deepcopy(model))(x), want)
    assert torch.equal(accelerate.dispatch_model(copy.deepcopy(model), {"": "cpu"})(x), want)


def test_fully_sharded_data_parallel():
    """One rank; FullyShardedDataParallel flattens what all trains."""
    from torch.distributed import fsdp

    model = torch.nn.Sequential(torch.nn.LayerNorm(32), Shared("int8-dynamic"))
    x = gaussian(3, 32)
    want = model(x).detach()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        for wrap in (torch.nn.parallel.DistributedDataParallel, lambda m: fsdp.FullyShardedDataParallel(m, device_id=torch.device("cpu"))):
            wrapped = wrap(copy.deepcopy(model))
            y = wrapped(x)
            y.sum().backward()
            assert torch.equal(y.detach(), want)
    finally:
        torch.distributed.destroy_process_group()


# ---- models that look into their layers ----------------------------------------------------------------


class Named(torch.nn.Linear):
    """A subclass with nothing of its own but how it is made."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rank = 3


class Own(torch.nn.Linear):
    def forward(self, x):
        return -super().forward(x)


class Asked(torch.nn.Linear):
    def norm(self):
        return self.weight.norm()


def test_subclasses_of_linear():
    model = torch.nn.ModuleDict({"named": Named(32, 32), "own": Own(32, 32), "asked": Asked(32, 32), "lazy": torch.nn.LazyLinear(32)})
    with pytest.warns(UserWarning, match="own 32x32 .Own is a torch.nn.Linear with forward of its own"):
        report = octavo.torch.quantize_(model)
    assert [row.name for row in report] == ["named"] and type(model["named"]) is nn.Int8Linear and model["named"].rank == 3
    assert {row.name: row.reason for row in report.left}["asked"] == "Asked is a torch.nn.Linear with norm of its own"
    assert type(model["own"]) is Own and type(model["asked"]) is Asked


def test_files_for_subclasses_of_linear(tmp_path):
    files = pytest.importorskip("safetensors.torch")
    layer = nn.Int8Linear.from_float(torch.nn.Linear(32, 32))
    files.save_file({f"layer.{name}": value for name, value in layer.state_dict().items()}, tmp_path / "model.safetensors")
    loaded = octavo.torch.load_(torch.nn.ModuleDict({"layer": Asked(32, 32)}), tmp_path / "model.safetensors")
    assert torch.equal(loaded["layer"].state_dict()["weight"], layer.state_dict()["weight"])
    with pytest.raises(ValueError, match="load_: layer 'layer' of the folder must be a linear layer .*got Own at 'layer'"):
        octavo.torch.load_(torch.nn.ModuleDict({"layer": Own(32, 32)}), tmp_path / "model.safetensors")


def test_falcons_linear_layers_are_known(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.FalconForCausalLM(transformers.FalconConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1,
                                                                     num_attention_heads=4)).eval()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        want = model(ids).logits
        assert len(octavo.torch.quantize_(model)) == 4
        got = model(ids).logits
        assert torch.nn.functional.cosine_similarity(got.flatten(), want.flatten(), 0) > 0.99
        model.save_pretrained(tmp_path)
        assert torch.equal(octavo.torch.from_pretrained(str(tmp_path))(ids).logits, got)


def test_models_that_write_weights_keep_them_in_float():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.RwkvForCausalLM(transformers.RwkvConfig(vocab_size=64, hidden_size=32, attention_hidden_size=32, rescale_every=1,
                                                                 num_hidden_layers=2, context_length=16)).eval()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        want = model(ids).logits
        model.train()
        model(ids)
        with pytest.warns(UserWarning, match=r"attention.output .*RWKV scales its weight in place"):
            report = octavo.torch.quantize_(model)
        assert torch.nn.functional.cosine_similarity(model.eval()(ids).logits.flatten(), want.flatten(), 0) > 0.99
    assert len(report) == 10 and len(report.left) == 5


def test_mamba_reads_a_weight(monkeypatch):
    transformers = pytest.importorskip("transformers")
    model = transformers.MambaForCausalLM(transformers.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=8)).eval()
    octavo.torch.quantize_(model)
    with torch.no_grad(), counted(monkeypatch) as calls:
        model(torch.arange(12)[None])
    assert len(calls) == 2  # dt_proj.weight @ time_step


@pytest.mark.parametrize("name", ["Wav2Vec2", "WavLM", "UniSpeech", "Data2VecAudio", "Hubert"])
def test_speech_encoders_load(name, tmp_path):
    """Their initialisation reads the sizes of a layer that is still to come."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, conv_dim=(32, 32), conv_stride=(4, 4),
                 conv_kernel=(8, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        octavo.torch.quantize_(model)
    model.save_pretrained(tmp_path)
    x = gaussian(1, 400)
    assert torch.equal(octavo.torch.from_pretrained(str(tmp_path), model_class=type(model))(x)[0], model(x)[0])
