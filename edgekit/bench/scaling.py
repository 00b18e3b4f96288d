"""Cost against size: a step of every family at hidden sizes 16 to 2,048, timed here and counted on a board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from edgekit.bench.activity import tune_activity
from edgekit.bench.cases import FAMILIES, Case, make_case
from edgekit.bench.conversion import HOST, convert_case, import_case
from edgekit.bench.counts import DEVICE
from edgekit.bench.names import check_names
from edgekit.bench.own import NativeLoop
from edgekit.bench.report import SCHEMA_VERSION
from edgekit.bench.stimuli import motion, noise
from edgekit.bench.tables import between, number, table
from edgekit.bench.timing import Schedule, Spread, time_in_turns
from edgekit.errors import EdgekitError, UsageError
from edgekit.ir import SPIKE, Graph
from edgekit.profile.counts import counting_stream
from edgekit.profile.host import Host, describe_host
from edgekit.runtime import Session

Progress = Callable[[str], None]

SIZES = tuple(2**power for power in range(4, 12))
PRECISION = "fp32"
_COUNTED = 16  # steps on the emulated core, after as many that are not
_LINEAR = 2.0  # a step may cost so many times more per touched weight than that of the size below, before it is a cliff
_INPUTS = 64
_SEEDS = 8


@dataclass(frozen=True)
class ScalingRow:
    """One model: `touched` of its `weights` are read in a mean step (silent neurons' columns are not), `constants` are
    the bytes of them all; the time is of the C loop here, the instructions of the emulated DEVICE. A size that could
    not be built says why in `fault`.
    """

    family: str
    hidden: int
    weights: int = 0
    touched: float = 0.0
    constants: int = 0
    step_us: Spread | None = None
    instructions: float | None = None
    fault: str = ""

    @property
    def per_weight(self) -> float | None:
        """Instructions for each weight that is touched."""
        return None if self.instructions is None else self.instructions / self.touched


@dataclass(frozen=True)
class ScalingReport:
    """All rows, and the computer that the times belong to."""

    host: Host
    caches: Mapping[str, int]
    rows: tuple[ScalingRow, ...]

    @property
    def complete(self) -> bool:
        """Whether every size could be built and run."""
        return not any(row.fault for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def print(self, console: Console) -> None:
        """A table of all sizes, and below it every step in cost that is not the step in weights."""
        caches = ", ".join(f"{name} {size // 1024:,} KiB" for name, size in self.caches.items())
        console.print(f"{self.host.processor}: {caches or 'caches unknown'}; load {self.host.load_average:.1f}")
        rows = table(
            *("model", "hidden", "weights", "touched", "constants"),
            *("µs", "p10 – p90", "ns / weight", f"instr. {DEVICE}", "/ weight"),
        )
        for row in self.rows:
            if row.step_us is None or row.instructions is None:
                rows.add_row(row.family, f"{row.hidden:,}", *[""] * 8)
                continue
            rows.add_row(
                *(row.family, f"{row.hidden:,}", f"{row.weights:,}", f"{row.touched:,.0f}"),
                *(f"{row.constants / 1000:,.1f} kB", number(row.step_us.median), between(row.step_us)),
                *(f"{1e3 * row.step_us.median / row.touched:.3f}", number(row.instructions), f"{row.per_weight:.2f}"),
            )
        console.print(rows)
        for row in self.rows:
            if row.fault:
                console.print(f"  [red]FAILED[/red] {row.family} {row.hidden:,}: {row.fault}", soft_wrap=True)
        for text in cliffs(self.rows, self.caches):
            console.print(text)


def cliffs(rows: Sequence[ScalingRow], caches: Mapping[str, int]) -> list[str]:
    """Where a weight costs _LINEAR times as much as at the size below, in words, with the cache that was left there."""
    found = []
    for before, after in pairwise(rows):
        if before.family != after.family or before.step_us is None or after.step_us is None:
            continue
        times = (after.step_us.median / after.touched) / (before.step_us.median / before.touched)
        if times <= _LINEAR:
            continue
        left = [name for name, size in caches.items() if before.constants <= size < after.constants]
        why = f"the weights leave {left[-1]}" if left else "UNEXPLAINED by a cache size"
        found.append(f"cliff: {after.family} {before.hidden:,} → {after.hidden:,}, {times:.1f} times a weight: {why}")
    return found


def run_scaling(
    families: Sequence[str],
    sizes: Sequence[int],
    schedule: Schedule,
    progress: Progress = lambda _stage: None,
) -> ScalingReport:
    """Measure `families` (of FAMILIES) at hidden sizes; a size that cannot be built is listed with its reason."""
    check_names("model", families, FAMILIES)
    host = describe_host()
    rows = []
    for family in families:
        for hidden in sizes:
            progress(f"{family}, hidden {hidden:,}")
            try:
                rows.append(_measure(family, hidden, schedule))
            except EdgekitError as error:
                rows.append(ScalingRow(family, hidden, fault=str(error)))
    return ScalingReport(host, host_caches(), tuple(rows))


def _measure(family: str, hidden: int, schedule: Schedule) -> ScalingRow:
    case = sized_case(family, hidden)
    imported = import_case(case)
    native = convert_case(case, imported, HOST, PRECISION)
    loop = NativeLoop(case, PRECISION, native)
    micros = time_in_turns([loop], schedule)[:, 0]
    device = convert_case(case, imported, DEVICE, PRECISION)
    stream = counting_stream(device.artifact)
    session = Session(device.artifact, stream)
    session.run(case.stimulus[:_COUNTED])
    stream.counting = True
    session.run(case.stimulus[_COUNTED : 2 * _COUNTED])
    graph = native.artifact.graph
    return ScalingRow(
        family=family,
        hidden=hidden,
        weights=case.weights,
        touched=touched_weights(graph, native.activity),
        constants=loop.constants[1],
        step_us=Spread.of(micros),
        instructions=stream.total_instructions() / _COUNTED,
    )


def touched_weights(graph: Graph, activity: Mapping[str, float]) -> float:
    """Weights that a mean step reads: all of a dense product, of one over spikes the columns of those that fired."""
    total = 0.0
    for op in graph.entries["step"].ops:
        for at, name in enumerate(op.inputs):
            tensor = graph.tensors[name]
            if tensor.is_const and len(tensor.shape) == 2:
                source = op.inputs[at - 1]
                rate = activity.get(source, 1.0) if graph.tensors[source].dtype is SPIKE else 1.0
                total += rate * float(np.count_nonzero(tensor.data) if tensor.data is not None else tensor.size)
    return total


def sized_case(family: str, hidden: int) -> Case:
    """The model of a family at a hidden size, from the first fixed seed with which the spiking one can be made to fire
    as the benchmark's does; UsageError when none is.
    """
    import torch

    for seed in range(_SEEDS):
        torch.manual_seed(seed)
        try:
            return _SIZED[family](hidden)
        except UsageError:
            if seed == _SEEDS - 1:
                raise
    raise AssertionError("unreachable")


def _mlp(hidden: int) -> Case:
    from edgekit.models import MLP

    sizes = [_INPUTS, hidden, hidden, 7]
    return make_case("mlp", f"MLP {'-'.join(map(str, sizes))}", MLP(sizes).eval(), noise(_INPUTS))


def _lmu(hidden: int) -> Case:
    import torch

    from edgekit.models import LMU

    module = LMU(inputs=6, hidden=hidden, memory=16, order=8, outputs=7, theta=40.0).eval()
    torch.nn.init.normal_(module.e_m.weight, std=1e-3)  # starts at zero
    return make_case("lmu", f"LMU 6-{hidden}, 16 x 8, 7", module, motion(6))


def _l2mu(hidden: int) -> Case:
    import torch

    from edgekit.models import L2MU

    neurons = {"u": {"beta": 0.6, "threshold": 0.6}, "m": {"beta": 0.4}, "h": {"beta": 0.6}}
    module = L2MU(inputs=6, hidden=hidden, memory=16, order=4, outputs=7, theta=10.0, neurons=neurons).eval()
    torch.nn.init.xavier_normal_(module.e_m.weight)
    stimulus = motion(6)
    return make_case("l2mu", f"L2MU 6-{hidden}, 16 x 4, 7", module, stimulus, tune_activity(module, stimulus))


def _elm(hidden: int) -> Case:
    import torch

    from edgekit.models import ELM

    memory, branches = hidden // 4, 16
    module = ELM(inputs=_INPUTS, outputs=7, memory=memory, hidden=hidden, branches=branches, synapses=4, version="v2")
    torch.nn.init.uniform_(module.eval()._proto_w_s)  # starts at one value
    return make_case("elm", f"ELM {_INPUTS}-{branches}, {memory} memories, hidden {hidden}", module, noise(_INPUTS))


_SIZED: Mapping[str, Callable[[int], Case]] = {"mlp": _mlp, "lmu": _lmu, "l2mu": _l2mu, "elm": _elm}


def host_caches() -> dict[str, int]:
    """Bytes of the data caches that the first core has or shares, as Linux tells them; empty where it does not."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        if kind in ("Data", "Unified"):
            found[f"L{level}"] = int(size.removesuffix("K")) * 1024
    return found
