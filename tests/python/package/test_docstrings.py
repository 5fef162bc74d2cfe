# SPDX-License-Identifier: Apache-2.0
"""Docstrings of the most used functions: sections that Sphinx reads (Google's style), and examples that run."""

import doctest
import importlib
import inspect
import re
import sys

import pytest

import octavo


def functions():
    """Each by its name; those of PyTorch's part where it is there."""
    named = {f"octavo.{name}": getattr(octavo, name) for name in octavo.__all__ if inspect.isfunction(getattr(octavo, name))}
    for module, names in ((octavo.checkpoints, ("convert_file", "dequantize_file", "quantize_weight")),
                          (octavo.moe, ("pack_experts", "fused_experts"))):
        named |= {f"{module.__name__}.{name}": getattr(module, name) for name in names}
    try:
        bnb, torch = importlib.import_module("octavo.bnb"), importlib.import_module("octavo.torch")
    except ImportError:
        return named
    torch_names = ("quantize_", "load_", "calibrate", "override", "use_threads")
    named |= {f"octavo.torch.{name}": getattr(torch, name) for name in torch_names}
    named |= {f"octavo.bnb.{name}": getattr(bnb, name) for name in ("install", "matmul")}
    try:
        import transformers  # noqa: F401
    except ImportError:
        return named
    return named | {f"octavo.torch.{name}": getattr(torch, name)
                    for name in ("from_pretrained", "smooth_", "evaluate", "OctavoConfig")}


FUNCTIONS = functions()
SECTION = re.compile(r"^(Args|Returns|Raises|Warns|Example):(.*)$", re.MULTILINE)
ORDER = ("Args", "Returns", "Raises", "Warns", "Example")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sections_are_those_that_sphinx_reads(name):
    """One of each at most, in one order, each alone in its line; every argument has its documentation, and errors are classes."""
    function = FUNCTIONS[name]
    doc = inspect.getdoc(function)
    found = SECTION.findall(doc)
    assert [section for section, _ in found] == sorted({section for section, _ in found}, key=ORDER.index)
    assert all(rest == "" for _, rest in found) and "Example" in dict(found)
    bodies = dict(zip([section for section, _ in found], re.split(SECTION, doc)[3::3]))
    arguments = [argument for argument in inspect.signature(function).parameters if argument != "self"]
    if arguments:
        named = {word.strip() for row in re.findall(r"^ {4}(\w[\w, ]*):", bodies.get("Args", ""), re.MULTILINE) for word in row.split(",")}
        assert set(arguments) <= named, name
    for row in re.findall(r"^ {4}(\S.*)$", bodies.get("Raises", ""), re.MULTILINE):
        assert re.match(r"[A-Z]\w+(, [A-Z]\w+)*: \S", row), row


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_run(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = dict(sys.modules)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(FUNCTIONS[name]), {}, name, None, None)
    assert example.examples, name
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    try:
        assert runner.run(example).failed == 0, capsys.readouterr().out
    finally:
        if name == "octavo.torch.use_threads":
            FUNCTIONS[name]("torch")
        if name == "octavo.bnb.install":
            for given in [given for given in sys.modules if given.partition(".")[0] == "bitsandbytes"]:
                del sys.modules[given]
            sys.modules.update({given: module for given, module in before.items() if given.partition(".")[0] == "bitsandbytes"})
