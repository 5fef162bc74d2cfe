# SPDX-License-Identifier: Apache-2.0
"""The public declarations of include/octavo by Doxygen: name, text, documentation, place.

Public is what a header declares outside `detail`, without OCTAVO_INTERNAL_API, a private section or a name that ends in an
underscore. A comment above a field stands for the fields below it, too, up to an empty line or the next comment; that of a function for
its overloads.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from description import description

SETTINGS = {
    "PROJECT_NAME": "Octavo", "RECURSIVE": "YES", "FILE_PATTERNS": "*.hpp *.h", "GENERATE_HTML": "NO", "GENERATE_LATEX": "NO",
    "GENERATE_XML": "YES", "XML_PROGRAMLISTING": "NO", "MACRO_EXPANSION": "YES", "EXPAND_ONLY_PREDEF": "YES",
    "PREDEFINED": '"OCTAVO_API=" "OCTAVO_C_API=" "OCTAVO_INTERNAL_API=not_public" "__cplusplus" "OCTAVO_INIT_FUNCTION_(type)=type type##_init(void)"',
    "QUIET": "YES", "WARNINGS": "YES", "WARN_IF_UNDOCUMENTED": "NO", "WARN_AS_ERROR": "NO", "EXTRACT_ALL": "YES",
    "TOC_INCLUDE_HEADINGS": "0", "SORT_MEMBER_DOCS": "NO", "ALIASES": '"labelled{1}=@par \\1^^" "thisfile=@file^^"', "FILTER_SOURCE_FILES": "YES",
    "EXCLUDE_SYMBOLS": "octavo::*detail* octavo::*detail::*", "JAVADOC_AUTOBRIEF": "NO"}


# Fields of C structs that mean the same everywhere.
C_FIELDS = {"struct_size": "``sizeof`` of the struct; the ``..._init()`` function sets it.", "reserved": "Must be 0."}

# And functions, by the end of their names.
C_FUNCTIONS = {"_init": "The struct with every field by default.", "_retain": "Adds a reference, and returns the handle.",
               "_release": "Gives a reference back; takes ``NULL``.", "_describe": "Fills a struct that its ``..._init()`` made."}


@dataclass
class Declaration:
    kind: str  # function, variable, typedef, enum, enumvalue, define, struct, class
    name: str  # octavo::Scale::kind
    text: str  # as it is declared
    file: str  # octavo/scale.hpp
    line: int
    last: int
    doc: list[str]
    inherited: bool = False  # the documentation is that of the declaration above
    children: list["Declaration"] = field(default_factory=list)

    def needs_none(self) -> bool:
        """What its class or type documents: enumerators, constructors, destructors, operators, overriding functions."""
        scope, _, name = self.name.rpartition("::")
        class_name = scope.rpartition("::")[2].partition("<")[0]
        return self.kind in ("enumvalue", "typedef") or (self.kind == "function" and (
            name == class_name or name.startswith(("~", "operator")) or "override" in self.text))

    def walk(self) -> Iterator["Declaration"]:
        yield self
        for child in self.children:
            yield from child.walk()


class Headers:
    """All declarations of a tree of headers, by file."""

    def __init__(self, include: Path, work: Path):
        self.include = include
        self.warnings = run_doxygen(include, work)
        xml = work / "xml"
        index = ElementTree.parse(xml / "index.xml").getroot()
        self.compounds = {compound.get("refid", ""): ElementTree.parse(xml / f"{compound.get('refid')}.xml").getroot()[0]
                          for compound in index}
        self.names: dict[str, tuple[str, str]] = {}  # by Doxygen's number: kind and name
        for number, compound in self.compounds.items():
            self.names[number] = (compound.get("kind", ""), compound.findtext("compoundname") or "")
            for member in compound.iter("memberdef"):
                self.names[member.get("id", "")] = (member.get("kind", ""), self.qualified(member, compound))
        self.lines = {path.relative_to(include).as_posix(): path.read_text(encoding="utf-8").split("\n")
                      for path in sorted(include.rglob("*.h*"))}
        self.files: dict[str, list[Declaration]] = {name: [] for name in self.lines}
        self.intros: dict[str, list[str]] = {}
        for compound in self.compounds.values():
            self.take(compound)
        for declarations in self.files.values():
            declarations.sort(key=lambda declaration: declaration.line)
            self.share(declarations)

    @staticmethod
    def qualified(member: Element, compound: Element) -> str:
        scope = compound.findtext("compoundname") or ""
        return f"{scope}::{member.findtext('name')}" if compound.get("kind") != "file" else member.findtext("name") or ""

    def refer(self, number: str, text: str) -> str:
        kind, name = self.names.get(number, ("", ""))
        if not name or kind == "file":
            return f"``{text}``"
        if "::" in name:
            return f":cpp:any:`{text} <{name}>`"
        roles = {"function": "func", "struct": "struct", "define": "macro", "typedef": "type", "enum": "enum", "enumvalue": "enumerator"}
        return f":c:{roles[kind]}:`{text} <{name}>`" if kind in roles else f"``{text}``"

    def take(self, compound: Element) -> None:
        """Of a file, a namespace or a class what stands there itself."""
        kind = compound.get("kind")
        if kind == "file":
            place = self.place(compound)[0]
            self.intros[place] = self.documentation(compound)
        if kind in ("namespace", "file"):
            for member in compound.findall("sectiondef/memberdef"):
                if kind == "file" and self.place(member)[0].endswith(".hpp"):
                    continue  # those stand in their namespace
                if declaration := self.member(member, compound):
                    self.files[declaration.file].append(declaration)
        if kind in ("struct", "class") and not self.outer(compound) and (declaration := self.compound(compound)):
            self.files[declaration.file].append(declaration)

    def outer(self, compound: Element) -> bool:
        scope = (compound.findtext("compoundname") or "").rpartition("::")[0]
        return any(other.get("kind") in ("struct", "class") and other.findtext("compoundname") == scope for other in self.compounds.values())

    def place(self, node: Element) -> tuple[str, int, int]:
        location = node.find("location")
        assert location is not None
        file = Path(location.get("declfile") or location.get("file") or "")
        line = int(location.get("declline") or location.get("line") or "0")
        last = int(location.get("bodyend") or 0) if location.get("bodyfile") else 0
        return (file.relative_to(self.include).as_posix() if file.is_absolute() else file.as_posix()), line, max(line, last)

    def documentation(self, node: Element) -> list[str]:
        return description(node.find("briefdescription"), self.refer) + description(node.find("detaileddescription"), self.refer)

    def compound(self, compound: Element) -> Declaration | None:
        if compound.get("prot") == "private":
            return None
        name = compound.findtext("compoundname") or ""
        file, line, last = self.place(compound)
        text = template(compound) + name
        bases = [base.text or "" for base in compound.findall("basecompoundref") if base.get("prot") == "public"]
        found = Declaration(compound.get("kind", ""), name, text + (f" : public {', public '.join(bases)}" if bases else ""), file, line,
                            last, self.documentation(compound))
        for member in compound.findall("sectiondef/memberdef"):
            if declaration := self.member(member, compound):
                found.children.append(declaration)
        for inner in compound.findall("innerclass"):
            if declaration := self.compound(self.compounds[inner.get("refid", "")]):
                found.children.append(declaration)
        found.children.sort(key=lambda child: child.line)
        self.share(found.children)
        return found

    def member(self, member: Element, compound: Element) -> Declaration | None:
        kind, name = member.get("kind", ""), member.findtext("name") or ""
        definition = f"{member.findtext('type')} {member.findtext('definition')}"
        if member.get("prot") == "private" or kind == "friend" or name.endswith("_") or "not_public" in definition:
            return None
        file, line, last = self.place(member)
        lines = self.lines[file]
        if kind == "function":
            last = next(i for i in range(line, len(lines) + 1) if re.search(r"[;}]\s*(/[/*].*)?$", lines[i - 1])) if last <= line else last
        if kind == "variable":
            while last < len(lines) and not re.search(r"[;}]\s*(/[/*].*)?$", lines[last - 1]):
                last += 1
        kind = "enum class" if kind == "enum" and member.get("strong") == "yes" else kind
        found = Declaration(kind, self.qualified(member, compound), spelled(member, compound), file, line, last, self.documentation(member))
        for value in member.findall("enumvalue"):
            found.children.append(Declaration("enumvalue", f"{found.name}::{value.findtext('name')}" if compound.get("kind") != "file"
                                              else value.findtext("name") or "", f"{value.findtext('name')}", file, line, last,
                                              self.documentation(value)))
        return found

    def undocumented(self) -> list[str]:
        """A sentence for each declaration without documentation; enumerators may leave it to their type."""
        return [f"include/{declaration.file}:{declaration.line}: {declaration.name} must have a comment"
                for declarations in self.files.values() for top in declarations for declaration in top.walk()
                if not declaration.doc and not declaration.needs_none()]

    def broken_tables(self) -> list[str]:
        """A sentence for each comment whose table Doxygen took for text: a row has other cells than its head."""
        return [f"include/{declaration.file}:{declaration.line}: the table of {declaration.name} must have as many cells in every row"
                for declarations in self.files.values() for top in declarations for declaration in top.walk()
                if any(line.startswith("\\| ") for line in declaration.doc)]

    def by_rule(self, declaration: Declaration) -> list[str]:
        """What a rule says of a name that has no comment of its own."""
        name = declaration.name.rpartition("::")[2]
        if declaration.file.endswith(".h") and name in C_FIELDS:
            return [C_FIELDS[name], ""]
        if declaration.file.endswith(".h") and declaration.kind == "function":
            return next(([text, ""] for end, text in C_FUNCTIONS.items() if name.endswith(end)), [])
        return []

    def share(self, declarations: list[Declaration]) -> None:
        """Gives a declaration without a comment that of the declaration above, where neither line nor comment is between."""
        for above, below in reversed(list(zip(declarations, declarations[1:]))):  # `int a, b;  ///< text` is b's to Doxygen
            if not above.doc and below.doc and above.kind == "variable" and (above.file, above.line) == (below.file, below.line):
                above.doc, below.inherited = below.doc, True
        for above, below in zip(declarations, declarations[1:]):
            if not below.doc and above.doc and above.file == below.file and self.one_comment(above, below):
                below.doc, below.inherited = above.doc, True
        for declaration in declarations:
            declaration.doc = declaration.doc or self.by_rule(declaration)

    def one_comment(self, above: Declaration, below: Declaration) -> bool:
        """Whether the comment of a declaration is that of the next, too: fields below a comment, and overloads."""
        lines = self.lines[below.file]
        between = lines[above.last:below.line - 1]
        if any(not line.strip() or line.lstrip().startswith(("//", "/*")) for line in between):
            return False
        if (above.kind, below.kind) == ("function", "function"):
            return above.name == below.name
        if (above.kind, below.kind) != ("variable", "variable"):
            return False
        behind = "///<" in lines[above.line - 1] or re.search(r";\s*/\*", lines[above.line - 1])
        return above.line == below.line or not behind


def template(node: Element) -> str:
    parameters = node.find("templateparamlist")
    if parameters is None:
        return ""
    words = []
    for parameter in parameters:
        name = parameter.findtext("declname") or ""
        default = parameter.find("defval")
        words.append(" ".join([text_of(parameter.find("type")), name]).strip() + (f" = {text_of(default)}" if default is not None else ""))
    requires = text_of(node.find("requiresclause"))
    return f"template<{', '.join(words)}> " + (f"requires {requires} " if requires else "")


def text_of(node: Element | None) -> str:
    return "" if node is None else "".join(node.itertext())


def spelled(member: Element, compound: Element) -> str:
    """The declaration without its body and attributes."""
    kind = member.get("kind")
    if kind == "define":
        return (member.findtext("name") or "") + text_of(member.find("argsstring"))
    if kind == "enum":
        return (member.findtext("qualifiedname") or member.findtext("name") or "")
    definition = member.findtext("definition") or ""
    arguments = member.findtext("argsstring") or ""
    arguments = re.sub(r"\s*=\s*(default|delete)$", "", arguments) if kind == "function" else arguments
    text = template(member) + definition + arguments
    if arguments.startswith(")"):  # a pointer to a function
        text = f"{text_of(member.find('type'))} {member.findtext('name')}{arguments}"
    if kind == "variable" and (value := text_of(member.find("initializer"))) and len(value) < 60 and "\n" not in value:
        text += " " + value if value.startswith("=") else value
    if kind == "function" and member.get("explicit") == "yes":
        text = text.removeprefix("explicit ")
    return " ".join(text.split())


def run_doxygen(include: Path, work: Path) -> list[str]:
    work.mkdir(parents=True, exist_ok=True)
    filter_ = Path(__file__).with_name("header_filter.py")
    settings = {**SETTINGS, "INPUT": include / "octavo", "OUTPUT_DIRECTORY": work, "STRIP_FROM_PATH": include,
                "INPUT_FILTER": f'"{sys.executable} -S {filter_}"', "WARN_LOGFILE": work / "warnings"}
    (work / "Doxyfile").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()), encoding="utf-8")
    subprocess.run(["doxygen", work / "Doxyfile"], check=True)
    return (work / "warnings").read_text(encoding="utf-8").splitlines()
