"""Single values in the JSON of a .pt2 file: sizes, dtypes, what is said of a tensor, and the arguments of a call."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from edgekit.errors import ModelError
from edgekit.frontends.pt2.document import Doc

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
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}
NARROWED = {
    torch.float64: torch.float32,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.complex128: torch.complex64,
}
"""What every dtype of the file that is no float32, complex64, integer or truth value becomes."""

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


def read_meta(doc: Doc) -> Meta:
    """What is said of a tensor, within bounds."""
    number = doc["dtype"].integer()
    if number not in DTYPES:
        raise ModelError(doc.thing, f"{doc.place} is of a dtype that cannot be read ({number})", "use plain ones")
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


def read_name(doc: Doc) -> Name:
    """The name of a value."""
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
    return read_name(content) if tag == "as_tensor" else None


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
    "as_tensor": read_name,
    "as_tensors": _many(read_name),
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
    "as_nested_tensors": _many(_many(read_name)),
    "as_complex": lambda doc: complex(doc["real"].number(), doc["imag"].number()),
    "as_int_lists": _many(_many(Doc.integer)),
    "as_float_lists": _many(_many(Doc.number)),
}
"""How each tagged form of an argument is read, but for graphs; every other form is refused."""
