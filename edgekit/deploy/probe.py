"""What a board is and has, asked before anything is copied to it, and whether that is enough for a program."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from edgekit.artifact import Artifact
from edgekit.deploy.asking import answer_to
from edgekit.errors import CapacityError, TargetError, UsageError
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_said import printable
from edgekit.target import ARMV7, CORTEX_A76, VNNI, X86_64_V3, X86_64_V4, load_target

# What the compiler assumes under a name of a processor that stands for many.
_LEVELS = {"x86_64_v3": X86_64_V3, "x86_64_v4": X86_64_V4, "cortex_a76": CORTEX_A76, "cortex_a7": ARMV7}
_ROOM = 8 << 20  # for the processes of a deploy beside the program, bytes
_PROGRAMS = 1 << 20  # what the measurer and the streamer take on a disk at most, bytes
_ASK = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
say kernel "$(uname -r)"
say model "$(tr -d '\000' 2>/dev/null </proc/device-tree/model)"
say features "$(grep -E '^(flags|Features)' /proc/cpuinfo | head -n 1 | cut -d: -f2)"
say memory "$(grep '^MemAvailable' /proc/meminfo | tr -dc 0-9)"
say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)"
python3 -c '
import platform
print("python=" + platform.python_version(), flush=True)
import edgekit
print("edgekit=" + edgekit.__version__)' 2>/dev/null
say user "$(id -u)"
case $base in '~'*) base=$HOME${base#?} ;; esac
until test -d "$base"; do base=$(dirname "$base"); done
say free "$(df -Pk "$base" 2>/dev/null | tail -n 1 | tr -s ' ' | cut -d' ' -f4)"
say trtexec "$(PATH=$PATH:/usr/src/tensorrt/bin:/usr/local/tensorrt/bin command -v trtexec)"
"""


@dataclass(frozen=True)
class BoardFacts:
    """A board as it answered; None is what it did not say. `features` are those of its processor as Linux names them,
    `memory_bytes` what is available; neither glibc nor Python is needed.
    """

    arch: str
    kernel: str | None
    model: str | None
    features: frozenset[str]
    memory_bytes: int | None
    free_bytes: int | None
    glibc: str | None
    python: str | None
    edgekit: str | None
    is_root: bool
    trtexec: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the long list of features."""
        return {key: value for key, value in vars(self).items() if key != "features"}


def probe(board: Ssh, folder: str) -> BoardFacts:
    """Ask a board that has been entered, about the disk of a folder too; TargetError when it does not answer."""
    code, answer, messages = answer_to(board, f"base={shlex.quote(folder)}\n{_ASK}")
    if code and not answer:
        raise board.failed(code, messages)
    rows = (line.partition("=") for line in answer.splitlines())
    said = {key: printable(value).strip()[:4096] for key, _, value in rows if value.strip()}
    return BoardFacts(
        arch=board.arch,
        kernel=said.get("kernel"),
        model=said.get("model"),
        features=frozenset(said.get("features", "").split()),
        memory_bytes=_kib(said.get("memory", "")),
        free_bytes=_kib(said.get("free", "")),
        glibc=said.get("glibc"),
        python=said.get("python"),
        edgekit=said.get("edgekit"),
        is_root=said.get("user") == "0",
        trtexec=said.get("trtexec"),
    )


def _kib(text: str) -> int | None:
    return int(text) * 1024 if re.fullmatch("[0-9]{1,15}", text) else None


def check(name: str, facts: BoardFacts, artifact: Artifact) -> None:
    """Refuse a board that an artifact's program is not for.

    UsageError for another architecture, TargetError for a processor that lacks instructions, CapacityError for too
    little memory or disk. What a board does not say is left to the self-test there.
    """
    program = artifact.manifest.get("program") or {}
    rows = [row for row in (program, *program.get("also", [])) if row.get("library")]
    if not rows:
        raise UsageError(f"artifact {artifact.name!r}", "holds no program for Linux", "convert the model for the board")
    fitting = next((row for row in rows if row["arch"] == facts.arch), None)
    if fitting is None:
        made = " and ".join(str(row["arch"]) for row in rows)
        cause = f"is a program for {artifact.manifest['target']} ({made}), {name} is {facts.arch}"
        raise UsageError(f"artifact {artifact.name!r}", cause, "convert the model for that board, or name another one")
    wanted = _features(artifact, fitting)
    # A 64-bit kernel names the features of 64-bit programs; its cores have those of Armv7 too.
    known = facts.features and not (facts.arch == "armv7" and "asimd" in facts.features)
    if known and (lacking := wanted - facts.features):
        cause = f"lacks instructions that this program for {artifact.manifest['target']} is made of"
        raise TargetError(name, cause, "convert the model for that very board", sorted(lacking))
    needed = _memory(artifact, fitting)
    if facts.memory_bytes is not None and needed > facts.memory_bytes:
        raise CapacityError(f"memory of {name}", needed, facts.memory_bytes, "end other programs there")
    needed = _disk(artifact, fitting)
    if facts.free_bytes is not None and needed > facts.free_bytes:
        raise CapacityError(f"disk of {name}", needed, facts.free_bytes, "make room on the board")


def _features(artifact: Artifact, row: Any) -> frozenset[str]:
    """What a processor must have, as Linux names it."""
    level = frozenset(_LEVELS.get(str(row["cpu"]), ())) | ({VNNI} if row["simd"] == "vnni" else frozenset())
    target = load_target(str(artifact.manifest["target"]))
    if target.is_host:
        return level
    machines = [t for t in (target, *target.also.values()) if t.arch == row["arch"]]
    return level | frozenset(machines[0].features if machines else ())


def _memory(artifact: Artifact, row: Any) -> int:
    """What the program takes while its self-test runs: itself twice, what it holds, and twice all that goes in and
    comes out.
    """
    arrays = (*artifact.selftest.inputs.values(), *artifact.selftest.outputs.values())
    held = int(artifact.manifest.get("sizes", {}).get("ram_bytes", 0))
    return _ROOM + 2 * len(artifact.file.members[row["library"]]) + held + 2 * sum(a.nbytes for a in arrays)


def _disk(artifact: Artifact, row: Any) -> int:
    """What is copied: the artifact, its program, what the self-test takes, and what runs them."""
    inputs = sum(array.nbytes for array in artifact.selftest.inputs.values())
    return len(artifact.packed) + len(artifact.file.members[row["library"]]) + inputs + _PROGRAMS
