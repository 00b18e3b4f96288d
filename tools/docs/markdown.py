"""Small pieces of Markdown that generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SERVER = re.compile(r"^https?://(www\.)?|/.*$")
SPECIAL = re.compile(r"([|*\[\]])")


def escape(text: str) -> str:
    """Text as it stands, in a sentence or a cell of a table."""
    return _plain(" ".join(text.split()))


def code(text: str) -> str:
    """Text as code, in a cell of a table too."""
    return f"`{' '.join(text.split())}`".replace("|", r"\|")


def linked(text: str) -> str:
    """Text as `escape` gives it, its web addresses as links that show the server's name."""
    parts = re.split(r"(https?://[^\s;,]*[^\s;,.:)])", text)
    return "".join(f"[{SERVER.sub('', part)}]({part})" if at % 2 else _plain(part) for at, part in enumerate(parts))


def _plain(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text.replace("<", "&lt;"))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """The lines of a table; `right` are the numbers of the columns aligned to the right."""
    rule = ["---:" if at in right else "---" for at in range(len(columns))]
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (columns, rule, *rows)]
