"""The program in a .pt2 file as frozen values, read from its JSON and checked; the format is torch's export schema.

Unknown fields are ignored, for a newer torch may add some. Unknown forms of arguments, inputs or outputs are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.pt2.document import Doc
from edgekit.frontends.pt2.trees import Tree, read_tree
from edgekit.frontends.pt2.values import FORMS, Meta, Name, read_meta, read_name

MAJORS = (7, 8)
"""Major versions of the schema: torch 2.5 to 2.13."""

MAX_NODES = 20_000


@dataclass(frozen=True)
class Node:
    """One call: target, arguments by name, results, module path and line of its source."""

    name: str
    target: str
    inputs: tuple[tuple[str, Any], ...]
    outputs: tuple[Any, ...]
    path: str
    line: str
    kind: str


@dataclass(frozen=True)
class Graph:
    """Nodes in order, names of inputs, results, and what is known of each tensor."""

    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    nodes: tuple[Node, ...]
    tensors: dict[str, Meta]


@dataclass(frozen=True)
class Input:
    """One input of the graph: `user`, `parameter`, `buffer`, `constant` (a tensor) or `value` (a plain one)."""

    kind: str
    name: str
    target: str = ""
    value: Any = None


@dataclass(frozen=True)
class Output:
    """One output of the graph: `user`, `buffer` (new value of a buffer) or `input` (new value of a user input)."""

    kind: str
    value: Any
    target: str = ""


@dataclass(frozen=True)
class Program:
    """The whole of it; `arguments` are the names of forward's arguments, as far as the file tells."""

    graph: Graph
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    in_tree: Tree
    out_tree: Tree
    arguments: tuple[str, ...]


def read_program(doc: Doc) -> Program:
    """The program in a parsed document; ModelError where it breaks the schema."""
    try:
        return _program(doc)
    except RecursionError as error:
        raise ModelError(doc.thing, "nests graphs in graphs too deeply", "convert one step") from error


def _program(doc: Doc) -> Program:
    major, minor = (doc["schema_version"][key].integer() for key in ("major", "minor"))
    if major not in MAJORS:
        raise ModelError(
            doc.thing,
            f"is of schema {major}.{minor}, and only {' and '.join(map(str, MAJORS))} are known",
            "export it again with torch 2.5 to 2.13",
        )
    module = doc["graph_module"]
    graph = read_graph(module["graph"])
    signature = module["signature"]
    inputs = tuple(_input(item) for item in signature["input_specs"])
    outputs = tuple(_output(item) for item in signature["output_specs"])
    if len(inputs) != len(graph.inputs) or len(outputs) != len(graph.outputs):
        raise signature.fault("does not have one entry for each input and output of the graph")
    calls = [entry for entry in module["module_call_graph"] if entry["fqn"].text() == ""]
    if len(calls) != 1 or calls[0].get("signature").missing:
        raise module["module_call_graph"].fault("does not say how the program is called")
    call = calls[0]["signature"]
    names = call.get("forward_arg_names")
    return Program(
        graph=graph,
        inputs=inputs,
        outputs=outputs,
        in_tree=read_tree(doc.thing, f"{call.place}.in_spec", call["in_spec"].text()),
        out_tree=read_tree(doc.thing, f"{call.place}.out_spec", call["out_spec"].text()),
        arguments=() if names.missing else tuple(name.text() for name in names),
    )


def read_graph(doc: Doc) -> Graph:
    """A graph, or one inside a node."""
    nodes = doc["nodes"]
    if isinstance(nodes.value, list) and len(nodes.value) > MAX_NODES:
        raise UnsupportedError(
            doc.thing, f"unrolls into {len(nodes.value):,} operations", "convert the step, not the sequence"
        )
    return Graph(
        inputs=tuple(_value(item) for item in doc["inputs"]),
        outputs=tuple(_value(item) for item in doc["outputs"]),
        nodes=tuple(_node(item) for item in nodes),
        tensors={name: read_meta(item) for name, item in doc["tensor_values"].items()},
    )


def _value(doc: Doc) -> Any:
    tag, content = doc.union()
    if tag == "as_graph":
        return read_graph(content["graph"])
    if tag not in FORMS:
        raise ModelError(doc.thing, f"{doc.place} is an argument of the form {tag[:40]!r}, which cannot be read")
    return FORMS[tag](content)


def _node(doc: Doc) -> Node:
    outputs = tuple(_value(item) for item in doc["outputs"])
    inputs = tuple((item["name"].text(), _value(item["arg"])) for item in doc["inputs"])
    metadata = {key: item.text() for key, item in doc["metadata"].items()}
    first = next((item.name for item in outputs if isinstance(item, Name)), "")
    name = doc.get("name")
    path, kind = _module(metadata.get("nn_module_stack", ""))
    return Node(
        name=first if name.missing else name.text(),
        target=doc["target"].text(),
        inputs=inputs,
        outputs=outputs,
        path=path,
        line=_line(metadata.get("stack_trace", "")),
        kind=kind,
    )


def _module(stack: str) -> tuple[str, str]:
    """Path and class of the innermost module of a stack: entries `key,path,class` between semicolons."""
    parts = stack.rsplit(";", 1)[-1].split(",")
    if len(parts) != 3 or parts[1].startswith("_empty_nn_module_stack"):
        return "", ""
    path = parts[1].split("@")[0].removeprefix("L['self']").removeprefix("L__self__").lstrip(".")
    return (path, parts[2]) if re.fullmatch(r"\w+(\.\w+)*", path) and len(path) < 500 else ("", parts[2])


def _line(trace: str) -> str:
    """`file:line` of the innermost place that is not torch's own."""
    found = re.findall(r'File "([^"\n]{1,500})", line (\d{1,9})', trace)
    own = [place for place in found if "/torch/" not in place[0] and not place[0].startswith(("torch/", "<"))]
    if not own:
        return ""
    file = re.split(r"[/\\]", own[-1][0])[-1]
    return f"{file}:{own[-1][1]}"


# --- signature --------------------------------------------------------------------------------------------------------


def _input(doc: Doc) -> Input:
    tag, content = doc.union()
    if tag == "user_input":
        value = _value(content["arg"])
        return Input("user", value.name) if isinstance(value, Name) else Input("value", "", value=value)
    if tag == "constant_input":
        kind, plain = content["value"].union()
        if kind not in ("as_none", "as_int", "as_float", "as_string", "as_bool"):
            raise plain.fault("is no constant")
        return Input("value", content["name"].text(), value=FORMS[kind](plain))
    for kind, key in (("parameter", "parameter_name"), ("buffer", "buffer_name")):
        if tag == kind:
            return Input(kind, content["arg"]["name"].text(), content[key].text())
    if tag == "tensor_constant":
        return Input("constant", content["arg"]["name"].text(), content["tensor_constant_name"].text())
    raise UnsupportedError(doc.thing, f"takes an input of the kind {tag[:40]!r}", "export it without custom objects")


def _output(doc: Doc) -> Output:
    tag, content = doc.union()
    if tag == "user_output":
        return Output("user", _value(content["arg"]))
    if tag == "buffer_mutation":
        return Output("buffer", read_name(content["arg"]), content["buffer_name"].text())
    if tag == "user_input_mutation":
        return Output("input", read_name(content["arg"]), content["user_input_name"].text())
    raise UnsupportedError(doc.thing, f"gives an output of the kind {tag[:40]!r}", "export the module for inference")
