#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_cli.py REPOSITORY OCTAVO_PROGRAM

docs/cli.md has a section for each command. Sessions of docs/cli.md and docs/quickstart.md: commands are run, in a folder that
holds the model which the page names, and print what the page shows. `octavo schemes` has the losses of docs/accuracy.md, and
docs/schemes.md the figures of `octavo schemes`.
Exit status 1 and what differs, if something does.
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cli"))
from float_file import write  # noqa: E402

LAYERS = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
SIZES = {"mlp.up_proj": (192, 64), "mlp.down_proj": (64, 192)}


def make_model(folder: Path) -> None:
    """The folder `tiny` of the session: a Llama's names, numbers by a formula."""
    folder.mkdir()
    tensors = {"model.embed_tokens.weight": ([96, 64], [math.sin(i) for i in range(96 * 64)]),
               "model.norm.weight": ([64], [1.0] * 64)}
    for block in range(2):
        for number, layer in enumerate(LAYERS):
            n, k = SIZES.get(layer, (64, 64))
            values = [math.sin(i * 0.7 + block + number) for i in range(n * k)]
            tensors[f"model.layers.{block}.{layer}.weight"] = ([n, k], values)
    write(folder / "model.safetensors", tensors, {"format": "pt"})
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}\n')


def run(program: str, words: str, folder: Path) -> str:
    env = {**os.environ, "PATH": f"{Path(program).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", f"{words} 2>&1"], cwd=folder, env=env, capture_output=True, text=True)
    return done.stdout


def check_session(file: Path, program: str) -> bool:
    page, name = file.read_text(), f"docs/{file.name}"
    session = re.search(r"```console\n(.*?)```", page, re.DOTALL)
    commands = re.findall(r"^\$ (.*)\n((?:[^$\n].*\n|\n)*)", session[1], re.MULTILINE) if session else []
    if len(commands) < 5:
        print(f"{name}: must show a session of 5 commands at least; got {len(commands)}")
        return False
    good = True
    with tempfile.TemporaryDirectory() as held:
        make_model(Path(held) / "tiny")
        for words, shown in commands:
            printed = run(program, words, Path(held))
            left, right = shown.rstrip("\n").splitlines(), printed.rstrip("\n").splitlines()
            if left != right:
                print(f"{name}: `{words}` must show what it prints:\n{printed}")
                good = False
    return good


def check_sections(page: str, program: str) -> bool:
    script = subprocess.run([program, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^    (?!help)(\w+)\) words=", script, re.MULTILINE)
    sections = re.findall(r"^## octavo (\w+)", page, re.MULTILINE)
    missing = [name for name in commands if name not in sections and name != "completion"]
    unknown = [name for name in sections if name not in commands]
    for name in missing:
        print(f"docs/cli.md: must have a section `## octavo {name}`; it has none")
    for name in unknown:
        print(f"docs/cli.md: has a section of octavo {name}, which is no command")
    return bool(commands) and not missing and not unknown


def check_losses(accuracy: str, program: str) -> bool:
    printed = subprocess.run([program, "schemes", "--json"], capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in accuracy.splitlines() if line.startswith("| ")]
    losses = {row[0].replace(" weight-only", "-weight-only"): row[4].split()[0]
              for row in rows if len(row) == 8 and row[2] == "no"}
    good = True
    for line in printed.splitlines():
        row = json.loads(line)
        if f"{row['loss_nats']:+.4f}" != losses.get(row["name"]):
            print(f"octavo schemes: the loss of {row['name']} must be that of docs/accuracy.md; got {row['loss_nats']} "
                  f"for {losses.get(row['name'])}")
            good = False
    return good


def check_schemes(page: str, program: str) -> bool:
    printed = subprocess.run([program, "schemes", "--json"], capture_output=True, text=True, check=True).stdout
    shown = [tuple(cell.strip(" `") for cell in line.split("|")[1:7]) for line in page.splitlines() if line.startswith("| `")]
    real = [(row["name"], row["weight"], row["activations"], f"{8 * row['bytes_per_weight']:.3f}", f"{row['loss_nats']:+.4f}", row["loaders"])
            for row in map(json.loads, printed.splitlines())]
    for left, right in zip(shown, real):
        if left != right:
            print(f"docs/schemes.md: a row must be that of octavo schemes, {right}; got {left}")
    if len(shown) != len(real):
        print(f"docs/schemes.md: must have a row for each of {len(real)} schemes; got {len(shown)}")
    return shown == real


def main(repository: Path, program: str) -> int:
    docs = repository / "docs"
    checks = [check_session(docs / "cli.md", program), check_session(docs / "quickstart.md", program),
              check_sections((docs / "cli.md").read_text(), program),
              check_losses((docs / "accuracy.md").read_text(), program),
              check_schemes((docs / "schemes.md").read_text(), program)]
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), str(Path(sys.argv[2]).resolve())))
