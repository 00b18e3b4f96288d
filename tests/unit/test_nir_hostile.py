"""`.nir` files that are damaged or made to harm: one typed error each, never a crash, a hang or a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")

from nir_graphs import neuron, random_graph  # noqa: E402

from edgekit.errors import EdgekitError, ModelError  # noqa: E402
from edgekit.frontends.nir import import_nir  # noqa: E402
from edgekit.nir import hdf5, raw, read  # noqa: E402
from edgekit.nir.hdf5 import read_file  # noqa: E402
from edgekit.nir.memory import from_memory  # noqa: E402
from edgekit.nir.program import make_program  # noqa: E402


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    nir.write(tmp_path / "g.nir", random_graph(3))
    return tmp_path / "g.nir"


def edited(path: Path, edit: Callable[[Any], None]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        import_nir(path, dt=1e-3, charge="current")


def put(file: Any, key: str, data: Any) -> None:
    if key in file:
        del file[key]
    file[key] = data


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(2000)])
def test_what_is_no_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.nir").write_bytes(content)
    refused(tmp_path / "x.nir", "is not a NIR file|is damaged")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.nir", "cannot be read")
    refused(tmp_path, "cannot be read")


def test_a_large_file_is_refused_before_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_FILE_BYTES", 100)
    refused(path, "has [0-9,]+ bytes")


def test_another_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.nir", "w") as file:
        file["weights"] = np.zeros(3)
    refused(tmp_path / "x.nir", "has no 'node'")


CASES: dict[str, tuple[Callable[[Any], None], str]] = {
    "no nodes": (lambda f: f["node"].pop("nodes"), "has no 'nodes'"),
    "no edges": (lambda f: f["node"].pop("edges"), "has no 'edges'"),
    "no type": (lambda f: f["node/nodes/fc0"].pop("type"), "without a type"),
    "type is a number": (lambda f: put(f, "node/nodes/fc0/type", 3), "without a type"),
    "unknown type": (lambda f: put(f, "node/nodes/fc0/type", "Evil"), "cannot be imported"),
    "node is a value": (lambda f: put(f, "node/nodes/fc0", 3), "not a group"),
    "field is a group": (lambda f: (f["node/nodes/fc0"].pop("bias"), f.create_group("node/nodes/fc0/bias")), "is due"),
    "weights are text": (lambda f: put(f, "node/nodes/fc0/weight", "abc"), "cannot be imported"),
    "weights are texts": (lambda f: put(f, "node/nodes/fc0/weight", ["a", "b"]), "numbers and texts"),
    "weights are complex": (lambda f: put(f, "node/nodes/fc0/weight", np.ones((2, 4)) * 1j), "dtype complex"),
    "weights are NaN": (lambda f: put(f, "node/nodes/fc0/weight", np.full((2, 4), np.nan)), "cannot be imported"),
    "weights are empty": (lambda f: put(f, "node/nodes/fc0/weight", np.zeros((0, 4))), "cannot be imported"),
    "weights are huge numbers": (lambda f: put(f, "node/nodes/fc0/weight", np.full((2, 4), 1e300)), "cannot be"),
    "edges are numbers": (lambda f: put(f, "node/edges", np.zeros((3, 2))), "an edge is two names"),
    "edges of three": (lambda f: put(f, "node/edges", [["a", "b", "c"]]), "an edge is two names"),
    "edge to nowhere": (lambda f: put(f, "node/edges", [["fc0", "nowhere"]]), "cannot be imported"),
    "an extra field": (lambda f: put(f, "node/nodes/fc0/colour", 3.0), "cannot be imported"),
    "a negative shape": (lambda f: put(f, "node/nodes/input/shape", np.array([-4])), "cannot be imported"),
    "an endless shape": (lambda f: put(f, "node/nodes/input/shape", np.array([2**40])), "cannot be imported"),
    "nodes in a matrix": (lambda f: f.create_group("node/nodes/fc0/nodes"), "not a graph"),
    "soft link": (lambda f: put(f, "node/nodes/again", h5py.SoftLink("/node")), "leads elsewhere"),
    "external link": (lambda f: put(f, "node/nodes/far", h5py.ExternalLink("/etc/passwd", "/")), "leads elsewhere"),
    "circle": (lambda f: put(f, "node/nodes/circle", f["node"]), "in a circle|more than"),
    "a name that is too long": (lambda f: f.copy("node/nodes/fc0", f"node/nodes/{'x' * 300}"), "another form"),
}


@pytest.mark.drawn(2)
@pytest.mark.parametrize("case", CASES)
def test_every_malformation_has_its_error(path: Path, case: str) -> None:
    edit, match = CASES[case]
    refused(edited(path, edit), match)


def test_values_in_other_files_are_not_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))

    def external(file: Any) -> None:
        del file["node/nodes/fc0/bias"]
        file["node/nodes/fc0"].create_dataset("bias", (8,), "f8", external=[(str(tmp_path / "secret"), 0, 64)])

    refused(edited(path, external), "in another file")


def test_a_virtual_dataset_is_not_read(path: Path) -> None:
    def virtual(file: Any) -> None:
        del file["node/nodes/fc0/bias"]
        layout = h5py.VirtualLayout((8,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (8,))
        file["node/nodes/fc0"].create_virtual_dataset("bias", layout)

    refused(edited(path, virtual), "in another file")


def test_a_dataset_that_unpacks_to_much_is_refused_by_its_size(path: Path) -> None:
    def bomb(file: Any) -> None:
        del file["node/nodes/fc0/bias"]
        file["node/nodes/fc0"].create_dataset("bias", (2**34,), "f8", chunks=(2**20,), compression="gzip")

    refused(edited(path, bomb), "has more than 33,554,432 values")


def test_nodes_edges_and_depth_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(3)
    deep = graph
    for _ in range(raw.MAX_DEPTH + 1):
        nodes = {"input": nir.Input(np.array([4])), "g": deep, "output": nir.Output(graph.output_type["output"])}
        deep = nir.NIRGraph(nodes, [("input", "g"), ("g", "output")], type_check=False)
    with pytest.raises(ModelError, match="nests graphs"):
        import_nir(deep, dt=1e-3)
    for name, what in (("nodes", "nodes"), ("edges", "edges"), ("values", "values")):
        with pytest.raises(ModelError, match=f"more than [0-9,]+ {what}"):
            raw.Budget("g").take(name, 2**40)
    circle = nir.NIRGraph({"input": nir.Input(np.array([4]))}, [], type_check=False)
    circle.nodes["self"] = circle
    with pytest.raises(ModelError, match="in a circle"):
        import_nir(circle, dt=1e-3)


def test_metadata_is_no_way_in(path: Path) -> None:
    def odd(file: Any) -> None:
        inside = file["node"].require_group("metadata")
        inside["dt"] = "soon"
        inside["edgekit"] = "[" * 4000
        inside["large"] = np.zeros(5000)
        inside.create_group("group")

    with pytest.raises(ModelError, match="leaves open"):
        import_nir(edited(path, odd))
    import_nir(path, dt=1e-3, charge="current")


def test_a_reader_that_hangs_or_dies_is_a_damaged_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "SECONDS", 0)
    refused(path, "is damaged")


def flipped(data: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        damaged[int(random.integers(8, len(damaged)))] = int(random.integers(256))
    return bytes(damaged)


@pytest.mark.slow
def test_flipped_bytes_give_typed_errors_or_a_graph(path: Path) -> None:
    random, data, refusals = np.random.default_rng(0), path.read_bytes(), 0
    tries = 60 if "EDGEKIT_SWEEPS" in os.environ else 20
    for _ in range(tries):
        path.write_bytes(flipped(data, random))
        try:
            import_nir(path, dt=1e-3, charge="current")
        except EdgekitError:
            refusals += 1
    assert 1 < refusals < tries


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_a_cut_file_is_damaged(path: Path, cut: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    refused(path, "is damaged")


def test_without_h5py_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(hdf5, "import_module", missing)
    with pytest.raises(ModelError, match=r"edgekit\[nir\]"):
        read_file(str(path))


def test_fields_of_other_forms_in_memory() -> None:
    node = neuron("LIF", 3)
    for value, match in (
        (None, "lacks tau"),
        ("fast", "of dtype str"),
        ([[]], "no numbers"),
        (object(), "dtype object"),
    ):
        node.tau = value
        graph = nir.NIRGraph({"n": node}, [], type_check=False)
        with pytest.raises(EdgekitError) as caught:
            make_program("g", from_memory(graph), {"dt": 1e-3})
        assert match in str(caught.value)
