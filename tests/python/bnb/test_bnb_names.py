# SPDX-License-Identifier: Apache-2.0
"""Names of bitsandbytes beyond the linear layer: Embedding8bit, modules that code imports, features, optimisers that
stay with bitsandbytes; and the exact gradient of weights."""

import dataclasses
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")

import octavo.bnb as bnb  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo.bnb.nn import Embedding8bit, Linear8bitLt  # noqa: E402

INSTALL = """
    import sys
    import octavo.bnb
    octavo.bnb.install()
"""


def python(program, before=""):
    """What a program prints that gives bitsandbytes' name to octavo.bnb, in a process of its own."""
    text = textwrap.dedent(before) + textwrap.dedent(INSTALL) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_install_gives_the_name_to_every_module():
    print_them = """
        import importlib, pkgutil
        for row in pkgutil.walk_packages(octavo.bnb.__path__, "octavo.bnb."):
            name = row.name.replace("octavo.bnb", "bitsandbytes")
            if row.name.rpartition(".")[2] not in ("optim", "research", "utils"):
                assert importlib.import_module(name) is importlib.import_module(row.name), name
        import bitsandbytes as bnb
        from bitsandbytes.nn.modules import Linear8bitLt
        assert bnb is octavo.bnb and Linear8bitLt is octavo.bnb.nn.Linear8bitLt
        before = dict(sys.modules)
        octavo.bnb.install()
        print(before == sys.modules)
    """
    assert python(print_them) == "True\n"


@pytest.mark.parametrize("early, named", [
    ("import types; user = sys.modules['user'] = types.ModuleType('user'); import octavo.bnb; user.bnb = types.ModuleType('bitsandbytes')",
     ["user"]),
    ("import transformers.integrations.bitsandbytes", ["transformers.integrations.bitsandbytes"]),
    ("import types; user = sys.modules['user'] = types.ModuleType('user'); import octavo.bnb; user.bnb = octavo.bnb", []),
])
def test_install_names_modules_that_were_too_early(early, named):
    if "transformers" in early:
        pytest.importorskip("transformers")
    program = f"import sys, warnings\n{early}\nimport octavo.bnb\nwith warnings.catch_warnings(record=True) as told:\n" \
              "    warnings.simplefilter('always')\n    octavo.bnb.install()\nprint([str(each.message) for each in told])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(eval(done.stdout)) == bool(named) and all(name in done.stdout for name in named), done.stdout


def test_embeddings():
    peer = pytest.importorskip("bitsandbytes")
    table, indices = gaussian(50, 24), torch.tensor([[0, 3, 49], [7, 7, 1]])
    ours, theirs = Embedding8bit(50, 24), peer.nn.Embedding8bit(50, 24)
    for layer in (ours, theirs):
        layer.load_state_dict({"weight": table})
    moved = ours.to("cpu")
    assert moved.weight.dtype == torch.int8 and moved.weight.SCB.shape == (50,)
    y = moved(indices)
    # bitsandbytes quantises a float16 copy of the table.
    assert y.shape == (2, 3, 24) and torch.allclose(y, theirs.to("cpu")(indices), atol=float(table.abs().max()) / 60)
    codes, absmax, _ = bnb.functional.int8_vectorwise_quant(table)
    assert torch.equal(y, bnb.functional.int8_vectorwise_dequant(codes, absmax)[indices])
    never_moved = Embedding8bit(50, 24, dtype=torch.bfloat16)
    with torch.no_grad():
        never_moved.weight.copy_(table)
    assert never_moved(indices).dtype == torch.bfloat16 and never_moved.weight.dtype == torch.int8
    with pytest.raises(NotImplementedError, match="Embedding8bit: a state dictionary must be made of the float table"):
        moved.state_dict()
    never_moved.weight = bnb.nn.Int8Params(codes, requires_grad=False)
    with pytest.raises(ValueError, match="Embedding8bit: weight must be an Int8Params of a float table, or of codes"):
        never_moved(indices)


def test_modules_that_code_imports():
    assert "multi_backend" in bnb.features and bnb.nn.modules.Linear8bitLt is Linear8bitLt
    with pytest.raises(AttributeError, match="octavo.bnb.nn.modules.Linear4bit must come from bitsandbytes"):
        bnb.nn.modules.Linear4bit
    print_names = """
        from bitsandbytes.nn.modules import Embedding8bit, Int8Params, Linear8bitLt
        import bitsandbytes as b
        import bitsandbytes.nn.modules as modules
        from bitsandbytes.autograd._functions import MatmulLtState
        print(modules.Linear8bitLt is b.nn.Linear8bitLt, "multi_backend" in b.features, hasattr(b, "optim"))
    """
    assert python(print_names) == "True True False\n"


def test_a_state_is_a_dataclass():
    """By the fields of bitsandbytes' own, which code copies and prints."""
    theirs = pytest.importorskip("bitsandbytes").autograd._functions.MatmulLtState
    ours = bnb.MatmulLtState
    assert [(f.name, f.default) for f in dataclasses.fields(ours)] == [(f.name, f.default) for f in dataclasses.fields(theirs)]
    codes, maxima = torch.ones(2, 3, dtype=torch.int8), torch.ones(2)
    state = ours(CB=codes, SCB=maxima)
    assert dataclasses.is_dataclass(state) and dataclasses.asdict(state).keys() == dataclasses.asdict(theirs()).keys()
    other = dataclasses.replace(state, CB=2 * codes)
    assert torch.equal(other.CB, 2 * codes) and other.SCB is not None and torch.equal(state.CB, codes)
    assert repr(ours()) == repr(theirs())
    assert len({state, other}) == 2 and state == state  # a state is one of a layer, not a value


def test_modules_that_stay_with_bitsandbytes_say_so():
    names = ["optim", "utils", "research"]
    said = python(f"""
        import importlib
        import bitsandbytes
        for name in {names}:
            try:
                importlib.import_module("bitsandbytes." + name)
            except ImportError as error:
                print(error)
            try:
                getattr(bitsandbytes, name)
            except AttributeError as error:
                print(error)
    """).splitlines()
    for name, first, second in zip(names, said[::2], said[1::2], strict=True):
        sentence = (f"bitsandbytes.{name} must come from bitsandbytes (import bitsandbytes.{name} before the name is given "
                    "to octavo.bnb, which has LLM.int8() alone); got")
        assert first == f"{sentence} an import from octavo.bnb" and second == f"octavo.bnb{sentence[12:]} a request here"


def test_optimisers_of_bitsandbytes_train_these_layers():
    """Imported before the name was given away; their steps are seen as torch's are."""
    pytest.importorskip("bitsandbytes")
    program = """
        import torch, bitsandbytes as b
        torch.manual_seed(0)
        layer = b.nn.Linear8bitLt(64, 32)
        assert type(layer).__module__.startswith("octavo")
        x = torch.randn(8, 64)
        optimiser = b.optim.Adam32bit(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad(set_to_none=False)
            layer(x).sum().backward()
            optimiser.step()
        for training in (True, False):
            exact = torch.nn.functional.linear(x, layer.weight, layer.bias)
            print(bool((layer.train(training)(x) - exact).norm() < 0.02 * exact.norm()))
    """
    assert python(program, "import bitsandbytes.optim") == "True\nTrue\n"


def relative(found, exact):
    return float((found.double() - exact).norm() / exact.norm())


DRAWS = {"normal": lambda *shape: torch.randn(*shape),
         "Cauchy": lambda *shape: torch.distributions.Cauchy(0.0, 1.0).sample(shape)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("draw", DRAWS)
def test_exact_gradients_of_weights(draw, dtype):
    """Section 5's formula within one rounding, where the int8 product is off by what the documentation says."""
    torch.manual_seed(0)
    x, grad = (DRAWS[draw](4, 128, 256).to(dtype), DRAWS[draw](4, 128, 192).to(dtype))
    exact = grad.double().reshape(-1, 192).T @ x.double().reshape(-1, 256)
    spread = grad.double().reshape(-1, 192).abs().T @ x.double().reshape(-1, 256).abs()
    steps = 2 * 512 + 8
    bound = steps * 2.0**-24 / (1 - steps * 2.0**-24) * spread + 2.0**-8 * exact.abs() * (dtype != torch.float32)
    errors = {}
    for kind in ("int8", "exact"):
        torch.manual_seed(1)
        layers = [Linear8bitLt(256, 192, threshold=0.0, weight_gradient=kind, dtype=dtype),
                  bnb_native(kind, dtype)]
        for layer in layers:
            layer(x).backward(grad)
            errors[kind] = relative(layer.weight.grad, exact)
            assert layer.weight.grad.dtype == dtype
            if kind == "exact":
                assert ((layer.weight.grad.double() - exact).abs() <= bound).all()
            if dtype != torch.float32 or draw != "normal":
                continue
            torch._dynamo.reset()
            eager = layer.weight.grad.clone()
            layer.weight.grad = None
            torch.compile(layer, fullgraph=True, backend="aot_eager")(x).backward(grad)
            assert torch.equal(layer.weight.grad, eager)
    if draw == "normal":
        assert 0.005 < errors["int8"] < 0.02
    assert errors["int8"] > 2 * errors["exact"]


def bnb_native(kind, dtype):
    import octavo.torch

    return octavo.torch.nn.LLMInt8Linear(256, 192, threshold=0.0, weight_gradient=kind, dtype=dtype)


def test_bitsandbytes_gradient_on_the_cpu_is_the_exact_one():
    peer = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    x, grad, weight = torch.randn(512, 256), torch.randn(512, 192), torch.randn(192, 256) / 16
    found = {}
    for name, layer in (("theirs", peer.nn.Linear8bitLt(256, 192)), ("default", Linear8bitLt(256, 192)),
                        ("int8", Linear8bitLt(256, 192, weight_gradient="int8"))):
        with torch.no_grad():
            layer.weight.copy_(weight)
        layer.to("cpu")(x).backward(grad)
        found[name] = relative(layer.weight.grad, grad.double().T @ x.double())
    assert found["theirs"] < 1e-6 and found["default"] < 2e-6 and 0.008 < found["int8"] < 0.012


def test_gradients_that_do_not_exist():
    with pytest.raises(ValueError, match='weight_gradient must be "int8" or "exact", or None .*; got \'fp8\''):
        Linear8bitLt(8, 4, weight_gradient="fp8")(gaussian(2, 8))
    with pytest.raises(ValueError, match='weight_gradient must be "int8" or "exact"; got \'fp8\''):
        bnb_native("fp8", torch.float32)
