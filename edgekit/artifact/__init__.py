"""The one file on disk: write it, read it with nothing taken on faith, validate its manifest, trust it."""

from edgekit.artifact.bundle import Artifact, SelfTest
from edgekit.artifact.describe import check_io, check_meta, describe_io
from edgekit.artifact.exported import (
    Port,
    Quantised,
    StatePort,
    StepDocument,
    dump_step_document,
    read_step_document,
    state_output,
    step_document,
)
from edgekit.artifact.layout import GRAPH, MANIFEST, SELFTEST, WEIGHTS
from edgekit.artifact.read import ArtifactFile, read_artifact
from edgekit.artifact.strict_json import dump_json, parse_json, parse_object
from edgekit.artifact.tensors import dump_tensors, load_tensors
from edgekit.artifact.trust import is_trusted, list_path, list_trusted, trust, untrust
from edgekit.artifact.validate import SCHEMA_VERSION, validate_manifest
from edgekit.artifact.write import pack_artifact, write_artifact

__all__ = [
    "GRAPH",
    "MANIFEST",
    "SCHEMA_VERSION",
    "SELFTEST",
    "WEIGHTS",
    "Artifact",
    "ArtifactFile",
    "Port",
    "Quantised",
    "SelfTest",
    "StatePort",
    "StepDocument",
    "check_io",
    "check_meta",
    "describe_io",
    "dump_json",
    "dump_step_document",
    "dump_tensors",
    "is_trusted",
    "list_path",
    "list_trusted",
    "load_tensors",
    "pack_artifact",
    "parse_json",
    "parse_object",
    "read_artifact",
    "read_step_document",
    "state_output",
    "step_document",
    "trust",
    "untrust",
    "validate_manifest",
    "write_artifact",
]
