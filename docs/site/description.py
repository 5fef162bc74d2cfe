# SPDX-License-Identifier: Apache-2.0
"""What Doxygen's XML says of a declaration, as reStructuredText."""

from collections.abc import Callable
from xml.etree.ElementTree import Element

# A reference's number and text to what stands for it in the page.
Refer = Callable[[str, str], str]


def literal(text: str) -> str:
    return f"``{text}``" if text.strip() else text


def escaped(text: str) -> str:
    for mark in "\\*`|_":
        text = text.replace(mark, "\\" + mark)
    return text


def joined(parts: list[str]) -> str:
    """Marked words stand apart from letters around them by an empty escape."""
    text = ""
    for part in parts:
        marked, open_ = part[:1] in "`*:" and part[1:2] != " ", text[-1:] in "`*"
        if text and part and ((marked and not text[-1].isspace()) or (open_ and not part[0].isspace())):
            text += "\\ "
        text += part
    return text


def inline(node: Element, refer: Refer) -> str:
    parts = [escaped(node.text or "")]
    for child in node:
        if child.tag == "computeroutput":
            parts.append(literal("".join(child.itertext())))
        elif child.tag == "ref":
            parts.append(refer(child.get("refid", ""), "".join(child.itertext())))
        elif child.tag in ("emphasis", "bold"):
            mark = "*" if child.tag == "emphasis" else "**"
            parts.append(f"{mark}{escaped(''.join(child.itertext()))}{mark}")
        elif child.tag == "ulink":
            parts.append(f"`{''.join(child.itertext())} <{child.get('url')}>`__")
        elif child.tag == "linebreak":
            parts.append(" ")
        elif child.tag in MARKS:
            parts.append(MARKS[child.tag])
        elif child.tag not in BLOCKS:
            raise ValueError(f"description: the element must be one of those that are known; got {child.tag}")
        parts.append(escaped(child.tail or ""))
    return joined([part for part in parts if part])


MARKS = {"ndash": "--", "mdash": "---", "nonbreakablespace": " ", "lsquo": "'", "rsquo": "'"}


def indented(lines: list[str], by: str) -> list[str]:
    return [by + line if line else "" for line in lines]


def listed(node: Element, refer: Refer) -> list[str]:
    mark = "- " if node.tag == "itemizedlist" else "#. "
    lines: list[str] = []
    for item in node:
        body = description(item, refer)
        while body and not body[-1]:
            body.pop()
        lines += [mark + body[0], *indented(body[1:], " " * len(mark))] if body else []
    return [*lines, ""]


def table(node: Element, refer: Refer) -> list[str]:
    lines = [".. list-table::", *(["   :header-rows: 1"] if node.find("row/entry[@thead='yes']") is not None else []), ""]
    for row in node.iter("row"):
        for i, entry in enumerate(row):
            text = " ".join(inline(para, refer) for para in entry)
            lines.append(("   * - " if i == 0 else "     - ") + text)
    return [*lines, ""]


def section(node: Element, refer: Refer) -> list[str]:
    title = node.findtext("title") or node.get("kind", "").capitalize()
    body = [line for child in node if child.tag == "para" for line in description_of_para(child, refer)]
    return [f"**{title}.** {body[0]}", *body[1:]] if body else []


def parameters(node: Element, refer: Refer) -> list[str]:
    return [f"``{''.join(item.find('parameternamelist').itertext()).strip()}``: "  # type: ignore[union-attr]
            + " ".join(description(item.find("parameterdescription"), refer)) for item in node] + [""]  # type: ignore[arg-type]


def code(node: Element, _: Refer) -> list[str]:
    def text(part: Element) -> str:
        return (part.text or "") + "".join((" " if child.tag == "sp" else text(child)) + (child.tail or "") for child in part)

    lines = [text(line) for line in node.iter("codeline")] if node.tag == "programlisting" else (node.text or "").split("\n")
    return [".. code-block:: " + ("cpp" if node.tag == "programlisting" else "text"), "", *indented(lines, "   "), ""]


BLOCKS: dict[str, Callable[[Element, Refer], list[str]]] = {
    "itemizedlist": listed, "orderedlist": listed, "table": table, "simplesect": section, "parameterlist": parameters,
    "programlisting": code, "verbatim": code}


def description_of_para(para: Element, refer: Refer) -> list[str]:
    """A paragraph, and the blocks that stand in it, in their order."""
    lines: list[str] = []
    run = Element("para")
    run.text = para.text

    def close() -> None:
        words = " ".join(inline(run, refer).split())
        lines.extend([words, ""] if words else [])

    for child in para:
        if child.tag in BLOCKS:
            close()
            lines.extend(BLOCKS[child.tag](child, refer))
            run = Element("para")
            run.text = child.tail
        else:
            run.append(child)
    close()
    return lines


def description(node: Element | None, refer: Refer) -> list[str]:
    return [] if node is None else [line for para in node if para.tag == "para" for line in description_of_para(para, refer)]
