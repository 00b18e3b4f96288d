"""Instruction counts by two methods that share nothing: unicorn's blocks, and qemu's log of every instruction."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import pytest
from converted import artifact, module

import edgekit
from edgekit.artifact import Artifact
from edgekit.profile.counts import count_steps
from edgekit.profile.stimulus import selftest_stimulus
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target
from edgekit.toolchain import QemuSystem, QemuUser
from edgekit.toolchain.elf import EXECUTE
from edgekit.toolchain.qemu_system import find_qemu_system
from edgekit.toolchain.qemu_user import find_qemu

STEPS = 12


class Logged(QemuUser):
    """A library on qemu-user that writes a line to `log` for each instruction of the library that it executes."""

    log: Path

    def _command(self) -> list[str]:
        qemu, *rest = super()._command()
        (code,) = (s for s in self.image.segments if s.access & EXECUTE)
        only = ["-dfilter", f"{code.address:#x}+{code.size:#x}", "-D", str(self.log)]
        return [qemu, "-singlestep", "-d", "exec,nochain", *only, *rest]

    def executed(self) -> list[str]:
        """The function of each instruction that was executed so far, in order."""
        addresses: list[int] = []
        for line in self.log.read_text().splitlines():
            if line.startswith("Trace"):
                addresses.append(int(line.split("/")[1], 16))
            elif line.startswith("Stopped"):  # begun, but not run
                addresses.pop()
        return [self._name(address) for address in addresses]


def logged_steps(converted: Artifact, log: Path) -> list[list[str]]:
    """What each of the first STEPS self-test steps executes, by qemu's log."""
    here = type("LoggedHere", (Logged,), {"log": log})
    library = converted.file.members[converted.manifest["program"]["library"]]
    found = []
    with here(library, load_target(converted.manifest["target"])) as machine:
        running = MachineStream(converted.graph, machine, "logged")
        (inputs,) = selftest_stimulus(converted).streams
        for t in range(STEPS):
            before = len(machine.executed())
            running.call("step", [array[t] for array in inputs])
            found.append(machine.executed()[before:])
    return found


@pytest.mark.drawn(2)
@pytest.mark.parametrize("target", ["raspberrypi4", "raspberrypi5"])
@pytest.mark.parametrize("family", ["mlp", "l2mu"])
def test_blocks_of_unicorn_and_the_log_of_qemu_count_the_same(family, target, tmp_path):
    if not find_qemu("aarch64"):
        pytest.skip("qemu-user-static is not installed")
    converted = artifact(family, target=target)
    logged = logged_steps(converted, tmp_path / "log")
    counts = count_steps(converted, selftest_stimulus(converted).first(STEPS))
    assert list(counts.steps) == [len(step) for step in logged]
    by_function = Counter(name.removeprefix(f"ek_{converted.name}_") for step in logged for name in step)
    assert {name: round(mean * STEPS) for name, mean in counts.functions.items()} == by_function


@functools.cache
def watch_program(family: str, target: str) -> Artifact:
    return edgekit.convert(module(family), target=target, precision="int8", calib="synthetic", name=f"{family}_int8")


@pytest.mark.drawn(2)
@pytest.mark.parametrize("target", ["smartwatch-m4", "smartwatch-m33"])
@pytest.mark.parametrize("family", ["mlp", "l2mu"])
def test_a_watch_is_counted_the_same_by_unicorn_and_by_the_log_of_an_emulated_board(family, target):
    """By step, by op, by function and in the border: Thumb code, whose conditional instructions are easily missed."""
    if not find_qemu_system():
        pytest.skip("qemu-system-arm is not installed")
    converted = watch_program(family, target)
    stimulus = selftest_stimulus(converted).first(STEPS)
    counts = count_steps(converted, stimulus)
    assert counts.engine.startswith("emulated cortex-m")
    assert "unicorn" in counts.engine
    library = converted.file.members[converted.manifest["program"]["library"]]
    with QemuSystem(library, load_target(target)) as board:
        other = count_steps(converted, stimulus, stream=MachineStream(converted.graph, board, board.engine))
    assert other.engine.startswith("qemu-system-arm")
    assert counts.steps == other.steps
    assert counts.ops == other.ops
    assert counts.functions == other.functions
    assert counts.border == other.border
    assert counts.stack == other.stack


@pytest.mark.parametrize("family", ["mlp", "l2mu"])
def test_a_core_that_only_a_board_has_is_counted_alike_every_time(family):
    if not find_qemu_system():
        pytest.skip("qemu-system-arm is not installed")
    converted = watch_program(family, "smartwatch-m55")
    stimulus = selftest_stimulus(converted).first(STEPS)
    counts = count_steps(converted, stimulus)
    assert counts == count_steps(converted, stimulus)
    assert "qemu-system-arm" in counts.engine
    assert sum(counts.functions.values()) == pytest.approx(counts.total)
    assert counts.calls > 0
    narrower = count_steps(watch_program(family, "smartwatch-m4"), stimulus)
    assert counts.total < narrower.total, "it has vectors"
