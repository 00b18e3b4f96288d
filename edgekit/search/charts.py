"""The pictures of a search, made with Altair as those of a profile are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from edgekit.profile.html.charts import INK, SERIES, SOFT, drawn, framed
from edgekit.profile.html.parts import Chart

FAR = 8.0  # points beyond the promise that are still drawn
LABELS = {"flash": "flash, bytes", "weights": "weights, bytes"}
HEIGHT = 320


def over_size(document: Mapping[str, Any], what: str, title: str) -> Chart:
    """A figure of all trials over their size; the limits of the promise as lines, the chosen trial in a ring."""
    size, limits = document["size"], document["limits"]
    best = {trial["words"] for trial in document["frontier"]}
    rows = [
        {
            **{key: trial[key] for key in ("drop", "flash", "weights", "instructions", "words")},
            "unbeaten": trial["words"] in best,
        }
        for trial in document["trials"]
        if trial["drop"] <= limits["drop"] + FAR and trial[what] is not None
    ]
    x = alt.X(f"{size}:Q", title=LABELS[size], scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(format=",.6~g"))
    y = alt.Y(f"{what}:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(format=",.6~g"))
    tooltip = [
        alt.Tooltip("words:N", title="held"),
        alt.Tooltip("drop:Q", title="points lost", format=".2f"),
        *(alt.Tooltip(f"{key}:Q", format=",.6~g") for key in ("weights", "flash", "instructions")),
    ]
    dots = drawn(rows).mark_circle(stroke=SERIES[0], strokeWidth=1, color=SERIES[0])
    weight = alt.condition(alt.datum.unbeaten, alt.value(0.9), alt.value(0.15))
    room = alt.condition(alt.datum.unbeaten, alt.value(70), alt.value(30))
    layers = [dots.encode(x=x, y=y, opacity=weight, size=room, tooltip=tooltip)]
    if limits[size] is not None:
        layers.append(drawn([{size: limits[size]}]).mark_rule(color=SOFT, strokeDash=[4, 3]).encode(x=x))
    if limits.get(what) is not None:
        layers.append(drawn([{what: limits[what]}]).mark_rule(color=SOFT, strokeDash=[4, 3]).encode(y=y))
    if document["chosen"] is not None:
        ring = drawn([document["chosen"]]).mark_point(size=220, color=INK, strokeWidth=2, filled=False)
        layers.append(ring.encode(x=x, y=y))
    return framed(alt.layer(*layers), f"{title} over {size}", height=HEIGHT)
