"""docs/DENSITY.md and its picture: instructions against density, of products and of the HAR L2MU, core by core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.artifact.atomic import write_atomic
from edgekit.backends.c.integer import flavour_of
from edgekit.backends.c.integer.densities import DENSITIES
from edgekit.ir.blocks import BLOCKS, Block
from tools.density_counts import CORES, TILE, Case, Core, Counted, count, is_here
from tools.density_l2mu import KINDS, Point, curve, l2mu

DOCS = Path(__file__).parent.parent / "docs"
SHOWN: Mapping[str, Core] = {
    "dsp": CORES["dsp"][0],
    "mve": CORES["mve"][0],
    "neon": CORES["neon"][0],
    "vnni": CORES["vnni"][0],
}
FORMS = {"x8_w8": "int8 · int8", "x16_w8": "int16 · int8", "x16_w16": "int16 · int16", "event_w8": "spikes · int8"}
LENGTH, SHARES = 128, (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
COLOURS = ("#0b6e99", "#c8553d", "#5a8f29", "#7b4fa3")


def products(simd: str, core: Core) -> dict[str, list[Counted]]:
    """By form: products in the blocks that the instruction set likes best, at every share."""
    found = {}
    for form in FORMS:
        tiled = flavour_of(simd).name == "wide" and not form.startswith("event")
        bits = 16 if form.startswith("event") else 32
        cases = [Case(flavour_of(simd), form + TILE * tiled, bits, LENGTH, share) for share in SHARES]
        found[form] = count(cases, core)
    return found


def scattered(simd: str, core: Core) -> dict[str, list[Counted]]:
    """By form: products of weights of which so many are not zero, anywhere."""
    cases = {f: 16 if f.startswith("event") else 32 for f in FORMS}
    every = (
        [Case(flavour_of(simd), f, bits, LENGTH, share, scattered=True) for share in SHARES[:5]]
        for f, bits in cases.items()
    )
    return {part[0].form: count(part, core) for part in every}


def write_page(say: Callable[[str], None]) -> None:
    """Count everything, then write the page and the picture."""
    shown = {simd: core for simd, core in SHOWN.items() if is_here(core)}
    blocks, single, windows = {}, {}, {}
    model = l2mu()
    for simd, core in shown.items():
        say(f"products on {core.name}")
        blocks[simd], single[simd] = products(simd, core), scattered(simd, core)
        say(f"L2MU on {core.name}")
        windows[simd] = curve(model, simd, core)
    text = "\n".join([*_head(), *_products(shown, blocks, single), *_thresholds(), *_l2mu(shown, windows)]) + "\n"
    write_atomic(DOCS / "DENSITY.md", text.encode())
    draw(shown, blocks, windows, DOCS / "images" / "density.svg")


WRITTEN = """
Written by `python -m tools.densities --page`, the table of the compiler by `python -m tools.densities --table`.
Emulated: counted exactly on the core; x86: counted on the computer that wrote this page, instruction by instruction.
Every form gives the bytes of the numpy reference (`tests/conformance/test_c_blocks.py`).
"""
WHAT = """
A matrix whose weights are zero but for blocks is kept as its blocks and where each begins. A kernel of blocks takes
more instructions for a weight than a dense one, so that blocks have to cover little enough of the matrix.
`edgekit convert` looks that up in the measured table below and takes the shorter form. Zeros that no form profits from
cost nothing and gain nothing.
"""
BALANCED = """
Over spikes a neuron that fires adds its row of outputs: of that, blocks along outputs are skipped. Where every row
keeps as many blocks, a step costs as little whichever neurons fire.
"""
PRODUCT = f"""
Instructions of one product of 32 outputs and {LENGTH} inputs; over spikes, of {LENGTH} outputs and 32 neurons, of which
4 fire. *Whole* is the dense form, of all the weights.
"""
FROM_WHICH = """
The table of the compiler: how much of a matrix blocks may cover, by the length of a row. Where an instruction set has
several cores it is what holds on all of them, over spikes for sums of 16 and of 32 bits. A *tile* is 8 × 4 int8 or
8 × 2 int16 weights; 0 means never.
"""
WINDOW = """
The HAR L2MU of split B (`examples/har/checkpoints/l2mu_B.pt`), int8, 40 steps a window, mean over four windows of
test subjects, on x86 the first of them. Masks by magnitude, of every row the same share, nothing tuned afterwards:
neurons fire more or less often with the weights that are left, which is part of the count and stands beside it.
*Units*: memory orders that hardly fire, then hidden neurons and memory channels; *units and blocks*: half of the way
(in logarithms) by each.
"""


def _head() -> list[str]:
    return [
        "# Density: what zeros are worth",
        WRITTEN,
        WHAT.strip(),
        "",
        "![Instructions against the share of weights that blocks cover, four cores](images/density.svg)",
        "",
        "## Blocks",
        "",
        "What each instruction set skips best, outputs × inputs (`edgekit.ir.blocks.block_for`):",
        "",
        "| instruction set | over numbers | over spikes |",
        "|---|---|---|",
        *(f"| {simd} | {_size(numbers)} | {_size(spikes)} |" for simd, (numbers, spikes) in BLOCKS.items()),
        BALANCED,
    ]


def _size(block: Block) -> str:
    return f"{block.outputs} × {block.inputs}"


def _products(
    shown: Mapping[str, Core],
    blocks: Mapping[str, Mapping[str, Sequence[Counted]]],
    single: Mapping[str, Mapping[str, Sequence[Counted]]],
) -> list[str]:
    lines = ["## A product", PRODUCT]
    for title, found, width in (
        ("In blocks, which cover", blocks, 7),
        ("Weights anywhere, of which are left", single, 5),
    ):
        lines += [
            f"| core | x · w | whole | {' | '.join(f'{share:.0%}' for share in SHARES[:width])} |",
            f"|---|---|---:|{'---:|' * width}",
        ]
        for simd, core in shown.items():
            for form, counted in found[simd].items():
                cells = [f"{c.blocks:,}" for c in counted]
                cells += ["–"] * (width - len(cells))
                lines.append(f"| {core.name} | {FORMS[form]} | {counted[0].whole:,} | {' | '.join(cells)} |")
        lines += ["", f"*{title} so much of the matrix.*", ""]
    return lines


def _thresholds() -> list[str]:
    lines = ["## From which density on", FROM_WHICH]
    for simd, forms in DENSITIES.items():
        lengths = sorted({n for by_length in forms.values() for n in by_length})
        lines += [f"| {simd} | {' | '.join(map(str, lengths))} |", f"|---|{'---:|' * len(lengths)}"]
        for form, by_length in forms.items():
            cells = [f"{by_length[n]:.2f}" if n in by_length else "–" for n in lengths]
            lines.append(f"| {form.replace('_', ' ')} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _l2mu(shown: Mapping[str, Core], windows: Mapping[str, Sequence[Point]]) -> list[str]:
    lines = ["## L2MU, window by window", WINDOW]
    for simd, core in shown.items():
        points = windows[simd]
        whole = points[0]
        lines += [
            f"**{core.name}**: {whole.instructions:,.0f} instructions a window; {whole.fired:.0f} fire in a step.",
            "",
            "| weights left | " + " | ".join(KINDS) + " |",
            "|---:|" + "---:|" * len(KINDS),
        ]
        by_kind = {kind: [p for p in points if p.kind == kind] for kind in KINDS}
        for row in zip(*by_kind.values(), strict=True):
            cells = [
                f"{p.instructions:,.0f}, {p.instructions / whole.instructions:.0%} ({p.fired:.0f} fire)" for p in row
            ]
            lines.append(f"| {row[0].density:.0%} | {' | '.join(cells)} |")
        best = min((p for p in points if p.density <= LEFT), key=lambda p: p.instructions)
        said = "met" if best.instructions <= whole.instructions / 2 else "missed"
        lines += [
            "",
            f"Half of the whole one's instructions with at least 80 % of the weights gone: {said}, "
            f"{best.instructions / whole.instructions:.0%} by {best.kind}.",
            "",
        ]
    return lines


LEFT = 0.21  # of the weights, to the nearest unit


def draw(
    shown: Mapping[str, Core],
    blocks: Mapping[str, Mapping[str, Sequence[Counted]]],
    windows: Mapping[str, Sequence[Point]],
    path: Path,
) -> None:
    """Two rows of panels, one for each core: products, and windows of the L2MU."""
    import altair as alt
    import vl_convert

    upper: list[dict[str, Any]] = [
        {"core": core.name, "what": FORMS[form], "x": c.case.coverage, "y": c.blocks / c.whole}
        for simd, core in shown.items()
        for form, counted in blocks[simd].items()
        for c in counted
    ]
    lower: list[dict[str, Any]] = [
        {"core": core.name, "what": p.kind, "x": p.density, "y": p.instructions / windows[simd][0].instructions}
        for simd, core in shown.items()
        for p in windows[simd][1:]
    ]

    def panel(rows: list[dict[str, Any]], core: str, label: str, top: float) -> Any:
        here = [row for row in rows if row["core"] == core]
        x = alt.X("x:Q", title=label, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
        y = alt.Y(
            "y:Q", title="of the whole one", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, top], clamp=True)
        )
        colour = alt.Color("what:N", title=None, scale=alt.Scale(range=COLOURS), legend=alt.Legend(orient="bottom"))
        base = alt.Chart(alt.Data(values=here)).encode(x=x, y=y, color=colour)
        one = alt.Chart(alt.Data(values=[{"y": 1}])).mark_rule(strokeDash=[4, 4], color="#888").encode(y="y:Q")
        lines = base.mark_line(clip=True) + base.mark_point(filled=True, size=36, clip=True)
        return (lines + one).properties(width=190, height=170, title=core)

    names = [core.name for core in shown.values()]
    rows = (
        alt.hconcat(*(panel(upper, name, "covered by blocks", 2.0) for name in names)).resolve_scale(color="shared"),
        alt.hconcat(*(panel(lower, name, "weights left", 1.25) for name in names)).resolve_scale(color="shared"),
    )
    title = alt.Title(
        "Instructions against density",
        subtitle="above one product, below a window of the HAR L2MU; dashed: the dense program",
        anchor="start",
    )
    chart = alt.vconcat(*rows).resolve_scale(color="independent").properties(title=title)
    svg = vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).configure(background="white").to_dict())
    write_atomic(path, (svg + "\n").encode())
