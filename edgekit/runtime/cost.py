"""What a step costs on the target: instructions of each op, counted in the emulator on the self-test stream."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.artifact import Artifact
from edgekit.errors import UsageError
from edgekit.target import load_target
from edgekit.toolchain import Emulator


@dataclass(frozen=True)
class OpCost:
    """Mean instructions per step of one op; `kernel` ran it, '' for taking inputs in and giving outputs out."""

    op: str
    kernel: str
    instructions: float


@dataclass(frozen=True)
class StepCosts:
    """Exact counts, emulated: mean over the steps of the self-test. `total` is all ops and `calls`, what calls them."""

    core: str
    steps: int
    total: float
    ops: tuple[OpCost, ...]

    @property
    def calls(self) -> float:
        """Instructions of the step function itself."""
        return self.total - sum(op.instructions for op in self.ops)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "calls": self.calls, "grade": "emulated"}


def step_costs(artifact: Artifact) -> StepCosts:
    """Count the instructions of every op of the step; ToolchainError when the target has no emulated core."""
    program = artifact.manifest.get("program") or {}
    if not program.get("library"):
        raise UsageError("--cost", f"artifact {artifact.name!r} carries no native library")
    graph, prefix = artifact.graph, f"ek_{artifact.name}"
    step = graph.entries["step"]
    kernels = {row["op"]: row["kernel"] for row in artifact.manifest.get("kernels", []) if row["entry"] == "step"}
    steps = next(iter(artifact.selftest.inputs.values())).shape[0]
    totals: dict[str, int] = {}
    total = 0
    with Emulator(artifact.file.members[program["library"]], load_target(artifact.manifest["target"])) as machine:
        struct = machine.alloc(machine.call(f"{prefix}_sizeof", count=False).value)
        machine.call(f"{prefix}_init", [struct], count=False)
        ports = [machine.alloc(4 * graph.tensors[n].size, align=4) for n in (*step.inputs, *step.outputs)]
        for t in range(steps):
            for port, name in zip(ports, step.inputs, strict=False):
                machine.write(port, np.ascontiguousarray(artifact.selftest.inputs[name][t], "<f4").tobytes())
            result = machine.call(f"{prefix}_step", [struct, *ports], watch=f"{prefix}_step")
            total += result.instructions or 0
            for site in result.by_call:
                totals[site.callee] = totals.get(site.callee, 0) + site.instructions
        core = getattr(machine, "core", "")
    prefix_op = f"{prefix}_step_"
    ops = tuple(
        OpCost(name := symbol.removeprefix(prefix_op), kernels.get(name, ""), count / steps)
        for symbol, count in totals.items()
    )
    return StepCosts(str(core), steps, total / steps, ops)
