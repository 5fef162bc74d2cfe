# SPDX-License-Identifier: Apache-2.0
"""Option structs of C++ and C, and C's flags."""

from table import wrapped


def cpp_fields(operation):
    lines = []
    for o in operation.options:
        if o.spelling.cpp:
            if o.doc:
                lines += wrapped(o.doc, "  /// ", 100)
            lines.append("  " + o.text(o.spelling.cpp))
    return lines


def c_comment(doc):
    return wrapped(f"/* {doc} */", "  ", 100, "   * ") if doc else []


def c_doc(o):
    """All zero is the default in C."""
    zero = {"infinity": "0: none", "token": "0: PER_TOKEN"}.get(o.default)
    if o.kind == "dtype" and o.default != "undefined":
        zero = f"undefined: {o.default}"
    return "; ".join(filter(None, (o.doc, zero)))


def is_small(o):
    """Whether its field in C has 4 bytes."""
    return bool(o.spelling.c) and o.spelling.c_size == 4 and "c" not in o.row


def has_flags(operation):
    """Whether C's struct has `flags`: for its bits, or to fill whole eights of bytes."""
    return bool(flags_of(operation)) or sum(map(is_small, operation.options)) % 2 == 1


def c_fields(operation):
    """Fields of 8 bytes, then those of 4, which fill whole eights: no size cuts a field."""
    lines, small = [], []
    for o in operation.options:
        declaration = o.row.get("c", o.spelling.c)
        if not declaration:
            continue
        to = small if is_small(o) else lines
        to += c_comment(c_doc(o)) + [f"  {line}" for line in o.text(declaration).splitlines()]
        if o.kind == "grid":
            lines.append("  int64_t rows, cols; /* of GROUP and BLOCK */")
    fours = sum(map(is_small, operation.options))
    if has_flags(operation):
        small += c_comment(", ".join(flags_of(operation)) or "none") + ["  uint32_t flags;"]
        fours += 1
    return lines + small + ["  uint32_t reserved;"] * (fours % 2)


def flags_of(operation):
    """The bits that C's `flags` of an operation take."""
    kinds = {"matmul": ["MATMUL_FLAGS"], "overflow": ["OVERFLOW_IEEE"],
             "non_finite": ["NON_FINITE_ERROR", "NON_FINITE_IGNORE"]}
    return [flag for o in operation.options
            for flag in ([o.text("{flag}")] if o.kind in ("flag", "subnormals") else kinds.get(o.kind, []))]


def flag_enumerators(flags, matmul):
    lines = []
    for bit, (name, doc) in enumerate(flags.items()):
        lines += c_comment(doc) + [f"  OCTAVO_{name} = 1 << {bit},"]
    every = " | ".join(f"OCTAVO_{flag}" for flag in flags_of(matmul))
    lines += ["  /* what every product takes */"]
    return lines + wrapped(every, "  OCTAVO_MATMUL_FLAGS = ", 100, " " * 24)
