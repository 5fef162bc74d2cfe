# SPDX-License-Identifier: Apache-2.0
"""What holds for every layer: strict states, float types, autocasting, inference mode, threads."""

import contextlib
import copy
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

import octavo.bnb as bnb  # noqa: E402
import octavo.torch  # noqa: E402
from bnb_kit import activations, gaussian  # noqa: E402
from octavo.bnb.nn import Embedding8bit, Int8Params, Linear8bitLt  # noqa: E402
from octavo.torch import nn  # noqa: E402
from test_layer_mutations import FROZEN, K, N, TRAINED, run  # noqa: E402

EVERY = {**{f"float, {name}": make for name, make in TRAINED.items()},
         **{f"frozen, {name}": make for name, make in FROZEN.items()}}

# ---- strict states: torch.nn.Module's own answers ----------------------------------------------------------


class Reference(torch.nn.Module):
    """A module with the same names, which torch itself loads."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name, torch.zeros_like(value))


def answer(module, state, strict):
    try:
        found = module.load_state_dict(dict(state), strict=strict)
        return sorted(found.missing_keys), sorted(found.unexpected_keys), None
    except RuntimeError as error:
        sentences = [line.strip().replace(type(module).__name__, "") for line in str(error).split("\n")[1:]]
        return None, None, sorted(sentences)


OPTIONAL = ("weight_format",)  # files of older bitsandbytes have none


def changes(state):
    yield "nothing", {name: state[name] for name in OPTIONAL if name in state}
    yield "unexpected", {**state, "wieght": torch.ones(1)}
    for name, value in state.items():
        if name in OPTIONAL:
            continue
        yield f"without {name}", {key: t for key, t in state.items() if key != name}
        if value.dim():
            wrong = torch.ones((value.shape[0] + N, *value.shape[1:])).to(value.dtype)
            yield f"shape of {name}", {**state, name: wrong}


@pytest.mark.parametrize("kind", EVERY)
def test_states_are_strict_as_torch_is(kind):
    state = EVERY[kind]().state_dict()
    for change, broken in changes(state):
        for strict in (True, False):
            layer = EVERY[kind]()
            got, want = answer(layer, broken, strict), answer(Reference(state), broken, strict)
            what = f"{change}, strict={strict}"
            if change.startswith("without") and want[2] is None:
                # Codes and scales say nothing without each other: refused where torch would take the half.
                assert got == want or (got[2] and "must" in got[2][0]), what
            elif change.startswith("shape of") or change.startswith("without"):
                name = change.split()[-1]
                assert got[2] and any(name in sentence for sentence in got[2]), (what, got)
                if "scale" not in name and change.startswith("shape of"):
                    assert want[2] == got[2], what
            else:
                assert got == want, what


@pytest.mark.parametrize("kind", EVERY)
def test_a_state_that_is_refused_changes_no_codes(kind):
    layer = EVERY[kind]()
    with torch.no_grad():
        before = run(layer.eval())
    name = "w2" if "MoE" in kind else "weight"
    state = copy.deepcopy(layer.state_dict())
    state[name] = state[name][..., :-1]
    with pytest.raises(RuntimeError, match="size mismatch for"):
        layer.load_state_dict({name: state[name], **{n: t for n, t in state.items() if "scale" in n or n == "SCB"}},
                              strict=False)
    with torch.no_grad():
        assert torch.equal(run(layer), before)


@pytest.mark.parametrize("kind", EVERY)
def test_a_state_stays_the_callers(kind):
    """What is written into it afterwards is not the layer's."""
    layer = EVERY[kind]().eval()
    state = copy.deepcopy(layer.state_dict())
    if "frozen" in kind and not any(other in kind for other in ("bnb", "MoE", "Checkpoint")):
        state["columns"] = torch.arange(K).flip(0)
    with torch.no_grad():
        layer.load_state_dict(state)
        loaded = copy.deepcopy(layer.state_dict())
        for value in state.values():
            value.view(-1).view(torch.uint8).zero_()
        assert all(torch.equal(t.view(-1).view(torch.uint8), loaded[name].view(-1).view(torch.uint8))
                   for name, t in layer.state_dict().items())


@pytest.mark.parametrize("kind", [kind for kind in FROZEN if "bnb" not in kind and "MoE" not in kind])
def test_a_layer_takes_all_of_its_codes_or_nothing(kind):
    """A state of another layer with columns in another order, and codes or scales of a type that cannot be packed."""
    layer, other = FROZEN[kind](), FROZEN[kind]().state_dict()
    codes = {name: t for name, t in other.items() if name != "bias"} | {"columns": torch.arange(K).flip(0)}
    with torch.no_grad():
        before = run(layer)
        for name, dtype in (("weight", torch.uint8), ("weight_scale", torch.float64)):
            with pytest.raises(RuntimeError, match="weight"):
                layer.load_state_dict(codes | {name: codes[name].to(dtype)}, strict=False)
            assert torch.equal(run(layer), before) and "columns" not in layer.state_dict()
        layer.load_state_dict(codes, strict=False)
        assert not torch.equal(run(layer), before)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["Int8Linear", "Fp8Linear", "BlockFp8Linear", "LLMInt8Linear", "bnb"])
def test_float_states_are_strict_too(kind, bias):
    """A state of torch.nn.Linear with or without a bias, into a layer with or without one."""
    def make():
        return (Linear8bitLt if kind == "bnb" else getattr(nn, kind))(K, N, bias)

    for given in (False, True):
        state = torch.nn.Linear(K, N, given).state_dict()
        assert answer(make(), state, True) == answer(torch.nn.Linear(K, N, bias), state, True)
        assert answer(make(), state, False) == answer(torch.nn.Linear(K, N, bias), state, False)


@pytest.mark.parametrize("moved", [False, True])
def test_bitsandbytes_answers_the_same(moved):
    peer = pytest.importorskip("bitsandbytes")

    def make(module):
        layer = module.nn.Linear8bitLt(8, 4, has_fp16_weights=False)
        return layer.to("cpu") if moved else layer

    states = [torch.nn.Linear(8, 4).state_dict(), *([make(bnb).state_dict()] if moved else [])]
    for state in states:
        broken = [state, {n: t for n, t in state.items() if n != "bias"}, {**state, "wieght": torch.ones(1)},
                  {**state, "bias": torch.ones(5)}, {**state, "weight": state["weight"][:, 1:]}]
        for case in broken:
            for strict in (True, False):
                assert answer(make(bnb), case, strict) == answer(make(peer), case, strict)


def test_names_that_a_layer_has_no_use_for_are_unexpected():
    scale = {"input_scale": torch.tensor([0.1])}
    zero = {"input_zero_point": torch.tensor([3], dtype=torch.int32)}
    for layer, extra in ((nn.Int8Linear(K, N), scale), (FROZEN["BlockFp8Linear"](), scale),
                         (FROZEN["LLMInt8Linear"](), scale), (FROZEN["Int8Linear"](), zero),
                         (FROZEN["Fp8Linear, static"](), zero), (Linear8bitLt(K, N), {"SCB": torch.ones(N)})):
        state = {**layer.state_dict(), **extra}
        if isinstance(layer, Linear8bitLt):
            del state["weight"]
        with pytest.raises(RuntimeError, match=f"Unexpected key.*{next(iter(extra))}"):
            layer.load_state_dict(state)


def test_static_activations_come_with_a_state():
    for kind in ("Int8Linear, static", "Int8Linear, static azp", "Fp8Linear, static"):
        source = FROZEN[kind]()
        target = type(source)(K, N)
        target.load_state_dict(source.state_dict())
        assert torch.equal(run(target), run(source)) and target.state_dict().keys() == source.state_dict().keys()


# ---- types ---------------------------------------------------------------------------------------------


CONSTRUCTORS = {
    "Int8Linear": lambda **o: nn.Int8Linear(K, N, **o), "Fp8Linear": lambda **o: nn.Fp8Linear(K, N, **o),
    "BlockFp8Linear": lambda **o: nn.BlockFp8Linear(K, N, **o), "LLMInt8Linear": lambda **o: nn.LLMInt8Linear(K, N, **o),
    "QatLinear": lambda **o: nn.QatLinear(K, N, **o), "GroupedLinear": lambda **o: nn.GroupedLinear(3, K, N, **o),
    "bnb.Linear8bitLt": lambda **o: Linear8bitLt(K, N, **o), "bnb.Embedding8bit": lambda **o: Embedding8bit(K, N, **o),
}
FLOAT64 = r"must be torch\.float32, torch\.bfloat16 or torch\.float16 \(convert it with \.float\(\)\); got torch\.float64"


@pytest.mark.parametrize("kind", CONSTRUCTORS)
def test_float64_is_refused_where_a_layer_is_made(kind):
    with pytest.raises(ValueError, match=rf"{kind.removeprefix('bnb.')}: dtype {FLOAT64}"):
        CONSTRUCTORS[kind](dtype=torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match=FLOAT64):
            CONSTRUCTORS[kind]()
        assert CONSTRUCTORS[kind](dtype=torch.bfloat16).weight.dtype == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)
    if hasattr(nn, kind) and hasattr(getattr(nn, kind), "from_float"):
        with pytest.raises(ValueError, match=rf"from_float: linear.weight.dtype {FLOAT64}"):
            getattr(nn, kind).from_float(torch.nn.Linear(K, N).double())


@pytest.mark.parametrize("kind", [*EVERY, "Embedding8bit"])
def test_float64_is_refused_where_a_layer_is_converted(kind):
    layer = EVERY[kind]() if kind in EVERY else Embedding8bit(5, 4)
    before = {name: t.dtype for name, t in layer.named_parameters()}
    for convert in (layer.double, lambda: layer.to(torch.float64), lambda: torch.nn.Sequential(layer).double()):
        with pytest.raises(ValueError, match=FLOAT64):
            convert()
    with pytest.raises(ValueError, match="dtype must be"):
        layer.to(torch.float8_e4m3fn)
    assert {name: t.dtype for name, t in layer.named_parameters()} == before


@pytest.mark.parametrize("kind", EVERY)
def test_float64_is_refused_as_input(kind):
    for training in (True, False):
        with pytest.raises(ValueError, match=rf"x\.dtype {FLOAT64}"):
            run(EVERY[kind]().train(training), torch.float64)


def test_float64_is_refused_by_matmul():
    for function in (bnb.matmul, bnb.MatMul8bitLt.apply, bnb.MatMul8bitFp.apply):
        with pytest.raises(ValueError, match=rf"A\.dtype {FLOAT64}"):
            function(gaussian(2, 8).double(), gaussian(4, 8))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", EVERY)
def test_autocasting_is_that_of_linear(kind, training):
    layer = EVERY[kind]().train(training)
    want = run(layer, torch.bfloat16) if "MoE" in kind or "frozen" in kind else None
    with torch.autocast("cpu", torch.bfloat16):
        linear = torch.nn.Linear(K, N)
        assert linear(gaussian(2, K)).dtype == torch.bfloat16
        y = run(layer)
        assert y.dtype == torch.bfloat16
        assert want is None or torch.equal(y, want)
        with torch.autocast("cpu", enabled=False):
            assert run(layer).dtype == torch.float32
        if y.requires_grad:
            y.sum().backward()
    if "float" in kind:
        assert layer.weight.grad.dtype == layer.weight.dtype


# ---- gradients of gradients ------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["x", "weight"])
@pytest.mark.parametrize("kind", EVERY)
def test_a_second_derivative_is_refused(kind, of):
    layer = EVERY[kind]().train()
    x = gaussian(ROWS_, K).requires_grad_()
    if of == "weight" and "float" not in kind:
        return  # codes are constant
    y = run(layer, x=x).square().sum()
    first, = torch.autograd.grad(y, x if of == "x" else layer.weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients must be taken once"):
        first.sum().backward()


# ---- inference mode --------------------------------------------------------------------------------------


def mode(on):
    return torch.inference_mode() if on else contextlib.nullcontext()


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_layers_of_inference_mode_train_later_or_say_why(kind, made, used):
    """made, used: in inference mode. Weights and biases that were made there cannot train, as torch's cannot;
    bitsandbytes' frozen layer passes gradients all the same."""
    if "MoE" in kind:
        return  # for inference
    with mode(made):
        layer = EVERY[kind]()

    def step(optimise=True):
        with mode(used):
            run(layer)
        x = gaussian(ROWS_, K).requires_grad_()
        layer(*((x, torch.tensor([4, 4, ROWS_])) if isinstance(layer, nn.GroupedLinear) else (x,))).sum().backward()
        if optimise:
            torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], 0.1, fused=not made).step()
        return x.grad

    passes = "bnb" in kind and "frozen" in kind
    if made and not passes:
        with pytest.raises(RuntimeError, match="[Ii]nference tensor"):
            step()
        return
    assert step(not made).abs().sum() > 0
    layer.eval()
    with torch.no_grad():
        fresh = EVERY[kind]()
        fresh.load_state_dict(layer.state_dict())
        assert torch.equal(run(layer), run(fresh.eval()))


ROWS_ = 9


def test_writes_in_inference_mode_are_seen():
    """No version counts them: such weights are quantised in each product."""
    for make in (lambda: nn.Int8Linear(K, N), lambda: Linear8bitLt(K, N, threshold=6.0)):
        with torch.inference_mode():
            layer = make().eval()
            before = run(layer)
            layer.weight.mul_(2)
            layer.bias.mul_(2)
            assert not torch.equal(run(layer), before)


# ---- another weight --------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("used", [False, True])
def test_a_frozen_layer_takes_another_weight(moved, used):
    layer = Linear8bitLt(K, N, has_fp16_weights=False, threshold=6.0)
    layer = layer.to("cpu") if moved else layer
    x, other = activations(4, K), gaussian(N, K, seed=9)
    if used:
        layer(x)
    want = bnb.matmul(x, other, threshold=6.0, bias=layer.bias.detach())
    layer.weight = Int8Params(other.clone(), requires_grad=False)
    assert torch.equal(layer(x), want)
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(gaussian(N, K, seed=8))
    layer.weight = Int8Params(codes, requires_grad=False, CB=codes, SCB=absmax)
    assert torch.equal(layer(x), bnb.matmul(x, gaussian(N, K, seed=8), threshold=6.0, bias=layer.bias.detach()))
    layer.weight = torch.nn.Parameter(other.clone())
    with pytest.raises(ValueError, match="weight must be an Int8Params where has_fp16_weights is False; got a Parameter"):
        layer(x)
    layer.weight = Int8Params(codes, requires_grad=False)
    with pytest.raises(ValueError, match="weight must be an Int8Params of a float weight, or of codes with CB and SCB"):
        layer(x)


def test_a_state_follows_the_weight_that_it_is_given():
    """Weights that come and go take each other's memory."""
    state = bnb.MatmulLtState()
    state.has_fp16_weights = False
    frozen_like = copy.deepcopy(state)
    x = gaussian(4, K)
    for step in range(6):
        w = gaussian(N, K, seed=step)
        for own in (state, frozen_like):
            own.is_training = False
            assert torch.equal(bnb.matmul(x, w, state=own), bnb.matmul(x, w))
        del w


# ---- threads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bnb, moved", "bnb, not moved", "bnb, trains", "bnb, pool", "Int8Linear, eval"])
def test_first_use_from_eight_threads(kind):
    def make():
        torch.manual_seed(0)
        if kind == "Int8Linear, eval":
            return nn.Int8Linear(64, 32).eval()
        if kind == "bnb, trains":
            return Linear8bitLt(64, 32, threshold=6.0)
        layer = Linear8bitLt(64, 32, has_fp16_weights=False, threshold=6.0, use_pool=kind == "bnb, pool").eval()
        return layer if kind == "bnb, not moved" else layer.to("cpu")

    x = gaussian(3, 64).clamp(-3, 3)
    with torch.no_grad():
        want = make()(x)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(25):
            layer, barrier, wrong = make(), threading.Barrier(8), []

            def work():
                barrier.wait()
                try:
                    with torch.no_grad():
                        for _ in range(3):
                            if not torch.equal(layer(x), want):
                                wrong.append("another result")
                except Exception as error:  # noqa: BLE001 (whatever it is)
                    wrong.append(error)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not wrong
            with torch.no_grad():
                assert torch.equal(layer(x), want)
    finally:
        sys.setswitchinterval(interval)
        bnb.GlobalOutlierPooler.get_instance().initialize()
