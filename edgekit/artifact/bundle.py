"""An artifact as a value: the checked file and the graph inside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.atomic import write_atomic
from edgekit.artifact.layout import GRAPH, SELFTEST, WEIGHTS, max_bytes
from edgekit.artifact.read import ArtifactFile, load_bytes, read_artifact
from edgekit.artifact.strict_json import dump_json, parse_object
from edgekit.artifact.tensors import dump_tensors, load_tensors
from edgekit.artifact.trust import is_trusted, trust_own
from edgekit.artifact.validate import LATER, LATER_KEYS, LATER_SIZES, SCHEMA_VERSION
from edgekit.artifact.weights import dump_weights, load_weights
from edgekit.artifact.write import pack_artifact
from edgekit.artifact.zipform import packed_bytes
from edgekit.errors import ArtifactError, GraphError
from edgekit.ir import Graph, from_document, to_document

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SelfTest:
    """A short stream with its expected results: per input and output [T, *shape], and the state blob at the end."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    final_state: bytes

    def to_tensors(self) -> dict[str, Array]:
        return {
            **{f"input:{name}": array for name, array in self.inputs.items()},
            **{f"output:{name}": array for name, array in self.outputs.items()},
            "state": np.frombuffer(self.final_state, np.uint8),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], graph: Graph) -> SelfTest:
        """The self-test in these tensors; ArtifactError when it does not fit the graph."""
        step = graph.entries["step"]
        sides: dict[str, dict[str, Array]] = {}
        expected = {"state"}
        steps = set()
        for side, names in (("input", step.inputs), ("output", step.outputs)):
            sides[side] = {}
            for name in names:
                key = f"{side}:{name}"
                expected.add(key)
                array = tensors.get(key)
                shape, dtype = graph.tensors[name].shape, graph.port_dtype(name)
                if array is None or array.dtype != dtype or array.shape[1:] != shape:
                    raise ArtifactError(SELFTEST, f"{key} is missing or does not fit the graph")
                steps.add(array.shape[0])
                sides[side][name] = array
        state = tensors.get("state")
        if state is None or state.dtype != np.uint8 or state.ndim != 1 or set(tensors) != expected or len(steps) != 1:
            raise ArtifactError(SELFTEST, "does not hold exactly one stream of this program")
        return cls(sides["input"], sides["output"], state.tobytes())


@dataclass(frozen=True)
class Artifact:
    """One `.edge` file: manifest, graph, weights, self-test vectors and programs, checked as a whole.

    `made_here` is true for what this process has just built: its code may run, and saving it puts it on the trust list.
    """

    file: ArtifactFile
    packed: bytes
    made_here: bool = False

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Artifact:
        """Read and check an artifact; ArtifactError names the file and the first fault."""
        path = Path(path)
        try:
            packed = load_bytes(path)
            artifact = cls(read_artifact(packed), packed)
            artifact.graph, artifact.selftest  # noqa: B018  (both are parsed and checked here, once)
        except (ArtifactError, GraphError) as error:
            raise ArtifactError(f"{path}: {error.thing}", error.cause, error.remedy, error.items) from error
        return artifact

    @classmethod
    def build(
        cls, manifest: Mapping[str, Any], graph: Graph, selftest: SelfTest, programs: Mapping[str, bytes]
    ) -> Artifact:
        """Pack a new artifact; `programs` holds the members under native/ and c/.

        What coded weights take in the file is filled into the `sizes` of the manifest, and the schema version that
        readers need.
        """
        document, arrays = to_document(graph)
        weights, is_coded = dump_weights(arrays)
        sizes = {key: size for key, size in manifest["sizes"].items() if key != "weights_coded_bytes"}
        sizes |= {"weights_coded_bytes": packed_bytes(weights)} if is_coded else {}
        later = is_coded or LATER_KEYS & manifest.keys() or LATER_SIZES & sizes.keys()
        version = LATER if later else SCHEMA_VERSION
        manifest = {**manifest, "sizes": sizes, "schema_version": version}
        members = {
            GRAPH: dump_json(document),
            WEIGHTS: weights,
            SELFTEST: dump_tensors(selftest.to_tensors()),
            **programs,
        }
        packed = pack_artifact(manifest, members)
        return cls(read_artifact(packed), packed, made_here=True)

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.file.manifest

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole file: what the trust list holds."""
        return self.file.sha256

    @cached_property
    def graph(self) -> Graph:
        """The verified graph of the program; GraphError or ArtifactError when the members do not fit together."""
        document = parse_object(self.file.members[GRAPH], GRAPH, max_bytes(GRAPH))
        may_be_coded = self.manifest["schema_version"] >= LATER
        graph = from_document(document, load_weights(self.file.members[WEIGHTS], may_be_coded=may_be_coded))
        if graph.hash() != self.manifest["graph_sha256"]:
            raise ArtifactError(GRAPH, "is not the graph that the manifest names")
        entries = {e.name: {"inputs": list(e.inputs), "outputs": list(e.outputs)} for e in graph.entries.values()}
        if graph.name != self.manifest["name"] or entries != self.manifest["entries"]:
            raise ArtifactError(GRAPH, "and the manifest differ in name or entries")
        for side in ("inputs", "outputs"):
            for port in self.manifest["io"][side]:
                if tuple(port["shape"]) != graph.tensors[port["name"]].shape:
                    raise ArtifactError(GRAPH, f"and the manifest differ in the shape of {port['name']!r}")
        return graph

    @cached_property
    def selftest(self) -> SelfTest:
        """The self-test stream, checked against the graph."""
        return SelfTest.from_tensors(load_tensors(self.file.members[SELFTEST], SELFTEST), self.graph)

    @property
    def may_run(self) -> bool:
        """Whether the code in it may be executed on this computer: it was made here, or the user trusts it."""
        return self.made_here or is_trusted(self.sha256)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file, whole or not at all; what was made here is trusted from then on."""
        path = Path(path)
        replaced = hashlib.sha256(load_bytes(path)).hexdigest() if self.made_here and path.is_file() else None
        write_atomic(path, self.packed)
        if self.made_here:
            trust_own(self.sha256, path.name, replaced)
        return path
