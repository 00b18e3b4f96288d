"""Every form that a recipe can give a model, as programs of the shipped HAR models with streams of real windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache

from integer_equality import Expected, reference_of
from integer_families import ROOT, stream_of, windows

from edgekit.compress.rules import Compression, NestedRule, StateRule, UnitRule, WeightRule
from edgekit.convert.inputs import some
from edgekit.convert.integer import IntegerStage, stored_inputs
from edgekit.convert.options import Options
from edgekit.convert.progress import silent
from edgekit.frontends import import_file
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.pipelines import LOWER, run_passes

CALIBRATION, STEPS = 24, 80  # windows, and steps of a stream
UNITS = {"mlp": "network.*", "lmu": "h", "l2mu": "h.membrane", "elm": "m"}
SQUARE = {"mlp": "network.3.weight", "lmu": "W_h.weight", "l2mu": "W_h.weight", "elm": "*.folded"}


def _all(**how: object) -> Compression:
    return Compression(weights=(WeightRule("*", **how),))  # type: ignore[arg-type]


def _of(form: str, family: str) -> Compression:
    """The recipe of a form for a family."""
    square = SQUARE[family]
    forms: Mapping[str, Compression] = {
        "int4": Compression("int4"),
        "ternary": _all(bits=2),
        "palette 2": _all(palette=2),
        "palette 3": _all(palette=3),
        "palette 4": _all(palette=4),
        "groups": Compression("int4", weights=(WeightRule(square, group=16),)),
        "low rank": Compression("int4", weights=(WeightRule(square, rank=7),)),
        "unstructured": _all(density=0.2),
        "blocks of 4": _all(density=0.15, block=(1, 4)),
        "blocks of 16": _all(density=0.15, block=(1, 16)),
        "blocks of 4 outputs in int4": Compression("int4", weights=(WeightRule("*", density=0.15, block=(4, 1)),)),
        "units out": Compression("int4", units=(UnitRule(UNITS[family], keep=0.45),)),
        "nested widths": Compression("int8", nested=(NestedRule(UNITS[family]),)),
        "mixed": Compression(
            "int8s8",
            weights=(WeightRule("*", bits=4), WeightRule(square, palette=3, density=0.4), WeightRule("W_m*", bits=2))
            if family in ("lmu", "l2mu")
            else (WeightRule("*", bits=4), WeightRule(square, palette=3, density=0.4)),
        ),
        "coarse": _all(levels=20),
        "wide states": Compression("int4", states=(StateRule("*", 16),)),
    }
    return forms[form]


FORMS = (
    *("int4", "ternary", "palette 2", "palette 3", "palette 4", "groups", "low rank", "unstructured", "blocks of 4"),
    *("blocks of 16", "blocks of 4 outputs in int4", "units out", "nested widths", "mixed", "coarse", "wide states"),
)


@lru_cache
def program(family: str, form: str) -> Expected:
    """A shipped model in a form, and what the reference says of real steps."""
    imported = import_file(ROOT / f"examples/har/checkpoints/{family}_B.pt")
    (source,) = imported.graph.entries["step"].inputs
    raw = windows()[:CALIBRATION]
    flat = imported.graph.tensors[source].shape[0] != raw.shape[-1]
    given = {source: raw.reshape(len(raw), 1, -1) if flat else raw}
    compression = _of(form, family)
    options = Options(precision=compression.precision, calib=raw, compression=compression)
    named = imported.graph.replace(name=f"{family}_{form.replace(' ', '_')}")
    stage = IntegerStage.run(named, imported.io or {}, options, given, silent)
    graph = run_passes(stage.graph, LOWER)
    graph = choose_forms(graph, measure_activity(graph, some(stored_inputs(graph, given))))
    found = reference_of(graph, 0, STEPS, lambda graph, seed, steps: [stream_of(graph)[:steps]])
    # the entries of a width move the state: tests/conformance/test_c_widths.py looks at those
    border = {entry: calls for entry, calls in found.border.items() if not entry.startswith("step_")}
    return dataclasses.replace(found, border=border)
