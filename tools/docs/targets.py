"""A page for each target: what is known of it with its source, what was emulated, what follows by estimate.

The emulated figures are those of two logs:
    edgekit bench --targets -o docs/logs/targets.json
    edgekit bench --instructions --models mlp,lmu,l2mu,elm -o docs/logs/instructions.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgekit.cli.targets import readable
from edgekit.profile.estimate import Estimate, estimates
from edgekit.profile.numbers import number, quantity
from edgekit.target import ALIASES, FIGURES, HOST, POWER_FIGURES, Range, Target, list_targets, load_target
from tools.docs.markdown import code, escape, linked, table

LOGS = Path(__file__).parent.parent.parent / "docs" / "logs"
FAMILIES = {
    "mlp": "MLP 240-128-64-7",
    "lmu": "LMU 1-212, order 256, 10",
    "l2mu": "L2MU 6-128, 64 × 4, 7",
    "elm": "Branch-ELM 1260-45, 100, 2",
}
PRECISIONS = ("fp32", "w8", "int8")
FIGURE_NAMES = {
    "features": "instruction set",
    "clock_hz": "clock",
    "ram_bytes": "RAM",
    "flash_bytes": "flash",
    "l1d_bytes": "L1 data cache",
    "l2_bytes": "L2 cache",
    "l3_bytes": "L3 cache",
    "memory_bytes_per_s": "memory bandwidth",
}
UNITS = {
    "cycles_per_instruction": ("cycles per instruction", ""),
    "joules_per_cycle": ("energy per cycle", "J"),
    "core_watts": ("what a busy core adds", "W"),
    "idle_watts": ("the idle board", "W"),
}
NARROW = "\u202f"  # between a number and its unit, where no line ends
INDEX = """# Targets

What programs are built for. No board or watch was at hand: **instructions are emulated**, counted exactly on a core of
the same instruction set; **flash and RAM are derived** from the program; **time and energy are estimated** from sourced
figures, as a range; **nothing is measured** on a device until `edgekit profile` runs there
([grades](../CONCEPTS.md#grades)). This computer is the target `host`, the one that is measured.
"""


@dataclass(frozen=True)
class Row:
    """What a step of one program takes on the emulated core: mean instructions, and bytes (RAM without the stack)."""

    model: str
    precision: str
    instructions: float
    code: int
    constants: int
    ram: int


def target_pages() -> dict[str, str]:
    """The page of every target but `host`, and the list of them."""
    targets = [load_target(name) for name in list_targets() if name != HOST]
    pages = {f"targets/{target.name}.md": "\n".join(_page(target)) for target in targets}
    return {"targets/index.md": "\n".join(_index(targets)), **pages}


def _index(targets: list[Target]) -> Iterator[str]:
    yield INDEX
    cells = []
    for t in targets:
        short = ", ".join(code(alias) for alias, name in ALIASES.items() if name == t.name)
        name = f"[{t.name}]({t.name}.md)" + (f" ({short})" if short else "")
        cells.append((name, escape(t.description), code(t.cpu), t.simd, t.emulated_core or "none"))
    yield from table(("target (short)", "device", "built for", "vectors", "emulated as"), cells)


def _page(target: Target) -> Iterator[str]:
    name = next((alias for alias, real in ALIASES.items() if real == target.name), target.name)
    option = " --precision int8 --calib windows.npz" if target.is_bare else ""
    yield f"# {target.name}\n\n{escape(target.description)}" + (f" ({target.grade})." if target.grade else ".")
    yield f"\n    edgekit convert model.pt --target {name}{option}\n"
    yield from _known(target)
    yield from _built(target)
    yield from _emulated(target)
    yield from _estimated(target)
    yield from _measured(target)


def _known(target: Target) -> Iterator[str]:
    yield "## What is known of it\n"
    fields = target.to_dict()
    cells = [
        (FIGURE_NAMES.get(field, field.replace("_", " ")), escape(readable(field, fields[field])), linked(source))
        for field in FIGURES
        if (source := target.sources.get(field))
    ]
    yield from table(("figure", "value", "source"), cells)
    gaps = [FIGURE_NAMES.get(field, field.replace("_", " ")) for field in FIGURES if not fields[field]]
    if gaps:
        yield f"\nWithout a source, and so left open: {', '.join(gaps)}."


def _built(target: Target) -> Iterator[str]:
    yield "\n## What programs are built for\n"
    machines = {"": target, **target.also}
    for machine in machines.values():
        flags = ", ".join(map(code, (*machine.cflags, *machine.ldflags)))
        yield (
            f"- {code(machine.triple)}, {code(machine.cpu)}, kernels {code(machine.simd)}"
            + (f", flags {flags}" if flags else "")
        )
    if target.is_bare:
        yield "- an object library, a header, and firmware that replays the self-test; no libc, no heap"
        yield "- from there: [Cortex-M](../GUIDE.md#cortex-m), [Makefile and Zephyr module](../../examples/README.md)"
    elif "android" not in target.triple:
        yield "- onto a board, over ssh: [`edgekit deploy`](../DEPLOY.md)"
    for kind in target.exports:
        yield f"- a {code('.' + kind)} beside them"


def _emulated(target: Target) -> Iterator[str]:
    yield "\n## What a step takes\n"
    rows = [row for row in _logged().get(target.name, ()) if row.model in FAMILIES]
    if not rows:
        yield "Not counted: `edgekit bench --targets` has no row of it."
        return
    yield (
        f"Instructions are emulated on {target.emulated_core}: exact, mean over the stimulus of [the"
        " benchmark](../BENCH.md). Code, constants and RAM (the struct that the caller owns, without the stack) are"
        " derived from the program. Time and energy are estimated from the instructions and the figures below, as a"
        " range."
    )
    yield ""
    cells = []
    for before, row in zip((None, *rows), rows, strict=False):
        size = [f"{count:,}" for count in (row.code, row.constants, row.ram)]
        between = [_between(estimate) for estimate in estimates(row.instructions, target)[:2]]
        model = "" if before and before.model == row.model else FAMILIES[row.model]
        cells.append((model, row.precision, f"{row.instructions:,.0f}", *size, *between))
    columns = ("model", "precision", "instructions", "code, B", "constants, B", "RAM, B", "time", "energy")
    yield from table(columns, cells, right=range(2, 8))


def _estimated(target: Target) -> Iterator[str]:
    yield "\n## What estimates are made of\n"
    time, energy, *_ = estimates(1.0, target)
    for estimate in (time, energy):
        yield f"- *{estimate.name}*, {estimate.grade}" + (f": {estimate.formula}" if estimate.value is None else "")
    for assumption in dict.fromkeys((*time.assumptions, *energy.assumptions)):
        yield f"- {escape(assumption)}"
    figures = [(key, getattr(target.power, key)) for key in POWER_FIGURES if getattr(target.power, key)]
    if figures:
        cells = [(*_figure(key, figure), linked(target.power.sources[key])) for key, figure in figures]
        yield ""
        yield from table(("figure", "low", "typical", "high", "source"), cells)


def _measured(target: Target) -> Iterator[str]:
    yield "\n## What is measured\n"
    yield "Nothing: no such device was at hand, and whatever is said of hardware is untested on device."
    if target.is_bare:
        yield (
            "On your own board: compile the artifact's `c/` with `-DEK_TICKS` and read CYCCNT, or bring the current"
            " of an external meter to `edgekit profile --power csv:FILE` ([PROFILE.md](../PROFILE.md))."
        )
    elif "android" not in target.triple:
        yield "On your own board:\n\n    edgekit profile model.edge --on ssh://user@board --paced 20Hz --power auto"


def _figure(key: str, figure: Range) -> tuple[str, str, str, str]:
    name, unit = UNITS[key]
    shown = [quantity(value, unit) if unit else number(value) for value in (figure.low, figure.typical, figure.high)]
    return (name, *shown)  # type: ignore[return-value]


def _between(estimate: Estimate) -> str:
    if estimate.value is None:
        return estimate.grade
    unit = estimate.unit
    low, high = (quantity(value, unit, 2).replace(" ", NARROW) for value in (estimate.low, estimate.high))
    return f"{low} to {high}"


@cache
def _logged() -> Mapping[str, tuple[Row, ...]]:
    """The rows of both logs by target, in the order of the families and precisions."""
    found: dict[str, list[Row]] = {}
    for name, row in (*_float_rows(), *_integer_rows()):
        found.setdefault(name, []).append(row)
    order = list(FAMILIES)
    return {
        name: tuple(sorted(rows, key=lambda row: (order.index(row.model), PRECISIONS.index(row.precision))))
        for name, rows in found.items()
    }


def _float_rows() -> Iterator[tuple[str, Row]]:
    for row in _log("targets.json")["rows"]:
        if not row["fault"]:
            yield row["target"], _row(row["model"], row)


def _integer_rows() -> Iterator[tuple[str, Row]]:
    for model in _log("instructions.json")["models"]:
        for row in model["rows"]:
            if not row["fault"] and row["precision"] == "int8":
                yield row["target"], _row(model["name"], row)


def _row(model: str, row: Mapping[str, Any]) -> Row:
    size = row["size"]
    sizes = (size["code_bytes"], size["constant_bytes"], size["ram_bytes"])
    return Row(model, row["precision"], row["instructions"], *sizes)


def _log(name: str) -> Any:
    return json.loads((LOGS / name).read_text(encoding="utf-8"))
