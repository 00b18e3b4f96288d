"""Places over a step: what the program really leaves there, nothing needed on top of one another, sums that agree."""

from __future__ import annotations

import ctypes
import json
from itertools import combinations

import numpy as np
import pytest
from converted import artifact, module

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import UsageError
from edgekit.profile.arena import COUNT, IN_PLACE, INPUT, LIST, SCRATCH, STATE, VALUE, Places, artifact_places
from edgekit.profile.breakdown import ticked_program
from edgekit.profile.grades import DERIVED
from edgekit.profile.ops import step_calls
from edgekit.profile.stimulus import selftest_stimulus
from edgekit.reference import unpack_states
from edgekit.runtime import load
from edgekit.runtime.streams import NativeStream
from edgekit.target import load_target

TARGETS = ("host", "smartwatch-m4", "smartwatch-m55")


def made(family: str, precision: str, target: str) -> Artifact:
    if precision == "fp32":
        return artifact(family, target=target)
    return edgekit.convert(module(family), target=target, precision="int8", calib="synthetic", name="small")


@pytest.fixture(scope="module", params=[(f, p, t) for f in ("mlp", "l2mu") for p in ("fp32", "int8") for t in TARGETS])
def program(request: pytest.FixtureRequest) -> Artifact:
    return made(*request.param)


@pytest.mark.drawn(3)
def test_sizes_are_those_of_the_manifest(program):
    found, sizes = artifact_places(program), program.manifest["sizes"]
    assert found.struct_bytes == sizes["ram_bytes"]
    assert found.state_bytes == sizes["state_bytes"] == sum(p.bytes for p in found.places if p.kind == STATE)
    values = [p for p in found.places if p.kind == VALUE]
    first = min((p.offset for p in values), default=0)
    assert max((p.offset + p.bytes - first for p in values), default=0) <= found.arena_bytes == sizes["arena_bytes"]
    assert sum(c.bytes for c in found.constants) == found.constant_bytes == sizes["weights_bytes"]
    assert found.grade == DERIVED


def test_every_tensor_of_the_step_has_its_place(program):
    found, graph = artifact_places(program), program.graph
    entry = graph.entries["step"]
    by_kind = {kind: {p.name for p in found.places if p.kind == kind} for kind in (STATE, INPUT, VALUE, IN_PLACE)}
    assert by_kind[STATE] == set(graph.state_names)
    assert by_kind[INPUT] == set(entry.inputs)
    views = {op.outputs[0] for op in entry.ops if op.kind == "reshape"}
    assert by_kind[VALUE] | by_kind[IN_PLACE] == {n for op in entry.ops for n in op.outputs} - views
    for place in found.places:
        if place.kind in (STATE, INPUT, VALUE, IN_PLACE):
            tensor = graph.tensors[place.name]
            assert (place.dtype, place.shape) == (str(tensor.dtype), tensor.shape)
    weights = {n for op in entry.ops if op.kind == "linear" for n in op.inputs[1:2]}
    assert weights <= {name for stored in found.constants for name in stored.tensors}


def test_nothing_that_is_needed_lies_on_another_thing(program):
    found = artifact_places(program)
    end = len(found.calls) - 1
    for place in found.places:
        assert 0 <= place.first <= place.last <= end
        assert 0 <= place.offset <= place.offset + place.bytes <= found.struct_bytes
    for a, b in combinations(found.places, 2):
        apart = a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset
        # A call may write its result over what it is the last to read; a new state is made in the place of the old.
        follows = a.last <= b.first or b.last <= a.first
        assert apart or follows or IN_PLACE in (a.kind, b.kind), (a, b)


def test_live_bytes_are_those_of_the_places_at_each_call(program):
    found = artifact_places(program)
    assert len(found.live) == len(found.calls)
    assert max(found.live) == found.peak <= found.struct_bytes
    for at, live in enumerate(found.live):
        taken = np.zeros(found.struct_bytes, bool)
        for place in found.places:
            if place.first <= at <= place.last:
                taken[place.offset : place.offset + place.bytes] = True
        assert live == taken.sum()


def test_calls_are_those_of_a_breakdown():
    program = artifact("l2mu")
    calls = step_calls(program.graph, ticked_program(program.graph, load_target("host")).calls)
    assert artifact_places(program).calls == tuple(c.removeprefix(f"ek_{program.name}_step_") for c in calls)


def lying(running: NativeStream, found: Places, name: str, kinds: tuple[str, ...], size: int) -> np.ndarray:
    """What lies at the place of a tensor, as numbers."""
    (place,) = (p for p in found.places if p.name == name and p.kind in kinds)
    address = running.struct.value
    assert address is not None
    raw = ctypes.string_at(address + place.offset, place.bytes)
    if place.dtype == "spike":
        return np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[:size]
    return np.frombuffer(raw, place.dtype)[:size]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_program_leaves_its_values_where_the_places_say(precision):
    """On this computer, whose spikes lie in the order of their bits."""
    program = made("l2mu", precision, "host")
    running, found = load(program, engine="rebuilt").engine_stream, artifact_places(program)
    assert isinstance(running, NativeStream)
    (inputs,) = selftest_stimulus(program).streams
    graph = program.graph
    for t in range(4):
        given = [a[t] for a in inputs]
        outputs = running.call("step", given)
        for name, array in zip(graph.entries["step"].inputs, given, strict=True):
            np.testing.assert_array_equal(lying(running, found, name, (INPUT,), array.size), array.reshape(-1))
        for name, array in zip(graph.entries["step"].outputs, outputs, strict=True):
            np.testing.assert_array_equal(lying(running, found, name, (VALUE, IN_PLACE), array.size), array.reshape(-1))
        held = {s.tensor: lying(running, found, s.tensor, (STATE,), graph.tensors[s.tensor].size) for s in graph.states}
        for name, array in unpack_states(graph, running.save()).items():
            np.testing.assert_array_equal(held[name], array.reshape(-1))


def test_a_list_that_a_step_takes_over_is_there_from_its_first_call_and_to_its_last():
    found = artifact_places(made("l2mu", "int8", "host"))
    lists = [p for p in found.places if p.kind == LIST]
    assert {p.name for p in lists} & {p.name for p in found.places if p.kind == STATE}
    for member in {p.member for p in lists}:
        mine = [p for p in lists if p.member == member]
        assert mine[0].first == 0
        assert mine[-1].last == len(found.calls) - 1


def test_a_list_that_each_step_makes_is_free_after_the_last_op_that_reads_it():
    found = artifact_places(artifact("l2mu"))
    lists = [p for p in found.places if p.kind == LIST]
    assert lists
    assert all("event" in found.calls[at] for p in lists for at in (p.first, p.last))


def test_what_kernels_work_in_is_taken_while_they_run():
    found = artifact_places(made("mlp", "int8", "smartwatch-m4"))
    kinds = {p.kind for p in found.places}
    assert COUNT in kinds
    for place in found.places:
        if place.kind == SCRATCH:
            assert 0 < place.first <= place.last < len(found.calls) - 1


def test_a_program_that_was_laid_out_otherwise_is_refused():
    program = artifact("mlp")
    changed = {key: value for key, value in program.manifest.items() if key != "members"}
    changed["sizes"] = {**changed["sizes"], "ram_bytes": 64}
    kept = {n: b for n, b in program.file.members.items() if n.startswith(("native/", "c/"))}
    other = Artifact.build(changed, program.graph, program.selftest, kept)
    with pytest.raises(UsageError, match=r"(?s)artifact 'mlp_fp32'.*convert the model again.*ram_bytes: 64 then"):
        artifact_places(other)


def test_places_are_plain_json_values():
    document = json.loads(json.dumps(artifact_places(artifact("l2mu")).to_dict()))
    assert {"name", "kind", "bytes", "offset", "first", "last"} <= set(document["places"][0])
    assert document["peak"] == max(document["live"])
