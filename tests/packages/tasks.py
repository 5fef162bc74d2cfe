# SPDX-License-Identifier: Apache-2.0
"""What tasks.toml has, from the pages of a tree: tasks.py TREE [FOLDER].

Prints for each task the words of what is read (code left out). With FOLDER also writes FOLDER/N.sh for each task: its
blocks in order, word by word, in one shell that stops at the first failure; a block of Python prints what its page shows.
"""

import re
import sys
import tomllib
from pathlib import Path
from shlex import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))
from check_commands import anchor  # noqa: E402

FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n(?:^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
MOST_WORDS = 400


def section(tree: Path, place: str) -> str:
    """The text below a heading, up to the next of its rank."""
    page, _, wanted = place.partition("#")
    lines, found, rank, in_code = (tree / page).read_text(encoding="utf-8").splitlines(keepends=True), [], 0, False
    for line in lines:
        in_code ^= line.startswith("```")
        heading = None if in_code else re.match(r"(#+) (.*)", line)
        if heading and rank and len(heading[1]) <= rank:
            break
        if heading and anchor(heading[2]) == wanted:
            rank = len(heading[1])
        elif rank:
            found.append(line)
    if not found:
        raise SystemExit(f"tasks.py: {place} must be a heading with text")
    return "".join(found)


def block(tree: Path, step: dict) -> tuple[str, str | None]:
    """Its text, and what it prints."""
    blocks = [(code, output or None) for language, code, output in FENCE.findall(section(tree, step["block"])) if language == step["language"]]
    number = step.get("number", 1)
    if len(blocks) < number:
        raise SystemExit(f"tasks.py: {step['block']} must have {number} blocks of {step['language']}; got {len(blocks)}")
    return blocks[number - 1]


def heredoc(text: str, file: str) -> str:
    return f"cat >{quote(file)} <<'END OF FILE'\n{text}END OF FILE\n"


def script(tree: Path, task: dict) -> str:
    lines = ["set -euo pipefail\n"]
    for number, step in enumerate(task["run"], 1):
        code, output = block(tree, step) if "block" in step else ((tree / step["file"]).read_text(encoding="utf-8"), None)
        if "to" in step:
            lines.append(heredoc(code, step["to"]))
        elif step["language"] == "python":
            lines += [heredoc(code, f"step{number}.py"), f"python step{number}.py >printed\n"]
            if output:
                lines += [heredoc(output, "shown"), "diff shown printed\n"]
        else:
            lines.append(code)
    if fails := task.get("fails"):
        code, _ = block(tree, fails)
        lines += [heredoc(code, "fails.py"), "! python fails.py 2>said\n", f"tail -n 1 said | tee /dev/stderr | grep -qE {quote(fails['with'])}\n"]
    return "".join(lines)


def words_read(tree: Path, task: dict) -> int:
    return sum(len(re.sub(r"^```.*?^```", "", section(tree, place), flags=re.MULTILINE | re.DOTALL).split()) for place in task["read"])


def main() -> int:
    tree = Path(sys.argv[1])
    tasks = tomllib.loads((Path(__file__).parent / "tasks.toml").read_text(encoding="utf-8"))["task"]
    counts = [words_read(tree, task) for task in tasks]
    for number, (task, count) in enumerate(zip(tasks, counts), 1):
        print(f"{number}  {count:3} words  {task['name']}: {', '.join(task['read'])}")
        text = script(tree, task)
        if len(sys.argv) > 2:
            (Path(sys.argv[2]) / f"{number}.sh").write_text(text, encoding="utf-8")
    if max(counts) > MOST_WORDS:
        print(f"tasks.py: a task must be read in {MOST_WORDS} words at most; got {max(counts)}")
    return 1 if max(counts) > MOST_WORDS else 0


if __name__ == "__main__":
    sys.exit(main())
