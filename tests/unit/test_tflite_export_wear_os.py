"""Wear OS: two libraries that Android can load, run by emulated cores, side by side in one artifact."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from converted import artifact, stream
from elftools.elf.elffile import ELFFile

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import ArtifactError
from edgekit.reference import Interpreter
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target
from edgekit.toolchain import emulator_for

PAGE = 16384


@pytest.fixture(scope="module")
def watch() -> Artifact:
    pytest.importorskip("torch")
    return artifact("quiet", target="wear-os")


def libraries(watch: Artifact) -> dict[str, bytes]:
    program, members = watch.manifest["program"], watch.file.members
    rows = [program, *program["also"]]
    return {row["arch"]: members[row["library"]] for row in rows}


def test_both_libraries_load_under_android(watch: Artifact) -> None:
    found = libraries(watch)
    assert set(found) == {"aarch64", "armv7"}
    for arch, library in found.items():
        elf = ELFFile(io.BytesIO(library))
        loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        assert loads
        assert {s["p_align"] for s in loads} == {PAGE}
        assert all(s["p_vaddr"] % PAGE == s["p_offset"] % PAGE for s in loads)
        dynamic = elf.get_section_by_name(".dynamic")
        assert not [t for t in dynamic.iter_tags() if t.entry.d_tag in ("DT_NEEDED", "DT_TEXTREL")]
        assert elf.get_section_by_name(".gnu.hash") or elf.get_section_by_name(".hash")
        names = {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols()}
        assert f"ek_{watch.name}_step" in names
        assert elf.elfclass == (64 if arch == "aarch64" else 32)


def test_no_float_crosses_the_border_by_value(watch: Artifact) -> None:
    """Android on 32 bits passes floats in integer registers, the library would look for them elsewhere."""
    header = next(d.decode() for n, d in watch.file.members.items() if n.startswith("native/") and n.endswith(".h"))
    declared = re.findall(r"^[\w ]+[ *]ek_\w+\([^)]*\);", re.sub(r"/\*.*?\*/|//[^\n]*", "", header, flags=re.S), re.M)
    assert any(f"ek_{watch.name}_step(" in line for line in declared)
    for line in declared:
        assert not re.search(r"\b(float|double)\b(?!\s*(const\s*)?\*)", line), line


@pytest.mark.parametrize("arch", ["aarch64", "armv7"])
def test_both_libraries_compute_what_the_reference_does(arch: str, watch: Artifact) -> None:
    target = load_target("wear-os")
    machine = target if arch == "aarch64" else target.also[arch]
    with emulator_for(machine)(libraries(watch)[arch], machine) as emulated:
        running = MachineStream(watch.graph, emulated, arch)
        reference, x = Interpreter(watch.graph), stream(60)
        state = reference.initial_state()
        fired = 0.0
        for row in x:
            (got,) = running.call("step", [row])
            outputs, state = reference.execute({watch.graph.entries["step"].inputs[0]: row[None]}, state)
            (wanted,) = outputs.values()
            np.testing.assert_array_equal(got, wanted[0].astype(np.float32))
            fired += float(got.sum())
        assert fired > 0


def test_the_manifest_says_how_far_it_was_tried(watch: Artifact) -> None:
    program = watch.manifest["program"]
    assert program["grade"] == "untested on device"
    assert "-Wl,-z,max-page-size=16384" in program["flags"]
    (row,) = program["also"]
    assert (row["arch"], row["cpu"], row["simd"]) == ("armv7", "cortex_a7", "neon32")
    assert row["library"] == f"native/armv7/{watch.name}.so"
    assert "grade" not in artifact("quiet").manifest["program"]


def test_a_library_that_is_not_there_is_refused(watch: Artifact) -> None:
    from edgekit.artifact.write import pack_artifact

    members = {
        n: d for n, d in watch.file.members.items() if n not in ("manifest.json", f"native/armv7/{watch.name}.so")
    }
    manifest = {k: v for k, v in watch.manifest.items() if k != "members"}
    with pytest.raises(ArtifactError, match=r"program.also\[0\].library"):
        pack_artifact(manifest, members)


def test_a_session_runs_it_in_the_emulator(watch: Artifact, tmp_path) -> None:
    watch.save(tmp_path / "watch.edge")
    session = edgekit.load(tmp_path / "watch.edge", engine="emulator")
    assert "cortex-a53" in session.engine
    assert session.run(stream(5)).shape[0] == 5


def test_the_artifact_holds_a_tflite_model_that_was_checked(watch: Artifact) -> None:
    pytest.importorskip("ai_edge_litert")
    from edgekit.backends.tflite import TfliteStep

    model = TfliteStep(watch.file.members["model.tflite"])
    assert [p.name for p in model.document.inputs] == list(watch.graph.entries["step"].inputs)
    assert any(note.startswith("model.tflite checked: ai-edge-litert") for note in watch.manifest["notes"])
    assert "model.tflite" not in artifact("quiet").file.members


def test_both_libraries_pass_the_self_test_before_they_are_packed(watch: Artifact) -> None:
    assert "cortex-a53" in watch.manifest["verification"]["selftest_on"]
    notes = watch.manifest["notes"]
    assert any(n.startswith("self-test of the library beside it on emulated cortex-a7") for n in notes), notes


def test_what_tflite_does_not_have_is_said() -> None:
    pytest.importorskip("torch")
    learning = artifact("mlp", target="wear-os", learn="delta")
    assert "model.tflite" not in learning.file.members
    assert any("holds a step alone, without learning" in note for note in learning.manifest["notes"])
