"""Cost against size in all families, measured, as a table and as docs/images/scaling.svg.

python -m tools.scaling [--json FILE] [--from FILE] [-o docs/images/scaling.svg]     # about half an hour
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from edgekit.bench.cases import FAMILIES
from edgekit.bench.scaling import SIZES, run_scaling
from edgekit.bench.timing import FULL

OUT = Path(__file__).parent.parent / "docs" / "images" / "scaling.svg"
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # Okabe and Ito: told apart by everybody
BYTES = 4  # of a float32 weight


def main() -> int:
    """Measure, or read what was measured, and draw; 1 when a size could not be built."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--from", type=Path, dest="source", help="draw the figures of this file, measure nothing")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    options = parser.parse_args()
    if options.source is not None:
        draw(json.loads(options.source.read_text(encoding="utf-8")), options.output)
        return 0
    console = Console(width=130, highlight=False)
    sizes = [int(size) for size in options.sizes.split(",")]
    with Console(stderr=True).status("start") as status:
        report = run_scaling(options.families.split(","), sizes, FULL, status.update)
    report.print(console)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    draw(report.to_dict(), options.output)
    return 0 if report.complete else 1


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Two panels with logarithmic axes: microseconds here, with the caches, and instructions on the emulated board."""
    import altair as alt
    import vl_convert

    rows = [
        {
            "family": row["family"].upper(),
            "touched": row["touched"],
            "bytes": row["constants"],
            "us": row["step_us"]["median"],
            "instructions": row["instructions"],
        }
        for row in report["rows"]
        if row["step_us"] is not None
    ]
    family = alt.Color("family:N", title=None, scale=alt.Scale(range=COLOURS), legend=alt.Legend(orient="top"))
    x = alt.X("touched:Q", title="weights that a step reads", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s"))

    def panel(value: str, title: str) -> Any:
        digits = alt.Axis(format="~g" if value == "us" else "~s")
        y = alt.Y(f"{value}:Q", title=title, scale=alt.Scale(type="log"), axis=digits)
        base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=family)
        return base.mark_line() + base.mark_point(filled=True, size=42)

    caches = [{"at": size / BYTES, "name": name} for name, size in report["caches"].items()]
    marks = alt.Chart(alt.Data(values=caches)).encode(x=alt.X("at:Q"))
    rules = marks.mark_rule(strokeDash=[4, 4], color="#888") + marks.mark_text(
        align="left", dx=3, baseline="top", color="#666"
    ).encode(y=alt.value(0), text="name:N")
    time = (panel("us", "µs per step, here, measured") + rules).properties(width=380, height=320)
    counted = panel("instructions", "instructions per step, Cortex-A72, emulated").properties(width=380, height=320)
    chart = (time | counted).properties(
        title=alt.Title(
            "Cost against size, fp32, hidden sizes 16 to 2,048",
            subtitle="dashed: the caches of this computer, in float32 weights; an L2MU reads the columns of what fired",
            anchor="start",
        )
    )
    svg = vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).configure(background="white").to_dict())
    path.write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
