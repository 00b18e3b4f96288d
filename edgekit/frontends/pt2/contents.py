"""What a .pt2 archive holds: the program's JSON, weights and constants, in the layouts of torch 2.5 to 2.13."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from edgekit.errors import ModelError
from edgekit.frontends.pt2.archive import MAX_JSON_BYTES, Archive
from edgekit.frontends.pt2.document import Doc, parse
from edgekit.frontends.pt2.schema import Program
from edgekit.frontends.pt2.values import NARROWED
from edgekit.frontends.pt2.weights import Payload, read_payload

OLD = "serialized_exported_program.json"
"""The program's member in the layout of torch 2.5 to 2.7; later ones have a folder `models`."""


@dataclass(frozen=True, eq=False)
class Contents:
    """The parts of an archive that are read; sample inputs are pickled, and never opened."""

    document: Doc
    payloads: tuple[Payload, Payload]

    def tensor(self, path: str) -> Tensor | str:
        """A weight or constant by path, or why it cannot be had."""
        for payload in self.payloads:
            if path in payload.tensors:
                return payload.tensors[path]
        return next((p.withheld[path] for p in self.payloads if path in p.withheld), "is not there")


def read_contents(opened: Archive) -> Contents:
    """The contents of an archive in either layout; ModelError where a part is missing or of another format."""
    if OLD in opened.names:
        document = parse(opened.thing, OLD, opened.read(OLD, MAX_JSON_BYTES))
        kinds = ("serialized_state_dict", "serialized_constants")
        payloads = [read_payload(opened, "", f"{kind}.json", f"{kind}.pt") for kind in kinds]
        return Contents(document, (payloads[0], payloads[1]))
    marks = [name for name in opened.names if name.rpartition("/")[2] == "archive_format"]
    if len(marks) != 1 or opened.read(marks[0], 100).strip() != b"pt2":
        raise ModelError(opened.thing, "is no archive of torch.export", "write it with torch.export.save")
    root = marks[0].removesuffix("archive_format")
    for name, expected in (("archive_version", b"0"), ("byteorder", b"little")):
        if root + name in opened.names and opened.read(root + name, 100).strip() != expected:
            raise ModelError(opened.thing, f"has an {name} that is not {expected.decode()}", "export it again")
    folder = f"{root}models/"
    models = [n[len(folder) : -5] for n in opened.names if n.startswith(folder) and n.endswith(".json")]
    if len(models) != 1:
        cause = f"holds {len(models)} programs" if models else "holds no program (perhaps a library of AOTInductor)"
        raise ModelError(opened.thing, cause, "save one ExportedProgram with torch.export.save", sorted(models)[:20])
    model = models[0]
    document = parse(opened.thing, f"models/{model}.json", opened.read(f"{folder}{model}.json", MAX_JSON_BYTES))
    payloads = [
        read_payload(opened, f"{root}data/{kind}/", f"{model}_{kind}_config.json", f"{model}.pt")
        for kind in ("weights", "constants")
    ]
    return Contents(document, (payloads[0], payloads[1]))


def program_tensors(program: Program, contents: Contents) -> tuple[Mapping[str, Tensor], list[str]]:
    """Every tensor that the program takes by path, floats in single precision, and notes where they were not."""
    found: dict[str, Tensor] = {}
    faults: list[str] = []
    narrowed: set[str] = set()
    for item in program.inputs:
        if item.kind not in ("parameter", "buffer", "constant"):
            continue
        tensor = contents.tensor(item.target)
        meta = program.graph.tensors.get(item.name)
        declared = None if meta is None else meta.shape()
        if isinstance(tensor, str):
            faults.append(f"{item.target}: {tensor}")
        elif declared is not None and declared != tuple(tensor.shape):
            faults.append(f"{item.target}: has shape {list(tensor.shape)}, and the program takes {list(declared)}")
        else:
            kind = NARROWED.get(tensor.dtype, tensor.dtype)
            if kind is not tensor.dtype:
                narrowed.add(f"{tensor.dtype} weights are taken as {kind}".replace("torch.", ""))
            found[item.target] = tensor.to(kind)
    if faults:
        thing = contents.document.thing
        raise ModelError(thing, "lacks tensors that its program takes", "export it again", faults[:20])
    return found, sorted(narrowed)
