"""What NIR leaves open, and what was chosen: the time step, the discretisation, the reset, the state at the start.

NIR states differential equations; a program needs steps. The choices here are those of tools/decisions/0015-nir.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from edgekit.errors import ModelError, UsageError
from edgekit.nir.flatten import Flat
from edgekit.nir.nodes import SPIKING, STATEFUL, Node, Real

CHOICES: Mapping[str, tuple[str, ...]] = {
    "reset": ("v_reset", "zero", "subtract"),
    "integrator": ("euler", "exponential"),
    "initial": ("leak", "zero"),
    "synapse": ("updated", "previous"),
    "charge": ("current", "impulse"),
}
MEANING: Mapping[str, str] = {
    "reset:v_reset": "v = v_reset after a spike, in the same step (NIR since 1.0.6)",
    "reset:zero": "v = 0 after a spike, in the same step (snnTorch's export and import)",
    "reset:subtract": "v -= v_threshold after a spike, in the same step (NIR before 1.0.6, the NIR paper)",
    "integrator:euler": "forward Euler, v += dt/tau * (v_leak - v + r*i)",
    "integrator:exponential": "exact for an input held over the step, v += (1 - exp(-dt/tau)) * (v_leak - v + r*i)",
    "initial:leak": "v starts at v_leak (Norse)",
    "initial:zero": "v starts at 0 (the NIR paper's reference code)",
    "synapse:updated": "the membrane sees the synaptic current of this step (LI, then LIF; Norse, snnTorch, Lava)",
    "synapse:previous": "the membrane sees the synaptic current of the step before (both equations stepped at once)",
    "charge:current": "I and IF add dt * r * i (forward Euler of the equation)",
    "charge:impulse": "I and IF add r * i, an input is a charge (Norse, sinabs, Lava, SpiNNaker2, Nengo)",
}
"""What each choice means, and who makes it."""
DT_CHOICES = (
    "dt = 1e-3 (1 ms) is what norse assumes when it reads or writes NIR",
    "dt = 1e-4 (0.1 ms) is what snnTorch and Lava assume when they read or write NIR",
)
NEAR = 30.0
"""A reading of IF is credible where an input of one moves the membrane by 1/NEAR to NEAR times its threshold."""
METADATA_KEY = "edgekit"


@dataclass(frozen=True)
class Conventions:
    """How equations become steps. `dt` is in seconds, None where nothing depends on time."""

    dt: float | None = None
    reset: str = "v_reset"
    integrator: str = "euler"
    initial: str = "leak"
    synapse: str = "updated"
    charge: str = "current"

    def share(self, tau: Real) -> Real:
        """By how much of its distance a leaky value moves in a step: dt/tau, or 1 - exp(-dt/tau)."""
        ratio = self.seconds / tau
        return np.asarray(ratio if self.integrator == "euler" else -np.expm1(-ratio))

    @property
    def seconds(self) -> float:
        """dt where there is one."""
        if self.dt is None:
            raise UsageError("NIR graph", "has nodes that depend on time", "give --dt, the seconds of a step")
        return self.dt

    def to_metadata(self) -> dict[str, object]:
        """The entries of a NIR graph's metadata from which these conventions are read back."""
        named = {k: v for k, v in asdict(self).items() if k != "dt"}
        return {**({} if self.dt is None else {"dt": self.dt}), METADATA_KEY: json.dumps(named, sort_keys=True)}


def choose(
    thing: str, flat: Flat, metadata: Mapping[str, object], asked: Mapping[str, object]
) -> tuple[Conventions, dict[str, str], dict[str, object]]:
    """(conventions, those of them that matter for this graph, those that nobody named with what they mean).

    `asked` is what the caller named (None: not). Raises ModelError with every choice that is left open, UsageError for
    one that does not exist or contradicts the graph.
    """
    stored = stored_choices(metadata)
    _check_names(asked)
    kinds = {node.kind for node in flat.nodes.values()}
    neurons = [n for n in flat.nodes.values() if n.kind in STATEFUL]
    spiking = [n for n in neurons if n.kind in SPIKING]
    assumed: dict[str, object] = {}
    open_: list[str] = []
    dt = None
    if neurons or "Delay" in kinds:
        dt = _dt(asked.get("dt"), metadata, assumed, open_)
    named = {k: asked.get(k) or stored.get(k) for k in CHOICES}
    picked: dict[str, str] = {}
    if spiking:
        picked["reset"] = _reset(named["reset"], spiking, open_)
        if asked.get("reset") is None:
            where = "from the metadata of the file" if "reset" in stored else "since the file has v_reset"
            assumed["reset"] = f"{picked['reset']}: {MEANING['reset:' + picked['reset']]}, {where}"
    if kinds & {"LIF", "LI", "CubaLIF", "CubaLI"}:
        picked["integrator"] = _defaulted("integrator", named, "euler", assumed)
    if any("v_leak" in n.values and n["v_leak"].any() for n in neurons):
        picked["initial"] = _defaulted("initial", named, "leak", assumed)
    if kinds & {"CubaLIF", "CubaLI"}:
        picked["synapse"] = _defaulted("synapse", named, "updated", assumed)
    if kinds & {"I", "IF"} and dt is not None:
        picked["charge"] = str(named["charge"] or _charge(neurons, dt, assumed, open_))
    if open_:
        raise ModelError(thing, "leaves open how it is to be stepped", "name the choices", items=open_)
    return Conventions(dt=dt, **picked), picked, assumed


def _choices(key: str) -> str:
    return "; ".join(f"{name}: {MEANING[f'{key}:{name}']}" for name in CHOICES[key])


def _option(key: str) -> str:
    """How the command line spells a choice, up to its value."""
    return "--reset " if key == "reset" else f"--convention {key}="


def _check_names(asked: Mapping[str, object]) -> None:
    for key, choices in CHOICES.items():
        if asked.get(key) is not None and asked[key] not in choices:
            raise UsageError(f"{_option(key)}{asked[key]}", "is no choice", f"choose from {', '.join(choices)}")


def _seconds(value: object) -> float | None:
    """A time step, None for what is none."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return None
    seconds = float(value) if not np.iscomplexobj(value) else math.nan
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _dt(asked: object, metadata: Mapping[str, object], assumed: dict[str, object], open_: list[str]) -> float | None:
    if asked is not None:
        dt = _seconds(asked)
        if dt is None:
            raise UsageError(f"--dt {asked!r}", "is no time step", "give the seconds of a step, such as 1e-3")
        return dt
    dt = _seconds(metadata.get("dt"))
    if dt is None:
        open_.append(f"dt: the seconds of a step (--dt): {'; '.join(DT_CHOICES)}; or what the net was trained with")
    else:
        assumed["dt"] = f"{dt:g} s, from the metadata of the file"
    return dt


def _reset(named: object, spiking: list[Node], open_: list[str]) -> str:
    missing = [n.name for n in spiking if "v_reset" not in n.values]
    nonzero = [n.name for n in spiking if "v_reset" in n.values and n["v_reset"].any()]
    if named is None and missing:
        choices = _choices("reset")
        open_.append(f"reset: the file gives no v_reset for {', '.join(missing[:4])} (--reset; {choices})")
    if named in ("zero", "subtract") and nonzero:
        raise UsageError(
            f"--reset {named}",
            f"contradicts v_reset of {', '.join(nonzero[:4])}, which is not 0",
            "use --reset v_reset",
        )
    return str(named or "v_reset")


def _defaulted(key: str, named: Mapping[str, object], default: str, assumed: dict[str, object]) -> str:
    """What was named, else the published default, which is then assumed."""
    if named[key] is None:
        assumed[key] = f"{default}: {MEANING[f'{key}:{default}']}"
        return default
    return str(named[key])


def _charge(neurons: list[Node], dt: float, assumed: dict[str, object], open_: list[str]) -> str:
    """The reading of IF under which its input is of the size of its threshold; open where both are, or neither.

    The equation says v += dt·r·i, all importers compute v += r·i: the two differ by a factor dt.
    """
    firing = [n for n in neurons if n.kind == "IF"]
    if not firing:
        assumed["charge"] = f"current: {MEANING['charge:current']}"
        return "current"
    steps = [np.median(np.abs(n["r"])) / max(float(np.median(np.abs(n["v_threshold"]))), 1e-30) for n in firing]
    near = {
        "current": all(1 / NEAR <= dt * step <= NEAR for step in steps),
        "impulse": all(1 / NEAR <= step <= NEAR for step in steps),
    }
    credible = [name for name, ok in near.items() if ok]
    if len(credible) != 1:
        choices = _choices("charge")
        open_.append(
            f"charge: what the input of {', '.join(n.name for n in firing[:4])} is (--convention charge=…; {choices})"
        )
        return "current"
    other = "impulse" if credible[0] == "current" else "current"
    size = max(steps) * (1 if other == "impulse" else dt)
    assumed["charge"] = (
        f"{credible[0]}: {MEANING[f'charge:{credible[0]}']}; as {other} an input of 1 would move the membrane by "
        f"{size:.3g} of its threshold"
    )
    return credible[0]


def stored_choices(metadata: Mapping[str, object]) -> dict[str, str]:
    """Choices that edgekit wrote into the metadata of a graph; anything else there is not trusted to be one."""
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {k: found[k] for k, choices in CHOICES.items() if isinstance(found.get(k), str) and found[k] in choices}
