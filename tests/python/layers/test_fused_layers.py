# SPDX-License-Identifier: Apache-2.0
"""from_pretrained(folder, fuse=True): one product for layers that read the same activations, and not a bit changed."""

import copy
import json
import pickle
import threading
import warnings

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import torch.nn.utils.parametrize  # noqa: E402

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")
MAKERS = (small.llama, small.qwen2, small.mixtral, small.bert, small.qwen3_moe, small.deepseek_v3)
# Groups of each model: two blocks, of which only the first of DeepSeek's has a dense MLP, and the second shared experts.
GROUPS = {small.llama: 4, small.qwen2: 4, small.mixtral: 2, small.bert: 2, small.qwen3_moe: 2, small.deepseek_v3: 4}


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def saved(maker, scheme, folder, *, static=False, dtype=torch.float32):
    """A quantised folder, biases not zero."""
    model = small.made(maker).to(dtype)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter)
    found = octavo.torch.calibrate(model, [small.tokens(5)], scheme) if static else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*stay in float")
        octavo.torch.quantize_(model, scheme, calibration=found)
        model.save_pretrained(folder)
    return folder


def products(model):
    """The shared products of a model, each once."""
    layers = [layer for layer in model.modules() if getattr(layer, "_shared", None)]
    return {id(layer._shared[0]): layer._shared[0] for layer in layers}


def both(folder, **options):
    return (octavo.torch.from_pretrained(folder, fuse=fuse, **options) for fuse in (False, True))


def same(a, b):
    return a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bits_are_those_of_separate_layers(maker, scheme, dtype, tmp_path):
    """One row, several, and rows of several texts; what is saved is the same folder, byte for byte."""
    saved(maker, scheme, tmp_path / "a", dtype=dtype)
    apart, fused = both(tmp_path / "a")
    assert not products(apart) and len(products(fused)) == GROUPS[maker]
    for rows, length in ((1, 1), (1, 7), (2, 24), (3, 1)):
        ids = small.tokens(rows, rows, length)
        assert same(small.outputs(fused, ids), small.outputs(apart, ids)), (rows, length)
        with torch.inference_mode():
            assert same(fused(ids)[0], apart(ids)[0])
    one, other = apart.state_dict(), fused.state_dict()
    assert one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    assert fused.get_memory_footprint() <= 1.02 * apart.get_memory_footprint()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "save_pretrained: .*four dimensions")
        for name, model in (("apart", apart), ("fused", fused)):
            model.save_pretrained(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "fused" / file).read_bytes() == (tmp_path / "apart" / file).read_bytes(), file


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic"])
@pytest.mark.parametrize("shape", ["static", "tensor", "weight-only"])
def test_other_scales_and_rules(scheme, shape, tmp_path):
    """Static activations of one scale; one scale for a whole weight; activations as they are."""
    saved(small.llama, scheme, tmp_path, static=shape == "static")
    file, config = tmp_path / "model.safetensors", json.loads((tmp_path / "config.json").read_text())
    from safetensors.torch import load_file, save_file

    state, group = load_file(file), config["quantization_config"]["config_groups"]["group_0"]
    if shape == "tensor":
        state = {name: t.amax(0, keepdim=True) if name.endswith("weight_scale") else t for name, t in state.items()}
        group["weights"]["strategy"] = "tensor"
    if shape == "weight-only":
        group["input_activations"] = None
    save_file(state, file, {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    apart, fused = both(tmp_path)
    assert len(products(fused)) == 4
    for ids in (small.tokens(0, 1, 1), small.tokens()):
        assert same(small.outputs(fused, ids), small.outputs(apart, ids))
    one, other = apart.state_dict(), fused.state_dict()
    assert all(same(one[name], other[name]) for name in one)


def changed(folder, change):
    """A folder whose tensors and configuration were changed."""
    from safetensors.torch import load_file, save_file

    state, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    change(state, config["quantization_config"])
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


def other_static_scale(state, config):
    state["model.layers.0.self_attn.k_proj.input_scale"] *= 2


def other_columns(state, config):
    config["llm_int8_outlier_columns"] = {"model.layers.0.self_attn.k_proj": [3]}


@pytest.mark.parametrize("scheme, static, change", [("int8-dynamic", True, other_static_scale),
                                                    ("llm-int8", False, other_columns)])
def test_layers_that_differ_stay_apart(scheme, static, change, tmp_path):
    """A warning names them; the others are fused, and all bits are the same."""
    changed(saved(small.llama, scheme, tmp_path, static=static), change)
    sentence = r"from_pretrained: layers stay .*: model.layers.0.self_attn.q_proj, .* \(each has its own rule of activations\)$"
    with pytest.warns(UserWarning, match=sentence):
        apart, fused = both(tmp_path)
    assert len(products(fused)) == 3
    assert same(small.outputs(fused, small.tokens()), small.outputs(apart, small.tokens()))


def test_a_model_without_such_layers_is_told(tmp_path):
    saved(small.gpt2, "llm-int8", tmp_path)
    with pytest.warns(UserWarning, match="layers stay products of their own: all of GPT2LMHeadModel"):
        octavo.torch.from_pretrained(tmp_path, fuse=True)


def layers_of(tmp_path, scheme="int8-dynamic"):
    """The query, key and value layers of a block, apart and fused; and activations."""
    saved(small.qwen2, scheme, tmp_path)
    apart, fused = both(tmp_path)
    attention = [model.model.layers[0].self_attn for model in (apart, fused)]
    names = ("q_proj", "k_proj", "v_proj")
    return ([getattr(module, name) for name in names] for module in attention)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_what_was_computed_for_other_activations_is_not_taken(mode, tmp_path):
    """Every order of calls; other tensors in the memory of the first; writes in place between the calls."""
    apart, fused = layers_of(tmp_path)
    with mode():
        x = torch.randn(3, 128)
        for order in ((0, 1, 2), (2, 1, 0), (0, 0, 1), (1, 2, 2, 0), (0,), (1,)):
            for place in order:
                assert same(fused[place](x), apart[place](x)), order
            x.mul_(-0.5)
        for place in (0, 1, 2):
            assert same(fused[place](x), apart[place](x))
            x = torch.randn(3, 128)
        for place in (0, 1, 2):
            assert same(fused[place](x), apart[place](x))
            x.add_(1)
        x[1, 5] = torch.nan
        for place in (0, 1, 2):
            assert torch.equal(fused[place](x).isnan(), apart[place](x).isnan())


def test_modes_that_change_between_calls(tmp_path):
    apart, fused = layers_of(tmp_path)
    x = torch.randn(3, 128)
    fused[0](x)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(fused[1](x), apart[1](x)) and fused[2](x).dtype == torch.bfloat16
    x.requires_grad_()
    with torch.no_grad():
        fused[0](x)
    assert fused[1](x).requires_grad
    grads = []
    for layers in (apart, fused):
        x.grad = None
        sum(layer(x).square().sum() for layer in layers).backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)
    fused[0].batch_invariant = True
    assert same(fused[0](x), apart[0](x)) and same(fused[1](x), apart[1](x))


# ---- what changes between the calls of one group ---------------------------------------------------------


def written(layer):
    with torch.no_grad():
        layer.bias.mul_(-2)


def storage_replaced(layer):
    layer.bias.data = layer.bias.data * 3


def replaced(layer):
    layer.bias = torch.nn.Parameter(torch.ones_like(layer.bias), layer.bias.requires_grad)


def gone(layer):
    layer.bias = None


def stepped(layer, fused):
    layer.bias.grad = torch.ones_like(layer.bias)
    torch.optim.SGD([layer.bias], 0.5, fused=fused).step()


class Halved(torch.nn.Module):
    def forward(self, bias):
        return bias * 0.5


def parametrised(layer):
    torch.nn.utils.parametrize.register_parametrization(layer, "bias", Halved())


BIASES = {"written": written, "computed": parametrised, "another storage": storage_replaced, "another one": replaced, "none": gone,
          "SGD": lambda layer: stepped(layer, False), "fused SGD": lambda layer: stepped(layer, True)}


@pytest.mark.parametrize("scheme", ["int8-dynamic", "llm-int8"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("change", BIASES)
def test_a_bias_that_changes_between_calls(change, mode, scheme, tmp_path):
    """Of a layer that is called afterwards, or was called already."""
    apart, fused = layers_of(tmp_path, scheme)
    with mode():
        for place in (1, 0, 2):
            x = torch.randn(3, 128)
            for layers in (apart, fused):
                layers[0](x)
                BIASES[change](layers[place])
            assert all(same(fused[at](x), apart[at](x)) for at in (1, 2, 0)), place


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_biases_of_inference_mode(mode, tmp_path):
    with torch.inference_mode():
        apart, fused = layers_of(tmp_path)
    assert fused[1].bias.is_inference()
    x = torch.randn(3, 128)
    with torch.inference_mode():
        for layers in (apart, fused):
            layers[0](x)
            layers[1].bias.mul_(-2)
    with mode():
        assert all(same(fused[at](x), apart[at](x)) for at in (1, 2, 0))


def test_calls_with_other_parameters(tmp_path):
    """torch.func.functional_call of one layer, and of all."""
    apart, fused = layers_of(tmp_path)
    x, other = torch.randn(3, 128), torch.randn(apart[1].out_features)
    with torch.no_grad():
        fused[0](x)
        call = torch.func.functional_call
        assert same(call(fused[1], {"bias": other}, x), call(apart[1], {"bias": other}, x))
        assert same(fused[1](x), apart[1](x))
        one, all_of = (torch.nn.ModuleList(layers) for layers in (apart, fused))
        for layers in (one, all_of):
            layers.forward = lambda x, layers=layers: [layer(x) for layer in layers]
        results = [call(layers, {"1.bias": other}, x) for layers in (one, all_of)]
        assert all(same(a, b) for a, b in zip(*results))
        assert all(same(b(x), a(x)) for a, b in zip(apart, fused))


def gradients(layers, x, backward):
    """Of x and of the biases, after what `backward` does with the layers' results."""
    for layer in layers:
        layer.bias.grad = None
    x = x.clone().requires_grad_()
    backward([lambda layer=layer: layer(x).square().sum() for layer in layers])
    return [x.grad, *(torch.zeros(()) if layer.bias.grad is None else layer.bias.grad for layer in layers)]


def together(losses):
    sum(loss() for loss in losses).backward()


def one_after_the_other(losses):
    for loss in losses:
        loss().backward()


def first_all_forward(losses):
    for loss in [loss() for loss in losses]:
        loss.backward()


def in_another_order(losses):
    made = [losses[place]() for place in (2, 0, 1, 1)]
    for place in (3, 0, 2, 1):
        made[place].backward()


def only_one(losses):
    losses[0]()
    losses[2]().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("backward", [together, one_after_the_other, first_all_forward, in_another_order, only_one])
def test_gradients_are_those_of_separate_layers(backward, scheme, dtype, tmp_path):
    """However the results are used: each has a graph of its own. In bfloat16 within its rounding."""
    apart, fused = layers_of(tmp_path, scheme)
    x = torch.randn(3, 128)
    if dtype == torch.bfloat16:
        with torch.autocast("cpu", dtype):
            one, other = (gradients(layers, x, backward) for layers in (apart, fused))
    else:
        one, other = (gradients(layers, x, backward) for layers in (apart, fused))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_of_what_needs_them_since(tmp_path):
    apart, fused = layers_of(tmp_path)
    for layer in (*apart, *fused):
        layer.bias.requires_grad_(False)
    x = torch.randn(3, 128)
    fused[0](x)
    x.requires_grad_()
    assert fused[1](x).requires_grad and not fused[0](x.detach()).requires_grad
    grads = [torch.autograd.grad(layers[1](x).sum(), x)[0] for layers in (apart, fused)]
    torch.testing.assert_close(*grads)
    first, = torch.autograd.grad(fused[0](x).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients must be taken once"):
        first.sum().backward()


def test_results_are_written_in_place(tmp_path):
    """No layer's result is changed by what is done to another's, and no graph runs through it."""
    apart, fused = layers_of(tmp_path)
    for needs in (False, True):
        x, w = torch.randn(3, 128, requires_grad=needs), torch.randn(128, requires_grad=True)
        for layer in (*apart, *fused):
            layer.bias.requires_grad_(needs)
        grads = []
        for layers in (apart, fused):
            first = layers[0](x).mul_(w)
            assert same(layers[1](x), apart[1](x)) and layers[1](x).requires_grad == needs
            first.sum().backward()
            grads.append(w.grad)
            w.grad = None
        torch.testing.assert_close(*grads)


def test_transformations(tmp_path):
    """torch.func's say what separate layers say."""
    apart, fused = layers_of(tmp_path)
    x = torch.randn(3, 128)
    fused[0](x)
    said = []
    for layers in (apart, fused):
        with pytest.raises(RuntimeError) as error:
            torch.func.grad(lambda x, layers=layers: sum(layer(x).square().sum() for layer in layers))(x)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_activations_with_another_storage(tmp_path):
    apart, fused = layers_of(tmp_path)
    with torch.no_grad():
        x = torch.randn(3, 128)
        fused[0](x)
        x.data = torch.randn(3, 128)
        assert same(fused[1](x), apart[1](x))
        torch.add(x, 1, out=x)
        assert same(fused[2](x), apart[2](x))


def test_results_are_let_go(tmp_path):
    """Once all layers have theirs, nothing of the call is kept."""
    _, fused = layers_of(tmp_path)
    product = fused[0]._shared[0]
    with torch.no_grad():
        x = torch.randn(3, 128)
        [layer(x) for layer in fused]
    assert product._results.last is None


def test_threads_do_not_see_each_other(tmp_path):
    apart, fused = layers_of(tmp_path)
    wrong = []

    def work(seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(20):
            x = torch.randn(2, 128, generator=generator)
            wrong.extend(place for place in range(3) if not same(fused[place](x), apart[place](x)))

    with torch.no_grad():
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert not wrong


def test_a_layer_that_changes_leaves(tmp_path):
    """A loaded state, other outlier columns, and types: bits are those of separate layers that changed the same way."""
    apart, fused = layers_of(tmp_path / "int8")
    x = torch.randn(3, 128)
    for layers in (apart, fused):
        layers[1].load_state_dict({name: t.flip(0) for name, t in layers[1].state_dict().items()})
        layers[2].bias.data.add_(1)
    assert fused[1]._shared is None and fused[0]._shared is not None
    assert all(same(b(x), a(x)) for a, b in zip(apart, fused))
    for layers in (apart, fused):
        [layer.bfloat16() for layer in layers]
    for a, b in zip(apart, fused):
        assert same(b(x.bfloat16()), a(x.bfloat16())) and same(b.weight.values(), a.weight.values())
    apart, fused = layers_of(tmp_path / "llm", "llm-int8")
    for layers in (apart, fused):
        layers[1].set_outlier_columns(torch.tensor([4]), 2.0)
    assert all(same(b(x), a(x)) for a, b in zip(apart, fused))


def test_quantized_activations(tmp_path):
    apart, fused = layers_of(tmp_path)
    q = octavo.quantize(torch.randn(3, 128))
    assert all(same(b(q.data, q.scale), a(q.data, q.scale)) for a, b in zip(apart, fused))
    assert fused[0].explain(torch.randn(1, 128)).candidates


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
def test_copies_are_fused_among_themselves(copied, tmp_path):
    saved(small.llama, "int8-dynamic", tmp_path)
    _, fused = both(tmp_path)
    other = copied(fused)
    assert len(products(other)) == 4 and not products(other).keys() & products(fused).keys()
    layers = {id(layer) for layer in other.modules()}
    assert all(id(layer) in layers for product in products(other).values() for layer in product.layers)
    assert same(small.outputs(other, small.tokens()), small.outputs(fused, small.tokens()))


def test_load_fuses_too(tmp_path):
    saved(small.llama, "fp8-dynamic", tmp_path)
    model = octavo.torch.load_(small.made(small.llama), tmp_path, fuse=True)
    assert len(products(model)) == 4
    assert same(small.outputs(model, small.tokens()), small.outputs(next(both(tmp_path)), small.tokens()))


def test_a_compiled_model_has_the_same_values(tmp_path):
    saved(small.llama, "int8-dynamic", tmp_path)
    apart, fused = both(tmp_path)
    layers = [model.model.layers[0].mlp for model in (apart, fused)]
    x = torch.randn(2, 128)
    with torch.no_grad():
        first, second = (torch.compile(layer, fullgraph=True, backend="aot_eager")(x) for layer in layers)
    assert same(first, second)


@pytest.mark.filterwarnings("ignore:.*stay in float")
@pytest.mark.parametrize("maker, scheme", [(small.qwen2, "int8-dynamic"), (small.deepseek_v3, "fp8-dynamic"), (small.llama, "fp8-block"), (small.bert, "llm-int8")],
                         ids=small.name_of)
def test_quantising_fuses_too(maker, scheme, tmp_path):
    """quantize_ and OctavoConfig: the products, bits, states and files that separate layers have."""
    ids, source, plain = small.tokens(), small.made(maker), small.made(maker)
    source.save_pretrained(tmp_path / "float")
    octavo.torch.quantize_(plain, scheme)
    plain.save_pretrained(tmp_path / "plain")
    fused = copy.deepcopy(source)
    octavo.torch.quantize_(fused, scheme, fuse=True)
    loaded = type(source).from_pretrained(tmp_path / "float", quantization_config=octavo.torch.OctavoConfig(scheme, fuse=True))
    for model in (fused, loaded):
        assert len(products(model)) == GROUPS[maker]
        assert same(small.outputs(model, ids), small.outputs(plain, ids))
        ours, theirs = model.state_dict(), plain.state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    fused.save_pretrained(tmp_path / "fused")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "fused" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_layers_with_a_calibration_fuse_where_scales_are_one(tmp_path):
    """Query, key and value read one tensor, so that their static scales are equal; and layers that train do not fuse."""
    model = small.made(small.llama)
    found = octavo.torch.calibrate(model, [small.tokens(5)], "int8-dynamic")
    plain = copy.deepcopy(model)
    octavo.torch.quantize_(plain, calibration=found)
    octavo.torch.quantize_(model, calibration=found, fuse=True)
    assert len(products(model)) == GROUPS[small.llama]
    assert same(small.outputs(model, small.tokens()), small.outputs(plain, small.tokens()))
    with pytest.raises(ValueError, match="quantize_: fuse must be False where weights train"):
        octavo.torch.quantize_(small.made(small.llama), freeze=False, fuse=True)
