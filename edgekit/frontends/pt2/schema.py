"""The program in a .pt2 file as frozen values, read from its JSON and checked; the format is torch's export schema.

Unknown fields are ignored, for a newer torch may add some. Unknown forms of arguments, inputs or outputs are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.pt2.document import Doc
from edgekit.frontends.pt2.trees import Tree, read_tree

MAJORS = (7, 8)
"""Major versions of the schema: torch 2.5 to 2.13."""

MAX_NODES = 20_000
MAX_RANK = 16
MAX_ELEMENTS = 2**26
"""Elements of one tensor, and of all weights together: a quarter of a gigabyte of float32."""

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
STRIDED = 7


@dataclass(frozen=True)
class Symbol:
    """A size that the program leaves open: its name (an expression where it is computed) and the example's value."""

    name: str
    hint: int | None


@dataclass(frozen=True)
class Meta:
    """What the file says of a tensor: dtype, sizes, strides and offset in its storage."""

    dtype: torch.dtype
    sizes: tuple[int | Symbol, ...]
    strides: tuple[int | Symbol, ...]
    offset: int | Symbol

    def shape(self) -> tuple[int, ...] | None:
        """The sizes with the example's value for open ones, None where one has none."""
        sizes = [size.hint if isinstance(size, Symbol) else size for size in self.sizes]
        return None if None in sizes else tuple(size for size in sizes if size is not None)


@dataclass(frozen=True)
class Name:
    """A value of the program, by name."""

    name: str


@dataclass(frozen=True)
class Device:
    """Any device: the program runs where it is told to."""


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
    torch_version: str


def read_program(doc: Doc) -> Program:
    """The program in a parsed document; ModelError where it breaks the schema."""
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
        torch_version=doc["torch_version"].text()[:40] if not doc.get("torch_version").missing else "unknown",
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


def read_meta(doc: Doc) -> Meta:
    """What is said of a tensor, within bounds."""
    number = doc["dtype"].integer()
    if number not in DTYPES:
        raise ModelError(doc.thing, f"{doc.place} is of a dtype that cannot be read ({number})", "use plain real ones")
    if doc["layout"].integer() != STRIDED:
        raise ModelError(doc.thing, f"{doc.place} is not a dense tensor", "use dense tensors")
    sizes = tuple(_size(item) for item in doc["sizes"])
    strides = tuple(_size(item) for item in doc["strides"])
    known = [size if isinstance(size, int) else size.hint or 1 for size in sizes]
    if len(sizes) > MAX_RANK or len(strides) != len(sizes):
        raise doc.fault("has a rank that does not hold")
    count = 1
    for size in known:
        count *= max(size, 1)
        if size < 0 or count > MAX_ELEMENTS:
            raise ModelError(doc.thing, f"{doc.place} has more than {MAX_ELEMENTS:,} elements")
    return Meta(DTYPES[number], sizes, strides, _size(doc["storage_offset"]))


def _size(doc: Doc) -> int | Symbol:
    tag, content = doc.union()
    if tag == "as_int":
        return content.integer()
    if tag != "as_expr":
        raise content.fault("is no size")
    text, hint = content["expr_str"].text(), content.get("hint")
    named = re.fullmatch(r"Symbol\('(\w{1,40})'[^()]*\)", text)
    example = None
    if not hint.missing:
        kind, number = hint.union()
        example = number.integer() if kind == "as_int" else None
    return Symbol(named.group(1) if named else text[:200], example)


# --- arguments --------------------------------------------------------------------------------------------------------


def _name(doc: Doc) -> Name:
    return Name(doc["name"].text())


def _sym(plain: Callable[[Doc], Any]) -> Callable[[Doc], Any]:
    def read(doc: Doc) -> Any:
        tag, content = doc.union()
        return Name(content.text()) if tag == "as_name" else plain(content)

    return read


def _optional(doc: Doc) -> Name | None:
    tag, content = doc.union()
    if tag not in ("as_tensor", "as_none"):
        raise content.fault("is no optional tensor")
    return _name(content) if tag == "as_tensor" else None


def _many(one: Callable[[Doc], Any]) -> Callable[[Doc], tuple[Any, ...]]:
    return lambda doc: tuple(one(item) for item in doc)


def _choice(table: dict[int, Any], what: str) -> Callable[[Doc], Any]:
    def read(doc: Doc) -> Any:
        number = doc.integer()
        if number not in table:
            raise ModelError(doc.thing, f"{doc.place}: {what} {number} cannot be used here")
        return table[number]

    return read


FORMS: dict[str, Callable[[Doc], Any]] = {
    "as_none": lambda _: None,
    "as_tensor": _name,
    "as_tensors": _many(_name),
    "as_int": Doc.integer,
    "as_ints": _many(Doc.integer),
    "as_float": Doc.number,
    "as_floats": _many(Doc.number),
    "as_string": Doc.text,
    "as_strings": _many(Doc.text),
    "as_sym_int": _sym(Doc.integer),
    "as_sym_ints": _many(_sym(Doc.integer)),
    "as_sym_float": _sym(Doc.number),
    "as_sym_floats": _many(_sym(Doc.number)),
    "as_sym_bool": _sym(Doc.boolean),
    "as_sym_bools": _many(_sym(Doc.boolean)),
    "as_bool": Doc.boolean,
    "as_bools": _many(Doc.boolean),
    "as_scalar_type": _choice(DTYPES, "dtype"),
    "as_memory_format": _choice(FORMATS, "memory format"),
    "as_layout": _choice({STRIDED: torch.strided}, "layout"),
    "as_device": lambda _: Device(),
    "as_optional_tensor": _optional,
    "as_optional_tensors": _many(_optional),
    "as_nested_tensors": _many(_many(_name)),
    "as_int_lists": _many(_many(Doc.integer)),
    "as_float_lists": _many(_many(Doc.number)),
    "as_graph": lambda doc: read_graph(doc["graph"]),
}
"""How each tagged form of an argument is read; every other form is refused."""


def _value(doc: Doc) -> Any:
    tag, content = doc.union()
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
        return Output("buffer", _name(content["arg"]), content["buffer_name"].text())
    if tag == "user_input_mutation":
        return Output("input", _name(content["arg"]), content["user_input_name"].text())
    raise UnsupportedError(doc.thing, f"gives an output of the kind {tag[:40]!r}", "export the module for inference")
