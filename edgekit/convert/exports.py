"""Every way out of a model at once: made, checked against the reference, and only then written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgekit.artifact.read import load_bytes
from edgekit.artifact.trust import trust_own
from edgekit.convert.inputs import Inputs, few, normalisation_of, some
from edgekit.convert.options import FLOAT_PRECISIONS, PRECISIONS, Options, check_options
from edgekit.convert.pipeline import Conversion, Prepared, convert_prepared, prepare
from edgekit.convert.progress import Progress, silent
from edgekit.convert.sources import c_folder
from edgekit.convert.writing import Content, write_together
from edgekit.errors import UsageError
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.verify import rounding_effect

if TYPE_CHECKING:
    from edgekit.frontends.options import ImportOptions

EDGE, ONNX, TFLITE, NIR, C = "edge", "onnx", "tflite", "nir", "c"
SUFFIXES: Mapping[str, str] = MappingProxyType({EDGE: ".edge", ONNX: ".onnx", TFLITE: ".tflite", NIR: ".nir", C: ".c"})
SEQUENCE_SUFFIX = ".seq.onnx"
OTHER_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".safetensors", ".pt2", ".npy", ".npz", ".json"})
"""Suffixes that no format has, and that say of a file that it is something else."""
FORMATS = tuple(SUFFIXES)
COMPILED = frozenset({EDGE, C})
EXCHANGED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {ONNX: ("fp32", "w8", "int8"), TFLITE: ("fp32", "w8", "int8"), NIR: ("fp32",)}
)
"""Precisions of the formats that other runtimes read; programs in C have them all."""
TFLITE_STATES = ("io", "resource")
_PACKAGES = {ONNX: ("onnx", "onnx"), TFLITE: ("ai_edge_litert", "tflite"), NIR: ("nir", "nir")}  # package, extra


@dataclass(frozen=True)
class Wanted:
    """What is to be written: the formats, and what only some of them know.

    `sequence` adds the form of ONNX that takes whole windows, `tflite_states` says whether states of a .tflite are
    ports (`io`) or kept inside (`resource`), `approximate` allows a NIR file that is not exactly the model.
    """

    formats: tuple[str, ...] = (EDGE,)
    sequence: bool = False
    tflite_states: str = TFLITE_STATES[0]
    approximate: bool = False

    @property
    def suffixes(self) -> dict[str, str]:
        """The files by what they are, with their suffixes."""
        found = {name: SUFFIXES[name] for name in self.formats}
        return found | ({f"{ONNX} sequence": SEQUENCE_SUFFIX} if self.sequence else {})

    def paths(self, output: Path | None, stem: str) -> dict[str, Path]:
        """Where each file goes: one alone to `output` itself, several beside one another.

        Of several, `output` is the common stem, without a suffix of a known format; `stem` takes its place where it is
        not given. UsageError for one file whose suffix says that it is of another format.
        """
        suffixes = self.suffixes
        if output is None:
            output = Path(stem)
        elif len(suffixes) == 1:
            _check_suffix(output, *suffixes.items())
            return dict.fromkeys(suffixes, output)
        else:
            known = next((s for s in (SEQUENCE_SUFFIX, *SUFFIXES.values()) if output.name.endswith(s)), "")
            output = output.with_name(output.name.removesuffix(known) or output.name)
        return {name: output.with_name(output.name + suffix) for name, suffix in suffixes.items()}


def _check_suffix(output: Path, asked: tuple[str, str]) -> None:
    """UsageError when the suffix of an output is that of another format, or of a file of weights or numbers."""
    name, suffix = asked
    kind = next((kind for kind, its in SUFFIXES.items() if its == output.suffix), None)
    if kind == name or (kind is None and output.suffix not in OTHER_SUFFIXES):
        return
    cause = f"has the suffix {output.suffix} of another kind of file, the format is {name}"
    remedy = f"name it {output.with_suffix(suffix).name}" + (f", or give --format {kind}" if kind else "")
    raise UsageError(f"-o {output}", cause, remedy)


@dataclass(frozen=True, eq=False)
class Made:
    """One file (or folder) before it is written: what it is, and how it was checked.

    `worst` is the largest error |y - r| / max(1, |r|) against the reference, None where nothing was compared.
    """

    format: str
    content: Content
    check: str
    checked: bool
    worst: float | None = None

    def contents(self) -> bytes:
        """The bytes of a file; UsageError for a folder."""
        if not isinstance(self.content, bytes):
            raise UsageError(f"format {self.format!r}", "is a folder of files, not one")
        return self.content

    @property
    def size(self) -> int:
        """Bytes, of a folder those of its files."""
        return len(self.content) if isinstance(self.content, bytes) else sum(map(len, self.content.values()))


@dataclass(frozen=True, eq=False)
class Exports:
    """All that was made of a model; `conversion` is there where a program was compiled."""

    prepared: Prepared
    made: tuple[Made, ...]
    conversion: Conversion | None = None
    notes: tuple[str, ...] = field(default=())

    def write(self, paths: Mapping[str, Path]) -> None:
        """Write everything, whole or not at all; an artifact that was made here is trusted from then on."""
        edge, artifact = paths.get(EDGE), self.conversion.artifact if self.conversion else None
        replaced = _digest(edge) if edge is not None and edge.is_file() else None
        write_together([(paths[made.format], made.content) for made in self.made])
        if edge is not None and artifact is not None:
            trust_own(artifact.sha256, edge.name, replaced)


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats in a comma-separated list; UsageError that names all that are unknown or repeated."""
    names = [name.strip() for name in text.split(",")]
    faults = [f"{name!r} is not known" for name in dict.fromkeys(names) if name not in FORMATS]
    faults += [f"{name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if faults:
        raise UsageError(f"--format {text}", "; ".join(faults), f"known are {', '.join(FORMATS)}")
    return tuple(names)


def check_wanted(wanted: Wanted, options: Options) -> None:
    """UsageError that lists everything that contradicts the formats, before any work; of missing packages as well."""
    formats, faults = set(wanted.formats), []
    try:
        check_options(options)
    except UsageError as error:
        if formats <= COMPILED:
            raise
        faults.append(str(error))
    for name in wanted.formats:
        known = EXCHANGED.get(name, PRECISIONS)
        if options.precision not in known:
            faults.append(f"{name}: has no precision {options.precision!r}, it has {', '.join(known)}")
    exchanged = [name for name in wanted.formats if name in EXCHANGED]
    if options.learn is not None and exchanged:
        faults.append(f"--learn: {', '.join(exchanged)} files hold a step alone; make edge and c apart from them")
    if options.compression is not None and (lost := [n for n in exchanged if options.is_integer or n == NIR]):
        faults.append(f"--recipe: {', '.join(lost)} files cannot have it; {ONNX} and {TFLITE} can in fp32 and w8")
    elif options.nested and exchanged:
        faults.append(f"[[nested]]: {', '.join(exchanged)} files have one width; make edge and c apart from them")
    if options.widen and exchanged:
        faults.append(f"--widen: has no meaning in {', '.join(exchanged)} files")
    if options.compiler is not None and not formats & COMPILED:
        faults.append("--compiler: nothing is compiled, it is for edge and c")
    if options.flash_coding and not formats & COMPILED:
        faults.append("--flash-coding: nothing is compiled, it is for edge and c")
    if wanted.sequence and ONNX not in formats:
        faults.append("--sequence: is a form of onnx, which is not among the formats")
    if wanted.tflite_states not in TFLITE_STATES:
        faults.append(f"--tflite-states {wanted.tflite_states}: is not known, known are {', '.join(TFLITE_STATES)}")
    elif wanted.tflite_states != TFLITE_STATES[0] and TFLITE not in formats:
        faults.append("--tflite-states: is for tflite, which is not among the formats")
    if wanted.approximate and NIR not in formats:
        faults.append("--approximate: is for nir, which is not among the formats")
    for name, (package, extra) in _PACKAGES.items():
        if name in formats and find_spec(package) is None:
            faults.append(f"{name}: {package} is not installed: pip install 'edgekit[{extra}]'")
    if len(faults) == 1:
        raise UsageError(f"--format {','.join(wanted.formats)}", faults[0])
    if faults:
        raise UsageError(f"--format {','.join(wanted.formats)}", "cannot be made like that", items=faults)


def convert_to(
    path: str | PathLike[str] | None,
    wanted: Wanted,
    options: Options,
    importing: ImportOptions,
    *,
    name: str | None = None,
    progress: Progress = silent,
) -> Exports:
    """Import a model and make and check every file that is wanted; nothing is written."""
    from edgekit.frontends.files import import_with

    check_wanted(wanted, options)
    progress("import")
    imported = import_with(None if path is None else Path(path), importing, name)
    return export_imported(prepare(imported, options, progress=progress), wanted, options, progress=progress)


def export_imported(prepared: Prepared, wanted: Wanted, options: Options, *, progress: Progress = silent) -> Exports:
    """Make and check every file that is wanted of a prepared model."""
    made: list[Made] = []
    notes = list(prepared.imported.notes)
    for name in (n for n in wanted.formats if n in EXCHANGED):  # these are refused sooner than a compiler is done
        progress(f"write and check {name}")
        made += _WAYS[name](prepared, wanted, options, notes)
    conversion = None
    if COMPILED & set(wanted.formats):
        conversion = convert_prepared(prepared, options, progress=progress)
        notes = list(dict.fromkeys([*conversion.notes, *notes]))
        report = conversion.selftest
        check = f"self-test on {report.engine}: {report.steps} steps"
        contents: dict[str, Content] = {EDGE: conversion.artifact.packed, C: c_folder(conversion)}
        made += [Made(n, contents[n], check, True, report.worst_error) for n in wanted.formats if n in COMPILED]
    order = list(wanted.suffixes)
    return Exports(prepared, tuple(sorted(made, key=lambda m: order.index(m.format))), conversion, tuple(notes))


def _digest(path: Path) -> str:
    return hashlib.sha256(load_bytes(path)).hexdigest()


def _streams(prepared: Prepared) -> Inputs:
    """Inputs [N, T, *shape] that exported files are checked on: windows that were given, or noise."""
    return few(some(prepared.raw))


def _onnx(prepared: Prepared, wanted: Wanted, options: Options, notes: list[str]) -> list[Made]:
    from edgekit.backends.onnx import calibrate_onnx, check_onnx, export_onnx, make_program

    graph = own_outputs(prepared.exact)
    calibration = None
    if options.precision not in FLOAT_PRECISIONS:
        calibration = calibrate_onnx(graph, prepared.raw, method=options.calib_method)
    made = []
    for form, what in (("step", ONNX), *([("sequence", f"{ONNX} sequence")] if wanted.sequence else [])):
        precision: dict[str, Any] = {"precision": options.precision, "calibration": calibration}
        data = export_onnx(graph, meta=prepared.meta, form=form, **precision)
        if find_spec("onnxruntime") is None:
            made.append(Made(what, data, "not checked: onnxruntime is not installed", False))
            continue
        found = check_onnx(data, graph, calibration=calibration, inputs=_streams(prepared))
        check = f"onnxruntime {version('onnxruntime')}: {found.streams} x {found.steps} steps{_excused(found.excused)}"
        check += f", {found.amplified} with a state off by more than 1e-5" if found.amplified else ""
        made.append(Made(what, data, check, True, found.worst))
    if options.precision != "fp32":
        rounded = make_program(graph, options.precision, calibration).reference()
        notes.append(f"onnx {options.precision} changes {rounding_effect(graph, rounded, _streams(prepared))}")
    return made


def _excused(count: int) -> str:
    return f", {count} near a tie" if count else ""


def _tflite(prepared: Prepared, wanted: Wanted, options: Options, notes: list[str]) -> list[Made]:
    if options.precision not in FLOAT_PRECISIONS:
        return [_tflite_int8(prepared, wanted, options)]
    from edgekit.backends.tflite import check_tflite, export_tflite

    exact = own_outputs(prepared.exact)
    graph = FLOAT_PRECISIONS[options.precision](exact)
    data = export_tflite(graph, io=prepared.meta, precision=options.precision, states=wanted.tflite_states)
    found = check_tflite(data, graph, inputs=_streams(prepared))
    if graph is not exact:
        notes.append(f"tflite {options.precision} changes {rounding_effect(exact, graph, _streams(prepared))}")
    check = f"{found.engine}: {found.steps} steps, kernels {' and '.join(found.kernels)}{_excused(found.excused)}"
    return [Made(TFLITE, data, check, True, found.worst)]


def _tflite_int8(prepared: Prepared, wanted: Wanted, options: Options) -> Made:
    """Integers throughout: what rounding does is measured, there is nothing that they have to equal."""
    from edgekit.backends.tflite import export_tflite, measure_tflite, plan_of

    graph = own_outputs(run_passes(prepared.imported.graph, OPTIMISE))
    known = normalisation_of(graph, prepared.meta)
    plan = plan_of(graph, prepared.raw, normalisation=known, method=options.calib_method)
    states = wanted.tflite_states
    data = export_tflite(graph, io=prepared.meta, precision=options.precision, states=states, plan=plan)
    found = measure_tflite(data, graph, _streams(prepared), normalisation=known)
    spikes = "" if found.spikes is None else f", {found.spikes:.2%} of output spikes"
    check = f"{found.engine}: {found.steps} steps, rounding changes outputs{spikes}; kernels {found.apart:.2g} apart"
    return Made(TFLITE, data, check, True, found.worst)


def _nir(prepared: Prepared, wanted: Wanted, _options: Options, notes: list[str]) -> list[Made]:
    from edgekit.backends.nir import export_nir

    program = getattr(prepared.imported.original, "program", None)  # of a NIR graph: its own parameters leave again
    found = export_nir(prepared.exact, approximate=wanted.approximate, program=program)
    notes += [f"nir: {note}" for note in found.notes]
    notes += [f"nir is not exactly the model: {text}" for text in found.inexact]
    check = "simulation of its equations: equal on noise"
    if found.difference is not None:
        check = f"APPROXIMATE, {found.difference}"
    return [Made(NIR, found.to_bytes(), check, True, None)]


_WAYS = {ONNX: _onnx, TFLITE: _tflite, NIR: _nir}


def exchanged(name: str, prepared: Prepared, wanted: Wanted, options: Options, notes: list[str]) -> list[Made]:
    """Make and check the files of one format of EXCHANGED; remarks are added to `notes`."""
    return _WAYS[name](prepared, wanted, options, notes)
