"""docs/DENSITY.md and its picture: instructions against density, of products and of the HAR L2MU, core by core."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit.artifact.atomic import write_atomic
from edgekit.backends.c.integer import flavour_of
from edgekit.backends.c.integer.densities import DENSITIES
from edgekit.ir.blocks import BLOCKS, Block
from tools.density_counts import CORES, TILE, Case, Core, Counted, count, is_here
from tools.density_l2mu import DENSITIES as DENSITIES_OF_L2MU
from tools.density_l2mu import KINDS, Point, curve, l2mu

DOCS = Path(__file__).parent.parent / "docs"
LOG = DOCS / "logs" / "density.json"
SHOWN: Mapping[str, Core] = {
    "dsp": CORES["dsp"][0],
    "mve": CORES["mve"][0],
    "neon": CORES["neon"][0],
    "vnni": CORES["vnni"][0],
}
FORMS = {"x8_w8": "int8 · int8", "x16_w8": "int16 · int8", "x16_w16": "int16 · int16", "event_w8": "spikes · int8"}
LENGTH, SHARES, FEW = 128, (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0), 5  # of scattered weights the first few
COLOURS = ("#0b6e99", "#c8553d", "#5a8f29", "#7b4fa3")


Curve = Sequence[Mapping[str, Any]]  # share, blocks, whole
Counts = Mapping[str, Any]  # of a core: its name, `blocks` and `single` by form, `windows`


def counted_on(simd: str, core: Core) -> Counts:
    """Products in the blocks that the instruction set likes best, products of scattered weights, and windows."""
    flavour = flavour_of(simd)
    found: dict[str, dict[str, Any]] = {"blocks": {}, "single": {}}
    for form in FORMS:
        tile = TILE * (flavour.name == "wide" and not form.startswith("event"))
        bits = 16 if form.startswith("event") else 32
        cases = [Case(flavour, form + tile, bits, LENGTH, share) for share in SHARES]
        found["blocks"][form] = _curve(count(cases, core))
        cases = [Case(flavour, form, bits, LENGTH, share, scattered=True) for share in SHARES[:FEW]]
        found["single"][form] = _curve(count(cases, core))
    return {"core": core.name, **found, "windows": [asdict(p) for p in curve(l2mu(), simd, core)]}


def _curve(counted: Sequence[Counted]) -> list[dict[str, Any]]:
    return [{"share": c.case.coverage, "blocks": c.blocks, "whole": c.whole} for c in counted]


def write_page(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Count for the instruction sets, then write the page and the picture of all that were ever counted."""
    known = json.loads(LOG.read_text("utf-8")) if LOG.exists() else {}
    for simd in names:
        if simd in SHOWN and is_here(SHOWN[simd]):
            say(f"counting {simd}")
            known[simd] = counted_on(simd, SHOWN[simd])
            write_atomic(LOG, (json.dumps(known, indent=1) + "\n").encode())
    shown = {simd: known[simd] for simd in SHOWN if simd in known}
    text = "\n".join([*_head(), *_products(shown), *_thresholds(), *_l2mu(shown)]).rstrip() + "\n"
    write_atomic(DOCS / "DENSITY.md", text.encode())
    draw(shown, DOCS / "images" / "density.svg")


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


def _products(shown: Mapping[str, Counts]) -> list[str]:
    lines = ["## A product", PRODUCT]
    for title, key, width in (
        ("In blocks, which cover", "blocks", len(SHARES)),
        ("Weights anywhere, of which are left", "single", FEW),
    ):
        lines += [
            f"{title} so much:",
            "",
            f"| core | x · w | whole | {' | '.join(f'{share:.0%}' for share in SHARES[:width])} |",
            f"|---|---|---:|{'---:|' * width}",
        ]
        for counts in shown.values():
            for form, points in counts[key].items():
                cells = [f"{point['blocks']:,}" for point in points]
                cells += ["–"] * (width - len(cells))
                whole = f"{points[0]['whole']:,}" if points else "–"
                lines.append(f"| {counts['core']} | {FORMS[form]} | {whole} | {' | '.join(cells)} |")
        lines.append("")
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


def _l2mu(shown: Mapping[str, Counts]) -> list[str]:
    lines = ["## L2MU, window by window", WINDOW]
    for counts in shown.values():
        points = [Point(**point) for point in counts["windows"]]
        whole = points[0]
        lines += [
            f"**{counts['core']}**: {whole.instructions:,.0f} instructions a window; {whole.fired:.0f} fire in a step.",
            "",
            "| aimed at | " + " | ".join(KINDS) + " |",
            "|---:|" + "---:|" * len(KINDS),
        ]
        by_kind = {kind: [p for p in points if p.kind == kind] for kind in KINDS}
        for aimed, row in zip(DENSITIES_OF_L2MU[1:], zip(*by_kind.values(), strict=True), strict=True):
            cells = [
                f"{p.instructions:,.0f}, {p.instructions / whole.instructions:.0%}"
                f" ({p.density:.0%} left, {p.fired:.0f} fire)"
                for p in row
            ]
            lines.append(f"| {aimed:.0%} | {' | '.join(cells)} |")
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


def draw(shown: Mapping[str, Counts], path: Path) -> None:
    """Two rows of panels, one for each core: products, and windows of the L2MU."""
    import altair as alt
    import vl_convert

    upper: list[dict[str, Any]] = [
        {"core": counts["core"], "what": FORMS[form], "x": point["share"], "y": point["blocks"] / point["whole"]}
        for counts in shown.values()
        for form, points in counts["blocks"].items()
        for point in points
    ]
    lower: list[dict[str, Any]] = [
        {"core": counts["core"], "what": p["kind"], "x": p["density"], "y": p["instructions"] / first["instructions"]}
        for counts in shown.values()
        for first, *others in [counts["windows"]]
        for p in others
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

    names = [counts["core"] for counts in shown.values()]
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
