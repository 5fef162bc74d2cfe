# SPDX-License-Identifier: Apache-2.0
"""No code of a model's folder runs, and nobody is asked, unless the caller says trust_remote_code=True."""

import ast
import builtins
import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402
from octavo.evaluate import main  # noqa: E402

PACKAGE = Path(octavo.torch.__file__).parents[1]
CODE = """
import os
import transformers

open(os.environ["RAN"], "w").write(__file__)

class Config(transformers.LlamaConfig):
    model_type = "made_up"

class Model(transformers.LlamaForCausalLM):
    config_class = Config

class Tokenizer(transformers.PreTrainedTokenizerFast):
    pass

def generate(*arguments, **options):
    pass
"""
MAP = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoModelForCausalLM": "code.Model"}


def with_code(source, folder, kind):
    """A copy of a folder with code by which transformers may be asked to do something."""
    shutil.copytree(source, folder)
    (folder / "code.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    if kind in ("known type", "unknown type"):
        config["auto_map"] = MAP
    if kind == "unknown type":
        config |= {"model_type": "made_up", "architectures": ["MadeUp"]}
    (folder / "config.json").write_text(json.dumps(config))
    if kind == "tokenizer":
        declared = {"tokenizer_class": "MadeUp", "auto_map": {"AutoTokenizer": ["code.Tokenizer", "code.Tokenizer"]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    if kind == "generation":
        (folder / "custom_generate").mkdir()
        shutil.move(folder / "code.py", folder / "custom_generate" / "generate.py")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """(a quantised folder, its float folder)."""
    base = tmp_path_factory.mktemp("plain")
    model = small.made(small.llama)
    model.save_pretrained(base / "float")
    octavo.torch.quantize_(model)
    model.save_pretrained(base / "int8")
    return base / "int8", base / "float"


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """What the code writes; nobody answers a question."""

    def refuse(*question):
        pytest.fail(f"somebody was asked: {question}")  # no Exception: transformers would take that for an answer

    monkeypatch.setattr(builtins, "input", refuse)
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "ran"


# What is called with (quantised folder, float folder), and whether the code is in the first.
CALLS = {
    "from_pretrained": (lambda q, f, **o: octavo.torch.from_pretrained(q, **o), True),
    "from_pretrained of a class": (
        lambda q, f, **o: octavo.torch.from_pretrained(q, model_class=transformers.AutoModelForCausalLM, **o), True),
    "evaluate": (lambda q, f, **o: octavo.torch.evaluate(q, f, small.tokens(), **o), True),
    "evaluate against": (lambda q, f, **o: octavo.torch.evaluate(q, f, ["some words"], **o), False),
}


@pytest.mark.parametrize("kind", ["known type", "unknown type", "tokenizer", "generation"])
@pytest.mark.parametrize("name", CALLS)
def test_code_of_a_folder_does_not_run(plain, ran, tmp_path, kind, name):
    call, in_first = CALLS[name]
    folders = list(plain)
    folders[not in_first] = with_code(plain[not in_first], tmp_path / "hostile", kind)
    try:
        call(*folders)
    except (ValueError, OSError, KeyError) as error:  # transformers' own sentence of what is missing
        assert str(error)
    assert not ran.exists()


def test_the_command_does_not_run_it(plain, ran, tmp_path, capsys):
    hostile = with_code(plain[0], tmp_path / "hostile", "unknown type")
    (tmp_path / "text").write_text("some words")
    words = [str(hostile), "--against", str(plain[1]), "--text", str(tmp_path / "text")]
    assert main(words) == 1 and "trust_remote_code=True" in capsys.readouterr().err
    assert not ran.exists()
    main([*words, "--trust-remote-code"])
    assert ran.exists()


@pytest.mark.parametrize("kind", ["unknown type", "generation"])
def test_it_runs_where_the_caller_says_so(plain, ran, tmp_path, kind):
    octavo.torch.from_pretrained(with_code(plain[0], tmp_path / "trusted", kind), trust_remote_code=True)
    assert ran.exists()


def test_every_call_of_transformers_says_whether_code_may_run():
    calls = [(path.name, node) for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "from_pretrained"]
    assert len(calls) >= 5
    for name, call in calls:
        assert "trust_remote_code" in [keyword.arg for keyword in call.keywords], f"{name}:{call.lineno}"
