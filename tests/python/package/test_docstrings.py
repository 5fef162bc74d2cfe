# SPDX-License-Identifier: Apache-2.0
"""Docstrings of every public name: sections that Sphinx reads (Google's style), and examples that run."""

import doctest
import inspect
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "docs/site"))
from public_names import CONSTANTS, ELSEWHERE, NO_EXAMPLE, SHARED, is_documented, public_names  # noqa: E402

NAMES = public_names()
DOCUMENTED = {name: value for name, value in NAMES.items() if is_documented(value)}
FUNCTIONS = [name for name, value in DOCUMENTED.items() if inspect.isfunction(value) or "Args:" in (inspect.getdoc(value) or "")]
EXAMPLES = [name for name in DOCUMENTED if name not in SHARED and name not in NO_EXAMPLE]
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Warns|Example):(.*)$", re.MULTILINE)
ORDER = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns", "Example")


def test_tables_name_public_names():
    """No row is left of a name that went, and every name without a docstring of its own has its sentence."""
    assert set(NAMES) - set(DOCUMENTED) == set(CONSTANTS)
    assert {*SHARED, *NO_EXAMPLE} <= set(DOCUMENTED) and set(SHARED.values()) <= set(EXAMPLES)
    assert not set(SHARED) & set(NO_EXAMPLE)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_has_a_docstring_of_its_own(name):
    """And so have the methods and properties that a class adds under public names."""
    value = DOCUMENTED[name]
    assert value.__doc__, name
    if not inspect.isclass(value):
        return
    inherited = {member for base in value.__mro__[1:] for member in vars(base)}
    own = [member for member in vars(value) if not member.startswith("_") and member not in inherited]
    assert [member for member in own if is_method(vars(value)[member]) and not inspect.getdoc(getattr(value, member))] == [], name


def is_method(member):
    return callable(member) or isinstance(member, (property, classmethod, staticmethod))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sections_are_those_that_sphinx_reads(name):
    """One of each at most, in one order, each alone in its line; every argument has its documentation, and errors are classes."""
    value = DOCUMENTED[name]
    doc = inspect.getdoc(value)
    found = [section for section, _ in SECTION.findall(doc)]
    assert found == sorted(set(found), key=ORDER.index)
    assert all(rest == "" for _, rest in SECTION.findall(doc))
    bodies = dict(zip(found, re.split(SECTION, doc)[3::3]))
    for row in re.findall(r"^ {4}(\S.*)$", bodies.get("Raises", ""), re.MULTILINE):
        assert re.match(r"[A-Z]\w+(, [A-Z]\w+)*: \S", row), row
    if any(name.startswith(module + ".") for module in ELSEWHERE) or not inspect.isfunction(value):
        return
    arguments = set(inspect.signature(value).parameters) - {"self"}
    named = {word.strip() for row in re.findall(r"^ {4}(\w[\w, ]*):", bodies.get("Args", ""), re.MULTILINE) for word in row.split(",")}
    assert arguments <= named
    assert {"Returns", "Yields"} & set(bodies) or inspect.signature(value).return_annotation in (None, "None")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch, capsys):
    """The last line of an example gives what the docstring shows, or nothing because it is a statement."""
    monkeypatch.chdir(tmp_path)
    before = dict(sys.modules)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(DOCUMENTED[name]), {}, name, None, None)
    assert example.examples, name
    assert not any(doctest.SKIP in one.options for one in example.examples), "a row of NO_EXAMPLE says why"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    try:
        assert runner.run(example).failed == 0, capsys.readouterr().out
    finally:
        if name == "octavo.torch.use_threads":
            DOCUMENTED[name]("torch")
        if name == "octavo.bnb.install":
            for given in [given for given in sys.modules if given.partition(".")[0] == "bitsandbytes"]:
                del sys.modules[given]
            sys.modules.update({given: module for given, module in before.items() if given.partition(".")[0] == "bitsandbytes"})
