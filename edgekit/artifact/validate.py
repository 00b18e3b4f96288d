"""The manifest, schema versions 1 and 2: its form as a table, and what must agree between its fields."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from edgekit.artifact.layout import MANIFEST
from edgekit.artifact.schema import (
    IDENTIFIER,
    Check,
    choice,
    count,
    either,
    list_of,
    number,
    optional,
    record,
    scalar,
    table_of,
    text,
    whole,
)
from edgekit.errors import ArtifactError
from edgekit.ir import DTYPES

SCHEMA_VERSION = 1
LATER = 2  # of files that readers of version 1 do not understand: weights are coded, or the manifest has one of
LATER_KEYS = frozenset({"widths", "compression"})
LATER_SIZES = frozenset({"coded_bytes", "decoded_bytes"})  # or its sizes have one of these
VERSIONS = (SCHEMA_VERSION, LATER)
PRECISIONS = ("fp32", "w8", "int8", "int8s8", "int4", "auto")
DECISIONS = ("sum", "mean", "last")
LAYOUTS = ("sequence", "flattened")
MAX_FAULTS = 12

_PARTS = ("struct", "arena", "weights", "text", "stack")

SHA256 = text(r"[0-9a-f]{64}")
NAME = text(r"[ -~]{1,200}")
SHAPE = list_of(count(1, 2**24), maximum=8)
DTYPE = text(r"(spike|int4|int8|int16|int32|float16|float32)")

PORT_FACTS: Mapping[str, Check] = {  # what may be known of an input
    "unit": NAME,  # of the raw values, before normalisation
    "rate_hz": number(positive=True),
    "channels": list_of(NAME),
    "offset": list_of(number()),  # normalised = (raw - offset) * scale, per channel
    "scale": list_of(number(positive=True)),
}
_INPUT = record(
    {"name": NAME, "shape": SHAPE, "dtype": DTYPE}, {key: optional(check) for key, check in PORT_FACTS.items()}
)
_OUTPUT = record({"name": NAME, "shape": SHAPE, "dtype": DTYPE}, {"meaning": optional(NAME)})
IO = record(
    {"inputs": list_of(_INPUT), "outputs": list_of(_OUTPUT)},
    {
        "dt": optional(number(positive=True)),  # seconds per step
        "discretisation": optional(NAME),
        "window": optional(record({"length": count(1), "stride": count(1), "layout": choice(*LAYOUTS)})),
        "decision": optional(choice(*DECISIONS)),
        "classes": optional(list_of(NAME)),
    },
)
_PROGRAM = record(
    {"arch": NAME, "cpu": NAME, "simd": NAME, "compiler": NAME},
    {
        "library": optional(NAME),
        "flags": list_of(NAME),
        "grade": NAME,  # how far programs for this target were tried
        "also": list_of(  # the same program for further machines of the target
            record({"arch": NAME, "cpu": NAME, "simd": NAME, "library": NAME}, {"flags": list_of(NAME)}), maximum=8
        ),
    },
)
_KERNEL = record({"entry": text(IDENTIFIER), "op": NAME, "kernel": NAME})
_ENTRY = record({"inputs": list_of(NAME), "outputs": list_of(NAME)})
# Weights are as the program stores them: padded, of sparse ones with their indices. `weights_coded` is what they take
# in this file, `coded` what of the program's constants lies in flash in coded form, `decoded` what that fills of RAM.
_SIZES = record(
    {"flash_bytes": count(), "ram_bytes": count(), "state_bytes": count()},
    {f"{part}_bytes": count() for part in (*_PARTS, "weights_coded", "coded", "decoded")},
)

_QUANTISATION = record(  # how an integer program came about; the scales themselves are in the graph
    {
        "recipe": NAME,
        "method": NAME,  # of reading ranges off the calibration windows
        "calibration": choice("windows", "synthetic"),
        "windows": count(1),
        "original_sha256": SHA256,  # of the weights it was made from
    },
    {
        "agreement": optional(number()),  # share of the original's decisions that it makes, on the calibration windows
        "widened": list_of(NAME),
        "choices": list_of(record({"tensor": NAME, "dtype": DTYPE, "reason": text()})),
    },
)

_BOUNDS = {"tensor": NAME, "dtype": DTYPE, "lo": whole(), "hi": whole(), "bits": count(1, 32), "of_bits": count(1, 32)}
_FAULT = record({"op": NAME, "tensor": NAME, "dtype": DTYPE, "lo": whole(), "hi": whole()})
_RANGES = record(  # what is proven of an integer program; in stored integers, `real_` in real units, rounding in LSB
    {
        "inputs": list_of(record(_BOUNDS), maximum=64),  # what the proof takes for granted
        "states": list_of(
            record(
                {**_BOUNDS, "shape": SHAPE, "method": NAME, "note": text()},
                {
                    "scale": list_of(number(positive=True), minimum=2, maximum=2),  # the least and the largest
                    "real_lo": number(),
                    "real_hi": number(),
                    "rounding": number(),  # the distance from exact arithmetic fed with the same integers
                    "residue": number(),  # what silence leaves
                    "real_rounding": number(),
                    "real_residue": number(),
                },
            )
        ),
        "accumulators": list_of(record({"op": NAME, **_BOUNDS}), maximum=64),
        "saturates": list_of(_FAULT, maximum=256),
        "wraps": list_of(_FAULT, maximum=0),
        "from_any_state": choice(True, False),  # whether that holds from every state that a blob can hold
    }
)

_LEARNING = record(  # how a program learns on the device; the weights that change are states of the graph
    {"rule": NAME, "plastic": list_of(NAME, minimum=1), "window": count(1, 2**20)},
    {
        "rate": number(positive=True),
        "subspace": list_of(count(1, 4096)),  # lateral rows of each task
        "subspace_rate": number(positive=True),
        "iterations": count(1),
        "momentum": optional(number()),
        "lateral_steps": optional(count(1)),
        "trace": number(),
        "gain": number(),
        "detect": choice(True, False),
        "modulation": choice("error", "reward"),
        "eligibility": number(),
        "baseline": number(),
        "rows": count(1, 4096),  # prototypes of each class and task
        "tasks": count(1, 4096),
        "classes": optional(count(1, 4096)),
        "tau": number(positive=True),
        "gate": number(),
        "margin": number(),
        "budget": optional(number(positive=True)),
        "ram_bytes": count(),  # what learning adds to the program
        "journal_bytes": count(),  # learned values, as a journal stores them
        "instructions": table_of(count()),  # of one call of each entry, on the target's emulated core
    },
)

_WIDTH = record(  # what the program of one width would take alone; instructions of a step, where they were counted
    {"percent": count(1, 100), "weights_bytes": count(), "ram_bytes": count()}, {"instructions": count()}
)

_RULE = table_of(either(scalar, list_of(scalar, maximum=2**16)))
_TRAINING = record(  # with the same model, data and code it can be run again
    {
        "training_sha256": SHA256,  # of its windows and labels
        "validation_sha256": SHA256,
        "best_epoch": count(),  # the one that was kept, from 1; 0 is before training
        "epochs": list_of(record({"loss": number(), "accuracy": number()})),  # accuracy in per cent, on validation
    },
    {"teachers": list_of(NAME, maximum=64), "augmentation": NAME},
)
_COMPRESSION = record(  # the recipe that a program was made by; its own reader checks it
    {
        "recipe": record(
            {"schema_version": count(1), "precision": choice(*PRECISIONS)},
            {**{key: list_of(_RULE) for key in ("units", "weights", "states", "nested")}, "tuning": _RULE},
        ),
        "original_sha256": SHA256,  # of the weights it was made from
    },
    {
        "dropped": table_of(list_of(count())),  # indices of units that were taken out, by the name of their group
        "density": table_of(number(positive=True)),  # of matrices that were pruned, the share of weights that stayed
        "training": _TRAINING,
    },
)

MANIFEST_SCHEMA: Check = record(
    {
        "schema_version": choice(*VERSIONS),
        "edgekit": NAME,  # version of the producer
        "name": text(IDENTIFIER),
        "target": text(r"[a-z0-9-]{1,64}"),
        "precision": choice(*PRECISIONS),
        "graph_sha256": SHA256,
        "entries": table_of(_ENTRY, key=IDENTIFIER, maximum=16),
        "io": IO,
        "sizes": _SIZES,
        "provenance": table_of(scalar),
        "members": table_of(record({"bytes": count(), "sha256": SHA256})),
    },
    {
        "family": optional(NAME),
        "assumed": table_of(scalar),
        "notes": list_of(text(), maximum=64),
        "program": optional(_PROGRAM),
        "kernels": list_of(_KERNEL),
        "verification": table_of(scalar),
        "quantisation": optional(_QUANTISATION),
        "ranges": optional(_RANGES),
        "compression": optional(_COMPRESSION),
        "learning": optional(_LEARNING),
        "widths": list_of(_WIDTH, minimum=2, maximum=16),  # nested: the full width first
    },
)


def check_schema_version(manifest: dict[str, Any]) -> None:
    """Raise ArtifactError unless the manifest is of the version that this edgekit reads."""
    version = manifest.get("schema_version")
    if type(version) is not int or version not in VERSIONS:
        raise ArtifactError(
            MANIFEST,
            f"schema version {version!r:.40} is unknown",
            f"this edgekit reads {' and '.join(map(str, VERSIONS))}",
        )


def validate_manifest(manifest: dict[str, Any]) -> None:
    """Raise ArtifactError that lists what is malformed in a manifest, or what disagrees between its fields."""
    check_schema_version(manifest)
    faults = MANIFEST_SCHEMA(manifest, "") or _disagreements(manifest)
    if faults:
        shown, hidden = faults[1:MAX_FAULTS], len(faults[MAX_FAULTS:])
        raise ArtifactError(MANIFEST, faults[0], items=shown + ([f"and {hidden} more"] if hidden else []))


def _disagreements(manifest: dict[str, Any]) -> list[str]:
    io, entries, members = manifest["io"], manifest["entries"], manifest["members"]
    if "step" not in entries:
        return ["entries has no 'step'"]
    if not io["inputs"] or not io["outputs"]:
        return ["io has no inputs, or no outputs"]
    faults = []
    for side in ("inputs", "outputs"):
        if [port["name"] for port in io[side]] != entries["step"][side]:
            faults.append(f"io.{side} and entries.step.{side} name different tensors")
    faults += io_faults(io) + _range_faults(manifest.get("ranges") or {})
    percents = [row["percent"] for row in manifest.get("widths", [])]
    steps = ["step" if percent == 100 else f"step_{percent}" for percent in percents]
    if len(set(percents)) < len(percents) or not set(steps) <= set(entries):
        faults.append(f"widths {percents} are not those of the entries")
    program = manifest.get("program") or {}
    library = program.get("library")
    if library is not None and library not in members:
        faults.append(f"program.library {library!r} is not a member")
    faults += [
        f"program.also[{i}].library {row['library']!r} is not a member"
        for i, row in enumerate(program.get("also", []))
        if row["library"] not in members
    ]
    faults += [
        f"kernels[{i}].entry {row['entry']!r} is not an entry"
        for i, row in enumerate(manifest.get("kernels", []))
        if row["entry"] not in entries
    ]
    return faults


def _range_faults(ranges: Mapping[str, Any]) -> list[str]:
    faults = []
    for part in ("inputs", "states", "accumulators"):
        for i, row in enumerate(ranges.get(part, [])):
            dtype, lo, hi = DTYPES[row["dtype"]], row["lo"], row["hi"]
            low, high = (0, 1) if dtype.bits == 1 else dtype.limits
            if dtype.is_float or not low <= lo <= hi <= high or not row["bits"] <= row["of_bits"] == dtype.bits:
                faults.append(f"ranges.{part}[{i}]: {lo} to {hi} in {row['bits']} bits is no range of {dtype}")
    return faults


def io_faults(io: Mapping[str, Any]) -> list[str]:
    """What does not fit together in an `io` section of the right form."""
    return [fault for port in io["inputs"] for fault in _normalisation_faults(port)] + _window_faults(io)


def _normalisation_faults(port: dict[str, Any]) -> list[str]:
    lengths = {key: len(port[key]) for key in ("channels", "offset", "scale") if port.get(key) is not None}
    extent = port["shape"][-1] if port["shape"] else 1
    faults = []
    if len(set(lengths.values())) > 1:
        faults.append(f"input {port['name']!r}: channels, offset and scale differ in length")
    faults += [
        f"input {port['name']!r}: {length} values of {key} do not divide its last extent {extent}"
        for key, length in lengths.items()
        if length == 0 or extent % length
    ]
    if ("offset" in lengths) != ("scale" in lengths):
        faults.append(f"input {port['name']!r}: offset and scale come together")
    return faults


def _window_faults(io: Mapping[str, Any]) -> list[str]:
    faults = []
    window, classes = io.get("window"), io.get("classes")
    if window and window["layout"] == "flattened" and prod(io["inputs"][0]["shape"]) % window["length"]:
        faults.append("io.window.length does not divide the flattened input")
    if classes is not None:
        if len(set(classes)) != len(classes):
            faults.append("io.classes names a class twice")
        if prod(io["outputs"][0]["shape"]) != len(classes):
            faults.append(f"io.classes names {len(classes)} classes, the output has {prod(io['outputs'][0]['shape'])}")
    return faults
