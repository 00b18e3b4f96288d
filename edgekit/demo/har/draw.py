"""The terminal's picture of the demo: traces, models, raster and teaching, from frames alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.demo.har.dots import curve, raster
from edgekit.demo.har.frames import (
    LEARNER,
    RECORDING,
    UNAVAILABLE,
    Called,
    Figure,
    Frame,
    ModelFrame,
    Scene,
    TeachState,
    counted,
    plain_name,
)
from edgekit.demo.har.history import History
from edgekit.profile.grades import MEASURED

# Okabe and Ito's colours, which people who see few colours tell apart.
ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    *("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
)
TRACES = (ORANGE, SKY, GREEN, ORANGE, SKY, GREEN)
POPULATIONS = (SKY, ORANGE, PINK)
LEAST_SPAN = (4.0, 4.0, 4.0, 1.0, 1.0, 1.0)  # of a trace from its lower to its upper edge, m/s² and rad/s
BAR, SHORT_BAR = 12, 6  # characters
LABELS = 8
LEAST_WIDTH, WIDE, WIDEST = 72, 100, 140


def picture(scene: Scene, frame: Frame, history: History, size: tuple[int, int], typing: str | None) -> Group:
    """All of it, for a terminal of this size in characters, columns and rows; `typing` is the name that is being typed,
    None if none. The notes of the scene are those that have come up since it began.
    """
    width, height = max(size[0], LEAST_WIDTH), size[1]
    spiking = [name for name, model in scene.models.items() if model.populations and name in frame.models]
    free = height - len(scene.models) - 8 - bool(scene.notes)  # without the table, heads, the notes and the foot
    trace_rows = 2 if free >= 6 * 2 + 8 * len(spiking) else 1
    raster_rows = max(2, (free - 6 * trace_rows - 1)) if spiking else 0
    parts: list[RenderableType] = [_head(scene, frame), *_traces(scene, history, width, trace_rows)]
    parts.append(_models(scene, frame, history, width))
    for name in spiking[:1]:
        parts += _raster(scene, name, history, width, raster_rows)
    if scene.notes:
        parts.append(Text("; ".join(scene.notes), style="dim", no_wrap=True, overflow="ellipsis"))
    parts.append(_foot(scene, frame.teach, history, typing))
    return Group(*parts)


def waiting(scene: Scene, teach: TeachState, history: History, typing: str | None) -> Group:
    """What is to be seen before the first sample has come; the notes tell of lines that are none."""
    head = Text(f"waiting for samples from {scene.source}", style="bold")
    notes = (Text(note, style="dim") for note in scene.notes)
    return Group(head, *notes, _foot(scene, teach, history, typing))


def _head(scene: Scene, frame: Frame) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("edgekit demo har  ", style="bold")
    minutes, seconds = divmod(frame.t, 60)
    text.append(f"{int(minutes):02d}:{seconds:04.1f}  ")
    if frame.truth is not None:
        text.append("now ")
        text.append(f"{plain_name(frame.truth)}  ", style="bold")
    text.append(f"{scene.source}  ", style="dim")
    text.append(f"on emulated {scene.target}, in the loop" if scene.emulated else "on this computer", style="dim")
    return text


def _traces(scene: Scene, history: History, width: int, rows: int) -> list[Text]:
    columns = width - LABELS - 9
    lines = list[Text]()
    for at, channel in enumerate(scene.channels):
        values = [sample[at] for sample in history.samples]
        drawn = curve(values, columns, rows, *_edges(values[-2 * columns :], LEAST_SPAN[at]))
        for row, line in enumerate(drawn):
            text = Text(f"{channel if row == 0 else '':<{LABELS}}", no_wrap=True)
            text.append(line, style=TRACES[at])
            text.append(_short(values[-1]) if row == 0 and values else "", style="dim")
            lines.append(text)
    return lines


def _short(value: float) -> str:
    """A sample in eight characters, whatever a sensor may send."""
    return f"{value:8.1f}" if not abs(value) >= 1e5 else f"{value:8.0e}"


def _edges(values: list[float], least: float) -> tuple[float, float]:
    """What a trace reaches from and to: its own extent, and at least some."""
    seen = [value for value in values if math.isfinite(value)] or [0.0]
    middle, half = (min(seen) + max(seen)) / 2, max(max(seen) - min(seen), least) / 2
    return middle - half, middle + half


def _models(scene: Scene, frame: Frame, history: History, width: int) -> Table:
    wide = width >= WIDE
    shown = [*frame.models.items(), *([(LEARNER, frame.teach.model)] if frame.teach.model else [])]
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", width=width)
    table.add_column("model", no_wrap=True)
    table.add_column("says", no_wrap=True, ratio=1, overflow="ellipsis", min_width=12)
    table.add_column("how sure", no_wrap=True)
    known = any(model.known for _, model in shown)
    table.add_column(_headed("right", [MEASURED]) if known else "right", justify="right", no_wrap=True)
    if wide:
        grades = [model.instructions_grade for _, model in shown]
        table.add_column(_headed("instructions", grades), justify="right", no_wrap=True)
    table.add_column(_headed("time a step", [model.latency.grade for _, model in shown]), justify="right", no_wrap=True)
    energies = [model.energy.grade for _, model in shown]
    table.add_column(_headed("energy a step", energies), justify="right", no_wrap=True)
    for name, model in shown:
        at_once = scene.models[name].steps == 1
        table.add_row(name, *_row(model, history.called.get(name), at_once=at_once, width=width))
    return table


def _row(model: ModelFrame, called: Called | None, *, at_once: bool, width: int) -> tuple[RenderableType, ...]:
    wide = width >= WIDE
    right = called is not None and called.name == called.truth
    mark = "  " if called is None or called.truth is None else "✓ " if right else "✗ "
    says = Text("")
    says.append(mark, style=GREEN if right else RED)
    says.append(plain_name(model.label) if model.label else "…", style="bold")
    sure = model.confidence.get(model.label or "", 0.0)
    bar = Text("")
    length = BAR if wide else SHORT_BAR
    bar.append("█" * round(length * sure), style=SKY)
    bar.append("·" * (length - round(length * sure)), style="dim")
    bar.append(f" {100 * sure:3.0f} %" if model.label else "      ")
    share = f"{100 * model.right / model.known:.0f} % of {model.known}" if model.known else "–"
    count = "–" if model.instructions is None else f"{model.instructions:,.0f}{' (window)' if at_once else ''}"
    costs = _figure(model.latency, wide=width >= WIDEST), _figure(model.energy, wide=wide)
    return (says, bar, share, *((count,) if wide else ()), *costs)


def _headed(what: str, grades: Sequence[str]) -> str:
    """The head of a column: what it holds, and how its figures came about."""
    return f"{what},\n{' or '.join(dict.fromkeys(grades))}"


def _figure(figure: Figure, *, wide: bool) -> Text:
    """A figure with the bounds of its estimate; the head of its column says what it is."""
    if figure.value is None:
        return Text("–", style="dim")
    text = Text(f"{figure.value:,.1f} {figure.unit}")
    if wide and figure.low is not None and figure.high is not None:
        text.append(f" ({figure.low:,.1f} to {figure.high:,.1f})", style="dim")
    return text


def _raster(scene: Scene, name: str, history: History, width: int, rows: int) -> list[Text]:
    """The populations of a model below one another, taller where they are larger."""
    populations = scene.models[name].populations
    total, left = sum(populations.values()), rows
    steps = list(history.spikes.get(name, ()))
    lines = [
        Text(
            f"spikes of {name}: a step is one dot wide, and neurons may share a row",
            style="dim",
            no_wrap=True,
            overflow="ellipsis",
        )
    ]
    for at, (population, size) in enumerate(populations.items()):
        others = len(populations) - at - 1
        mine = max(1, min(left - others, round(rows * size / total)))
        left -= mine
        fired = [step.get(population, ()) for step in steps]
        recent = fired[-20:]
        rate = sum(map(len, recent)) / (size * len(recent)) if recent else 0.0
        drawn = raster(fired, size, width - LABELS - 9, mine)
        for row, line in enumerate(drawn):
            text = Text(f"{f'{population} {size}' if row == 0 else '':<{LABELS}.{LABELS}}", no_wrap=True)
            text.append(line, style=POPULATIONS[at % len(POPULATIONS)])
            text.append(f"{100 * rate:6.1f} %" if row == 0 else "", style="dim")
            lines.append(text)
    return lines


def _foot(scene: Scene, teach: TeachState, history: History, typing: str | None) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    about = history.about(teach.about)
    if (event := history.event) and event.partition(": ")[2] not in about:
        text.append(f"{event}\n", style=YELLOW)
    text.append_text(_teaching(scene, teach, about, typing))
    text.append("\n")
    keys = [("q", "quit")]
    if typing is not None:
        keys = [("enter", "record"), ("esc", "never mind")]
    elif teach.phase == RECORDING:
        keys = [("t", "learn it"), ("esc", "never mind"), *keys]
    elif teach.phase != UNAVAILABLE:
        keys = [("t", "teach"), *([("u", "undo")] if teach.undoable else []), *keys]
    if scene.activities and typing is None:
        keys += [("n", "play the next activity only"), ("a", "all in turn")]
    for key, what in keys:
        text.append(f" {key} ", style="reverse")
        text.append(f" {what}  ")
    return text


def _teaching(scene: Scene, teach: TeachState, about: str, typing: str | None) -> Text:
    if typing is not None:
        return Text(f"name of the gesture: {typing}▏", style=YELLOW)
    if teach.phase == UNAVAILABLE:
        return Text(f"nothing can be taught: {teach.about}", style="dim")
    if teach.phase == RECORDING:
        return Text(f"● recording {teach.name!r}: {teach.seconds:.1f} s  {about}", style=RED)
    lesson = teach.lesson
    if lesson is None or about:
        return Text(about or f"{counted(teach.left, 'gesture')} can be taught", style="dim")
    where = " of the emulator" if scene.emulated else ""
    text = Text(f"learned {lesson.name!r}: {counted(lesson.windows, 'window')}, {lesson.milliseconds:,.0f} ms{where}, ")
    text.append(f"{lesson.recalled} recognised; ")
    text.append(f"of {lesson.held_out} old windows right {100 * lesson.before:.1f} %, now {100 * lesson.after:.1f} %")
    text.append(f" ({lesson.grade})")
    return text
