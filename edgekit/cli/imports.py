"""The options that say how a model file is to be read, shared by the verbs that read one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.frontends.options import ImportOptions

MODEL_HELP = (
    "A file of edgekit.save or a state_dict (.pt .pth .ckpt .safetensors .npz), a program of torch.export (.pt2), "
    "a step in ONNX (.onnx), or a NIR graph (.nir)."
)

ConfigOption = Annotated[Path | None, typer.Option(help="State_dict: JSON with what the weights do not tell.")]
FactoryOption = Annotated[
    str | None, typer.Option(help="package.module:function that returns (module, example): RUNS that code.")
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="With --factory: the state_dict for its module (never unpickled into code).")
]
DtOption = Annotated[float | None, typer.Option(help="Seconds of a step, such as 1e-4; a .nir file seldom tells.")]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="IN:OUT",
        help="ONNX, .pt2: an input that takes a state and the output of its next; ONNX: none if it has none.",
    ),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=1,64", help="ONNX: the full shape of an input whose lengths the file leaves open."),
]
ConstantOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="ONNX: the value of an input that never changes, such as sr=16000."),
]
ResetOption = Annotated[
    str | None, typer.Option(help="NIR: what a spike does to the membrane: v_reset, zero or subtract.")
]
ConventionOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=CHOICE",
        help="NIR: integrator=euler|exponential, initial=leak|zero, synapse=updated|previous, "
        "charge=current|impulse; repeatable.",
    ),
]
RoundDelaysOption = Annotated[bool, typer.Option("--round-delays", help="NIR: round delays to whole steps.")]


def import_options(
    *,
    config: Path | None,
    factory: str | None,
    weights: Path | None,
    dt: float | None,
    state: Sequence[str] | None,
    shape: Sequence[str] | None,
    constant: Sequence[str] | None,
    reset: str | None,
    convention: Sequence[str] | None,
    round_delays: bool,
) -> ImportOptions:
    """What the command line says of a model file; UsageError for what cannot be read."""
    from edgekit.frontends.options import ImportOptions

    return ImportOptions(
        config=config,
        factory=factory,
        weights=weights,
        dt=dt,
        states=list(state) if state else None,
        shapes={name: _lengths(text, value) for text, name, value in _pairs("--shape", shape)},
        constants={name: _numbers(text, value) for text, name, value in _pairs("--constant", constant)},
        reset=reset,
        conventions={name: value for _, name, value in _pairs("--convention", convention)},
        round_delays=round_delays,
    )


def _pairs(option: str, texts: Sequence[str] | None) -> list[tuple[str, str, str]]:
    """(option and text, name, value) of each NAME=VALUE; UsageError for another form or a name given twice."""
    found: dict[str, tuple[str, str, str]] = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        if not name or not value:
            raise UsageError(f"{option} {text}", "is not NAME=VALUE")
        if name in found:
            raise UsageError(f"{option} {text}", f"{name!r} was given before", "give it once")
        found[name] = (f"{option} {text}", name, value)
    return list(found.values())


def _lengths(text: str, value: str) -> tuple[int, ...]:
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(text, "is not NAME=LENGTH,LENGTH", "for example --shape x=1,64")
    return tuple(map(int, parts))


def _numbers(text: str, value: str) -> float | int | list[float | int]:
    """One number, or a list of them; whole ones stay integers."""
    try:
        numbers = [int(part) if part.strip().lstrip("+-").isdecimal() else float(part) for part in value.split(",")]
    except ValueError:
        raise UsageError(text, "is no number", "for example --constant sr=16000") from None
    return numbers[0] if len(numbers) == 1 else numbers
