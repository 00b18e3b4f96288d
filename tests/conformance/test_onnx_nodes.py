"""onnx's own node tests of every operator that the importer claims, through the reference and the C backend."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from c_runs import Emulated, Native
from onnx_nodes import COMPOSITES, REASONS, Case, Excluded, Lowered, lowered, node_tests, program, running, table

from edgekit.frontends.onnx.table import ROWS
from edgekit.ir import Graph
from edgekit.reference import Interpreter

pytestmark = pytest.mark.slow

RUN = 979
"""Of onnx 1.23.2: the tests that run. What does not is below, by reason."""
NOT_RUN = {
    "antialias": 4,
    "crop": 4,
    "diagonal": 1,
    "dtype": 187,
    "empty": 31,
    "expansion": 3,
    "float16": 1,
    "indices": 2,
    "integers": 38,
    "not finite": 7,
    "opset": 16,
    "rank": 2,
    "reduction": 10,
    "sequence": 4,
    "training": 8,
}
PARTS = 4
"""Shared libraries into which the cases are compiled."""
SWEEPS = pytest.mark.skipif("EDGEKIT_SWEEPS" not in os.environ, reason="make test-all compiles expansions too")


@pytest.mark.drawn(2)
def test_nothing_is_left_out_silently() -> None:
    out = Counter(c.reason for c in node_tests() if isinstance(c, Excluded))
    print(f"\n{len(running())} node tests run, {out.total()} do not: {dict(sorted(out.items()))}")
    assert out.keys() <= REASONS.keys()
    assert (len(running()), dict(out)) == (RUN, NOT_RUN)
    assert len({c.name for c in node_tests()}) == len(node_tests())


def test_every_claimed_operator_has_a_test() -> None:
    tested = {node.op_type for case in running() for node in case.model.graph.node}
    without = {"GroupNormalization", "MatMulInteger"}  # a newer form, and integer inputs: in the unit tests
    assert tested == ROWS.keys() - without


def test_the_table_in_the_docs_is_this_one() -> None:
    """Written by `python -m tools.onnx_nodes -o docs/ONNX.md`."""
    assert (Path(__file__).parents[2] / "docs" / "ONNX.md").read_text(encoding="utf-8") == table()


def test_the_reference_gives_what_onnx_expects() -> None:
    faults = []
    for case in map(lowered, running()):
        with np.errstate(all="ignore"):
            outputs, _ = Interpreter(case.graph).execute(case.fed(), {})
        try:
            case.check(outputs)
        except AssertionError as error:
            faults.append(str(error))
    assert not faults, "\n".join(faults)


def check_entries(program_of: Native | Emulated, graph: Graph, cases: list[Lowered]) -> None:
    for name, case in zip(graph.entries, cases, strict=True):
        fed = case.fed()
        code, outputs = program_of.entry(name, *(fed[n][0] for n in case.graph.entries["step"].inputs))
        assert code == 0, case.case.name
        case.check({n: y[None] for n, y in zip(case.graph.entries["step"].outputs, outputs, strict=True)})


def in_c(cases: list[Case]) -> None:
    made = [lowered(c) for c in cases]
    graph = program(made)
    check_entries(Native(graph, "zig"), graph, made)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_c_backend_gives_what_onnx_expects(part: int) -> None:
    in_c([c for c in running() if c.op != COMPOSITES][part::PARTS])


@SWEEPS
@pytest.mark.parametrize("part", range(PARTS))
def test_the_c_backend_gives_what_onnx_expects_of_expansions(part: int) -> None:
    in_c([c for c in running() if c.op == COMPOSITES][part::PARTS])


def test_an_emulated_core_gives_what_onnx_expects() -> None:
    first: dict[str, Case] = {}
    for case in running():
        first.setdefault(case.op, case)
    cases = [lowered(c) for c in first.values()]
    graph = program(cases)
    emulated = Emulated(graph)
    try:
        check_entries(emulated, graph, cases)
    finally:
        emulated.close()
