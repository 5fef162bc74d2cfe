# SPDX-License-Identifier: Apache-2.0
"""What is measured when nothing is named: files of shapes, and the options of their lines."""

from pathlib import Path

SHAPES = Path(__file__).resolve().parent / "shapes"

COLD, CODES, WARM = ("--cold",), ("--cold", "--no-float32"), ("--no-float32",)

# File of bench/shapes: options of `octavo bench`.
FILES: dict[str, tuple[str, ...]] = {
    "curve": COLD, "curve_fp8": CODES, "curve_bf16": CODES, "fp8": CODES, "pairs_block": ("--cold", "--no-peers"),
    "pairs_fused": ("--cold", "--no-peers"), "plain": CODES, "pairs_plain": ("--cold", "--no-peers"),
    "attention": WARM, "grouped": CODES, "quantize": (), "experts": (), "layers": WARM,
    "cold": CODES, "selection": WARM,
}


def shape_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
