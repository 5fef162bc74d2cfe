# SPDX-License-Identifier: Apache-2.0
"""Every layer, changed in every way in which a weight changes, multiplies what it holds then: the same bits as a
fresh layer of the same weights, in eval mode, in training, and while gradients accumulate."""

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")

import octavo.bnb  # noqa: E402
import octavo.torch  # noqa: E402
from bnb_kit import activations, gaussian  # noqa: E402
from octavo.bnb import nn as bnb_nn  # noqa: E402
from octavo.torch import nn  # noqa: E402

K, N, ROWS = 160, 48, 9
OFFS = torch.tensor([4, 4, ROWS], dtype=torch.int32)


# Layers with a float weight, by what makes one.
TRAINED = {
    "Int8Linear": lambda: nn.Int8Linear(K, N),
    "Int8Linear, tensor": lambda: nn.Int8Linear(K, N, activation="tensor"),
    "Fp8Linear": lambda: nn.Fp8Linear(K, N),
    "BlockFp8Linear": lambda: nn.BlockFp8Linear(K, N),
    "Int8WeightOnlyLinear": lambda: nn.Int8WeightOnlyLinear(K, N),
    "Fp8WeightOnlyLinear": lambda: nn.Fp8WeightOnlyLinear(K, N),
    "MxFp8Linear": lambda: nn.MxFp8Linear(K, N),
    "LLMInt8Linear": lambda: nn.LLMInt8Linear(K, N),
    "LLMInt8Linear, exact": lambda: nn.LLMInt8Linear(K, N, weight_gradient="exact"),
    "QatLinear": lambda: nn.QatLinear(K, N),
    "GroupedLinear": lambda: nn.GroupedLinear(3, K, N),
    "bnb.Linear8bitLt": lambda: bnb_nn.Linear8bitLt(K, N, threshold=6.0),
    "bnb.Linear8bitLt, moved, exact": lambda: bnb_nn.Linear8bitLt(K, N, weight_gradient="exact").to("cpu"),
}


def static(kind, **options):
    def make():
        q = kind.from_float(torch.nn.Linear(K, N)).quantized_weight()
        return kind.from_quantized(q.data, q.scale, torch.zeros(N), input_scale=torch.tensor(0.05), dtype=torch.float32,
                                   **options)

    return make


def moe(scheme="fp8-dynamic"):
    return nn.FusedMoE.from_float(gaussian(3, 2 * N, K, seed=3), gaussian(3, K, N, seed=4), scheme=scheme)


def used(layer):
    layer(activations(2, K))
    return layer


# Layers whose weight is codes.
FROZEN = {
    **{name: lambda kind=kind: kind.from_float(torch.nn.Linear(K, N)) for name, kind in
       (("Int8Linear", nn.Int8Linear), ("Fp8Linear", nn.Fp8Linear), ("BlockFp8Linear", nn.BlockFp8Linear),
        ("LLMInt8Linear", nn.LLMInt8Linear), ("Int8WeightOnlyLinear", nn.Int8WeightOnlyLinear),
        ("Fp8WeightOnlyLinear", nn.Fp8WeightOnlyLinear), ("MxFp8Linear", nn.MxFp8Linear))},
    "FusedMoE, weight-only": lambda: moe("int8-weight-only"),
    "FusedMoE, mxfp8": lambda: moe("mxfp8"),
    "Int8Linear, azp": lambda: nn.Int8Linear.from_float(torch.nn.Linear(K, N), azp=True),
    "Int8Linear, static": static(nn.Int8Linear),
    "Int8Linear, static azp": static(nn.Int8Linear, input_zero_point=torch.tensor(3, dtype=torch.int32)),
    "Fp8Linear, static": static(nn.Fp8Linear),
    "FusedMoE": moe,
    "CheckpointLinear": lambda: nn.CheckpointLinear.from_weight(octavo.checkpoints.quantize_weight(torch.randn(N, K)), torch.randn(N),
                                                                torch.float32),
    "bnb.Linear8bitLt, moved": lambda: bnb_nn.Linear8bitLt(K, N, has_fp16_weights=False, threshold=6.0).to("cpu"),
    "bnb.Linear8bitLt, used": lambda: used(bnb_nn.Linear8bitLt(K, N, has_fp16_weights=False, threshold=6.0)),
}


def test_every_layer_is_here():
    made = {type(make()) for make in (*TRAINED.values(), *FROZEN.values())} | {bnb_nn.Embedding8bit}
    every = {value for module in (nn, bnb_nn) for name in module.__all__
             if isinstance(value := getattr(module, name), type) and issubclass(value, torch.nn.Module)}
    assert made == every


def run(layer, dtype=torch.float32, seed=1, x=None):
    """What the layer makes of x [ROWS, K]; None: of random numbers with an outlier column."""
    if x is None:
        x = gaussian(ROWS, K, seed=seed)
        x[:, 3] = 9.0
        x = x.to(dtype)
    if isinstance(layer, nn.GroupedLinear):
        return layer(x, OFFS)
    if isinstance(layer, nn.FusedMoE):
        return layer(x, torch.full((ROWS, 2), 0.5, dtype=torch.float32), torch.arange(2 * ROWS, dtype=torch.int32).view(ROWS, 2) % 3)
    return layer(x)


def fresh_of(make, layer):
    """Another layer of the same weights."""
    made = make().to(next(layer.parameters()).dtype)
    made.load_state_dict({name: t.detach().clone() for name, t in layer.state_dict().items()})
    return made.train(layer.training)


def check(make, layer):
    dtype = next(layer.parameters()).dtype
    for training in (False, True, False):
        layer.train(training)
        want = run(fresh_of(make, layer), dtype)
        assert torch.equal(run(layer, dtype), want), f"training={training}, with gradients"
        with torch.no_grad():
            assert torch.equal(run(layer, dtype), want), f"training={training}"


def stepped(optimiser):
    def change(layer):
        made = optimiser(list(layer.parameters()))
        made.zero_grad(set_to_none=False)
        layer.train()
        run(layer).sum().backward()
        made.step()
        made.zero_grad(set_to_none=False)  # .grad stays: gradients seem to accumulate

    return change


def loaded(layer):
    state = {name: torch.randn_like(t) if t.is_floating_point() else t for name, t in layer.state_dict().items()}
    layer.load_state_dict({name: t.abs() + 0.1 if name.endswith("_scale") else t for name, t in state.items()})


def assigned(layer):
    state = {name: t.clone() * 0.5 if t.is_floating_point() else t.clone() for name, t in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)


@torch.no_grad()
def copied(layer):
    layer.weight.copy_(torch.randn_like(layer.weight))


@torch.no_grad()
def in_place(layer):
    layer.weight[0].mul_(3)


def data_written(layer):
    layer.weight.data.mul_(-1.5)
    if hasattr(layer, "invalidate"):
        layer.invalidate()


def data_written_in_training(layer):
    layer.zero_grad()
    with torch.no_grad():
        run(layer.eval())
    layer.train()
    layer.weight.data.mul_(-1.5)
    run(layer)


def storage_replaced(layer):
    layer.weight.data = torch.randn_like(layer.weight)


def parameter_replaced(layer):
    layer.weight = torch.nn.Parameter(torch.randn_like(layer.weight.detach()))


def parameter_replaced_again_and_again(layer):
    # Freed memory is given out again: an address and a version prove nothing.
    for _ in range(4):
        layer.weight = torch.nn.Parameter(torch.randn(layer.weight.shape))
        layer.eval()
        with torch.no_grad():
            run(layer)


def through_bfloat16(layer):
    layer.to(torch.bfloat16)


MUTATIONS = {
    "SGD": stepped(lambda p: torch.optim.SGD(p, 0.5, foreach=False)),
    "SGD, foreach": stepped(lambda p: torch.optim.SGD(p, 0.5, foreach=True)),
    "SGD, fused": stepped(lambda p: torch.optim.SGD(p, 0.5, fused=True)),
    "Adam, fused": stepped(lambda p: torch.optim.Adam(p, 0.5, fused=True)),
    "AdamW, foreach": stepped(lambda p: torch.optim.AdamW(p, 0.5, foreach=True)),
    "Adagrad, fused": stepped(lambda p: torch.optim.Adagrad(p, 0.5, fused=True)),
    "load_state_dict": loaded,
    "load_state_dict, assign": assigned,
    "copy_": copied,
    "in place": in_place,
    ".data and invalidate()": data_written,
    ".data in training": data_written_in_training,
    ".data = ...": storage_replaced,
    "another Parameter": parameter_replaced,
    "many Parameters": parameter_replaced_again_and_again,
    "to(bfloat16)": through_bfloat16,
    "half()": lambda layer: layer.half(),
    "half().float()": lambda layer: layer.half().float(),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("kind", TRAINED)
def test_float_weights(kind, mutation):
    torch.manual_seed(0)
    make = TRAINED[kind]
    layer = make()
    run(layer.train()).sum().backward()  # codes, and a gradient that goes on accumulating
    with torch.no_grad():
        before = run(layer.eval())
    MUTATIONS[mutation](layer)
    check(make, layer)
    with torch.no_grad():
        after = run(layer, next(layer.parameters()).dtype)
    assert "float()" in mutation or not torch.equal(after, before.to(after.dtype)), "the mutation changed nothing"


def deep_copy(make, layer):
    return copy.deepcopy(layer)


def pickled(make, layer):
    return pickle.loads(pickle.dumps(layer))


def saved(make, layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def state_dict(make, layer):
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    made = make()
    made.load_state_dict(torch.load(file))
    return made


COPIES = {"deepcopy": deep_copy, "pickle": pickled, "torch.save": saved, "state dict": state_dict}
CHANGED = {"copy_": copied, "another Parameter": parameter_replaced, "SGD, fused": MUTATIONS["SGD, fused"]}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", [f"float, {name}" for name in TRAINED] + [f"frozen, {name}" for name in FROZEN])
def test_copies_are_bit_equal_and_layers_of_their_own(kind, way):
    torch.manual_seed(0)
    which, name = kind.split(", ", 1)
    make = (TRAINED if which == "float" else FROZEN)[name]
    for mode in (True, False):
        layer = make().train(mode)
        with torch.no_grad():
            want = run(layer)
            twin = COPIES[way](make, layer).train(mode)
            assert torch.equal(run(twin), want)
            if which == "frozen":
                continue
            copied(twin)
            assert not torch.equal(run(twin), want) and torch.equal(run(layer), want)
            check(make, twin)


@pytest.mark.parametrize("kind", FROZEN)
def test_frozen_weights(kind):
    torch.manual_seed(0)
    make = FROZEN[kind]
    one, other = make(), make()
    with torch.no_grad():
        want = run(other)
        run(one)
        one.load_state_dict(other.state_dict())
        assert torch.equal(run(one), want)
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            one.to(dtype)
            assert run(one, dtype).dtype == dtype
        assert torch.allclose(run(one), want, rtol=1e-2, atol=1e-2)  # the bias was rounded


def test_an_unseen_write_is_what_invalidate_is_for():
    """The documented hole: without the call an eval layer keeps what it packed."""
    layer = nn.Int8Linear(K, N).eval()
    with torch.no_grad():
        before = run(layer)
        layer.weight.data.mul_(2)
        assert torch.equal(run(layer), before)
        layer.invalidate()
        assert not torch.equal(run(layer), before)


@pytest.mark.parametrize("kind", ["Int8Linear", "bnb.Linear8bitLt"])
def test_accumulation_reuses_codes(kind, monkeypatch):
    """What invalidates does so where it must, and only there: another model's optimiser changes nothing."""
    layer, other = TRAINED[kind](), torch.nn.Linear(4, 4)
    quantized = []
    for name in ("int8_vectorwise_quant", "quantize_weight"):
        original = getattr(octavo._octavo, name)
        monkeypatch.setattr(octavo._octavo, name, lambda *a, original=original: quantized.append(1) or original(*a))
    layer.eval()
    with torch.no_grad():
        run(layer)
        other(torch.ones(1, 4)).sum().requires_grad_().backward()
        torch.optim.SGD(other.parameters(), 0.1, fused=True).step()
        run(layer)
    assert len(quantized) == 1
