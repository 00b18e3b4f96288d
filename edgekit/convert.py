"""The main job, in order: import, optimise, quantise, lower, compile, prove, pack."""

from __future__ import annotations

import dataclasses
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit._version import __version__
from edgekit.artifact import Artifact, check_io, check_meta, describe_io
from edgekit.backends.c import SUPPORTED, kernel_files
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.errors import CapacityError, DataError, UsageError
from edgekit.ir import SCALAR_OPS, Graph
from edgekit.learn import RULES
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.legalize import legalize
from edgekit.passes.normalise import prepend_normalisation
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.reference import growing_states
from edgekit.runtime import program_stream
from edgekit.runtime.build import Program, build_program
from edgekit.runtime.selftest import SelfTestReport, make_selftest, replay_selftest
from edgekit.target import Target, load_target
from edgekit.verify import Rounding, rounding_effect

if TYPE_CHECKING:
    from edgekit.frontends import Imported

Array = npt.NDArray[Any]
Progress = Callable[[str], None]

PRECISIONS: Mapping[str, Callable[[Graph], Graph]] = {"fp32": lambda graph: graph, "w8": quantize_weights_int8}
SELFTEST_STEPS = 32
ACTIVITY_WINDOWS = 64


@dataclass(frozen=True)
class Options:
    """What a conversion was asked for; `learn` names a rule, `compiler` a compiler to use instead of the first."""

    target: str = "host"
    precision: str = "fp32"
    calib: Array | None = None  # [N, (T,) features] raw inputs: activity and self-test come from it
    learn: str | None = None
    learning_rate: float = 0.01
    compiler: str | None = None


@dataclass(frozen=True)
class Conversion:
    """A finished conversion: the artifact, and what was found out on the way; `notes` are for whoever uses it."""

    artifact: Artifact
    imported: Imported
    program: Program
    selftest: SelfTestReport
    activity: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def convert(
    module: Any,
    example_input: Any = None,
    *,
    target: str = "host",
    precision: str = "fp32",
    calib: npt.ArrayLike | None = None,
    name: str | None = None,
    dt: float | None = None,
    io: Mapping[str, Any] | None = None,
    learn: str | None = None,
    learning_rate: float = 0.01,
) -> Artifact:
    """Turn a torch module whose call is one time step into a verified artifact.

    `example_input` is one batch of inputs, [B, features] (an edgekit model needs none); `calib` raw inputs from which
    spike rates are measured; `io` the normalisation, window, decision and class names; `dt` seconds per step.
    Raises an EdgekitError that names what cannot be converted, and why.
    """
    from edgekit.frontends import import_module

    options = Options(target, precision, None if calib is None else np.asarray(calib), learn, learning_rate)
    _check(options)
    imported = import_module(module, example_input, name=name or type(module).__name__.lower(), dt=dt)
    return convert_imported(imported, options, io=io).artifact


def convert_file(
    path: str | PathLike[str],
    options: Options,
    *,
    config: Mapping[str, Any] | str | PathLike[str] | None = None,
    factory: str | None = None,
    progress: Progress = lambda _stage: None,
) -> Conversion:
    """Convert a model file; see `edgekit convert --help` for what it may be."""
    from edgekit.frontends import import_file

    _check(options)
    progress("import")
    return convert_imported(import_file(path, config=config, factory=factory), options, progress=progress)


def convert_imported(
    imported: Imported,
    options: Options,
    *,
    io: Mapping[str, Any] | None = None,
    progress: Progress = lambda _stage: None,
) -> Conversion:
    """The rest of the way, for a graph that a front end has imported and replayed."""
    target = load_target(options.target)
    imported = dataclasses.replace(imported, graph=_with_free_name(imported.graph))
    meta = check_meta(io if io is not None else imported.io or {})
    check_io(imported.graph, meta)  # before the work
    progress("optimise")
    graph = run_passes(_normalised(imported.graph, meta), OPTIMISE)
    if options.learn is not None:
        graph = RULES[options.learn](graph, options.learning_rate)
    exact, graph = graph, PRECISIONS[options.precision](graph)
    rounded = graph
    graph = run_passes(legalize(graph, SUPPORTED | SCALAR_OPS.keys(), "C"), LOWER)
    stimulus = _stimulus(graph, meta, options.calib)
    activity = measure_activity(graph, stimulus, typical=options.calib is not None)
    graph = choose_forms(graph, activity)
    progress("compile")
    program = build_program(graph, target, compiler=options.compiler)
    _check_capacity(target, program)
    progress("prove")
    few = {n: a[:8, :SELFTEST_STEPS] for n, a in stimulus.items()}
    rounding = None if rounded is exact else rounding_effect(exact, rounded, few)
    notes = _notes(imported, exact, options, rounding)
    selftest = make_selftest(graph, few)
    report = replay_selftest(graph, selftest, program_stream(graph, program, target))
    progress("pack")
    manifest = _manifest(
        imported=imported,
        graph=graph,
        meta=meta,
        options=options,
        target=target,
        program=program,
        report=report,
        rounding=rounding,
        notes=notes,
    )
    artifact = Artifact.build(manifest, graph, selftest, _members(graph, program))
    return Conversion(artifact, imported, program, report, activity, notes)


def _notes(imported: Imported, exact: Graph, options: Options, rounding: Rounding | None) -> tuple[str, ...]:
    """What a user should know of a program that is right: that its states diverge, and what it lost to rounding."""
    hint = "; a larger theta for its order, or zoh, makes an LMU stable" if imported.family == "lmu" else ""
    notes = [*imported.notes, *(f"{growth}{hint}" for growth in growing_states(exact))]
    if rounding is not None:
        where = "the calibration windows" if options.calib is not None else "noise"
        judge = "edgekit verify with labelled data tells what that means for decisions"
        notes.append(f"{options.precision} changes {rounding} on {where}; {judge}")
    return tuple(notes)


@dataclass(frozen=True)
class Original:
    """The model before conversion: its imported graph with the normalisation, and the torch module to run."""

    graph: Graph
    imported: Imported

    def quantised(self, precision: str) -> Graph:
        """The optimised graph with the weights of a precision, as a conversion makes them."""
        return PRECISIONS[precision](run_passes(self.graph, OPTIMISE))

    def _normalised(self, x: Array) -> Array:
        spec = (self.imported.io or {}).get("input") or {}
        if spec.get("scale") is None:
            return x
        repeats = x.shape[-1] // len(spec["scale"])
        offset, scale = (np.tile(np.asarray(spec[k], np.float32), repeats) for k in ("offset", "scale"))
        return np.asarray((x.astype(np.float32) - offset) * scale)

    def states(self, window: Array) -> list[dict[str, Array]]:
        """States of the torch module after each step of one raw window [T, *shape]."""
        from edgekit.frontends import original_states

        return original_states(self.imported, self._normalised(window))

    def run(self, x: Array) -> Array:
        """Outputs of the torch module over raw windows: [N, T, *shape] -> [N, T, *out]; stateless [N, *shape]."""
        from edgekit.frontends import run_original

        x = self._normalised(x)
        shape = self.graph.tensors[self.graph.entries["step"].inputs[0]].shape
        sequence = x.ndim == len(shape) + 2
        y = run_original(self.imported, x if sequence else x[:, None])
        return y if sequence else y[:, 0]


def original_of(imported: Imported) -> Original:
    """What `verify` compares an artifact with."""
    return Original(_normalised(imported.graph, imported.io or {}), imported)


def _check(options: Options) -> None:
    if options.precision not in PRECISIONS:
        known = "fp32, w8, int8, int8s8, int4, auto"
        remedy = f"this version has {', '.join(PRECISIONS)}"
        cause = "is not in this version yet" if options.precision in known.split(", ") else "is not known"
        raise UsageError(f"precision {options.precision!r}", cause, remedy)
    if options.learn is not None and options.learn not in RULES:
        raise UsageError(f"learning rule {options.learn!r}", "is not known", f"known are {', '.join(RULES)}")
    load_target(options.target)


def _with_free_name(graph: Graph) -> Graph:
    """The graph under a name that no kernel has: both become C identifiers that start with `ek_`."""
    taken = set(re.findall(r"\bek_\w+", " ".join(kernel_files().values())))
    prefix = f"ek_{graph.name}"
    clash = any(name == prefix or name.startswith(f"{prefix}_") for name in taken)
    return graph.replace(name=f"{graph.name}_model") if clash else graph


def _normalised(graph: Graph, meta: Mapping[str, Any]) -> Graph:
    spec = meta.get("input") or {}
    if spec.get("offset") is None and spec.get("scale") is None:
        return graph
    name = graph.entries["step"].inputs[0]
    return prepend_normalisation(graph, name, spec.get("offset") or (), spec.get("scale") or ())


def _stimulus(graph: Graph, meta: Mapping[str, Any], calib: Array | None) -> dict[str, Array]:
    """Inputs [N, T, *shape] in raw units: the calibration windows, or noise of the normalisation's spread."""
    step = graph.entries["step"]
    if calib is not None:
        shape = graph.tensors[step.inputs[0]].shape
        windows = np.asarray(calib, np.float32)
        spec = meta.get("input") or {}
        if spec.get("layout") == "flattened" and windows.ndim == 3 and windows.shape[1] * windows.shape[2] == shape[-1]:
            windows = windows.reshape(len(windows), -1)
        if len(step.inputs) != 1 or windows.shape[windows.ndim - len(shape) :] != shape or not windows.size:
            raise DataError("calibration data", f"has shape {windows.shape}", f"the model takes [N, T, {shape}]")
        if windows.ndim == len(shape) + 1:  # stateless: every row is a step
            windows = windows[None, : ACTIVITY_WINDOWS * SELFTEST_STEPS]
        if windows.ndim != len(shape) + 2:
            raise DataError("calibration data", f"has shape {windows.shape}", f"the model takes [N, T, {shape}]")
        if not np.isfinite(windows).all():
            raise DataError("calibration data", "holds NaN or Inf")
        return {step.inputs[0]: windows[:ACTIVITY_WINDOWS]}
    rng = np.random.default_rng(0)
    spec = meta.get("input") or {}
    inputs = {}
    for name in step.inputs:
        shape = graph.tensors[name].shape
        noise = rng.normal(size=(8, SELFTEST_STEPS, *shape))
        if name == step.inputs[0] and spec.get("scale"):
            repeats = shape[-1] // len(spec["scale"])
            noise = noise / np.tile(spec["scale"], repeats) + np.tile(spec["offset"], repeats)
        inputs[name] = noise.astype(np.float32)
    return inputs


def _check_capacity(target: Target, program: Program) -> None:
    for what, required, available in (
        ("flash", len(program.library), target.flash_bytes),
        ("RAM", program.struct_bytes, target.ram_bytes),
    ):
        if available is not None and required > available:
            raise CapacityError(f"target {target.name}, {what}", required, available, "a smaller model or precision")


def _members(graph: Graph, program: Program) -> dict[str, bytes]:
    header = f"ek_{graph.name}.h"
    return {
        f"native/{graph.name}.so": program.library,
        f"native/{header}": program.files[header].encode(),
        **{f"c/{path}": text.encode() for path, text in program.files.items()},
    }


def _manifest(
    *,
    imported: Imported,
    graph: Graph,
    meta: Mapping[str, Any],
    options: Options,
    target: Target,
    program: Program,
    report: SelfTestReport,
    rounding: Rounding | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "schema_version": 1,
        "edgekit": __version__,
        "name": graph.name,
        "target": target.name,
        "precision": options.precision,
        "graph_sha256": graph.hash(),
        "entries": {e.name: {"inputs": list(e.inputs), "outputs": list(e.outputs)} for e in graph.entries.values()},
        "io": describe_io(graph, meta),
        "sizes": {
            "flash_bytes": len(program.library),
            "ram_bytes": program.struct_bytes,
            "state_bytes": program.plan.state_bytes,
            "arena_bytes": program.plan.arena_bytes,
            "weights_bytes": program.constant_bytes,
        },
        "program": {
            "arch": target.arch,
            "cpu": target.cpu,
            "simd": target.simd,
            "compiler": program.compiler,
            "flags": list(program.flags),
            "library": f"native/{graph.name}.so",
        },
        "kernels": [
            {"entry": k.entry, "op": k.symbol.removeprefix(f"ek_{graph.name}_{k.entry}_"), "kernel": k.kernel}
            for k in program.kernels
        ],
        "verification": {
            "replay_steps": imported.report.steps,
            "replay_worst_error": float(imported.report.worst_error),
            "selftest_on": report.engine,
            "selftest_worst_error": report.worst_error,
        },
        "provenance": {"python": platform.python_version(), **imported.provenance},
    }
    if rounding is not None:
        changed = {"rounding_worst_change": rounding.worst, "rounding_spikes_changed": rounding.spikes}
        manifest["verification"] |= {key: value for key, value in changed.items() if value is not None}
    if notes:
        manifest["notes"] = list(notes)
    if imported.family:
        manifest["family"] = imported.family
    if imported.assumed:
        manifest["assumed"] = {
            k: v if isinstance(v, (str, int, float)) else str(v) for k, v in imported.assumed.items()
        }
    return manifest


class _CallableModule(ModuleType):
    """Importing this module puts it in the place of the function `edgekit.convert`: called, it is the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Artifact:
        return convert(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
