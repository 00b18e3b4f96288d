"""What an op becomes in C, and what a flavour is asked for: its own forms of sums and fused ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.ir import Entry, Graph, Op
from edgekit.ir.ops.contract import accumulator

if TYPE_CHECKING:
    from edgekit.backends.c.data import Array
    from edgekit.backends.c.integer.context import Context
    from edgekit.backends.c.integer.flavour import Flavour


@dataclass(frozen=True)
class Group:
    """Event weights of the linears that read one spike vector, side by side in rows of `stride` elements.

    `columns` is where the outputs of each weight tensor begin in a row; where a list is `numbered`, it holds the
    numbers of rows and not where they begin.
    """

    weights: tuple[str, ...]
    columns: Mapping[str, int]
    stride: int
    numbered: bool = False


@dataclass(frozen=True)
class Code:
    """What runs an op: what its kernel is called in tables, and the lines of its function."""

    kernel: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Product:
    """y = W x + c, of op number `at` of an entry: operands by name, and the addend as a C pointer and its step per row.

    A linear is one product, a memory update two.
    """

    entry: Entry
    at: int
    op: Op
    x: str
    w: str
    y: str
    c: str = "0"
    step: int = 0

    @property
    def bits(self) -> int:
        """Bits of the sum."""
        return accumulator(self.op.attrs).bits


def no_form(*_: object) -> None:
    """None: the portable form is right."""


def no_scratch(*_: object) -> int:
    """No bytes of scratch."""
    return 0


def no_lists(*_: object) -> list[str]:
    """No lists that outlive a step."""
    return []


def in_order(_: Context, rows: Array) -> Array:
    """As they are: a list holds the numbers of the neurons."""
    return rows


def no_spans(*_: object) -> bool:
    """No: there are no spans."""
    return False


def no_groups(*_: object) -> dict[str, Group]:
    """No groups: each matrix has rows of its own."""
    return {}


@dataclass(frozen=True)
class Forms:
    """The forms of a flavour; each returns None where it has none for the case, and the portable form is right.

    `groups` tells which event weights lie side by side in rows, by the value that their linears read; where a state and
    its new value share one, `lists` fills the list of the state after it has been set from outside. `dense` makes the
    sums over integers, `events` those of the rows of the neurons that fired, `memory` a whole memory update, `fused` a
    chain of elementwise ops, `lookup` a function by table. `scratch` is how many bytes these use while an op runs, at
    `m->wide`. For weights in blocks, `in_spans` tells whether there is a better form for a product, `fired` gives the
    list of a listed product, its length and the lines that fill it, `by_list` puts the rows of neurons in the order
    that the numbers in it have.
    """

    fired: Callable[[Context, Product], tuple[str, str, list[str]]]
    groups: Callable[[Graph, Entry, Flavour], dict[str, Group]] = no_groups
    dense: Callable[[Context, Product], Code | None] = no_form
    events: Callable[[Context, Product], Code | None] = no_form
    memory: Callable[[Context, Entry, Op], Code | None] = no_form
    fused: Callable[[Context, Entry, Op], Code | None] = no_form
    lookup: Callable[[Context, Entry, Op], Code | None] = no_form
    scratch: Callable[[Graph], int] = no_scratch
    lists: Callable[[Context], list[str]] = no_lists
    in_spans: Callable[[Context, Product], bool] = no_spans
    by_list: Callable[[Context, Array], Array] = in_order
