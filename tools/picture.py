"""Draws docs/images/edgekit.svg, the picture of docs/CONCEPTS.md: from a model file to a program on a device.

python -m tools.picture
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

OUT = Path(__file__).parent.parent / "docs" / "images" / "edgekit.svg"
WIDTH, HEIGHT = 1120, 290
INK, SOFT, LINE = "#1b2733", "#5b6b7a", "#9fb0bf"
BOXES = (
    # x, y, width, height, fill, title, lines
    (
        20,
        96,
        150,
        120,
        "#eaf2fb",
        "model file",
        ("any nn.Module, .pt2,", ".onnx, .nir, checkpoints:", "a step with its states"),
    ),
    (
        210,
        96,
        150,
        120,
        "#eef7ec",
        "import",
        ("its states are found", "ATen, ONNX and NIR alike", "original replayed"),
    ),
    (
        400,
        96,
        150,
        120,
        "#fdf4e3",
        "one-step graph",
        ("(inputs, states) →", "(outputs, next states)", "spikes are a dtype"),
    ),
    (
        590,
        96,
        150,
        120,
        "#fbeeee",
        "passes",
        ("fold · fuse · w8", "event, sparse or dense,", "by weights and activity"),
    ),
    (
        780,
        96,
        150,
        120,
        "#f1eefb",
        "C, libc-free",
        ("caller-owned struct", "NEON · AVX2 · AVX-512", "init step run save restore"),
    ),
    (970, 96, 130, 120, "#e8f6f6", "model.edge", ("one file, hashed, or", ".onnx .tflite .nir,", "each one checked")),
)
NOTES = (
    (285, 262, "the original is replayed beside it"),
    (665, 262, "the numpy reference is the specification"),
    (1010, 262, "run it here or emulated"),
)


def _text(
    at: tuple[float, float], words: str, size: int, colour: str = SOFT, *, bold: bool = False, left: bool = False
) -> str:
    style = f'font-size="{size}" fill="{colour}" font-weight="{"bold" if bold else "normal"}"'
    anchor = "start" if left else "middle"
    return f'<text x="{at[0]}" y="{at[1]}" {style} text-anchor="{anchor}">{escape(words)}</text>'


def draw() -> str:
    """The picture as SVG text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(
            (20, 44),
            "edgekit: a trained model becomes a verified program for an edge device",
            22,
            INK,
            bold=True,
            left=True,
        ),
        _text((20, 70), "edgekit convert model.pt --target raspberrypi4", 15, left=True),
    ]
    for at, (x, y, w, h, fill, title, lines) in enumerate(BOXES):
        parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="10" fill="{fill}" stroke="{LINE}"/>')
        parts.append(_text((x + w / 2, y + 30), title, 15, INK, bold=True))
        parts += [_text((x + w / 2, y + 58 + 20 * i), line, 11) for i, line in enumerate(lines)]
        if at + 1 < len(BOXES):
            start, stop, middle = x + w + 6, BOXES[at + 1][0] - 8, y + h / 2
            arrow = f"M{start} {middle} H{stop} M{stop - 7} {middle - 5} L{stop} {middle} L{stop - 7} {middle + 5}"
            parts.append(f'<path d="{arrow}" fill="none" stroke="{INK}" stroke-width="2"/>')
    for x, y, words in NOTES:
        parts.append(f'<path d="M{x} 222 V{y - 16}" stroke="{LINE}" stroke-dasharray="3 3"/>')
        parts.append(_text((x, y), words, 12))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
    print(OUT)
