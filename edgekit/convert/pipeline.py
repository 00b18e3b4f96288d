"""The stages of a conversion in order: import, optimise, quantise, lower, compile, prove, pack."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact, check_io, check_meta
from edgekit.backends.c import SUPPORTED, kernel_names
from edgekit.compress.apply import Compressed
from edgekit.compress.nested import nested, nesting_of
from edgekit.convert.agreement import decision_rule, judge_of
from edgekit.convert.beside import members_beside
from edgekit.convert.capacity import check_budget, check_capacity, check_steps, coding_note, learning_ram, measured
from edgekit.convert.compression import check_learned, section, smaller
from edgekit.convert.inputs import Inputs, few, normalised, raw_inputs, some
from edgekit.convert.integer import IntegerStage, stored_inputs
from edgekit.convert.manifest import manifest_of, members
from edgekit.convert.options import FLOAT_PRECISIONS, Options, check_options
from edgekit.convert.progress import Progress, silent
from edgekit.convert.widths import prove_widths, widths_section
from edgekit.ir import SCALAR_OPS, Graph
from edgekit.ir.widths import at_width, narrow_widths
from edgekit.learn import learning_section, ready_to_learn, with_learning
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.passes.ranges import analyse, certificate
from edgekit.reference import growing_states
from edgekit.runtime import program_stream
from edgekit.runtime.build import Program, build_program
from edgekit.runtime.firmware import with_selftest
from edgekit.runtime.selftest import SelfTestReport, make_selftest, replay_selftest
from edgekit.runtime.trial import BORDER
from edgekit.target import load_target
from edgekit.verify import Rounding, rounding_effect

if TYPE_CHECKING:
    from edgekit.frontends import Imported


@dataclass(frozen=True)
class Conversion:
    """A finished conversion: the artifact, and what was found out on the way; `notes` are for whoever uses it."""

    artifact: Artifact
    imported: Imported
    program: Program
    selftest: SelfTestReport
    activity: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """An imported model ready for every way out: `exact` is its optimised step in floats, which takes raw units.

    `meta` is the io section as `check_meta` gives it, `raw` inputs [N, T, *shape] to measure and to prove with,
    `compressed` what a recipe made of the step, where it computes with floats.
    """

    imported: Imported
    meta: Mapping[str, Any]
    raw: Inputs
    exact: Graph
    compressed: Compressed | None = None


def convert_file(
    path: str | PathLike[str] | None,
    options: Options,
    *,
    config: Mapping[str, Any] | str | PathLike[str] | None = None,
    factory: str | None = None,
    progress: Progress = silent,
) -> Conversion:
    """Convert a model file; see `edgekit convert --help` for what it may be."""
    from edgekit.frontends import import_file

    check_options(options)
    progress("import")
    return convert_imported(import_file(path, config=config, factory=factory), options, progress=progress)


def prepare(
    imported: Imported, options: Options, *, io: Mapping[str, Any] | None = None, progress: Progress = silent
) -> Prepared:
    """What every way out begins with; ModelError for an `io` that does not fit the model, before any work."""
    imported = dataclasses.replace(imported, graph=with_free_name(imported.graph))
    meta = check_meta(io if io is not None else imported.io or {})
    check_io(imported.graph, meta)
    progress("optimise")
    raw = raw_inputs(imported.graph, meta, options.windows)
    made = None if options.is_integer else smaller(run_passes(imported.graph, OPTIMISE), meta, options, raw, progress)
    float_step = imported.graph if made is None else made.graph
    return Prepared(imported, meta, raw, run_passes(normalised(float_step, meta), OPTIMISE), made)


def convert_imported(
    imported: Imported,
    options: Options,
    *,
    io: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Conversion:
    """The rest of the way, for a graph that a front end has imported and replayed."""
    return convert_prepared(prepare(imported, options, io=io, progress=progress), options, progress=progress)


def convert_ready(imported: Imported, options: Options, *, progress: Progress = silent) -> Conversion:
    """The rest of the way for a graph that is a program as it is: every entry stays, and the step takes raw units."""
    imported = dataclasses.replace(imported, graph=with_free_name(imported.graph))
    meta = check_meta({})
    raw = raw_inputs(imported.graph, meta, options.windows)
    return convert_prepared(Prepared(imported, meta, raw, imported.graph), options, progress=progress)


def convert_prepared(prepared: Prepared, options: Options, *, progress: Progress = silent) -> Conversion:
    """The artifact of a prepared model: quantised, lowered, compiled, proven, packed."""
    target = load_target(options.target)
    imported, meta, raw, exact = prepared.imported, prepared.meta, prepared.raw, prepared.exact
    integer: IntegerStage | None = None
    described = meta
    if options.learn is not None:
        check_steps(exact, options.learn)
        learn, described = ready_to_learn(options.learn, exact, meta, shown=options.windows is not None)
        options = dataclasses.replace(options, learn=learn)
    if options.is_integer:
        integer = IntegerStage.run(imported.graph, meta, options, raw, progress)
        rounded = whole = integer.graph
    else:
        if options.learn is not None:
            learning = with_learning(exact, options.learn, raw)
            if prepared.compressed is not None:
                check_learned(prepared.compressed, exact, learning)
            exact = learning
        rounded = whole = FLOAT_PRECISIONS[options.precision](exact)
        if options.nested:
            whole = nested(rounded, nesting_of(exact, options.nested))
    graph = run_passes(legalize(whole, SUPPORTED | SCALAR_OPS.keys(), "C"), LOWER)
    stimulus = stored_inputs(graph, raw) if integer else raw
    activity = measure_activity(graph, some(stimulus), typical=options.windows is not None)
    graph = choose_forms(graph, activity)
    sections: dict[str, Any] = {}
    made = integer.compressed if integer else prepared.compressed
    if options.compression is not None:
        sections["compression"] = section(imported.graph, options.compression, made) | dict(options.trained or {})
    if integer:
        progress("prove that nothing wraps around")  # before anything is compiled
        sections |= {"quantisation": integer.section(), "ranges": certificate(analyse(graph), graph)}
        prove_widths(graph)
    progress("compile")
    program = build_program(graph, target, compiler=options.compiler, coded=options.flash_coding)
    ram = learning_ram(graph, program) if options.learn is not None else 0
    check_budget(ram, options.learn.ram if options.learn is not None else None)
    check_capacity(target, program)  # before it is run: an emulated memory would be too small as well
    progress("prove")
    alone = integer.program.graph if integer else rounded  # what a rule makes of the outputs is no rounding
    changed = None if rounded is exact else rounding_effect(exact, alone, few(some(raw)))
    selftest = make_selftest(graph, few(some(stimulus)))
    if target.is_bare:
        program = with_selftest(graph, program, selftest, target, compiler=options.compiler)
    stream = program_stream(graph, program, target)
    report = replay_selftest(graph, selftest, stream)
    emulated = measured(stream, graph, selftest, raw)
    stack = None if emulated is None else emulated.stack_bytes
    check_capacity(target, program, stack)
    coding = [coding_note(program, emulated)] if options.flash_coding else []
    if options.learn is not None:
        sections["learning"] = {**learning_section(options.learn, graph), "ram_bytes": ram}
        if emulated is not None:
            learns = {n: count for n, count in emulated.instructions.items() if n not in BORDER}
            sections["learning"]["instructions"] = learns
    others = [replay_selftest(graph, selftest, program_stream(graph, o, o.target)) for o in program.also.values()]
    if options.nested:
        sections["widths"] = widths_section(graph, program, target, selftest, few(some(raw)))
    beside, remarks = members_beside(prepared, target, options, progress)
    remarks += [f"self-test of the library beside it on {other.engine}: {other.steps} steps" for other in others]
    notes = [
        *_notes(imported, exact, options, changed),
        *_effect(prepared, options, whole),
        *(integer.notes if integer else ()),
        *coding,
        *remarks,
    ]
    progress("pack")
    manifest = manifest_of(
        imported=imported,
        graph=graph,
        meta=described,
        options=options,
        target=target,
        program=program,
        stack=stack,
        report=report,
        rounding=changed,
        notes=notes,
        sections=sections,
    )
    artifact = Artifact.build(manifest, graph, selftest, members(graph, program) | beside)
    return Conversion(artifact, imported, program, report, activity, tuple(notes))


def _notes(imported: Imported, exact: Graph, options: Options, rounding: Rounding | None) -> list[str]:
    """What a user should know of a program that is right: that its states diverge, and what it lost to rounding."""
    hint = "; a larger theta for its order, or zoh, makes an LMU stable" if imported.family == "lmu" else ""
    notes = [*imported.notes, *(f"{growth}{hint}" for growth in growing_states(exact))]
    if rounding is not None:
        where = "the calibration windows" if options.windows is not None else "noise"
        judge = "edgekit verify with labelled data tells what that means for decisions"
        notes.append(f"{options.precision} changes {rounding} on {where}; {judge}")
    return notes


def _effect(prepared: Prepared, options: Options, made: Graph) -> list[str]:
    """What a recipe did to a program of floats, and how much that is still like the original, at each of its widths."""
    if prepared.compressed is None:
        return []
    graph, meta = prepared.imported.graph, prepared.meta
    original = run_passes(normalised(graph, meta), OPTIMISE)
    judge = judge_of(original, prepared.raw, decision_rule(graph, meta))
    where = "the calibration windows" if options.windows is not None else "noise"
    narrow = {percent: judge.score(at_width(made, percent)) for percent in narrow_widths(made)}
    return [
        *prepared.compressed.notes,
        f"on {where}: {judge.score(prepared.exact)}",
        *(f"at {percent} % of the units, on {where}: {score}" for percent, score in narrow.items()),
    ]


def with_free_name(graph: Graph) -> Graph:
    """The graph under a name that no kernel has: both become C identifiers that start with `ek_`."""
    prefix = f"ek_{graph.name}"
    clash = any(name == prefix or name.startswith(f"{prefix}_") for name in kernel_names())
    return graph.replace(name=f"{graph.name}_model") if clash else graph
