# SPDX-License-Identifier: Apache-2.0
"""Types: the stub of the extension module, annotations of the public functions, and what mypy makes of them."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

import octavo
from octavo import _octavo

MODULE = Path(_octavo.__file__)
MODULES = [octavo, *(value for value in vars(octavo).values() if inspect.ismodule(value) and hasattr(value, "__all__")
                     and value.__name__.count(".") == 1 and value.__name__ not in ("octavo.torch", "octavo.bnb", "octavo.w8a8_utils"))]
STUBS = [path for path in (MODULE.parent / "_octavo.pyi", MODULE.resolve().parent / "_octavo.pyi") if path.exists()]


@pytest.fixture(scope="module")
def stub():
    if not STUBS:
        pytest.skip("this build tree has no stub (target octavo_python_stub)")
    return STUBS[0]


def declared(body):
    """{name: node} of what a module or class body declares."""
    names = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            names[node.target.id] = node
    return names


def test_the_stub_covers_every_name(stub):
    found = declared(ast.parse(stub.read_text()).body)
    missing = [name for name in vars(_octavo) if not name.startswith("__") and name not in found]
    assert missing == []
    for name, value in vars(_octavo).items():
        if isinstance(value, type):
            members = declared(found[name].body)
            assert [m for m in vars(value) if not m.startswith("_") and m not in members] == []


def test_public_results_of_the_stub_are_not_mere_objects(stub):
    """`object` in a result would refuse every use of it."""
    found = declared(ast.parse(stub.read_text()).body)
    direct = {name for module in MODULES for name in module.__all__ if getattr(module, name) is getattr(_octavo, name, None)}
    for name in direct:
        node = found[name]
        functions = declared(node.body).values() if isinstance(node, ast.ClassDef) else [node]
        for function in functions:
            if isinstance(function, ast.FunctionDef):
                assert ast.unparse(function.returns) != "object", (name, function.name)


def public_functions():
    yield from (getattr(module, name) for module in MODULES for name in module.__all__ if inspect.isfunction(getattr(module, name)))
    try:
        import octavo.torch as package
    except ImportError:
        return
    yield from (package.quantize_, package.load_, package.from_pretrained, package.calibrate, package.smooth_, package.evaluate)
    yield from (package.OctavoConfig.__init__, package.nn.FusedMoE.from_float)
    yield from (getattr(package.functional, name) for name in package.functional.__all__)
    import octavo.w8a8_utils as w8a8
    yield from (getattr(w8a8, name) for name in w8a8.__all__ if inspect.isfunction(getattr(w8a8, name)))
    yield from (w8a8.QuantFP8.__init__, w8a8.QuantFP8.forward, w8a8.Fp8LinearOp.__init__, w8a8.Fp8LinearOp.apply)
    for name in package.nn.__all__:
        layer = getattr(package.nn, name)
        yield from (layer.__init__, layer.forward) if inspect.isclass(layer) else (layer,)


@pytest.mark.parametrize("function", list(public_functions()), ids=lambda f: f.__qualname__)
def test_public_functions_say_their_types(function):
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in list(signature.parameters.values()):
        assert parameter.name == "self" or parameter.annotation is not inspect.Parameter.empty, parameter


def without_none(annotation):
    """The Literal of a Union with None and mappings."""
    return next((each for each in get_args(annotation) if get_origin(each) is Literal), annotation)


def test_schemes_are_named_by_their_type():
    """Every `scheme` of a public function is a Literal, whose names Octavo knows; all of Octavo's own are in the widest."""
    found = [(function, without_none(parameter.annotation)) for function in public_functions()
             if (parameter := inspect.signature(function).parameters.get("scheme")) is not None]
    assert len(found) >= 4
    for function, annotation in found:
        assert get_origin(annotation) is Literal, function.__qualname__
        assert all(_octavo.canonical_scheme(name) for name in get_args(annotation)), function.__qualname__
    pytest.importorskip("torch")
    from octavo.torch.layers._schemes import SCHEMES
    from octavo.torch.models._canonical import LAYERS

    assert set(SCHEMES) == set(LAYERS) == {_octavo.canonical_scheme(name) for name in get_args(octavo._typing.Scheme)}
    for name in ("quantize_", "OctavoConfig.__init__", "calibrate", "quantize_file", "estimate_quantization", "quantize_weight"):
        assert all(get_args(annotation) == get_args(octavo._typing.Scheme) for function, annotation in found
                   if function.__qualname__ == name), name


RIGHT = '''
import ml_dtypes
import numpy as np

import octavo

x = np.ones((4, 32), np.float32)
q: octavo.Quantized = octavo.quantize(x, np.int8, "token")
packed: octavo.types.PackedWeight = octavo.pack(octavo.quantize(x, side="b", granularity="channel"), activation="int8")
y = octavo.scaled_mm(q.data, x.astype(np.int8).T, q.scale, 0.5, None, out_dtype=ml_dtypes.bfloat16)
print(y.shape, octavo.linear(x.T, packed, out_dtype=np.dtype("float16")), octavo.UNDEFINED)
many = octavo.grouped_mm([x, x[0]], [x.T, x.T], [None, np.ones(4, np.float32)])
found: dict[str, object] = octavo.gradients.scaled_mm_vjp(x, x, x, wanted=("input",))
codes, absmax, outliers = octavo.llm_int8.int8_vectorwise_quant(x, threshold=6.0)
report = octavo.quantize_file("a", "b", progress=lambda done, total: print(done / total))
estimate = octavo.checkpoints.estimate_quantization("a", "fp8-dynamic")
print(estimate.seconds / 60, estimate.warnings[0].upper(), octavo.checkpoints.convert_file("a", "b", "fp8-block").file_bytes_after + 1)
octavo.checkpoints.dequantize_file("a", "b", ml_dtypes.bfloat16, threads=2)
file = octavo.open_checkpoint("a")
print(file.files[0].name.upper(), file.files[0].metadata["a"].upper(), file.declarations[0].text.upper(), file.folder.upper())
print(report.layers[0].sqnr_db + 1, octavo.explain("...").candidates[0].reason.upper(), codes.dtype)
'''

# What each line of a wrong program must be refused for.
WRONG = [
    ('octavo.scaled_mm("a", x)', "arg-type"),
    ("octavo.scaled_mm(x, x, scale_c=1.0)", "call-arg"),
    ('octavo.scaled_mm(x, x, "0.5")', "arg-type"),
    ("octavo.quantize(x, out_dtype=np.int8)", "call-arg"),
    ('octavo.quantize(x, side="c")', "arg-type"),
    ("octavo.linear(x, x)", "arg-type"),
    ("octavo.quantize(x).date", "attr-defined"),
    ('octavo.set_num_threads("2")', "arg-type"),
    ("octavo.open_checkpoint(3)", "arg-type"),
    ('octavo.quantize_file("a", "b", "int4")', "arg-type"),
    ('octavo.checkpoints.convert_file("a", "b", "gguf")', "arg-type"),
    ('octavo.open_checkpoint("a").files[0].size', "attr-defined"),
]


@pytest.fixture(scope="module")
def package(stub, tmp_path_factory):
    """The package without PyTorch's part, as a type checker finds it."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(octavo.__file__).parent, folder / "octavo",
                    ignore=shutil.ignore_patterns("torch", "bnb", "*.so", "*.pyi"))
    shutil.copy(stub, folder / "octavo" / "_octavo.pyi")
    assert (folder / "octavo" / "py.typed").exists()
    # PyTorch imports transformers, whose 2900 files this part of the package has nothing from.
    (folder / "mypy.ini").write_text("[mypy]\nignore_missing_imports = True\n"
                                     "[mypy-transformers.*]\nfollow_imports = skip\n")
    return folder


def mypy(folder, *arguments):
    return subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", folder / "cache", *arguments], cwd=folder,
                          capture_output=True, text=True)


def test_mypy_accepts_the_package_and_a_right_program(package):
    pytest.importorskip("mypy")
    (package / "right.py").write_text(RIGHT)
    done = mypy(package, "right.py", "octavo")
    assert done.returncode == 0, done.stdout


def test_mypy_refuses_wrong_programs(package):
    pytest.importorskip("mypy")
    lines = ["import numpy as np", "import octavo", "x = np.ones((2, 2), np.float32)", *(line for line, _ in WRONG)]
    (package / "wrong.py").write_text("\n".join(lines) + "\n")
    done = mypy(package, "wrong.py")
    found = dict(re.findall(r"^wrong\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE))
    assert found == {str(number): kind for number, (_, kind) in enumerate(WRONG, 4)}, done.stdout
