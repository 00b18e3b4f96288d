"""Opening an artifact for use: which engine may run it, and which one does."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.errors import TargetError, ToolchainError, UsageError
from edgekit.ir import Graph
from edgekit.ir.widths import FULL, checked_width
from edgekit.runtime.build import Library, Program, build_program
from edgekit.runtime.exported import exported_stream, is_exported
from edgekit.runtime.learned import learned_of
from edgekit.runtime.session import Session
from edgekit.runtime.streams import MachineStream, NativeProgram, NativeStream, ReferenceStream, Stream
from edgekit.target import SIMDS, Target, load_target
from edgekit.toolchain import Machine, QemuSystem, QemuUser, emulator_for, find_compiler

ENGINES = ("auto", "native", "rebuilt", "reference", "emulator", "qemu")


def load(
    source: str | PathLike[str] | Artifact, *, engine: str = "auto", learned: bool = True, width: float = 1.0
) -> Session:
    """Open an `.edge`, `.onnx` or `.tflite` file and return a session; `session.engine` says what executes.

    `auto` takes the artifact's own native code if the file is trusted and made for this computer, else code rebuilt
    from its graph with edgekit's kernels if a compiler is here, else the numpy reference. Any other engine is taken or
    refused, never replaced: `native`, `rebuilt`, `reference`, `emulator` (instructions counted), `qemu`.

    An `.onnx` or `.tflite` that edgekit wrote runs in ONNX Runtime or LiteRT, and only there.

    What an artifact has learned lies in a journal beside its file, and is taken over unless `learned` is false:
    `session.commit` then says which commit that is.

    `width` is the share of its units that a model with nested widths computes with, and its whole width unless told.

    Raises ArtifactError for a damaged or hostile file, UsageError or ToolchainError for an engine that cannot run it,
    UsageError that lists the widths there are for another one.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}", "is not known", f"known are {', '.join(ENGINES)}")
    if not isinstance(source, Artifact) and is_exported(source):
        if engine != "auto":
            raise UsageError(f"engine {engine!r}", f"{source} runs in the runtime it was exported for", "leave it out")
        checked_width(f"{source}", None, width)
        return Session(None, exported_stream(source))
    artifact = source if isinstance(source, Artifact) else Artifact.open(source)
    percent = checked_width(f"artifact {artifact.name!r}", artifact.graph, width)
    session = Session(artifact, _CHOICES[engine](artifact, percent), percent)
    if learned and not isinstance(source, Artifact):
        session.commit = learned_of(session, Path(source))
    return session


def _library(artifact: Artifact) -> bytes | None:
    program = artifact.manifest.get("program") or {}
    name = program.get("library")
    return artifact.file.members[name] if name else None


def _native(artifact: Artifact, width: int) -> Stream:
    library = _library(artifact)
    if library is None:
        raise UsageError("engine 'native'", f"artifact {artifact.name!r} carries no native library")
    if why := _foreign(artifact):
        raise UsageError("engine 'native'", why, "use --on emulator, or the engines 'rebuilt' or 'reference'")
    if not artifact.may_run:
        raise UsageError(
            "engine 'native'",
            f"the code in artifact {artifact.name!r} is not trusted on this computer",
            "if you know who made the file: edgekit trust FILE",
        )
    program = artifact.manifest["program"]
    return NativeStream(NativeProgram(artifact.graph, library, f"native ({program['cpu']}, trusted)"), width)


def _foreign(artifact: Artifact) -> str | None:
    """Why this computer cannot run the artifact's library, None if it can."""
    program = artifact.manifest["program"]
    try:
        host = load_target("host")
    except TargetError as error:
        return error.cause
    if program["arch"] != host.arch:
        return f"its library is for {program['arch']}, this computer is {host.arch}"
    order = SIMDS[host.arch]
    if program["simd"] not in order or order.index(program["simd"]) > order.index(host.simd):
        return f"its library needs {program['simd']}, this computer has {host.simd}"
    return None


def _rebuilt(artifact: Artifact, width: int) -> Stream:
    return NativeStream(rebuild(artifact.graph, "rebuilt from the graph"), width)


def rebuild(graph: Graph, engine: str) -> NativeProgram:
    """Compile a graph for this computer with edgekit's own kernels; ToolchainError when no compiler is here."""
    host = load_target("host")
    program = build_program(graph, host)
    return NativeProgram(graph, program.library, f"{engine} ({host.cpu}, {program.compiler.split()[0]})")


def program_stream(graph: Graph, program: Program | Library, target: Target, width: int = FULL) -> Stream:
    """A stream of a program just built here: on this computer if that is the target, else on the emulated core."""
    if target.is_host:
        return NativeStream(NativeProgram(graph, program.library, f"native ({target.cpu})"), width)
    machine = emulator_for(target)(program.library, target)
    return MachineStream(graph, machine, f"emulated {machine.core}, {machine.engine}", width)


def library_here(artifact: Artifact) -> tuple[bytes, str]:
    """The library that may run on this computer, and which that is: the artifact's own if the file is trusted and made
    for it, else one rebuilt from its graph. ToolchainError when that takes a compiler and none is here.
    """
    library = _library(artifact)
    if library is not None and not _foreign(artifact) and artifact.may_run:
        return library, f"native ({artifact.manifest['program']['cpu']}, trusted)"
    host = load_target("host")
    program = build_program(artifact.graph, host)
    return program.library, f"rebuilt from the graph ({host.cpu}, {program.compiler.split()[0]})"


def _reference(artifact: Artifact, width: int) -> Stream:
    return ReferenceStream(artifact.graph, width)


def _auto(artifact: Artifact, width: int) -> Stream:
    if _library(artifact) is not None and not _foreign(artifact) and artifact.may_run:
        return _native(artifact, width)
    try:
        find_compiler(load_target("host"))
    except (ToolchainError, TargetError):  # no compiler for this computer: the session's `engine` says so
        return _reference(artifact, width)
    return _rebuilt(artifact, width)


def _on_machine(artifact: Artifact, width: int, choose: Callable[[Target], type[Machine]]) -> Stream:
    library = _library(artifact)
    if library is None:
        raise UsageError("emulator", f"artifact {artifact.name!r} carries no native library")
    target = load_target(str(artifact.manifest["target"]))
    running = choose(target)(library, target)
    where = f"emulated {running.core}, {running.engine}"
    return MachineStream(artifact.graph, running, where, width)


def _emulator(artifact: Artifact, width: int) -> Stream:
    return _on_machine(artifact, width, emulator_for)  # confined: anything may run in it


def _qemu(artifact: Artifact, width: int) -> Stream:
    # qemu's user mode passes system calls on to this computer; its boards are confined
    if not artifact.may_run and not load_target(str(artifact.manifest["target"])).is_bare:
        raise UsageError(
            "engine 'qemu'",
            f"the code in artifact {artifact.name!r} is not trusted on this computer",
            "use --on emulator, or trust the file: edgekit trust FILE",
        )
    return _on_machine(artifact, width, lambda target: QemuSystem if target.is_bare else QemuUser)


_CHOICES = {
    "auto": _auto,
    "native": _native,
    "rebuilt": _rebuilt,
    "reference": _reference,
    "emulator": _emulator,
    "qemu": _qemu,
}
