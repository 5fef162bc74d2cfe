#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each fragment of a kernel file (*-inl.hpp) says in its head what it needs and what it gives:

    // Needs: Vec, Dot, kMaxRows
    // Gives: find_dot_tile

and this script holds it to that: it compiles kernel files with each fragment in a namespace of its own, into which
`using` declarations bring exactly the names that it needs, and from which they take exactly those that it gives. A name
that a fragment uses and does not need, gives and does not have, or has and does not give to whoever uses it, does not
compile. What a compiler looks up only where a template is used, and names that are needed in vain, tokens show.
Machines in plain C++ (tests/kernels) come first, so a fragment that knows no instruction set is compiled on the plain
vector type; Arm's need its cross compiler. Names of macros count; what stands in headers does not.

    python3 scripts/check_fragments.py [--self-test] [--arm] [FRAGMENT...]
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("src/backends/cpu/kernels", "tests/kernels")
INCLUDES = ("src", "include", "tests")
ARM_COMPILER = "aarch64-linux-gnu-g++"
INCLUDE = re.compile(r'#include "([^"]+-inl\.hpp)"')
NAMESPACE = re.compile(r"(?:inline )?namespace(?: ([\w:]+))? \{$")
NAMESPACE_END = re.compile(r"\}  // namespace")
KEYWORDS = frozenset("if for while switch return sizeof requires template using struct class namespace else do "
                     "case default constexpr static static_assert inline const auto typename noexcept defined".split())
GIVEN = "given"  # the namespace that stands for a kernel file's anonymous one


def code_of(text):
    """Without comments, strings and lines of includes."""
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.S)
    return re.sub(r"^#include.*$", "", text, flags=re.M)


def tokens_of(text):
    """Names that are not members of something: nothing stands before them that says where to look."""
    return {m[1] for m in re.finditer(r"(?<![\w.])(?<!->)(?<!::)([A-Za-z_]\w*)", code_of(text))}


def called_in(text):
    """Names that are looked up once more where a template is used: what looks like a call."""
    calls = re.finditer(r"(?<![\w.&])(?<!->)(?<!::)([A-Za-z_]\w*)(?:<[^;(){}]*?>)?\(", code_of(text))
    return {m[1] for m in calls} - KEYWORDS


def statements_of(text):
    """Declarations outside of all braces, without bodies and preprocessor lines."""
    around = re.compile(r"(?:\}  // )?namespace octavo|namespace \{|\}  // namespace$")
    text = "\n".join(line for line in text.splitlines() if not around.match(line))
    text = re.sub(r"^#(?:[^\n]*\\\n)*[^\n]*$", "", code_of(text), flags=re.M)
    out, head, depth = [], "", 0
    for symbol in re.findall(r"[{}();]|[^{}();]+", text):
        if symbol in ")}":
            depth -= 1
        if depth == 0 and symbol not in "{};":
            head += symbol
        if symbol in "({":
            depth += 1
        if depth == 0 and symbol in "};":
            # A body ends a declaration but where more of it follows: `= [] { .. }();`.
            if symbol == ";" or "=" not in without_angles(head):
                out.append(head)
                head = ""
    return out


def without_angles(text):
    """Without what stands between angle brackets."""
    while (less := re.sub(r"<[^<>=]*(?:=[^<>]*)?>", " ", text)) != text:
        text = less
    return text


def declared_in(text):
    """Names that a fragment declares, in no namespace of its own."""
    names = set()
    for head in statements_of(text):
        head = without_angles(head)
        head = re.sub(r"\boperator\W+|\b(?:template|inline|typename|OCTAVO_INLINE|OCTAVO_KERNEL|constexpr|static)\b"
                      r"|__attribute__ *\(+[^()]*\)*|alignas *\([^()]*\)|\[\[.*?\]\]", " ", head)
        head = re.sub(r"^\s*requires\b.*?(?=\b(?:struct|class|int|bool|void)\b)", " ", head, flags=re.S)
        kinds = r"(?:struct|class|enum class|enum|concept|using|namespace)"
        if found := re.match(rf"\s*{kinds}\s+(?!namespace\b)(\w+)", head):
            names.add(found[1])
        elif found := re.match(r"[^=]*?(\w+)\s*\(", head):
            names.add(found[1])
        else:
            for piece in head.split(","):
                if found := re.search(r"(\w+)\s*(?:\[[^]]*\]\s*)*$", piece.split("=")[0]):
                    names.add(found[1])
    return {name for name in names - KEYWORDS if not name[0].isdigit()}


class Fragment:
    def __init__(self, root, path):
        self.root, self.path = root, path
        self.text = (root / path).read_text()
        self.needs, self.gives = self.listed("Needs"), self.listed("Gives")
        # A kernel file without its head, in namespaces of its own: held to tokens alone.
        self.is_file = re.search(r"^namespace octavo", self.text, re.M) is not None

    def listed(self, word):
        """The names after a word in the head; None where it is not there. A comma at the end of a line goes on."""
        head = re.match(r"(?://[^\n]*\n)*", self.text)[0]
        found = re.search(rf"^// {word}:((?:.*,\n//)*.*)$", head, re.M)
        if not found:
            return None
        names = found[1].replace("//", " ").replace(",", " ").split()
        return [] if names == ["nothing"] else names


class KernelFile:
    """A kernel file with the fragments that it includes, and those that they include."""

    def __init__(self, root, path, fragments):
        self.root, self.path, self.fragments = root, path, fragments
        # (path, number, line, None); where a fragment begins (.., fragment), and where it ends the same without a line.
        self.events = []
        self.included = []
        self.expand(path, (root / path).read_text())
        self.is_arm = "/arm/" in path

    def expand(self, path, text):
        for number, line in enumerate(text.splitlines(), 1):
            found = INCLUDE.match(line)
            fragment = found and self.fragments.get(self.resolve(found[1]))
            self.events.append((path, number, line, fragment or None))
            if fragment:
                self.included.append(fragment)
                self.expand(fragment.path, fragment.text)
                self.events.append((path, number, None, fragment))

    def resolve(self, include):
        for folder in (pathlib.Path(self.path).parent, *map(pathlib.Path, INCLUDES)):
            if str(folder / include) in self.fragments:
                return str(folder / include)
        return None

    def own_text(self):
        return "\n".join(line for path, _, line, fragment in self.events if path == self.path and not fragment)

    def source(self):
        """The text that compiles every fragment alone."""
        out, scopes, outer = [], [], []
        # A kernel file may declare what a fragment defines further on.
        own = set(re.findall(r"^inline .*\b(\w+)\([^(){}]*\);$", self.own_text(), re.M))
        last = max(count for count, event in enumerate(self.events) if event[3] and not event[3].is_file)
        for count, (path, number, line, fragment) in enumerate(self.events):
            if fragment and fragment.is_file:
                continue
            if fragment and line is not None:
                alone = f"alone_{count}_{re.sub(r'[^a-z0-9]', '_', pathlib.Path(fragment.path).stem)}"
                here = "::".join(["", *scopes])
                out += ["}" * len(scopes), f"namespace {scopes[0]} {{ namespace {alone} {{",
                        *(self.brings(name, here) for name in fragment.needs or ()), f'#line 1 "{fragment.path}"']
                outer.append((scopes, [fragment]))
                scopes = [scopes[0], alone]
            elif fragment:
                alone, (scopes, givers) = "::".join(["", *scopes]), outer.pop()
                out += ["} }", " ".join(f"namespace {scope} {{" for scope in scopes)]
                # The fragment around it gives its names, too, if they are in no namespace of that one.
                if outer and len(scopes) == 2:
                    outer[-1][1].extend(givers)
                for giver in givers:
                    out += [self.brings(name, alone, giver) for name in giver.gives or () if name not in own]
                out.append(f'#line {number + 1} "{path}"')
            elif opened := NAMESPACE.match(line):
                name = opened[1] or GIVEN
                out.append(f"namespace {name} {{")
                # Names of the namespaces around are those of this, too, as they are to what stands in it.
                if len(scopes) > (not outer):
                    out.append(f"using namespace ::{'::'.join(scopes)};")
                out.append(f'#line {number + 1} "{path}"')
                scopes.append(name)
            else:
                if NAMESPACE_END.match(line):
                    closed, scopes = scopes[-1], scopes[:-1]
                    if closed == GIVEN and count > last:  # tables name what the anonymous namespace has
                        line = f"}} using namespace {GIVEN};"
                out.append(line)
        return "\n".join(out) + "\n"

    @staticmethod
    def brings(name, where, giver=None):
        """A declaration of a name from somewhere else."""
        if name.startswith("OCTAVO_"):
            return f'\n#ifndef {name}\n#error "{name} must be defined"\n#endif'
        if giver and re.search(rf"^namespace {name} {{", giver.text, re.M):
            return f"namespace {name} = {where}::{name};"
        return f"using {where}::{name};"


def read(root):
    paths = [str(path.relative_to(root)) for folder in FOLDERS for path in sorted((root / folder).rglob("*"))]
    fragments = {path: Fragment(root, path) for path in paths if path.endswith("-inl.hpp")}
    files = [KernelFile(root, path, fragments) for path in paths if path.endswith(".cpp")]
    return fragments, [file for file in files if file.included]


def words_wrong(fragments, files):
    """What tokens show."""
    given = {name for fragment in fragments.values() for name in fragment.gives or ()}
    own = {file.path: tokens_of(file.own_text()) for file in files}
    problems = []
    for fragment in fragments.values():
        if fragment.needs is None or fragment.gives is None:
            problems.append(f"{fragment.path}: its head must have a line '// Needs: ' and a line '// Gives: '")
            continue
        here, declared = tokens_of(fragment.text), declared_in(fragment.text)
        includes = [file for file in files if fragment in file.included]
        if not includes:
            problems.append(f"{fragment.path}: no kernel file includes it")
        nested = nested_of(fragment, fragments)
        provided = {name for other in nested for name in other.gives or ()}
        below = {name for other in nested for name in other.needs or ()}
        for name in fragment.needs:
            if name not in here | below:
                problems.append(f"{fragment.path}: Needs must list names that it uses; got {name}")
            if name not in given and not any(name in own[file.path] for file in includes):
                problems.append(f"{fragment.path}: Needs must list what something above it gives; got {name}")
        for name in sorted(called_in(fragment.text) & given - declared - provided - set(fragment.needs)):
            # But for members and local names.
            of_its_own = (rf"(?!return\b|else\b)\b\w+[>&\*]*\s+[\*&]*{name}(?:\(| = )|const \w+& {name}\b"
                          rf"|template {name}<")
            if not re.search(of_its_own, code_of(fragment.text)):
                problems.append(f"{fragment.path}: Needs must list every name that it uses; got none of {name}")
        if fragment.is_file:
            for name in fragment.gives:
                if name not in declared:
                    problems.append(f"{fragment.path}: Gives must list what it declares; got {name}")
    return problems


def nested_of(fragment, fragments):
    """The fragments that a fragment includes, and those that they include."""
    out = []
    for include in INCLUDE.findall(fragment.text):
        for folder in INCLUDES:
            if other := fragments.get(f"{folder}/{include}"):
                out += [other, *nested_of(other, fragments)]
    return out


def chosen(files, wanted):
    """[(file, fragments to compile there)]: machines in plain C++ first, then files that have most of what is left."""
    left, out = {fragment for fragment in wanted if not fragment.is_file}, []

    def worth(file):
        count = len(left & set(file.included))
        return count > 0 and file.path.endswith("plain_machine.cpp"), count, not file.is_arm, file.path

    while left:
        best = max(files, key=worth)
        here = left & set(best.included)
        if not here:
            break
        out.append((best, here))
        left -= here
    return out


def compile_alone(file, folder):
    """The compiler's errors."""
    source = pathlib.Path(folder) / (file.path.replace("/", "_"))
    source.write_text(file.source())
    compiler = [ARM_COMPILER] if file.is_arm else [os.environ.get("CXX", "g++")]
    sve = re.search(r"#define OCTAVO_SVE_BITS (\d+)", (file.root / file.path).read_text())
    command = [*compiler, "-std=c++20", "-fsyntax-only", "-w", "-fmax-errors=20", "-fdiagnostics-plain-output",
               *(["-march=armv8.2-a+sve", f"-msve-vector-bits={sve[1]}"] if sve else []),
               *(f"-I{file.root / include}" for include in INCLUDES), f"-I{(file.root / file.path).parent}",
               str(source)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode == 0:
        return []
    lines = [line for line in ran.stderr.splitlines() if "error:" in line] or ran.stderr.splitlines()[-5:]
    return [line.replace(f"{file.root}/", "").replace(str(source), file.path) for line in lines]


def check(root, only, arm):
    fragments, files = read(root)
    problems = words_wrong(fragments, files)
    told = [f for f in fragments.values() if f.needs is not None and f.gives is not None]
    wanted = [f for f in told if not only or f.path in only]
    jobs = chosen(files, wanted)
    skipped = [] if arm else [job for job in jobs if job[0].is_arm]
    jobs = [job for job in jobs if job not in skipped]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda job: compile_alone(job[0], folder), jobs):
            problems += found
    return problems, sum(len(here) for _, here in jobs), sum(len(here) for _, here in skipped)


def self_test():
    """A fragment in order passes, and each way to be out of order is found."""
    below = "backends/cpu/kernels"
    kernel = (f'namespace octavo::cpu {{\nnamespace {{\nstruct Vec {{}};\n#include "{below}/lower-inl.hpp"\n'
              f'#include "{below}/upper-inl.hpp"\nint use() {{ return upper(1); }}\n}}  // namespace\n'
              "}  // namespace octavo::cpu\n")
    lower = ("// Needs: nothing\n// Gives: load, kRows\ntemplate <class T>\nint load(T) { return 1; }\n"
             "constexpr int kRows = 2;\n")
    upper = ("// Needs: Vec, kRows,\n//        load\n// Gives: upper\ntemplate <class T>\n"
             "int upper(T x) { return kRows + load(x) + sizeof(Vec); }\n")
    needs = "Needs: Vec, kRows,\n//        load"
    cases = [  # lower, upper, what must be found
        (lower, upper, None),
        (lower, upper.replace(needs, "Needs: Vec, load"), "kRows"),
        (lower, upper.replace(needs, "Needs: Vec, kRows"), "load"),  # looked up where upper is used
        (lower, upper.replace(needs, "Needs: kRows, load"), "Vec"),
        (lower, upper.replace("load\n", "load, lower\n"), "lower"),
        (lower, upper.replace("Gives: upper", "Gives: upper, other"), "other"),
        (lower, upper.replace("// Gives: upper\n", ""), "Gives"),
        (lower.replace("load, kRows", "load"), upper, "kRows"),
        (lower, upper.replace("Gives: upper", "Gives: nothing"), "upper"),  # which the kernel file uses
    ]
    for case_lower, case_upper, word in cases:
        with tempfile.TemporaryDirectory() as folder:
            kernels = pathlib.Path(folder) / "src" / below
            kernels.mkdir(parents=True)
            for name, content in (("kernel.cpp", kernel), ("lower-inl.hpp", case_lower), ("upper-inl.hpp", case_upper)):
                (kernels / name).write_text(content)
            problems, _, _ = check(pathlib.Path(folder), [], False)
        if (word is None) != (not problems) or (word and not any(word in problem for problem in problems)):
            sys.exit(f"check_fragments: self-test: {word or 'nothing'} must be found in\n{case_lower}{case_upper}"
                     f"got {problems}")


def main():
    parser = argparse.ArgumentParser(description="Holds fragments of kernel files to their Needs and Gives.")
    parser.add_argument("--self-test", action="store_true", help="check this script, too")
    parser.add_argument("--arm", action="store_true", help=f"Arm's fragments, too, by {ARM_COMPILER}")
    parser.add_argument("fragments", nargs="*", help="paths to compile; default: all")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
    if arguments.arm and not shutil.which(ARM_COMPILER):
        sys.exit(f"check_fragments: --arm must have {ARM_COMPILER}; got none")
    problems, count, skipped = check(ROOT, arguments.fragments, arguments.arm)
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"check_fragments: {len(problems)} problems")
    print(f"check_fragments: {count} fragments compile with what they need"
          + (f"; {skipped} of Arm's want --arm" if skipped else ""))


if __name__ == "__main__":
    main()
